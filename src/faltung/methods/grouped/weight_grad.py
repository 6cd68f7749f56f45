"""The gradient for the weight of grouped and depthwise layers: vectors across the groups.

What it is.  ``grad_w[c, k] = sum over n, o of grad[n, c, o] * x[n, c, o*stride - lo +
  k*dilation]``. The lanes are the output channels of neighbouring groups; where a group has several
  channels, each lane takes an input channel of its own group by a shuffle in registers, or by a
  broadcast if the vector is one group. The sums of a tile of taps (as many rows of taps as fit, or
  a part of a long one) stay in registers for all rows of a band. Each column of the input is loaded
  once for all taps and positions of a tile that read it, each gradient once for all taps. Rows are
  first copied, a block of channels at a time, so that positions are contiguous
  (``weight_grad_tables``): in place, say 256 channels apart, they would map to few lines of the
  first-level cache and be read from the second for every tap. Bands are added in order
  (``band_sums``). Taps that read zeros are left out, as in the forward direction.
When it applies.  Output channels of a group fit a vector, input channels the registers; channels
  are contiguous in both arrays. For depthwise layers positions may be instead
  (``weight_grad_planes``).
What it costs.  ``r ((p - 1) s + d (k - 1) + 1) + p`` loads for ``r p k`` multiply-adds, or a
  shuffle for each column and input channel, and a copy.
"""

from dataclasses import replace
from math import gcd, inf

from faltung.codegen.tile import budget, split, unrolled
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.band_sums import band_sums
from faltung.methods.base.blocks import channel_blocks
from faltung.methods.base.correlation import Correlation, of_groups
from faltung.methods.base.epilogue_arrays import input_of, output_of
from faltung.methods.base.method import WeightGradMethod
from faltung.methods.base.step import Arrays, Step, Table, Work
from faltung.methods.base.tiles import Run
from faltung.methods.grouped import weight_grad_planes as planes
from faltung.methods.grouped.choice import groups_per_vector
from faltung.methods.grouped.lanes import lanes_of
from faltung.methods.grouped.weight_grad_kernel import GroupedWeightGradKernel, RowLayout
from faltung.methods.grouped.weight_grad_tables import (
    TAP_TILE_ROW_CYCLES,
    Memory,
    Shape,
    TapRows,
    band_size,
    bands_of,
    segments_of,
    shape_of,
    tap_tiles,
    tiles,
)

# The longest and the shortest sum in one accumulator, in positions.
MAX_BAND_POSITIONS, MIN_BAND_POSITIONS = 4096, 128
# Positions of a band for each tap, so that the sums take little memory compared to the input.
BAND_POSITIONS_PER_TAP = 16
# Bytes of a block of channels: enough to read memory in long contiguous pieces.
BLOCK_BYTES = 256
# Rows of the output in a pass that copies nothing.
UNCOPIED_ROWS = 4
# The fewest partial sums, given enough positions; and the most items that make them, each of which
# has memory of its own.
MIN_PARTIALS, MAX_ITEMS = 8, 32


# When it applies, what it costs -------------------------------------------------------------------


class GroupedWeightGrad(WeightGradMethod):
    """Groups of several channels."""

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        if c.groups < 2:
            return "one group"
        if c.channels_in == 1 == c.channels_out:
            return "depthwise"
        return None if _fits(c, machine) else "channels of a group fill vectors"

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core: loads, shuffles or products, whichever are most, and the copies;
        infinite if it does not apply.
        """
        if self.why_not(c, machine) is not None:
            return inf
        groups, axis = groups_per_vector(c, machine), c.windows[-1].axis
        shape = shape_of(c, machine)
        shuffled = groups > 1 and c.channels_in * c.channels_out > 1
        blocks = c.batch * -(-c.groups // groups)
        rows = c.outputs / axis.output * c.row_taps
        made, tall = 0.0, shape.rows
        for _, taps in shape.taps:
            for positions, count in split(axis.output, shape.positions):
                columns = min(positions * taps, (positions - 1) * axis.stride + taps)
                products = positions * taps * c.channels_in
                reads = columns * (1 if shuffled else c.channels_in) + positions / tall
                work = (products + columns * c.channels_in) / 3 if shuffled else 0.0
                waits = costs.FMA_LATENCY_CYCLES / tall
                made += rows * count * max(products / 2, reads / 2, work, waits)
            made += rows / tall * TAP_TILE_ROW_CYCLES
        lanes = machine.lanes(c.dtype)
        inputs = c.inputs * -(-groups * c.channels_in // lanes)
        return blocks * (made + costs.ROW_VECTOR_CYCLES * (inputs + c.outputs))

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Where borders are not zeros, or too many tiles have taps in them."""
        last = c.windows[-1]
        if not last.pads or last.borders:
            return last.borders
        return self._products(c, machine) > unrolled(machine)

    def _products(self, c: Correlation, machine: Machine) -> int:
        """Multiply-adds in the code of the largest function, for one row of taps."""
        found = tiles(c, shape_of(c, machine))
        products = [
            sum(kind.positions * len(kind.outside) for kind, _, _ in runs) for runs in found
        ]
        return max(products) * c.channels_in

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        sums: list[Step] = []
        for channels in _channel_blocks(c, machine):
            here, there = of_groups(c, arrays, channels.start, c.groups)
            step, adding = _steps(here, machine, work, there, channels, barrier and not sums)
            work.steps.append(step)
            sums.append(replace(adding, barrier=not sums))
        work.steps += sums


