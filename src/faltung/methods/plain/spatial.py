"""Spatial convolution: vectors along neighbouring positions, weights broadcast.

What it is.  A tile of ``channels`` output channels by ``vectors`` vectors of output positions stays
  in registers; each step loads vectors of neighbouring inputs (unaligned) and multiplies them by
  one weight for each channel.
When it applies.  Always; it wins where output channels are too few to fill a vector (a signal, a
  grey image, the last layer of a segmentation network), and for pointwise layers on channels-first
  arrays.
What it costs.  One load a multiply-add with one output channel, else as ``direct``. With a stride
  the inputs are gathered, which is slow but never wrong.
"""

from dataclasses import dataclass
from math import prod

from faltung.codegen.ir import Module
from faltung.codegen.tile import budget, flat, outer_product, shaped, unrolled, zeros
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue import Epilogue, finish
from faltung.methods.base.step import Arrays, Work
from faltung.methods.base.tiles import Kind, kinds_of, taps_of, tiles_of
from faltung.methods.plain.tiled import TILE_OVERHEAD, Part, part
from faltung.methods.plain.walk import driver, tile

# Vectors of positions in one tile: more than this hide no more latency.
WIDEST = 8
# Cycles that a tile loses at the ends of the loop over input channels.
TAP_OVERHEAD = 6
# Cycles to store one result alone, in the second-level cache and beyond it.
SCATTER = 2, 4
# Bytes of a copy that stay in a cache of any level, and cycles to read a byte of a longer one.
CACHES = 4 << 20
FAR = 0.5
ORDER = ("batch", "group", "block", "row", "segment")


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spatial:
    """``channels``: output channels of a tile; ``pitch``: input elements between neighbouring
    positions; ``taps``: input offsets of the unrolled taps; ``beside``: output positions are
    neighbours in memory; ``aux_contiguous``: likewise in each array of the epilogue;
    ``single``: there is one input channel, no loop over them.
    """

    dtype: str
    channels: int
    pitch: int
    taps: tuple[int, ...]
    kinds: tuple[Kind, ...]
    beside: bool
    single: bool
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"spatial_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, kind in enumerate(self.kinds):
            _tile(module, machine, self, kind, f"tile{number}")
        aux = len(self.aux_contiguous)
        driver(module, self.symbol, self.dtype, ORDER, self.kinds, self.pitch, aux)
        return str(module)


