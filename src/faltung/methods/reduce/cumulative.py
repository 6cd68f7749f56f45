"""Running sums and products along an axis.

What it is.  Along the axis every entry becomes the sum or product of those up to it. What additions
  round off is added up beside the sum (D. E. Knuth, "The Art of Computer Programming", volume 2,
  4.2.2, theorem B), so that the last of many sums is as good as the first.
When it applies.  Always. Lines lie in lanes, side by side; where the axis is contiguous they are
  gathered.
What it costs.  A load, a store and eight operations for each vector, one after the other.
"""

from collections.abc import Sequence

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Work
from faltung.methods.elementwise.bands import up
from faltung.methods.reduce.axes import Axis, Strided, axes_of, kept_strides
from faltung.methods.reduce.kernel import kept_numbers, outer_offsets


@dataclass(frozen=True)
class CumulativeKernel(Kernel):
    """Items are vectors of lines. ``along``: the axis is contiguous, and lanes are ``x_line`` and
    ``out_line`` apart. The first entry of a line is ``x_first`` after its begin, the next one
    ``x_step`` further.
    """

    name = "cumulative"
    pointers = ("x", "out")

    dtype: str
    kind: str
    exclusive: bool
    along: bool
    kept: int

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        numbers = ["blocks", "inner", "length"]
        numbers += [f"{name}_{what}" for name in self.pointers for what in ("first", "step")]
        numbers += [f"{name}_line" for name in self.pointers if self.along]
        return self.pointers, (*numbers, *kept_numbers(self.pointers, self.kept))

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            outer, block = f.divmod(item.index, given["blocks"])
            at = outer_offsets(f, given, self.pointers, self.kept, outer)
            first = f.mul(block, v.lanes)
            bases = []
            for name in self.pointers:
                start = f.mul(first, given[f"{name}_line"]) if self.along else first
                base = v.at(v.at(given[name], at[name]), start)
                bases.append(v.at(base, given[f"{name}_first"]))
            rest = f.sub(given["inner"], first)
            # Whole vectors need no masks.
            short = f.value(f"icmp slt i64 {rest}, {v.lanes}")
            for some in f.branches(short):
                self._lines(v, given, bases, v.below(rest) if some else None)

    def _lines(self, v: Vectors, given: Arguments, bases: Sequence[str], mask: str | None) -> None:
        product = self.kind == "product"
        start = [v.constant(1.0)] if product else [v.zero, v.zero]
        f, (x, out) = v.function, bases
        carried = [("ptr", x), ("ptr", out), *v.carried(start)]
        with f.loop(0, given["length"], carried) as row:
            here, there, *state = row.values
            one = v.gather(here, given["x_line"], mask) if self.along else v.load(here, mask)
            following = self._next(v, state, one)
            made = self._value(v, state if self.exclusive else following)
            if self.along:
                v.scatter(made, there, given["out_line"], mask)
            else:
                v.store(made, there, mask)
            steps = v.at(here, given["x_step"]), v.at(there, given["out_step"])
            row.carry([*steps, *following])

    def _next(self, v: Vectors, state: Sequence[str], one: str) -> list[str]:
        if self.kind == "product":
            return [v.mul(state[0], one)]
        a, lost = state
        total = v.add(a, one)
        part = v.sub(total, a)
        error = v.add(v.sub(a, v.sub(total, part)), v.sub(one, part))
        # Nothing is lost of what is infinite.
        error = v.select(v.compare("ord", error, error), error, v.zero)
        return [total, v.add(lost, error)]

    def _value(self, v: Vectors, state: Sequence[str]) -> str:
        return state[0] if self.kind == "product" else v.add(*state)


def cumulative(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    sizes: Sequence[int],
    axis: int,
    x: Strided,
    out: Strided,
    kind: str = "sum",
    exclusive: bool = False,
    reverse: bool = False,
    title: str,
) -> None:
    """Add the step of the running sums or products of ``x`` along an axis. ``out`` may be ``x``."""
    axes = axes_of(sizes, [i == axis for i in range(len(sizes))], [x], out)
    along, names = axes.inner.reduced, ("x", "out")
    kept, line, inner = axes.kept, axes.inner, axes.inner.size
    strides = line.strides[0], out.strides[axis]
    more: dict[str, int] = {}
    if along:
        # Channels are innermost; all that is before them is one axis, of rows.
        assert len(kept) <= 1
        rows = kept[0] if kept else Axis(1, False, (0, 0))
        kept, inner = (), rows.size
        more = {f"{name}_line": step for name, step in zip(names, rows.strides, strict=True)}
    else:
        line = (axes.reduced or (Axis(1, True, (0, 0)),))[0]
        strides = line.strides[0], out.strides[axis] if line.size > 1 else 0
    for name, onward in zip(names, strides, strict=True):
        more[f"{name}_first"] = onward * (line.size - 1) if reverse else 0
        more[f"{name}_step"] = -onward if reverse else onward
    blocks = up(inner, machine.lanes(dtype))
    outer = 1 if along else axes.outer
    step = CumulativeKernel(dtype, kind, exclusive, along, len(kept)).step(
        outer * blocks,
        title,
        barrier=False,
        x=x.operand,
        out=out.operand,
        blocks=blocks,
        inner=inner,
        length=line.size,
        **more,
        **kept_strides(kept, names),
    )
    work.steps.append(step)
