"""Series as text: ``.csv``, and ``.tsv`` as in the UCR archive. Each line is a sample.

UCR (H. A. Dau et al., "The UCR time series archive", 2019): no header, the label first, tabs;
shorter series are padded with NaN at the end.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from faltung.data.limits import complaints, regular
from faltung.data.names import as_word, number_classes, printable
from faltung.data.options import Options
from faltung.data.resize import resize
from faltung.data.source import ArraySource
from faltung.geometry.errors import FaltungError

LABELS = ("label", "class", "target", "y")
SUFFIXES = (".csv", ".tsv", ".txt")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.I | re.ASCII)
Values = npt.NDArray[np.float64]


def matches(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES


def open_table(path: Path, options: Options) -> ArraySource:
    """Series of one channel, (1, length), or with ``kind="table"`` rows of features.

    The label is in the column that the header calls label, class, target or y (whichever of these
    comes first here), else in the first. The first line is a header if it has such a cell, or no
    number. Labels that are numbers, not all of them whole, are targets to be estimated. With
    ``size`` every series is brought to that length by interpolation; else they must be equally
    long. ValueError names the line.
    """
    where = printable(path.name)
    kind = options.kind or "series"
    if kind not in ("series", "table"):
        raise FaltungError(f"kind={kind!r}: a text file holds series or a table")
    if options.channels not in (None, 1):
        raise FaltungError(f"channels={options.channels}: a series in a text file has 1")
    lines, words, rows = read_rows(path, where)
    x = stack(lines, rows, where, kind, options.space(1))
    names = tuple(f"line {line}" for line in lines)
    if options.classes is None and _are_numbers(words):
        y = np.array([float(word) for word in words])
        return ArraySource(x, y, kind=kind, names=names, where=f"{where}: ")
    labels = [as_word(float(word)) if NUMBER.fullmatch(word) else word for word in words]
    labels = [printable(word) for word in labels]
    y, classes = number_classes(labels, where, options.classes, names)
    partial = options.classes is not None
    return ArraySource(
        x, y, classes=classes, kind=kind, names=names, partial=partial, where=f"{where}: "
    )


def read_rows(
    path: Path, where: str, unlabelled: int | None = None
) -> tuple[list[int], list[str], list[Values]]:
    """The numbers of all lines that are not blank, their labels, and their values. ValueError.

    ``unlabelled``: a line with this many cells has no label; it becomes "".
    """
    regular(path, where)
    lines, words, rows = [], [], []
    with complaints(where), path.open(encoding="utf-8-sig", newline="") as file:
        found = _records(file, path.suffix.lower())
        head = next(found, None)
        column = _label_column(head[1], where) if head else None
        body = found if head is None or column is not None else chain([head], found)
        for line, cells in body:
            label = ""
            if len(cells) != unlabelled:
                label = cells.pop(column or 0).strip() if len(cells) > (column or 0) else ""
                if not label:
                    raise FaltungError(f"{where}: line {line} has no label")
            lines.append(line)
            words.append(label)
            rows.append(_values(cells, f"{where}: line {line}"))
    if not rows:
        raise FaltungError(f"{where}: contains no samples")
    return lines, words, rows


def stack(
    lines: Sequence[int],
    rows: Sequence[Values],
    where: str,
    kind: str,
    space: tuple[int, ...] | None,
) -> npt.NDArray[np.float32]:
    """(n, 1, length), or (n, features) of a table. ValueError: lengths differ."""
    if space is None or kind == "table":
        for line, values in zip(lines, rows, strict=True):
            if len(values) != len(rows[0]):
                remedy = "" if kind == "table" else "; pass size= to bring series to one length"
                raise FaltungError(
                    f"{where}: line {line} has {len(values)} values and line {lines[0]} has "
                    f"{len(rows[0])}{remedy}"
                )
        with np.errstate(over="ignore"):  # the caller finds what is too large
            many = np.stack(rows).astype(np.float32)
    else:
        many = np.concatenate([resize(values[np.newaxis], space) for values in rows])
    return many if kind == "table" else many[:, np.newaxis]


# Cells --------------------------------------------------------------------------------------------


def _records(file: TextIO, suffix: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of every line that is not blank. Separated by tabs in a ``.tsv``; by
    tabs, commas or semicolons in other files; by blanks in old UCR files.
    """
    start = file.readline(1 << 20)
    file.seek(0)
    delimiter = "\t" if suffix == ".tsv" else max(",;\t", key=start.count)
    cells: Iterator[list[str]] = csv.reader(file, delimiter=delimiter, strict=True)
    if delimiter not in start and suffix != ".csv":
        cells = (line.split() for line in file)
    return ((n, row) for n, row in enumerate(cells, 1) if any(cell.strip() for cell in row))


def _label_column(head: Sequence[str], where: str) -> int | None:
    """The column of the label, if the first line is a header; None if it is a sample."""
    words = [cell.strip().lower() for cell in head]
    for name in LABELS:
        if words.count(name) > 1:
            raise FaltungError(f"{where}: {words.count(name)} columns are called {name!r}")
        if name in words:
            return words.index(name)
    return None if any(NUMBER.fullmatch(word) for word in words) else 0


def _values(cells: Sequence[str], where: str) -> Values:
    """The numbers of one line without its padding. ValueError."""
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            values[i] = float(cell) if cell.strip() else np.nan
        except ValueError:
            raise FaltungError(f"{where}: '{printable(cell)}' is not a number") from None
    missing = np.isnan(values)
    length = len(values) - int(np.argmin(missing[::-1])) if not missing.all() else 0
    if not length:
        raise FaltungError(f"{where} contains no value")
    if missing[:length].any():
        raise FaltungError(f"{where}: value {int(np.argmax(missing)) + 1} is NaN; fill gaps first")
    if np.isinf(values[:length]).any():
        raise FaltungError(f"{where} contains an infinite value")
    return values[:length]


def _are_numbers(words: Sequence[str]) -> bool:
    """Whether all labels are numbers, and not all of them whole."""
    if not all(NUMBER.fullmatch(word) for word in words):
        return False
    return not all(float(word).is_integer() for word in words)
