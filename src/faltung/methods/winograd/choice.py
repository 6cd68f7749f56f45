"""Which tiles Winograd's minimal filtering takes for a problem, and what they cost."""

import itertools
from dataclasses import dataclass
from functools import cache
from math import inf, prod

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.winograd.input_transform import Sizes
from faltung.methods.winograd.points import transform
from faltung.methods.winograd.tiles import count as tiles_along

# Outputs of a tile along an axis, by its taps.
OUTPUTS = {1: (1,), 3: (2, 4), 5: (2, 4)}
# Groups that are done one after the other.
GROUPS = 8
# Bytes on the stack for the sums of a run of tiles.
STACK = 96 * 1024
# The part of the second-level cache that the lines of a portion take: there are two portions.
PORTION = 4
# Cores that a price assumes. How many there are may decide how tiles are cut, but not which: a
# process that may use fewer of them would round otherwise.
CORES = 2
# Where weights are larger than this many second-level caches, threads share the channels.
WIDE = 2
# The part of the second-level cache for weights that are transformed on the way into the products.
PART = 3
# Bytes of the sums of a run, where several tiles of sums fit: they share the cache with lines.
RUN = 32 * 1024
# Cycles of one element of a transform: loaded, combined, stored.
TRANSFORM = 1.6
# Cycles of a tile beside its channels: its tables of addresses.
TILE = 300
# Cycles of a tile of sums beside its products.
SUMS = 24
# Bytes a cycle that weights come from the second-level cache.
NEARER = 16.0
# Bytes a cycle that weights come from the third-level cache, and bytes that it holds of them.
NEAR, FAR, SHARED = 12.0, 4.0, 20 << 20


