"""Address tables: where each output row begins, and which taps apply to it.

Kernels go through tables along all axes but the last, so their code is the same for every rank,
size, padding and padding mode: a tap that reads zeros is not listed, and a tap in a reflected
border is an entry that points to the row it mirrors. Rows with the same pattern of taps share it.
"""

import itertools
from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import MISSING, Table, table

# What an output reads along one axis: pairs (input, tap), or of a gradient (output, tap).
Reads = Sequence[tuple[int, int]]


# All axes -----------------------------------------------------------------------------------------


def pitches(sizes: Sequence[int], unit: int = 1) -> list[int]:
    """Elements from one position of each axis to the next, in an array of these sizes in C order,
    whose entries are ``unit`` elements.
    """
    return [prod(sizes[i + 1 :]) * unit for i in range(len(sizes))]


def sums(tables: Iterable[Table], columns: int) -> Table:
    """All sums of a row of each table, in C order."""
    total = np.zeros((1, columns), np.int64)
    for rows in tables:
        total = (total[:, None] + rows).reshape(-1, columns)
    return total


def offsets(shape: Sequence[int], strides: Sequence[int]) -> Table:
    """The offset of every entry of an array, in C order."""
    return offset_columns(shape, strides)[:, 0]


def offset_columns(shape: Sequence[int], *strides: Sequence[int]) -> Table:
    """A column of ``offsets`` for each array of the same shape."""
    axes = zip(shape, *strides, strict=True)
    return sums([np.outer(np.arange(size), steps) for size, *steps in axes], len(strides))


def scaled(positions: Table, stride: int) -> Table:
    """Positions, or -1, as offsets in elements, or MISSING."""
    return np.where(positions < 0, MISSING, positions * stride)


def crossed(tables: Iterable[Table]) -> Table:
    """Offsets (output, tap) along each axis -> along all of them; MISSING where one of them is."""
    total = np.zeros((1, 1), np.int64)
    for rows in tables:
        shape = len(total) * len(rows), total.shape[1] * rows.shape[1]
        a, b = total[:, None, :, None], rows[:, None]
        total = np.where((a == MISSING) | (b == MISSING), MISSING, a + b).reshape(shape)
    return total


def reads_of(windows: Sequence[Window]) -> Table:
    """The input offset, or MISSING, of each output and tap of some axes."""
    return crossed(scaled(sources(w.axis), w.x) for w in windows)


@dataclass(frozen=True, slots=True)
class AxisRows:
    """One axis: what each row adds to the columns of the whole, and the number of its pattern.

    ``patterns``: for each the entries, pairs of offsets.
    """

    columns: Table
    numbers: Table
    patterns: Sequence[Table]


def combined(axes: Sequence[AxisRows], columns: int) -> tuple[Table, Table, Table]:
    """All combinations of the rows of the axes, the first one slowest: the sums of their columns;
    the range (first, how many) of entries of each; and the entries.
    """
    counts = pitches([len(axis.patterns) for axis in axes])
    numbers = sums([a.numbers[:, None] * n for a, n in zip(axes, counts, strict=True)], 1)[:, 0]
    tables = [sums(entries, 2) for entries in itertools.product(*(a.patterns for a in axes))]
    lengths = np.array([len(entries) for entries in tables], np.int64)
    spans = np.stack([np.cumsum(lengths) - lengths, lengths], axis=1)
    return sums([a.columns for a in axes], columns), spans[numbers], np.concatenate(tables)


def ring(positions: Table, size: int) -> Table:
    """Where positions lie in memory for ``size`` of them; 0: for all."""
    return positions % size if size else positions


def rows_of(
    windows: Sequence[Window], inner: Sequence[int], weight_step: int, aux: int = 0
) -> tuple[Table, Table]:
    """The rows along ``windows`` (all axes but the last, the first one slowest): (input base,
    output offset, first entry of its pattern, number of entries, offsets in the arrays of an
    epilogue); and the patterns of their taps: (input, weight) offsets.

    ``inner``: input offsets of the taps of the last axis that go through the table (``[0]`` where
    the kernel unrolls them). The weights of tap ``i`` of all taps begin at ``i * weight_step``.
    ``aux``: how many arrays the epilogue reads.
    """
    return _rows_of(tuple(windows), tuple(inner), weight_step, aux)


