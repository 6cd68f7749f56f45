"""Winograd's minimal filtering: which tiles it takes for a problem, and what they cost."""

import itertools
from dataclasses import field, replace
from functools import cache
from math import inf, prod

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.correlation import PLACED_OUTPUTS, Correlation, Window
from faltung.methods.winograd.tiles import tiles_along
from faltung.methods.winograd.transforms import Sizes, matrices_of, moved_vectors, transform

# Outputs of a tile along an axis, by its taps.
TILE_OUTPUTS = {1: (1,), 3: (2, 4), 5: (2, 4)}
# Groups that are done one after the other.
MOST_GROUPS = 8
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
WINOGRAD_TILE_CYCLES = 300
# Cycles of a register tile beside its products.
REGISTER_TILE_CYCLES = 24


@dataclass(frozen=True)
class WinogradChoice:
    """``sizes``: (m, r) of each axis; ``vectors`` of output channels by ``rows`` tiles are in
    registers. Equal ones give the same bits, whatever the cores of ``machine``.
    """

    dtype: str
    channels_in: int
    channels_out: int
    sizes: Sizes
    vectors: int
    rows: int
    machine: Machine = field(compare=False)

    def __str__(self) -> str:
        m, r = ("x".join(map(str, numbers)) for numbers in zip(*self.sizes, strict=True))
        return f"F({m},{r})"

    @property
    def lanes(self) -> int:
        return self.machine.lanes(self.dtype)

    @property
    def item_bytes(self) -> int:
        return ELEMENTS[self.dtype][1]

    @property
    def points(self) -> int:
        return prod(m + r - 1 for m, r in self.sizes)

    @property
    def width(self) -> int:
        """Output channels of a block."""
        return self.vectors * self.lanes

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return -(-self.channels_out // self.width)

    @property
    def sums_bytes(self) -> int:
        """Of the sums of a tile for a block: no power of two, which would cause set conflicts."""
        return (self.points * self.vectors + 1) * self.machine.vector_bytes

    @property
    def range_tiles(self) -> int:
        """Tiles of a range."""
        return max(1, RANGE_BYTES // self.sums_bytes // self.rows) * self.rows

    @property
    def most_summed(self) -> int:
        """Tiles whose sums for a block are in memory at a time, at the most."""
        return costs.SUMS_STACK_BYTES // self.sums_bytes

    def outgrow_cache(self, weights: int) -> bool:
        """Whether ``weights`` bytes of transformed weights are many second-level caches."""
        return weights > LARGE_WEIGHTS_L2 * self.machine.l2

    def pass_tiles(self, weights: int) -> int:
        """Tiles of a pass for each core: transformed they stay in its second-level cache, but where
        the weights do not, they are many enough to be worth the way of the weights.
        """
        tile = self.points * self.channels_in * self.item_bytes
        least = self.rows * (4 if self.outgrow_cache(weights) else 2)
        return max(least, self.machine.l2 // PASS_L2_DIVISOR // tile // self.rows * self.rows)

    def fused_blocks(self, tiles: int) -> int:
        """How many blocks an item does whose weights are transformed on the way into the products;
        0 where that is not done: the sums of all tiles do not fit, or there are fewer blocks than
        cores.
        """
        most, cores = self.most_summed // tiles, self.machine.cores
        if not most or self.blocks < cores:
            return 0
        # Every thread gets as much as the others.
        items = -(-self.blocks // most)
        items = min(self.blocks, -(-items // cores) * cores)
        return -(-self.blocks // items)

    @property
    def input_block(self) -> int:
        """Input channels whose transformed weights are in the cache at a time."""
        channel = self.points * self.vectors * self.machine.vector_bytes
        most = max(1, self.machine.l2 // FUSED_WEIGHTS_L2_DIVISOR // channel)
        return -(-self.channels_in // -(-self.channels_in // most))

    def cycles(self, tiles: int) -> float:
        """Cycles of one core for ``tiles`` tiles, weights transformed."""
        channels = self.channels_in
        # Of an input channel: the weights of a point stay in the first-level cache where several
        # register tiles follow each other.
        width = self.vectors * self.machine.vector_bytes
        near = self.range_tiles > self.rows and channels * width <= self.machine.l1 // 2
        loading = max(self.vectors / 2 if near else width / costs.L2_BYTES_PER_CYCLE, 4)
        sums = sum(
            count * (channels * max(rows * self.vectors / 2, loading) + REGISTER_TILE_CYCLES)
            for rows, count in split(tiles, self.rows)
        )
        transforms = tiles * (
            -(-channels // self.lanes) * moved_vectors(matrices_of(self.sizes, "bt"))
            # Priced from the first axis on.
            + -(-self.channels_out // self.lanes)
            * moved_vectors(matrices_of(self.sizes, "at")[::-1])
        )
        weights = self.points * channels * self.blocks * self.width * self.item_bytes
        in_l3 = weights <= costs.L3_WEIGHT_BYTES
        further = costs.L3_BYTES_PER_CYCLE if in_l3 else costs.MEMORY_BYTES_PER_CYCLE
        speed = inf if weights <= self.machine.l2 else further
        passes = -(-tiles // (PRICED_CORES * self.pass_tiles(weights)))
        products = max(self.blocks * self.points * sums, weights * passes / speed)
        return products + transforms * TRANSFORM_CYCLES + tiles * WINOGRAD_TILE_CYCLES


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
    # For each axis: ((m, r), tiles) for every m.
    windows = tuple(
        tuple(((m, r), _tiles(c, w, m, r)) for m in tiles)
        for w in c.windows
        for r in [w.axis.kernel]
        for tiles in [(w.tile,) if w.tile in TILE_OUTPUTS[r] else TILE_OUTPUTS[r]]
    )
    return _cheapest(c.dtype, c.channels_in, c.channels_out, windows, machine)


def _tiles(c: Correlation, window: Window, m: int, r: int) -> int:
    """How many tiles cover an axis; of what may be a part, one of the usual size."""
    return -(-PLACED_OUTPUTS // m) if c.placed else tiles_along(window, transform(m, r))


@cache
def _cheapest(
    dtype: str,
    channels_in: int,
    channels_out: int,
    windows: tuple[tuple[tuple[tuple[int, int], int], ...], ...],
    machine: Machine,
) -> WinogradChoice | None:
    best: WinogradChoice | None = None
    least = inf
    for along in itertools.product(*windows):
        sizes, tiles = zip(*along, strict=True)
        for vectors in (1, 2, 3, 4):
            # The sums, the vectors of weights that meet them, and one value of an input are in
            # registers; the sums of all points are on the stack.
            rows = min(budget(machine), machine.registers - vectors - 1) // vectors
            made = WinogradChoice(dtype, channels_in, channels_out, sizes, vectors, rows, machine)
            made = replace(made, rows=min(rows, made.most_summed))
            if made.rows >= 2 and made.cycles(prod(tiles)) < least:
                best, least = made, made.cycles(prod(tiles))
    return best
