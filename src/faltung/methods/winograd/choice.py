"""Which tiles Winograd's minimal filtering takes for a problem, and what they cost."""

import itertools
from dataclasses import dataclass
from functools import cache
from math import inf, prod

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.winograd.tiles import tiles_along
from faltung.methods.winograd.transforms import Sizes, matrices_of, moved_vectors, transform

# Outputs of a tile along an axis, by its taps.
TILE_OUTPUTS = {1: (1,), 3: (2, 4), 5: (2, 4)}
# Groups that are done one after the other.
MOST_GROUPS = 8
# Bytes on the stack for the sums of a range of tiles.
STACK_BYTES = 96 * 1024
# The part of the second-level cache that the transformed inputs of a pass take: two are in it.
PASS_L2_DIVISOR = 4
# Cores that a price assumes. How many there are may decide how tiles are cut, but not which: a
# process that may use fewer of them would round otherwise.
PRICED_CORES = 2
# Where weights are larger than this many second-level caches, threads divide the channels.
LARGE_WEIGHTS_L2 = 2
# The part of the second-level cache for weights that are transformed on the way into the products.
FUSED_WEIGHTS_L2_DIVISOR = 3
# Bytes of the sums of a range where several register tiles fit: inputs are in that cache as well.
RANGE_BYTES = 32 * 1024
# Cycles of one element of a transform: loaded, combined, stored.
TRANSFORM_CYCLES = 1.6
# Cycles of a tile beside its channels: its tables of addresses.
TILE_CYCLES = 300
# Cycles of a register tile beside its products.
REGISTER_TILE_CYCLES = 24
# Bytes a cycle that weights come from the second-level cache, the third-level cache, and memory.
L2_BYTES_PER_CYCLE, L3_BYTES_PER_CYCLE, MEMORY_BYTES_PER_CYCLE = 16.0, 12.0, 4.0
# Bytes of weights that the third-level cache holds.
L3_BYTES = 20 << 20


