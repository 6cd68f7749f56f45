"""Weights packed by the items that use them, a block of output channels at a time.

What it is.  Where weights change from call to call, packing all of them first reads them from
  memory, writes them, waits for all threads, and reads them again. Where all positions of a block
  follow each other, a call lays the panel of a block out when it comes to its first item, in
  memory of its own: it is in the caches when the sums read it. Meanwhile the lines of the next
  block are asked for.
When it applies.  Weights are packed at every call; output or input channels are contiguous in them;
  blocks are the outer loop.
"""

from collections.abc import Mapping

import numpy as np

from faltung.codegen.copies import RowMask, transpose_square
from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.blocks import ChannelBlocks
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.kernel import Arguments
from faltung.methods.base.step import Argument, Arrays, Work, shifted

# Calls for each core, at most: each has room for a panel.
CORE_CALLS = 8
# Of a panel that the second-level cache cannot keep, how far ahead weights are asked for: rows, or
# elements of each row.
AHEAD_ROWS, AHEAD_COLUMNS = 32, 128
# Arguments of a kernel that packs inside.
POINTERS = ("panels", "taps")
NUMBERS = (
    *("inner", "parts", "tap_count", "panel_size"),
    *("weight_group", "weight_block", "weight_step", "ahead"),
)
# ``step``: elements from one input channel to the next where output channels are contiguous, else
# between those. ``ahead``: to what is asked for meanwhile.
PANEL_FUNCTION = parameters(["array", "panel"], ["count", "step", "ahead"])


@dataclass(frozen=True, slots=True)
class Inside:
    """How a block of weights is laid out. ``channels``: of the output; ``contiguous``: whether they
    are, in the weight, or else those of the input.
    """

    contiguous: bool
    channels: int

    def function(self, code: Functions) -> None:
        """The function that lays out one tap."""
        v = code.open("panel", PANEL_FUNCTION)
        width = -(-self.channels // v.lanes) * v.lanes
        if self.contiguous:
            _copied(v, self.channels, width)
        else:
            _transposed(v, self.channels, width)

    def lay(self, v: Vectors, given: Arguments, where: Mapping[str, str], panel: str) -> None:
        """Lay out the weights of a block: taps, and for each of them the input channels."""
        f, width = v.function, -(-self.channels // v.lanes) * v.lanes
        begin = given.offset("weight", group=where["group"], block=where["block"])
        array, size = v.at(given["w"], begin), f.mul(given["channels"], width)
        with f.loop(0, given["tap_count"], [("ptr", panel)]) as tap:
            call = [("ptr", v.at(array, f.word(given["taps"], tap.index)))]
            call += [("ptr", tap.values[0])]
            call += [("i64", given[name]) for name in ("channels", "weight_step", "ahead")]
            f.call("panel", call)
            tap.carry([v.at(tap.values[0], size)])


def inside(
    c: Correlation, packs: bool, order: tuple[str, ...], blocks: ChannelBlocks
) -> Inside | None:
    """How the items pack their weights; None where they do not."""
    if not packs or order[:2] != ("group", "block") or 1 not in c.w[1:]:
        return None
    return Inside(c.w[1] == 1, blocks.channels)


def arguments(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    blocks: ChannelBlocks,
    items: int,
) -> tuple[int, dict[str, Argument]]:
    """How many calls there are at most, and what the code takes."""
    parts = min(items, CORE_CALLS * machine.cores)
    panel = c.taps * c.channels_in * blocks.width
    step, block = (c.w[2] if c.w[1] == 1 else c.w[1]), blocks.channels * c.w[1]
    # The next block, or where that would leave the cache what follows.
    ahead = block
    if panel * c.item_bytes > machine.l2 // 2:
        ahead = step * AHEAD_ROWS if c.w[1] == 1 else AHEAD_COLUMNS
    return parts, {
        "panels": work.borrow("panels", parts * panel * c.item_bytes),
        "w": shifted(arrays.w, blocks.start * c.w[1], c.dtype),
        "taps": np.array(c.tap_offsets, np.int64),
        "inner": items,
        "parts": parts,
        "tap_count": c.taps,
        "panel_size": panel,
        "weight_group": c.w[0],
        "weight_block": block,
        "weight_step": step,
        "ahead": ahead,
    }


# The copies ---------------------------------------------------------------------------------------


def _copied(v: Vectors, channels: int, width: int) -> None:
    """Output channels are contiguous on both sides: a row for each input channel."""
    with v.walk(0, "%count", [("%array", "%step"), ("%panel", width)]) as row:
        array, panel = row.values
        v.function.prefetch(v.at(array, "%ahead"))
        for start in range(0, width, v.lanes):
            mask = v.first(channels - start)
            v.store(v.load(v.at(array, start), mask), v.at(panel, start))


def _transposed(v: Vectors, channels: int, width: int) -> None:
    """Input channels are contiguous: squares, all of a few input channels one after the other."""
    f = v.function
    with f.loop(0, "%count", [("ptr", "%array"), ("ptr", "%panel")], step=v.lanes) as at:
        array, panel = at.values
        left = f.sub("%count", at.index)
        for start in range(0, channels, v.lanes):
            here = min(v.lanes, channels - start)
            corner, target = v.at(array, f.mul("%step", start)), v.at(panel, start)
            _square(v, left, here, corner, target, width)
        at.carry([v.at(array, v.lanes), v.at(panel, v.lanes * width)])


def _square(v: Vectors, left: str, rows: int, corner: str, panel: str, width: int) -> None:
    def read(mask: RowMask) -> list[str]:
        found, at = [], corner
        for i in range(rows):
            v.function.prefetch(v.at(at, "%ahead"))
            found.append(v.load(at, mask(i)))
            at = v.at(at, "%step")
        return found + [v.zero] * (v.lanes - rows)

    def store(i: int, row: str, mask: str | None) -> None:
        v.store(row, v.at(panel, i * width), mask)

    transpose_square(v, left, left, read, store)
