"""What ``direct`` and ``spatial`` share: the loops over items, packed weights, and the steps.

The two differ in what one tile does. Both cut the outputs of the last axis into tiles, leave out
what lies in zeros, and go over (sample, group, block of output channels, row, segment of a row).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from math import prod

import numpy as np

from faltung.codegen.ir import Function, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.axis import Axis
from faltung.machine.costs import FMA_LATENCY_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.addresses import rows_of
from faltung.methods.base.blocks import ChannelBlocks
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.epilogue import Epilogue, tile_arguments
from faltung.methods.base.epilogue_arrays import EpilogueKernel, input_of
from faltung.methods.base.kernel import Arguments, part
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import MISSING, Argument, Arrays, Operand, Step, Work
from faltung.methods.base.tiles import (
    MAX_SEGMENT_TILES,
    SEGMENT_ITEM_CYCLES,
    Kind,
    Run,
    segments,
    taps_of,
)
from faltung.methods.copies.copy import copy
from faltung.methods.copies.weights import weight_blocks
from faltung.methods.plain.inside import NUMBERS, POINTERS, Inside, arguments

# Cycles that a tile loses at the ends of the loop over input channels, and beside its sums: for
# finding its addresses, bias and store.
TAP_CYCLES, TILE_CYCLES = 6, 30
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
    taps. single: there is one input channel, no loop over them. aux_steps: what arrays
    of the epilogue are along a stored vector.
    """

    pointers = ("x", "w", "bias", "rows", "segments", "patterns")
    numbers = (*INDICES, "x_batch", "x_group", "x_channel", "w_block", "channels", "bias_block")
    output_numbers = ("batch", "group", "block", "position", "channel")

    dtype: str
    kinds: tuple[Kind, ...]
    pitch: int
    taps: tuple[int, ...]
    single: bool
    order: tuple[str, ...] = INDICES
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()
    inside: Inside | None = None

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = super().declared()
        if self.inside is None:
            return pointers, numbers
        return (*pointers, *POINTERS), (*numbers, *NUMBERS)

    def tile(self, v: Vectors, kind: Kind) -> None:
        """Write the function of one kind of tile, with the arguments ``tile_function``."""
        raise NotImplementedError

    @property
    def tile_function(self) -> list[tuple[str, str]]:
        """The arguments of a tile function."""
        return [*TILE, *tile_arguments(len(self.aux_steps))]

    def functions(self, code: Functions) -> None:
        for number, kind in enumerate(self.kinds):
            self.tile(code.open(f"tile{number}", self.tile_function), kind)
        if self.inside is not None:
            self.inside.function(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        if self.inside is None:
            with f.loop("%begin", "%end") as item:
                self._item(v, given, self._indices(f, given, item.index))
            return
        first, stop = part(f, given["inner"], given["parts"], "%begin", "%end")
        panel = v.at(given["panels"], f.mul("%begin", given["panel"]))
        with f.loop(first, stop, [("i64", "-1")]) as item:
            where = self._indices(f, given, item.index)
            block = f.add(f.mul(where["group"], given["block"]), where["block"])
            with f.when(f.value(f"icmp ne i64 {block}, {item.values[0]}")):
                self.inside.lay(v, given, where, panel)
            item.carry([block])
            self._item(v, given, where, w=panel)

    def _item(self, v: Vectors, given: Arguments, where: Mapping[str, str], **other: str) -> None:
        """The tiles of an item; ``other``: addresses that are not those of the arguments."""
        f, columns = v.function, COLUMNS + len(self.aux_steps)
        row = f.at(given["rows"], f.mul(where["row"], columns), "i64")
        segment = f.at(given["segments"], f.mul(where["segment"], columns), "i64")
        here = given | self._addresses(v, given, where, row, segment) | other
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
            return reduce(f.add, along, given.offset(name, **{i: where[i] for i in indices}))

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


def tile_cycles(c: Correlation, taps: float, tiles: Iterable[tuple[int, float]]) -> float:
    """Cycles of one core for ``taps`` taps of the last axis. ``tiles``: how many of a kind there
    are in a row of all blocks of channels, and the cycles of one update.
    """
    rows = c.batch * c.groups * c.outputs / c.windows[-1].axis.output
    sums, cycles = rows * c.channels_in * c.row_taps * taps, 0.0
    overhead = 0 if c.channels_in == 1 else TAP_CYCLES / c.channels_in
    for count, step in tiles:
        cycles += count * (sums * (step + overhead) + rows * TILE_CYCLES)
    return cycles


def product_cycles(products: int, loads: int = 0) -> float:
    """Of one update of a tile: multiply-adds or loads, two in a cycle, or latency."""
    return max(products / 2, loads / 2, FMA_LATENCY_CYCLES)


def add_tiles(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    kernel: TiledKernel,
    runs: list[Run],
    blocks: ChannelBlocks,
    title: str,
    barrier: bool,
    machine: Machine | None = None,
) -> None:
    """Add the steps for the output channels of ``blocks``: packing, then the tiles. machine: given
    where the kernel packs inside.
    """
    *outer, last = c.windows
    packed, bias = _pack(c, work, arrays, blocks, kernel.inside is not None)
    tap, offsets = c.channels_in * blocks.width, taps_of(last)
    in_code = len(kernel.taps) == len(offsets)
    rows, patterns = rows_of(
        outer, (0,) if in_code else offsets, tap * len(offsets) if in_code else tap, len(c.aux)
    )
    tile_cycles = TILE_PRODUCT_CYCLES * c.channels_in * c.taps
    most = min(MAX_SEGMENT_TILES, max(1, SEGMENT_ITEM_CYCLES // tile_cycles))
    cut = segments(runs, kernel.kinds, last, most)
    counts = (c.batch, c.groups, blocks.count, len(rows), len(cut))
    outputs = kernel.output_arguments(
        c, arrays, blocks.start, block=lambda out: blocks.channels * out.channel
    )
    items, given = prod(counts), dict[str, Argument](w=packed)
    if machine is not None and kernel.inside is not None:
        items, given = arguments(c, machine, work, arrays, blocks, items)
        title = f"{title}, packs"
    step = kernel.step(
        items,
        title,
        barrier=barrier,
        **given,
        bias=bias,
        rows=rows,
        segments=cut,
        patterns=patterns,
        **dict(zip(INDICES, counts, strict=True)),
        **input_of(c, arrays).arguments("x", ("batch", "group", "channel")),
        **outputs,
        w_block=tap * c.taps,
        channels=c.channels_in,
        bias_block=blocks.width,
    )
    work.steps.append(step)


def _pack(
    c: Correlation, work: Work, arrays: Arrays, blocks: ChannelBlocks, inside: bool
) -> tuple[Operand, Operand]:
    """Weights as (group, block, tap, input channel, output channel of the block), and the bias
    likewise; zeros up to the width of a block. inside: the bias alone.
    """
    tap, size = c.channels_in * blocks.width, c.item_bytes
    bias_blocks = c.groups * blocks.count * blocks.width
    weights = 0 if inside else c.groups * blocks.count * c.taps * tap * size
    packed = work.keep("weights", weights) if weights else arrays.w
    bias = work.keep("bias", bias_blocks * size)
    steps = _packing(_weight(c), arrays.w, arrays.bias, blocks, packed, bias)
    work.prepare += steps[1:] if inside else steps
    return packed, bias


def _weight(c: Correlation) -> Correlation:
    """A problem with the same weight in memory, and as little else as there can be."""
    kernels = (Window(Axis(w.axis.kernel, w.axis.kernel), 0, 0, w.taps) for w in c.windows)
    nowhere = (0, 0, 0)
    return Correlation(
        c.dtype, 1, c.groups, c.channels_in, c.channels_out, tuple(kernels), nowhere, nowhere, c.w
    )


@remembered(512)
def _packing(
    c: Correlation,
    w: Operand,
    given: Operand | None,
    blocks: ChannelBlocks,
    packed: Operand,
    bias: Operand,
) -> tuple[Step, Step]:
    """The steps that pack weights, and the bias."""
    outer, runs = weight_blocks(c, blocks, c.w[1], c.w[2], c.channels_in)
    begin = blocks.places(c.groups, c.channels_out, 1) if given else 0 * outer[:, 0]
    biases = np.stack([begin, np.arange(len(begin)) * blocks.width], axis=1)
    title = "pack weights"
    pack_weights = copy(
        c.dtype, w, packed, outer, runs, stride=c.w[1], fill=blocks.width, title=title
    )
    source = [(0 if given else MISSING, 0, blocks.channels)]
    pack_bias = copy(
        c.dtype, given or packed, bias, biases, source, fill=blocks.width, title="pack bias"
    )
    return pack_weights, pack_bias
