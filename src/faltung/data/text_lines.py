"""Text files as lines: unpacked, decoded, split into cells, and cells read as numbers."""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from faltung.data.contents import looks_like
from faltung.data.limits import FREE_UNPACKED_BYTES, check_unpacked, complaints, regular
from faltung.data.names import printable
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

Values = npt.NDArray[np.float64]
Columns = npt.NDArray[np.int64]

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.I | re.ASCII)
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", re.I | re.ASCII)
POINT = "write numbers with a point, 1.5, not with a comma"  # the remedy
# What programs write where there is no value (pandas and R, Weka and the UEA archive, Excel).
MISSING = ("", "?", "nan", "na", "n/a", "#n/a")
LONGEST_CELL = 100_000  # characters
# Bytes in memory of a line that is read, beside those of its numbers; and of a number.
LINE_BYTES, NUMBER_BYTES = 250, 8
MAX_MEMORY_RATIO = 200  # bytes in memory for each byte of a file, beyond FREE_UNPACKED_BYTES
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # what text does not contain


@dataclass
class Line:
    """One line: its number in the file; its cells as numbers, NaN where there is none; and by
    column the cells that are words.
    """

    number: int
    values: Values
    words: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def lacks(self, column: int) -> bool:
        """Whether there is nothing in a column: neither a number nor a word."""
        if column in self.words:
            return False
        return column >= len(self.values) or bool(np.isnan(self.values[column]))


@contextmanager
def opened(path: Path, where: str) -> Iterator[TextIO]:
    """The text of a file, unpacked if it is gzipped. ValueError: it is none, or a bomb; any error
    inside becomes one that names the file.
    """
    length = regular(path, where)
    with complaints(where), path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if path.suffix.lower() == ".gz" and not packed:
            raise FaltungError(
                f"{where}: begins with {file.read(4)!r}, so it is not gzipped: download it again, "
                "or rename it"
            )
        bytes_ = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
        with io.BufferedReader(_Guarded(bytes_, length, packed, where)) as guarded:
            _refuse_others(guarded.peek(512)[:512], path, where)
            text = io.TextIOWrapper(guarded, encoding="utf-8-sig", newline="")
            try:
                yield text
            except UnicodeDecodeError as error:
                raise FaltungError(
                    f"{where}: cannot be read as UTF-8 (byte {error.object[error.start]:#x}): save "
                    "it as UTF-8"
                ) from None


class _Guarded(io.RawIOBase):
    """The bytes of a file; ValueError as soon as a packed one unpacks to what only a bomb would."""

    def __init__(self, file: IO[bytes], length: int, packed: bool, where: str) -> None:
        super().__init__()
        self._file, self._length, self._packed, self._where = file, length, packed, where
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._file.read(len(buffer))
        self._done += len(part)
        if self._packed:
            check_unpacked(self._done, self._length, self._where)
        buffer[: len(part)] = part
        return len(part)


def _refuse_others(start: bytes, path: Path, where: str) -> None:
    """ValueError: what begins so is no text, or UTF-16."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FaltungError(f"{where}: is UTF-16: save it as UTF-8")
    what = looks_like(path) or ""
    if what.startswith("an HTML page"):
        raise FaltungError(f"{where}: is {what}: get the file itself")
    if _BINARY.search(start) and what not in ("", "text", "packed by gzip"):
        raise FaltungError(f"{where}: is {what}, not text: save it as CSV")
    if start.count(b"\0") > len(start) // 4:
        raise FaltungError(f"{where}: is UTF-16 or not text: save it as UTF-8")


class Memory:
    """Counts what lines take in memory. ValueError: out of all proportion to their file."""

    def __init__(self, path: Path, where: str) -> None:
        self._most = max(FREE_UNPACKED_BYTES, MAX_MEMORY_RATIO * path.stat().st_size)
        self._where, self._used = where, 0

    def add(self, cells: int) -> None:
        self._used += LINE_BYTES + NUMBER_BYTES * cells
        if self._used > self._most:
            raise FaltungError(
                f"{self._where}: would take more than {self._most:,} bytes of memory; refused as a "
                "decompression bomb (if it is yours, save it as .npz)"
            )


# Cells --------------------------------------------------------------------------------------------


def records(file: TextIO, suffix: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of every line that is not blank. Separated by tabs in a ``.tsv``; by
    semicolons, commas or tabs in other files, whichever the first line has most of; by blanks where
    it has none. Lines before it that begin with # are split in the same way. A first line such as
    ``sep=;``, which Excel takes, is obeyed.
    """
    begun = [file.readline()]
    told = re.fullmatch(r'"?sep=([,;\t])"?\s*', begun[0])
    first = 2 if told else 1
    while begun[-1].startswith("#") or begun[-1].isspace():
        begun.append(file.readline())
    bare = re.sub(r'"[^"]*"', "", begun[-1])
    delimiter = "\t" if suffix == ".tsv" else max(";,\t", key=bare.count)
    if any(DECIMAL_COMMA.fullmatch(part.strip()) for part in bare.split(";")[1:]):
        delimiter = ";"  # 1,5;2,5: refused in the right words
    lines = iter(file) if told else chain(begun, file)
    if told is None and delimiter not in bare:
        for number, line in enumerate(lines, first):
            if cells := line.split():
                yield number, cells
        return
    reader = csv.reader(lines, delimiter=told[1] if told else delimiter, strict=True)
    number = first
    try:
        for row in reader:
            # Not csv's own limit alone, which other packages raise for the whole process.
            if max(map(len, row), default=0) > LONGEST_CELL:
                raise csv.Error("field larger")
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield number, cells
            number = reader.line_num + first  # of the next line; a quoted cell may hold several
    except csv.Error as error:
        what = f"cannot be read, {error}"
        if "field larger" in str(error):
            what = f"has a cell of more than {LONGEST_CELL:,} characters"
        hint = 'a quote (") may be open, or one too many'
        raise FaltungError(f"{where}: line {number} {what}: {hint}") from None


