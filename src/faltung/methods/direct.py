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

from faltung.codegen.ir import Module
from faltung.codegen.tile import (
    Accumulators,
    flat,
    outer_product,
    rows_for,
    shaped,
    split,
    unrolled,
    zeros,
)
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.correlation import Correlation
from faltung.methods.epilogue import Epilogue, Finish, finish
from faltung.methods.step import Arrays, Work
from faltung.methods.tiled import TILE_OVERHEAD, Kind, Part, kinds_of, part, taps_of, tiles_of
from faltung.methods.walk import driver, tile

# Cycles that a tile loses at the ends of the loop over input channels.
TAP_OVERHEAD = 6
# Sums side by side that hide the latency of a multiply-add: four or five cycles, two in each.
SUMS = 8
# Turns of the innermost loop between asking for weights and using them. Their stream is longer than
# the first-level cache; 12 turns are about 170 cycles, more than the second level takes.
FETCH = 12


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Direct:
    """``pitch``: input elements between neighbouring positions; ``taps``: input offsets of the
    unrolled taps.

    ``dense``: neighbouring input channels are neighbours in memory. ``single``: there is only one
    input channel, no loop over them. ``store``: "channels"
    (neighbours in memory), "positions" (likewise: tiles are transposed), or "scattered". ``ahead``:
    ask for the input and output of the next tile. ``channels``: how many of the ``vectors * lanes``
    output channels of a block exist. ``loads``: for each array of the epilogue whether neighbours
    in a stored vector are neighbours there.
    """

    dtype: str
    vectors: int
    channels: int
    pitch: int
    taps: tuple[int, ...]
    kinds: tuple[Kind, ...]
    dense: bool
    single: bool
    store: str
    order: tuple[str, ...]
    ahead: bool
    epilogue: Epilogue | None = None
    loads: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"direct_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, kind in enumerate(self.kinds):
            _tile(module, machine, self, kind, f"tile{number}")
        aux = len(self.loads)
        driver(module, self.symbol, self.dtype, self.order, self.kinds, self.pitch, aux)
        return str(module)


def _tile(module: Module, machine: Machine, recipe: Direct, kind: Kind, name: str) -> None:
    f = module.function(name, tile(len(recipe.loads)))
    v = Vectors(f, machine, recipe.dtype)
    acc = zeros(v, kind.positions, recipe.vectors)
    block = recipe.vectors * v.lanes
    tap_size = f.mul("%channels", block)
    if recipe.ahead:
        _fetch_output(v, recipe, kind)
    with f.loop(0, "%entries", flat(v, acc)) as tap:
        entry = f.at("%pattern", f.mul(tap.index, 2), "i64")
        x, w = v.at("%x", f.word(entry, 0)), v.at("%w", f.word(entry, 1))
        acc = shaped(tap.values, recipe.vectors)
        for k, offset in enumerate(recipe.taps):
            present = [p for p in range(kind.positions) if p not in kind.outside[k]]
            if present:
                here = v.at(x, offset), v.at(w, f.mul(tap_size, k))
                acc = _channels(v, recipe, acc, *here, present)
        tap.carry([value for row in acc for value in row])
    _store(v, recipe, shaped(tap.results, recipe.vectors))


def _fetch_output(v: Vectors, recipe: Direct, kind: Kind) -> None:
    """Ask for the lines of the output before the sums begin: they arrive while those run."""
    out = "%out"
    for _ in range(kind.positions):
        for q in range(recipe.vectors):
            v.function.prefetch(v.at(out, q * v.lanes), write=True)
        out = v.at(out, "%out_position")


def _channels(
    v: Vectors,
    recipe: Direct,
    acc: Accumulators,
    x: str,
    w: str,
    present: list[int],
) -> Accumulators:
    """All input channels of one tap."""
    f, block = v.function, recipe.vectors * v.lanes
    part = [acc[p] for p in present]
    fetch = v.at(x, len(acc) * recipe.pitch)
    carried = [("ptr", x), ("ptr", w), *flat(v, part)]
    turns = f.once(carried) if recipe.single else f.loop(0, "%channels", carried, runs=True)
    with turns as ci:
        x, w = ci.values[:2]
        part = outer_product(
            v,
            shaped(ci.values[2:], recipe.vectors),
            lambda i: v.broadcast(v.at(x, present[i] * recipe.pitch)),
            lambda q: v.load(v.at(w, q * v.lanes)),
        )
        if recipe.ahead:
            # The next tile's input lies behind this one's: one line a turn brings all of it.
            f.prefetch(v.at(fetch, f.mul(ci.index, len(acc))))
        for q in range(0 if recipe.single else recipe.vectors):
            f.prefetch(v.at(w, FETCH * block + q * v.lanes))
        forward = 1 if recipe.dense else "%x_channel"
        ci.carry([v.at(x, forward), v.at(w, block), *(value for row in part for value in row)])
    made = list(acc)
    for p, row in zip(present, shaped(ci.results[2:], recipe.vectors), strict=True):
        made[p] = row
    return made


