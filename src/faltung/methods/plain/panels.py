"""The gradient for the weight of a pointwise layer: a matrix product over positions, of panels.

What it is.  ``grad_w[co, ci] = sum over n, o of grad[n, co, o] * x[n, ci, o * stride]``. A band of
  positions at a time, both arrays are laid into panels of their own, from whatever order, and tiles
  of sums go over them. In an array with channels last the positions of a tile are often a power of
  two apart and meet in a few lines of every cache; in a panel they are contiguous. The sums are
  stored where they belong, vectors along the channels that are contiguous in the weight. (Goto and
  van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.)
When it applies.  One tap and no padding; channels that are contiguous in the weight, and fill a
  tile. Part of ``weight_grad``, which computes all others.
What it costs.  The multiply-adds, and copies. Each thread has panels of its own, so that no line
  goes from core to core: what is broadcast is copied by all threads that use it.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.geometry.record import dataclass
from faltung.machine.costs import PANEL_COPY_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets
from faltung.methods.base.blocks import channel_blocks
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue_arrays import Strided, output_of, stepped_input_of
from faltung.methods.base.step import Argument, Arrays, Operand, Table, Work, shifted, table
from faltung.methods.plain.panels_kernel import BAND, RANGE, ROWS, SEGMENT, PanelsKernel, Source
from faltung.methods.plain.tiled import product_cycles

# Vectors of a tile.
VECTORS = 2
# Of the first cache, what the panels of a tile may fill.
L1_SHARE = 0.75
# The shortest band: below it sums are loaded and stored too often.
MIN_BAND_POSITIONS = 128
# Rows whose panel stays in the second cache.
BLOCK_ROWS = 256
# Items for each core, about: each has room for panels.
CORE_ITEMS = 8
# Threads share the rows where these are more than the columns over so much.
SHARED_ROWS = 2
# Both arrays are read where they lie where rows are no more than these, and what is broadcast where
# columns are: a copy would be used too seldom.
PLACED_ROWS, PLACED_COLUMNS = 96, 64
# So few rows are over before vectors arrive from memory by themselves.
PREFETCH_ROWS = 16
# Positions between the rows of a panel beyond those of a band.
PAD = 16
# Cycles of a tile beside its sums.
PANEL_TILE_CYCLES = 40


@dataclass(frozen=True, slots=True)
class _Side:
    """One array; ``rows``: where each row of the last axis begins."""

    of: Strided
    rows: Table

    @property
    def source(self) -> Source:
        channels_first = self.of.channel != 1
        return Source(channels_first, self.of.position if channels_first else 1)

    @property
    def step(self) -> int:
        """Of its copies."""
        return self.of.channel if self.source.channels_first else self.of.position


def applies(c: Correlation, machine: Machine) -> bool:
    """Whether all sums are of whole positions, fill tiles, and can be stored at once."""
    plain = all(w.axis.kernel == 1 and not w.pads for w in c.windows)
    rows, columns = _sizes(c)
    most = budget(machine) // VECTORS
    fits = columns >= VECTORS * machine.lanes(c.dtype) and rows >= most
    return plain and fits and 1 in c.w[1:]


def swapped(c: Correlation) -> bool:
    """Whether vectors are input channels."""
    return c.w[2] == 1


def _sizes(c: Correlation) -> tuple[int, int]:
    """Channels along the rows of tiles, and along their vectors."""
    both = c.channels_in, c.channels_out
    return both[::-1] if swapped(c) else both


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core: multiply-adds, ends of tiles, copies."""
    (rows, columns), lanes = _sizes(c), machine.lanes(c.dtype)
    positions = c.batch * c.outputs
    bands = -(-positions // _most(c, machine))
    cycles = PANEL_COPY_CYCLES * positions * (rows + columns * -(-rows // BLOCK_ROWS))
    for blocks in channel_blocks(columns, VECTORS * lanes, lanes):
        for height, count in split(rows, budget(machine) // VECTORS):
            step = product_cycles(height * (blocks.width // lanes))
            cycles += blocks.count * count * (positions * step + bands * PANEL_TILE_CYCLES)
    return c.groups * cycles


def _most(c: Correlation, machine: Machine) -> int:
    """Positions of a band: a tile's panels leave room in the first cache."""
    tile = VECTORS * machine.lanes(c.dtype) + budget(machine) // VECTORS
    return max(MIN_BAND_POSITIONS, int(machine.l1 * L1_SHARE) // (tile * c.item_bytes))


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the step that writes the gradient of ``c`` for its weight."""
    a, b = _sides(c, arrays)
    most, every = _most(c, machine), c.batch * c.outputs
    block = VECTORS * machine.lanes(c.dtype)
    blocks, rest = -(-b.of.channels // block), b.of.channels % block
    heights = split(a.of.channels, budget(machine) // VECTORS)
    row_blocks = _row_blocks(heights, b.of.channels)
    even = _even(c, a), _even(c, b)
    bands, segments = _bands(c, a, b, -(-every // -(-every // most)), all(even))
    few = even[1] and a.of.channels <= PLACED_ROWS
    placed = even[0] and (few or b.of.channels <= PLACED_COLUMNS), few
    # The pitch is in the code, and the same for all sizes.
    pitch = most + PAD
    a_size = 0 if placed[0] else max(rows for _, rows, *_ in row_blocks) * pitch
    panels_size = a_size + (0 if placed[1] else block * most)
    wanted = CORE_ITEMS * machine.cores // (c.groups * len(row_blocks))
    ranges = _cut(blocks, max(1, min(blocks, wanted)))
    items = c.groups * len(row_blocks) * len(ranges)
    size = items * panels_size * c.item_bytes
    panels = work.borrow("panels", size) if size else b.of.array
    sizes, sources = tuple(rows for rows, _ in heights), (a.source, b.source)
    what = "in place" if all(placed) else "panels"
    prefetch = placed[1] and a.of.channels <= PREFETCH_ROWS
    begin = sum(w.taps[0] for w in c.windows)
    update, beside = arrays.update, dict[str, Argument]()
    if update is not None:
        beside = {name: shifted(Operand(name), begin, c.dtype) for name in update.arrays}
        beside |= {name: Operand(name) for name in update.numbers}
        what = f"{what}, optimizer"
    kernel = PanelsKernel(c.dtype, sizes, VECTORS, rest, sources, pitch, placed, prefetch, update)
    step = kernel.step(
        items,
        f"weight_grad {VECTORS}x{sizes[0]}, {what}",
        barrier=barrier,
        a=a.of.array,
        b=b.of.array,
        sums=shifted(arrays.w, begin, c.dtype),
        panels=panels,
        bands=bands,
        segments=segments,
        row_blocks=table(row_blocks, ROWS),
        ranges=table(ranges, RANGE),
        **beside,
        **{"band_count": len(bands), "row_block_count": len(row_blocks)},
        **{"range_count": len(ranges), "blocks": blocks},
        **{"a_group": a.of.group, "a_step": a.step, "b_group": b.of.group, "b_step": b.step},
        **{"sums_group": c.w[0], "row": c.w[1] if swapped(c) else c.w[2]},
        **{"panels_size": panels_size, "a_size": a_size},
    )
    work.steps.append(step)


def _sides(c: Correlation, arrays: Arrays) -> tuple[_Side, _Side]:
    """What is broadcast, and what lies in vectors."""
    x, g = stepped_input_of(c, arrays), output_of(c, arrays)
    before = sum(w.axis.lo * w.x for w in c.windows)
    x = replace(x, array=shifted(x.array, -before, c.dtype))
    shape = [c.batch, *(w.axis.output for w in c.windows[:-1])]
    sides = [_Side(of, offsets(shape, [of.batch, *of.along[:-1]])) for of in (x, g)]
    return (sides[1], sides[0]) if swapped(c) else (sides[0], sides[1])


def _even(c: Correlation, side: _Side) -> bool:
    """Whether an array can be read where it lies: channels contiguous, positions evenly apart."""
    even = np.arange(len(side.rows)) * (c.windows[-1].axis.output * side.of.position)
    return not side.source.channels_first and bool(np.array_equal(side.rows.ravel(), even))


def _row_blocks(
    heights: Sequence[tuple[int, int]], columns: int
) -> list[tuple[int, int, int, int]]:
    """Tiles of rows in blocks: first row, rows, and how many tiles of each height.

    Two at least where rows are more than columns: threads then share the rows.
    """
    tiles = [size for size, count in heights for _ in range(count)]
    shared = 2 if sum(tiles) * SHARED_ROWS > columns else 1
    count = max(-(-sum(tiles) // BLOCK_ROWS), shared)
    found, row = [], 0
    for first, stop in _cut(len(tiles), min(count, len(tiles))):
        taken = tiles[first:stop]
        high = taken.count(heights[0][0])
        found.append((row, sum(taken), high, len(taken) - high))
        row += sum(taken)
    return found


def _cut(count: int, parts: int) -> list[tuple[int, int]]:
    """Where ``parts`` parts of ``count`` begin and end: alike from both ends, for two threads."""
    return list(pairwise(round(i * count / parts) for i in range(parts + 1)))


def _bands(c: Correlation, a: _Side, b: _Side, size: int, even: bool) -> tuple[Table, Table]:
    """Bands of ``size`` positions, and their segments along the last axis; ``even``: one of each
    band, as all positions are evenly apart in both arrays.
    """
    length, every = c.windows[-1].axis.output, c.batch * c.outputs
    band = np.arange(0, every, size, dtype=np.int64)
    begins = band if even else np.union1d(band, np.arange(0, every, length, dtype=np.int64))
    row, along = np.divmod(begins, length)
    at = [side.rows[row] + along * side.of.position for side in (a, b)]
    segments = np.stack([*at, begins % size, np.diff(begins, append=every)], axis=1)
    first = np.searchsorted(begins, band)
    counts = np.diff(first, append=len(begins))
    bands = np.stack([first, counts, np.minimum(size, every - band)], axis=1)
    return table(bands, BAND), table(segments, SEGMENT)
