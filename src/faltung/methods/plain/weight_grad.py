"""The gradient for the weight: an outer product, summed over samples and positions.

What it is.  ``grad_w[co, ci, k] = sum over n, o of grad[n, co, o] * x[n, ci, o*stride - lo +
  k*dilation]``. A tile of ``rows`` by ``vectors`` sums stays in registers while a band of positions
  goes by. "Channels": the vector operand is the output gradient along its channels (or the input
  along its own, where those are more), the other array is broadcast. "Space": both are vectors of
  contiguous positions and the lanes are summed at the end, for arrays with few channels. Taps in
  zeros shorten the range of positions, they cost nothing.
When it applies.  Always; groups of one channel are better off with depthwise gradients.
What it costs.  As the forward pass. Bands of positions short enough for the first-level cache are
  used by all taps and channels in turn; sums in two levels also keep rounding small. Where the
  channels of the vectors are contiguous in the weight, sums are stored where they belong, else in
  memory of their own and then rearranged.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from faltung.codegen.tile import budget, parts, split
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.addresses import row_pairs
from faltung.methods.base.blocks import ChannelBlocks, channel_blocks
from faltung.methods.base.correlation import Correlation, Window, step_of
from faltung.methods.base.epilogue_arrays import Strided, output_of, stepped_input_of
from faltung.methods.base.method import WeightGradMethod
from faltung.methods.base.step import Arrays, Operand, Table, Work, shifted, table
from faltung.methods.copies.weights import unpack_weight_grad
from faltung.methods.plain import panels
from faltung.methods.plain.panels import MIN_BAND_POSITIONS
from faltung.methods.plain.tiled import product_cycles
from faltung.methods.plain.weight_grad_kernel import SEGMENT, TILE, WeightGradKernel

# The longest sum in one accumulator, in positions.
MAX_BAND_POSITIONS = 4096
# Entries of the table of taps and segments of a row.
MAX_ENTRIES = 1 << 20
# Fewer input channels of a group make too small a tile alone.
MIN_ROWS = 8
# Cycles to add a vector of sums to those of the bands before, and to put one sum in its place.
STORE_CYCLES, UNPACK_CYCLES = 8, 6


# The choice ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WeightGradChoice:
    """``lanes``: channels in a vector, 1 where lanes are positions (``space``).

    swapped: the input is the vector operand. mergeable: taps of the last axis may be rows of the
    tile, beside its few channels; ``merged``: they are, as no input lies in the padding.
    """

    lanes: int
    space: bool
    swapped: bool = False
    mergeable: bool = False
    merged: bool = False

    @property
    def channels(self) -> int:
        """Of a whole block of the vector operand: two vectors; with lanes along space, four."""
        return 4 if self.space else 2 * self.lanes


def choose(c: Correlation, machine: Machine) -> WeightGradChoice:
    """Lanes are channels where enough of them are contiguous, else positions where those are."""
    lanes, last = machine.lanes(c.dtype), c.windows[-1]
    contiguous = last.x * last.axis.stride == 1 and last.out == 1
    if contiguous and max(c.channels_out, c.channels_in) * 2 <= lanes:
        return WeightGradChoice(1, True)
    outputs = c.channels_out if c.out[2] == 1 else 0
    inputs = c.channels_in if c.x[2] == 1 else 0
    fill = {size: size / (-(-size // lanes) * lanes) for size in (outputs, inputs) if size}
    swapped = bool(inputs) and fill[inputs] > 2 * fill.get(outputs, 0)
    mergeable = not swapped and c.channels_in < MIN_ROWS and last.axis.kernel > 1
    merged = mergeable and not last.pads
    return WeightGradChoice(lanes, False, swapped, mergeable, merged)


def band(c: Correlation, machine: Machine) -> tuple[int, int]:
    """Positions of a row, and rows, in one band: the first cache full, if that is enough."""
    last = c.windows[-1]
    each = (c.channels_in * last.axis.stride + c.channels_out) * c.groups * c.item_bytes
    fit = min(MAX_BAND_POSITIONS, max(MIN_BAND_POSITIONS, machine.l1 // each))
    # A kernel of a million taps has a table of its own length for every segment: then fewer.
    fit = max(fit, last.axis.output * last.axis.kernel // MAX_ENTRIES)
    positions = min(last.axis.output, fit)
    return positions, -(-fit // positions)


class DirectWeightGrad(WeightGradMethod):
    """Tiles of sums over bands of positions; of pointwise layers over panels."""

    copies = None

    def describe(self, c: Correlation, machine: Machine) -> str:
        if panels.applies(c, machine):
            return f"lanes are {'input' if panels.swapped(c) else 'output'} channels, in panels"
        chosen = choose(c, machine)
        lanes = "input channels" if chosen.swapped else "output channels"
        return f"lanes are {'positions' if chosen.space else lanes}"

    def needs_channels_last(self, c: Correlation, machine: Machine) -> bool:
        """Where neither array has contiguous channels, and positions are no help either."""
        if panels.applies(c, machine):
            return False
        return not choose(c, machine).space and c.out[2] != 1 and c.x[2] != 1

    def fuses_update(self, c: Correlation, machine: Machine) -> bool:
        """Where panels do it: they store each sum where it belongs."""
        return panels.applies(c, machine)

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Where borders along the last axis are not zeros, or there are few channels, whose taps
        then fill the tile beside them.
        """
        last = c.windows[-1]
        return last.borders or (last.pads and choose(c, machine).mergeable)

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core: multiply-adds, loads or latency of tiles, whichever is longest."""
        if panels.applies(c, machine):
            return panels.cost(c, machine)
        chosen, kernel = choose(c, machine), c.windows[-1].axis.kernel
        rows, channels = c.channels_in, c.channels_out
        if chosen.swapped:
            rows, channels = channels, rows
        positions = c.batch * c.groups * c.outputs * c.row_taps
        if chosen.space:
            positions /= machine.lanes(c.dtype)
        if chosen.mergeable:
            rows *= kernel
        else:
            positions *= kernel
        cycles = 0.0
        for blocks in channel_blocks(channels, chosen.channels, chosen.lanes):
            vectors = blocks.width // chosen.lanes
            for height, count in split(rows, budget(machine) // vectors):
                step = product_cycles(height * vectors, height + vectors)
                cycles += blocks.count * count * positions * step
        return cycles + _store_cycles(c, machine, chosen)

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        if panels.applies(c, machine):
            panels.plan(c, machine, work, arrays, barrier)
            return
        problem = _problem(c, choose(c, machine), arrays)
        chosen = problem.chosen
        for blocks in channel_blocks(problem.b.channels, chosen.channels, chosen.lanes):
            _add_blocks(problem, machine, work, blocks, barrier)


def _store_cycles(c: Correlation, machine: Machine, chosen: WeightGradChoice) -> float:
    """For sums that each band loads and stores, and that are then put into their order."""
    weights = c.groups * c.channels_in * c.channels_out * c.taps
    positions, rows = band(c, machine)
    bands = c.batch * c.outputs / min(c.batch * c.outputs, positions * rows) if c.batch else 0
    lanes = machine.lanes(c.dtype)
    unpacked = weights * UNPACK_CYCLES if (c.w[2] if chosen.swapped else c.w[1]) != 1 else 0
    return bands * weights / lanes * STORE_CYCLES + unpacked


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Problem:
    """``a``: what is broadcast; ``b``: what lies in vectors. along, across: elements of the weight
    between channels of ``b``, and between those of ``a``.
    """

    c: Correlation
    chosen: WeightGradChoice
    weight: Operand
    a: Strided
    b: Strided
    along: int
    across: int


def _problem(c: Correlation, chosen: WeightGradChoice, arrays: Arrays) -> _Problem:
    x, g = stepped_input_of(c, arrays), output_of(c, arrays)
    if chosen.swapped:
        return _Problem(c, chosen, arrays.w, g, x, c.w[2], c.w[1])
    return _Problem(c, chosen, arrays.w, x, g, c.w[1], c.w[2])


def _kernel(
    problem: _Problem, machine: Machine, blocks: ChannelBlocks
) -> tuple[WeightGradKernel, int, Table]:
    """The kernel, how many rows its tiles have in all, and the tiles."""
    c, chosen, a, b = problem.c, problem.chosen, problem.a, problem.b
    last, vectors = c.windows[-1], blocks.width // chosen.lanes
    rows = [
        k * last.axis.dilation * last.x + channel * a.channel
        for k in range(last.axis.kernel if chosen.merged else 1)
        for channel in range(a.channels)
    ]
    kinds, tiles = _tiles(rows, budget(machine) // vectors)
    kernel = WeightGradKernel(
        dtype=c.dtype,
        kinds=kinds,
        columns=tuple(q * chosen.lanes * b.channel for q in range(vectors)),
        lanes=blocks.channels - (vectors - 1) * chosen.lanes,
        a_pitch=a.position,
        b_pitch=b.position,
        space=chosen.space,
    )
    return kernel, len(rows), tiles


def _add_blocks(
    problem: _Problem, machine: Machine, work: Work, blocks: ChannelBlocks, barrier: bool
) -> None:
    """The steps for some channels of the vector operand."""
    c, chosen, a, b = problem.c, problem.chosen, problem.a, problem.b
    last = c.windows[-1]
    kernel, rows, tiles = _kernel(problem, machine, blocks)
    positions, band_rows = band(c, machine)
    inner = range(1 if chosen.merged else last.axis.kernel)
    row_segments, segments = _segments(last, inner, chosen, positions)
    ranges, pairs = row_pairs(c, band_rows)
    row_bands = len(ranges) // (c.taps // last.axis.kernel)
    target = _in_place(problem, blocks) or _aside(problem, work, rows, blocks)
    shape = f"{len(kernel.columns)}x{len(kernel.kinds[0])}"
    step = kernel.step(
        c.groups * blocks.count * len(target.taps) * len(tiles),
        f"weight_grad {shape}{' along space' if chosen.space else ''}",
        barrier=barrier,
        a=a.array,
        b=shifted(b.array, blocks.start * b.channel, c.dtype),
        sums=target.array,
        tiles=tiles,
        segments=segments,
        pair_ranges=ranges,
        pairs=table(pairs[:, ::-1], 2) if chosen.swapped else pairs,
        places=target.taps,
        **{"blocks": blocks.count, "tap_count": len(target.taps), "tile_count": len(tiles)},
        **{"bands": row_bands * row_segments, "row_segments": row_segments},
        **{"a_group": a.group, "b_group": b.group, "b_block": blocks.channels * b.channel},
        inner_taps=len(inner),
        **{"sums_group": target.group, "sums_block": target.block, "row": target.row},
    )
    work.steps.append(step)
    if target.array.name != problem.weight.name:
        order = blocks, problem.along, problem.across, a.channels
        work.steps.append(unpack_weight_grad(c, target.array, problem.weight, *order))


@dataclass(frozen=True, slots=True)
class _Target:
    """Where sums are stored: elements between groups, blocks and rows, and offsets of the taps."""

    array: Operand
    group: int
    block: int
    row: int
    taps: Table


def _in_place(problem: _Problem, blocks: ChannelBlocks) -> _Target | None:
    """The weight itself, where the channels of a vector are contiguous in it, and rows apart by one
    stride.
    """
    c, along, across, count = problem.c, problem.along, problem.across, problem.a.channels
    *outer, last = c.windows
    inner: Sequence[int] = last.taps
    if problem.chosen.merged:
        step = step_of(last.taps)
        if step is None or (count > 1 and step != across * count):
            return None
        across, inner = (across if count > 1 else step), last.taps[:1]
    if along != 1 and blocks.count * blocks.channels > 1:
        return None
    taps = [sum(tap) for tap in itertools.product(*(w.taps for w in outer), inner)]
    start = shifted(problem.weight, blocks.start * along, c.dtype)
    return _Target(start, c.w[0], blocks.channels * along, across, np.array(taps, np.int64))


def _aside(problem: _Problem, work: Work, rows: int, blocks: ChannelBlocks) -> _Target:
    """Memory in the order (group, block, tap, row, channel of the block)."""
    c, tap = problem.c, rows * blocks.width
    taps = c.taps // (c.windows[-1].axis.kernel if problem.chosen.merged else 1)
    sums = work.borrow("sums", c.groups * blocks.count * taps * tap * c.item_bytes)
    places = np.arange(taps, dtype=np.int64) * tap
    return _Target(sums, blocks.count * taps * tap, taps * tap, blocks.width, places)


def _tiles(rows: list[int], most: int) -> tuple[tuple[tuple[int, ...], ...], Table]:
    """Rows in tiles of nearly equal size: kinds of tiles, and for each tile (kind, offset in a,
    first row).
    """
    kinds: dict[tuple[int, ...], int] = {}
    tiles = []
    for first, size in parts(len(rows), most):
        start = rows[first]
        kind = tuple(offset - start for offset in rows[first : first + size])
        tiles.append((kinds.setdefault(kind, len(kinds)), start, first))
    return tuple(kinds), table(tiles, TILE)


def _segments(
    last: Window, inner: Sequence[int], chosen: WeightGradChoice, positions: int
) -> tuple[int, Table]:
    """Segments of a row, and for each of them and each tap: offsets in a and b, and positions that
    read inside.
    """
    axis = last.axis
    start = np.arange(0, axis.output, positions, dtype=np.int64)[:, None]
    stop = np.minimum(start + positions, axis.output)
    shift = np.array(inner, dtype=np.int64) * axis.dilation - axis.lo
    first = np.maximum(start, -(shift // axis.stride))
    count = np.maximum(0, np.minimum(stop, (axis.size - 1 - shift) // axis.stride + 1) - first)
    x, g = (first * axis.stride + shift) * last.x, first * last.out
    a, b = (g, x) if chosen.swapped else (x, g)
    return len(start), table(np.stack([a, b, count], axis=-1).reshape(-1, SEGMENT), SEGMENT)


DIRECT_WEIGHT_GRAD = DirectWeightGrad()
