"""Patches of ``grouped``: what one item copies into the first-level cache before it computes.

Neighbouring positions lie all channels apart, and where that is a power of two they fall into a few
lines of the cache. An item therefore takes a box of outputs of a few vectors of channels and copies
the inputs that they read side by side, with the zeros of the last axis; rows of the other axes that
lie in the padding are in no table.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import prod

import numpy as np

from faltung.codegen.tile import split
from faltung.geometry.axis import Axis
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import Table, table
from faltung.methods.base.tiles import Run, kinds_of
from faltung.methods.grouped.tables import apart, pairs_of, tables_of

Pairs = list[tuple[int, int]]

# Cycles to copy a vector, and of a line beside that.
VECTOR, START = 2.0, 30
# Parts that the last axis may be cut into.
PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096)


# Which patch --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patch:
    """``counts``: rows, or pairs of rows, of each outer axis in one box; ``stretch``: tiles of the
    last axis; ``extents``: input positions of each axis. ``outputs``: of one channel; ``cycles``:
    of copies for each of them.
    """

    counts: tuple[int, ...]
    stretch: int
    extents: tuple[int, ...]
    outputs: int
    cycles: float

    @property
    def positions(self) -> int:
        return prod(self.extents)


@lru_cache(256)
def best_patch(
    axes: tuple[Axis, ...], rows: int, columns: int, room: int, most: int
) -> Patch | None:
    """The patch of at most ``room`` positions that takes least to copy, for tiles of ``rows`` by
    ``columns``; None where none is so small. ``most``: outputs of an item, if it can be.

    For each stretch boxes grow along the axis that is then the cheapest.
    """

    def rank(patch: Patch) -> tuple[bool, float]:
        return patch.outputs > most, patch.cycles

    tiles = -(-axes[-1].output // columns)
    best: Patch | None = None
    for stretch in dict.fromkeys(-(-tiles // parts) for parts in PARTS):
        found = _patch(axes, rows, columns, (1,) * (len(axes) - 1), stretch)
        while found.positions <= room:
            if best is None or rank(found) < rank(best):
                best = found
            larger = [
                _patch(axes, rows, columns, counts, stretch)
                for counts in _larger(axes, rows, found.counts)
            ]
            fits = [patch for patch in larger if patch.positions <= room]
            if not fits or found.outputs > most:
                break
            found = min(fits, key=rank)
    return best


def _larger(axes: Sequence[Axis], rows: int, counts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The counts with one more along one axis."""
    return [
        (*counts[:i], count + 1, *counts[i + 1 :])
        for i, count in enumerate(counts)
        if count < (_pairs(axes[i]) if rows > 1 and i == len(counts) - 1 else axes[i].output)
    ]


def _patch(
    axes: Sequence[Axis], rows: int, columns: int, counts: tuple[int, ...], stretch: int
) -> Patch:
    *outer, last = axes
    along = min(stretch * columns, last.output)
    extents = [(along - 1) * last.stride + last.extent]
    outputs = along
    for i in reversed(range(len(outer))):
        two = rows > 1 and i == len(outer) - 1
        span = _span(apart(outer[i]) if two else 0, counts[i])
        extents.insert(0, (span - 1) * outer[i].stride + outer[i].extent)
        outputs *= min(outer[i].output, (1 + two) * counts[i])
    lines = prod(extents[:-1])
    copied = lines * (extents[-1] * VECTOR + START)
    return Patch(counts, stretch, tuple(extents), outputs, copied / outputs)


def _pairs(axis: Axis) -> int:
    """How many ``pairs_of`` finds."""
    whole, rest = divmod(axis.output, 2 * apart(axis))
    return whole * apart(axis) + min(rest, apart(axis))


