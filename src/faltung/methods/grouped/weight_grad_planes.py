"""The gradient for the weight of a depthwise convolution with channels first: lanes are positions.

What it is.  The sums of ``depthwise_grad``, each in all lanes of a vector: a lane holds every
  ``lanes``-th position of a row. Vectors of the gradient are loaded once for all taps of a block,
  the input once for each tap, from where it lies. At the ends of a row lanes are masked in both
  arrays, so that no tap meets what it does not read. At last the lanes of every sum are added, in
  turned blocks of as many taps as there are lanes, and bands in order.
When it applies.  One channel in and one out for each group, neighbouring positions side by side in
  both arrays, a stride of 1 along the last axis.
What it costs.  A load for each multiply-add, and half a vector at the end of each row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Table, Work, shifted, table
from faltung.methods.grouped.weight_grad_blocks import CHAINS, ROWS, Shape, cut, functions
from faltung.methods.grouped.weight_grad_kernel import DepthwiseGrad
from faltung.methods.grouped.weight_grad_rounds import Memory, tables_of
from faltung.methods.grouped.weight_grad_sums import RUN, Masked

# One kind of tile: first position, how many.
Run = tuple[Masked, int, int]
# Cycles of a row of a block of taps, and of a product with masks.
ROW, MASKED = 12, 1.5


# When it applies, what it costs -------------------------------------------------------------------


def fits(c: Correlation, machine: Machine) -> bool:
    last = c.windows[-1]
    single = c.channels_in == 1 == c.channels_out
    return single and last.x == 1 == last.out and last.axis.stride == 1


def cycles(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``."""
    shape, lanes, made = shape_of(c, machine), machine.lanes(c.dtype), 0.0
    for (_, taps), runs in zip(shape.taps, tiles(c, machine, shape), strict=True):
        for tile, _, count in runs:
            whole = sum(mask is None for mask in tile.masks)
            reads = tile.positions * (whole + 1 / shape.rows)
            reads += MASKED * 2 * sum(1 for mask in tile.masks if mask and any(mask))
            made += count * max(reads / 2, 4 * tile.positions / shape.copies / shape.rows / taps)
        made += ROW / shape.rows
    rows = c.batch * c.groups * c.outputs / c.windows[-1].axis.output * c.row_taps
    return rows * made + c.groups * c.taps * (2 + 4 * lanes / 8)


def products(c: Correlation, machine: Machine) -> int:
    """Multiply-adds in the code of the largest function."""
    shape = shape_of(c, machine)
    return max(
        sum(shape.rows * tile.positions * len(tile.masks) for tile, _, _ in runs)
        for runs in tiles(c, machine, shape)
    )


# Blocks of taps, tiles ----------------------------------------------------------------------------