@remembered(1024)
def _rows_of(
    windows: Sequence[Window], inner: Sequence[int], weight_step: int, aux: int
) -> tuple[Table, Table]:
    axes = []
    taps = pitches([w.axis.kernel for w in windows], weight_step * len(inner))
    for w, tap in zip(windows, taps, strict=True):
        origin, numbers, found = _axis(w.axis, w.x_ring)
        at = np.arange(w.axis.output)
        others = np.outer(at, np.array(w.aux, np.int64))
        outs = np.column_stack([ring(at, w.out_ring) * w.out, others])
        patterns = [table(pattern, 2) * (w.x, tap) for pattern in found]
        axes.append(AxisRows(np.column_stack([origin * w.x, outs]), numbers, patterns))
    # The taps of the last axis are the same for all rows.
    along = table([(offset, k * weight_step) for k, offset in enumerate(inner)], 2)
    axes.append(AxisRows(np.zeros((1, 2 + aux), np.int64), np.zeros(1, np.int64), [along]))
    columns, spans, entries = combined(axes, 2 + aux)
    rows = np.column_stack([columns[:, :2], spans, columns[:, 2:]])
    return table(rows, 4 + aux), table(entries, 2)


def row_pairs(c: Correlation, rows_a_band: int) -> tuple[Table, Table]:
    """The pairs of input and output rows at each tap of all axes but the last.

    The rows of all samples, in bands of ``rows_a_band`` output rows. Returns the range of each band
    and tap (first pair, how many), and the pairs (input offset, output offset). A tap that reads
    zeros has no pair.
    """
    outer = c.windows[:-1]
    outs = offsets((c.batch, *(w.axis.output for w in outer)), (c.out[0], *(w.out for w in outer)))
    reads = crossed([offsets((c.batch,), (c.x[0],))[:, None], reads_of(outer)]).T
    taps, rows = np.nonzero(reads != MISSING)
    bands = max(1, -(-len(outs) // rows_a_band))
    cuts = np.minimum(np.arange(bands + 1, dtype=np.int64) * rows_a_band, len(outs))
    cuts = np.arange(len(reads), dtype=np.int64) * len(outs) + cuts[:, None]
    ends = np.searchsorted(taps * len(outs) + rows, cuts)
    spans = np.stack([ends[:-1], np.diff(ends, axis=0)], axis=-1)
    return table(spans, 2), table(np.stack([reads[taps, rows], outs[rows]], axis=1), 2)


# One axis -----------------------------------------------------------------------------------------


def interior(axis: Axis) -> range:
    """The outputs whose taps all read inside the array."""
    start = -(-max(axis.lo, 0) // axis.stride)
    stop = min(axis.output, max(0, (axis.size + axis.lo - axis.extent) // axis.stride + 1))
    return range(start, stop) if start < stop else range(0)


def sources(axis: Axis) -> Table:
    """The input that each output reads at each tap, (output, kernel); -1 for a zero."""
    o = np.arange(axis.output, dtype=np.int64)[:, None] * axis.stride - axis.lo
    return sources_at(axis, o + np.arange(axis.kernel, dtype=np.int64) * axis.dilation)


def sources_at(axis: Axis, positions: Table) -> Table:
    """What ``positions`` repeat; -1 for a zero, and for what lies beyond the padding."""
    stop = axis.size + axis.hi
    outside = (positions < 0) | (positions >= min(axis.size, stop))
    found = np.where(outside, -1, positions)
    if axis.mode != "zeros":
        read = [axis.source(i) if i < stop else None for i in positions[outside].tolist()]
        found[outside] = [-1 if i is None else i for i in read]
    return found


def borders(axis: Axis) -> tuple[Table, Table]:
    """The positions in the padding, and what they repeat."""
    outside = (*range(-axis.lo, 0), *range(axis.size, axis.size + axis.hi))
    positions = np.array(outside, np.int64)
    return positions, sources_at(axis, positions)


def numbered(reads: Iterable[Reads]) -> tuple[Table, Table, list[Reads]]:
    """Where each of ``reads`` begins, and the number of its pattern; and the patterns: the same,
    counted from where it begins. What reads nothing begins at 0.
    """
    firsts, numbers = [], []
    seen: dict[Reads, int] = {}
    for found in reads:
        first = found[0][0] if found else 0
        pattern = tuple((place - first, tap) for place, tap in found)
        firsts.append(first)
        numbers.append(seen.setdefault(pattern, len(seen)))
    return np.array(firsts, np.int64), np.array(numbers, np.int64), list(seen)


def _axis(axis: Axis, size: int) -> tuple[Table, Table, list[Reads]]:
    """``numbered``, for the outputs of an axis, over memory for ``size`` inputs or for all."""
    inside = range(0) if size else interior(axis)
    # Where no tap leaves the array all outputs are alike; only the others are handled one by one.
    alone = [*inside[:1], *range(inside.start), *range(inside.stop, axis.output)]
    firsts = np.arange(axis.output, dtype=np.int64) * axis.stride - axis.lo
    numbers = np.zeros(axis.output, np.int64)
    taps = np.arange(axis.kernel, dtype=np.int64) * axis.dilation
    rows = sources_at(axis, firsts[alone][:, None] + taps).tolist()
    firsts[alone], numbers[alone], patterns = numbered(
        tuple((read % size if size else read, k) for k, read in enumerate(row) if read >= 0)
        for row in rows
    )
    return firsts, numbers, patterns