@cache
def _span(apart: int, count: int) -> int:
    """Outputs from the first to the last of ``count`` neighbours among pairs ``apart``, at the
    most; 0: among single outputs.
    """
    if not apart:
        return count
    firsts = [i // apart * 2 * apart + i % apart for i in range(apart + count)]
    return 1 + max(
        max(firsts[start : start + count]) + apart - firsts[start] for start in range(apart)
    )


def _entries(axes: Sequence[Axis], rows: int) -> list[Pairs]:
    """What is counted in a box: outputs of each outer axis, pairs in the last where rows are 2."""
    found = [[(o, o) for o in range(axis.output)] for axis in axes]
    if rows > 1:
        found[-1] = pairs_of(axes[-1])
    return found


def _cut(entries: Pairs, most: int) -> list[Pairs]:
    """The entries of one axis in boxes of nearly one size."""
    made, at = [], 0
    for size, times in split(len(entries), most):
        for _ in range(times):
            made.append(entries[at : at + size])
            at += size
    return made


# The tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patches:
    """The tables as ``grouped_items`` reads them."""

    boxes: Table
    lines: Table
    rows: Table
    stretches: Table
    segments: Table
    spans: Table
    entries: Table


def patches_of(
    windows: Sequence[Window],
    patch: Patch,
    rows: int,
    runs: Sequence[Run],
    inputs: int,
    inner: Sequence[int],
    weights: int,
    aux: int,
) -> Patches:
    """``inputs``: elements of a position in a patch; the others as for ``tables_of``."""
    *outer, last = windows
    pitches = [inputs * prod(patch.extents[i + 1 :]) for i in range(len(outer))]
    staged = [replace(w, x=pitch) for w, pitch in zip(outer, pitches, strict=True)]
    tables = tables_of(staged, rows, inner, weights, aux, True)
    every = _entries([w.axis for w in outer], rows)
    boxes = [_cut(entries, count) for entries, count in zip(every, patch.counts, strict=True)]
    order = np.arange(len(tables.rows)).reshape([len(entries) for entries in every])
    parts = [
        [_part(w, box, pitch) for box in along]
        for w, along, pitch in zip(outer, boxes, pitches, strict=True)
    ]
    starts = [np.cumsum([0, *map(len, along)]) for along in boxes]
    heads, lines, turned = [], [], []
    done = [0, 0]
    for where in itertools.product(*(range(len(along)) for along in boxes)):
        here = tuple(slice(start[i], start[i + 1]) for start, i in zip(starts, where, strict=True))
        source, target, begin = np.zeros(1, np.int64), np.zeros(1, np.int64), 0
        for along, i in zip(parts, where, strict=True):
            source = np.add.outer(source, along[i][0]).ravel()
            target = np.add.outer(target, along[i][1]).ravel()
            begin += along[i][2]
        picked = tables.rows[order[here].ravel()]
        picked[:, 0] -= begin
        heads.append((done[0], len(source), done[1], len(picked)))
        lines.append(np.stack([source, target], axis=1))
        turned.append(picked)
        done = [done[0] + len(source), done[1] + len(picked)]
    stretches, made = _stretches(last, patch.stretch, runs, inputs, aux)
    return Patches(
        table(heads, 4),
        table(np.concatenate(lines), 2),
        table(np.concatenate(turned), tables.rows.shape[1]),
        stretches,
        made,
        tables.spans,
        tables.entries,
    )


def _part(window: Window, box: Pairs, pitch: int) -> tuple[Table, Table, int]:
    """Along one axis: where the rows of a box lie in the input and in the patch, and how far the
    patch begins from the first row of the padded input.
    """
    axis = window.axis
    first = box[0][0] * axis.stride
    outputs = {o for pair in box for o in pair}
    taps = [k * axis.dilation for k in range(axis.kernel)]
    used = sorted({o * axis.stride + tap for o in outputs for tap in taps})
    found = [(axis.source(p - axis.lo), p) for p in used]
    both = table([(s * window.x, (p - first) * pitch) for s, p in found if s is not None], 2)
    return both[:, 0], both[:, 1], first * pitch


def _stretches(
    last: Window, most: int, runs: Sequence[Run], inputs: int, aux: int
) -> tuple[Table, Table]:
    """The last axis: (input of the first column that is loaded, zeros before, columns, zeros
    behind, first run, runs), and runs (kind, tiles, place in the patch, output, those of ``aux``).
    """
    axis, kinds = last.axis, kinds_of(runs)
    tiles = sum(count for _, _, count in runs)
    sizes = [size for size, times in split(tiles, most) for _ in range(times)]
    rest = list(runs)
    stretches: list[tuple[int, ...]] = []
    made: list[tuple[int, ...]] = []
    for size in sizes:
        taken: list[Run] = []
        while size:
            kind, first, count = rest[0]
            here = min(size, count)
            taken.append((kind, first, here))
            size -= here
            left = (kind, first + here * kind.positions, count - here)
            rest[:1] = [left] if here < count else []
        kind, first, count = taken[-1]
        start = taken[0][1] * axis.stride - axis.lo
        stop = (first + count * kind.positions - 1) * axis.stride - axis.lo + axis.extent
        begin, end = (min(max(place, 0), axis.size) for place in (start, stop))
        before = min(max(-start, 0), stop - start)
        loaded = max(0, end - begin)
        stretches.append(
            (begin * last.x, before, loaded, stop - start - before - loaded, len(made), len(taken))
        )
        for kind, first, count in taken:
            place = (first * axis.stride - axis.lo - start) * inputs
            outs = (first * stride for stride in (last.out, *last.aux))
            made.append((kinds.index(kind), count, place, *outs))
    return table(stretches, 6), table(made, 4 + aux)
