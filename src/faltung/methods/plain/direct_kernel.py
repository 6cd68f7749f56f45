"""The code of ``direct``: a tile of output positions by vectors of output channels."""

from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.tile import Accumulators, flat, outer_product, shaped, zeros
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue, Finish, finish
from faltung.methods.base.tiles import Kind
from faltung.methods.plain.walk import driver, tile

# Turns of the innermost loop between asking for weights and using them. Their stream is longer than
# the first-level cache; 12 turns are about 170 cycles, more than the second level takes.
FETCH = 12
# Bytes of a line of every cache.
LINE = 64


@dataclass(frozen=True)
class Direct:
    """``pitch``: input elements between neighbouring positions; ``taps``: input offsets of the
    unrolled taps.

    ``dense``: neighbouring input channels are neighbours in memory. ``single``: there is only one
    input channel, no loop over them. ``store``: "channels"
    (neighbours in memory), "positions" (likewise: tiles are transposed), or "scattered". ``ahead``:
    ask for the input and output of the next tile; ``stream``: for weights, which are more than stay
    in the first cache. ``turns``: input channels in a turn of the innermost loop. ``channels``: how
    many of the ``vectors * lanes`` output channels of a block exist. ``aux_contiguous``: for each
    array of the epilogue whether neighbours in a stored vector are neighbours there.
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
    stream: bool
    turns: int
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"direct_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, kind in enumerate(self.kinds):
            _tile(module, machine, self, kind, f"tile{number}")
        aux = len(self.aux_contiguous)
        driver(module, self.symbol, self.dtype, self.order, self.kinds, self.pitch, aux)
        return str(module)


def _tile(module: Module, machine: Machine, recipe: Direct, kind: Kind, name: str) -> None:
    f = module.function(name, tile(len(recipe.aux_contiguous)))
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
    line = LINE // v.bytes
    for _ in range(kind.positions):
        for q in range(0, recipe.vectors, max(1, line // v.lanes)):
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
    if recipe.single:
        turns = f.once(carried)
    else:
        turns = f.loop(0, "%channels", carried, step=recipe.turns, runs=True)
    line = LINE // v.bytes
    with turns as ci:
        x, w = ci.values[:2]
        part = shaped(ci.values[2:], recipe.vectors)
        if recipe.ahead:
            # The next tile's input lies behind this one's: a few lines a turn bring all of it.
            onward = v.at(fetch, f.mul(ci.index, len(acc)))
            for i in range(-(-recipe.turns * len(acc) // line)):
                f.prefetch(v.at(onward, i * line))
        if recipe.stream:
            for i in range(-(-recipe.turns * block // line)):
                f.prefetch(v.at(w, FETCH * block + i * line))
        for _ in range(recipe.turns):
            part = _product(v, recipe, part, x, w, present)
            x, w = v.at(x, 1 if recipe.dense else "%x_channel"), v.at(w, block)
        ci.carry([x, w, *(value for row in part for value in row)])
    made = list(acc)
    for p, row in zip(present, shaped(ci.results[2:], recipe.vectors), strict=True):
        made[p] = row
    return made


def _product(
    v: Vectors, recipe: Direct, acc: Accumulators, x: str, w: str, present: list[int]
) -> Accumulators:
    """One input channel of one tap."""
    return outer_product(
        v,
        acc,
        lambda i: v.broadcast(v.at(x, present[i] * recipe.pitch)),
        lambda q: v.load(v.at(w, q * v.lanes)),
    )


def _store(v: Vectors, recipe: Direct, acc: Accumulators) -> None:
    """Add the bias, finish, and write the tile the way the output lies in memory."""
    bias = [v.load(v.at("%bias", q * v.lanes)) for q in range(recipe.vectors)]
    acc = [[v.add(value, bias[q]) for q, value in enumerate(row)] for row in acc]
    end = finish(v, recipe.epilogue, recipe.aux_contiguous)
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
                v.store_first(done, out, channels)
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