def _tile(module: Module, machine: Machine, recipe: Spatial, kind: Kind, name: str) -> None:
    f = module.function(name, tile(len(recipe.aux_contiguous)))
    v = Vectors(f, machine, recipe.dtype)
    columns = -(-kind.positions // v.lanes)
    tap_size = f.mul("%channels", recipe.channels)
    with f.loop(0, "%entries", flat(v, zeros(v, recipe.channels, columns))) as tap:
        entry = f.at("%pattern", f.mul(tap.index, 2), "i64")
        x, w = v.at("%x", f.word(entry, 0)), v.at("%w", f.word(entry, 1))
        values = tap.values
        for k, offset in enumerate(recipe.taps):
            present = set(range(kind.positions)).difference(kind.outside[k])
            if present:
                start = v.at(x, offset), v.at(w, f.mul(tap_size, k))
                values = _channels(v, recipe, values, *start, present)
        tap.carry(values)
    _store(v, recipe, kind, shaped(tap.results, columns))


def _mask(v: Vectors, q: int, present: set[int]) -> str | None:
    """The lanes of vector ``q`` that have an input; None for all, "" for none."""
    lanes = [q * v.lanes + lane in present for lane in range(v.lanes)]
    return None if all(lanes) else v.mask(lanes) if any(lanes) else ""


def _channels(
    v: Vectors, recipe: Spatial, values: list[str], x: str, w: str, present: set[int]
) -> list[str]:
    """All input channels of one tap."""
    f = v.function
    columns = len(values) // recipe.channels

    def load(q: int) -> str:
        mask, at = _mask(v, q, present), v.at(x, q * v.lanes * recipe.pitch)
        if mask == "":
            return v.zero
        return v.load(at, mask) if recipe.pitch == 1 else v.gather(at, recipe.pitch, mask)

    carried = [("ptr", x), ("ptr", w), *((v.type, a) for a in values)]
    turns = f.once(carried) if recipe.single else f.loop(0, "%channels", carried, runs=True)
    with turns as ci:
        x, w = ci.values[:2]
        acc = outer_product(
            v, shaped(ci.values[2:], columns), lambda p: v.broadcast(v.at(w, p)), load
        )
        onward = [v.at(x, "%x_channel"), v.at(w, recipe.channels)]
        ci.carry([*onward, *(value for row in acc for value in row)])
    return ci.results[2:]


def _store(v: Vectors, recipe: Spatial, kind: Kind, acc: list[list[str]]) -> None:
    """Add the bias, finish, and write a channel at a time."""
    out, end = "%out", finish(v, recipe.epilogue, recipe.aux_contiguous)
    for p, row in enumerate(acc):
        bias = v.broadcast(v.at("%bias", p))
        for q, value in enumerate(row):
            mask = v.first(kind.positions - q * v.lanes)
            here = end.moved("position", q * v.lanes)
            total = here.value(v.add(value, bias), "position", mask)
            if recipe.beside:
                v.store_first(total, v.at(out, q * v.lanes), kind.positions - q * v.lanes)
            else:
                at = v.at(out, v.function.mul("%out_position", q * v.lanes))
                v.scatter(total, at, "%out_position", mask)
        out, end = v.at(out, "%out_channel"), end.moved("channel", 1)


# The plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """``channels`` by ``vectors`` in a tile; ``unrolled``: the last axis's taps are in the code."""

    channels: int
    vectors: int
    unrolled: bool


def choose(c: Correlation, machine: Machine) -> Choice:
    most, limit = budget(machine), unrolled(machine)
    even = [p for p in range(most // 2, most // 4, -1) if c.channels_out % p == 0]
    channels = c.channels_out if c.channels_out <= most // 2 else even[0] if even else most // 2
    axis = c.windows[-1].axis
    fits = max(v for v in range(1, most + 1) if v == 1 or _registers(channels, v, machine))
    vectors = max(1, min(fits, WIDEST, -(-axis.output // machine.lanes(c.dtype))))
    products = 0
    if axis.kernel * channels * vectors <= limit:
        kinds = kinds_of(_runs(c, machine, vectors, True))
        products = sum(channels * vectors for _ in kinds) * axis.kernel
    return Choice(channels, vectors, 0 < products <= limit)


def _registers(channels: int, vectors: int, machine: Machine) -> bool:
    """Whether a tile fits beside its operands, all of the shorter side and two of the longer."""
    sums = channels * vectors
    return sums <= budget(machine) and sums + min(channels, vectors) + 2 <= machine.registers


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the last axis must be padded by a copy first: borders that are not zeros, or too many
    taps.
    """
    axis = c.windows[-1].axis
    pads = axis.lo > 0 or axis.hi > 0
    return c.windows[-1].borders or (pads and not choose(c, machine).unrolled)


def needs_channels_first(c: Correlation) -> bool:
    """Positions that do not lie side by side are worth a copy; a stride is gathered."""
    last = c.windows[-1]
    return last.x != 1 and last.axis.size > 1


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core; a vector load that crosses cache lines counts twice, a gather once a
    lane.
    """
    chosen = choose(c, machine)
    lanes = machine.lanes(c.dtype)
    output = c.windows[-1].axis.output
    rows = c.batch * c.groups * c.outputs / output
    sums = rows * c.channels_in * c.row_taps * c.windows[-1].axis.kernel
    load = 2 if c.windows[-1].axis.stride == 1 else 2 * lanes
    whole, rest = divmod(c.channels_out, chosen.channels)
    cycles = 0.0
    overhead = 0 if c.channels_in == 1 else TAP_OVERHEAD / c.channels_in
    for blocks, channels in ((whole, chosen.channels), (1, rest)):
        tiles, tail = divmod(-(-output // lanes), chosen.vectors)
        for count, vectors in ((tiles, chosen.vectors), (1, tail)):
            if blocks and channels and count and vectors:
                step = max(channels * vectors / 2, (channels + load * vectors) / 2, 4)
                cycles += count * blocks * (sums * (step + overhead) + rows * TILE_OVERHEAD)
    return cycles + _far(c) + _scattering(c, machine)


def _scattering(c: Correlation, machine: Machine) -> float:
    """Cycles for results whose neighbours are no neighbours in memory, stored one by one."""
    if c.windows[-1].out == 1 or c.windows[-1].axis.output == 1:
        return 0.0
    results = c.batch * c.groups * c.channels_out * c.outputs
    near = results * ELEMENTS[c.dtype][1] <= machine.l2
    return results * SCATTER[0 if near else 1]


def _far(c: Correlation) -> float:
    """Cycles of reading a copy with channels first that is too long for the caches: in as many
    places at once as there are channels, which nothing foresees.
    """
    if not needs_channels_first(c) or c.channels_in == 1:
        return 0.0
    size = c.batch * c.groups * c.channels_in * prod(w.axis.size for w in c.windows)
    bytes_ = size * ELEMENTS[c.dtype][1]
    return FAR * bytes_ if bytes_ > CACHES else 0.0


def _runs(
    c: Correlation, machine: Machine, vectors: int, unrolled: bool
) -> list[tuple[Kind, int, int]]:
    """Whole tiles, then one with what is left."""
    axis = c.windows[-1].axis
    size = vectors * machine.lanes(c.dtype)
    whole, rest = divmod(axis.output, size)
    return tiles_of(axis, [(size, whole), (rest, int(rest > 0))], unrolled)


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    chosen = choose(c, machine)
    last = c.windows[-1]
    runs = _runs(c, machine, chosen.vectors, chosen.unrolled)
    whole, rest = divmod(c.channels_out, chosen.channels)
    for start, blocks, channels in (
        (0, whole, chosen.channels),
        (whole * chosen.channels, 1, rest),
    ):
        if not blocks or not channels:
            continue
        recipe = Spatial(
            dtype=c.dtype,
            channels=channels,
            pitch=last.axis.stride * last.x,
            taps=taps_of(last) if chosen.unrolled else (0,),
            kinds=kinds_of(runs),
            beside=last.out == 1,
            single=c.channels_in == 1,
            epilogue=c.epilogue,
            aux_contiguous=c.aux_contiguous("position"),
        )
        shape = Part(start, blocks, channels, channels, chosen.unrolled)
        part(c, work, arrays, recipe, runs, shape, f"spatial {channels}x{chosen.vectors}", barrier)
