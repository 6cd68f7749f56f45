"""Tiles of grouped convolution: which one is cheapest, and whether an item first copies a patch.

Neighbouring positions are all channels apart, and where that is a power of two they map to a few
lines of the cache. There an item computes some rows by a segment of the last axis for a few blocks
of channels, and first copies the inputs that these read, a patch, so that positions are contiguous.
A patch includes the zeros of the last axis; rows of the other axes that lie in the padding are in
no table.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import product
from math import gcd, prod

from faltung.codegen.tile import budget, split, unrolled
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.tiles import Run, kinds_of, tiles_of

# Bytes of weights that stay in the first-level cache from tile to tile.
WEIGHT_BYTES = 12 << 10
# Cycles of a tile of one block, of each of its outputs, and of a row of taps, apart from its sums.
GROUPED_TILE_CYCLES, OUTPUT_CYCLES, TAP_ROW_CYCLES = 12, 1.5, 4
# The most taps of a row that load their columns together: for all of them, each column once.
TOGETHER_TAPS = 3
# Positions this part of the first-level cache apart map to few of its lines, if it has eight ways.
CONFLICT_PARTS = 32
# With at least so many taps, a copy costs less than lines that are evicted.
MIN_PATCH_TAPS = 32
# Parts of the first- and the second-level cache that a patch may fill.
L1_PATCH_PART, L2_PATCH_PART = 5 / 8, 1 / 4
# The fewest items that there should be, so that many threads have work.
MIN_ITEMS = 16
# If patches in the first-level cache copy each input more often, one in the second-level is better.
MAX_L1_COPIES = 2.5
# Cycles to copy a row of a patch beside its vectors.
PATCH_ROW_CYCLES = 30
# Columns of a tile of two rows: with more of them LLVM, which loads ahead, keeps sums in memory
# even where there are 32 registers.
MAX_COLUMNS = 8
# How many segments the last axis may be cut into.
SEGMENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096)


def groups_per_vector(c: Correlation, machine: Machine) -> int:
    """Groups in one vector; 0 where that cannot be."""
    lanes = machine.lanes(c.dtype)
    groups = min(c.groups, lanes // c.channels_out)
    if c.groups < 2 or not groups:
        return 0
    uniform = c.channels_out == 1 or all(
        strides[1] == c.channels_out * strides[2] for strides in (c.out, *c.aux)
    )
    if c.channels_in > 1 and c.x[2] != 1:
        return 0
    contiguous = uniform and c.x[1] == c.channels_in and groups * c.channels_in <= 2 * lanes
    return groups if contiguous else int(lanes < 2 * c.channels_out)


# Pairs of rows ------------------------------------------------------------------------------------


def pair_distance(axis: Axis) -> int:
    """How far the outputs of a pair are from each other."""
    return axis.dilation // gcd(axis.stride, axis.dilation)


def pair_taps(axis: Axis) -> int:
    """How many taps further on the second row of a pair begins."""
    return axis.stride // gcd(axis.stride, axis.dilation)


def rows_share_input(c: Correlation) -> bool:
    """Whether pairs of rows read rows of the input in common."""
    if len(c.windows) < 2 or c.windows[-2].axis.output < 2:
        return False
    return pair_taps(c.windows[-2].axis) < c.windows[-2].axis.kernel


def _pair_count(axis: Axis) -> int:
    """How many pairs the outputs of an axis make."""
    distance = pair_distance(axis)
    whole, rest = divmod(axis.output, 2 * distance)
    return whole * distance + min(rest, distance)


def across_of(window: Window) -> tuple[tuple[int, int], ...] | None:
    """The rows of the input that a pair of rows of an axis reads where none lies in the padding:
    which tap of the first row reads it, and which of the second, -1 for none. None where they are
    not those of the first alone, then those of both, then those of the second.
    """
    axis = window.axis
    taps: dict[int, list[int]] = {}
    for row, begin in enumerate((0, pair_distance(axis) * axis.stride)):
        for k in range(axis.kernel):
            place, rest = divmod(begin + k * axis.dilation - axis.lo, window.every)
            if not rest:
                taps.setdefault(place, [-1, -1])[row] = k
    found = tuple((a, b) for _, (a, b) in sorted(taps.items()))
    kinds = [2 if a < 0 else int(b >= 0) for a, b in found]
    return found if kinds == sorted(kinds) else None


def has_lonely(axis: Axis) -> bool:
    """Whether some output is its own pair."""
    return 2 * _pair_count(axis) != axis.output


@cache
def _pair_extent(distance: int, count: int) -> int:
    """Outputs from the first to the last of ``count`` neighbours among pairs, at the most."""
    firsts = [i // distance * 2 * distance + i % distance for i in range(distance + count)]
    return 1 + max(
        max(firsts[start : start + count]) + distance - firsts[start] for start in range(distance)
    )


# Which patch --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patch:
    """``counts``: rows, or pairs of rows, of each outer axis in it; ``tiles``: of the last axis;
    ``extents``: input positions of each axis. ``outputs``: of one channel; ``cycles``: of copies
    for each of them.
    """

    counts: tuple[int, ...]
    tiles: int
    extents: tuple[int, ...]
    outputs: int
    cycles: float

    @property
    def positions(self) -> int:
        return prod(self.extents)


@lru_cache(256)
def best_patch(
    axes: tuple[Axis, ...], rows: int, columns: int, most_positions: int, most_outputs: int
) -> Patch | None:
    """The patch of at most ``most_positions`` that takes least to copy, for tiles of ``rows`` by
    ``columns``; None where none is so small. ``most_outputs``: of an item, if it can be.

    For each segment patches grow along the axis that is then the cheapest.
    """

    def rank(patch: Patch) -> tuple[bool, float]:
        return patch.outputs > most_outputs, patch.cycles

    every = -(-axes[-1].output // columns)
    best: Patch | None = None
    for tiles in dict.fromkeys(-(-every // parts) for parts in SEGMENTS):
        found = _patch(axes, rows, columns, (1,) * (len(axes) - 1), tiles)
        while found.positions <= most_positions:
            if best is None or rank(found) < rank(best):
                best = found
            larger = [
                _patch(axes, rows, columns, counts, tiles)
                for counts in _larger(axes, rows, found.counts)
            ]
            fits = [patch for patch in larger if patch.positions <= most_positions]
            if not fits or found.outputs > most_outputs:
                break
            found = min(fits, key=rank)
    return best


def _larger(axes: Sequence[Axis], rows: int, counts: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The counts with one more along one axis."""
    return [
        (*counts[:i], count + 1, *counts[i + 1 :])
        for i, count in enumerate(counts)
        if count < (_pair_count(axes[i]) if rows > 1 and i == len(counts) - 1 else axes[i].output)
    ]