class DepthwiseWeightGrad(GroupedWeightGrad):
    """Groups of one input and one output channel: lanes are channels, or positions."""

    copies = None

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        if c.groups < 2 or not c.channels_in == 1 == c.channels_out:
            return "groups have more than one channel"
        if _fits(c, machine) or planes.fits(c):
            return None
        return "neither channels nor positions are contiguous"

    def describe(self, c: Correlation, machine: Machine) -> str:
        """What the lanes of a vector are, for people."""
        return f"lanes are {'channels' if _fits(c, machine) else 'positions'}"

    def cost(self, c: Correlation, machine: Machine) -> float:
        if _fits(c, machine) or self.why_not(c, machine) is not None:
            return super().cost(c, machine)
        return planes.cycles(c, machine)

    def _products(self, c: Correlation, machine: Machine) -> int:
        if _fits(c, machine):
            return super()._products(c, machine)
        return planes.products(c, machine)

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        if _fits(c, machine):
            super().plan(c, machine, work, arrays, barrier)
        else:
            planes.plan(c, machine, work, arrays, barrier, _plane_band(c, machine))


def _fits(c: Correlation, machine: Machine) -> bool:
    """Whether lanes can be channels: contiguous in both arrays, however many are in a group."""
    groups = groups_per_vector(c, machine)
    contiguous = c.channels_out == 1 or c.out[2] == 1
    contiguous = contiguous and (groups == 1 or c.out[1] == c.channels_out)
    return groups > 0 and contiguous and c.channels_in <= budget(machine)


# Blocks and bands ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ChannelBlocks:
    """Channels from group ``start`` on: ``blocks`` of ``vectors`` vectors of ``groups`` groups."""

    start: int
    blocks: int
    vectors: int
    groups: int


