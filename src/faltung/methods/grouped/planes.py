"""Depthwise convolution with channels first: vectors along the positions of a row.

What it is.  A tile of one or two rows, which share rows of the input, by a few vectors of positions
  stays in registers; weights are broadcast from memory. An item is a plane, or some of its rows
  (``planes_kernel``).
When it applies.  One channel in and one out for each group, positions contiguous in both arrays, a
  stride of one or two along the last axis.
What it costs.  A load for each vector and tap, which serves two rows and mostly crosses a cache
  line; with a stride of two also a shuffle. Rows shorter than a vector waste the rest of it.
"""

from math import inf, prod

from faltung.codegen.tile import budget, split, unrolled
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue_arrays import input_of
from faltung.methods.base.remembered import remembered
from faltung.methods.base.step import MISSING, Arrays, Operand, Work
from faltung.methods.copies.copy import copy
from faltung.methods.grouped.choice import Tile, across_of, has_lonely, pair_taps, rows_share_input
from faltung.methods.grouped.planes_kernel import Loads, PlanesKernel, PlaneTile, needed
from faltung.methods.grouped.tables import tables_of

# Vectors of a row in a tile, the best first where they divide it.
VECTORS = (4, 3, 5, 2)
# The fewest items that there should be, so that many threads have work.
MIN_ITEMS = 32
# The most runs of tiles of a row.
MAX_RUNS = 8
# Cycles of a plane, of a row or a pair of rows, and of a tile, apart from its sums.
PLANE_CYCLES, ROW_CYCLES, TILE_CYCLES = 30, 12, 10
# A load that crosses a cache line counts twice, and every second one does.
LOAD_CYCLES = 0.75

Runs = tuple[tuple[PlaneTile, int, int], ...]


# Tiles --------------------------------------------------------------------------------------------


