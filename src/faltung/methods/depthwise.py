"""Depthwise convolution: a kernel for each channel, vectors along the channels.

What it is.  Groups of one input and one output channel share no sums, so that neighbouring groups
  are the lanes of a vector. A tile of ``positions`` outputs stays in registers; each column of the
  input is loaded once for a row of taps and serves every tap that reads it.
When it applies.  One channel in and one out for each group, side by side in memory.
What it costs.  A load for each column, not for each product: ``(p - 1) s + d (k - 1) + 1`` loads
  for ``p k`` multiply-adds.
"""

from dataclasses import dataclass, replace
from math import inf

from faltung.codegen.ir import Module
from faltung.codegen.tile import rows_for, split, unrolled
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.correlation import Correlation
from faltung.methods.epilogue import Epilogue, finish
from faltung.methods.step import Arrays, Work, shifted
from faltung.methods.tiled import TILE_OVERHEAD, Kind, Part, kinds_of, part, taps_of, tiles_of
from faltung.methods.walk import driver, tile

ORDER = ("batch", "row", "segment", "group", "block")
# Cycles that a tile loses at the ends of a row of taps.
TAP_OVERHEAD = 4


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Depthwise:
    """``channels``: groups in the vector; ``pitch``: input elements between neighbouring positions;
    ``taps``: input offsets of the unrolled taps; ``beside``: output channels are neighbours;
    ``loads``: likewise in each array of the epilogue.
    """

    dtype: str
    channels: int
    pitch: int
    taps: tuple[int, ...]
    kinds: tuple[Kind, ...]
    beside: bool
    epilogue: Epilogue | None = None
    loads: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"depthwise_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, kind in enumerate(self.kinds):
            _tile(module, machine, self, kind, f"tile{number}")
        aux = len(self.loads)
        driver(module, self.symbol, self.dtype, ORDER, self.kinds, self.pitch, aux)
        return str(module)


def _tile(module: Module, machine: Machine, recipe: Depthwise, kind: Kind, name: str) -> None:
    f = module.function(name, tile(len(recipe.loads)))
    v = Vectors(f, machine, recipe.dtype)
    mask = v.first(recipe.channels)
    readers = _readers(recipe, kind)
    with f.loop(0, "%entries", [(v.type, v.zero)] * kind.positions) as tap:
        entry = f.at("%pattern", f.mul(tap.index, 2), "i64")
        x, w = v.at("%x", f.word(entry, 0)), v.at("%w", f.word(entry, 1))
        acc = list(tap.values)
        weights = [v.load(v.at(w, k * v.lanes)) for k in range(len(recipe.taps))]
        for offset, products in readers.items():
            column = v.load(v.at(x, offset), mask)
            for p, k in products:
                acc[p] = v.multiply_add(column, weights[k], acc[p])
        tap.carry(acc)
    bias, out, end = v.load("%bias"), "%out", finish(v, recipe.epilogue, recipe.loads)
    for value in tap.results:
        total = end.value(v.add(value, bias), "channel", mask)
        if recipe.beside:
            v.store(total, out, mask)
        else:
            v.scatter(total, out, "%out_channel", mask)
        out, end = v.at(out, "%out_position"), end.moved("position", 1)


