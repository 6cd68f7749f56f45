"""Grouped and depthwise convolution: vectors across groups of few channels.

What it is.  A block is as many groups as fit a vector, or one group that fills more than half. Its
  inputs are loaded together, and each lane takes a channel of its own group: by a shuffle in
  registers for each input channel, by a broadcast where a block is one group, or as it was loaded
  where groups have one channel in and one out (depthwise). A tile is one or two rows by a few
  columns of outputs; each vector of the input serves a tap of both rows (``kernel``).
When it applies.  Output channels of a group fit a vector; channels are contiguous in the input.
What it costs.  A load, or a shuffle, for each column and tap, which in tiles of two rows serves two
  multiply-adds. Where the code has no room for long rows of taps in padding, the input is copied
  first, one block of channels after the other, so that positions are contiguous.
"""

from dataclasses import replace
from math import inf, prod

from faltung.machine.costs import COPY_CYCLES, STEP_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.blocks import ChannelBlocks, channel_blocks
from faltung.methods.base.correlation import Correlation, of_groups, step_kind
from faltung.methods.base.epilogue_arrays import input_of
from faltung.methods.base.method import ForwardMethod
from faltung.methods.base.step import MISSING, Arrays, Operand, Table, Work
from faltung.methods.base.tiles import Run, kinds_of, segments
from faltung.methods.copies.copy import copy
from faltung.methods.copies.stage import stage_blocks
from faltung.methods.copies.weights import weight_blocks
from faltung.methods.grouped import planes
from faltung.methods.grouped.choice import (
    Blocks,
    Tile,
    across_of,
    groups_per_vector,
    has_lonely,
    runs_of,
)
from faltung.methods.grouped.kernel import GroupedKernel
from faltung.methods.grouped.lanes import lanes_of
from faltung.methods.grouped.tables import patch_tables_of, tables_of

# The most blocks of channels in one item that reads its input in place.
BLOCKS_PER_ITEM = 32


# When it applies, what it costs -------------------------------------------------------------------


