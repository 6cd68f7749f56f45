"""Blocks of taps of ``depthwise_grad``, and the tiles of a row: what registers hold, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.geometry.axis import Axis
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Table, table
from faltung.methods.base.tiles import Run, tiles_of
from faltung.methods.grouped.weight_grad_kernel import CHUNK
from faltung.methods.grouped.weight_grad_rounds import Part
from faltung.methods.grouped.weight_grad_sums import RUN, Block, Tile

# Accumulators that hide the latency of a multiply-add; more sums of one tap gain nothing.
CHAINS = 8
# Neighbouring positions of a tile, and rows of taps in one block, at the most.
POSITIONS, ROWS = 4, 4
# Input channels of a group in one block of sums, and positions of a tile where there are several.
INPUTS, FEW = 4, 2


@dataclass(frozen=True, slots=True)
class Shape:
    """``taps``, ``inputs``: the taps of a row, and input channels of a group, in blocks (first,
    how many); ``rows``: of taps in one block; ``positions`` of a tile; ``copies``: sums of each
    tap, for neighbouring positions.
    """

    taps: list[tuple[int, int]]
    inputs: list[tuple[int, int]]
    rows: int
    positions: int
    copies: int

    def blocks(self, outer: int) -> int:
        """How many there are, of ``outer`` rows of taps."""
        return len(self.taps) * len(self.inputs) * -(-outer // self.rows)


def shape_of(c: Correlation, machine: Machine) -> Shape:
    """What the registers hold."""
    kernel = c.windows[-1].axis.kernel
    inputs = cut(c.channels_in, INPUTS)
    # A column and a gradient stay beside the sums.
    most = budget(machine) - 1 if c.channels_in == 1 else budget(machine)
    taps = cut(kernel, max(1, most // inputs[0][1]))
    rows = 1
    if len(taps) == 1 and c.channels_in == 1:
        rows = split(c.taps // kernel, max(1, min(ROWS, most // kernel)))[0][0]
    sums = rows * taps[0][1] * inputs[0][1]
    copies = max(1, min(CHAINS, budget(machine) - 2) // sums)
    positions = max(1, min(max(POSITIONS, copies), budget(machine) + 1 - sums * copies))
    if c.channels_in > 1:
        positions = max(copies, FEW)
    return Shape(taps, inputs, rows, positions, copies)


def cut(length: int, most: int) -> list[tuple[int, int]]:
    """Nearly equal parts: (first, how many)."""
    sizes = [size for size, n in split(length, most) for _ in range(n)]
    return [(sum(sizes[:i]), size) for i, size in enumerate(sizes)]


def tiles(c: Correlation, shape: Shape) -> list[list[Run]]:
    """The tiles of a row for each block of its taps, without those that only read zeros."""
    a = c.windows[-1].axis
    found = [
        tiles_of(_part_axis(a, *taps), split(a.output, shape.positions), True)
        for taps in shape.taps
    ]
    return [
        [run for run in runs if any(len(o) < run[0].positions for o in run[0].outside)]
        for runs in found
    ]


def _part_axis(a: Axis, first: int, taps: int) -> Axis:
    """The axis with a block of its taps alone. Borders, if it had any, lie in a copy by now."""
    lo, hi = a.lo - first * a.dilation, a.hi - (a.kernel - first - taps) * a.dilation
    return replace(a, kernel=taps, lo=lo, hi=hi, mode="zeros")


def functions(
    c: Correlation, shape: Shape, runs: Sequence[Sequence[tuple[Tile, int, int]]], tap: int
) -> tuple[tuple[Block, ...], list[Part]]:
    """The functions of the kernel, and how a round goes over them; ``tap``: input elements between
    neighbouring taps.
    """
    kernel, inputs = c.windows[-1].axis.kernel, c.channels_in
    numbers: dict[Block, int] = {}
    parts, run = [], 0
    for (first, taps), here in zip(shape.taps, runs, strict=True):
        for start, count in shape.inputs:
            one = Block(
                rows=1,
                offsets=tuple(k * tap for k in range(taps)),
                inputs=tuple(range(start, start + count)),
                copies=shape.copies,
                kinds=tuple(kind for kind, _, _ in here),
                run=run,
            )
            for begin, rows in cut(c.taps // kernel, shape.rows):
                whole = numbers.setdefault(replace(one, rows=rows), len(numbers))
                single = numbers.setdefault(one, len(numbers))
                parts.append(
                    Part(begin, rows, whole, single, kernel * inputs, first * inputs + start)
                )
        run += len(here)
    return tuple(numbers), parts


def chunks(
    c: Correlation,
    shape: Shape,
    runs: Sequence[Sequence[Run]],
    most: int,
    copied: tuple[bool, bool],
    pitches: tuple[int, int],
) -> tuple[Table, Table]:
    """A row in chunks of ``most`` tiles. For each what is copied of it: input from, positions,
    gradient from, positions. For each and each run of tiles: how many of them, and where they begin
    in both arrays, or their copies.
    """
    last, a = c.windows[-1], c.windows[-1].axis
    sizes = [size for size, n in split(a.output, shape.positions) for _ in range(n)]
    low = np.cumsum([0, *sizes[:-1]], dtype=np.int64)[::most]
    high = np.append(low[1:], a.output)
    x_low = np.clip(low * a.stride - a.lo, 0, a.size)
    x_high = np.clip((high - 1) * a.stride - a.lo + a.extent, x_low, a.size)
    found = np.stack([x_low * last.x, x_high - x_low, low * last.out, high - low], axis=1)
    x_from, g_from = (first * flag for first, flag in zip((x_low, low), copied, strict=True))
    rows = [np.zeros((len(low), 0), np.int64)]
    for (first, _), here in zip(shape.taps, runs, strict=True):
        for kind, start, count in here:
            places = start + np.arange(count, dtype=np.int64) * kind.positions
            begin, end = np.searchsorted(places, low), np.searchsorted(places, high)
            at = start + begin * kind.positions
            x = (at * a.stride - a.lo + first * a.dilation - x_from) * pitches[0]
            rows.append(np.stack([end - begin, x, (at - g_from) * pitches[1]], axis=1))
    table_ = np.concatenate(rows, axis=1)
    return table(found, CHUNK), table(table_, max(RUN, table_.shape[1]))
