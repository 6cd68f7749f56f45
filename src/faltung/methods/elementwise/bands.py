"""How a map is cut into items of work: bands of rows by blocks of channels.

By sizes, machine and the work for a vector alone, never by the number of threads: what is summed
together is the same wherever it runs.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

# Cycles of work in one item: about five microseconds, so that handing out costs little and a few
# threads get equal shares.
ITEM = 12_000
# The longest sum in one accumulator, in turns: sums in two levels keep rounding small.
TURNS = 1024
# Vectors of channels in the narrowest block.
NARROW = 16
# Cycles that a row takes beside its vectors.
ROW = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """``groups`` of ``step`` samples, or ``bands`` parts of ``band`` rows of each sample; times
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

    def parts(self, kind: str) -> int:
        """How many partial sums make one total of a kind: "channel", "sample" or "scalar"."""
        return {"channel": self.groups * self.bands, "sample": self.bands}.get(kind, self.items)


@dataclass(frozen=True, slots=True)
class Load:
    """What one vector takes. unroll: rows (vectors, in a flat map) that are taken at once."""

    lanes: int
    unroll: int
    cycles: float


def flat_cut(length: int, load: Load) -> Cut:
    """One long row, as blocks of whole turns."""
    turn = load.lanes * load.unroll
    turns = up(length, turn)
    each = min(up(turns, pieces(length / load.lanes * load.cycles)), TURNS)
    return Cut(1, 1, 1, 1, up(turns, each or 1), (each or 1) * turn)


def rows_cut(
    samples: int, positions: int, channels: int, load: Load, kinds: Collection[str]
) -> Cut:
    """Rows of channels. kinds: of operands and sums; "sample" keeps samples apart."""
    if not samples * positions * channels:
        return Cut(0, 1, 0, 1, 1, 1)
    vectors = up(channels, load.lanes)
    row = vectors * load.cycles + ROW
    wanted, narrowest = pieces(samples * positions * row), up(vectors, NARROW)
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
    cut = _by_rows(positions, pieces(positions * row), load)
    if cut.bands > 1:
        return replace(cut, groups=samples)
    groups = up(samples, max(1, int(ITEM / (positions * row))))
    step = up(samples, groups)
    return replace(cut, groups=up(samples, step), step=step)


def _by_rows(rows: int, wanted: int, load: Load) -> Cut:
    """About ``wanted`` bands of equal length, in whole turns."""
    turns = min(up(up(rows, wanted), load.unroll), TURNS)
    band = min(rows, turns * load.unroll)
    return Cut(1, 1, up(rows, band), band, 1, 1)


def pieces(cycles: float) -> int:
    """How many items so much work is; at least one."""
    return max(1, round(cycles / ITEM))


def up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)
