"""The gradient for the weight of a depthwise layer with channels first: lanes are positions.

What it is.  The sums of ``weight_grad``, each in all lanes of a vector: a lane holds every
  ``lanes``-th position of a row. Vectors of the gradient are loaded once for all taps of a tile,
  the input once for each tap, in place. At the ends of a row lanes are masked in both arrays, so
  that no tap is multiplied with what it does not read. Finally bands are added in order, and then
  the lanes of every sum, transposed in registers for as many taps as there are lanes.
When it applies.  One channel in and one out for each group, positions contiguous in both arrays, a
  stride of 1 or 2 along the last axis.
What it costs.  A load for each multiply-add, and half a vector at the end of each row; with a
  stride of 2 two loads and a shuffle.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from faltung.codegen.tile import budget, parts
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.addresses import sources
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue_arrays import input_of, output_of
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Arrays, Operand, Step, Work, table
from faltung.methods.grouped.weight_grad_kernel import (
    SEGMENT,
    GroupedWeightGradKernel,
    Masked,
    RowLayout,
)
from faltung.methods.grouped.weight_grad_tables import (
    TAP_TILE_ROW_CYCLES,
    Memory,
    Shape,
    band_size,
    bands_of,
    rows_of_taps,
    runs_of,
    tap_tiles,
)

# One kind of tile: first position, how many.
Run = tuple[Masked, int, int]


# When it applies, what it costs -------------------------------------------------------------------


def fits(c: Correlation) -> bool:
    last = c.windows[-1]
    single = c.channels_in == 1 == c.channels_out
    return single and last.x == 1 == last.out and last.axis.stride <= 2


def cycles(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``."""
    shape, lanes, made = _shape_of(c, machine), machine.lanes(c.dtype), 0.0
    stride = c.windows[-1].axis.stride
    for (_, taps), runs in zip(shape.taps, _tiles(c, machine, shape), strict=True):
        for tile, _, count in runs:
            whole = sum(mask is None for mask in tile.masks)
            reads = tile.positions * (whole * (1 if stride == 1 else 2.5) + 1 / shape.rows)
            masked = sum(1 for mask in tile.masks if mask and any(mask))
            reads += costs.MASKED_LOAD_CYCLES * 2 * masked
            waits = costs.FMA_LATENCY_CYCLES * tile.positions / shape.accumulators
            waits = waits / shape.rows / taps
            made += count * max(reads / 2, waits)
        made += TAP_TILE_ROW_CYCLES / shape.rows
    rows = c.batch * c.groups * c.outputs / c.windows[-1].axis.output * c.row_taps
    return rows * made + c.groups * c.taps * (2 + 4 * lanes / 8)


def products(c: Correlation, machine: Machine) -> int:
    """Multiply-adds in the code of the largest function."""
    shape = _shape_of(c, machine)
    return max(
        sum(shape.rows * tile.positions * len(tile.masks) for tile, _, _ in runs)
        for runs in _tiles(c, machine, shape)
    )


# Tiles --------------------------------------------------------------------------------------------


