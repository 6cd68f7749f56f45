"""Tables of where the blocks of a signal lie in memory: segments in, segments out, taps.

All axes are one here: entry ``i`` of a padded box, its rows one after another.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from faltung.methods.base.addresses import crossed, pitches, scaled, sources_at, sums
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import MISSING, Table, table
from faltung.methods.fft.cut import Box, BoxAxis, Cut, boxes
from faltung.methods.fft.kernel import AS_IS

Numbers = npt.NDArray[np.int64]


def tap_segments(c: Correlation, made: Cut) -> Table:
    """Taps as segments (source, its step, place, its step, entries): tap ``t`` is at ``-t`` in the
    circle, so that the circular convolution is the correlation.
    """
    rows = tap_places(c, made) * (1, 1, -1, -1, 1) + (0, 0, made.length, 0, 0)
    # The first tap is at 0, where the circle begins, the others of its segment at the end.
    source, step, length, along, count = rows[0].tolist()
    first = [(source, step, 0, 0, 1), (source + step, step, length + along, along, count - 1)]
    return table([*first[: min(count, 2)], *rows[1:]], 5)


def tap_places(c: Correlation, made: Cut) -> Table:
    """Taps as segments, each where it lies in the one axis."""
    *outer, last = c.windows
    found = []
    for w, pitch in zip(outer, pitches(made.widths), strict=False):
        step = w.axis.dilation * pitch
        found.append(table([(offset, 0, k * step, 0, 0) for k, offset in enumerate(w.taps)], 5))
    step = last.axis.dilation
    even = [(last.taps[k], along, k * step, step, n) for k, along, n in _even(last.taps)]
    return sums([*found, table(even, 5)], 5)


def _even(taps: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, step, count): the taps as segments of one step."""
    steps = {b - a for a, b in pairwise(taps)}
    if len(steps) <= 1:
        return [(0, steps.pop() if steps else 0, len(taps))]
    return [(i, 0, 1) for i in range(len(taps))]


def block_segments(c: Correlation, made: Cut) -> tuple[Table, Table, Table]:
    """The tables of blocks, of segments in and out, as ``kernel`` names their columns."""
    parts = [_box_segments(c, box, made) for box in boxes(c.windows, made)]
    blocks, ins, outs = map(list, zip(*parts, strict=True))
    firsts = [np.cumsum([0, *map(len, segments)]) for segments in (ins, outs)]
    for rows, first_in, first_out in zip(blocks, *firsts, strict=False):
        rows += (first_in, 0, 0, first_out, 0)
    # The first block of every box before the second: what they share is still in a cache.
    rows = np.stack(blocks, axis=1).reshape(-1, 5)
    if made.blocks % 2:  # a last block that has no partner gets one without segments
        rows = np.concatenate([rows, np.zeros((1, 5), np.int64)])
    # A row behind each table: also where there are no segments, the first of them can be read.
    i, o = (
        np.concatenate([*of_boxes, np.zeros((1, of_boxes[0].shape[1]), np.int64)])
        for of_boxes in (ins, outs)
    )
    return table(rows, 5), table(i, i.shape[1]), table(o, o.shape[1])


def _box_segments(c: Correlation, box: Box, made: Cut) -> tuple[Numbers, Numbers, Numbers]:
    starts = np.arange(made.each, dtype=np.int64) * made.valid
    ins, count_in = _inputs(box, starts, made.length)
    outs, count_out = _outputs(c, box, starts, made.valid)
    filled = np.zeros(made.each, np.int64)
    np.add.at(filled, np.repeat(np.arange(made.each), count_in), ins[:, 2])
    whole = (filled == made.length).astype(np.int64)
    if len(box) > 1:
        *_, above, last = box
        width, window = last.width, above.window
        ins, count_in = _repeated(ins, 3, count_in, [window.x, width, 0])
        steps = [width * window.axis.stride, 0, window.out, *window.aux]
        outs, count_out = _repeated(outs, 2, count_out, steps)
    else:
        ins, outs = (np.insert(segments, at, 1, axis=1) for segments, at in ((ins, 3), (outs, 2)))
    firsts = [np.cumsum(count) - count for count in (count_in, count_out)]
    if len(ins):
        segment = ins[np.minimum(firsts[0], len(ins) - 1)]
        as_is = (segment[:, 2] == box[-1].width) & (segment[:, 2] * segment[:, 3] == made.length)
        whole[as_is & (count_in == 1)] = AS_IS
    return np.stack([firsts[0], count_in, whole, firsts[1], count_out], axis=1), ins, outs


