"""Winograd's minimal filtering: fewer products than the sum has, by transforms along each axis.

What it is.  A tile of m outputs of r taps along an axis costs m + r - 1 products instead of m r;
  axes nest: F(4x4, 3x3) takes 36 products for what the sum does with 144. Tiles of the input are
  transformed (``input_transform``); for each point they meet the transformed weights
  (``filter_transform``) in the outer product of all methods, and what comes out is transformed back
  and stored (``products``). It is done in passes over some tiles, whose transforms stay in the
  second-level caches; two passes alternate, so that there is one barrier for each of them. (A.
  Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016.)
When it applies.  Axes of 3 or 5 taps with stride 1 and any dilation, beside axes of one tap; a few
  groups, one after the other. It is a transform: it rounds more than the sum (about five times for
  F(4x4, 3x3)), and what is not finite spreads over its tile.
What it costs.  ``macs * points / (outputs * taps)`` multiply-adds, the transforms, and the way of
  the transformed weights, which are larger, through the caches.
"""

from collections.abc import Sequence
from dataclasses import fields
from math import inf, prod

import numpy as np

from faltung.codegen.tile import parts, split
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.addresses import scaled
from faltung.methods.base.blocks import ChannelBlocks
from faltung.methods.base.correlation import Correlation, of_groups
from faltung.methods.base.method import ForwardMethod
from faltung.methods.base.step import (
    MISSING,
    Argument,
    Arrays,
    Operand,
    Table,
    Work,
    shifted,
    table,
)
from faltung.methods.copies.copy import copy
from faltung.methods.copies.stage import stage_output
from faltung.methods.copies.weights import weight_blocks
from faltung.methods.winograd.choice import WinogradChoice, choose, why_not
from faltung.methods.winograd.filter_transform import TransformFilters
from faltung.methods.winograd.input_transform import TransformInput
from faltung.methods.winograd.products import FusedProducts, Products
from faltung.methods.winograd.tiles import (
    AxisTiles,
    axis_tiles,
    joined,
    tile_counts,
    tiles_along,
)
from faltung.methods.winograd.transforms import transform

# Cycles of a transformed weight in vectors of eight.
PACK_CYCLES = 0.55


class Winograd(ForwardMethod):
    transform = True

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        return why_not(c)

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied: its channels are not contiguous."""
        return c.x[2] != 1 and c.channels_in > 1

    def cost(self, c: Correlation, machine: Machine) -> float:
        chosen = choose(c, machine)
        if chosen is None:
            return inf
        sizes = zip(c.windows, chosen.sizes, strict=True)
        tiles = c.batch * prod(tiles_along(window, transform(*size)) for window, size in sizes)
        return c.groups * chosen.cycles(tiles)

    def packing(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core for the transform of the weights."""
        chosen = choose(c, machine)
        made = chosen.points * c.channels_in * c.channels_out * c.groups if chosen else 0
        return PACK_CYCLES * made * 8 / machine.lanes(c.dtype)

    def describe(self, c: Correlation, machine: Machine) -> str:
        """Its sizes."""
        return str(choose(c, machine) or "")

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        chosen = choose(c, machine)
        if chosen is None:
            raise FaltungError(f"c={c}: must be a problem that applies ({why_not(c)})")
        staged = c.out[2] != 1 and c.channels_out > 1

        def add(c: Correlation, arrays: Arrays) -> None:
            for group in range(c.groups):
                one, given = of_groups(c, arrays, group, 1)
                _Group(one, work, given, chosen).add_steps(barrier)

        stage_output(c, work, arrays, add) if staged else add(c, arrays)


WINOGRAD = Winograd()


def _apart(length: int, lanes: int) -> int:
    """A distance between memory that is written at the same time: where it is a power of two, or
    nearly, all of it maps to a few sets of the cache.
    """
    return length + lanes if length % (32 * lanes) == 0 else length


