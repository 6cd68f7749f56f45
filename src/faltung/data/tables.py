"""Series and tables as text: ``.csv``, ``.tsv``, ``.txt``, ``.ts`` and ``.arff``, perhaps gzipped.

A line is a sample. Without a header the label comes first, and shorter series are padded with NaN
at the end, as in the UCR archive (H. A. Dau et al., "The UCR time series archive", 2019).
"""

from collections.abc import Callable, Sequence
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.data.arff import read_arff
from faltung.data.header import (
    Header,
    as_names,
    in_training_order,
    is_header,
    label_column,
    refuse_row_numbers,
    the_label,
)
from faltung.data.names import as_word, number_classes, printable
from faltung.data.options import Options
from faltung.data.resize import resize
from faltung.data.source import ArraySource
from faltung.data.text_lines import (
    NUMBER,
    Line,
    Memory,
    Values,
    as_line,
    is_missing,
    numbers,
    opened,
    records,
)
from faltung.data.ucr import Series, read_ts
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.runtime.memory import require

SUFFIXES = (".csv", ".tsv", ".txt", ".ts", ".arff")
# Where the label of a line without a header is.
Labels = Literal["first", "none"]
LABELS: tuple[Labels, ...] = ("first", "none")
Label = str | float


@dataclass(frozen=True)
class Samples:
    """What a file holds: the line of each sample, its label if there are any, and its values,
    (channels, length); the names of the columns of a file with a header.
    """

    lines: Sequence[int]
    labels: Sequence[Label] | None
    rows: Sequence[Values]
    columns: tuple[str, ...] | None = None
    label: str | None = None
    estimated: bool = False  # labels are numbers to be estimated, whole or not


def is_text(path: Path) -> bool:
    return _suffix(path) in SUFFIXES


def matches(path: Path) -> bool:
    return path.is_file() and is_text(path)


def _asked(options: Options) -> str | None:
    """The name of the column of labels, if the user gave it or the run knows it."""
    if options.label is None and options.like is not None:
        return options.like.label
    return options.label


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def open_table(path: Path, options: Options) -> ArraySource:
    """Series (channels, length), or with ``kind="table"`` rows of features.

    ``header.py`` says which line is a header, and which column the label. Labels that are numbers,
    not all of them whole, are targets to be estimated. With ``size`` every series is brought to
    that length by interpolation; else they must be equally long. ValueError names the line.
    """
    where = printable(path.name)
    kind = options.kind or "series"
    if kind not in ("series", "table"):
        raise FaltungError(f"kind={kind!r}: {where} is text, which holds series or a table")
    grid = read_grid(path, where, _asked(options))
    if isinstance(grid, Series):
        found = _of_series(grid, where, kind)
        if found.labels is None:
            raise FaltungError(f"{where}: has no labels, as its header says: add them")
    else:
        found = _to_train(grid, where, kind, options)
    x = stack(found, where, kind, options.space(1))
    if options.channels not in (None, 1 if kind == "table" else x.shape[1]):
        raise FaltungError(f"channels={options.channels}: {where} has {x.shape[1]}")
    return _source(found, x, where, kind, options)