def _repeated(
    segments: Numbers, at: int, counts: Numbers, steps: Sequence[int]
) -> tuple[Numbers, Numbers]:
    """Segments that follow each other at these steps, and in one block, as one of several times,
    whose number is in column ``at``; how many there are of each block.
    """
    block = np.repeat(np.arange(len(counts)), counts)
    same = (np.diff(segments, axis=0) == np.array(steps)).all(axis=1) & (np.diff(block) == 0)
    heads = np.flatnonzero(np.append(True, ~same)[: len(segments)])
    times = np.diff(heads, append=len(segments))
    left = np.bincount(block[heads], minlength=len(counts)).astype(np.int64)
    return np.insert(segments[heads], at, times, axis=1), left


def _rows(along: Sequence[BoxAxis]) -> Numbers:
    """Offsets into the input of the rows of a box, or MISSING."""
    found = []
    for part in along:
        at = np.arange(part.first, part.first + part.width, dtype=np.int64)[:, None]
        found.append(scaled(sources_at(part.window.axis, at - part.window.axis.lo), part.window.x))
    return crossed(found)[:, 0]


def _inputs(box: Box, starts: Numbers, length: int) -> tuple[Numbers, Numbers]:
    """Segments (source, place in the block, entries), and how many there are of each block."""
    *outer, last = box
    axis, width, step = last.window.axis, last.width, last.window.x
    places = _rows(outer)
    # Where the data of each row begin and end: in the row, in the one axis, in memory.
    first = max(0, axis.lo - last.first)
    stop = min(width, axis.lo + axis.size + min(0, axis.hi) - last.first)
    numbers = np.flatnonzero(places != MISSING) if stop > first else np.zeros(0, np.int64)
    begin, end = numbers * width + first, numbers * width + stop
    source = places[numbers] + (last.first + first - axis.lo) * step
    if step == 1 and width == stop - first and len(numbers):  # rows without gaps join
        joins = (np.diff(source) == width) & (np.diff(begin) == width)
        heads = np.flatnonzero(np.append(True, ~joins))
        begin, end, source = begin[heads], np.append(end[heads[1:] - 1], end[-1]), source[heads]
    return _cut_segments(begin, end, starts, length, source, step)


def _cut_segments(
    begin: Numbers, end: Numbers, starts: Numbers, length: int, source: Numbers, step: int
) -> tuple[Numbers, Numbers]:
    """Those parts of the segments ``begin`` to ``end`` that lie in each block, block by block."""
    block, i, counts = _meeting(begin, end, starts, length)
    start = starts[block]
    from_, to = np.maximum(begin[i], start), np.minimum(end[i], start + length)
    rows = [source[i] + (from_ - begin[i]) * step, from_ - start, to - from_]
    return np.stack(rows, axis=1), counts


def _meeting(
    begin: Numbers, end: Numbers, starts: Numbers, length: int
) -> tuple[Numbers, Numbers, Numbers]:
    """Which segments ``begin`` to ``end`` meet which blocks: the numbers of both, block by block,
    and how many segments meet each block.
    """
    low = np.searchsorted(end, starts, side="right")
    high = np.searchsorted(begin, starts + length, side="left")
    counts = np.maximum(0, high - low)
    block = np.repeat(np.arange(len(starts)), counts)
    return block, low[block] + np.arange(len(block)) - (np.cumsum(counts) - counts)[block], counts


def _outputs(c: Correlation, box: Box, starts: Numbers, valid: int) -> tuple[Numbers, Numbers]:
    """Segments (place in the block, entries, target, those of aux), and how many there are of each
    block.
    """
    *outer, last = box
    window, step = last.window, last.window.axis.stride
    found = []
    for part, pitch in zip(outer, pitches([p.width for p in box]), strict=False):
        numbers = np.arange(part.count, dtype=np.int64)
        steps = (part.window.axis.stride * pitch, part.window.out, *part.window.aux)
        first = (0, *(part.start * step for step in steps[1:]))
        found.append(first + np.outer(numbers, steps))
    begin, *targets = sums(found, 2 + len(c.aux)).T
    # Outputs from `lo` up to `hi` of row `r` lie in block `b`.
    end = begin + (last.count - 1) * step + 1
    block, row, _ = _meeting(begin, end, starts, valid)
    lo = np.maximum(0, -((begin[row] - starts[block]) // step))
    hi = np.minimum(last.count, -((begin[row] - starts[block] - valid) // step))
    some = hi > lo
    block, row, lo, hi = block[some], row[some], lo[some], hi[some]
    along = (window.out, *window.aux)
    at = [t[row] + (last.start + lo) * a for t, a in zip(targets, along, strict=True)]
    rows = np.stack([begin[row] + lo * step - starts[block], hi - lo, *at], axis=1)
    counts = np.bincount(block, minlength=len(starts)).astype(np.int64)
    return rows.astype(np.int64), counts
