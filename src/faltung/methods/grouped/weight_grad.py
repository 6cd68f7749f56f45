"""The gradient for the weight of a depthwise convolution: vectors along the channels.

What it is.  ``grad_w[c, k] = sum over n, o of grad[n, c, o] * x[n, c, o*stride - lo +
  k*dilation]``. Neighbouring groups are the lanes. The sums of a block of taps stay in registers
  while rows of a band go by: as many rows of taps as fit, or a part of a long one. Each column of
  the input is loaded once for all taps and positions of a tile that read it, each gradient once
  for all taps. A line of channels (of the cache) at a time is copied to where its positions are
  neighbours (``depthwise_grad_rounds``): as they lie, 256 channels apart, they would share few
  lines of the first-level cache, and be read from the second for every tap. Bands are added in
  order (``band_sums``). Taps in zeros are left out, as in ``depthwise``.
When it applies.  One channel in and one out for each group, side by side in memory in both arrays.
What it costs.  ``r ((p - 1) s + d (k - 1) + 1) + p`` loads for ``r p k`` multiply-adds, and a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, inf, prod

from faltung.codegen.tile import budget, split, unrolled
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.band_sums import band_sums
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Table, Work, shifted
from faltung.methods.grouped import weight_grad_planes as planes
from faltung.methods.grouped.choice import groups_per_vector
from faltung.methods.grouped.kernel import lanes_of
from faltung.methods.grouped.weight_grad_blocks import chunks, functions, shape_of, tiles
from faltung.methods.grouped.weight_grad_kernel import DepthwiseGrad
from faltung.methods.grouped.weight_grad_rounds import Memory, Tables, tables_of

# The longest and the shortest sum in one accumulator, in positions.
BAND, MIN_BAND = 4096, 128
# Positions for each tap in a band, so that the sums are little memory beside the input.
POSITIONS_A_TAP = 16
# Bytes of a line of channels: so many that memory is read in stretches.
LINE = 256
# Bytes of a line of the cache, and from which on addresses fall into the same lines again.
CACHE_LINE, WAY = 64, 4096
# Rows of the output in a round where nothing is copied.
DIRECT = 4
# Units of work, at the least, where there are positions enough; items that they are divided into,
# each with memory of its own, at the most.
UNITS, ITEMS = 8, 32
# Cycles between two multiply-adds of one accumulator; to copy a vector; of a row of a block.
LATENCY, COPY, ROW = 4, 4.0, 12


# When it applies, what it costs -------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.groups < 2 or not c.channels_in == 1 == c.channels_out:
        return "groups have more than one channel"
    if fits(c, machine) or planes.fits(c, machine):
        return None
    return "neither channels are neighbours nor positions"


def describe(c: Correlation, machine: Machine) -> str:
    """What the lanes of a vector are, for people."""
    return f"lanes are {'channels' if fits(c, machine) else 'positions'}"


def fits(c: Correlation, machine: Machine) -> bool:
    """Whether ``plan`` can do it: channels side by side in both arrays, whatever their number in a
    group.
    """
    groups = groups_per_vector(c, machine)
    beside = c.channels_out == 1 or c.out[2] == 1
    beside = beside and (groups == 1 or c.out[1] == c.channels_out)
    return groups > 0 and beside and c.channels_in <= budget(machine)


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core; infinite if it does not apply."""
    if why_not(c, machine) is not None:
        return inf
    return cycles(c, machine) if fits(c, machine) else planes.cycles(c, machine)


