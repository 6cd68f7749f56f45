"""Direct convolution: the sum as it is written, held in registers, vectors along the output
channels.

What it is.  A tile of ``columns`` output positions by ``vectors`` vectors of output channels stays
  in registers while taps and input channels go by: each step loads ``vectors`` weight vectors,
  broadcasts one input value for each position, and does ``columns * vectors`` multiply-adds. No
  im2col and, for padding with zeros, no padded copy: taps that fall outside are left out of the
  code of the edge tiles along the last axis and out of the tap lists of the other axes. (Georganas
  et al., "Anatomy of high-performance deep learning convolutions on SIMD architectures", 2018, for
  the shape of the loops.)
When it applies.  Always; it is the method that the others are compared with.
What it costs.  ``macs / (lanes * 2 per cycle)`` when the output channels fill the vectors.
"""

from dataclasses import dataclass
from math import prod

from faltung.codegen.tile import rows_for, split, unrolled
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Arrays, Work
from faltung.methods.base.tiles import Run, kinds_of, taps_of, tiles_of
from faltung.methods.plain.direct_kernel import Direct
from faltung.methods.plain.tiled import TILE_OVERHEAD, Part, part

# Cycles that a tile loses at the ends of the loop over input channels.
TAP_OVERHEAD = 6
# Sums side by side that hide the latency of a multiply-add: four or five cycles, two in each.
SUMS = 8
# Products in the code of the innermost loops, where these take several channels a turn.
WRITTEN = 200


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Everything that direct decides for one problem, before any code is written."""

    vectors: int
    most: int
    unrolled: bool
    order: tuple[str, ...]


def choose(c: Correlation, machine: Machine) -> Choice:
    """Tile and loop order. Weights stay while samples pass when they are larger than a sample."""
    lanes = machine.lanes(c.dtype)
    last = c.windows[-1]
    vectors = _vectors(-(-c.channels_out // lanes), last.axis.output)
    most = rows_for(machine, vectors)
    limit = unrolled(machine)
    tiles = split(last.axis.output, most)
    kinds = (
        {kind for kind, _, _ in tiles_of(last.axis, tiles, True)}
        if last.axis.kernel * most < limit
        else set()
    )
    products = sum(kind.positions for kind in kinds) * last.axis.kernel * vectors
    in_code = bool(kinds) and products <= limit
    return Choice(vectors, most, in_code, _order(c, machine))


def _vectors(every: int, positions: int) -> int:
    """Vectors of a block: two, or three where there are no more, or with few positions in a row as
    many as hide the latency of the sums, in blocks of nearly one size.
    """
    if every == 3:
        return 3
    most = max(2, SUMS // positions)
    return -(-every // -(-every // most))


def _order(c: Correlation, machine: Machine) -> tuple[str, ...]:
    """The loops, outermost first: what is used again soonest stays in the second-level cache."""
    item = ELEMENTS[c.dtype][1]
    weights = c.channels_out * c.channels_in * c.taps * item
    sample = c.channels_in * prod(w.axis.size for w in c.windows) * item
    if weights <= machine.l2 // 2:
        # All weights stay: every piece of the input is read once, and of the output written once.
        return ("batch", "group", "row", "segment", "block")
    if weights > sample:
        return ("group", "block", "batch", "row", "segment")
    return ("batch", "group", "block", "row", "segment")


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the input must be padded by a copy first: borders along the last axis that are not
    zeros, or too many taps for the code.
    """
    last = c.windows[-1]
    pads = last.axis.lo > 0 or last.axis.hi > 0
    return last.borders or (pads and not choose(c, machine).unrolled)


def needs_channels_first(c: Correlation) -> bool:
    """Never: broadcasts read any order."""
    return False


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core: multiply-adds, loads or latency, whichever is longest, and the ends of
    tiles.
    """
    chosen = choose(c, machine)
    lanes = machine.lanes(c.dtype)
    output = c.windows[-1].axis.output
    rows = c.batch * c.groups * c.outputs / output
    taps = c.last_taps if chosen.unrolled else c.windows[-1].axis.kernel
    sums = rows * c.channels_in * c.row_taps * taps
    whole, rest = divmod(c.channels_out, chosen.vectors * lanes)
    cycles = 0.0
    overhead = 0 if c.channels_in == 1 else TAP_OVERHEAD / c.channels_in
    for blocks, vectors in ((whole, chosen.vectors), (1, -(-rest // lanes))):
        for positions, count in (
            split(output, rows_for(machine, vectors)) if blocks and vectors else ()
        ):
            step = max(positions * vectors / 2, (positions + vectors) / 2, 4)
            cycles += blocks * count * (sums * (step + overhead) + rows * TILE_OVERHEAD)
    return cycles


def _turns(c: Correlation, runs: list[Run], taps: int, vectors: int) -> int:
    """Input channels in one turn of the innermost loop: as many as divide theirs and keep the code
    short.
    """
    products = sum(kind.positions for kind in kinds_of(runs)) * vectors * taps
    fits = (t for t in (4, 2) if c.channels_in % t == 0 and products * t <= WRITTEN)
    return next(fits, 1)


def _packed(c: Correlation, shape: Part) -> int:
    """Bytes of the weights of one block."""
    return c.channels_in * c.taps * shape.width * ELEMENTS[c.dtype][1]


def _memory(c: Correlation) -> int:
    """Bytes of input and output."""
    inputs = c.channels_in * prod(w.axis.size for w in c.windows)
    return (inputs + c.channels_out * c.outputs) * c.batch * c.groups * ELEMENTS[c.dtype][1]


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    chosen = choose(c, machine)
    size = chosen.vectors * machine.lanes(c.dtype)
    whole, rest = divmod(c.channels_out, size)
    if whole:
        _part(
            c, machine, work, arrays, barrier, chosen, Part(0, whole, size, size, chosen.unrolled)
        )
    if rest:
        width = -(-rest // machine.lanes(c.dtype)) * machine.lanes(c.dtype)
        _part(
            c,
            machine,
            work,
            arrays,
            barrier,
            chosen,
            Part(whole * size, 1, rest, width, chosen.unrolled),
        )


def _part(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    barrier: bool,
    chosen: Choice,
    shape: Part,
) -> None:
    vectors = shape.width // machine.lanes(c.dtype)
    last = c.windows[-1]
    runs = tiles_of(last.axis, split(last.axis.output, rows_for(machine, vectors)), chosen.unrolled)
    taps = taps_of(last) if chosen.unrolled else (0,)
    store = "channels" if c.out[2] == 1 else "positions" if last.out == 1 else "scattered"
    recipe = Direct(
        dtype=c.dtype,
        vectors=vectors,
        channels=shape.channels,
        pitch=last.axis.stride * last.x,
        taps=taps,
        kinds=kinds_of(runs),
        dense=c.x[2] == 1 or c.channels_in == 1,
        single=c.channels_in == 1,
        store=store,
        order=chosen.order,
        # Pointwise layers touch every line once, so that nothing else hides the way to memory.
        ahead=_memory(c) > machine.l2 // 2
        and c.taps == 1
        and last.axis.stride == 1
        and c.x[2] == 1
        and c.out[2] == 1,
        stream=c.channels_in > 1 and _packed(c, shape) > machine.l1 // 2,
        turns=_turns(c, runs, len(taps), vectors),
        epilogue=c.epilogue,
        aux_contiguous=c.aux_contiguous("position" if store == "positions" else "channel"),
    )
    part(
        c,
        work,
        arrays,
        recipe,
        runs,
        shape,
        f"direct {vectors}x{recipe.kinds[0].positions}",
        barrier,
    )
