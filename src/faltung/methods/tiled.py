"""What the tiled methods share: kinds of tiles along the last axis, their tables, packed weights.

``direct``, ``spatial`` and ``depthwise`` differ in what one tile does. All cut the outputs of the
last axis into tiles, leave out what lies in zeros, and go over (sample, group, block of output
channels, row, segment of a row): ``walk`` writes that.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faltung.codegen.tile import split
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.axis import Axis
from faltung.jit.compile import Recipe
from faltung.methods.addresses import interior, rows_of
from faltung.methods.copy import copy
from faltung.methods.correlation import Correlation, Window
from faltung.methods.step import (
    MISSING,
    Arrays,
    Operand,
    Step,
    Table,
    Word,
    Work,
    shifted,
    table,
)

# Tiles in one item of work at the most, and cycles that are enough for one: long rows are cut so
# that threads can share them.
SEGMENT = 16
ITEM = 6000
# Cycles of a tile beside its sums: finding its addresses, bias and store.
TILE_OVERHEAD = 30
# Items that a row is cut into at the most.
SEGMENTS = 4096


@dataclass(frozen=True)
class Kind:
    """One kind of tile: its output positions, and for each unrolled tap those whose input is a
    zero.
    """

    positions: int
    outside: tuple[tuple[int, ...], ...]


# One run of tiles: kind, first output, how many.
Run = tuple[Kind, int, int]


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Output channels of every group from ``start`` on, in ``blocks`` blocks of ``channels``.

    A block is packed ``width`` wide, the rest zeros. ``unrolled``: the last axis's taps are in the
    code.
    """

    start: int
    blocks: int
    channels: int
    width: int
    unrolled: bool


def taps_of(last: Window) -> tuple[int, ...]:
    """Input offsets of the taps of the last axis."""
    return tuple(k * last.axis.dilation * last.x for k in range(last.axis.kernel))


def kinds_of(runs: Sequence[Run]) -> tuple[Kind, ...]:
    return tuple(dict.fromkeys(kind for kind, _, _ in runs))


