"""Grouped convolution with few channels a group: vectors across the groups.

What it is.  Groups of at most half a vector of output channels lie side by side in the lanes. The
  inputs of a block of groups are loaded as they lie, and each lane takes the channel of its own
  group: a shuffle in registers for each input channel (a broadcast where a block is one group).
  A tile is one or two rows by a few columns of outputs (``grouped_kernel``); ``depthwise`` is the
  case of one channel in and one out.
When it applies.  Output channels of a group fit a vector; channels lie side by side in the input.
What it costs.  A load, or a shuffle, for each column and tap, which in tiles of two rows serves two
  multiply-adds. Long rows of taps in padding do not fit the code: then the input is copied first,
  a block of channels after the other, so that neighbouring positions are neighbours in memory.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import MISSING, Argument, Arrays, Operand, Step, Table, Work, shifted
from faltung.methods.base.tiles import Run, kinds_of, segments, taps_of
from faltung.methods.copies.copy import copy
from faltung.methods.copies.stage import stage_blocks
from faltung.methods.grouped.choice import (
    Tile,
    choose,
    cycles,
    over_padded,
    runs_of,
    together,
    weights_that_fit,
)
from faltung.methods.grouped.kernel import Grouped, places
from faltung.methods.grouped.patches import patches_of
from faltung.methods.grouped.tables import tables_of

# Blocks of channels in one item of work that reads its input in place.
BLOCKS = 16
# Cycles to copy one element into blocks, padded, and of a copy beside that.
COPY, STEP = 0.75, 1000


# When it applies, what it costs -------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.channels_in == 1 == c.channels_out:
        return "depthwise"
    if c.groups < 2:
        return "one group"
    if c.channels_out > machine.lanes(c.dtype):
        return "a group fills vectors of its own"
    return None if together(c, machine) else "channels are not side by side"


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Never by the policy: where it must, ``plan`` copies into an order of its own."""
    return False


