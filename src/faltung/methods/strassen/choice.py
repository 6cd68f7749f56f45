"""Strassen's algorithm: for which problems, how many levels of it, and what they cost."""

from dataclasses import field
from math import inf

from faltung.codegen.tile import rows_for, split
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.record import dataclass
from faltung.machine import costs
from faltung.machine.table import Machine
from faltung.methods.base.correlation import NOT_PLACED, Correlation
from faltung.methods.base.remembered import remembered
from faltung.methods.strassen.algebra import products

# Groups that are done one after the other.
MOST_GROUPS = 8
LEVELS = (1, 2)
# Vectors of output channels in a register tile.
VECTORS = 2
# Bytes of the products of a range where several register tiles fit, and ranges for each core.
RANGE_BYTES, RANGES_PER_CORE = 16 * 1024, 4
# Cycles of a register tile beside its products; of a vector that is read or written for the sums of
# inputs, near and where these are more than some second-level caches; of a vector of products on
# its way to the outputs; of a position of a block that is stored.
TILE_CYCLES = 36
INPUT_CYCLES, FAR_INPUTS_L2 = (2.5, 5.0), 6
RESULT_CYCLES, POSITION_CYCLES = 1.0, 18
# A level more rounds more and takes more memory: it has to win by something.
MAX_LEVEL_PRICE = 0.96
# Bytes of the sums of the weights of a group, at most.
MOST_WEIGHT_BYTES = 64 << 20


@dataclass(frozen=True)
class StrassenChoice:
    """``levels`` of halving for one sample and one group. Equal ones give the same bits."""

    dtype: str
    positions: int
    channels_in: int
    channels_out: int
    levels: int
    machine: Machine = field(compare=False)

    def __str__(self) -> str:
        return f"{self.levels} level{'s' * (self.levels > 1)}"

    @property
    def lanes(self) -> int:
        return self.machine.lanes(self.dtype)

    @property
    def item_bytes(self) -> int:
        return ELEMENTS[self.dtype][1]

    @property
    def parts(self) -> int:
        """Of positions, input channels and output channels."""
        return 1 << self.levels

    @property
    def points(self) -> int:
        """Products of parts."""
        return products(self.levels)

    @property
    def width(self) -> int:
        """Output channels of a block."""
        return VECTORS * self.lanes

    @property
    def rows(self) -> int:
        """Positions of a part."""
        return -(-self.positions // self.parts)

    @property
    def part(self) -> int:
        """Input channels of a part."""
        return -(-self.channels_in // self.parts)

    @property
    def part_out(self) -> int:
        """Output channels of a part, in whole blocks."""
        return self.blocks * self.width

    @property
    def blocks(self) -> int:
        return -(-self.channels_out // (self.parts * self.width))

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """(rows, how many) of the register tiles of a part."""
        return split(self.rows, rows_for(self.machine, VECTORS))

    @property
    def pitch(self) -> int:
        """Elements from one row of a sum of inputs to the next; no power of two."""
        length = -(-self.part // self.lanes) * self.lanes
        return length + self.lanes if length % (32 * self.lanes) == 0 else length

    @property
    def sample(self) -> int:
        """Elements of all sums of inputs of a sample."""
        return self.points * self.rows * self.pitch

    @property
    def product(self) -> int:
        """Elements of the weights of a product and a block: an odd number of rows, so that those of
        all products, which are written side by side, spread over all sets of a cache.
        """
        return (self.part | 1) * self.width

    @property
    def weights(self) -> int:
        """Elements of all sums of weights."""
        return self.points * self.blocks * self.product

    def tiles_of_range(self, batch: int) -> int:
        """Tiles of a range, the most of them: their products stay in a cache, the weights of a
        block come again for each range if they do not, and each thread gets some ranges.
        """
        row = (self.points * VECTORS + 1) * self.machine.vector_bytes
        weights = self.points * self.part * self.width * self.item_bytes
        room = RANGE_BYTES if weights <= self.machine.l2 // 2 else costs.SUMS_STACK_BYTES
        (height, _), *_ = self.tiles
        tiles = sum(count for _, count in self.tiles)
        count = max(1, -(-tiles // max(1, room // (row * height))))
        least = RANGES_PER_CORE * self.machine.cores
        count = max(count, min(tiles, -(-least // (self.blocks * batch))))
        return -(-tiles // count)

    @property
    def cycles(self) -> float:
        """Cycles of one core, weights packed."""
        tiles = 0.0
        for rows, count in self.tiles:
            step = max(rows * VECTORS / 2, (rows + VECTORS) / 2, costs.FMA_LATENCY_CYCLES)
            tiles += count * (self.part * step + TILE_CYCLES)
        sums = self.blocks * self.points * tiles
        moved = self.points + self.parts**2
        row = VECTORS * RESULT_CYCLES * moved + self.parts**2 * POSITION_CYCLES
        far = self.sample * self.item_bytes > FAR_INPUTS_L2 * self.machine.l2
        inputs = self.rows * -(-self.part // self.lanes) * moved * INPUT_CYCLES[far]
        # All weights of a network come from memory.
        weights = self.weights * self.item_bytes / costs.MEMORY_BYTES_PER_CYCLE
        total = sums + self.blocks * self.rows * row + inputs
        return max(total, weights) + costs.STEP_CYCLES


def why_not(c: Correlation, machine: Machine) -> str | None:
    """In a few words why it does not apply; None where it does."""
    if c.placed:
        return NOT_PLACED
    if c.taps > 1:
        return "more than one tap"
    if c.groups > MOST_GROUPS:
        return f"more than {MOST_GROUPS} groups"
    if c.outputs < 2 or c.channels_in < 2:
        return "positions or input channels that cannot be halved"
    if c.channels_out <= VECTORS * machine.lanes(c.dtype):
        return "too few output channels"
    if _cheapest(c.dtype, c.outputs, c.channels_in, c.channels_out, machine) is None:
        return f"sums of weights of more than {MOST_WEIGHT_BYTES >> 20} MiB"
    return None


def choose(c: Correlation, machine: Machine) -> StrassenChoice | None:
    """The cheapest number of levels for one sample, so that no batch changes the bits."""
    if why_not(c, machine) is not None:
        return None
    return _cheapest(c.dtype, c.outputs, c.channels_in, c.channels_out, machine)


@remembered(1024)
def _cheapest(
    dtype: str, positions: int, channels_in: int, channels_out: int, machine: Machine
) -> StrassenChoice | None:
    """The fewest levels first; None where the weights of any number of them are too large."""
    best: StrassenChoice | None = None
    least = inf
    for levels in LEVELS:
        made = StrassenChoice(dtype, positions, channels_in, channels_out, levels, machine)
        small = made.weights * made.item_bytes <= MOST_WEIGHT_BYTES
        if small and made.cycles < MAX_LEVEL_PRICE * least:
            best, least = made, made.cycles
    return best