def shape_of(c: Correlation, machine: Machine) -> Shape:
    """What the registers hold."""
    kernel = c.windows[-1].axis.kernel
    taps = cut(kernel, budget(machine))
    rows = 1
    if len(taps) == 1:
        rows = split(c.taps // kernel, max(1, min(ROWS, budget(machine) // kernel)))[0][0]
    copies = max(1, CHAINS // (rows * taps[0][1]))
    return Shape(taps, [(0, 1)], rows, copies, copies)


def tiles(c: Correlation, machine: Machine, shape: Shape) -> list[list[Run]]:
    """The vectors of a row for each block of its taps: tiles of ``positions`` vectors where all
    lanes read the array, else of one; without those that only read zeros.
    """
    a, lanes = c.windows[-1].axis, machine.lanes(c.dtype)
    o = np.arange(-(-a.output // lanes) * lanes, dtype=np.int64)
    read = o[:, None] - a.lo + np.arange(a.kernel, dtype=np.int64) * a.dilation
    inside = (o[:, None] < a.output) & (read >= 0) & (read < a.size)
    # (vector, tap, lane)
    inside = inside.reshape(-1, lanes, a.kernel).transpose(0, 2, 1)
    found = []
    for first, taps in shape.taps:
        here = inside[:, first : first + taps]
        runs: list[Run] = []
        keys = [None if some.all() else some.tobytes() for some in here]
        start = 0
        for key, group in groupby(keys):
            count = len(list(group))
            if key is None:
                whole, rest = divmod(count, shape.positions)
                plain = (None,) * taps
                runs += [(Masked(shape.positions, plain), start, whole)] if whole else []
                at = start + whole * shape.positions
                runs += [(Masked(1, plain), at, rest)] if rest else []
            elif here[start].any():
                masks = tuple(None if m.all() else tuple(m.tolist()) for m in here[start])
                runs.append((Masked(1, masks), start, count))
            start += count
        found.append([(tile, at * lanes, count) for tile, at, count in runs])
    return found


def _runs(
    c: Correlation, lanes: int, shape: Shape, found: Sequence[Sequence[Run]], most: int
) -> Table:
    """For each chunk of ``most`` positions and each run: tiles, and where they begin."""
    a = c.windows[-1].axis
    low = np.arange(0, a.output, most, dtype=np.int64)
    high = np.append(low[1:], a.output)
    columns = [np.zeros((len(low), 0), np.int64)]
    for (first, _), runs in zip(shape.taps, found, strict=True):
        for tile, start, count in runs:
            step = tile.positions * lanes
            places = start + np.arange(count, dtype=np.int64) * step
            begin, end = np.searchsorted(places, low), np.searchsorted(places, high)
            at = start + begin * step
            x = at - a.lo + first * a.dilation
            columns.append(np.stack([end - begin, x, at], axis=1))
    rows = np.concatenate(columns, axis=1)
    return table(rows, max(RUN, rows.shape[1]))


# The plan -----------------------------------------------------------------------------------------


def plan(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool, band: int
) -> None:
    """Add the steps; ``band``: positions of a band."""
    last, lanes, bytes_ = c.windows[-1], machine.lanes(c.dtype), ELEMENTS[c.dtype][1]
    shape, along = shape_of(c, machine), last.axis.output
    found = tiles(c, machine, shape)
    most = -(-band // (lanes * shape.positions)) * lanes * shape.positions
    runs = _runs(c, lanes, shape, found, most)
    blocks, parts = functions(c, shape, found, last.axis.dilation)
    recipe = DepthwiseGrad(
        dtype=c.dtype,
        lanes=(tuple(range(lanes)),),
        vectors=1,
        blocks=blocks,
        taps=last.axis.kernel,
        runs=sum(map(len, found)),
        stride=1,
        x_from=1,
        g_from=1,
        x_pitch=lanes,
        g_pitch=lanes,
        x_copied=False,
        g_copied=False,
    )
    outputs = c.outputs // along
    rows = max(1, min(band // along, outputs))
    samples = max(1, band // c.outputs) if rows == outputs else 1
    # Rows that stay in the first-level cache for all blocks of taps.
    near = max(1, machine.l1 // 4 // (along * bytes_))
    outer = c.taps // last.axis.kernel
    memory = Memory(None, None, outer * rows, rows if len(parts) == 1 else near)
    tables = tables_of(c, parts, memory, rows)
    bands = -(-c.batch // samples) * len(tables.parts) * len(runs)
    line = -(-c.taps // lanes) * lanes * lanes
    sums = Operand(work.borrow("sums", max(1, bands) * c.groups * line * bytes_))
    empty, units = np.zeros(4, np.int64), bands * c.groups
    words: list[Argument] = [
        shifted(arrays.x, c.x_base, c.dtype),
        shifted(arrays.out, c.out_base, c.dtype),
        *(sums, 0, 0),
        *(tables.parts, tables.rounds, empty, empty, tables.spans, tables.entries),
        *(np.tile(empty, len(runs)), runs),
        *(units, units, len(runs), c.groups, len(tables.parts), samples, c.batch),
        *(c.x[0], c.x[1], 0, c.out[0], c.out[1], 0, 0, 0),
        *(c.groups * line, line, c.taps * lanes, lanes),
    ]
    title = f"depthwise_grad {shape.rows}x{shape.taps[0][1]} along space"
    work.steps.append(Step(recipe, units, words, title, barrier))
    work.steps.append(_adding(c, lanes, arrays, sums, bands, line))


# Lanes added --------------------------------------------------------------------------------------

WORDS = ("sums", "w", "offsets", "taps", "blocks", "bands", "band", "line", "w_group")


@dataclass(frozen=True)
class LaneSums:
    """Items are (group, block of ``lanes`` taps): bands added in order, then lanes."""

    dtype: str

    @property
    def symbol(self) -> str:
        return f"lane_sums_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = Vectors(f, machine, self.dtype)
        word = {
            name: f.pointer("%words", i) if i < 3 else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }
        with f.loop("%begin", "%end") as item:
            group, block = f.divmod(item.index, word["blocks"])
            at = f.add(f.mul(group, word["line"]), f.mul(block, v.lanes * v.lanes))
            start = v.at(word["sums"], at)
            carried = [("ptr", start), *[(v.type, v.zero)] * v.lanes]
            with f.loop(0, word["bands"], carried) as band:
                here, *acc = band.values
                acc = [v.add(a, v.load(v.at(here, i * v.lanes))) for i, a in enumerate(acc)]
                band.carry([v.at(here, word["band"]), *acc])
            lanes = v.transpose(band.results[1:])
            while len(lanes) > 1:
                lanes = [v.add(a, b) for a, b in zip(lanes[::2], lanes[1::2], strict=True)]
            # Nobody reads the first sums again.
            v.store(lanes[0], start)
            first = f.mul(block, v.lanes)
            to = v.at(word["w"], f.mul(group, word["w_group"]))
            with f.loop(0, f.minimum(v.lanes, f.sub(word["taps"], first))) as tap:
                kind = f"{v.element}"
                one = f.value(f"load {kind}, ptr {v.at(start, tap.index)}, align {v.bytes}")
                place = v.at(to, f.word(word["offsets"], f.add(first, tap.index)))
                f.emit(f"store {kind} {one}, ptr {place}, align {v.bytes}")
        return str(module)


def _adding(
    c: Correlation, lanes: int, arrays: Arrays, sums: Operand, bands: int, line: int
) -> Step:
    offsets = np.zeros(1, np.int64)
    for w in c.windows:
        offsets = (offsets[:, None] + np.array(w.taps, np.int64)).ravel()
    blocks = -(-c.taps // lanes)
    words: list[Argument] = [sums, arrays.w, table(offsets, 1)]
    words += [c.taps, blocks, bands, c.groups * line, line, c.w[0]]
    return Step(LaneSums(c.dtype), c.groups * blocks, words, "add lanes", barrier=True)