@remembered(1024)
def runs_of(c: Correlation, machine: Machine) -> Runs | None:
    """The tiles of a row; None where the code has no room for them."""
    lanes, rows = machine.lanes(c.dtype), 1 + rows_share_input(c)
    taps = c.windows[-1].axis.kernel
    every = c.windows[-1].every
    units = -(-c.windows[-1].axis.output // (lanes * every))
    most = max(1, min(max(VECTORS), budget(machine) // rows) // every)
    sizes = [n for n in VECTORS if n <= most and units % n == 0] + [min(4, most), 2, 1]
    for size in dict.fromkeys(sizes):
        runs = _runs(c, lanes, size)
        kinds = {tile for tile, _, _ in runs}
        vectors = sum(-(-tile.positions // lanes) for tile in kinds)
        products = vectors * taps * (4 if rows > 1 else 1) // every
        if products <= unrolled(machine) and len(runs) <= MAX_RUNS:
            return runs
    return None


def _runs(c: Correlation, lanes: int, most: int) -> Runs:
    axis, every = c.windows[-1].axis, c.windows[-1].every
    runs: list[tuple[PlaneTile, int, int]] = []
    first = 0
    for units, count in split(-(-axis.output // (lanes * every)), most):
        for _ in range(count):
            tile = _tile(c, lanes, first, units * every)
            if runs and runs[-1][0] == tile:
                runs[-1] = (tile, runs[-1][1], runs[-1][2] + 1)
            else:
                runs.append((tile, first, 1))
            first += tile.positions
    return tuple(runs)


def _tile(c: Correlation, lanes: int, first: int, vectors: int) -> PlaneTile:
    axis, every = c.windows[-1].axis, c.windows[-1].every
    begin = (first * axis.stride - axis.lo) // every
    size = (axis.size - 1) // every + 1
    places = {
        place
        for k in range(axis.kernel)
        for q in range(vectors)
        for place in needed(k, q, axis.stride, axis.dilation, lanes, every, -axis.lo % every)
    }
    masked: Loads = ()
    for place in sorted(places):
        inside = tuple(0 <= begin + place + lane < size for lane in range(lanes))
        if not all(inside):
            masked += ((place, inside),)
    return PlaneTile(min(vectors * lanes, axis.output - first), masked)


# The method ---------------------------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    """As of a method; there is one channel in and one out for each group."""
    last = c.windows[-1]
    if last.x != 1 or last.out != 1:
        return "neither channels nor positions are contiguous"
    if last.axis.stride > 2:
        return "a stride of more than two along the last axis"
    if last.borders:
        return "borders along the last axis are not zeros"
    return None if runs_of(c, machine) else "rows of taps are too long for the code"


def cycles(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``; infinite where it does not apply."""
    runs = None if why_not(c, machine) is not None else runs_of(c, machine)
    if runs is None:
        return inf
    lanes, last, rows = machine.lanes(c.dtype), c.windows[-1].axis, 1 + rows_share_input(c)
    both, alone = 0.0, c.row_taps
    if rows == 2:
        across = c.windows[-2].axis
        alone = c.row_taps * min(1.0, pair_taps(across) / across.kernel)
        both = c.row_taps - alone
    loads = LOAD_CYCLES * (1 if last.stride == 1 else 2)

    def row(n: int, served: int) -> float:
        shuffles = n / 2 if last.stride == 2 else 0
        reads = n * loads + served / 2 + shuffles
        return last.kernel * max(served * n / 2, reads, costs.OVERLAPPED_LATENCY_CYCLES)

    made, every = 0.0, prod(w.every for w in c.windows)
    for tile, _, count in runs:
        n = -(-tile.positions // lanes)
        sums = both * row(n, 2) + rows * alone * row(n, 1)
        made += count * (sums / every + TILE_CYCLES)
    outer = c.outputs / last.output / rows
    return c.batch * c.groups * (outer * (made + ROW_CYCLES) + PLANE_CYCLES)


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps."""
    runs = runs_of(c, machine)
    assert runs is not None
    *outer, last = c.windows
    rows, across = 1 + rows_share_input(c), None
    if rows == 2 and len(outer) == 1:
        axis = outer[0].axis
        each = rows * axis.kernel * last.axis.kernel // prod(w.every for w in c.windows)
        if _products(runs, each, machine.lanes(c.dtype)) <= unrolled(machine):
            across = across_of(outer[0])
    tables = tables_of(c.windows, Tile(rows, 1, True), 1, 1)
    kernel = PlanesKernel(
        dtype=c.dtype,
        rows=rows,
        taps=last.axis.kernel,
        stride=last.axis.stride,
        every=last.every,
        dilation=last.axis.dilation,
        start=last.axis.lo,
        runs=runs,
        across=across,
        lonely=rows == 2 and has_lonely(outer[-1].axis),
        epilogue=c.epilogue,
        aux_steps=c.aux_steps("position"),
    )
    planes, row_count = c.batch * c.groups, len(tables["rows"])
    row_parts = max(1, min(row_count, -(-MIN_ITEMS // max(1, planes))))
    weights, bias = _pack(c, work, arrays)
    step = kernel.step(
        planes * row_parts,
        f"depthwise planes {rows}x{-(-runs[0][0].positions // machine.lanes(c.dtype))}",
        barrier=barrier,
        w=weights,
        bias=bias,
        groups=c.groups,
        row_count=row_count,
        row_parts=row_parts,
        plane_taps=c.taps,
        **input_of(c, arrays).arguments("x", ("batch", "group")),
        **tables,
        **kernel.output_arguments(c, arrays),
    )
    work.steps.append(step)


def _products(runs: Runs, each: int, lanes: int) -> int:
    """Multiply-adds of all kinds of tiles, of ``each`` for a vector."""
    return sum(-(-tile.positions // lanes) for tile in {tile for tile, _, _ in runs}) * each


def _pack(c: Correlation, work: Work, arrays: Arrays) -> tuple[Operand, Operand]:
    """Weights as (group, tap), and the bias."""
    packed = work.keep("weights", c.groups * c.taps * c.item_bytes)
    bias = work.keep("bias", c.groups * c.item_bytes)
    outer = [(g * c.w[0], g * c.taps) for g in range(c.groups)]
    runs: list[tuple[int, int, int]] = []
    for k, offset in enumerate(c.tap_offsets):
        if runs and offset == sum(runs[-1][::2]):
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((offset, k, 1))
    work.prepare.append(copy(c.dtype, arrays.w, packed, outer, runs, title="pack weights"))
    source = (0 if arrays.bias else MISSING, 0, c.groups)
    given = arrays.bias or packed
    work.prepare.append(copy(c.dtype, given, bias, [(0, 0)], [source], title="pack bias"))
    return packed, bias
