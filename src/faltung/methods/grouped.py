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
from dataclasses import dataclass, replace
from math import gcd, inf, prod

import numpy as np

from faltung.codegen.tile import budget, split, unrolled
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.axis import Axis
from faltung.machine.table import Machine
from faltung.methods.copy import copy
from faltung.methods.correlation import Correlation, Window
from faltung.methods.grouped_kernel import Grouped, places
from faltung.methods.grouped_tables import tables_of
from faltung.methods.stage import stage_blocks
from faltung.methods.step import MISSING, Arrays, Operand, Step, Word, Work, shifted
from faltung.methods.tiled import Run, kinds_of, segments, taps_of, tiles_of

# Bytes of weights that stay in the first-level cache while tiles go by, and blocks of channels in
# one item of work.
WEIGHTS, BLOCKS = 12 << 10, 16
# Cycles of a tile for each block beside its sums, of each of its outputs, and of a row of taps.
TILE, OUTPUT, TAPS = 12, 1.5, 4
# The least cycles between two products of one sum.
WAIT = 2.5
# Taps of a row from which on six columns are better than four, which need fewer lines of the cache.
LONG = 7
# Cycles to copy one element into blocks, padded, and of a copy beside that.
COPY, STEP = 0.75, 1000


# When it applies, what it costs -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """``rows`` by ``columns`` outputs; ``unrolled``: the taps of a row are in the code."""

    rows: int
    columns: int
    unrolled: bool


