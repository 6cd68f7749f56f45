"""Address tables: where each output row begins, and which taps apply to it.

Kernels go through tables along all axes but the last, so their code is the same for every rank,
size, padding and padding mode: a tap that reads zeros is not listed, and a tap in a reflected
border is an entry that points to the row it mirrors. Rows with the same pattern of taps share it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faltung.geometry.axis import Axis
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.step import Table, table

# The taps of one output along one axis: (tap, input offset relative to the first listed tap).
Pattern = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Tables of output rows and of the patterns of their taps.

    ``rows``: (input base, output offset, first entry of its pattern, number of entries, offsets in
    the arrays of an epilogue). ``patterns``: (input, weight) offsets.
    """

    rows: Table
    patterns: Table


def rows_of(
    windows: Sequence[Window], inner: Sequence[int], weight_step: int, aux: int = 0
) -> Rows:
    """The rows along ``windows`` (all axes but the last, the first one slowest).

    ``inner``: input offsets of the taps of the last axis that go through the table (``[0]`` where
    the kernel unrolls them). The weights of tap ``i`` of all taps begin at ``i * weight_step``.
    ``aux``: how many arrays the epilogue reads.
    """
    per_axis = [_axis(window) for window in windows]
    bases = np.zeros(1, dtype=np.int64)
    outs = np.zeros((1, 1 + aux), dtype=np.int64)
    kinds = np.zeros(1, dtype=np.int64)
    for window, (origin, number, patterns) in zip(windows, per_axis, strict=True):
        steps = np.array([window.out, *window.aux], dtype=np.int64)
        positions = np.arange(window.axis.output, dtype=np.int64)[:, None] * steps
        bases = (bases[:, None] + origin).ravel()
        outs = (outs[:, None] + positions).reshape(-1, 1 + aux)
        kinds = (kinds[:, None] * len(patterns) + number).ravel()
    spans, entries = _combined(
        windows, [patterns for _, _, patterns in per_axis], inner, weight_step
    )
    rows = np.column_stack([bases, outs[:, 0], spans[kinds], outs[:, 1:]])
    return Rows(table(rows, 4 + aux), table(entries, 2))


def offsets(shape: Sequence[int], strides: Sequence[int]) -> Table:
    """The offset of every entry of an array, in C order."""
    total = np.zeros(1, dtype=np.int64)
    for size, stride in zip(shape, strides, strict=True):
        total = (total[:, None] + np.arange(size, dtype=np.int64) * stride).ravel()
    return total


def interior(axis: Axis) -> range:
    """The outputs whose taps all read inside the array."""
    start = -(-max(axis.lo, 0) // axis.stride)
    stop = min(axis.output, max(0, (axis.size + axis.lo - axis.extent) // axis.stride + 1))
    return range(start, stop) if start < stop else range(0)


def sources(axis: Axis) -> Table:
    """The input that each output reads at each tap, (output, kernel); -1 for a zero."""
    o = np.arange(axis.output, dtype=np.int64)[:, None] * axis.stride - axis.lo
    found = o + np.arange(axis.kernel, dtype=np.int64) * axis.dilation
    inside = interior(axis)
    for i in (*range(inside.start), *range(inside.stop, axis.output)):
        row = [axis.source(int(where)) for where in found[i]]
        found[i] = [-1 if where is None else where for where in row]
    return found


def row_pairs(c: Correlation, rows_a_band: int) -> tuple[Table, Table]:
    """The pairs of input and output rows at each tap of all axes but the last.

    The rows of all samples, in bands of ``rows_a_band`` output rows. Returns the range of each band
    and tap (first pair, how many), and the pairs (input offset, output offset). A tap that reads
    zeros has no pair.
    """
    outer = c.windows[:-1]
    shape = (c.batch, *(w.axis.output for w in outer))
    samples = np.arange(c.batch, dtype=np.int64)
    outs = offsets(shape, (c.out[0], *(w.out for w in outer)))
    reads = [sources(w.axis) for w in outer]
    bands = max(1, -(-len(outs) // rows_a_band))
    cuts = np.arange(bands + 1, dtype=np.int64) * rows_a_band
    spans = np.empty((bands, c.taps // c.windows[-1].axis.kernel, 2), dtype=np.int64)
    parts: list[Table] = []
    done = 0
    for number, taps in enumerate(itertools.product(*(range(w.axis.kernel) for w in outer))):
        x = samples * c.x[0]
        present = np.ones(len(x), dtype=bool)
        for w, read, k in zip(outer, reads, taps, strict=True):
            x = (x[:, None] + read[:, k] * w.x).ravel()
            present = (present[:, None] & (read[:, k] >= 0)).ravel()
        (rows,) = np.nonzero(present)
        ends = np.searchsorted(rows, cuts)
        spans[:, number, 0] = done + ends[:-1]
        spans[:, number, 1] = np.diff(ends)
        parts.append(np.stack([x[rows], outs[rows]], axis=1))
        done += len(rows)
    return table(spans.reshape(-1, 2), 2), table(np.concatenate(parts), 2)


def _axis(window: Window) -> tuple[Table, Table, list[Pattern]]:
    """The input offset and the pattern number of each output of one axis; and the patterns."""
    axis = window.axis
    inside = interior(axis)
    # Where no tap leaves the array all outputs are alike; only the others are handled one by one.
    origin = (np.arange(axis.output, dtype=np.int64) * axis.stride - axis.lo) * window.x
    number = np.zeros(axis.output, dtype=np.int64)
    seen: dict[Pattern, int] = {}
    if inside:
        seen[tuple((k, k * axis.dilation * window.x) for k in range(axis.kernel))] = 0
    for o in (*range(inside.start), *range(inside.stop, axis.output)):
        first = o * axis.stride - axis.lo
        present = [(k, axis.source(first + k * axis.dilation)) for k in range(axis.kernel)]
        taps = [(k, where * window.x) for k, where in present if where is not None]
        origin[o] = taps[0][1] if taps else 0
        pattern = tuple((k, where - int(origin[o])) for k, where in taps)
        number[o] = seen.setdefault(pattern, len(seen))
    return origin, number, list(seen)


def _combined(
    windows: Sequence[Window], patterns: list[list[Pattern]], inner: Sequence[int], weight_step: int
) -> tuple[Table, list[tuple[int, int]]]:
    """Combine the patterns of all axes: (first entry, how many) of each, and the entries."""
    spans: list[tuple[int, int]] = []
    entries: list[tuple[int, int]] = []
    for combination in itertools.product(*patterns):
        start = len(entries)
        for taps in itertools.product(*combination):
            number = 0
            for window, (k, _) in zip(windows, taps, strict=True):
                number = number * window.axis.kernel + k
            offset = sum(where for _, where in taps)
            for k, where in enumerate(inner):
                entries.append((offset + where, (number * len(inner) + k) * weight_step))
        spans.append((start, len(entries) - start))
    return table(spans, 2), entries