def is_missing(cell: str) -> bool:
    return cell.lower() in MISSING


def is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def as_line(number: int, cells: Sequence[str]) -> Line:
    """The numbers and the words of one line."""
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
        if "_" not in "".join(cells):  # 1_000 is a number for Python alone
            return Line(number, values)
    except ValueError:
        pass
    line = Line(number, np.full(len(cells), np.nan))
    for i, cell in enumerate(cells):
        if is_number(cell):
            line.values[i] = float(cell)
        elif not is_missing(cell):
            line.words[i] = cell
    return line


def not_a_number(line: Line, column: int, names: Sequence[str] | None, where: str) -> FaltungError:
    """The error for a word among the values. ``names``: of the columns, if there is a header."""
    word = line.words[column]
    called = f"column {column + 1}" if names is None else f"column {names[column]!r}"
    if DECIMAL_COMMA.fullmatch(word):
        remedy = POINT
    elif any(mark in word for mark in ",;\t"):
        remedy = "separate values as in the first line, and write numbers with a point"
    elif names is None:
        remedy = "a label comes first, or in a column that the first line calls label"
    else:
        remedy = "write it as a number, or remove the column"
    return FaltungError(
        f"{where}: line {line.number}: '{printable(word)}' is not a number ({called}): {remedy}"
    )


def numbers(
    line: Line, columns: Columns, names: Sequence[str] | None, where: str, *, padded: bool
) -> Values:
    """The numbers of one line in some of its columns. ``padded``: without NaN at their end, which
    is padding; else nothing may be missing. ValueError: a word, a gap, an infinite value.
    """
    if line.words:
        bad = next((i for i in columns.tolist() if i in line.words), None)
        if bad is not None:
            raise not_a_number(line, bad, names, where)
    whole = len(columns) and len(line) > columns.max()
    values = line.values[columns if whole else columns[columns < len(line)]]
    if whole and np.isfinite(values).all():
        return values
    if padded or not len(columns):
        return unpadded(values, f"{where}: line {line.number}")
    missing = np.flatnonzero(np.isnan(values))
    if missing.size or not whole:
        column = int(columns[missing[0] if missing.size else len(values)])
        called = f"column {column + 1}" if names is None else f"column {names[column]!r}"
        raise FaltungError(
            f"{where}: line {line.number}: {called} is empty: fill gaps of a table first"
        )
    raise FaltungError(f"{where}: line {line.number} contains an infinite value")


def unpadded(values: Values, where: str) -> Values:
    """A series without the NaN at its end. ValueError: a gap, an infinite value, or nothing."""
    missing = np.isnan(values)
    length = len(values) - int(np.argmin(missing[::-1])) if not missing.all() else 0
    if not length:
        raise FaltungError(f"{where} contains no value")
    if missing[:length].any():
        raise FaltungError(f"{where}: value {int(np.argmax(missing)) + 1} is NaN; fill gaps first")
    if np.isinf(values[:length]).any():
        raise FaltungError(f"{where} contains an infinite value")
    return values[:length]