def _patch(
    axes: Sequence[Axis], rows: int, columns: int, counts: tuple[int, ...], tiles: int
) -> Patch:
    *outer, last = axes
    outputs = min(tiles * columns, last.output)
    extents = [(outputs - 1) * last.stride + last.extent]
    for i, axis in reversed(list(enumerate(outer))):
        two = rows > 1 and i == len(outer) - 1
        span = _pair_extent(pair_distance(axis), counts[i]) if two else counts[i]
        extents.insert(0, (span - 1) * axis.stride + axis.extent)
        outputs *= min(axis.output, (1 + two) * counts[i])
    copied = prod(extents[:-1]) * (extents[-1] * costs.PATCH_VECTOR_CYCLES + PATCH_ROW_CYCLES)
    return Patch(counts, tiles, tuple(extents), outputs, copied / outputs)


# Which tile ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """``rows`` by ``columns`` outputs; ``unrolled``: the taps of a row are in the code.

    ``patch``: what an item copies first, None where it reads the input in place; ``zeros``: with
    the padding of the last axis, for which there are no tiles of its own then. ``blocks``: of
    channels in one patch.
    """

    rows: int
    columns: int
    unrolled: bool
    patch: Patch | None = None
    zeros: bool = False
    blocks: int = 1


def runs_of(axis: Axis, tile: Tile, every: int = 1) -> list[Run]:
    """The tiles along the last axis; ``every``: as in ``Window``."""
    axis = axis.with_padding if tile.zeros else axis
    sizes = [
        (n * every, count) for n, count in split(-(-axis.output // every), tile.columns // every)
    ]
    cut = sum(n * count for n, count in sizes) - axis.output
    if cut:
        n, count = sizes.pop()
        sizes += [(n, count - 1), (n - cut, 1)]
    return tiles_of(axis, sizes, tile.unrolled, every)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A problem whose groups are counted in blocks: ``c.groups`` blocks of ``count`` groups, which
    have ``c.channels_in`` inputs and ``c.channels_out`` outputs each.
    """

    c: Correlation
    machine: Machine
    count: int

    @property
    def axis(self) -> Axis:
        """The last axis."""
        return self.c.windows[-1].axis

    @property
    def inputs(self) -> int:
        """Input channels of a block."""
        return self.count * self.c.channels_in

    @property
    def width(self) -> int:
        """Output channels of a block."""
        return self.count * self.c.channels_out

    @property
    def tap_weights(self) -> int:
        """Elements of the packed weights of a block for one tap."""
        return self.c.channels_in * self.machine.lanes(self.c.dtype)

    @property
    def weights_that_fit(self) -> int:
        """Blocks of channels whose weights stay in the first-level cache."""
        block = self.c.taps * self.tap_weights * self.c.item_bytes
        return max(1, WEIGHT_BYTES // block)

    def position(self, tile: Tile) -> int:
        """Elements between neighbouring positions of the last axis, where tiles read them."""
        return self.c.windows[-1].x if tile.patch is None else self.inputs

    @property
    def _depthwise(self) -> bool:
        return self.c.channels_in == 1 == self.c.channels_out

    def together(self, tile: Tile) -> int:
        """How many taps of a row load their columns together."""
        registers = self.machine.registers - 1 - (not self.machine.fma)
        if not self._depthwise or not tile.unrolled:
            return 1
        free = (registers - 1) // tile.rows - tile.columns
        return max(1, min(TOGETHER_TAPS, self.axis.kernel, free))

    def over_padded(self) -> "Blocks":
        """The same sums over an input whose last axis holds its padding."""
        *outer, last = self.c.windows
        windows = (*outer, replace(last, axis=last.axis.with_padding))
        return replace(self, c=replace(self.c, windows=windows))

    def choose(self) -> Tile:
        """The cheapest tile whose taps fit the code; else one with a patch, or its taps in a
        table.
        """
        c, every = self.c, self.c.windows[-1].every
        fitting = self._fitting([tile for tile in self._shapes() if tile.columns >= every])
        heavy = c.taps >= MIN_PATCH_TAPS and rows_share_input(c)
        upsampled = any(w.every > 1 for w in c.windows)
        if not upsampled and (not fitting or (self._set_conflicts and heavy)):
            staged = self._staged()
            if staged is not None:
                return staged
        if not fitting:
            return replace(self._shapes(staged=True)[0], unrolled=False)
        return min(fitting, key=self.cycles)

    def cycles(self, tile: Tile) -> float:
        """Cycles of one block of one sample."""
        c, axis = self.c, self.axis
        taps = axis.kernel if tile.unrolled else 1
        tap_rows = c.row_taps * axis.kernel / taps
        shuffled = self.count > 1 and c.channels_out * c.channels_in > 1
        outer = prod(w.axis.output for w in c.windows[:-1])
        both, alone = 0.0, tap_rows
        if tile.rows == 2:
            across = c.windows[-2].axis
            outer = outer // across.output * -(-across.output // 2)
            alone = tap_rows * min(1.0, pair_taps(across) / across.kernel)
            both = tap_rows - alone
        made, together = 0.0, self.together(tile)
        for positions, count in split(axis.output, tile.columns):
            places = product(range(positions), range(together))
            columns = len({p * axis.stride + k * axis.dilation for p, k in places}) / together

            def row(rows: int, n: int = positions, columns: float = columns) -> float:
                products = rows * n / 2
                reads = (rows + columns) / 2 + (n / 4 if shuffled else 0)
                # A few sums have to wait for each other, though the next tile begins meanwhile.
                longest = max(products, reads, costs.OVERLAPPED_LATENCY_CYCLES)
                return taps * c.channels_in * longest + TAP_ROW_CYCLES

            sums = (both * row(2) + tile.rows * alone * row(1)) / prod(w.every for w in c.windows)
            made += count * (sums + GROUPED_TILE_CYCLES + OUTPUT_CYCLES * tile.rows * positions)
        copied = 0.0 if tile.patch is None else tile.patch.cycles * c.outputs
        return outer * made + copied

    @property
    def _set_conflicts(self) -> bool:
        """Whether neighbouring positions fall into few lines of the first-level cache."""
        pitch = abs(self.c.windows[-1].x) * self.c.item_bytes
        return pitch > 0 and pitch % (self.machine.l1 // CONFLICT_PARTS) == 0

    def _shapes(self, *, staged: bool = False) -> list[Tile]:
        most = budget(self.machine)
        if not rows_share_input(self.c):
            return [Tile(1, n, True) for n in (most, most // 2)]
        # As many columns as leave registers for the weights of three taps, which then load each
        # column once, or without that for six columns; with a patch every load is a cheap one.
        widest = min(self.machine.registers // 2 - TOGETHER_TAPS - 1, MAX_COLUMNS)
        if staged:
            widest = most // 2
        elif not self._depthwise or self.axis.kernel < 2:
            widest = most // 3
        return [Tile(2, n, True) for n in sorted({widest, most // 3, most // 6}, reverse=True)]

    def _fitting(self, shapes: Sequence[Tile]) -> list[Tile]:
        """Those whose products fit the code; without padding there is always one."""
        found = [tile for tile in shapes if self._fits(tile)]
        if not found and not self.c.windows[-1].pads:
            found = [replace(tile, unrolled=False) for tile in shapes]
        return found

    def _fits(self, tile: Tile) -> bool:
        """Whether there are few enough multiply-adds in the code."""
        most = 2 * unrolled(self.machine)
        products = self.axis.kernel * (1 if self.count == 1 else self.c.channels_in)
        if products * tile.columns > most:
            return False
        kinds = kinds_of(runs_of(self.axis, tile, self.c.windows[-1].every))
        copies = 4 if tile.rows == 2 else 1
        return sum(kind.positions for kind in kinds) * products * copies <= most

    def _staged(self) -> Tile | None:
        """The cheapest tile with a patch; None where none fits the memory for it."""
        c, machine = self.c, self.machine
        shapes = self._shapes(staged=True)
        fitting = self._fitting(shapes)
        zeros = not fitting
        if zeros:
            fitting = self.over_padded()._fitting(shapes)
        tile = min(fitting, key=self.cycles)
        position = self.inputs * c.item_bytes
        # Whole cache lines, so that each is loaded once.
        blocks = max(1, min(self.weights_that_fit, costs.LINE_BYTES // position, c.groups))
        axes = tuple(window.axis for window in c.windows)
        most = max(1, c.outputs * c.batch * c.groups // (blocks * MIN_ITEMS))
        positions = int(machine.l1 * L1_PATCH_PART) // (position * blocks)
        patch = best_patch(axes, tile.rows, tile.columns, positions, most)
        if patch is None or patch.cycles > MAX_L1_COPIES * costs.PATCH_VECTOR_CYCLES:
            positions = min(int(machine.l2 * L2_PATCH_PART), costs.PATCH_STACK_BYTES) // position
            larger = best_patch(axes, tile.rows, tile.columns, positions, most)
            if larger is not None:
                patch, blocks = larger, 1
        if patch is None:
            return None
        return replace(tile, zeros=zeros, patch=patch, blocks=blocks)