def cycles(c: Correlation, machine: Machine) -> float:
    """The price of ``plan``: loads, shuffles or products, whichever are most; and the copies."""
    axis, groups = c.windows[-1].axis, groups_per_vector(c, machine)
    shuffled = groups > 1 and c.channels_in * c.channels_out > 1
    blocks = c.batch * -(-c.groups // groups)
    rows = c.outputs / axis.output * c.row_taps
    made, tall = 0.0, shape_of(c, machine).rows
    for _, taps in shape_of(c, machine).taps:
        for positions, count in split(axis.output, shape_of(c, machine).positions):
            columns = min(positions * taps, (positions - 1) * axis.stride + taps)
            products = positions * taps * c.channels_in
            reads = columns * (1 if shuffled else c.channels_in) + positions / tall
            work = (products + columns * c.channels_in) / 3 if shuffled else 0.0
            made += rows * count * max(products / 2, reads / 2, work, LATENCY / tall)
        made += rows / tall * ROW
    lanes = machine.lanes(c.dtype)
    inputs = prod(w.axis.size for w in c.windows) * -(-groups * c.channels_in // lanes)
    return blocks * (made + COPY * (inputs + c.outputs))


def needs_channels_last(c: Correlation, machine: Machine) -> bool:
    """Never: the gradient has neighbouring channels where the method applies."""
    return False


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the last axis must be padded by a copy first: borders that are not zeros, or too many
    tiles with taps in them.
    """
    last = c.windows[-1]
    pads = last.axis.lo > 0 or last.axis.hi > 0
    if not pads or last.borders:
        return last.borders
    if not fits(c, machine):
        return planes.products(c, machine) > unrolled(machine)
    cuts = tiles(c, shape_of(c, machine))
    products = [sum(kind.positions * len(kind.outside) for kind, _, _ in runs) for runs in cuts]
    return max(products) * c.channels_in > unrolled(machine)


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that write the gradient of ``c`` for its weight; ``arrays.out`` is the output
    gradient.
    """
    if not fits(c, machine):
        return planes.plan(c, machine, work, arrays, barrier, _plane_band(c, machine))
    sums: list[Step] = []
    for line in _lines(c, machine):
        step, adding = _part(c, machine, work, arrays, line)
        work.steps.append(replace(step, barrier=barrier and not sums))
        sums.append(replace(adding, barrier=not sums))
    work.steps += sums


@dataclass(frozen=True, slots=True)
class Line:
    """Channels: ``lines`` lines of ``vectors`` vectors of ``together`` groups, from group
    ``start``.
    """

    start: int
    lines: int
    vectors: int
    together: int


def _lines(c: Correlation, machine: Machine) -> list[Line]:
    """All groups in lines of ``LINE`` bytes or less; what is left over stands alone."""
    groups = groups_per_vector(c, machine)
    whole, rest = divmod(c.groups, groups)
    beside = c.x[1] == c.channels_in and c.out[1] == c.channels_out
    most = max(1, LINE // machine.vector_bytes) if beside else 1
    # All lines alike, where that is possible.
    vectors = next((n for n in range(most, most // 2, -1) if whole % n == 0), most)
    lines, some = divmod(whole, vectors)
    found = [Line(0, lines, vectors, groups)] if lines else []
    found += [Line(lines * vectors * groups, 1, some, groups)] if some else []
    return found + ([Line(whole * groups, 1, 1, rest)] if rest else [])


@dataclass(frozen=True, slots=True)
class Bands:
    """``rows`` of the output in one stretch of a sample, ``samples`` where it is a whole one;
    ``tiles`` in one chunk of a row.
    """

    rows: int
    samples: int
    tiles: int


def _band(c: Correlation, machine: Machine) -> int:
    """Positions of a band."""
    lines = max(1, -(-c.groups * c.channels_out * ELEMENTS[c.dtype][1] // LINE))
    shared = -(-c.batch * c.outputs // -(-UNITS // lines))
    return min(BAND, max(MIN_BAND, POSITIONS_A_TAP * c.taps, shared))


def _plane_band(c: Correlation, machine: Machine) -> int:
    """Positions of a band with channels first, where every lane has a sum of its own."""
    shared = -(-c.batch * c.outputs // -(-UNITS // c.groups))
    return min(BAND * machine.lanes(c.dtype), max(_band(c, machine), shared))


def _bands(c: Correlation, machine: Machine, positions: int) -> Bands:
    """``positions``: of a tile."""
    band, along = _band(c, machine), c.windows[-1].axis.output
    rows = max(1, min(band // along, c.outputs // along))
    samples = max(1, band // c.outputs) if rows == c.outputs // along else 1
    return Bands(rows, samples, max(1, band // positions))


@dataclass(frozen=True, slots=True)
class Layout:
    """Which arrays are copied, and the elements between positions of what is read."""

    x_copied: bool
    g_copied: bool
    x_pitch: int
    g_pitch: int


def _layout(c: Correlation, machine: Machine, line: Line) -> Layout:
    last, lanes = c.windows[-1], machine.lanes(c.dtype)
    # Gradients that are read once need no copy.
    again = shape_of(c, machine).blocks(c.taps // last.axis.kernel) > 1
    collides = _collides(c, machine)
    inputs = -(-line.together * c.channels_in // lanes) * lanes
    return Layout(collides, again, inputs if collides else last.x, lanes if again else last.out)


def _collides(c: Correlation, machine: Machine) -> bool:
    """Whether what one row of the output reads is too much for the lines of the cache that its
    positions fall into.
    """
    last = c.windows[-1]
    step = last.x * ELEMENTS[c.dtype][1]
    lines = machine.l1 // CACHE_LINE * min(1.0, CACHE_LINE / gcd(step, WAY))
    return c.taps // last.axis.kernel * last.axis.size > 1.5 * lines


def _memory(
    c: Correlation, machine: Machine, layout: Layout, cut: Table, bands: Bands, vectors: int
) -> Memory:
    """Rows of a round: those of one vector stay in the first-level cache, of all of them in the
    second.
    """
    bytes_, outer = ELEMENTS[c.dtype][1], c.taps // c.windows[-1].axis.kernel
    x_row, g_row = (int(cut[:, i].max()) * p for i, p in ((1, layout.x_pitch), (3, layout.g_pitch)))
    fit = machine.l1 // 2 // (max(x_row, g_row, 1) * bytes_)
    most = max(1, (fit - outer) // 2) if layout.x_copied else DIRECT
    room = machine.l2 // 4 // (max(x_row, 1) * bytes_ * vectors)
    places = min(outer * bands.rows, max(outer, room)) if layout.x_copied else outer * most
    return Memory(
        x_row if layout.x_copied else None,
        g_row if layout.g_copied else None,
        places,
        min(bands.rows, most),
    )


def _part(
    c: Correlation, machine: Machine, work: Work, arrays: Arrays, line: Line
) -> tuple[Step, Step]:
    """The step for the channels of ``line``, and the one that adds its bands."""
    last, shape, layout = c.windows[-1], shape_of(c, machine), _layout(c, machine, line)
    bands = _bands(c, machine, shape.positions)
    found = tiles(c, shape)
    pitches, copied = (layout.x_pitch, layout.g_pitch), (layout.x_copied, layout.g_copied)
    cut, runs = chunks(c, shape, found, bands.tiles, copied, pitches)
    blocks, parts = functions(c, shape, found, last.axis.dilation * layout.x_pitch)
    recipe = DepthwiseGrad(
        dtype=c.dtype,
        lanes=lanes_of(line.together, c.channels_in, c.channels_out),
        vectors=line.vectors,
        blocks=blocks,
        taps=last.axis.kernel * c.channels_in,
        runs=sum(map(len, found)),
        stride=last.axis.stride,
        x_from=last.x,
        g_from=last.out,
        x_pitch=layout.x_pitch,
        g_pitch=layout.g_pitch,
        x_copied=layout.x_copied,
        g_copied=layout.g_copied,
    )
    memory = _memory(c, machine, layout, cut, bands, line.vectors)
    tables = tables_of(c, parts, memory, bands.rows)
    count = -(-c.batch // bands.samples) * len(tables.parts) * len(cut)
    width = line.lines * line.vectors * machine.lanes(c.dtype)
    total = c.taps * c.channels_in * width
    sums = Operand(work.borrow("sums", count * total * ELEMENTS[c.dtype][1]))
    numbers = (len(cut), line.lines, len(tables.parts), bands.samples, c.batch)
    given = [*_tables(tables), cut, runs]
    words = _words(c, work, arrays, line, memory, (sums, total, width), given, count, numbers)
    name = "depthwise_grad" if c.channels_in == 1 == c.channels_out else "grouped_grad"
    title = f"{name} {shape.rows}x{shape.taps[0][1]}, {shape.positions} positions"
    step = Step(recipe, min(ITEMS, count * line.lines), words, title)
    adding = band_sums(
        c.dtype,
        sums,
        shifted(arrays.w, line.start * c.w[0], c.dtype),
        count,
        [*(w.taps for w in c.windows), [ci * c.w[2] for ci in range(c.channels_in)]],
        (line.lines * line.vectors, line.together * c.channels_out, width),
        c.w[0] if c.channels_out == 1 else c.w[1],
    )
    return step, adding


def _words(
    c: Correlation,
    work: Work,
    arrays: Arrays,
    line: Line,
    memory: Memory,
    sums: tuple[Operand, int, int],
    tables: Sequence[Table],
    bands: int,
    numbers: Sequence[int],
) -> list[Argument]:
    """In the order of ``depthwise_grad_kernel``; ``bands`` in all."""
    units = bands * line.lines
    items = min(ITEMS, units)
    x = (memory.x or 0) * memory.places or line.together * c.x[1]
    g = (memory.g or 0) * memory.most or line.together * c.out[1]
    copies = [
        Operand(work.borrow(f"{name} rows", 0 if row is None else items * line.vectors * size * b))
        for b in (ELEMENTS[c.dtype][1],)
        for name, row, size in (("x", memory.x, x), ("g", memory.g, g))
    ]
    return [
        shifted(arrays.x, c.x_base + line.start * c.x[1], c.dtype),
        shifted(arrays.out, c.out_base + line.start * c.out[1], c.dtype),
        sums[0],
        *copies,
        *tables,
        *(items, units, *numbers),
        *(c.x[0], line.vectors * line.together * c.x[1], x),
        *(c.out[0], line.vectors * line.together * c.out[1], g),
        *(line.vectors * x, line.vectors * g),
        *(sums[1], sums[2] // line.lines, sums[1], sums[2]),
    ]


def _tables(tables: Tables) -> list[Table]:
    return [
        *(tables.parts, tables.rounds, tables.x_copies, tables.g_copies),
        *(tables.spans, tables.entries),
    ]
