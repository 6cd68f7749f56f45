"""The gradient for the weight: the same outer product, summed over samples and positions.

What it is.  ``grad_w[co, ci, k] = sum over n, o of grad[n, co, o] * x[n, ci, o*stride - lo +
  k*dilation]``. A tile of ``rows`` by ``vectors`` sums stays in registers while a band of positions
  goes by. "Channels": the vector operand is the output gradient along its channels (or the input
  along its own, where those are more), the other array is broadcast. "Space": both are vectors of
  neighbouring positions and the lanes are summed at the end, for arrays with few channels. Taps in
  zeros shorten the range of positions, they cost nothing.
When it applies.  Always; groups of one channel are better off with ``depthwise_grad``.
What it costs.  As the forward pass. Bands of positions short enough for the first-level cache are
  used by all taps and channels in turn; sums in two levels also keep rounding small. Where the
  weight has the channels of the vectors side by side, sums are stored where they belong, else in
  memory of their own and then rearranged.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.addresses import row_pairs
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Table, Work, shifted, table
from faltung.methods.copies.copy import spread
from faltung.methods.plain import panels as weight_panels
from faltung.methods.plain import weight_grad_choice
from faltung.methods.plain.weight_grad_choice import Choice, band, choose, mergeable
from faltung.methods.plain.weight_grad_kernel import WeightGrad


def describe(c: Correlation, machine: Machine) -> str:
    """What the lanes of a vector are, for people."""
    if weight_panels.applies(c, machine):
        return f"lanes are {'input' if weight_panels.swapped(c) else 'output'} channels, in panels"
    return weight_grad_choice.describe(c, machine)


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core."""
    if weight_panels.applies(c, machine):
        return weight_panels.cost(c, machine)
    return weight_grad_choice.cost(c, machine)


def needs_channels_last(c: Correlation, machine: Machine) -> bool:
    """Whether neither array has neighbouring channels and positions are no help either."""
    if weight_panels.applies(c, machine):
        return False
    return not choose(c, machine).space and c.out[2] != 1 and c.x[2] != 1


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the input must be copied first: borders that are not zeros along the last axis, or
    few channels, whose taps then fill the tile beside them.
    """
    last = c.windows[-1]
    pads = last.axis.lo > 0 or last.axis.hi > 0
    return last.borders or (pads and mergeable(c, machine))


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """One array as the kernel sees it: channels of a group, strides, the elements between
    positions.
    """

    array: Operand
    channels: int
    group: int
    channel: int
    pitch: int


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that write the gradient of ``c`` for its weight; ``arrays.out`` is the output
    gradient.
    """
    if weight_panels.applies(c, machine):
        weight_panels.plan(c, machine, work, arrays, barrier)
        return
    chosen = choose(c, machine)
    lanes = 1 if chosen.space else machine.lanes(c.dtype)
    last = c.windows[-1]
    x = Side(
        shifted(arrays.x, c.x_base, c.dtype),
        c.channels_in,
        c.x[1],
        c.x[2],
        last.axis.stride * last.x,
    )
    g = Side(shifted(arrays.out, c.out_base, c.dtype), c.channels_out, c.out[1], c.out[2], last.out)
    a, b = (g, x) if chosen.swapped else (x, g)
    # Vectors of one tile: two, or with lanes along space up to four channels.
    size = (4 if chosen.space else 2) * lanes
    whole, rest = divmod(b.channels, size)
    if whole:
        _part(c, machine, work, arrays, barrier, chosen, a, b, 0, whole, size)
    if rest:
        _part(c, machine, work, arrays, barrier, chosen, a, b, whole * size, 1, rest)