def _shape_of(c: Correlation, machine: Machine) -> Shape:
    """What the registers hold."""
    taps = parts(c.windows[-1].axis.kernel, budget(machine))
    rows = rows_of_taps(c, budget(machine)) if len(taps) == 1 else 1
    accumulators = max(1, costs.FMA_LATENCY_SUMS // (rows * taps[0][1]))
    return Shape(taps, [(0, 1)], rows, accumulators, accumulators)


def _tiles(c: Correlation, machine: Machine, shape: Shape) -> list[list[Run]]:
    """The vectors of a row for each part of its taps: tiles of ``positions`` vectors where all
    lanes read the array, else of one; without those that only read zeros.
    """
    a, lanes = c.windows[-1].axis, machine.lanes(c.dtype)
    # Borders, if it had any, are in a copy by now.
    inside = sources(replace(a, mode="zeros")) >= 0
    inside = np.pad(inside, ((0, -a.output % lanes), (0, 0)))
    # (vector, tap, lane)
    inside = inside.reshape(-1, lanes, a.kernel).transpose(0, 2, 1)

    def runs(first: int, taps: int) -> Iterator[Run]:
        here = inside[:, first : first + taps]
        keys = [None if some.all() else some.tobytes() for some in here]
        start = 0
        for key, group in groupby(keys):
            count = len(list(group))
            if key is None:
                plain = (None,) * taps
                whole, rest = divmod(count, shape.positions)
                yield Masked(shape.positions, plain), start * lanes, whole
                yield Masked(1, plain), (start + count - rest) * lanes, rest
            elif here[start].any():
                masks = tuple(None if m.all() else tuple(m.tolist()) for m in here[start])
                yield Masked(1, masks), start * lanes, count
            start += count

    return [[run for run in runs(*taps) if run[2]] for taps in shape.taps]


# The plan -----------------------------------------------------------------------------------------


def plan(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool, band: int
) -> None:
    """Add the steps; ``band``: positions of a band."""
    last, lanes, bytes_ = c.windows[-1], machine.lanes(c.dtype), c.item_bytes
    shape, along = _shape_of(c, machine), last.axis.output
    found = _tiles(c, machine, shape)
    most = -(-band // (lanes * shape.positions)) * lanes * shape.positions
    runs = runs_of(c, shape, found, np.arange(0, along, most, dtype=np.int64), lanes=lanes)
    every, tap_rows = tap_tiles(c, shape, found, last.axis.dilation)
    kernel = GroupedWeightGradKernel(
        dtype=c.dtype,
        lanes=(tuple(range(lanes)),),
        vectors=1,
        tap_tiles=every,
        taps=last.axis.kernel,
        runs=sum(map(len, found)),
        stride=last.axis.stride,
        x=RowLayout(1, lanes, False),
        g=RowLayout(1, lanes, False),
    )
    size = band_size(c, band)
    # Rows that stay in the first-level cache for all tiles of taps.
    kept = max(1, machine.l1 // 4 // (along * bytes_))
    outer = c.taps // last.axis.kernel
    memory = Memory(None, None, outer * size[0], size[0] if len(tap_rows) == 1 else kept)
    row_tables = {"segments": np.zeros(SEGMENT * len(runs), np.int64), "runs": runs}
    bands, walk = bands_of(c, size, tap_rows, memory, row_tables)
    group = -(-c.taps // lanes) * lanes * lanes
    sums = work.borrow("sums", max(1, bands) * c.groups * group * bytes_)
    partials = bands * c.groups
    # Nothing is copied: an item is one partial sum, and needs no memory of its own.
    uncopied = ("x_rows", "g_rows", "x_vector", "g_vector", "x_item", "g_item")
    step = kernel.step(
        partials,
        f"depthwise_weight_grad {shape.rows}x{shape.taps[0][1]} along space",
        barrier=barrier,
        x=input_of(c, arrays).array,
        g=output_of(c, arrays).array,
        sums=sums,
        item_count=partials,
        partials=partials,
        block_count=c.groups,
        x_block=c.x[1],
        g_block=c.out[1],
        band=c.groups * group,
        block=group,
        end=c.taps * lanes,
        width=lanes,
        **walk,
        **dict.fromkeys(uncopied, 0),
    )
    work.steps += [step, _adding(c, lanes, arrays, sums, bands, group)]


# Lanes added --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LaneSums(Kernel):
    """Items are (group, ``lanes`` taps): bands added in order, then lanes."""

    name = "lane_sums"
    pointers = ("sums", "w", "offsets")
    # Items of a group; elements of all sums of a band, of those of a group, and of its weights.
    numbers = ("taps", "group_items", "bands", "band", "group", "w_group")

    dtype: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            group, number = f.divmod(item.index, given["group_items"])
            at = f.add(f.mul(group, given["group"]), f.mul(number, v.lanes * v.lanes))
            start = v.at(given["sums"], at)
            carried = [("ptr", start), *[(v.type, v.zero)] * v.lanes]
            with f.loop(0, given["bands"], carried) as band:
                here, *acc = band.values
                acc = [v.add(a, v.load(v.at(here, i * v.lanes))) for i, a in enumerate(acc)]
                band.carry([v.at(here, given["band"]), *acc])
            lanes = v.transpose(band.results[1:])
            while len(lanes) > 1:
                lanes = [v.add(a, b) for a, b in zip(lanes[::2], lanes[1::2], strict=True)]
            # Nothing reads the first sums again.
            v.store(lanes[0], start)
            first = f.mul(number, v.lanes)
            to = v.at(given["w"], f.mul(group, given["w_group"]))
            with f.loop(0, f.minimum(v.lanes, f.sub(given["taps"], first))) as tap:
                at = v.at(start, tap.index)
                one = v.load_one(at)
                place = v.at(to, f.word(given["offsets"], f.add(first, tap.index)))
                v.store_one(one, place)


def _adding(
    c: Correlation, lanes: int, arrays: Arrays, sums: Operand, bands: int, group: int
) -> Step:
    items = -(-c.taps // lanes)
    return LaneSums(c.dtype).step(
        c.groups * items,
        "add lanes",
        barrier=True,
        sums=sums,
        w=arrays.w,
        offsets=table(np.array(c.tap_offsets, np.int64), 1),
        taps=c.taps,
        group_items=items,
        bands=bands,
        band=c.groups * group,
        group=group,
        w_group=c.w[0],
    )
