"""How a map is cut into items of work: bands of rows by blocks of channels.

By sizes, machine and the work for a vector alone, never by the number of threads: what is summed
together is the same wherever it runs.
"""

from collections.abc import Collection
from dataclasses import replace

from faltung.geometry.record import dataclass

# Cycles of work in one item: about five microseconds, so that handing out costs little and a few
# threads get equal shares.
MAP_ITEM_CYCLES = 12_000
# The same where nothing is summed, so that it may be changed without changing bits: as few as still
# hide what an item costs, since what is not in a cache takes several times as long as said here.
SHORT_ITEM_CYCLES = 4_000
# The longest sum in one accumulator, in iterations: sums in two levels keep rounding small.
MAX_ITERATIONS = 1024
# Vectors of channels in the narrowest block.
MIN_BLOCK_VECTORS = 16
# Cycles that a row takes beside its vectors.
MAP_ROW_CYCLES = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """``groups`` of ``step`` samples, or ``bands`` bands of ``band`` rows of each sample; times
    ``blocks`` blocks of ``block`` channels.
    """

    groups: int
    step: int
    bands: int
    band: int
    blocks: int
    block: int

    @property
    def items(self) -> int:
        return self.groups * self.bands * self.blocks

    def partial_sums(self, kind: str) -> int:
        """How many of them make one total of a kind: "channel", "sample" or "scalar"."""
        return {"channel": self.groups * self.bands, "sample": self.bands}.get(kind, self.items)


@dataclass(frozen=True, slots=True)
class Load:
    """What one vector takes. unroll: rows (vectors, in a flat map) that are taken at once.

    row: cycles that a row takes beside its vectors. item: cycles of an item.
    """

    lanes: int
    unroll: int
    cycles: float
    row: float = MAP_ROW_CYCLES
    item: int = MAP_ITEM_CYCLES


def flat_cut(length: int, load: Load) -> Cut:
    """One long row, as blocks of whole iterations."""
    size = load.lanes * load.unroll
    iterations = up(length, size)
    each = min(
        up(iterations, items_for(length / load.lanes * load.cycles, load.item)), MAX_ITERATIONS
    )
    return Cut(1, 1, 1, 1, up(iterations, each or 1), (each or 1) * size)


def rows_cut(
    samples: int, positions: int, channels: int, load: Load, kinds: Collection[str]
) -> Cut:
    """Rows of channels. kinds: of operands and sums; "sample" keeps samples apart."""
    if not samples * positions * channels:
        return Cut(0, 1, 0, 1, 1, 1)
    vectors = up(channels, load.lanes)
    row = vectors * load.cycles + load.row
    wanted, narrowest = (
        items_for(samples * positions * row, load.item),
        up(vectors, MIN_BLOCK_VECTORS),
    )
    if "sample" in kinds:
        cut = _by_sample(samples, positions, row, load)
    else:
        # Sums over few long rows are better cut across: then there is less to add up.
        blocks = min(wanted, narrowest) if "channel" in kinds else 1
        cut = _by_rows(positions, up(wanted, blocks), load)
    block = up(vectors, min(up(wanted, cut.items), narrowest)) * load.lanes
    return replace(cut, blocks=up(channels, block), block=block)


def _by_sample(samples: int, positions: int, row: float, load: Load) -> Cut:
    """By what one sample takes: a sample's bands must not depend on how many samples there are."""
    cut = _by_rows(positions, items_for(positions * row, load.item), load)
    if cut.bands > 1:
        return replace(cut, groups=samples)
    groups = up(samples, max(1, int(load.item / (positions * row))))
    step = up(samples, groups)
    return replace(cut, groups=up(samples, step), step=step)


def _by_rows(rows: int, wanted: int, load: Load) -> Cut:
    """About ``wanted`` bands of equal length, in whole iterations."""
    iterations = min(up(up(rows, wanted), load.unroll), MAX_ITERATIONS)
    band = min(rows, iterations * load.unroll)
    return Cut(1, 1, up(rows, band), band, 1, 1)


def items_for(cycles: float, item: int = MAP_ITEM_CYCLES) -> int:
    """How many items of ``item`` cycles so much work is; at least one."""
    return max(1, round(cycles / item))


def up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)