def _part(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    barrier: bool,
    chosen: Choice,
    a: Side,
    b: Side,
    start: int,
    blocks: int,
    channels: int,
) -> None:
    """Channels ``start`` onwards of the vector operand, in ``blocks`` equal blocks."""
    lanes = 1 if chosen.space else machine.lanes(c.dtype)
    vectors = -(-channels // lanes)
    last = c.windows[-1]
    inner = [0] if chosen.merged else list(range(last.axis.kernel))
    rows = [
        (k * last.axis.dilation * last.x + channel * a.channel)
        for k in (range(last.axis.kernel) if chosen.merged else [0])
        for channel in range(a.channels)
    ]
    kinds, row_blocks = _row_blocks(rows, budget(machine) // vectors)
    recipe = WeightGrad(
        dtype=c.dtype,
        kinds=kinds,
        columns=tuple(q * lanes * b.channel for q in range(vectors)),
        lanes=channels - (vectors - 1) * lanes,
        a_pitch=a.pitch,
        b_pitch=b.pitch,
        space=chosen.space,
    )
    positions, rows_a_band = band(c, machine)
    chunks, taps = _reaches(last, inner, chosen, positions)
    spans, pairs = row_pairs(c, rows_a_band)
    if chosen.swapped:
        pairs = table(pairs[:, ::-1], 2)
    outer_taps = c.taps // last.axis.kernel
    bands = len(spans) // outer_taps * chunks
    shape = _Sums(start, blocks, channels, vectors * lanes)
    target = _in_place(c, arrays, chosen, shape) or _aside(c, work, chosen, len(rows), shape)
    words: list[Argument] = [
        *(a.array, shifted(b.array, start * b.channel, c.dtype), target.array),
        *(row_blocks, taps, spans, pairs, target.taps),
        *(blocks, len(target.taps), len(row_blocks), bands, chunks),
        *(a.group, b.group, channels * b.channel, len(inner)),
        *(target.group, target.block, target.row),
    ]
    items = c.groups * blocks * len(target.taps) * len(row_blocks)
    title = f"weight_grad {vectors}x{len(kinds[0])}{' along space' if chosen.space else ''}"
    work.steps.append(Step(recipe, items, words, title, barrier))
    if target.array.name != arrays.w.name:
        work.steps.append(_unpack(c, arrays, chosen, target.array, shape))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Channels from ``start`` on in ``blocks`` blocks of ``channels``, each ``width`` wide."""

    start: int
    blocks: int
    channels: int
    width: int


@dataclass(frozen=True, slots=True)
class _Target:
    """Where sums are stored: elements between groups, blocks and rows, and offsets of the taps."""

    array: Operand
    group: int
    block: int
    row: int
    taps: Table


def _in_place(c: Correlation, arrays: Arrays, chosen: Choice, shape: _Sums) -> _Target | None:
    """The weight itself, where the channels of a vector are neighbours in it, and rows apart by one
    stride.
    """
    along, across = (c.w[2], c.w[1]) if chosen.swapped else (c.w[1], c.w[2])
    count = c.channels_out if chosen.swapped else c.channels_in
    *outer, last = c.windows
    inner: Sequence[int] = last.taps
    if chosen.merged:
        steps = {b - a for a, b in pairwise(last.taps)}
        step = steps.pop()
        if steps or (count > 1 and step != across * count):
            return None
        across, inner = (across if count > 1 else step), last.taps[:1]
    if along != 1 and shape.blocks * shape.channels > 1:
        return None
    taps = [sum(tap) for tap in itertools.product(*(w.taps for w in outer), inner)]
    start = shifted(arrays.w, shape.start * along, c.dtype)
    places = np.array(taps, np.int64)
    return _Target(start, c.w[0], shape.channels * along, across, places)


def _aside(c: Correlation, work: Work, chosen: Choice, rows: int, shape: _Sums) -> _Target:
    """Memory in the order (group, block, tap, row, channel of the block)."""
    taps = c.taps // (c.windows[-1].axis.kernel if chosen.merged else 1)
    block = taps * rows * shape.width
    size = c.groups * shape.blocks * block * ELEMENTS[c.dtype][1]
    sums = Operand(work.borrow("sums", size))
    places = np.arange(taps, dtype=np.int64) * (rows * shape.width)
    return _Target(sums, shape.blocks * block, block, shape.width, places)


def _row_blocks(rows: list[int], most: int) -> tuple[tuple[tuple[int, ...], ...], Table]:
    """Rows in tiles of nearly equal size: kinds of tiles, and for each tile (kind, offset in a,
    first row).
    """
    kinds: list[tuple[int, ...]] = []
    blocks = []
    first = 0
    for size in (size for size, count in split(len(rows), most) for _ in range(count)):
        part = rows[first : first + size]
        kind = tuple(offset - part[0] for offset in part)
        if kind not in kinds:
            kinds.append(kind)
        blocks.append((kinds.index(kind), part[0], first))
        first += size
    return tuple(kinds), table(blocks, 3)


def _reaches(last: Window, inner: list[int], chosen: Choice, positions: int) -> tuple[int, Table]:
    """Per chunk of a row and tap: offsets in a and b, and positions that read inside."""
    axis = last.axis
    start = np.arange(0, axis.output, positions, dtype=np.int64)[:, None]
    stop = np.minimum(start + positions, axis.output)
    shift = np.array(inner, dtype=np.int64) * axis.dilation - axis.lo
    first = np.maximum(start, -(shift // axis.stride))
    count = np.maximum(0, np.minimum(stop, (axis.size - 1 - shift) // axis.stride + 1) - first)
    x, g = (first * axis.stride + shift) * last.x, first * last.out
    a, b = (g, x) if chosen.swapped else (x, g)
    return len(start), table(np.stack([a, b, count], axis=-1).reshape(-1, 3), 3)


def _unpack(
    c: Correlation,
    arrays: Arrays,
    chosen: Choice,
    sums: Operand,
    shape: _Sums,
) -> Step:
    """Sums as (group, block, tap, row, channel of the block) -> the weight's own order."""
    along, across = (c.w[2], c.w[1]) if chosen.swapped else (c.w[1], c.w[2])
    count = c.channels_out if chosen.swapped else c.channels_in
    taps = [sum(offsets) for offsets in itertools.product(*(w.taps for w in c.windows))]
    block_sums = len(taps) * count * shape.width
    outer = [
        (
            (g * shape.blocks + b) * block_sums,
            g * c.w[0] + (shape.start + b * shape.channels) * along,
        )
        for g in range(c.groups)
        for b in range(shape.blocks)
    ]
    runs = [
        ((k * count + channel) * shape.width, tap + channel * across, shape.channels)
        for k, tap in enumerate(taps)
        for channel in range(count)
    ]
    return spread(
        c.dtype,
        sums,
        arrays.w,
        outer,
        runs,
        stride=along,
        title="unpack weight gradient",
        barrier=True,
    )