def needs_channels_first(c: Correlation) -> bool:
    """Never: it lives on channels that lie side by side."""
    return False


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core, copies included; infinite if it does not apply."""
    if why_not(c, machine) is not None:
        return inf
    return price(c, machine)


def price(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``."""
    count, made = together(c, machine), 0.0
    blocks = replace(c, groups=-(-c.groups // count))
    if copies(blocks, machine, count):
        inputs = prod(w.axis.size for w in c.windows[:-1]) * c.windows[-1].axis.padded
        made += c.batch * c.groups * c.channels_in * inputs * COPY + STEP
        blocks = over_padded(blocks)
    each = cycles(blocks, machine, count, choose(blocks, machine, count))
    return made + c.batch * blocks.groups * each


def copies(c: Correlation, machine: Machine, count: int) -> bool:
    """Whether the input of ``c.groups`` blocks of ``count`` groups is copied first: borders along
    the last axis that are not zeros, or taps that fit neither the code nor a patch.
    """
    last = c.windows[-1]
    if last.borders or (last.axis.lo <= 0 and last.axis.hi <= 0):
        return last.borders
    tile = choose(c, machine, count)
    return not tile.unrolled and tile.patch is None


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    groups = together(c, machine)
    whole, rest = divmod(c.groups, groups)
    for first, blocks, count in ((0, whole, groups), (whole * groups, 1, rest)):
        if blocks and count:
            part = _part(c, arrays, first)
            add(replace(part[0], groups=blocks), machine, work, part[1], count, barrier)


def _part(c: Correlation, arrays: Arrays, first: int) -> tuple[Correlation, Arrays]:
    """The problem from group ``first`` on."""
    moved = replace(
        c,
        x_base=c.x_base + first * c.x[1],
        out_base=c.out_base + first * c.out[1],
        aux_base=tuple(b + first * a[1] for a, b in zip(c.aux, c.aux_base, strict=True)),
    )
    here = replace(
        arrays,
        w=shifted(arrays.w, first * c.w[0], c.dtype),
        bias=arrays.bias and shifted(arrays.bias, first * c.channels_out, c.dtype),
    )
    return moved, here


def add(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, count: int, barrier: bool
) -> None:
    """``c.groups`` blocks of ``count`` groups each."""
    lanes = machine.lanes(c.dtype)
    width, inputs = count * c.channels_out, count * c.channels_in
    x_block = count * c.x[1]
    if copies(c, machine, count):
        wide = replace(c, channels_in=inputs, x=(c.x[0], x_block, 1))
        made, copied = stage_blocks(wide, work, arrays.x, barrier)
        arrays, barrier = replace(arrays, x=copied), True
        x_block = made.x[1]
        c = replace(c, windows=made.windows, x=(made.x[0], made.x[1], 1), x_base=0)
    tile = choose(c, machine, count)
    runs = runs_of(c.windows[-1].axis, tile)
    uniform = [(a[1] if c.channels_out == 1 else a[2]) for a in (c.out, *c.aux)]
    walk = (_in_place if tile.patch is None else _staged)(c, machine, tile, runs, inputs)
    recipe = Grouped(
        dtype=c.dtype,
        rows=tile.rows,
        lanes=places(count, c.channels_in, c.channels_out),
        pitch=c.windows[-1].axis.stride * walk.position,
        taps=c.windows[-1].axis.kernel if tile.unrolled else 1,
        kinds=kinds_of(runs),
        beside=uniform[0] == 1 or width == 1,
        chunks_first=walk.chunks_first,
        epilogue=c.epilogue,
        aux_contiguous=tuple(stride == 1 or width == 1 for stride in uniform[1:]),
        room=walk.plane * tile.blocks,
        blocks=tile.blocks,
    )
    name = "depthwise" if c.channels_in == 1 == c.channels_out else "grouped"
    title = f"{name} {tile.rows}x{recipe.kinds[0].positions}"
    if tile.patch is not None:
        title = f"{title} of patches {'x'.join(map(str, tile.patch.extents))}"
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    packed = _pack(c, work, arrays, count, lanes)
    words = _words(c, arrays, walk, packed, count, x_block, uniform)
    work.steps.append(Step(recipe, int(np.prod(walk.counts)), words, title, barrier))


@dataclass(frozen=True, slots=True)
class Walk:
    """How items go over a problem: ``counts`` of them, ``most`` blocks of channels in one, and
    ``tables``. ``tap``: elements of the weights of one tap; ``position``: between neighbours along
    the last axis, where tiles read them; ``plane``: of a block of a patch, 0 without one.
    """

    counts: tuple[int, int, int, int]
    most: int
    tap: int
    tables: tuple[Table, ...]
    position: int
    plane: int = 0
    chunks_first: bool = False


def _in_place(
    c: Correlation, machine: Machine, tile: Tile, runs: Sequence[Run], inputs: int
) -> Walk:
    last, tap = c.windows[-1], c.channels_in * machine.lanes(c.dtype)
    inner = (0,) if tile.unrolled else taps_of(last)
    weights = tap * last.axis.kernel // len(inner)
    tables = tables_of(c.windows[:-1], tile.rows, inner, weights, len(c.aux))
    cut = segments(list(runs), kinds_of(runs), last)
    most = min(BLOCKS, weights_that_fit(c, machine))
    return Walk(
        (c.batch, len(tables.rows), len(cut), -(-c.groups // most)),
        most,
        tap,
        (tables.rows, cut, tables.spans, tables.entries),
        last.x,
        # What is used again soonest stays in the second-level cache: rows of the input, or weights.
        chunks_first=c.groups * c.taps * tap * _item(c) > machine.l2 // 4,
    )


def _staged(c: Correlation, machine: Machine, tile: Tile, runs: Sequence[Run], inputs: int) -> Walk:
    assert tile.patch is not None
    axis, tap = c.windows[-1].axis, c.channels_in * machine.lanes(c.dtype)
    inner = (0,) if tile.unrolled else tuple(k * axis.dilation * inputs for k in range(axis.kernel))
    weights = tap * axis.kernel // len(inner)
    t = patches_of(c.windows, tile.patch, tile.rows, runs, inputs, inner, weights, len(c.aux))
    return Walk(
        (c.batch, len(t.boxes), len(t.stretches), -(-c.groups // tile.blocks)),
        tile.blocks,
        tap,
        (t.boxes, t.lines, t.rows, t.stretches, t.segments, t.spans, t.entries),
        inputs,
        tile.patch.positions * inputs,
    )


def _words(
    c: Correlation,
    arrays: Arrays,
    walk: Walk,
    packed: tuple[Operand, Operand],
    count: int,
    x_block: int,
    uniform: Sequence[int],
) -> list[Argument]:
    """As ``grouped_items`` reads them; ``uniform``: elements from one output channel to the next,
    in each array.
    """
    last, (weights, bias) = c.windows[-1], packed
    aux: list[Argument] = []
    for array, base, strides, along, step in zip(
        arrays.aux, c.aux_base, c.aux, last.aux, uniform[1:], strict=True
    ):
        aux.append(shifted(array, base, c.dtype))
        aux += (strides[0], count * strides[1], along, step)
    block = c.taps * walk.tap
    return [
        *(shifted(arrays.x, c.x_base, c.dtype), weights, shifted(arrays.out, c.out_base, c.dtype)),
        *(bias, *walk.tables, *walk.counts),
        *(c.groups, walk.most),
        *(c.x[0], x_block, c.out[0], count * c.out[1], block),
        *(last.out, uniform[0], last.axis.dilation * walk.position),
        *((last.x, walk.plane) if walk.plane else ()),
        *aux,
    ]


def _item(c: Correlation) -> int:
    return ELEMENTS[c.dtype][1]


def _pack(
    c: Correlation, work: Work, arrays: Arrays, count: int, lanes: int
) -> tuple[Operand, Operand]:
    """Weights as (block, tap, input channel, lane), and the bias as (block, lane of the block)."""
    tap, width = c.channels_in * lanes, count * c.channels_out
    packed = Operand(work.keep("weights", c.groups * c.taps * tap * _item(c)))
    bias = Operand(work.keep("bias", (c.groups * width + lanes) * _item(c)))
    outer = [(b * count * c.w[0], b * c.taps * tap) for b in range(c.groups)]
    step = c.w[0] if c.channels_out == 1 else c.w[1]
    taps = [sum(offsets) for offsets in itertools.product(*(w.taps for w in c.windows))]
    if c.channels_out == 1 or count == 1 or c.w[0] == c.channels_out * c.w[1]:
        parts = [(0, 0, width)]
    else:
        parts = [(g * c.w[0], g * c.channels_out, c.channels_out) for g in range(count)]
    runs = [
        (place + ci * c.w[2] + source, k * tap + ci * lanes + to, size)
        for k, place in enumerate(taps)
        for ci in range(c.channels_in)
        for source, to, size in parts
    ]
    fill = lanes if len(parts) == 1 else 0
    if width < lanes and not fill:
        runs += [
            (MISSING, k * tap + ci * lanes + width, lanes - width)
            for k in range(len(taps))
            for ci in range(c.channels_in)
        ]
    work.prepare.append(
        copy(c.dtype, arrays.w, packed, outer, runs, stride=step, fill=fill, title="pack weights")
    )
    source = (0 if arrays.bias else MISSING, 0, c.groups * width)
    given = arrays.bias or packed
    work.prepare.append(copy(c.dtype, given, bias, [(0, 0)], [source], title="pack bias"))
    return packed, bias
