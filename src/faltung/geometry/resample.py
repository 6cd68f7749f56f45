"""Tables: a sparse linear map along one axis, such as interpolation, a crop, a flip or a padding.

Output ``o`` is the sum of ``weight * x[index]`` over the taps of row ``o``. A row without taps
reads nothing. The adjoint of such a map is the transposed table, and one map after another is a
table again. ``interpolate.py`` fills tables for other sizes.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from math import comb
from typing import cast

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungMemoryError
from faltung.geometry.record import dataclass

# Of one table: an axis of two million entries, such as two minutes of sound, takes a second.
MOST_TAPS = 1 << 21

Tap = tuple[int, float]


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """A sparse linear map from an axis of ``size`` entries; make it with ``table`` or the functions
    below.

    Parameters
    ----------
    size
        Entries of the axis that is read.
    starts
        The taps of row ``o`` are numbers ``starts[o]`` up to ``starts[o + 1]``.
    indices, weights
        Of all taps, row by row. Within a row the indices ascend, and none occurs twice.

    Raises
    ------
    ValueError
        Numbers that are no table: an index outside the axis, starts that descend.

    Examples
    --------
    >>> half = table(4, [[(0, 0.5), (1, 0.5)], [(2, 0.5), (3, 0.5)]])
    >>> half.output, half.transposed.rows()
    (2, [[(0, 0.5)], [(0, 0.5)], [(1, 0.5)], [(1, 0.5)]])
    """

    size: int
    starts: tuple[int, ...]
    indices: tuple[int, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        taps = len(self.indices)
        if self.size < 0 or not self.starts or len(self.weights) != taps:
            raise FaltungError(f"size={self.size}: a table has starts, and a weight for each tap")
        if self.starts[0] != 0 or self.starts[-1] != taps:
            raise FaltungError("starts: must begin with 0 and end with the number of taps")
        if any(b < a for a, b in pairwise(self.starts)):
            raise FaltungError("starts: must not descend")
        if taps and not 0 <= min(self.indices) <= max(self.indices) < self.size:
            raise FaltungError(f"indices: must be within the axis, 0 to {self.size - 1}")

    def __repr__(self) -> str:
        return f"<table {self.size} -> {self.output}, up to {self.taps} taps>"

    @property
    def output(self) -> int:
        """Entries of the axis that is made."""
        return len(self.starts) - 1

    def row(self, o: int) -> list[Tap]:
        """The taps of an output."""
        part = slice(self.starts[o], self.starts[o + 1])
        return list(zip(self.indices[part], self.weights[part], strict=True))

    def rows(self) -> list[list[Tap]]:
        """The taps of all outputs."""
        return [self.row(o) for o in range(self.output)]

    @property
    def counts(self) -> Iterator[int]:
        """How many taps each row has."""
        return (b - a for a, b in pairwise(self.starts))

    @property
    def taps(self) -> int:
        """The most taps of a row."""
        return max(self.counts, default=0)

    @property
    def empty(self) -> bool:
        """Whether a row reads nothing."""
        return min(self.counts, default=1) == 0

    @property
    def copies(self) -> bool:
        """Whether every row is one entry as it is, or nothing."""
        return self.taps <= 1 and all(weight == 1 for weight in self.weights)

    @property
    def identity(self) -> bool:
        """Whether the map changes nothing."""
        return self.copies and self.indices == tuple(range(self.size)) and not self.empty

    @property
    def transposed(self) -> "Table":
        """The adjoint: what it makes of a gradient of the output is that of the input."""
        rows: list[list[Tap]] = [[] for _ in range(self.size)]
        for o in range(self.output):
            for k in range(self.starts[o], self.starts[o + 1]):
                rows[self.indices[k]].append((o, self.weights[k]))
        return table(self.output, rows)

    def after(self, first: "Table") -> "Table":
        """The map ``first``, then this one. ValueError: the sizes do not meet."""
        if first.output != self.size:
            raise FaltungError(f"size={self.size}: must be the {first.output} that the first makes")
        return table(
            first.size,
            (
                [(index, weight * w) for at, weight in row for index, w in first.row(at)]
                for row in self.rows()
            ),
        )


def table(size: int, rows: Iterable[Iterable[Tap]]) -> Table:
    """A table from the taps of each row: sorted, equal indices added up, without zeros.

    MemoryError: more than ``MOST_TAPS``.
    """
    starts, indices, weights = [0], [], []
    for row in rows:
        taps = list(row)
        if len(taps) > 1:
            found: dict[int, float] = {}
            for index, weight in taps:
                found[index] = found.get(index, 0.0) + weight
            taps = sorted(found.items())
        for index, weight in taps:
            if weight != 0:
                indices.append(index)
                weights.append(float(weight))
        starts.append(len(indices))
        if len(indices) > MOST_TAPS or len(starts) > MOST_TAPS:
            raise _too_long(size)
    return Table(size, tuple(starts), tuple(indices), tuple(weights))


def _too_long(size: int) -> FaltungMemoryError:
    return FaltungMemoryError(
        f"size={size}: an axis of more than {MOST_TAPS} entries or terms is too long to be "
        "resampled; choose a smaller one"
    )


# Entries moved ------------------------------------------------------------------------------------


def selected(size: int, indices: Iterable[int | None]) -> Table:
    """A gather by constants: output ``o`` is entry ``indices[o]``; None reads nothing."""
    places = tuple(islice(indices, MOST_TAPS + 1))
    if len(places) > MOST_TAPS:
        raise _too_long(size)
    if None not in places:
        there = cast("tuple[int, ...]", places)
        return Table(size, tuple(range(len(places) + 1)), there, (1.0,) * len(there))
    found = [index is not None for index in places]
    there = tuple(index for index in places if index is not None)
    return Table(size, tuple(accumulate(found, initial=0)), there, (1.0,) * len(there))


def flipped(size: int) -> Table:
    """The entries in reverse order."""
    return selected(size, range(size - 1, -1, -1))


def rolled(size: int, shift: int) -> Table:
    """The entries moved on by ``shift``, the last ones to the front, as ``numpy.roll``."""
    return selected(size, ((o - shift) % size for o in range(size)))


def tiled(size: int, times: int) -> Table:
    """The axis repeated, as ``numpy.tile``."""
    return selected(size, (o % size for o in range(size * times)))


def repeated(size: int, times: int) -> Table:
    """Each entry repeated, as ``numpy.repeat``."""
    return selected(size, (o // times for o in range(size * times)))


# What lies outside an axis: the entry that position ``i`` of an axis of size ``n`` repeats. Unlike
# ``Axis``, whose padding is at most the axis itself, a table can be filled as far as one likes.
OUTSIDE = ("zeros", "reflect", "symmetric", "replicate", "circular")


def _source(i: int, n: int, mode: str) -> int | None:
    if 0 <= i < n:
        return i
    if mode == "zeros" or n == 0:
        return None
    if mode == "replicate":
        return 0 if i < 0 else n - 1
    if mode == "circular":
        return i % n
    if mode == "symmetric":
        i %= 2 * n
        return i if i < n else 2 * n - 1 - i
    if n == 1:
        return 0
    i %= 2 * (n - 1)
    return i if i < n else 2 * (n - 1) - i


def padded(size: int, lo: int, hi: int, mode: str = "zeros") -> Table:
    """The axis with ``lo`` entries before and ``hi`` after it; negative numbers take entries away.

    mode: one of ``OUTSIDE``. What "zeros" adds reads nothing. ValueError: another mode, or no
    entries left.
    """
    _mode(mode)
    if size + lo + hi < 0:
        raise FaltungError(f"padding={lo, hi}: leaves nothing of an axis of {size} entries")
    # Taking away comes first: what is added continues what is left.
    first, stop = max(0, -lo), size - max(0, -hi)
    left = stop - first
    if left + max(0, lo) + max(0, hi) > MOST_TAPS:
        raise _too_long(size)
    ends = [
        [_source(i, left, mode) for i in span]
        for span in (range(-max(0, lo), 0), range(left, left + max(0, hi)))
    ]
    before, after = ([None if i is None else first + i for i in end] for end in ends)
    return selected(size, (*before, *range(first, stop), *after))


def _mode(mode: str) -> None:
    if mode not in OUTSIDE:
        raise FaltungError(f"mode={show(mode)}: must be one of {', '.join(OUTSIDE)}")


# Windows ------------------------------------------------------------------------------------------


def averaged(size: int, output: int) -> Table:
    """Adaptive average pooling: means of windows as equal as they can be, which overlap where the
    sizes do not divide.

    Output ``o`` is the mean of the entries from floor(o n / m) up to ceil((o + 1) n / m), of n
    entries and m outputs, as in PyTorch.
    """
    rows = []
    for o in range(output):
        first, stop = o * size // output, -(-(o + 1) * size // output)
        rows.append([(i, 1 / (stop - first)) for i in range(first, stop)])
    return table(size, rows)


def filtered(
    size: int, weights: Sequence[float], *, stride: int = 1, lo: int = 0, hi: int = 0, mode: str
) -> Table:
    """A correlation with fixed weights along the axis, every ``stride``; padding as in ``padded``.

    ValueError: more weights than the padded axis has entries.
    """
    _mode(mode)
    count = (size + lo + hi - len(weights)) // stride + 1
    if count < 1:
        raise FaltungError(f"weights={show(weights)}: must not be more than the padded axis has")
    rows = []
    for o in range(count):
        places = (_source(o * stride - lo + k, size, mode) for k in range(len(weights)))
        pairs = zip(places, weights, strict=True)
        rows.append([(i, weight) for i, weight in pairs if i is not None])
    return table(size, rows)


def binomial(count: int) -> tuple[float, ...]:
    """The weights of a blur with ``count`` taps: binomial coefficients that add up to 1.

    R. Zhang, *Making convolutional networks shift-invariant again*, ICML 2019.
    """
    return tuple(comb(count - 1, k) / 2 ** (count - 1) for k in range(count))
