"""Tables of grouped gradients for the weight: tiles of taps, segments of a row, passes over rows.

The rows of a sample are visited in order. A pass takes as many rows of the output as fit the
first-level cache together with the rows of the input that they read; a copied row of the input
keeps its place until another one needs it, so that most rows are copied only once.
"""

from collections.abc import Sequence, Sized
from dataclasses import replace

import numpy as np

from faltung.codegen.tile import budget, parts, split
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.machine.costs import FMA_LATENCY_SUMS
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets, pitches, reads_of
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Argument, Table, table
from faltung.methods.base.tiles import Run, tiles_of
from faltung.methods.grouped.weight_grad_kernel import (
    CALL,
    COPY,
    PASS,
    RUN,
    SEGMENT,
    RowLayout,
    TapTile,
    Tile,
)

# Cycles of a row of a tile of taps.
TAP_TILE_ROW_CYCLES = 12
# The most neighbouring positions of a tile, and rows of taps in one tile of taps.
TILE_POSITIONS, TILE_ROWS = 4, 4
# The most input channels of a group in one tile of taps, and the fewest positions of a tile where
# there are several.
TILE_INPUTS, MIN_POSITIONS = 4, 2


# Tiles --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """``taps``, ``inputs``: the taps of a row, and input channels of a group, as they are cut
    (first, how many); ``rows``: of taps in one tile; ``positions`` of a tile; ``accumulators``: of
    each sum, for neighbouring positions.
    """

    taps: list[tuple[int, int]]
    inputs: list[tuple[int, int]]
    rows: int
    positions: int
    accumulators: int


def shape_of(c: Correlation, machine: Machine) -> Shape:
    """What the registers hold."""
    kernel = c.windows[-1].axis.kernel
    inputs = parts(c.channels_in, TILE_INPUTS)
    # A column and a gradient are in registers too.
    most = budget(machine) - 1 if c.channels_in == 1 else budget(machine)
    taps = parts(kernel, max(1, most // inputs[0][1]))
    rows = 1
    if len(taps) == 1 and c.channels_in == 1:
        rows = rows_of_taps(c, most)
    sums = rows * taps[0][1] * inputs[0][1]
    accumulators = max(1, min(FMA_LATENCY_SUMS, budget(machine) - 2) // sums)
    most = budget(machine) + 1 - sums * accumulators
    positions = max(1, min(max(TILE_POSITIONS, accumulators), most))
    if c.channels_in > 1:
        positions = max(accumulators, MIN_POSITIONS)
    return Shape(taps, inputs, rows, positions, accumulators)


def rows_of_taps(c: Correlation, most: int) -> int:
    """Rows of taps in one tile of at most ``most`` sums."""
    kernel = c.windows[-1].axis.kernel
    return split(c.taps // kernel, max(1, min(TILE_ROWS, most // kernel)))[0][0]


def tiles(c: Correlation, shape: Shape) -> list[list[Run]]:
    """The tiles of a row for each part of its taps, without those that only read zeros."""
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
    """The axis with only a part of its taps. Borders, if it had any, are in a copy by now."""
    lo, hi = a.lo - first * a.dilation, a.hi - (a.kernel - first - taps) * a.dilation
    return replace(a, kernel=taps, lo=lo, hi=hi, mode="zeros")


@dataclass(frozen=True, slots=True)
class TapRows:
    """A tile of taps as a pass goes over it: taps of all axes but the last from ``first`` on,
    ``rows`` of them; ``whole``, ``single``: the functions for all rows, and for one that stands
    alone because others read zeros. The sums of row ``t`` begin at ``t * step + start``.
    """

    first: int
    rows: int
    whole: int
    single: int
    step: int
    start: int


def tap_tiles(
    c: Correlation, shape: Shape, runs: Sequence[Sequence[tuple[Tile, int, int]]], tap: int
) -> tuple[tuple[TapTile, ...], list[TapRows]]:
    """The functions of the kernel, and how a pass goes over them; ``tap``: input elements between
    neighbouring taps.
    """
    kernel, inputs = c.windows[-1].axis.kernel, c.channels_in
    numbers: dict[TapTile, int] = {}
    found, run = [], 0
    for (first, taps), here in zip(shape.taps, runs, strict=True):
        for start, count in shape.inputs:
            one = TapTile(
                rows=1,
                offsets=tuple(k * tap for k in range(taps)),
                inputs=tuple(range(start, start + count)),
                accumulators=shape.accumulators,
                kinds=tuple(kind for kind, _, _ in here),
                run=run,
            )
            for begin, rows in parts(c.taps // kernel, shape.rows):
                whole = numbers.setdefault(replace(one, rows=rows), len(numbers))
                single = numbers.setdefault(one, len(numbers))
                place = kernel * inputs, first * inputs + start
                found.append(TapRows(begin, rows, whole, single, *place))
        run += len(here)
    return tuple(numbers), found


# Segments -----------------------------------------------------------------------------------------


def segments_of(
    c: Correlation,
    shape: Shape,
    runs: Sequence[Sequence[Run]],
    most: int,
    x: RowLayout,
    g: RowLayout,
) -> dict[str, Table]:
    """A row in segments of ``most`` tiles. For each what is copied of it: input from, positions,
    gradient from, positions. And the runs of tiles in it.
    """
    last, a = c.windows[-1], c.windows[-1].axis
    firsts = [first for first, _ in parts(a.output, shape.positions)]
    low = np.array(firsts[::most], np.int64)
    high = np.append(low[1:], a.output)
    x_low = np.clip(low * a.stride - a.lo, 0, a.size)
    x_high = np.clip((high - 1) * a.stride - a.lo + a.extent, x_low, a.size)
    copied = np.stack([x_low * last.x, x_high - x_low, low * last.out, high - low], axis=1)
    begins = x_low * x.copied, low * g.copied
    found = runs_of(c, shape, runs, low, begins, (x.pitch, g.pitch))
    return {"segments": table(copied, SEGMENT), "runs": found}


def runs_of(
    c: Correlation,
    shape: Shape,
    runs: Sequence[Sequence[tuple[Tile, int, int]]],
    low: Table,
    begins: tuple[Table | int, Table | int] = (0, 0),
    pitches: tuple[int, int] = (1, 1),
    lanes: int = 1,
) -> Table:
    """For each segment, from output ``low`` on, and each run: how many tiles, and where they begin
    in both arrays, whose positions are counted from ``begins`` and lie ``pitches`` apart.

    ``lanes``: neighbouring positions in a vector.
    """
    a, high = c.windows[-1].axis, np.append(low[1:], c.windows[-1].axis.output)
    columns = [np.zeros((len(low), 0), np.int64)]
    for (first, _), here in zip(shape.taps, runs, strict=True):
        for tile, start, count in here:
            step = tile.positions * lanes
            places = start + np.arange(count, dtype=np.int64) * step
            begin, end = np.searchsorted(places, low), np.searchsorted(places, high)
            at = start + begin * step
            x = (at * a.stride - a.lo + first * a.dilation - begins[0]) * pitches[0]
            columns.append(np.stack([end - begin, x, (at - begins[1]) * pitches[1]], axis=1))
    rows = np.concatenate(columns, axis=1)
    return table(rows, max(RUN, rows.shape[1]))


# Passes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Memory:
    """Elements between rows in the copies, or None where the arrays themselves are read; places for
    rows of the input, and rows of the output in one pass.
    """

    x: int | None
    g: int | None
    places: int
    rows: int


class _Passes:
    """Tables in the making, for the rows of one band after the other."""

    def __init__(self, c: Correlation, tap_rows: Sequence[TapRows], memory: Memory) -> None:
        outer = c.windows[:-1]
        # For each row of the output, at each tap, the number of a row of the input, or MISSING.
        steps = pitches([w.axis.size for w in outer])
        self.reads = reads_of([replace(w, x=n) for w, n in zip(outer, steps, strict=True)])
        self.x = offsets([w.axis.size for w in outer], [w.x for w in outer])
        self.g = offsets([w.axis.output for w in outer], [w.out for w in outer])
        self.tap_rows, self.memory = tap_rows, memory
        # Where rows of the input are read, and their places in the copies.
        self.x_read = self.x.copy()
        self.places: dict[int, int] = {}
        self.passes: list[tuple[int, ...]] = []
        self.x_copies: list[tuple[int, int]] = []
        self.g_copies: list[tuple[int, int]] = []
        self.calls: list[tuple[int, ...]] = []
        self.entries: list[int] = []

    def band(self, rows: range) -> tuple[int, int]:
        """Passes for the output rows ``rows``: the first, and how many."""
        first = len(self.passes)
        self.places = {}
        taken: list[int] = []
        used: set[int] = set()
        for row in rows:
            needed = {int(read) for read in self.reads[row] if read >= 0}
            full = len(taken) == self.memory.rows or len(used | needed) > self.memory.places
            if taken and full:
                self._pass(taken, used)
                taken, used = [], set()
            taken.append(row)
            used |= needed
        self._pass(taken, used)
        return first, len(self.passes) - first

    def _pass(self, rows: list[int], used: set[int]) -> None:
        made: list[Sized] = [self.x_copies, self.g_copies, self.calls]
        heads = list(map(len, made))
        memory, places = self.memory, self.places
        g = self.g[rows]
        if memory.x is not None:
            free = sorted(set(range(memory.places)) - set(places.values()))
            # What was copied first is given up first.
            old = [read for read in places if read not in used]
            for read in sorted(used - places.keys()):
                places[read] = free.pop(0) if free else places.pop(old.pop(0))
                self.x_read[read] = places[read] * memory.x
                self.x_copies.append((int(self.x[read]), places[read] * memory.x))
        if memory.g is not None:
            copied = np.arange(len(rows), dtype=np.int64) * memory.g
            self.g_copies += zip(g.tolist(), copied.tolist(), strict=True)
            g = copied
        for tile in self.tap_rows:
            reads = self.reads[rows, tile.first : tile.first + tile.rows]
            present = reads >= 0
            every = present.all(axis=1)
            self._call(tile, tile.whole, 0, reads[every], g[every])
            for tap in () if every.all() else range(tile.rows):
                some = present[:, tap] & ~every
                self._call(tile, tile.single, tap, reads[some, tap : tap + 1], g[some])
        pairs = zip(heads, map(len, made), strict=True)
        self.passes.append(tuple(n for head, end in pairs for n in (head, end - head)))

    def _call(self, tile: TapRows, function: int, tap: int, reads: Table, g: Table) -> None:
        """One function, from row ``tap`` of the tile on: the rows it reads, and their gradients."""
        if len(g):
            place = (tile.first + tap) * tile.step + tile.start
            self.calls.append((function, len(self.entries), len(g), place))
            entries = np.concatenate([self.x_read[reads], g[:, None]], axis=1)
            self.entries += entries.ravel().tolist()


def band_size(c: Correlation, positions: int) -> tuple[int, int]:
    """Rows of the output, and samples, in a band of about so many positions."""
    along = c.windows[-1].axis.output
    rows = max(1, min(positions // along, c.outputs // along))
    return rows, max(1, positions // c.outputs) if rows == c.outputs // along else 1


def bands_of(
    c: Correlation,
    band: tuple[int, int],
    tap_rows: Sequence[TapRows],
    memory: Memory,
    row_tables: dict[str, Table],
) -> tuple[int, dict[str, Argument]]:
    """How many bands of ``band_size`` there are, and the kernel's arguments that say how it walks
    them; ``row_tables``: as of ``segments_of``.
    """
    made, (rows, samples) = _Passes(c, tap_rows, memory), band
    every = range(len(made.reads))
    band_rows = table([made.band(every[i : i + rows]) for i in every[::rows]], 2)
    segments = len(row_tables["runs"])
    arguments: dict[str, Argument] = {
        "band_rows": band_rows,
        "passes": table(made.passes, PASS),
        "x_copies": table(made.x_copies, COPY),
        "g_copies": table(made.g_copies, COPY),
        "calls": table(made.calls, CALL),
        "entries": table(np.array(made.entries, np.int64), 1),
        **row_tables,
        "segment_count": segments,
        "rows_count": len(band_rows),
        "samples": samples,
        "batch": c.batch,
        "x_batch": c.x[0],
        "g_batch": c.out[0],
    }
    return -(-c.batch // samples) * len(band_rows) * segments, arguments