def read_lines(
    path: Path,
    where: str,
    *,
    kind: str,
    shape: tuple[int, ...],
    fit: bool,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    labels: Labels | None = None,
    note: Callable[[str], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Samples (n, *shape) to predict from, without their labels.

    ``columns`` and ``label``: the names of the features and of the label in training, if they had
    any. With a header the label is recognised by its name, and the features of a table are matched
    by theirs. ``labels``: where the label is in lines without a header, "first" or "none"; without
    it a line with as many cells as a sample has values has none, and one with one more has it
    first. Where that says nothing, ValueError. ``note``: is told what is believed without a name.
    """
    if labels not in (None, *LABELS):
        raise FaltungError(f"labels={show(labels)}: must be first or none")
    if kind not in ("series", "table"):
        raise FaltungError(f"{where}: a text file holds series or rows of a table, not {kind}s")
    grid = read_grid(path, where, label, sample=labels is not None)
    if isinstance(grid, Series):
        found = _of_series(grid, where, kind)
    else:
        if note is not None and columns is not None and kind == "table" and grid.header is None:
            note(f"{where}: has no header, so its columns are taken in the order of training")
        length = None if fit and kind == "series" else shape[-1]
        found = _to_predict(grid, where, kind, length, columns, label, labels)
    many = stack(found, where, kind, shape[1:] if fit and kind == "series" else None, size=False)
    if many.shape[1:] == shape:
        return many
    if kind == "series" and many.shape[1] != shape[0]:
        raise FaltungError(
            f"{where}: series have {many.shape[1]} channels, must have {shape[0]}, as in training"
        )
    taken = f"; column {found.label!r} is taken for the label" if found.label else ""
    raise FaltungError(
        f"{where}: line {found.lines[0]} has {many.shape[-1]} values, must have {shape[-1]}, as in "
        f"training{taken}"
    )


# Lines --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """The lines of a file with their header, if there is one. ``named``: the suffix of the file."""

    header: Header | None
    lines: Sequence[Line]


def read_grid(
    path: Path, where: str, asked: str | None = None, *, sample: bool = False
) -> Grid | Series:
    """A file of any of the formats. ``asked``, ``sample``: as for ``is_header``. ValueError."""
    suffix = _suffix(path)
    memory = Memory(path, where)
    with opened(path, where) as file:
        if suffix == ".ts":
            return read_ts(file, where, memory)
        if suffix == ".arff":
            made = read_arff(file, where, memory)
            return made if isinstance(made, Series) else Grid(*made)
        found = _without_comments(records(file, suffix, where))
        number, cells = next(found, (0, [""]))
        lines = []
        for each, row in found:
            memory.add(len(row))
            lines.append(as_line(each, row))
    if not number:
        raise FaltungError(f"{where}: contains no samples")
    # A .tsv is the UCR archive's, which has no header, where nothing else tells.
    if not is_header(number, cells, lines, where, asked=asked, sample=sample or suffix == ".tsv"):
        return Grid(None, [as_line(number, cells), *lines])
    header = Header(number, as_names(cells, number, where))
    if not lines:
        raise FaltungError(f"{where}: contains no samples: line {number} is a header")
    for line in lines:
        if len(line) > len(header.names):
            raise FaltungError(
                f"{where}: line {line.number} has {len(line)} cells, the header {len(header.names)}"
                ": each column needs a name (R: row.names=FALSE)"
            )
    return Grid(header, lines)


def _without_comments(found: Any) -> Any:
    """Lines without the comments before the first, of which the last may be a header, as
    ``numpy.savetxt`` writes it: "# label,a,b".
    """
    comment: tuple[int, list[str]] | None = None
    for number, cells in found:
        words = [cells[0].lstrip("#").strip(), *cells[1:]]
        if cells[0] == "#":
            words = cells[1:]
        if cells[0].startswith("#") and not _has_values(cells[1:]):
            comment = number, words
            continue
        if comment is not None and len(comment[1]) == len(cells) > 1:
            return chain([comment, (number, cells)], found)
        return chain([(number, cells)], found)
    return iter(() if comment is None else (comment,))


def _has_values(cells: Sequence[str]) -> bool:
    """Whether cells are those of a sample: numbers, but not 0, 1, 2, ..., and no word."""
    counted = [str(i) for i in range(len(cells))]
    return list(cells) != counted and any(NUMBER.fullmatch(cell) for cell in cells)


def _to_train(grid: Grid, where: str, kind: str, options: Options) -> Samples:
    """Samples with their labels."""
    header, lines = grid.header, grid.lines
    wanted = options.like.columns if options.like is not None else None
    if header is None:
        if options.label is not None and wanted is None:
            raise FaltungError(
                f"label={show(options.label)}: {where} has no header: add one, or leave label out "
                "where the label comes first"
            )
        position, columns = 0, list(range(1, max(map(len, lines))))
    else:
        position = the_label(
            header, lines, where, _asked(options), wanted or (), strict=options.label is not None
        )
        columns = [i for i in range(len(header.names)) if i != position]
        if wanted is None:
            refuse_row_numbers(header, columns, lines, where)
        columns = in_training_order(header, columns, wanted, where, strict=kind == "table")
    labels = []
    for line in lines:
        if line.lacks(position):
            called = "" if header is None else f" (column {header.names[position]!r})"
            raise FaltungError(
                f"{where}: line {line.number} has no label{called}: add it, or remove the line"
            )
        labels.append(line.words.get(position, float(line.values[position])))
    return _samples(grid, columns, where, kind, labels, position)


def _to_predict(
    grid: Grid,
    where: str,
    kind: str,
    length: int | None,
    wanted: Sequence[str] | None,
    label: str | None,
    labels: Labels | None,
) -> Samples:
    """Samples without their labels. ``length``: the number of values, where it is fixed."""
    header, lines = grid.header, grid.lines
    if header is None:
        if _labelled(lines, where, kind, length, wanted is not None, labels):
            return _samples(grid, range(1, max(map(len, lines))), where, kind)
        return _samples(grid, range(max(map(len, lines))), where, kind)
    position = label_column(header, lines, where, asked=label, features=wanted or ())
    if position is None and labels == "first":
        position = 0
    columns = [i for i in range(len(header.names)) if i != position]
    columns = in_training_order(header, columns, wanted, where, strict=kind == "table")
    return _samples(grid, columns, where, kind, None, position)


def _labelled(
    lines: Sequence[Line],
    where: str,
    kind: str,
    length: int | None,
    had_header: bool,
    labels: Labels | None,
) -> bool:
    """Whether lines without a header have a label, first. ValueError: it cannot be known."""
    if labels is not None:
        return labels == "first"
    if any(0 in line.words for line in lines):
        return True
    ask = "say where it is with labels (--labels first, --labels none), or add a header"
    if length is None:
        raise FaltungError(
            f"{where}: line {lines[0].number}, {_begin(lines[0])}, may begin with a label or a "
            f"value, as series of any length are read: {ask}"
        )
    widths = {len(line) for line in lines}
    if widths == {length}:
        return False
    # Padding makes lines longer than they are.
    full = max(_last(line) for line in lines)
    if min(widths) > length and full == length + 1 and not had_header:
        return True
    number, cells = next((line.number, len(line)) for line in lines if len(line) != length)
    other = next((line for line in lines if len(line) != cells), None)
    if other is not None and full in (length, length + 1):
        raise FaltungError(
            f"{where}: line {number} has {cells} cells and line {other.number} has {len(other)}, "
            f"for {length} values, so a label may be among them: {ask}"
        )
    if full in (length, length + 1):
        raise FaltungError(
            f"{where}: line {number} has {cells} cells for {length} values, so a label may be "
            f"among them: {ask}"
        )
    raise FaltungError(
        f"{where}: line {number} has {cells} values, must have {length}, as in training, and "
        "perhaps a label before them"
    )


def _last(line: Line) -> int:
    """How many cells a line has up to its last value."""
    there = np.flatnonzero(~np.isnan(line.values))
    return int(there[-1]) + 1 if there.size else 0


def _begin(line: Line) -> str:
    return ",".join(f"{value:g}" for value in line.values[:3]) + ",..." * (len(line) > 3)


def _samples(
    grid: Grid,
    columns: Sequence[int],
    where: str,
    kind: str,
    labels: Sequence[Label] | None = None,
    position: int | None = None,
) -> Samples:
    names = grid.header.names if grid.header else None
    padded = kind != "table"
    taken = np.array(columns, np.int64)
    rows = [numbers(line, taken, names, where, padded=padded) for line in grid.lines]
    return Samples(
        [line.number for line in grid.lines],
        labels,
        [row[np.newaxis] for row in rows],
        None if names is None else tuple(names[i] for i in columns),
        None if names is None or position is None else names[position],
    )


def _of_series(found: Series, where: str, kind: str) -> Samples:
    if kind == "table":
        raise FaltungError(f"kind='table': {where} holds series")
    return Samples(found.lines, found.labels, found.rows, estimated=found.estimated)


# Arrays -------------------------------------------------------------------------------------------


def stack(
    found: Samples, where: str, kind: str, space: tuple[int, ...] | None, *, size: bool = True
) -> npt.NDArray[np.float32]:
    """(n, channels, length), or (n, features) of a table. ValueError: lengths or channels differ.
    ``size``: whether the user may choose a length.
    """
    first = found.rows[0]
    for line, values in zip(found.lines, found.rows, strict=True):
        if len(values) != len(first):
            raise FaltungError(
                f"{where}: line {line} has {len(values)} channels and line {found.lines[0]} has "
                f"{len(first)}: all need the same"
            )
        if values.shape != first.shape and (space is None or kind == "table"):
            remedy = "; bring series to one length with size (--size N)"
            raise FaltungError(
                f"{where}: line {line} has {values.shape[1]} values and line {found.lines[0]} has "
                f"{first.shape[1]}{remedy if size and kind != 'table' else ''}"
            )
    if space is None or kind == "table":
        with np.errstate(over="ignore"):  # the caller finds what is too large
            many = np.stack(found.rows).astype(np.float32)
    else:
        needed = 8 * len(first) * prod(space) * len(found.rows)
        require(needed, f"{where}: {len(found.rows):,} samples of size={space}")
        many = np.stack([resize(values, space) for values in found.rows])
    return many[:, 0] if kind == "table" else many


def _source(
    found: Samples, x: npt.NDArray[np.float32], where: str, kind: Any, options: Options
) -> ArraySource:
    assert found.labels is not None
    names = tuple(f"line {line}" for line in found.lines)
    told: dict[str, Any] = {"columns": found.columns, "label": found.label}
    labels = [_as_label(label) for label in found.labels]
    if _estimated(found, labels, where, options):
        y = np.array(labels, np.float64)
        return ArraySource(x, y, kind=kind, names=names, where=f"{where}: ", **told)
    words = [printable(as_word(label)) for label in labels]
    numbered, classes = number_classes(words, where, options.classes, names)
    partial = options.classes is not None
    return ArraySource(
        x,
        numbered,
        classes=classes,
        kind=kind,
        names=names,
        partial=partial,
        where=f"{where}: ",
        **told,
    )


def _as_label(label: Label) -> Label:
    """A label as a number if it is one: 1, "1" and "1.0" are the same class."""
    if isinstance(label, str) and NUMBER.fullmatch(label) and not is_missing(label):
        return float(label)
    return label


def _estimated(found: Samples, labels: Sequence[Label], where: str, options: Options) -> bool:
    """Whether labels are numbers to be estimated: if that is wanted; else if the file says so, or
    all are numbers, and not all of them whole. ValueError: they cannot be what is wanted.
    """
    words = [i for i, label in enumerate(labels) if isinstance(label, str)]
    if options.targets == "numbers":
        if words:
            raise FaltungError(
                f"{where}: line {found.lines[words[0]]}: the label '{printable(labels[words[0]])}' "
                "is not a number; loss mse (--loss mse) estimates numbers"
            )
        return True
    odd = [] if words else [i for i, v in enumerate(labels) if not float(v).is_integer()]
    if options.targets == "labels" or options.classes is not None:
        if odd and options.targets == "labels":
            raise FaltungError(
                f"{where}: line {found.lines[odd[0]]}: {labels[odd[0]]} is a number, not the label "
                "of a class; for numbers use loss mse (--loss mse)"
            )
        return False
    return found.estimated or bool(odd)
