"""Where a signal cut into blocks lies in memory: runs in, runs out, taps.

All axes are one here: entry ``i`` of the padded array, its rows one after the other.
"""

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from faltung.methods.correlation import Correlation, Window
from faltung.methods.step import Table, table

Numbers = npt.NDArray[np.int64]


def tap_runs(c: Correlation, pitches: Sequence[int], length: int) -> Table:
    """Taps as runs (source, its step, place, its step, entries): tap ``t`` stands at ``-t`` in the
    circle, so that the circular convolution is the correlation.
    """
    return table([run for row in tap_places(c, pitches) for run in _circular(row, length)], 5)


def tap_places(c: Correlation, pitches: Sequence[int]) -> Table:
    """Taps as runs, each where it lies in the one axis."""
    *outer, last = c.windows
    rows = []
    choices = [list(enumerate(w.taps)) for w in outer]
    for chosen in product(*choices):
        source = sum(offset for _, offset in chosen)
        steps = zip(chosen, outer, pitches, strict=False)
        place = sum(k * w.axis.dilation * pitch for (k, _), w, pitch in steps)
        for first, step, count in _even(last.taps):
            at, along = place + first * last.axis.dilation, last.axis.dilation
            rows.append((source + last.taps[first], step, at, along, count))
    return table(rows, 5)


def _even(taps: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, step, count): the taps as stretches of one step."""
    steps = {b - a for a, b in pairwise(taps)}
    if len(steps) <= 1:
        return [(0, steps.pop() if steps else 0, len(taps))]
    return [(i, 0, 1) for i in range(len(taps))]


def _circular(run: Sequence[int], length: int) -> list[tuple[int, int, int, int, int]]:
    """A run of places ``-(place + i * along)`` in the circle; place 0 is its beginning."""
    source, step, place, along, count = (int(n) for n in run)
    if place:
        return [(source, step, length - place, -along, count)]
    rest = (source + step, step, length - along, -along, count - 1)
    return [(source, step, 0, 0, 1), *([rest] if count > 1 else [])]


def block_runs(
    c: Correlation, pitches: Sequence[int], length: int, valid: int, blocks: int
) -> tuple[Table, Table, Table]:
    """The tables of blocks, of runs in and of runs out, as ``fft_kernel`` names their columns."""
    starts = np.arange(blocks, dtype=np.int64) * valid
    ins, first_in, count_in = _inputs(c, starts, length)
    outs, first_out, count_out = _outputs(c, pitches, starts, valid)
    filled = np.zeros(blocks, np.int64)
    np.add.at(filled, np.repeat(np.arange(blocks), count_in), ins[:, 2])
    whole = (filled == length).astype(np.int64)
    rows = np.stack([first_in, count_in, whole, first_out, count_out], axis=1)
    # A last block that has no partner gets one without runs.
    rows = np.concatenate([rows, np.zeros((blocks % 2, rows.shape[1]), np.int64)])
    return table(rows, rows.shape[1]), table(ins, 3), table(outs, outs.shape[1])


def _rows(windows: Sequence[Window]) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Offsets into the input of the rows of the padded array, and which of them there are."""
    places, there = np.zeros(1, np.int64), np.ones(1, bool)
    for window in windows:
        axis = window.axis
        sources = [axis.source(i - axis.lo) for i in range(axis.padded)]
        offsets = np.array([0 if s is None else s * window.x for s in sources], np.int64)
        exist = np.array([s is not None for s in sources])
        places = np.add.outer(places, offsets).ravel()
        there = np.logical_and.outer(there, exist).ravel()
    return places, there


def _inputs(c: Correlation, starts: Numbers, length: int) -> tuple[Numbers, Numbers, Numbers]:
    """Runs (source, place in the block, entries), the first of each block, how many."""
    *outer, last = c.windows
    axis = last.axis
    places, there = _rows(outer)
    first, stop = max(0, axis.lo), axis.lo + axis.size + min(0, axis.hi)
    # Where the data of each row begin and end in the one axis, and in memory.
    numbers = np.flatnonzero(there)
    begin, end = numbers * axis.padded + first, numbers * axis.padded + stop
    source = places[numbers] + (first - axis.lo) * last.x
    if last.x == 1 and axis.padded == stop - first and len(numbers):  # rows without gaps join
        joins = (np.diff(source) == axis.padded) & (np.diff(begin) == axis.padded)
        heads = np.flatnonzero(np.concatenate([[True], ~joins]))
        tails = np.concatenate([heads[1:], [len(numbers)]]) - 1
        begin, end, source = begin[heads], end[tails], source[heads]
    return _cut_runs(begin, end, starts, length, source, last.x)


def _cut_runs(
    begin: Numbers, end: Numbers, starts: Numbers, length: int, source: Numbers, step: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Those parts of the runs ``begin`` to ``end`` that lie in each block, block by block."""
    low = np.searchsorted(end, starts, side="right")
    high = np.searchsorted(begin, starts + length, side="left")
    counts = np.maximum(0, high - low)
    block = np.repeat(np.arange(len(starts)), counts)
    firsts = np.cumsum(counts) - counts
    run = low[block] + np.arange(len(block)) - firsts[block]
    from_, to = np.maximum(begin[run], starts[block]), np.minimum(end[run], starts[block] + length)
    rows = [source[run] + (from_ - begin[run]) * step, from_ - starts[block], to - from_]
    return np.stack(rows, axis=1), firsts, counts


def _outputs(
    c: Correlation, pitches: Sequence[int], starts: Numbers, valid: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Runs (place in the block, entries, target, those of aux), the first of each block, how
    many.
    """
    *outer, last = c.windows
    axis, step = last.axis, last.axis.stride
    begin = np.zeros(1, np.int64)
    targets = [np.zeros(1, np.int64) for _ in range(1 + len(c.aux))]
    for window, pitch in zip(outer, pitches, strict=False):
        numbers = np.arange(window.axis.output, dtype=np.int64)
        begin = np.add.outer(begin, numbers * window.axis.stride * pitch).ravel()
        along = (window.out, *window.aux)
        targets = [
            np.add.outer(t, numbers * a).ravel() for t, a in zip(targets, along, strict=True)
        ]
    # Outputs from `lo` up to `hi` of row `r` lie in block `b`.
    end = begin + (axis.output - 1) * step + 1
    low = np.searchsorted(end, starts, side="right")
    high = np.searchsorted(begin, starts + valid, side="left")
    counts = np.maximum(0, high - low)
    block = np.repeat(np.arange(len(starts)), counts)
    row = low[block] + np.arange(len(block)) - (np.cumsum(counts) - counts)[block]
    lo = np.maximum(0, -((begin[row] - starts[block]) // step))
    hi = np.minimum(axis.output, -((begin[row] - starts[block] - valid) // step))
    some = hi > lo
    block, row, lo, hi = block[some], row[some], lo[some], hi[some]
    along = (last.out, *last.aux)
    at = [t[row] + lo * a for t, a in zip(targets, along, strict=True)]
    rows = np.stack([begin[row] + lo * step - starts[block], hi - lo, *at], axis=1)
    counts = np.bincount(block, minlength=len(starts)).astype(np.int64)
    return rows.astype(np.int64), np.cumsum(counts) - counts, counts