def _readers(recipe: Depthwise, kind: Kind) -> dict[int, list[tuple[int, int]]]:
    """For each input offset of the tile the (position, tap) pairs that read it, taps in order.

    A position takes its taps in ascending order only if the offsets ascend with them, as they do.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for p in range(kind.positions):
        for k, offset in enumerate(recipe.taps):
            if p not in kind.outside[k]:
                found.setdefault(p * recipe.pitch + offset, []).append((p, k))
    # The sign of the strides decides which way "ascending" is.
    backwards = recipe.taps[-1] < recipe.taps[0]
    return dict(sorted(found.items(), reverse=backwards))


# The plan -----------------------------------------------------------------------------------------


def _applies(c: Correlation) -> bool:
    return c.channels_in == 1 and c.channels_out == 1 and c.groups > 1 and c.x[1] == 1


def why_not(c: Correlation, machine: Machine) -> str | None:
    if _applies(c):
        return None
    one = c.channels_in == 1 and c.channels_out == 1 and c.groups > 1
    return "channels are not neighbours" if one else "groups have more than one channel"


def _unrolled(c: Correlation, machine: Machine) -> bool:
    """Whether the last axis's taps are in the code."""
    axis, most = c.windows[-1].axis, rows_for(machine, 2)
    if axis.kernel * most > unrolled(machine):
        return False
    kinds = kinds_of(tiles_of(axis, split(axis.output, most), True))
    return sum(kind.positions for kind in kinds) * axis.kernel <= unrolled(machine)


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the last axis must be padded by a copy first: borders that are not zeros, or too many
    taps.
    """
    axis = c.windows[-1].axis
    pads = axis.lo > 0 or axis.hi > 0
    return c.windows[-1].borders or (pads and not _unrolled(c, machine))


def needs_channels_first(c: Correlation) -> bool:
    """Never: it lives on channels that lie side by side."""
    return False


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core: loads or products, whichever are more; infinite if it does not apply."""
    if not _applies(c):
        return inf
    axis, most = c.windows[-1].axis, rows_for(machine, 2)
    blocks = -(-c.groups // machine.lanes(c.dtype))
    rows = c.batch * blocks * c.outputs / axis.output
    in_code = _unrolled(c, machine)
    taps = axis.kernel if in_code else 1
    entries = c.row_taps * axis.kernel / taps
    cycles = 0.0
    for positions, count in split(axis.output, most):
        columns = positions * min(axis.stride, taps) + taps - 1
        step = max(positions * taps, columns + taps) / 2 + TAP_OVERHEAD
        cycles += rows * count * (entries * step + TILE_OVERHEAD)
    return cycles


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    lanes = machine.lanes(c.dtype)
    whole, rest = divmod(c.groups, lanes)
    for first, blocks, channels in ((0, whole, lanes), (whole * lanes, 1, rest)):
        if blocks and channels:
            _part(c, machine, work, arrays, after, first, blocks, channels)


def _part(
    c: Correlation,
    machine: Machine,
    work: Work,
    arrays: Arrays,
    after: bool,
    first: int,
    blocks: int,
    channels: int,
) -> None:
    """Groups from ``first`` on, as ``blocks`` groups with ``channels`` outputs each."""
    last, lanes = c.windows[-1], machine.lanes(c.dtype)
    in_code = _unrolled(c, machine)
    runs = tiles_of(last.axis, split(last.axis.output, rows_for(machine, 2)), in_code)
    recipe = Depthwise(
        dtype=c.dtype,
        channels=channels,
        pitch=last.axis.stride * last.x,
        taps=taps_of(last) if in_code else (0,),
        kinds=kinds_of(runs),
        beside=c.out[1] == 1,
        epilogue=c.epilogue,
        loads=c.neighbours("group"),
    )
    together = replace(
        c,
        groups=blocks,
        channels_out=channels,
        x=(c.x[0], channels * c.x[1], c.x[1]),
        out=(c.out[0], channels * c.out[1], c.out[1]),
        w=(channels * c.w[0], c.w[0], 0),
        x_base=c.x_base + first * c.x[1],
        out_base=c.out_base + first * c.out[1],
        aux=tuple((a[0], channels * a[1], a[1]) for a in c.aux),
        aux_base=tuple(b + first * a[1] for a, b in zip(c.aux, c.aux_base, strict=True)),
    )
    here = replace(
        arrays,
        w=shifted(arrays.w, first * c.w[0], c.dtype),
        bias=arrays.bias and shifted(arrays.bias, first, c.dtype),
    )
    shape = Part(0, 1, channels, lanes, in_code)
    part(together, work, here, recipe, runs, shape, f"depthwise {runs[0][0].positions}", after)