def _channel_blocks(c: Correlation, machine: Machine) -> list[_ChannelBlocks]:
    """All groups in blocks of ``BLOCK_BYTES`` or less; what is left over stands alone."""
    groups = groups_per_vector(c, machine)
    whole, rest = divmod(c.groups, groups)
    contiguous = c.x[1] == c.channels_in and c.out[1] == c.channels_out
    most = max(1, BLOCK_BYTES // machine.vector_bytes) if contiguous else 1
    # All blocks alike, where that is possible.
    vectors = next((n for n in range(most, most // 2, -1) if whole % n == 0), most)
    found = [
        _ChannelBlocks(b.start * groups, b.count, b.channels, groups)
        for b in channel_blocks(whole, vectors)
    ]
    return found + ([_ChannelBlocks(whole * groups, 1, 1, rest)] if rest else [])


def _band(c: Correlation, machine: Machine) -> int:
    """Positions of a band."""
    blocks = max(1, -(-c.groups * c.channels_out * c.item_bytes // BLOCK_BYTES))
    shared = -(-c.batch * c.outputs // -(-MIN_PARTIALS // blocks))
    least = max(MIN_BAND_POSITIONS, BAND_POSITIONS_PER_TAP * c.taps)
    return min(MAX_BAND_POSITIONS, max(least, shared))


def _plane_band(c: Correlation, machine: Machine) -> int:
    """Positions of a band with channels first, where every lane has a sum of its own."""
    shared = -(-c.batch * c.outputs // -(-MIN_PARTIALS // c.groups))
    return min(MAX_BAND_POSITIONS * machine.lanes(c.dtype), max(_band(c, machine), shared))


# The plan -----------------------------------------------------------------------------------------


def _layouts(
    c: Correlation, machine: Machine, shape: Shape, channels: _ChannelBlocks
) -> tuple[RowLayout, RowLayout]:
    """How the input and the output gradient are read."""
    last, lanes = c.windows[-1], machine.lanes(c.dtype)
    # Gradients that are read once need no copy.
    outer = c.taps // last.axis.kernel
    again = len(shape.taps) * len(shape.inputs) * -(-outer // shape.rows) > 1
    inputs = -(-channels.groups * c.channels_in // lanes) * lanes
    conflicts = _set_conflicts(c, machine)
    x = RowLayout(last.x, inputs if conflicts else last.x, conflicts)
    return x, RowLayout(last.out, lanes if again else last.out, again)


def _set_conflicts(c: Correlation, machine: Machine) -> bool:
    """Whether what one row of the output reads is too much for the lines of the cache that its
    positions fall into.
    """
    last = c.windows[-1]
    step = last.x * c.item_bytes
    used = min(1.0, costs.LINE_BYTES / gcd(step, costs.CACHE_WAY_BYTES))
    lines = machine.l1 // costs.LINE_BYTES * used
    return c.taps // last.axis.kernel * last.axis.size > 1.5 * lines


def _memory(
    c: Correlation,
    machine: Machine,
    kernel: GroupedWeightGradKernel,
    segments: Table,
    band_rows: int,
) -> Memory:
    """Rows of a pass: those of one vector stay in the first-level cache, of all of them in the
    second.
    """
    x, g, outer = kernel.x, kernel.g, c.taps // c.windows[-1].axis.kernel
    x_row, g_row = (int(segments[:, i].max()) * p for i, p in ((1, x.pitch), (3, g.pitch)))
    bytes_ = c.item_bytes
    fit = machine.l1 // 2 // (max(x_row, g_row, 1) * bytes_)
    most, places = UNCOPIED_ROWS, outer * UNCOPIED_ROWS
    if x.copied:
        most = max(1, (fit - outer) // 2)
        room = machine.l2 // 4 // (max(x_row, 1) * bytes_ * kernel.vectors)
        places = min(outer * band_rows, max(outer, room))
    return Memory(
        x_row if x.copied else None, g_row if g.copied else None, places, min(band_rows, most)
    )


def _steps(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    channels: _ChannelBlocks,
    barrier: bool,
) -> tuple[Step, Step]:
    """The step for the channels of ``channels``, and the one that adds its bands."""
    shape, bytes_, positions = shape_of(c, machine), c.item_bytes, _band(c, machine)
    found, band = tiles(c, shape), band_size(c, positions)
    kernel, tap_rows = _kernel(c, machine, channels, shape, found)
    most = max(1, positions // shape.positions)
    row_tables = segments_of(c, shape, found, most, kernel.x, kernel.g)
    memory = _memory(c, machine, kernel, row_tables["segments"], band[0])
    bands, walk = bands_of(c, band, tap_rows, memory, row_tables)
    width = channels.blocks * channels.vectors * machine.lanes(c.dtype)
    total = c.taps * c.channels_in * width
    sums = work.borrow("sums", bands * total * bytes_)
    partials = bands * channels.blocks
    items = min(MAX_ITEMS, partials)
    x_step, g_step = channels.groups * c.x[1], channels.groups * c.out[1]
    x_vector = (memory.x or 0) * memory.places or x_step
    g_vector = (memory.g or 0) * memory.rows or g_step
    copies = [
        work.borrow(f"{name} rows", items * channels.vectors * size * bytes_ * layout.copied)
        for name, size, layout in (("x", x_vector, kernel.x), ("g", g_vector, kernel.g))
    ]
    step = kernel.step(
        items,
        _title(c, shape),
        barrier=barrier,
        x=input_of(c, arrays).array,
        g=output_of(c, arrays).array,
        sums=sums,
        x_rows=copies[0],
        g_rows=copies[1],
        item_count=items,
        partials=partials,
        block_count=channels.blocks,
        x_block=channels.vectors * x_step,
        x_vector=x_vector,
        g_block=channels.vectors * g_step,
        g_vector=g_vector,
        x_item=channels.vectors * x_vector,
        g_item=channels.vectors * g_vector,
        band=total,
        block=width // channels.blocks,
        end=total,
        width=width,
        **walk,
    )
    blocks = channels.blocks * channels.vectors, channels.groups * c.channels_out, width
    return step, band_sums(c, sums, arrays.w, bands, *blocks)


def _kernel(
    c: Correlation, machine: Machine, channels: _ChannelBlocks, shape: Shape, found: list[list[Run]]
) -> tuple[GroupedWeightGradKernel, list[TapRows]]:
    """The kernel, and how a pass goes over its tiles of taps."""
    axis, (x, g) = c.windows[-1].axis, _layouts(c, machine, shape, channels)
    every, tap_rows = tap_tiles(c, shape, found, axis.dilation * x.pitch)
    kernel = GroupedWeightGradKernel(
        dtype=c.dtype,
        lanes=lanes_of(channels.groups, c.channels_in, c.channels_out),
        vectors=channels.vectors,
        tap_tiles=every,
        taps=axis.kernel * c.channels_in,
        runs=sum(map(len, found)),
        stride=axis.stride,
        x=x,
        g=g,
    )
    return kernel, tap_rows


def _title(c: Correlation, shape: Shape) -> str:
    name = "depthwise" if c.channels_in == 1 == c.channels_out else "grouped"
    return f"{name}_weight_grad {shape.rows}x{shape.taps[0][1]}, {shape.positions} positions"


GROUPED_WEIGHT_GRAD, DEPTHWISE_WEIGHT_GRAD = GroupedWeightGrad(), DepthwiseWeightGrad()
