"""What ``direct`` and ``spatial`` share: the loops over items, packed weights, and the steps.

The two differ in what one tile does. Both cut the outputs of the last axis into tiles, leave out
what lies in zeros, and go over (sample, group, block of output channels, row, segment of a row).

Weights are packed before, once for all calls; or, where that is at every call and all positions of
a block follow each other, by the items themselves (``inside``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import gcd, prod
from typing import ClassVar

import numpy as np

from faltung.codegen.ir import Function, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets, pitches, rows_of
from faltung.methods.base.blocks import ChannelBlocks
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.epilogue import Epilogue, tile_arguments
from faltung.methods.base.epilogue_arrays import EpilogueKernel, input_of
from faltung.methods.base.kernel import MAX_PARTS, Arguments, RowItems, part
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import MISSING, Argument, Arrays, Operand, Step, Table, Work
from faltung.methods.base.tiles import (
    MAX_SEGMENT_TILES,
    SEGMENT_ITEM_CYCLES,
    Kind,
    Run,
    shares,
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
# Items that each core should have at least, unless they take less than so many cycles.
ITEMS_PER_CORE, MIN_ITEM_CYCLES = 4, 1500
# The most runs of rows that are shared out together: a table lists them.
MAX_SHARED_RUNS = 1024
# What an item is made of, as numbers of each.
INDICES = ("batch", "group", "block", "row", "segment")
# Columns of the tables of rows and runs; behind them one for each array of the epilogue.
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

    pointers = ("x", "w", "bias", "rows", "segments", "runs", "patterns")
    numbers: ClassVar[tuple[str, ...]] = (
        *(*INDICES, "x_batch", "x_group", "x_channel", "w_block", "channels", "bias_block"),
        *("fetched_lines", "share_tiles"),
    )
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

    def row_items(self, step: Step, axes: Sequence[Axis]) -> RowItems | None:
        steps = dict(zip(self.order, pitches(self.counts(step, self.order)), strict=True))
        outside = [name for name in self.order[: self.order.index("row")] if name != "batch"]
        repeated, (stop,) = self.counts(step, outside), self.counts(step, ["row"])
        rows = axes[0].output
        if self.inside is not None or prod(repeated) > MAX_PARTS or len(axes) < 2 or stop % rows:
            return None
        each = stop // rows * steps["row"]
        items = tuple(i * each for i in range(rows + 1))
        parts = tuple(offsets(repeated, [steps[name] for name in outside]).tolist())
        return RowItems(tuple(range(rows + 1)), items, steps["batch"], parts)

    def functions(self, code: Functions) -> None:
        for number, kind in enumerate(self.kinds):
            self.tile(code.open(f"tile{number}", self.tile_function), kind)
        self.packing_function(code)

    def packing_function(self, code: Functions) -> None:
        """What lays out a panel, where items do."""
        if self.inside is not None:
            self.inside.function(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        if self.inside is None:
            with f.loop("%begin", "%end") as item:
                self._item(v, given, self._indices(f, given, item.index))
            return
        first, stop = part(f, given["inner"], given["parts"], "%begin", "%end")
        panel = v.at(given["panels"], f.mul("%begin", given["panel_size"]))
        with f.loop(first, stop, [("i64", "-1")]) as item:
            where = self._indices(f, given, item.index)
            block = f.add(f.mul(where["group"], given["block"]), where["block"])
            with f.when(f.value(f"icmp ne i64 {block}, {item.values[0]}")):
                self.inside.lay(v, given, where, panel)
            item.carry([block])
            self._item(v, given, where, w=panel)

    def _item(self, v: Vectors, given: Arguments, where: Mapping[str, str], **other: str) -> None:
        """The tiles of an item; ``other``: addresses that are not those of the arguments."""
        f = v.function
        row = f.mul(where["row"], COLUMNS + len(self.aux_steps))
        row = f.at(given["rows"], row, "i64")
        here = given | self._addresses(v, given, where, row) | other
        share = f.at(given["segments"], where["segment"], "i64")
        self.share(v, here, f.word(share, 0), f.word(share, 1))

    def share(self, v: Vectors, here: Mapping[str, str], first: str, stop: str) -> None:
        """The tiles of an item: runs of the table from ``first`` up to ``stop``."""
        f, line = v.function, costs.LINE_BYTES // v.bytes
        of_tile = f.mul(here["fetched_lines"], line)
        before = f.mul(here["segment_number"], f.mul(here["share_tiles"], of_tile))
        ahead = v.at(v.at(here["w"], here["w_block"]), before)
        with f.loop(first, stop, [("ptr", ahead)], runs=True) as run:
            number, count, now = self.run(v, here, run.index)
            now["ahead"] = run.values[0]
            tiles = [partial(self._tiles, v, now, i, count) for i in range(len(self.kinds))]
            f.switch(number, tiles)
            run.carry([v.at(run.values[0], f.mul(count, of_tile))])

    def run(
        self, v: Vectors, here: Mapping[str, str], index: str
    ) -> tuple[str, str, dict[str, str]]:
        """Kind and number of the tiles of a run, and the addresses where they begin."""
        f, names = v.function, ("x", *self.outputs)
        entry = f.at(here["runs"], f.mul(index, COLUMNS + len(self.aux_steps)), "i64")
        moved = {name: v.at(here[name], f.word(entry, 2 + i)) for i, name in enumerate(names)}
        return f.word(entry, 0), f.word(entry, 1), {**here, **moved}

    def _indices(self, f: Function, given: Arguments, item: str) -> dict[str, str]:
        """The number of an item as an index for each of ``order``."""
        rest, where = item, {}
        for name in reversed(self.order[1:]):
            rest, where[name] = f.divmod(rest, given[name])
        where[self.order[0]] = rest
        return where

    def _addresses(
        self, v: Vectors, given: Arguments, where: Mapping[str, str], row: str
    ) -> dict[str, str]:
        """What is not the same for all items; ``row``: where its entry begins."""
        f = v.function

        def offset(name: str, indices: Sequence[str], along: str) -> str:
            return f.add(along, given.offset(name, **{i: where[i] for i in indices}))

        block = f.add(f.mul(where["group"], given["block"]), where["block"])
        offsets = {"x": offset("x", INDICES[:2], f.word(row, 0))}
        for i, name in enumerate(self.outputs):
            along = f.word(row, COLUMNS + i - 1 if i else 1)
            offsets[name] = offset(name, INDICES[:3], along)
        return {
            "x": v.at(given["x"], offsets.pop("x")),
            "w": v.at(given["w"], f.mul(block, given["w_block"])),
            **{name: v.at(given[name], place) for name, place in offsets.items()},
            "bias": v.at(given["bias"], f.mul(block, given["bias_block"])),
            "pattern": f.at(given["patterns"], f.mul(f.word(row, 2), 2), "i64"),
            "entries": f.word(row, 3),
            "segment_number": where["segment"],
        }

    def _tiles(self, v: Vectors, here: Mapping[str, str], number: int, count: str) -> None:
        """``count`` tiles of one kind, one after the other along the row. Each fetches a part of
        the weights of the next block.
        """
        f, line = v.function, costs.LINE_BYTES // v.bytes
        with self.along(v, here, number, count) as (tile, now):
            first = f.mul(tile, here["fetched_lines"])
            with f.loop(first, f.add(first, here["fetched_lines"])) as at:
                f.prefetch(v.at(here["ahead"], f.mul(at.index, line)), level=2)
            f.call_with(f"tile{number}", self.tile_function, now)

    @contextmanager
    def along(
        self, v: Vectors, here: Mapping[str, str], number: int, count: str
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """A loop over ``count`` tiles of one kind: the index, and the addresses of each."""
        f, positions = v.function, self.kinds[number].positions
        steps = [str(positions * self.pitch)]
        steps += [f.mul(here[f"{name}_position"], positions) for name in self.outputs]
        names = ("x", *self.outputs)
        moving = [(here[name], step) for name, step in zip(names, steps, strict=True)]
        with v.walk(0, count, moving, runs=True) as tile:
            yield tile.index, {**here, **dict(zip(names, tile.values, strict=True))}


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
    return max(products / 2, loads / 2, costs.FMA_LATENCY_CYCLES)


def add_tiles(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    kernel: TiledKernel,
    runs: list[Run],
    blocks: ChannelBlocks,
    title: str,
    barrier: bool,
    machine: Machine,
    fetched: int = 0,
    further: Mapping[str, int] | None = None,
) -> None:
    """Add the steps for the output channels of ``blocks``: packing, then the tiles.

    ``fetched``: bytes of weights of the next block that the tiles of one fetch. ``further``:
    numbers that only this kernel takes.
    """
    *outer, last = c.windows
    packed, bias = _pack(c, work, arrays, blocks, kernel.inside is not None)
    tap, offsets = c.channels_in * blocks.width, taps_of(last)
    in_code = len(kernel.taps) == len(offsets)
    rows, patterns = rows_of(
        outer, (0,) if in_code else offsets, tap * len(offsets) if in_code else tap, len(c.aux)
    )
    # Rows of a ring come one after the other.
    rows, along = _rows_apart(rows, MAX_SHARED_RUNS + 1 if c.rings else len(runs))
    cores, others = machine.cores, c.batch * c.groups * blocks.count * len(rows)
    tiles = sum(count for _, _, count in runs) * len(along)
    most = _tiles_of_an_item(c, tiles, others, cores, bool(further))
    cut, run_table = shares(runs, kernel.kinds, last, along, most, _divisor(others, cores))
    share_tiles = tiles // (len(cut) - 1)  # of the smallest
    counts = (c.batch, c.groups, blocks.count, len(rows), len(cut) - 1)
    outputs = kernel.output_arguments(
        c, arrays, blocks.start, block=lambda out: blocks.channels * out.channel
    )
    items, given = prod(counts), dict[str, Argument](w=packed)
    if kernel.inside is not None:
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
        runs=run_table,
        patterns=patterns,
        **dict(zip(INDICES, counts, strict=True)),
        **input_of(c, arrays).arguments("x", ("batch", "group", "channel")),
        **outputs,
        w_block=tap * c.taps,
        channels=c.channels_in,
        bias_block=blocks.width,
        fetched_lines=-(-fetched // (costs.LINE_BYTES * share_tiles * (len(cut) - 1))),
        share_tiles=share_tiles,
        **(further or {}),
    )
    work.steps.append(step)


def _rows_apart(rows: Table, runs: int) -> tuple[Table, Table]:
    """Rows that are items of their own, and the offsets of those whose tiles are shared out
    together: all of them, where they read the same taps and are not too many.
    """
    offsets = [0, 1, *range(COLUMNS, rows.shape[1])]
    alike = (rows[:, 2:COLUMNS] == rows[:1, 2:COLUMNS]).all()
    if not alike or len(rows) * runs > MAX_SHARED_RUNS:
        return rows, np.zeros((1, len(offsets)), np.int64)
    only = rows[:1].copy()
    only[:, offsets] = 0
    return only, rows[:, offsets]


def _tiles_of_an_item(c: Correlation, tiles: int, others: int, cores: int, panels: bool) -> int:
    """The most tiles in an item, of all ``tiles`` that are shared out ``others`` times; many where
    they share ``panels`` of weights.
    """
    tile_cycles = TILE_PRODUCT_CYCLES * c.channels_in * c.taps
    enough = MAX_SEGMENT_TILES if panels else max(1, SEGMENT_ITEM_CYCLES // tile_cycles)
    most = min(MAX_SEGMENT_TILES, enough)
    # Some for each core, unless they are very short.
    few = max(1, tiles * others // (ITEMS_PER_CORE * cores), MIN_ITEM_CYCLES // tile_cycles)
    return min(most, few)


def _divisor(others: int, cores: int) -> int:
    """Of a number of shares which, ``others`` times, is the same for all cores."""
    return cores // gcd(others, cores)


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
