"""The gradient for the weight of a pointwise layer: a matrix product over positions, of panels.

What it is.  ``grad_w[co, ci] = sum over n, o of grad[n, co, o] * x[n, ci, o * stride]``. A band of
  positions at a time, both arrays are laid into panels of their own, from whatever order, and tiles
  of sums go over them. In an array with channels last the positions of a tile are often a power of
  two apart and meet in a few lines of every cache; in a panel they lie side by side. The sums are
  stored where they belong, vectors along the channels that are neighbours in the weight. (Goto and
  van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.)
When it applies.  One tap and no padding; channels that are neighbours in the weight, and fill a
  tile. Part of ``weight_grad``, which computes all others.
What it costs.  The multiply-adds, and copies. Each thread has panels of its own, so that no line
  goes from core to core: what is broadcast is copied by all threads that use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Table, Work, shifted, table
from faltung.methods.plain.panels_copy import Source
from faltung.methods.plain.panels_kernel import BAND, CHUNK, RUN, STRIP, PanelGrad

# Vectors of a tile.
VECTORS = 2
# Of the first cache, what the panels of a tile may fill; and the fewest positions of a band.
SHARE, MIN_BAND = 0.75, 128
# Rows whose panel stays in the second cache.
STRIP_ROWS = 256
# Items for each core, about: each has room for panels.
ITEMS = 8
SHARED = 2
# Positions between the rows of a panel beyond those of a band.
PAD = 16
# Cycles to lay an element into a panel, and of a tile beside its sums.
COPY, TILE = 1.0, 40


@dataclass(frozen=True, slots=True)
class Side:
    """One array: ``channels`` of a group, elements between groups, and the ``step`` of its copies.

    ``rows``: where each row of the last axis begins; ``pitch``: elements between its positions.
    """

    array: Operand
    channels: int
    group: int
    step: int
    source: Source
    rows: Table
    pitch: int


def applies(c: Correlation, machine: Machine) -> bool:
    """Whether all sums are of whole positions, fill tiles, and can be stored at once."""
    plain = all(w.axis.kernel == 1 and max(w.axis.lo, w.axis.hi) <= 0 for w in c.windows)
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
    whole, rest = divmod(columns, VECTORS * lanes)
    cycles = COPY * positions * (rows + columns * -(-rows // STRIP_ROWS))
    for blocks, vectors in ((whole, VECTORS), (1, -(-rest // lanes))):
        for tall, count in split(rows, budget(machine) // VECTORS) if blocks and vectors else ():
            step = max(tall * vectors / 2, 4)
            cycles += blocks * count * (positions * step + bands * TILE)
    return c.groups * cycles


def _most(c: Correlation, machine: Machine) -> int:
    """Positions of a band: a tile's panels leave room in the first cache."""
    tile = VECTORS * machine.lanes(c.dtype) + budget(machine) // VECTORS
    return max(MIN_BAND, int(machine.l1 * SHARE) // (tile * ELEMENTS[c.dtype][1]))


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the step that writes the gradient of ``c`` for its weight."""
    a, b = _sides(c, arrays)
    most, every = _most(c, machine), c.batch * c.outputs
    block = VECTORS * machine.lanes(c.dtype)
    blocks, rest = -(-b.channels // block), b.channels % block
    heights = split(a.channels, budget(machine) // VECTORS)
    strips = _strips(heights, b.channels)
    bands, runs = _bands(c, a, b, -(-every // -(-every // most)))
    # The pitch is in the code, and the same for all sizes.
    pitch = most + PAD
    a_room = max(rows for _, rows, *_ in strips) * pitch
    room = a_room + block * most
    parts = ITEMS * machine.cores // (c.groups * len(strips))
    chunks = _cut(blocks, max(1, min(blocks, parts)))
    items = c.groups * len(strips) * len(chunks)
    panels = Operand(work.borrow("panels", items * room * ELEMENTS[c.dtype][1]))
    words: list[Argument] = [
        *(a.array, b.array, shifted(arrays.w, sum(w.taps[0] for w in c.windows), c.dtype), panels),
        *(bands, runs, table(strips, STRIP), table(chunks, CHUNK)),
        *(len(bands), len(strips), len(chunks), blocks),
        *(a.group, a.step, b.group, b.step, c.w[0], c.w[1] if swapped(c) else c.w[2]),
        *(room, a_room),
    ]
    sizes, sources = tuple(rows for rows, _ in heights), (a.source, b.source)
    recipe = PanelGrad(c.dtype, sizes, VECTORS, rest, sources, pitch)
    title = f"weight_grad {VECTORS}x{sizes[0]}, panels"
    work.steps.append(Step(recipe, items, words, title, barrier))


def _sides(c: Correlation, arrays: Arrays) -> tuple[Side, Side]:
    """What is broadcast, and what lies in vectors."""
    base = c.x_base - sum(w.axis.lo * w.x for w in c.windows)
    x = _side(c, shifted(arrays.x, base, c.dtype), c.channels_in, c.x, True)
    g = _side(c, shifted(arrays.out, c.out_base, c.dtype), c.channels_out, c.out, False)
    return (g, x) if swapped(c) else (x, g)


def _side(
    c: Correlation, array: Operand, channels: int, strides: tuple[int, ...], inputs: bool
) -> Side:
    batch, group, channel = strides
    steps = [w.axis.stride * w.x if inputs else w.out for w in c.windows]
    rows = offsets([c.batch, *(w.axis.output for w in c.windows[:-1])], [batch, *steps[:-1]])
    turned = channel != 1
    source = Source(turned, steps[-1] if turned else 1)
    return Side(array, channels, group, channel if turned else steps[-1], source, rows, steps[-1])


def _strips(heights: Sequence[tuple[int, int]], columns: int) -> list[tuple[int, int, int, int]]:
    """Tiles of rows in strips: first row, rows, and how many tiles of each height.

    Two at least where rows are more than columns: threads then share the rows.
    """
    tiles = [size for size, count in heights for _ in range(count)]
    parts = max(-(-sum(tiles) // STRIP_ROWS), 2 if sum(tiles) * SHARED > columns else 1)
    found, row = [], 0
    for first, stop in _cut(len(tiles), min(parts, len(tiles))):
        taken = tiles[first:stop]
        tall = taken.count(heights[0][0])
        found.append((row, sum(taken), tall, len(taken) - tall))
        row += sum(taken)
    return found


def _cut(count: int, parts: int) -> list[tuple[int, int]]:
    """Where ``parts`` parts of ``count`` begin and end: alike from both ends, for two threads."""
    return list(pairwise(round(i * count / parts) for i in range(parts + 1)))


def _bands(c: Correlation, a: Side, b: Side, size: int) -> tuple[Table, Table]:
    """Bands of ``size`` positions, and their runs along the last axis."""
    length, every = c.windows[-1].axis.output, c.batch * c.outputs
    bands: list[tuple[int, int, int]] = []
    runs: list[Table] = []
    done = 0
    for start in range(0, every, size):
        stop = min(start + size, every)
        rows = np.arange(start // length, (stop - 1) // length + 1)
        first = np.maximum(rows * length, start)
        count = np.minimum((rows + 1) * length, stop) - first
        at = [side.rows[rows] + (first - rows * length) * side.pitch for side in (a, b)]
        runs.append(np.stack([*at, first - start, count], axis=1))
        bands.append((done, len(rows), stop - start))
        done += len(rows)
    return table(bands, BAND), table(np.concatenate(runs), RUN)
