"""What lies in the vectors of ``weight_grad``, how long its bands are, and what that costs."""

from dataclasses import dataclass

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation

# The longest sum in one accumulator, in positions.
BAND = 4096
# The shortest band: below it the sums are loaded and stored too often.
MIN_BAND = 128
# Entries of the table of taps and chunks of a row.
REACHES = 1 << 20
# Input channels of a group that alone make too small a tile.
FEW = 8
# Cycles between two multiply-adds of one accumulator.
LATENCY = 4
# Cycles to add a vector of sums to those of the bands before, and to put one sum in its place.
STORE, UNPACK = 8, 6


@dataclass(frozen=True, slots=True)
class Choice:
    """``swapped``: the input is the vector operand; ``merged``: taps of the last axis are rows of
    the tile.
    """

    space: bool
    swapped: bool
    merged: bool


def choose(c: Correlation, machine: Machine) -> Choice:
    """Lanes are channels where there are enough of them side by side, else positions where those
    are.
    """
    lanes = machine.lanes(c.dtype)
    last = c.windows[-1]
    beside = last.x * last.axis.stride == 1 and last.out == 1
    outputs = c.channels_out if c.out[2] == 1 else 0
    inputs = c.channels_in if c.x[2] == 1 else 0
    if beside and max(c.channels_out, c.channels_in) * 2 <= lanes:
        return Choice(True, False, False)
    fill = {size: size / (-(-size // lanes) * lanes) for size in (outputs, inputs) if size}
    swapped = bool(inputs) and fill[inputs] > 2 * fill.get(outputs, 0)
    merged = (
        not swapped
        and c.channels_in < FEW
        and last.axis.kernel > 1
        and last.axis.lo <= 0
        and last.axis.hi <= 0
    )
    return Choice(False, swapped, merged)


def describe(c: Correlation, machine: Machine) -> str:
    """What the lanes of a vector are, for people."""
    chosen = choose(c, machine)
    lanes = "input channels" if chosen.swapped else "output channels"
    return f"lanes are {'positions' if chosen.space else lanes}"


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core: multiply-adds, loads or latency of the tiles, whichever is longest."""
    chosen = choose(c, machine)
    lanes = 1 if chosen.space else machine.lanes(c.dtype)
    last = c.windows[-1].axis
    rows, channels = c.channels_in, c.channels_out
    if chosen.swapped:
        rows, channels = channels, rows
    positions = c.batch * c.groups * c.outputs * c.row_taps
    if chosen.space:
        positions /= machine.lanes(c.dtype)
    if chosen.merged or mergeable(c, machine):
        rows *= last.kernel
    else:
        positions *= last.kernel
    size = (4 if chosen.space else 2) * lanes
    whole, rest = divmod(channels, size)
    cycles = 0.0
    for blocks, vectors in ((whole, size // lanes), (1, -(-rest // lanes))):
        for tall, count in split(rows, budget(machine) // vectors) if blocks and vectors else ():
            step = max(tall * vectors / 2, (tall + vectors) / 2, LATENCY)
            cycles += blocks * count * positions * step
    return cycles + _storing(c, machine, chosen)


def _storing(c: Correlation, machine: Machine, chosen: Choice) -> float:
    """Cycles for sums that each band loads and stores, and that are then put into their order."""
    weights = c.groups * c.channels_in * c.channels_out * c.taps
    positions, rows = band(c, machine)
    bands = c.batch * c.outputs / min(c.batch * c.outputs, positions * rows) if c.batch else 0
    lanes = machine.lanes(c.dtype)
    unpacked = weights * UNPACK if (c.w[2] if chosen.swapped else c.w[1]) != 1 else 0
    return bands * weights / lanes * STORE + unpacked


def mergeable(c: Correlation, machine: Machine) -> bool:
    chosen = choose(c, machine)
    few = c.channels_in < FEW and c.windows[-1].axis.kernel > 1
    return few and not (chosen.swapped or chosen.space)


def band(c: Correlation, machine: Machine) -> tuple[int, int]:
    """Positions of a row, and rows, in one band: the first cache full, if that is enough."""
    *_, last = c.windows
    each = (c.channels_in * last.axis.stride + c.channels_out) * c.groups * ELEMENTS[c.dtype][1]
    fit = min(BAND, max(MIN_BAND, machine.l1 // each))
    # A kernel of a million taps has a table of its own length for every chunk: then fewer chunks.
    fit = max(fit, last.axis.output * last.axis.kernel // REACHES)
    positions = min(last.axis.output, fit)
    return positions, -(-fit // positions)
