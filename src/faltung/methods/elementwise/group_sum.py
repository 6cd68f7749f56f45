"""Sums over groups of neighbouring channels, written to every channel of the group.

What it is.  ``out[r, c] = finish(scale * sum of x[r, k], k in the group of c)``: what group and
  layer normalisation (Wu and He, 2018; Ba et al., 2016) need between their sums and their maps.
When it applies.  The channels are neighbours, and the groups of equal length.
What it costs.  One pass over the array; a group is read while it is in the first cache.
"""

from dataclasses import dataclass

from faltung.codegen.expr import emit
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr, operand
from faltung.machine.table import Machine
from faltung.methods.base.parameters import Words, ordered
from faltung.methods.base.step import Operand, Step, Work
from faltung.methods.elementwise.bands import ITEM, up
from faltung.methods.elementwise.totals import paired, scale_word

# Vectors of a group that are added side by side.
CHAINS = 4
# Cycles for a group beside its vectors.
GROUP = 30
WORDS = ("x", "out", "pitch", "out_pitch", "groups", "length", "total", "chunk", "scale")


@dataclass(frozen=True)
class GroupSum:
    """``finish``: a formula of the scaled sum, operand 0."""

    dtype: str
    finish: Expr

    @property
    def symbol(self) -> str:
        return f"group_sum_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        words = Words(f, WORDS)
        x, out = words.pointer("x"), words.pointer("out")
        pitch, out_pitch = words.number("pitch"), words.number("out_pitch")
        groups, length = words.number("groups"), words.number("length")
        chunk, total = words.number("chunk"), words.number("total")
        scale = v.broadcast(words.address("scale"))
        stop = f.minimum(f.mul("%end", chunk), total)
        with f.loop(f.mul("%begin", chunk), stop) as each:
            row, group = f.divmod(each.index, groups)
            start = f.mul(group, length)
            found = _sum(v, v.at(x, f.add(f.mul(row, pitch), start)), length)
            found = v.spread(v.total(found))
            made = emit(v, self.finish, [v.mul(found, scale)])
            _fill(v, made, v.at(out, f.add(f.mul(row, out_pitch), start)), length)
        return str(module)


def _sum(v: Vectors, base: str, length: str) -> str:
    """The vectors of a group, added in chains; lanes beyond its end are zero."""
    f = v.function
    size = CHAINS * v.lanes
    whole = f.opaque(f.mul(f.value(f"sdiv i64 {length}, {size}"), size))
    with f.loop(0, whole, [(v.type, v.zero)] * CHAINS, step=size) as c:
        read = [v.load(v.at(base, f.add(c.index, i * v.lanes))) for i in range(CHAINS)]
        c.carry([v.add(a, b) for a, b in zip(c.values, read, strict=True)])
    with f.loop(whole, length, [(v.type, paired(v, c.results))], step=v.lanes) as c:
        got = v.load(v.at(base, c.index), v.below(f.sub(length, c.index)))
        c.carry([v.add(c.values[0], got)])
    return c.results[0]


def _fill(v: Vectors, value: str, base: str, length: str) -> None:
    f = v.function
    whole = f.opaque(f.mul(f.value(f"sdiv i64 {length}, {v.lanes}"), v.lanes))
    with f.loop(0, whole, step=v.lanes) as c:
        v.store(value, v.at(base, c.index))
    with f.when(f.value(f"icmp slt i64 {whole}, {length}")):
        v.store(value, v.at(base, whole), v.below(f.sub(length, whole)))


def group_sum(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    rows: int,
    channels: int,
    groups: int,
    source: Operand,
    pitch: int,
    target: Operand,
    target_pitch: int,
    scale: float = 1.0,
    finish: Expr | None = None,
    title: str,
    barrier: bool = False,
) -> None:
    """Add the step over ``rows`` rows of ``channels``, ``pitch`` elements apart.

    groups: divides ``channels``. finish: what is stored, a formula of ``scale`` times the sum
    (operand 0). The target may be the source.
    """
    length, total = channels // groups, rows * groups
    cycles = GROUP + up(length, machine.lanes(dtype)) * 1.5
    chunk = max(1, int(ITEM / cycles))
    words = ordered(
        WORDS,
        {
            "x": source,
            "out": target,
            "pitch": pitch,
            "out_pitch": target_pitch,
            "groups": groups,
            "length": length,
            "total": total,
            "chunk": chunk,
            "scale": scale_word(dtype, scale),
        },
    )
    recipe = GroupSum(dtype, operand(0) if finish is None else finish)
    work.steps.append(Step(recipe, up(total, chunk), words, title, barrier))
