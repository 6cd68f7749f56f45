"""The lines that a run prints: numbers, a table and a bar that fit the terminal."""

import math
from collections.abc import Callable, Iterator

from faltung.geometry.record import dataclass
from faltung.train.metrics import EpochMetrics

BAR = 6, 40  # the narrowest and the widest, in characters


@dataclass(frozen=True)
class Now:
    """A moment within an epoch; ``rate``: samples per second, ``left``: seconds to the end."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float | None
    accuracy: float | None
    rate: float | None
    left: float | None


# Numbers ------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """A loss: four decimals, or three significant digits if those are useless; at most 9 wide."""
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.2e}"


def percent(value: float) -> str:
    """97.32%"""
    return f"{100 * value:.2f}%"


def rate(value: float) -> str:
    """Samples per second, to at least three significant digits."""
    return f"{value:,.0f}" if 100 <= value < 1e7 else f"{value:.3g}"


def seconds(value: float) -> str:
    """A measured time: 0.123 s, 1.23 s, 12.3 s, 2:03, 1:02:03, 4.17 d"""
    if value < 0.9995:
        return f"{value:.3f} s"
    if value < 59.95:
        return f"{value:.{2 if value < 9.995 else 1}f} s"
    return clock(value) if value < 99.9 * 3600 else f"{value / 86400:.3g} d"


def clock(value: float) -> str:
    """A remaining time, in whole seconds: 0:07, 12:34, 1:02:03, 3 d 04 h"""
    if not math.isfinite(value):
        return "?"
    total = round(value)
    if total >= 100 * 3600:
        return f"{total // 86400} d {total % 86400 // 3600:02} h"
    hours, minutes = divmod(total // 60, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{total % 60:02}"


def clean(text: str) -> str:
    """On one line, without characters that move the cursor, whatever a file name holds."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


# Epochs -------------------------------------------------------------------------------------------

Say = Callable[[float], str]

# Column: heading, format, width. ``_LOST``: in this order a narrow terminal loses them; before
# these but the first three, it loses scores, the last first, all but the one that chooses.
_COLUMNS: dict[str, tuple[str, Say, int]] = {
    "loss": ("loss", number, 9),
    "accuracy": ("accuracy", percent, 8),
    "val_loss": ("val loss", number, 9),
    "val_accuracy": ("val acc", percent, 7),
    "lr": ("lr", "{:.3g}".format, 8),
    "samples_per_second": ("samples/s", rate, 9),
    "seconds": ("time", seconds, 8),
}
_LOST = "lr", "samples_per_second", "seconds", "val_loss", "accuracy", "val_accuracy"
_BEHIND = "lr"  # scores stand before this column
_SHORT = {"balanced_accuracy": "bal acc", "average_precision": "avg prec"}  # in a heading
_BEST = "  best"


def _count(epoch: int, epochs: int) -> str:
    return f"{epoch:>{len(str(epochs))}}/{epochs}"


def _widths(columns: tuple[str, ...], epochs: int) -> list[int]:
    headings = (max(_column(name)[2], len(_column(name)[0])) for name in columns)
    return [max(2 * len(str(epochs)) + 1, 5), *headings]


def _column(name: str) -> tuple[str, Say, int]:
    """The heading, format and width of a column, which may be that of a score: "val_f1"."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    score = name.removeprefix("val_")
    return f"val {_SHORT.get(score, score)}", number, 9


def shown(row: EpochMetrics, epochs: int, width: int) -> tuple[str, ...]:
    """The columns of a table with this row that fits: those with a value, less the least important
    ones.
    """
    values = row.as_dict()
    scores = [f"val_{name}" for name in row.scores]
    at = list(_COLUMNS).index(_BEHIND)
    order = [*list(_COLUMNS)[:at], *scores, *list(_COLUMNS)[at:]]
    columns = tuple(name for name in order if values[name] is not None)
    for lost in (*_LOST[:3], *scores[:0:-1], *_LOST[3:], *scores[:1], "loss"):
        if sum(2 + w for w in _widths(columns, epochs)) - 2 + len(_BEST) < width:
            break
        columns = tuple(name for name in columns if name != lost)
    return columns


def header(columns: tuple[str, ...], epochs: int) -> str:
    """The headings above ``table_line``."""
    headings = ["epoch", *(_column(name)[0] for name in columns)]
    return _aligned(headings, _widths(columns, epochs))


def table_line(columns: tuple[str, ...], row: EpochMetrics, epochs: int, best: bool) -> str:
    """One epoch as a line of the table."""
    values, cells = row.as_dict(), [_count(row.epoch, epochs)]
    for name in columns:
        value = values.get(name)
        cells.append("-" if value is None else _column(name)[1](value))
    return _aligned(cells, _widths(columns, epochs)) + (_BEST if best else "")


def _aligned(cells: list[str], widths: list[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def epoch_line(row: EpochMetrics, epochs: int, left: float | None, best: bool) -> str:
    """One epoch as a line, each number with its name."""
    parts = [f"epoch {_count(row.epoch, epochs)}", f"loss {number(row.loss)}"]
    for name, value in (("", row.accuracy), ("val ", row.val_accuracy)):
        loss = row.val_loss if name else None
        if loss is not None:
            parts.append(f"{name}loss {number(loss)}")
        if value is not None:
            parts.append(f"{name}accuracy {percent(value)}")
    for name, score in row.scores.items():
        if score is not None:
            parts.append(f"val {name.replace('_', ' ')} {number(score)}")
    parts.append(f"lr {row.lr:.3g}")
    if row.samples_per_second is not None:
        parts.append(f"{rate(row.samples_per_second)} samples/s")
    if row.seconds is not None:
        parts.append(seconds(row.seconds))
    if left is not None:
        parts.append(f"left {clock(left)}")
    return "  ".join(parts) + (_BEST if best else "")


# The bar ------------------------------------------------------------------------------------------


def bar_line(now: Now, width: int, plain: bool) -> Iterator[tuple[str, str]]:
    """(text, style) from left to right, ``width`` characters at most.

    ``plain``: with ASCII characters.
    """
    count = _count(now.epoch, now.epochs)
    full = now.batch >= now.batches
    parts = {"done": "validating" if full else f"{now.batch}/{now.batches}"}
    if now.loss is not None:
        parts["loss"] = f"loss {number(now.loss)}"
    if now.accuracy is not None:
        parts["accuracy"] = f"acc {percent(now.accuracy)}"
    if now.rate is not None:
        parts["rate"] = f"{rate(now.rate)}/s"
    if now.left is not None:
        parts["left"] = f"left {clock(now.left)}"
    room = width - len(count) - 2 - BAR[0]
    kept = []
    for name in ("left", "loss", "accuracy", "rate", "done"):  # the most important first
        if name in parts and len(parts[name]) + 2 <= room:
            room -= len(parts[name]) + 2
            kept.append(name)
    yield count[:width], "bold"
    length = min(BAR[0] + room, BAR[1])
    if length > 0:
        done = length * min(now.batch, now.batches) // now.batches
        yield "  " + ("#" if plain else "━") * done, "cyan"
        yield ("-" if plain else "━") * (length - done), "bright_black"
    for name in ("done", "loss", "accuracy", "rate", "left"):
        if name in kept:
            yield f"  {parts[name]}", "bold" if name in ("loss", "accuracy") else ""