def tiles_of(axis: Axis, sizes: Sequence[tuple[int, int]], unrolled: bool) -> list[Run]:
    """The tiles along the last axis as runs of one kind, from (size, count) pairs in their order.

    Only tiles that reach into the padding are looked at one by one.
    """
    taps = axis.kernel if unrolled else 1
    inside = interior(axis)
    # Outputs before `left` and from `right` on read nothing but padding.
    left = max(0, -(-(axis.lo - axis.extent + 1) // axis.stride))
    right = -(-(axis.size + axis.lo) // axis.stride)
    runs: list[Run] = []
    start = 0
    for size, count in sizes:
        plain = Kind(size, ((),) * taps)
        blank = Kind(size, (tuple(range(size)),) * taps)
        while count:
            if not unrolled:
                kind, done = plain, count
            elif start in inside and start + size <= inside.stop:
                kind, done = plain, (inside.stop - start) // size
            elif start + size <= left:
                kind, done = blank, (left - start) // size
            elif start >= right:
                kind, done = blank, count
            else:
                kind, done = _edge(axis, start, size), 1
            done = min(done, count)
            runs.append((kind, start, done))
            start += size * done
            count -= done
    return runs


def _edge(axis: Axis, start: int, size: int) -> Kind:
    """A tile of which some taps may lie in the padding."""
    first = start * axis.stride - axis.lo
    outside = tuple(
        tuple(
            p
            for p in range(size)
            if axis.source(first + p * axis.stride + k * axis.dilation) is None
        )
        for k in range(axis.kernel)
    )
    return Kind(size, outside)


def part(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    recipe: Recipe,
    runs: list[Run],
    shape: Part,
    title: str,
    after: bool,
) -> None:
    """Add the steps for the output channels of ``shape``: packing, then the tiles."""
    *outer, last = c.windows
    packed, bias = pack(c, work, arrays, shape)
    tap = c.channels_in * shape.width
    offsets = taps_of(last)
    inner = (0,) if shape.unrolled else offsets
    step = tap * len(offsets) if shape.unrolled else tap
    where = rows_of(outer, inner, step, len(c.aux))
    kinds = kinds_of(runs)
    # Every product of a tile takes about six cycles: 12 sums, two in each.
    most = min(SEGMENT, max(1, ITEM // (6 * c.channels_in * c.taps)))
    cut = segments(runs, kinds, last, most)
    counts = (c.batch, c.groups, shape.blocks, len(where.rows), len(cut))
    out = shifted(arrays.out, c.out_base + shape.start * c.out[2], c.dtype)
    aux: list[Word] = []
    for array, base, strides, along in zip(arrays.aux, c.aux_base, c.aux, last.aux, strict=True):
        batch, group, channel = strides
        aux.append(shifted(array, base + shape.start * channel, c.dtype))
        aux += (batch, group, shape.channels * channel, along, channel)
    words: list[Word] = [
        *(shifted(arrays.x, c.x_base, c.dtype), packed, out, bias),
        *(where.rows, cut, where.patterns),
        *counts,
        *c.x,
        *(c.out[0], c.out[1], shape.channels * c.out[2], last.out, c.out[2]),
        *(tap * c.taps, c.channels_in, shape.width),
        *aux,
    ]
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    work.steps.append(Step(recipe, int(np.prod(counts)), words, title, after))


def segments(runs: list[Run], kinds: tuple[Kind, ...], last: Window, tiles: int = SEGMENT) -> Table:
    """The tiles of one row: (kind, tiles, input offset, output offset, those of ``aux`` arrays).

    ``tiles``: how many at the most, unless the row is very long; in parts of nearly one size, so
    that items take equally long.
    """
    most = max(tiles, sum(count for _, _, count in runs) // SEGMENTS)
    parts = []
    for kind, first, count in runs:
        sizes = [size for size, times in split(count, most) for _ in range(times)]
        done = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        at = first + done * kind.positions
        position = (at * last.axis.stride - last.axis.lo) * last.x
        number = np.full_like(done, kinds.index(kind))
        places = [at * stride for stride in (last.out, *last.aux)]
        parts.append(np.stack([number, np.array(sizes, np.int64), position, *places], axis=1))
    return table(np.concatenate(parts), 4 + len(last.aux))


def pack(c: Correlation, work: Work, arrays: Arrays, shape: Part) -> tuple[Operand, Operand]:
    """Weights as (group, block, tap, input channel, output channel of the block), and the bias
    likewise.
    """
    tap = c.channels_in * shape.width
    bytes_ = ELEMENTS[c.dtype][1]
    packed = Operand(work.keep("weights", c.groups * shape.blocks * c.taps * tap * bytes_))
    bias = Operand(work.keep("bias", c.groups * shape.blocks * shape.width * bytes_))
    outer, biases = [], []
    for number, (g, b) in enumerate(itertools.product(range(c.groups), range(shape.blocks))):
        channel = shape.start + b * shape.channels
        outer.append((g * c.w[0] + channel * c.w[1], number * c.taps * tap))
        biases.append((g * c.channels_out + channel if arrays.bias else 0, number * shape.width))
    offsets = np.zeros(1, np.int64)
    for window in c.windows:
        offsets = (offsets[:, None] + np.array(window.taps, np.int64)).ravel()
    runs = np.empty((c.taps, c.channels_in, 3), np.int64)
    within = np.arange(c.channels_in)
    runs[..., 0] = offsets[:, None] + within * c.w[2]
    runs[..., 1] = np.arange(c.taps)[:, None] * tap + within * shape.width
    runs[..., 2] = shape.channels
    title = "pack weights"
    pack_weights = copy(
        c.dtype, arrays.w, packed, outer, runs, stride=c.w[1], fill=shape.width, title=title
    )
    source = [(0 if arrays.bias else MISSING, 0, shape.channels)]
    given = arrays.bias or packed
    pack_bias = copy(c.dtype, given, bias, biases, source, fill=shape.width, title="pack bias")
    work.prepare += [pack_weights, pack_bias]
    return packed, bias