def _store(v: Vectors, recipe: Direct, acc: Accumulators) -> None:
    """Add the bias, finish, and write the tile the way the output lies in memory."""
    bias = [v.load(v.at("%bias", q * v.lanes)) for q in range(recipe.vectors)]
    acc = [[v.add(value, bias[q]) for q, value in enumerate(row)] for row in acc]
    end = finish(v, recipe.epilogue, recipe.loads)
    for q in range(recipe.vectors):
        channels = min(v.lanes, recipe.channels - q * v.lanes)
        column = [row[q] for row in acc]
        here = end.moved("channel", q * v.lanes)
        if recipe.store == "positions":
            _store_positions(v, column, q * v.lanes, channels, here)
            continue
        out, mask = v.at("%out", v.function.mul("%out_channel", q * v.lanes)), v.first(channels)
        for value in column:
            done = here.value(value, "channel", mask)
            if recipe.store == "channels":
                v.store(done, out, mask)
            else:
                v.scatter(done, out, "%out_channel", mask)
            out, here = v.at(out, "%out_position"), here.moved("position", 1)


def _store_positions(
    v: Vectors, column: list[str], channel: int, channels: int, end: Finish
) -> None:
    """Neighbouring positions are neighbours in memory: turn the tile, then store a channel at a
    time.
    """
    for start in range(0, len(column), v.lanes):
        rows = column[start : start + v.lanes]
        # Zeros, not poison: LLVM 22 aborts on some shuffles of equal rows with poison ones.
        turned = v.transpose(rows + [v.zero] * (v.lanes - len(rows)))
        out = v.at(v.at("%out", start), v.function.mul("%out_channel", channel))
        here, mask = end.moved("position", start), v.first(len(rows))
        for lane in range(channels):
            v.store(here.value(turned[lane], "position", mask), out, mask)
            out, here = v.at(out, "%out_channel"), here.moved("channel", 1)


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
    """Vectors of a block: two, or with few positions in a row as many as hide the latency of the
    sums, in blocks of nearly one size.
    """
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
    sums = rows * c.channels_in * c.row_taps * c.windows[-1].axis.kernel
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


def _memory(c: Correlation) -> int:
    """Bytes of input and output."""
    inputs = c.channels_in * prod(w.axis.size for w in c.windows)
    return (inputs + c.channels_out * c.outputs) * c.batch * c.groups * ELEMENTS[c.dtype][1]


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    chosen = choose(c, machine)
    size = chosen.vectors * machine.lanes(c.dtype)
    whole, rest = divmod(c.channels_out, size)
    if whole:
        _part(c, machine, work, arrays, after, chosen, Part(0, whole, size, size, chosen.unrolled))
    if rest:
        width = -(-rest // machine.lanes(c.dtype)) * machine.lanes(c.dtype)
        _part(
            c,
            machine,
            work,
            arrays,
            after,
            chosen,
            Part(whole * size, 1, rest, width, chosen.unrolled),
        )


def _part(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    after: bool,
    chosen: Choice,
    shape: Part,
) -> None:
    vectors = shape.width // machine.lanes(c.dtype)
    last = c.windows[-1]
    runs = tiles_of(last.axis, split(last.axis.output, rows_for(machine, vectors)), chosen.unrolled)
    store = "channels" if c.out[2] == 1 else "positions" if last.out == 1 else "scattered"
    recipe = Direct(
        dtype=c.dtype,
        vectors=vectors,
        channels=shape.channels,
        pitch=last.axis.stride * last.x,
        taps=taps_of(last) if chosen.unrolled else (0,),
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
        epilogue=c.epilogue,
        loads=c.neighbours("position" if store == "positions" else "channel"),
    )
    part(
        c, work, arrays, recipe, runs, shape, f"direct {vectors}x{recipe.kinds[0].positions}", after
    )