def together(c: Correlation, machine: Machine) -> int:
    """Groups in one vector; 0 where that cannot be."""
    lanes = machine.lanes(c.dtype)
    groups = min(c.groups, lanes // c.channels_out)
    if c.groups < 2 or not groups:
        return 0
    uniform = c.channels_out == 1 or all(
        strides[1] == c.channels_out * strides[2] for strides in (c.out, *c.aux)
    )
    if c.channels_in > 1 and c.x[2] != 1:
        return 0
    beside = uniform and c.x[1] == c.channels_in and groups * c.channels_in <= 2 * lanes
    return groups if beside else int(lanes < 2 * c.channels_out)


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
    return cycles(c, machine)


def cycles(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``."""
    groups = together(c, machine)
    blocks = c.batch * -(-c.groups // groups)
    made = 0.0
    if copies(c, machine):
        inputs = prod(w.axis.size for w in c.windows[:-1]) * c.windows[-1].axis.padded
        made += c.batch * c.groups * c.channels_in * inputs * COPY + STEP
        c = replace(c, windows=(*c.windows[:-1], _padded(c.windows[-1])))
    tile = choose(c, machine)
    return made + blocks * _cycles(c, machine, groups, tile)


def copies(c: Correlation, machine: Machine) -> bool:
    """Whether the input is copied first: borders along the last axis that are not zeros, or too
    many products for the code.
    """
    last = c.windows[-1]
    pads = last.axis.lo > 0 or last.axis.hi > 0
    return last.borders or (pads and not choose(c, machine).unrolled)


def choose(c: Correlation, machine: Machine) -> Tile:
    """The cheapest tile whose taps fit the code; else one with its taps in a table."""
    groups, most = together(c, machine), budget(machine)
    shapes = [Tile(1, n, True) for n in (most, most // 2)]
    if _shares(c):
        wide = most // 2 if c.windows[-1].axis.kernel >= LONG else most // 3
        shapes = [Tile(2, n, True) for n in (wide, most // 3, most // 6)]
    pads = c.windows[-1].axis.lo > 0 or c.windows[-1].axis.hi > 0
    fitting = [tile for tile in shapes if _products(c, machine, groups, tile) <= _most(machine)]
    if not fitting and not pads:
        fitting = [replace(tile, unrolled=False) for tile in shapes]
    if not fitting:
        return replace(shapes[0], unrolled=False)
    return min(fitting, key=lambda tile: _cycles(c, machine, groups, tile))


def _most(machine: Machine) -> int:
    return 2 * unrolled(machine)


def _shares(c: Correlation) -> bool:
    """Whether pairs of rows read rows of the input in common."""
    if len(c.windows) < 2 or c.windows[-2].axis.output < 2:
        return False
    return _apart(c.windows[-2].axis) < c.windows[-2].axis.kernel


def _apart(axis: Axis) -> int:
    """How many taps further on the second row of a pair begins."""
    return axis.stride // gcd(axis.stride, axis.dilation)


def _products(c: Correlation, machine: Machine, groups: int, tile: Tile) -> int:
    """Multiply-adds in the code."""
    axis = c.windows[-1].axis
    inputs = 1 if groups == 1 else c.channels_in
    if axis.kernel * tile.columns * inputs > _most(machine):
        return _most(machine) + 1
    kinds = kinds_of(runs_of(axis, tile))
    copies = 4 if tile.rows == 2 else 1
    return sum(kind.positions for kind in kinds) * axis.kernel * inputs * copies


def runs_of(axis: Axis, tile: Tile) -> list[Run]:
    return tiles_of(axis, split(axis.output, tile.columns), tile.unrolled)


def _cycles(c: Correlation, machine: Machine, groups: int, tile: Tile) -> float:
    """Cycles of one block of groups of one sample."""
    axis = c.windows[-1].axis
    taps = axis.kernel if tile.unrolled else 1
    lines = c.row_taps * axis.kernel / taps
    shuffled = groups > 1 and c.channels_out * c.channels_in > 1
    outer = prod(w.axis.output for w in c.windows[:-1])
    both = alone = 0.0
    if tile.rows == 2:
        across = c.windows[-2].axis
        outer = outer // across.output * -(-across.output // 2)
        alone = lines * min(1.0, _apart(across) / across.kernel)
        both = lines - alone
    made = 0.0
    for positions, count in split(axis.output, tile.columns):

        def step(rows: int, n: int = positions) -> float:
            products = rows * n / 2
            loads = (rows + n) / 2 + (n / 4 if shuffled else 0)
            # Few sums would wait for each other, if the next tile did not begin meanwhile.
            return taps * c.channels_in * max(products, loads, WAIT) + TAPS

        sums = both * step(2) + 2 * alone * step(1) if tile.rows == 2 else lines * step(1)
        made += count * (sums + TILE + OUTPUT * tile.rows * positions)
    return outer * made


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    groups = together(c, machine)
    whole, rest = divmod(c.groups, groups)
    for first, blocks, count in ((0, whole, groups), (whole * groups, 1, rest)):
        if blocks and count:
            part = _part(c, arrays, first)
            add(replace(part[0], groups=blocks), machine, work, part[1], count, after)


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
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, count: int, after: bool
) -> None:
    """``c.groups`` blocks of ``count`` groups each."""
    lanes = machine.lanes(c.dtype)
    width, inputs = count * c.channels_out, count * c.channels_in
    x_block = count * c.x[1]
    blocked = copies(c, machine)
    if blocked:
        wide = replace(c, channels_in=inputs, x=(c.x[0], x_block, 1))
        made, copied = stage_blocks(wide, work, arrays.x, after)
        arrays, after = replace(arrays, x=copied), True
        x_block = made.x[1]
        c = replace(c, windows=made.windows, x=(made.x[0], made.x[1], 1), x_base=0)
    tile = choose(c, machine)
    last = c.windows[-1]
    runs = runs_of(last.axis, tile)
    most = max(1, min(BLOCKS, WEIGHTS // (c.taps * c.channels_in * lanes * _item(c))))
    chunks = -(-c.groups // most)
    uniform = [(a[1] if c.channels_out == 1 else a[2]) for a in (c.out, *c.aux)]
    tap = c.channels_in * lanes
    recipe = Grouped(
        dtype=c.dtype,
        rows=tile.rows,
        lanes=places(count, c.channels_in, c.channels_out),
        pitch=last.axis.stride * last.x,
        taps=last.axis.kernel if tile.unrolled else 1,
        kinds=kinds_of(runs),
        beside=uniform[0] == 1 or width == 1,
        # What is used again soonest stays in the second-level cache: rows of the input, or weights.
        chunks_first=c.groups * c.taps * tap * _item(c) > machine.l2 // 4,
        epilogue=c.epilogue,
        loads=tuple(stride == 1 or width == 1 for stride in uniform[1:]),
    )
    inner = (0,) if tile.unrolled else taps_of(last)
    tables = tables_of(c.windows[:-1], tile.rows, inner, tap * recipe.taps, len(c.aux))
    cut = segments(runs, recipe.kinds, last)
    counts = (c.batch, len(tables.rows), len(cut), chunks)
    packed, bias = _pack(c, work, arrays, count, lanes)
    aux: list[Word] = []
    for array, base, strides, along, step in zip(
        arrays.aux, c.aux_base, c.aux, last.aux, uniform[1:], strict=True
    ):
        aux.append(shifted(array, base, c.dtype))
        aux += (strides[0], count * strides[1], along, step)
    words: list[Word] = [
        *(shifted(arrays.x, c.x_base, c.dtype), packed, shifted(arrays.out, c.out_base, c.dtype)),
        *(bias, tables.rows, cut, tables.spans, tables.entries),
        *counts,
        *(c.groups, most),
        *(c.x[0], x_block, c.out[0], count * c.out[1], c.taps * tap),
        *(last.out, uniform[0], last.axis.dilation * last.x),
        *aux,
    ]
    name = "depthwise" if c.channels_in == 1 == c.channels_out else "grouped"
    title = f"{name} {tile.rows}x{recipe.kinds[0].positions}"
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    work.steps.append(Step(recipe, int(np.prod(counts)), words, title, after))


def _item(c: Correlation) -> int:
    return ELEMENTS[c.dtype][1]


def _padded(last: Window) -> Window:
    axis = last.axis
    return replace(last, axis=Axis(axis.padded, axis.kernel, axis.stride, axis.dilation))


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