class Grouped(ForwardMethod):
    """Groups of several channels."""

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        if c.channels_in == 1 == c.channels_out:
            return "depthwise"
        if c.groups < 2:
            return "one group"
        if c.channels_out > machine.lanes(c.dtype):
            return "a group fills vectors of its own"
        return None if groups_per_vector(c, machine) else "channels are not contiguous"

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core, copies included; infinite if it does not apply."""
        if self.why_not(c, machine) is not None:
            return inf
        count, made = groups_per_vector(c, machine), 0.0
        blocks = Blocks(replace(c, groups=-(-c.groups // count)), machine, count)
        if _copies(blocks):
            inputs = prod(w.axis.size for w in c.windows[:-1]) * blocks.axis.padded
            made += c.batch * c.groups * c.channels_in * inputs * COPY_CYCLES + STEP_CYCLES
            blocks = blocks.over_padded()
        return made + c.batch * blocks.c.groups * blocks.cycles(blocks.choose())

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        groups = groups_per_vector(c, machine)
        for blocks in channel_blocks(c.groups, groups):
            here, there = of_groups(c, arrays, blocks.start, blocks.count)
            _add(Blocks(here, machine, blocks.channels), work, there, barrier)


class Depthwise(Grouped):
    """Groups of one input and one output channel."""

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        if c.groups < 2 or not c.channels_in == 1 == c.channels_out:
            return "not one channel in and one out for each group"
        return None if groups_per_vector(c, machine) else planes.why_not(c, machine)

    def cost(self, c: Correlation, machine: Machine) -> float:
        if self.why_not(c, machine) is None and not groups_per_vector(c, machine):
            return planes.cycles(c, machine)
        return super().cost(c, machine)

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        if groups_per_vector(c, machine):
            super().plan(c, machine, work, arrays, barrier)
        else:
            planes.plan(c, machine, work, arrays, barrier)


def _copies(b: Blocks) -> bool:
    """Whether the input is copied first: borders along the last axis that are not zeros, or taps
    that fit neither the code nor a patch.
    """
    last = b.c.windows[-1]
    if last.borders or not last.pads:
        return last.borders
    tile = b.choose()
    return not tile.unrolled and tile.patch is None


# The plan -----------------------------------------------------------------------------------------


def _add(b: Blocks, work: Work, arrays: Arrays, barrier: bool) -> None:
    """The steps of all blocks."""
    c, x_block = b.c, b.count * b.c.x[1]
    if _copies(b):
        wide = replace(c, channels_in=b.inputs, x=(c.x[0], x_block, 1))
        made, copied = stage_blocks(wide, work, arrays.x, barrier)
        arrays, barrier, x_block = replace(arrays, x=copied), True, made.x[1]
        c = replace(c, windows=made.windows, x=(made.x[0], x_block, 1), x_base=0)
        b = replace(b, c=c)
    tile = b.choose()
    last, patch = c.windows[-1], tile.patch
    runs = runs_of(last.axis, tile, last.every)
    kernel, tables = _kernel(b, tile, runs), _tables(b, tile, runs)
    rows, along = tables["rows"], tables["runs"]
    items = -(-c.groups // min(BLOCKS_PER_ITEM, b.weights_that_fit))
    item_blocks = -(-c.groups // items)
    patched: dict[str, int] = {}
    if patch is not None:
        rows, along, item_blocks = tables["patches"], tables["segments"], tile.blocks
        patched = {"x_position": last.x, "patch_block": patch.positions * b.inputs}
    block_items = -(-c.groups // item_blocks)
    weights, bias = _pack(b, work, arrays)
    outputs = kernel.output_arguments(
        c,
        arrays,
        block=lambda out: b.count * out.group,
        channel=lambda out: out.group if c.channels_out == 1 else out.channel,
    )
    step = kernel.step(
        c.batch * len(rows) * len(along) * block_items,
        _title(c, tile, kernel),
        barrier=barrier,
        w=weights,
        bias=bias,
        row_items=len(rows),
        last_items=len(along),
        block_items=block_items,
        blocks=c.groups,
        item_blocks=item_blocks,
        **input_of(c, arrays).arguments("x", ("batch",)),
        x_block=x_block,
        w_block=c.taps * b.tap_weights,
        tap=last.axis.dilation * b.position(tile),
        **patched,
        **tables,
        **outputs,
    )
    work.steps.append(step)


def _kernel(b: Blocks, tile: Tile, runs: list[Run]) -> GroupedKernel:
    c, last, patch = b.c, b.c.windows[-1], tile.patch
    steps = [a[1] if c.channels_out == 1 else a[2] for a in (c.out, *c.aux)]
    along = [1 if b.width == 1 else step_kind(step) for step in steps]
    # What follows each other shares the weights where these are large, else rows of the input: so
    # they stay in the second-level cache.
    weights = c.groups * c.taps * b.tap_weights * c.item_bytes
    return GroupedKernel(
        dtype=c.dtype,
        rows=tile.rows,
        lanes=lanes_of(b.count, c.channels_in, c.channels_out),
        pitch=last.axis.stride * b.position(tile),
        taps=last.axis.kernel if tile.unrolled else 1,
        together=b.together(tile),
        steps=(last.axis.stride, last.axis.dilation),
        every=last.every,
        phase=-last.axis.lo % last.every,
        across=_across(b, tile),
        lonely=tile.rows > 1 and has_lonely(c.windows[-2].axis),
        kinds=kinds_of(runs),
        contiguous=along[0] == 1,
        channels_outer=patch is None and weights > b.machine.l2 // 4,
        epilogue=c.epilogue,
        aux_steps=tuple(along[1:]),
        patch_elements=0 if patch is None else patch.positions * b.inputs * tile.blocks,
        patch_blocks=tile.blocks,
    )


def _across(b: Blocks, tile: Tile) -> tuple[tuple[int, int], ...] | None:
    """What ``GroupedKernel.across`` is: for two rows of an image, with one input channel a group.
    Groups of several channels do so much for a row of taps that a loop costs nothing.
    """
    if tile.rows != 2 or len(b.c.windows) != 2 or b.c.channels_in > 1 or not tile.unrolled:
        return None
    return across_of(b.c.windows[0])


def _title(c: Correlation, tile: Tile, kernel: GroupedKernel) -> str:
    name = "depthwise" if c.channels_in == 1 == c.channels_out else "grouped"
    title = f"{name} {tile.rows}x{kernel.kinds[0].positions}"
    if tile.patch is not None:
        title = f"{title} of patches {'x'.join(map(str, tile.patch.extents))}"
    return title


def _tables(b: Blocks, tile: Tile, runs: list[Run]) -> dict[str, Table]:
    """The tables of the kernel, by name."""
    windows, position = b.c.windows, b.position(tile)
    if tile.patch is not None:
        return patch_tables_of(windows, tile, tile.patch, runs, position, b.tap_weights)
    cut = segments(runs, kinds_of(runs), windows[-1])
    return tables_of(windows, tile, position, b.tap_weights) | {"runs": cut}


def _pack(b: Blocks, work: Work, arrays: Arrays) -> tuple[Operand, Operand]:
    """Weights as (block, tap, input channel, lane), and the bias as (block, lane of the block)."""
    c, count, width, item = b.c, b.count, b.width, b.c.item_bytes
    tap, lanes = b.tap_weights, b.machine.lanes(c.dtype)
    packed = work.keep("weights", c.groups * c.taps * tap * item)
    bias = work.keep("bias", (c.groups * width + lanes) * item)
    step = c.w[0] if c.channels_out == 1 else c.w[1]
    groups = [(g * c.w[0], g * c.channels_out, c.channels_out) for g in range(count)]
    if c.channels_out == 1 or count == 1 or c.w[0] == c.channels_out * c.w[1]:
        groups = [(0, 0, width)]
    fill = lanes if len(groups) == 1 else 0
    whole, blocks = ChannelBlocks(0, 1, width, lanes), replace(c, w=(count * c.w[0], *c.w[1:]))
    outer, at = weight_blocks(blocks, whole, step, c.w[2], c.channels_in)
    runs = [(src + first, dst + to, size) for src, dst, _ in at for first, to, size in groups]
    if width < lanes and not fill:
        runs += [(MISSING, dst + width, lanes - width) for _, dst, _ in at]
    work.prepare.append(
        copy(c.dtype, arrays.w, packed, outer, runs, stride=step, fill=fill, title="pack weights")
    )
    source = (0 if arrays.bias else MISSING, 0, c.groups * width)
    given = arrays.bias or packed
    work.prepare.append(copy(c.dtype, given, bias, [(0, 0)], [source], title="pack bias"))
    return packed, bias


GROUPED, DEPTHWISE = Grouped(), Depthwise()