# What is asked, and what is decided ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """``sizes``: (m, r) of each axis; ``vectors`` of output channels by ``rows`` tiles are in
    registers; ``most``: tiles of a run.
    """

    sizes: Sizes
    vectors: int
    rows: int
    most: int

    @property
    def points(self) -> int:
        return prod(m + r - 1 for m, r in self.sizes)

    def __str__(self) -> str:
        m, r = ("x".join(map(str, part)) for part in zip(*self.sizes, strict=True))
        return f"F({m},{r})"


def why_not(c: Correlation, machine: Machine) -> str | None:
    """Why it does not apply."""
    if c.groups > GROUPS:
        return f"more than {GROUPS} groups"
    kernels = [w.axis.kernel for w in c.windows]
    if not set(kernels) <= set(OUTPUTS):
        return "a kernel of other than 1, 3 or 5 taps"
    if max(kernels) == 1:
        return "a kernel of one tap"
    if any(w.axis.stride > 1 for w in c.windows if w.axis.kernel > 1):
        return "a stride"
    return None


def choose(c: Correlation, machine: Machine) -> Choice | None:
    """The cheapest sizes for one sample, so that no batch changes the bits."""
    if why_not(c, machine) is not None or not c.outputs:
        return None
    windows = tuple((w.axis.kernel, _counted(c, i)) for i, w in enumerate(c.windows))
    return _cheapest(c.dtype, c.channels_in, c.channels_out, windows, machine)


def _counted(c: Correlation, i: int) -> tuple[tuple[int, int], ...]:
    """(m, tiles) of an axis for every m."""
    window = c.windows[i]
    taps = window.axis.kernel
    return tuple((m, tiles_along(window, transform(m, taps))) for m in OUTPUTS[taps])


@cache
def _cheapest(
    dtype: str,
    channels_in: int,
    channels_out: int,
    windows: tuple[tuple[int, tuple[tuple[int, int], ...]], ...],
    machine: Machine,
) -> Choice | None:
    best: tuple[float, Choice] | None = None
    for parts in itertools.product(*(counted for _, counted in windows)):
        sizes = tuple((m, taps) for (m, _), (taps, _) in zip(parts, windows, strict=True))
        tiles = prod(tiles for _, tiles in parts)
        for vectors in (1, 2, 3, 4):
            made = _choice(dtype, sizes, vectors, machine)
            if made is None:
                continue
            cycles = price(dtype, channels_in, channels_out, tiles, made, machine)
            if best is None or cycles < best[0]:
                best = cycles, made
    return best and best[1]


def _choice(dtype: str, sizes: Sizes, vectors: int, machine: Machine) -> Choice | None:
    points = prod(m + r - 1 for m, r in sizes)
    tile = (points * vectors + 1) * machine.vector_bytes
    # The sums, the vectors of weights that meet them, and one value of an input are in registers.
    rows = min(budget(machine), machine.registers - vectors - 1) // vectors
    rows = min(rows, STACK // tile)
    if rows < 2:
        return None
    return Choice(sizes, vectors, rows, max(1, RUN // tile // rows) * rows)


def price(
    dtype: str,
    channels_in: int,
    channels_out: int,
    tiles: int,
    chosen: Choice,
    machine: Machine,
) -> float:
    """Cycles of one core for ``tiles`` tiles, weights transformed."""
    lanes, item = machine.lanes(dtype), ELEMENTS[dtype][1]
    blocks = -(-channels_out // (chosen.vectors * lanes))
    turn = max(_weights_near(dtype, channels_in, chosen, machine), 4)
    sums = sum(
        count * (channels_in * max(rows * chosen.vectors / 2, turn) + SUMS)
        for rows, count in split(tiles, chosen.rows)
    )
    transforms = tiles * (
        -(-channels_in // lanes) * _elements(chosen.sizes, True)
        + -(-channels_out // lanes) * _elements(chosen.sizes, False)
    )
    weights = chosen.points * channels_in * blocks * chosen.vectors * lanes * item
    speed = inf if weights <= machine.l2 else NEAR if weights <= SHARED else FAR
    passes = -(-tiles // (CORES * portion_of(dtype, channels_in, weights, chosen, machine)))
    streamed = weights * passes / speed
    return max(blocks * chosen.points * sums, streamed) + transforms * TRANSFORM + tiles * TILE


def _weights_near(dtype: str, channels_in: int, chosen: Choice, machine: Machine) -> float:
    """Cycles that the vectors of weights of one turn take from where they are: the weights of a
    point stay in the first-level cache where several tiles of sums follow each other.
    """
    width = chosen.vectors * machine.vector_bytes
    again = chosen.most > chosen.rows and channels_in * width <= machine.l1 // 2
    return chosen.vectors / 2 if again else width / NEARER


def _elements(sizes: Sizes, forward: bool) -> int:
    """Elements that the passes of a transform read and write, in vectors."""
    total = 0
    shape = [m + r - 1 for m, r in sizes]
    for i, (m, r) in enumerate(sizes):
        if m + r == 2:
            continue
        if forward:
            total += 2 * prod(shape)
        else:
            before = prod(shape)
            shape[i] = m
            total += before + prod(shape)
    return total


def wide(weights: int, machine: Machine) -> bool:
    """Whether threads share the output channels, for ``weights`` bytes transformed, or tiles."""
    return weights > WIDE * machine.l2


def portion_of(dtype: str, channels_in: int, weights: int, chosen: Choice, machine: Machine) -> int:
    """Tiles of a portion for each core: their lines stay in its second-level cache, but where
    weights do not, they are many enough to be worth the way of the weights.
    """
    tile = chosen.points * channels_in * ELEMENTS[dtype][1]
    least = chosen.rows * (4 if wide(weights, machine) else 2)
    return max(least, machine.l2 // PORTION // tile // chosen.rows * chosen.rows)


def summed(chosen: Choice, machine: Machine) -> int:
    """Tiles whose sums for a block of output channels are in memory at a time."""
    return STACK // ((chosen.points * chosen.vectors + 1) * machine.vector_bytes)


def fused(tiles: int, blocks: int, chosen: Choice, machine: Machine) -> int:
    """How many blocks of output channels an item does whose weights are transformed on the way into
    the products; 0 where that is not done: the sums of all tiles do not fit, or there are fewer
    blocks than cores.
    """
    most = summed(chosen, machine) // tiles
    if not most or blocks < machine.cores:
        return 0
    # Every thread gets as much as the others.
    items = -(-blocks // most)
    items = min(blocks, -(-items // machine.cores) * machine.cores)
    return -(-blocks // items)


def part_of(channels_in: int, chosen: Choice, machine: Machine) -> int:
    """Input channels whose transformed weights are in the cache at a time."""
    channel = chosen.points * chosen.vectors * machine.vector_bytes
    parts = -(-channels_in // max(1, machine.l2 // PART // channel))
    return -(-channels_in // parts)
