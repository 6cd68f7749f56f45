"""The metrics of an epoch, and of all epochs as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train.scores import SCORES

# Characters of a line: ours have 200. The limit of Python's csv belongs to the whole process.
MAX_LINE_CHARACTERS = 10_000


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch. Losses and accuracies (0 to 1) are means over samples, ``seconds`` include the
    validation, ``step`` counts the batches of the whole run.

    scores: further metrics of the validation by name, rows of ``SCORES``. None: not measured, such
    as the accuracy of a regression.
    """

    epoch: int
    step: int
    lr: float
    loss: float
    accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    seconds: float | None = None
    samples_per_second: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.name == "scores":
                continue
            value = getattr(self, each.name)
            optional = each.default is None
            if value is None and optional:
                continue
            whole = each.name in ("epoch", "step")
            try:  # NumPy scalars become Python numbers, so that what is written reads back
                made = int(value) if whole else float(value)
            except (TypeError, ValueError, OverflowError):
                made = None
            if made is None or (whole and (made != value or made < 0)):
                kind = "a whole number from 0" if whole else "a number"
                raise FaltungError(f"{each.name}={value!r:.40}: must be {kind}")
            object.__setattr__(self, each.name, made)
        object.__setattr__(self, "scores", {n: _float(n, v) for n, v in self.scores.items()})

    def as_dict(self) -> dict[str, float | None]:
        """All numbers by the names of their columns: scores are "val_f1", ..."""
        own: dict[str, float | None] = {name: getattr(self, name) for name in COLUMNS}
        return own | {f"val_{name}": value for name, value in self.scores.items()}


def _float(name: str, value: object) -> float | None:
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise FaltungError(f"scores[{name!r}]={value!r:.40}: must be a number") from None


# Each score has a column of its name, "val_f1".
COLUMNS = tuple(f.name for f in fields(EpochMetrics) if f.name != "scores")
_SCORED = {f"val_{name}": name for name, score in SCORES.items() if score.of is not None}


def to_csv(rows: Iterable[EpochMetrics]) -> str:
    """A header and a line per epoch; numbers in the shortest form that reads back exactly."""
    made, listed = io.StringIO(), [row.as_dict() for row in rows]
    names = columns_of(listed)
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(names)
    for row in listed:
        values = [row.get(name) for name in names]
        writer.writerow(["" if value is None else repr(value) for value in values])
    return made.getvalue()


def columns_of(rows: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """The columns of a table with all of these rows."""
    return tuple(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))


def from_csv(text: str, source: str) -> list[EpochMetrics]:
    """The epochs in a text. ValueError naming ``source`` and the invalid line."""
    for number, written in enumerate(text.splitlines(), 1):
        if len(written) > MAX_LINE_CHARACTERS:
            raise FaltungError(f"{source}: line {number}: has {len(written):,} characters")
    try:
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise FaltungError(f"{source}: line 1 or later: {error}") from None
    header = tuple(lines[0]) if lines else ()
    more = header[len(COLUMNS) :]
    known = len(set(more)) == len(more) and set(more) <= set(_SCORED)
    if header[: len(COLUMNS)] != COLUMNS or not known:
        raise FaltungError(f"{source}: line 1: must be {','.join(COLUMNS)}")
    rows: list[EpochMetrics] = []
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(_row(line, header))
            if len(rows) > 1 and rows[-1].step < rows[-2].step:
                raise FaltungError(f"step={rows[-1].step}: must not be less than before")
        except ValueError as error:
            raise FaltungError(f"{source}: line {number}: {error}") from None
    return rows


def _row(line: list[str], header: Sequence[str]) -> EpochMetrics:
    if len(line) != len(header):
        raise FaltungError(f"{len(line)} columns: must be {len(header)}")
    cells = dict(zip(header, line, strict=True))
    whole: dict[str, Any] = {name: _whole(name, cells.pop(name)) for name in ("epoch", "step")}
    found: dict[str, Any] = {name: _number(name, cell) for name, cell in cells.items()}
    scores = {_SCORED[name]: found.pop(name) for name in header[len(COLUMNS) :]}
    return EpochMetrics(**whole, **found, scores=scores)


def _whole(name: str, cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 20):
        raise FaltungError(f"{name}={cell!r:.40}: must be a whole number from 0")
    return int(cell)


def _number(name: str, cell: str) -> float | None:
    """A float, or None for an empty cell; nan and inf too, which a diverged run leaves behind."""
    try:
        return float(cell) if cell else None
    except ValueError:
        raise FaltungError(f"{name}={cell!r:.40}: must be a number or nothing") from None


def finite(value: float | None) -> float | None:
    """The value if it can be drawn, else None."""
    return value if value is not None and math.isfinite(value) else None
