"""Sums over groups of contiguous channels, written to every channel of the group.

What it is.  ``out[r, c] = finish(scale * sum of x[r, k], k in the group of c)``: what group and
  layer normalisation (Wu and He, 2018; Ba et al., 2016) need between their sums and their maps.
When it applies.  The channels are contiguous, and the groups of equal length.
What it costs.  One pass over the array; a group is read while it is in the first cache.
"""

from faltung.codegen.expr import emit
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr, operand
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Matrix, Work
from faltung.methods.elementwise.bands import MAP_ITEM_CYCLES, up
from faltung.methods.elementwise.totals import CHAINS, paired, scale_bits

# Cycles for a vector of a group, and for a group beside its vectors.
GROUP_VECTOR_CYCLES, GROUP_CYCLES = 1.5, 30


@dataclass(frozen=True)
class GroupSumKernel(Kernel):
    """Items are groups of all rows. ``finish``: a formula of the scaled sum, operand 0."""

    name = "group_sum"
    pointers = ("x", "out")
    numbers = ("x_pitch", "out_pitch", "groups", "length", "total", "item_groups", "scale")

    dtype: str
    finish: Expr

    def body(self, v: Vectors, given: Arguments) -> None:
        f, length, size = v.function, given["length"], given["item_groups"]
        scale = v.broadcast(given.address("scale"))
        stop = f.minimum(f.mul("%end", size), given["total"])
        with f.loop(f.mul("%begin", size), stop) as each:
            row, group = f.divmod(each.index, given["groups"])
            start = f.mul(group, length)
            found = _sum(v, v.at(given["x"], f.add(f.mul(row, given["x_pitch"]), start)), length)
            found = v.spread(v.total(found))
            made = emit(v, self.finish, [v.mul(found, scale)])
            out = v.at(given["out"], f.add(f.mul(row, given["out_pitch"]), start))
            _fill(v, made, out, length)


def _sum(v: Vectors, base: str, length: str) -> str:
    """The vectors of a group, added in chains; lanes beyond its end are zero."""
    f = v.function
    whole = f.opaque(v.whole(length, CHAINS))
    with f.loop(0, whole, [(v.type, v.zero)] * CHAINS, step=CHAINS * v.lanes) as c:
        read = [v.load(v.at(base, f.add(c.index, i * v.lanes))) for i in range(CHAINS)]
        c.carry([v.add(a, b) for a, b in zip(c.values, read, strict=True)])
    with f.loop(whole, length, [(v.type, paired(v, c.results))], step=v.lanes) as c:
        got = v.load(v.at(base, c.index), v.below(f.sub(length, c.index)))
        c.carry([v.add(c.values[0], got)])
    return c.results[0]


def _fill(v: Vectors, value: str, base: str, length: str) -> None:
    f = v.function
    whole = f.opaque(v.whole(length))
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
    source: Matrix,
    target: Matrix,
    scale: float = 1.0,
    finish: Expr | None = None,
    title: str,
    barrier: bool = False,
) -> None:
    """Add the step over ``rows`` rows of ``channels``.

    groups: divides ``channels``. finish: what is stored, a formula of ``scale`` times the sum
    (operand 0). The target may be the source.
    """
    length, total = channels // groups, rows * groups
    cycles = GROUP_CYCLES + up(length, machine.lanes(dtype)) * GROUP_VECTOR_CYCLES
    item_groups = max(1, int(MAP_ITEM_CYCLES / cycles))
    step = GroupSumKernel(dtype, operand(0) if finish is None else finish).step(
        up(total, item_groups),
        title,
        barrier=barrier,
        **source.arguments("x"),
        **target.arguments("out"),
        groups=groups,
        length=length,
        total=total,
        item_groups=item_groups,
        scale=scale_bits(dtype, scale),
    )
    work.steps.append(step)