# What is asked, and what is decided ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WinogradChoice:
    """``sizes``: (m, r) of each axis; ``vectors`` of output channels by ``rows`` tiles are in
    registers; ``most``: tiles of a range.
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


def why_not(c: Correlation) -> str | None:
    """In a few words why it does not apply; None where it does."""
    if c.groups > MOST_GROUPS:
        return f"more than {MOST_GROUPS} groups"
    kernels = [w.axis.kernel for w in c.windows]
    if not set(kernels) <= set(TILE_OUTPUTS):
        return "a kernel of other than 1, 3 or 5 taps"
    if max(kernels) == 1:
        return "a kernel of one tap"
    if any(w.axis.stride > 1 for w in c.windows if w.axis.kernel > 1):
        return "a stride"
    return None


def choose(c: Correlation, machine: Machine) -> WinogradChoice | None:
    """The cheapest sizes for one sample, so that no batch changes the bits."""
    if why_not(c) is not None or not c.outputs:
        return None
    windows = tuple((w.axis.kernel, _counted(c, i)) for i, w in enumerate(c.windows))
    return _cheapest(c.dtype, c.channels_in, c.channels_out, windows, machine)


def _counted(c: Correlation, i: int) -> tuple[tuple[int, int], ...]:
    """(m, tiles) of an axis for every m."""
    window = c.windows[i]
    taps = window.axis.kernel
    return tuple((m, tiles_along(window, transform(m, taps))) for m in TILE_OUTPUTS[taps])


@cache
def _cheapest(
    dtype: str,
    channels_in: int,
    channels_out: int,
    windows: tuple[tuple[int, tuple[tuple[int, int], ...]], ...],
    machine: Machine,
) -> WinogradChoice | None:
    best: tuple[float, WinogradChoice] | None = None
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


def _choice(dtype: str, sizes: Sizes, vectors: int, machine: Machine) -> WinogradChoice | None:
    points = prod(m + r - 1 for m, r in sizes)
    tile = (points * vectors + 1) * machine.vector_bytes
    # The sums, the vectors of weights that meet them, and one value of an input are in registers.
    rows = min(budget(machine), machine.registers - vectors - 1) // vectors
    rows = min(rows, STACK_BYTES // tile)
    if rows < 2:
        return None
    return WinogradChoice(sizes, vectors, rows, max(1, RANGE_BYTES // tile // rows) * rows)


def price(
    dtype: str,
    channels_in: int,
    channels_out: int,
    tiles: int,
    chosen: WinogradChoice,
    machine: Machine,
) -> float:
    """Cycles of one core for ``tiles`` tiles, weights transformed."""
    lanes, item = machine.lanes(dtype), ELEMENTS[dtype][1]
    blocks = -(-channels_out // (chosen.vectors * lanes))
    loading = max(_loading_cycles(dtype, channels_in, chosen, machine), 4)
    sums = sum(
        count * (channels_in * max(rows * chosen.vectors / 2, loading) + REGISTER_TILE_CYCLES)
        for rows, count in split(tiles, chosen.rows)
    )
    transforms = tiles * (
        -(-channels_in // lanes) * moved_vectors(matrices_of(chosen.sizes, "bt"))
        + -(-channels_out // lanes) * moved_vectors(matrices_of(chosen.sizes, "at")[::-1])
    )
    weights = chosen.points * channels_in * blocks * chosen.vectors * lanes * item
    further = L3_BYTES_PER_CYCLE if weights <= L3_BYTES else MEMORY_BYTES_PER_CYCLE
    speed = inf if weights <= machine.l2 else further
    most = PRICED_CORES * tiles_per_pass(dtype, channels_in, weights, chosen, machine)
    products = max(blocks * chosen.points * sums, weights * -(-tiles // most) / speed)
    return products + transforms * TRANSFORM_CYCLES + tiles * TILE_CYCLES


def _loading_cycles(
    dtype: str, channels_in: int, chosen: WinogradChoice, machine: Machine
) -> float:
    """Cycles to load the vectors of weights of one input channel: the weights of a point stay in
    the first-level cache where several register tiles follow each other.
    """
    width = chosen.vectors * machine.vector_bytes
    again = chosen.most > chosen.rows and channels_in * width <= machine.l1 // 2
    return chosen.vectors / 2 if again else width / L2_BYTES_PER_CYCLE


def outgrow_cache(weights: int, machine: Machine) -> bool:
    """Whether threads divide the output channels, for ``weights`` bytes transformed, or tiles."""
    return weights > LARGE_WEIGHTS_L2 * machine.l2


def tiles_per_pass(
    dtype: str, channels_in: int, weights: int, chosen: WinogradChoice, machine: Machine
) -> int:
    """Tiles of a pass for each core: transformed they stay in its second-level cache, but where the
    weights do not, they are many enough to be worth the way of the weights.
    """
    tile = chosen.points * channels_in * ELEMENTS[dtype][1]
    least = chosen.rows * (4 if outgrow_cache(weights, machine) else 2)
    return max(least, machine.l2 // PASS_L2_DIVISOR // tile // chosen.rows * chosen.rows)


def most_summed(chosen: WinogradChoice, machine: Machine) -> int:
    """Tiles whose sums for a block of output channels are in memory at a time."""
    return STACK_BYTES // ((chosen.points * chosen.vectors + 1) * machine.vector_bytes)


def fused_blocks(tiles: int, blocks: int, chosen: WinogradChoice, machine: Machine) -> int:
    """How many blocks of output channels an item does whose weights are transformed on the way into
    the products; 0 where that is not done: the sums of all tiles do not fit, or there are fewer
    blocks than cores.
    """
    most = most_summed(chosen, machine) // tiles
    if not most or blocks < machine.cores:
        return 0
    # Every thread gets as much as the others.
    items = -(-blocks // most)
    items = min(blocks, -(-items // machine.cores) * machine.cores)
    return -(-blocks // items)


def input_block(channels_in: int, chosen: WinogradChoice, machine: Machine) -> int:
    """Input channels whose transformed weights are in the cache at a time."""
    channel = chosen.points * chosen.vectors * machine.vector_bytes
    blocks = -(-channels_in // max(1, machine.l2 // FUSED_WEIGHTS_L2_DIVISOR // channel))
    return -(-channels_in // blocks)
