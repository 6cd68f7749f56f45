"""What ``direct`` and ``spatial`` share: the loops over items, packed weights, and the steps.

The two differ in what one tile does. Both cut the outputs of the last axis into tiles, leave out
what lies in zeros, and go over (sample, group, block of output channels, row, segment of a row).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from math import prod

from faltung.codegen.ir import Function, Module, parameters
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.costs import FMA_LATENCY_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.addresses import rows_of
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue import Epilogue, tile_arguments
from faltung.methods.base.epilogue_arrays import EpilogueKernel, aux_arguments
from faltung.methods.base.kernel import Arguments
from faltung.methods.base.step import MISSING, Arrays, Operand, Work, shifted
from faltung.methods.base.tiles import (
    MAX_SEGMENT_TILES,
    SEGMENT_ITEM_CYCLES,
    Kind,
    Run,
    segments,
    taps_of,
)
from faltung.methods.copies.copy import copy, weight_runs

# Cycles that a tile loses at the ends of the loop over input channels, and beside its sums: for
# finding its addresses, bias and store.
TAP_CYCLES, PLAIN_TILE_CYCLES = 6, 30
# Products of a tile take about so many cycles at each tap and channel: 12 sums, two in a cycle.
TILE_PRODUCT_CYCLES = 6
# What an item is made of, as numbers of each.
INDICES = ("batch", "group", "block", "row", "segment")
# Columns of the tables of rows and segments; behind them one for each array of the epilogue.
COLUMNS = 4
# What a tile function takes; ``entries`` of ``pattern``, ``channels`` of the input.
TILE = parameters(
    ["x", "w", "out", "bias", "pattern"],
    ["entries", "channels", "x_channel", "out_position", "out_channel"],
)


# The code -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TiledKernel(EpilogueKernel):
    """Items in ``order``, outermost first, as tiles of the ``kinds`` along the last axis.

    pitch: input elements from one output position to the next. taps: input offsets of the unrolled
    taps. single: there is one input channel, no loop over them. aux_contiguous: along a stored
    vector.
    """

    pointers = ("x", "w", "out", "bias", "rows", "segments", "patterns")
    numbers = (
        *INDICES,
        *("x_batch", "x_group", "x_channel"),
        *("out_batch", "out_group", "out_block", "out_position", "out_channel"),
        *("w_block", "channels", "bias_block"),
    )
    aux_numbers = ("batch", "group", "block", "position", "channel")

    dtype: str
    kinds: tuple[Kind, ...]
    pitch: int
    taps: tuple[int, ...]
    single: bool
    order: tuple[str, ...] = INDICES
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()

    def tile(self, v: Vectors, kind: Kind) -> None:
        """Write the function of one kind of tile, with the arguments ``tile_function``."""
        raise NotImplementedError

    @property
    def tile_function(self) -> list[tuple[str, str]]:
        """The arguments of a tile function."""
        return [*TILE, *tile_arguments(len(self.aux_contiguous))]

    def functions(self, module: Module, machine: Machine) -> None:
        for number, kind in enumerate(self.kinds):
            function = module.function(f"tile{number}", self.tile_function)
            self.tile(Vectors(function, machine, self.dtype), kind)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            where = self._indices(f, given, item.index)
            columns = COLUMNS + len(self.aux_contiguous)
            row = f.at(given["rows"], f.mul(where["row"], columns), "i64")
            segment = f.at(given["segments"], f.mul(where["segment"], columns), "i64")
            here = given | self._addresses(v, given, where, row, segment)
            count = f.word(segment, 1)
            tiles = (partial(self._tiles, v, here, i, count) for i in range(len(self.kinds)))
            f.switch(f.word(segment, 0), list(tiles))

    def _indices(self, f: Function, given: Arguments, item: str) -> dict[str, str]:
        """The number of an item as an index for each of ``order``."""
        rest, where = item, {}
        for name in reversed(self.order[1:]):
            rest, where[name] = f.divmod(rest, given[name])
        where[self.order[0]] = rest
        return where

    def _addresses(
        self, v: Vectors, given: Arguments, where: Mapping[str, str], row: str, segment: str
    ) -> dict[str, str]:
        """What is not the same for all items; ``row``, ``segment``: where their entries begin."""
        f = v.function

        def offset(name: str, indices: Sequence[str], along: Iterable[str]) -> str:
            steps = (f.mul(where[index], given[f"{name}_{index}"]) for index in indices)
            return reduce(f.add, itertools.chain(steps, along))

        block = f.add(f.mul(where["group"], given["block"]), where["block"])
        read = f.word(row, 0), f.word(segment, 2)
        offsets = {"x": offset("x", INDICES[:2], read)}
        for i, name in enumerate(self.outputs):
            along = f.word(row, COLUMNS + i - 1 if i else 1), f.word(segment, 3 + i)
            offsets[name] = offset(name, INDICES[:3], along)
        return {
            "x": v.at(given["x"], offsets.pop("x")),
            "w": v.at(given["w"], f.mul(block, given["w_block"])),
            **{name: v.at(given[name], place) for name, place in offsets.items()},
            "bias": v.at(given["bias"], f.mul(block, given["bias_block"])),
            "pattern": f.at(given["patterns"], f.mul(f.word(row, 2), 2), "i64"),
            "entries": f.word(row, 3),
        }

    def _tiles(self, v: Vectors, here: Mapping[str, str], number: int, count: str) -> None:
        """``count`` tiles of one kind, one after the other along the row."""
        f, positions = v.function, self.kinds[number].positions
        steps = [str(positions * self.pitch)]
        steps += [f.mul(here[f"{name}_position"], positions) for name in self.outputs]
        names = ("x", *self.outputs)
        moving = [(here[name], step) for name, step in zip(names, steps, strict=True)]
        with v.walk(0, count, moving, runs=True) as tile:
            now = {**here, **dict(zip(names, tile.values, strict=True))}
            f.call_with(f"tile{number}", self.tile_function, now)


# The plan -----------------------------------------------------------------------------------------


def product_cycles(products: int, loads: int = 0) -> float:
    """Of one update of a tile: multiply-adds or loads, two in a cycle, or latency."""
    return max(products / 2, loads / 2, FMA_LATENCY_CYCLES)


@dataclass(frozen=True, slots=True)
class ChannelBlocks:
    """Channels of every group from ``start`` on, in ``count`` blocks of ``channels``; ``width``:
    those of the vectors that hold a block.
    """

    start: int
    count: int
    channels: int
    width: int


def channel_blocks(channels: int, most: int, lanes: int = 1) -> Iterator[ChannelBlocks]:
    """Whole blocks of ``most`` channels, then one with what is left; ``lanes`` in a vector."""
    whole, rest = divmod(channels, most)
    for start, count, size in ((0, whole, most), (whole * most, 1, rest)):
        if count and size:
            yield ChannelBlocks(start, count, size, -(-size // lanes) * lanes)


def add_tiles(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    kernel: TiledKernel,
    runs: list[Run],
    blocks: ChannelBlocks,
    title: str,
    barrier: bool,
) -> None:
    """Add the steps for the output channels of ``blocks``: packing, then the tiles."""
    *outer, last = c.windows
    packed, bias = _pack(c, work, arrays, blocks)
    tap, offsets = c.channels_in * blocks.width, taps_of(last)
    in_code = len(kernel.taps) == len(offsets)
    rows, patterns = rows_of(
        outer, (0,) if in_code else offsets, tap * len(offsets) if in_code else tap, len(c.aux)
    )
    tile_cycles = TILE_PRODUCT_CYCLES * c.channels_in * c.taps
    most = min(MAX_SEGMENT_TILES, max(1, SEGMENT_ITEM_CYCLES // tile_cycles))
    cut = segments(runs, kernel.kinds, last, most)
    counts = (c.batch, c.groups, blocks.count, len(rows), len(cut))
    aux = aux_arguments(
        c,
        arrays,
        lambda aux: {
            **{"batch": aux.batch, "group": aux.group, "block": blocks.channels * aux.channel},
            **{"position": aux.along[-1], "channel": aux.channel},
        },
        blocks.start,
    )
    step = kernel.step(
        prod(counts),
        title if c.epilogue is None else f"{title}, {c.epilogue}",
        barrier=barrier,
        x=shifted(arrays.x, c.x_base, c.dtype),
        w=packed,
        out=shifted(arrays.out, c.out_base + blocks.start * c.out[2], c.dtype),
        bias=bias,
        rows=rows,
        segments=cut,
        patterns=patterns,
        **dict(zip(INDICES, counts, strict=True)),
        **dict(zip(("x_batch", "x_group", "x_channel"), c.x, strict=True)),
        **dict(zip(("out_batch", "out_group", "out_channel"), c.out, strict=True)),
        out_block=blocks.channels * c.out[2],
        out_position=last.out,
        w_block=tap * c.taps,
        channels=c.channels_in,
        bias_block=blocks.width,
        **aux,
    )
    work.steps.append(step)


def _pack(
    c: Correlation, work: Work, arrays: Arrays, blocks: ChannelBlocks
) -> tuple[Operand, Operand]:
    """Weights as (group, block, tap, input channel, output channel of the block), and the bias
    likewise; zeros up to the width of a block.
    """
    tap, size = c.channels_in * blocks.width, ELEMENTS[c.dtype][1]
    packed = work.keep("weights", c.groups * blocks.count * c.taps * tap * size)
    bias = work.keep("bias", c.groups * blocks.count * blocks.width * size)
    outer, biases = [], []
    for number, (g, b) in enumerate(itertools.product(range(c.groups), range(blocks.count))):
        channel = blocks.start + b * blocks.channels
        outer.append((g * c.w[0] + channel * c.w[1], number * c.taps * tap))
        biases.append((g * c.channels_out + channel if arrays.bias else 0, number * blocks.width))
    channels, each = (c.channels_in, c.w[2]), (tap, blocks.width)
    runs = weight_runs(c.tap_offsets, channels, each, blocks.channels)
    title = "pack weights"
    pack_weights = copy(
        c.dtype, arrays.w, packed, outer, runs, stride=c.w[1], fill=blocks.width, title=title
    )
    source = [(0 if arrays.bias else MISSING, 0, blocks.channels)]
    given = arrays.bias or packed
    pack_bias = copy(c.dtype, given, bias, biases, source, fill=blocks.width, title="pack bias")
    work.prepare += [pack_weights, pack_bias]
    return packed, bias
