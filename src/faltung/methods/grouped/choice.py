"""Tiles of ``grouped``: which is the cheapest, and whether an item copies what it reads first.

From ``choose`` on groups are counted in blocks: ``c.groups`` blocks of ``count`` groups, side by
side in the lanes of a vector, have ``c.channels_in`` inputs and ``c.channels_out`` outputs a group.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from faltung.codegen.tile import budget, split, unrolled
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.axis import Axis
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.tiles import Run, kinds_of, tiles_of
from faltung.methods.grouped.patches import VECTOR, Patch, best_patch

# Bytes of weights that stay in the first-level cache while tiles go by; bytes of one of its lines.
WEIGHTS, LINE = 12 << 10, 64
# Cycles of a tile for each block beside its sums, of each of its outputs, and of a row of taps.
TILE, OUTPUT, TAPS = 12, 1.5, 4
# The least cycles between two products of one sum.
WAIT = 2.5
# Taps of a row from which on six columns are better than four wherever they lie.
LONG = 7
# Positions so many bytes apart share few lines of a cache of eight ways: that part of its size.
FEW = 32
# Products of an output from which on a copy costs less than lines that fall out of the cache.
HEAVY = 24
# Parts of the first- and the second-level cache that a patch may fill, and bytes on the stack.
NEAR, FAR, STACK = 5 / 8, 1 / 4, 128 << 10
# Items that there should be at least, for many threads.
ITEMS = 16
# Copies of an input from which on a patch in the second-level cache is better.
OFTEN = 2.5


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


def together(c: Correlation, machine: Machine) -> int:
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
    beside = uniform and c.x[1] == c.channels_in and groups * c.channels_in <= 2 * lanes
    return groups if beside else int(lanes < 2 * c.channels_out)


# Which tile ---------------------------------------------------------------------------------------


def choose(c: Correlation, machine: Machine, count: int) -> Tile:
    """The cheapest tile whose taps fit the code; else one with a patch, or its taps in a table."""
    crowded = _crowded(c, machine)
    fitting = _fitting(c, machine, count, _shapes(c, machine))
    if not fitting or (crowded and c.taps * c.channels_in >= HEAVY and _shares(c)):
        staged = _staged(c, machine, count)
        if staged is not None:
            return staged
    if not fitting:
        return replace(_shapes(c, machine, staged=True)[0], unrolled=False)
    return min(fitting, key=lambda tile: cycles(c, machine, count, tile))


def _shapes(c: Correlation, machine: Machine, *, staged: bool = False) -> list[Tile]:
    most, axis = budget(machine), c.windows[-1].axis
    if not _shares(c):
        return [Tile(1, n, True) for n in (most, most // 2)]
    # Four columns need fewer lines of the cache than six, which only long rows of taps make up for.
    depthwise = c.channels_in == 1 == c.channels_out
    few = axis.stride > 1 or not depthwise or _crowded(c, machine)
    wide = staged or not few or axis.kernel >= LONG
    widest = most // 2 if wide else most // 3
    return [Tile(2, n, True) for n in (widest, most // 3, most // 6)]


def _fitting(c: Correlation, machine: Machine, count: int, shapes: Sequence[Tile]) -> list[Tile]:
    """Those whose products fit the code; without padding there is always one."""
    axis = c.windows[-1].axis
    found = [tile for tile in shapes if _products(c, machine, count, tile) <= _most(machine)]
    if not found and axis.lo <= 0 and axis.hi <= 0:
        found = [replace(tile, unrolled=False) for tile in shapes]
    return found


def _crowded(c: Correlation, machine: Machine) -> bool:
    """Whether neighbouring positions fall into few lines of the first-level cache."""
    pitch = abs(c.windows[-1].x) * ELEMENTS[c.dtype][1]
    return pitch > 0 and pitch % (machine.l1 // FEW) == 0


def _most(machine: Machine) -> int:
    return 2 * unrolled(machine)


def _shares(c: Correlation) -> bool:
    """Whether pairs of rows read rows of the input in common."""
    if len(c.windows) < 2 or c.windows[-2].axis.output < 2:
        return False
    return _apart(c.windows[-2].axis) < c.windows[-2].axis.kernel


def _apart(axis: Axis) -> int:
    """How many taps further on the second row of a pair begins."""
    return axis.stride // gcd(axis.stride, axis.dilation)


def _products(c: Correlation, machine: Machine, count: int, tile: Tile) -> int:
    """Multiply-adds in the code."""
    axis = c.windows[-1].axis
    inputs = 1 if count == 1 else c.channels_in
    if axis.kernel * tile.columns * inputs > _most(machine):
        return _most(machine) + 1
    kinds = kinds_of(runs_of(axis, tile))
    copies = 4 if tile.rows == 2 else 1
    return sum(kind.positions for kind in kinds) * axis.kernel * inputs * copies


def runs_of(axis: Axis, tile: Tile) -> list[Run]:
    return tiles_of(
        padded(axis) if tile.zeros else axis, split(axis.output, tile.columns), tile.unrolled
    )


def padded(axis: Axis) -> Axis:
    """The same axis with its padding in the array."""
    return Axis(axis.padded, axis.kernel, axis.stride, axis.dilation)


def over_padded(c: Correlation) -> Correlation:
    """The same sums over an input whose last axis holds its padding."""
    *outer, last = c.windows
    return replace(c, windows=(*outer, replace(last, axis=padded(last.axis))))


def weights_that_fit(c: Correlation, machine: Machine) -> int:
    """Blocks of channels whose weights stay in the first-level cache."""
    block = c.taps * c.channels_in * machine.lanes(c.dtype) * ELEMENTS[c.dtype][1]
    return max(1, WEIGHTS // block)


# Which patch --------------------------------------------------------------------------------------


def _staged(c: Correlation, machine: Machine, count: int) -> Tile | None:
    """The cheapest tile with a patch; None where none fits the memory for it."""
    shapes = _shapes(c, machine, staged=True)
    fitting = _fitting(c, machine, count, shapes)
    zeros = not fitting
    if zeros:
        fitting = _fitting(over_padded(c), machine, count, shapes)
    tile = min(fitting, key=lambda tile: cycles(c, machine, count, tile))
    position = count * c.channels_in * ELEMENTS[c.dtype][1]
    # A line of the cache at a time, so that each is loaded once.
    blocks = max(1, min(weights_that_fit(c, machine), LINE // position, c.groups))
    axes = tuple(window.axis for window in c.windows)
    most = max(1, c.outputs * c.batch * c.groups // (blocks * ITEMS))
    near = int(machine.l1 * NEAR) // (position * blocks)
    patch = best_patch(axes, tile.rows, tile.columns, near, most)
    if patch is None or patch.cycles > OFTEN * VECTOR:
        far = min(int(machine.l2 * FAR), STACK) // position
        larger = best_patch(axes, tile.rows, tile.columns, far, most)
        if larger is not None:
            patch, blocks = larger, 1
    if patch is None:
        return None
    return replace(tile, zeros=zeros, patch=patch, blocks=blocks)


# What it costs ------------------------------------------------------------------------------------


def cycles(c: Correlation, machine: Machine, count: int, tile: Tile) -> float:
    """Cycles of one block of one sample."""
    axis = c.windows[-1].axis
    taps = axis.kernel if tile.unrolled else 1
    lines = c.row_taps * axis.kernel / taps
    shuffled = count > 1 and c.channels_out * c.channels_in > 1
    outer = prod(w.axis.output for w in c.windows[:-1])
    both = alone = 0.0
    if tile.rows == 2:
        across = c.windows[-2].axis
        outer = outer // across.output * -(-across.output // 2)
        alone = lines * min(1.0, _apart(across) / across.kernel)
        both = lines - alone
    made = 0.0
    for positions, count in split(axis.output, tile.columns):

        def step(rows: int, n: int = positions) -> float:
            products = rows * n / 2
            aux_contiguous = (rows + n) / 2 + (n / 4 if shuffled else 0)
            # Few sums would wait for each other, if the next tile did not begin meanwhile.
            return taps * c.channels_in * max(products, aux_contiguous, WAIT) + TAPS

        sums = both * step(2) + 2 * alone * step(1) if tile.rows == 2 else lines * step(1)
        made += count * (sums + TILE + OUTPUT * tile.rows * positions)
    copied = 0.0 if tile.patch is None else tile.patch.cycles * c.outputs
    return outer * made + copied