# The steps of a group -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """One group in the making, whose channels are contiguous in input and output."""

    c: Correlation
    work: Work
    arrays: Arrays
    chosen: WinogradChoice

    @property
    def u_point(self) -> int:
        """Elements from one point of the transformed weights of a block to the next."""
        return _apart(self.c.channels_in * self.chosen.width, self.chosen.lanes)

    def add_steps(self, barrier: bool) -> None:
        """Add the steps of the group, the first after a barrier where one is asked for."""
        c, work, chosen = self.c, self.work, self.chosen
        sizes = zip(c.windows, chosen.sizes, strict=True)
        axes = [axis_tiles(window, transform(*size)) for window, size in sizes]
        tiles = c.batch * prod(axis.count for axis in axes)
        together = chosen.fused_blocks(tiles) if work.packs else 0
        weights = chosen.blocks * chosen.points * self.u_point * chosen.item_bytes
        passes = [(0, tiles)] if together else _passes(tiles, chosen, weights)
        products = self._products(passes, weights, bool(together))
        pitches = products.point_pitch, products.tile_pitch
        inputs = TransformInput(c.dtype, chosen.sizes, c.channels_in, *pitches)
        # Another group, or another phase of a gradient, has the same memory after this one.
        names = [f"inputs{i}" for i in range(len(passes[:2]))]
        size = max(count for _, count in passes) * products.tile_pitch * chosen.item_bytes
        used = [work.again(name, size) for name in names]
        memory, barrier = [Operand(name) for name in names], barrier or any(used)
        reads = self._reads(axes)
        writes = self._writes(axes, products)
        title = f"winograd {chosen} {chosen.vectors}x{chosen.rows}"
        if together:
            products, given = self._fused(products, together)
            writes |= given | {"tiles": tiles}
            title = f"{title}, transforms weights"
        else:
            writes |= {"u": self._weights(), "u_point": self.u_point}
            writes |= {"u_block": chosen.points * self.u_point}
        for number, (first, count) in enumerate(passes):
            # During the products of one pass the inputs of the next are transformed: into the other
            # of two arrays.
            here: dict[str, Argument] = {"first": first}
            to, begins = memory[number % len(memory)], barrier and not number
            step = inputs.step(
                count, f"transform {count} tiles", barrier=begins, to=to, **reads, **here
            )
            work.steps.append(step)
            ranges, register_tiles = self._ranges(count, products)
            here |= {"ranges": ranges, "register_tiles": register_tiles}
            here |= {"range_count": len(ranges), "v": to}
            items = -(-chosen.blocks // together) if together else chosen.blocks * len(ranges)
            work.steps.append(products.step(items, title, barrier=True, **writes, **here))

    def _products(self, passes: list[tuple[int, int]], weights: int, fused: bool) -> Products:
        """The kernel of the products, for ``weights`` bytes of transformed weights."""
        c, chosen, lanes = self.c, self.chosen, self.chosen.lanes
        point_pitch = _apart(-(-c.channels_in // lanes) * lanes, lanes)
        rows = {rows for _, tiles in passes for rows, _ in split(tiles, chosen.rows)}
        large = chosen.outgrow_cache(weights) and chosen.blocks >= chosen.machine.cores
        return Products(
            dtype=c.dtype,
            sizes=chosen.sizes,
            vectors=chosen.vectors,
            rows=tuple(sorted(rows, reverse=True)),
            channels=c.channels_in,
            point_pitch=point_pitch,
            tile_pitch=_apart(chosen.points * point_pitch, lanes),
            last=c.channels_out - (chosen.blocks - 1) * chosen.width,
            most=chosen.most_summed if fused else chosen.range_tiles,
            block_major=fused or large,
            epilogue=c.epilogue,
            aux_steps=c.aux_steps("channel"),
        )

    def _fused(
        self, products: Products, together: int
    ) -> tuple[FusedProducts, dict[str, Argument]]:
        """The products of all tiles in one pass, with weights that are transformed on the way;
        ``together``: blocks of an item.
        """
        chosen, (filters, reads, _) = self.chosen, self._filters()
        point = _apart(chosen.input_block * chosen.width, chosen.lanes)
        size = chosen.points * point
        self.work.again("filters", -(-chosen.blocks // together) * size * chosen.item_bytes)
        given = {field.name: getattr(products, field.name) for field in fields(products)}
        return FusedProducts(**given, filters=filters, input_block=chosen.input_block), {
            **reads,
            **{"u": Operand("filters"), "u_point": point, "u_block": 0, "u_item": size},
            **{"channels_out": self.c.channels_out, "blocks_per_item": together},
        }

    def _ranges(self, tiles: int, products: Products) -> tuple[Table, Table]:
        """The tables ``ranges`` and ``register_tiles`` of a pass."""
        cores, rows = self.chosen.machine.cores, self.chosen.rows
        made = [(products.rows.index(size), first) for first, size in parts(tiles, rows)]
        ends = [*(start for _, start in made), tiles]
        count = max(1, -(-len(made) // -(-products.most // rows)))
        if not products.block_major:
            # Every thread gets as much as the others.
            count = min(len(made), -(-count // cores) * cores)
        ranges = [
            (lo, lo + size, ends[lo], ends[lo + size])
            for lo, size in parts(len(made), -(-len(made) // count))
        ]
        return table(ranges, 4), table(made, 2)

    # Arguments

    def _reads(self, axes: list[AxisTiles]) -> dict[str, Argument]:
        """Where inputs lie."""
        c, windows, count = self.c, self.c.windows, self.c.channels_in
        zeros = self._kept("zeros", count, self.arrays.w, [(MISSING, 0, count)], "zeros")
        return {
            "x": shifted(self.arrays.x, c.x_base, c.dtype),
            "zeros": zeros,
            "table": joined([scaled(a.inputs, w.x) for a, w in zip(axes, windows, strict=True)]),
            "batch": c.x[0],
            **tile_counts(axes),
        }

    def _writes(self, axes: list[AxisTiles], products: Products) -> dict[str, Argument]:
        """Where the bias, outputs and what the epilogue reads lie."""
        c, outputs = self.c, [a.outputs for a in axes]
        # What does not exist is read where its tile begins.
        there = [np.where(o < 0, o[:, :1], o) for o in outputs]
        strides = [w.out for w in c.windows]
        return {
            **products.output_arguments(
                c,
                self.arrays,
                block=lambda out: self.chosen.width * out.channel,
                table=lambda out: joined([t * s for t, s in zip(there, out.along, strict=True)]),
            ),
            "out_block": self.chosen.width,
            "out_table": joined([scaled(o, s) for o, s in zip(outputs, strides, strict=True)]),
            "bias": self._bias(),
            "blocks": self.chosen.blocks,
            **tile_counts(axes),
        }

    def _bias(self) -> Operand:
        """The bias, or zeros, as long as all blocks."""
        c, width, given = self.c, self.chosen.width, self.arrays.bias
        size, source = self.chosen.blocks * width, given or self.arrays.w
        runs = [
            (first if given else MISSING, first, min(width, c.channels_out - first))
            for first in range(0, size, width)
        ]
        return self._kept("bias", size, source, runs, "pack bias", fill=width)

    def _kept(
        self,
        hint: str,
        size: int,
        source: Operand,
        runs: Sequence[Sequence[int]] | Table,
        title: str,
        *,
        stride: int = 1,
        fill: int = 0,
    ) -> Operand:
        """A copy of ``size`` elements that is prepared once."""
        made = self.work.keep(hint, size * self.chosen.item_bytes)
        whole = [(0, 0)]
        step = copy(self.c.dtype, source, made, whole, runs, stride=stride, fill=fill, title=title)
        self.work.prepare.append(step)
        return made

    def _weights(self) -> Operand:
        """The transformed weights, in blocks of output channels."""
        c, chosen, block = self.c, self.chosen, self.chosen.points * self.u_point
        kernel, given, barrier = self._filters()
        made = self.work.keep("weights", chosen.blocks * block * chosen.item_bytes)
        given |= {"to": made, "point": self.u_point, "block": block}
        given |= {"channels_in": c.channels_in, "channels_out": c.channels_out}
        items, title = kernel.items(chosen.blocks, c.channels_in), f"transform weights {chosen}"
        self.work.prepare.append(kernel.step(items, title, barrier=barrier, **given))
        return made

    def _filters(self) -> tuple[TransformFilters, dict[str, Argument], bool]:
        """How the weights are read, and whether from a copy with output channels contiguous, which
        is made first.
        """
        c, source, (_, lane, channel) = self.c, self.arrays.w, self.c.w
        taps = c.tap_offsets
        order: tuple[int, ...] = ()
        least, copied = min(taps), False
        if lane != 1 and c.channels_out > 1:
            if sorted(taps) == list(range(least, least + c.taps)):
                source = shifted(source, least, c.dtype)
                order = tuple(tap - least for tap in taps)
            else:
                copied = True
                source, taps = self._transposed()
                lane, channel = 1, c.channels_out
        given: dict[str, Argument] = {
            **{"w": source, "taps": np.array(taps, np.int64)},
            **{"w_block": self.chosen.width * lane, "w_channel": channel, "w_lane": lane},
        }
        kernel = TransformFilters(c.dtype, self.chosen.sizes, self.chosen.vectors, order)
        return kernel, given, copied

    def _transposed(self) -> tuple[Operand, list[int]]:
        """A copy of the weights with output channels contiguous, and where its taps begin."""
        c, size = self.c, self.c.channels_in * self.c.channels_out
        whole = ChannelBlocks(0, 1, c.channels_out, c.channels_out)
        _, runs = weight_blocks(c, whole, c.w[1], c.w[2], c.channels_in)
        title, stride = "transpose weights", c.w[1]
        made = self._kept("transposed", c.taps * size, self.arrays.w, runs, title, stride=stride)
        return made, [k * size for k in range(c.taps)]


def _passes(total: int, chosen: WinogradChoice, weights: int) -> list[tuple[int, int]]:
    """(first tile, tiles) of each pass: alike, and whole register tiles but in the last."""
    most = chosen.pass_tiles(weights) * chosen.machine.cores
    size = -(-total // -(-total // most))
    size = -(-size // chosen.rows) * chosen.rows
    return [(first, min(size, total - first)) for first in range(0, total, size)]
