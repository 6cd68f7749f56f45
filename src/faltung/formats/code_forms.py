"""How tensors are written in few bytes: each as a palette, on a grid or as bytes, and which share
their tables (``coded.py``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from faltung.formats.symbols import MOST, stored
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]

FLOATS = ("F16", "BF16", "F32", "F64")
FORMS = ("values", "grid", "planes")
_GROUP_BYTES = 12  # about what a group costs in the header
_LOOK = 4096  # numbers that are looked at first


@dataclass(frozen=True)
class Grid:
    """Whole numbers whose products with the scales along ``axis`` are the tensor, bit for bit."""

    whole: Array
    axis: int


def grid_of(tensor: Array, scale: Array) -> Grid | None:
    """The tensor on a grid of 8 bits, if it lies on one."""
    if tensor.dtype != scale.dtype or not tensor.size:
        return None
    flat = scale.reshape(-1)
    for axis in range(min(2, tensor.ndim)) if flat.size > 1 else (0,):
        if flat.size not in (1, tensor.shape[axis] if tensor.ndim else 1):
            continue
        shape = [1] * tensor.ndim
        if tensor.ndim:
            shape[axis] = -1
        spread = flat.reshape(shape)
        with np.errstate(all="ignore"):
            whole = np.rint(tensor / spread)
            if not np.isfinite(whole).all() or np.ptp(whole) >= MOST or np.abs(whole).max() > 255:
                continue
            back = whole.astype(np.int16).astype(tensor.dtype) * spread
        if back.tobytes() == np.ascontiguousarray(tensor).tobytes():
            return Grid(whole.astype(np.int16).reshape(-1), axis)
    return None


def rotated(bits: Array, by: int) -> Array:
    """Unsigned numbers with the sign bit at the end, or back: then one byte has an exponent."""
    width = 8 * bits.dtype.itemsize
    by %= width
    return np.asarray((bits << bits.dtype.type(by)) | (bits >> bits.dtype.type(width - by)))


@dataclass
class Piece:
    """A tensor to be written."""

    name: str
    word: str
    tensor: Array
    grid: Grid | None
    group: int = 0
    form: str = ""

    @property
    def width(self) -> int:
        return self.tensor.dtype.itemsize

    @cached_property
    def bits(self) -> Array:
        """The numbers as unsigned ones, in C order."""
        little = np.asarray(self.tensor, self.tensor.dtype.newbyteorder("<"), order="C")
        return little.reshape(-1).view(f"<u{self.width}")

    @cached_property
    def palette(self) -> tuple[Array, Array] | None:
        """(the different numbers, in order; the index of each), if there are few."""
        bits = self.bits
        known = np.unique(bits[:_LOOK])
        while 0 < len(known) <= MOST:
            at = np.minimum(np.searchsorted(known, bits), len(known) - 1)
            other = bits[known[at] != bits]
            if not len(other):
                return known, at.astype(np.uint8)
            known = np.union1d(known, other[:_LOOK])
        return None

    def planes(self) -> Iterator[Array]:
        """The bytes, the lowest of all numbers first."""
        bits = rotated(self.bits, 1) if self.word in FLOATS else self.bits
        columns = np.ascontiguousarray(bits).view(np.uint8).reshape(-1, self.width)
        yield from np.moveaxis(columns, 1, 0)

    def said(self) -> list[Any]:
        """The row of the header."""
        row: list[Any] = [self.name, self.word, list(self.tensor.shape), self.group]
        if self.form == "grid":
            assert self.grid is not None
            row += [f"{self.name}_scale", self.grid.axis]
        return row

    def counted(self, form: str) -> "Counted | None":
        """How often each symbol would occur in this form; None if the form cannot hold it."""
        if form == "planes":
            tables = [np.bincount(plane, minlength=MOST) for plane in self.planes()]
            return Counted(form, self.width, tuple(tables))
        if form == "grid":
            if self.grid is None:
                return None
            return Counted(form, 0, (_tally(self.grid.whole),))
        if self.palette is None:
            return None
        known, at = self.palette
        counts = np.bincount(at, minlength=len(known)).tolist()
        return Counted(form, self.width, (dict(zip(known.tolist(), counts, strict=True)),))


def _tally(whole: Array) -> dict[int, int]:
    least = int(whole.min())
    counts = np.bincount(whole - least).tolist()
    return {least + i: n for i, n in enumerate(counts) if n}


@dataclass(frozen=True)
class Counted:
    """Symbols of a group and how often each occurs: of planes an array each, else a table."""

    form: str
    width: int
    tables: tuple[Any, ...]

    def __add__(self, other: Self) -> "Counted | None":
        """Both together; None if they have no common tables."""
        if (self.form, self.width) != (other.form, other.width):
            return None
        if self.form == "planes":
            pairs = zip(self.tables, other.tables, strict=True)
            return Counted(self.form, self.width, tuple(a + b for a, b in pairs))
        made = dict(self.tables[0])
        for symbol, count in other.tables[0].items():
            made[symbol] = made.get(symbol, 0) + count
        if len(made) > MOST or (self.form == "grid" and max(made) - min(made) >= MOST):
            return None
        return Counted(self.form, self.width, (made,))

    @cached_property
    def bytes(self) -> float:
        """What it will cost, about."""
        if self.form == "planes":
            return _GROUP_BYTES + sum(min(_coded(t), float(t.sum())) for t in self.tables)
        counts = np.array(list(self.tables[0].values()))
        each = 1 + self.width if self.form == "values" else 1
        return _GROUP_BYTES + each * len(counts) + _entropy(counts)


def _coded(counts: Array) -> float:
    """Bytes of a plane with a table of the symbols from the first to the last that occur."""
    used = np.flatnonzero(counts)
    return 0.0 if len(used) < 2 else float(used[-1] - used[0] + 1) + _entropy(counts[used])


def _entropy(counts: Array) -> float:
    """Bytes of all symbols."""
    return float((counts * np.log2(counts.sum() / counts)).sum() / 8)


def grouped(pieces: Sequence[Piece]) -> list["Group"]:
    """Choose a form and a group for each tensor, the largest first: where it costs least."""
    counted: list[Counted] = []
    for piece in sorted(pieces, key=lambda each: (-each.tensor.size, each.name)):
        best: tuple[float, int, Counted] | None = None
        for own in (c for form in FORMS if (c := piece.counted(form)) is not None):
            joined = [(i, both) for i, c in enumerate(counted) if (both := c + own) is not None]
            offers = [(both.bytes - counted[i].bytes, i, both) for i, both in joined]
            for offer in (*offers, (own.bytes, len(counted), own)):
                if best is None or round(offer[0]) < round(best[0]):
                    best = offer
        assert best is not None  # planes hold everything
        _, piece.group, chosen = best
        piece.form = chosen.form
        counted[piece.group : piece.group + 1] = [chosen]
    return [
        Group.of(c, [piece for piece in pieces if piece.group == i]) for i, c in enumerate(counted)
    ]


@dataclass
class Group:
    """Tensors that share tables.

    form: a row of ``FORMS``. width: bytes of a number, 0 on a grid. tables: one for each stream of
    symbols, as stored; of one symbol empty. palette: the numbers of ``values``. leasts: what is
    added to the symbols of each stream. flat: planes whose bytes are all as likely.
    """

    form: str
    width: int
    sizes: list[int]
    leasts: list[int]
    flat: list[bool]
    tables: list[bytes] = field(default_factory=list)
    palette: Array = field(default_factory=lambda: np.zeros(0, np.uint8))
    pieces: list[Any] = field(default_factory=list)

    @property
    def least(self) -> int:
        return self.leasts[0]

    @classmethod
    def of(cls, counted: Counted, pieces: list[Piece]) -> Self:
        """The group of these tensors."""
        if counted.form == "planes":
            made = cls("planes", counted.width, [], [], [], pieces=pieces)
            for counts in counted.tables:
                made._add_plane(counts)
            return made
        table = dict(sorted(counted.tables[0].items()))
        if counted.form == "values":
            numbers = np.array(list(table), f"<u{counted.width}")
            counts, least = list(table.values()), 0
            kept = stored(np.array(counts))
            made = cls("values", counted.width, [len(counts)], [least], [False], [kept], numbers)
        else:
            least, most = min(table), max(table)
            counts = [table.get(i, 0) for i in range(least, most + 1)]
            made = cls("grid", 0, [len(counts)], [least], [False], [stored(np.array(counts))])
        made.pieces = pieces
        return made

    def _add_plane(self, counts: Array) -> None:
        used = np.flatnonzero(counts)
        least, size = (int(used[0]), int(used[-1] - used[0] + 1)) if len(used) else (0, 1)
        flat = size > 1 and float(counts.sum()) <= _coded(counts)
        if flat:
            least, size = 0, MOST
        self.leasts.append(least)
        self.sizes.append(size)
        self.flat.append(flat)
        self.tables.append(bytes([1]) * MOST if flat else stored(counts[least : least + size]))

    def said(self) -> list[Any]:
        """The row of the header."""
        number = FORMS.index(self.form)
        if self.form == "planes":
            rows = zip(self.leasts, self.sizes, self.flat, strict=True)
            return [number, self.width, [[least, n, int(flat)] for least, n, flat in rows]]
        return [number, self.width if self.form == "values" else self.least, self.sizes[0]]

    def side(self) -> bytes:
        """Palette and tables. The palette's bytes are sorted by place: zlib finds more in them."""
        width = self.palette.dtype.itemsize
        made = self.palette.view(np.uint8).reshape(-1, width).T.tobytes()
        for table, flat in zip(self.tables, self.flat, strict=True):
            made += b"" if flat or len(table) < 2 else table
        return made

    def symbols(self) -> Iterator[tuple[bytes, Array]]:
        """(table, symbols) of each stream: those of all tensors one after the other."""
        if self.form == "planes":
            planes = zip(*(piece.planes() for piece in self.pieces), strict=True)
            for least, table, parts in zip(self.leasts, self.tables, planes, strict=True):
                yield table, np.concatenate(parts) - np.uint8(least)
        elif self.form == "grid":
            whole = np.concatenate([piece.grid.whole for piece in self.pieces])
            yield self.tables[0], whole - np.int16(self.least)
        else:
            bits = np.concatenate([piece.bits for piece in self.pieces])
            yield self.tables[0], np.searchsorted(self.palette, bits)

    @classmethod
    def read(cls, said: list[Any]) -> Self:
        """A group of a header, still without tables. ValueError."""
        if len(said) != 3 or said[0] not in range(len(FORMS)) or type(said[0]) is not int:
            raise FaltungError(f"group {show(said)}: is of no known form")
        form = FORMS[said[0]]
        if form != "planes":
            low, high = (1, 16) if form == "values" else (-255, 255)
            first, size = _within(said[1], low, high), _within(said[2], 1, MOST)
            if form == "values" and first not in (1, 2, 4, 8):
                raise FaltungError(f"group {show(said)}: no number has {first} bytes")
            values = form == "values"
            return cls(form, first if values else 0, [size], [0 if values else first], [False])
        width = _within(said[1], 1, 8)
        rows = said[2]
        if width not in (1, 2, 4, 8) or not isinstance(rows, list) or len(rows) != width:
            raise FaltungError(f"group {show(said)}: must have a table for each byte")
        made = cls(form, width, [], [], [])
        for row in rows:
            if not isinstance(row, list) or len(row) != 3:
                raise FaltungError(f"group {show(said)}: must have three numbers for each byte")
            made.leasts.append(_within(row[0], 0, MOST - 1))
            made.sizes.append(_within(row[1], 1, MOST - made.leasts[-1]))
            made.flat.append(bool(_within(row[2], 0, 1)))
            if made.flat[-1] and made.sizes[-1] != MOST:
                raise FaltungError(f"group {show(said)}: a plane without a table has all bytes")
        return made

    def take(self, side: bytes) -> bytes:
        """Read palette and tables from the front; returns the rest. ValueError: too short."""
        if self.form == "values":
            size = self.sizes[0] * self.width
            columns = np.frombuffer(_front(side, size), np.uint8).reshape(self.width, -1)
            self.palette = np.ascontiguousarray(columns.T).view(f"<u{self.width}").reshape(-1)
            side = side[size:]
        for size, flat in zip(self.sizes, self.flat, strict=True):
            stored_bytes = 0 if flat or size < 2 else size
            own = _front(side, stored_bytes)
            self.tables.append(bytes([1]) * MOST if flat else own if size > 1 else bytes(1))
            side = side[stored_bytes:]
        return side


def _front(side: bytes, size: int) -> bytes:
    if len(side) < size:
        raise FaltungError("its tables are cut off")
    return side[:size]


def _within(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise FaltungError(f"{show(value)}: must be a whole number from {least} to {most}")
    return value
