"""What the tiled methods share: kinds of tiles along the last axis, their tables, packed weights.

``direct``, ``spatial`` and ``depthwise`` differ in what one tile does. All cut the outputs of the
last axis into tiles, leave out what lies in zeros, and go over (sample, group, block of output
channels, row, segment of a row): ``walk`` writes that.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.jit.compile import Recipe
from faltung.methods.base.addresses import rows_of
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import (
    MISSING,
    Argument,
    Arrays,
    Operand,
    Step,
    Work,
    shifted,
)
from faltung.methods.base.tiles import (
    ITEM_CYCLES,
    MAX_SEGMENT_TILES,
    Run,
    kinds_of,
    segments,
    taps_of,
)
from faltung.methods.copies.copy import copy

# Cycles of a tile beside its sums: finding its addresses, bias and store.
TILE_OVERHEAD = 30


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


def part(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    recipe: Recipe,
    runs: list[Run],
    shape: Part,
    title: str,
    barrier: bool,
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
    most = min(MAX_SEGMENT_TILES, max(1, ITEM_CYCLES // (6 * c.channels_in * c.taps)))
    cut = segments(runs, kinds, last, most)
    counts = (c.batch, c.groups, shape.blocks, len(where.rows), len(cut))
    out = shifted(arrays.out, c.out_base + shape.start * c.out[2], c.dtype)
    aux: list[Argument] = []
    for array, base, strides, along in zip(arrays.aux, c.aux_base, c.aux, last.aux, strict=True):
        batch, group, channel = strides
        aux.append(shifted(array, base + shape.start * channel, c.dtype))
        aux += (batch, group, shape.channels * channel, along, channel)
    words: list[Argument] = [
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
    work.steps.append(Step(recipe, int(np.prod(counts)), words, title, barrier))


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
