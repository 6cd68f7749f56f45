"""Where along an axis the largest or smallest entry is.

What it is.  For each line along the axis the number of its first (or last) extreme entry, as a
  number of the dtype of the map; a NaN comes before everything, as in NumPy.
When it applies.  Axes of at most as many entries as the dtype can count.
What it costs.  A load, two comparisons and two selections for each vector, in one pass.
"""

from collections.abc import Sequence

from faltung.codegen.copies import load_columns
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Work
from faltung.methods.elementwise.bands import MAP_ITEM_CYCLES, up
from faltung.methods.reduce.axes import Axes, Axis, Strided, axes_of, kept_strides
from faltung.methods.reduce.kernel import kept_numbers, outer_offsets
from faltung.methods.reduce.narrow import NARROW_CHANNELS

# Vectors of lines at once, and cycles for an entry of these and for a line alone.
LINES, ENTRY_CYCLES, LINE_CYCLES = 4, 3.0, 40
# Cycles for a vector of entries of short lines.
SHORT_CYCLES = 10.0
# A value and its number, in every lane.
Found = tuple[str, str]


@dataclass(frozen=True)
class ArgKernel(Kernel):
    """``along``: the axis is contiguous, a line lies in vectors; ``short``: entries of a line that
    is so short that several are taken at once, one in each lane, else 0. Otherwise lines lie side
    by side, ``tail`` of them beyond the last whole vector.
    """

    name = "arg"
    pointers = ("x", "out")

    dtype: str
    kind: str
    last: bool
    along: bool
    kept: int
    tail: int
    short: int = 0

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        numbers = ["outer", "item_outer", "blocks", "block", "inner", "length", "step"]
        return self.pointers, (*numbers, *kept_numbers(self.pointers, self.kept))

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        if self.short:
            self._short_lines(v, given)
            return
        with f.loop("%begin", "%end") as item:
            group, block = f.divmod(item.index, given["blocks"])
            first = f.mul(group, given["item_outer"])
            stop = f.minimum(f.add(first, given["item_outer"]), given["outer"])
            with f.loop(first, stop) as outer:
                at = outer_offsets(f, given, self.pointers, self.kept, outer.index)
                x, out = (v.at(given[name], at[name]) for name in self.pointers)
                if self.along:
                    self._line(v, given, x, out)
                else:
                    start = f.mul(block, given["block"])
                    end = f.minimum(f.add(start, given["block"]), given["inner"])
                    self._columns(v, given, x, out, start, end)

    def better(self, v: Vectors, one: str, best: str) -> str:
        """Whether an entry that comes later takes the place of the best so far."""
        f, over = v.function, "gt" if self.kind == "max" else "lt"
        if not self.last:
            return f.value(
                f"and {v.flags} {v.compare(f'u{over}', one, best)}, {v.compare('ord', best, best)}"
            )
        reached = v.compare(f"o{over[0]}e", one, best)
        return f.value(f"or {v.flags} {reached}, {v.compare('uno', one, one)}")

    # Lines side by side

    def _columns(
        self, v: Vectors, given: Arguments, x: str, out: str, first: str, last: str
    ) -> None:
        f, size = v.function, LINES * v.lanes
        many = f.add(first, f.multiple(f.sub(last, first), size))
        whole = f.add(first, f.multiple(f.sub(last, first), v.lanes))
        for start, stop, vectors in ((first, many, LINES), (many, whole, 1)):
            with f.loop(start, stop, step=vectors * v.lanes) as c:
                self._block(v, given, v.at(x, c.index), v.at(out, c.index), vectors, v.lanes)
        if self.tail:
            with f.when(f.value(f"icmp slt i64 {whole}, {last}")):
                self._block(v, given, v.at(x, whole), v.at(out, whole), 1, self.tail)

    def _block(
        self, v: Vectors, given: Arguments, x: str, out: str, vectors: int, lanes: int
    ) -> None:
        f = v.function

        def read(base: str) -> list[str]:
            return [v.load(v.at(base, p * v.lanes), v.first(lanes)) for p in range(vectors)]

        begin = v.carried([*read(x), *[v.zero] * vectors])
        with f.loop(1, given["length"], begin) as row:
            number = _number(v, row.index)
            values, numbers = [], []
            for p, one in enumerate(read(v.at(x, f.mul(row.index, given["step"])))):
                take = self.better(v, one, row.values[p])
                values.append(v.select(take, one, row.values[p]))
                numbers.append(v.select(take, number, row.values[vectors + p]))
            row.carry([*values, *numbers])
        for p, number in enumerate(row.results[vectors:]):
            v.store_first(number, v.at(out, p * v.lanes), lanes)

    # Short lines, one in each lane

    def _short_lines(self, v: Vectors, given: Arguments) -> None:
        """Items are groups of lines, whose results lie one after the other."""
        f = v.function
        end = f.sub(given["outer"], 1)
        first = f.mul("%begin", given["item_outer"])
        last = f.minimum(f.mul("%end", given["item_outer"]), given["outer"])
        step = given["x_kept0"]
        with f.loop(first, last, step=v.lanes) as group:
            # Lines that the last group lacks are the last line once more.
            lines = [f.minimum(f.add(group.index, i), end) for i in range(v.lanes)]
            places = [v.at(given["x"], f.mul(line, step)) for line in lines]
            best, *others = load_columns(v, places, self.short)
            number = v.zero
            for c, one in enumerate(others, 1):
                take = self.better(v, one, best)
                best = v.select(take, one, best)
                number = v.select(take, v.constant(float(c)), number)
            left = f.sub(last, group.index)
            some = f.value(f"icmp slt i64 {left}, {v.lanes}")
            for masked in f.branches(some):
                mask = v.below(left) if masked else None
                v.store(number, v.at(given["out"], group.index), mask)

    # A line along vectors

    def _line(self, v: Vectors, given: Arguments, x: str, out: str) -> None:
        f, length = v.function, given["length"]
        lanes = ", ".join(f"{v.integer} {i}" for i in range(v.lanes))
        iota = f.value(f"sitofp {v.integers} <{lanes}> to {v.type}")
        whole = v.whole(length)
        found: list[str] = [v.broadcast(x), v.zero]
        for start, stop, masked in (("0", whole, False), (whole, length, True)):
            with f.loop(start, stop, v.carried(found), step=v.lanes) as c:
                mask = v.below(f.sub(length, c.index)) if masked else None
                one = v.load(v.at(x, c.index), mask)
                take = self.better(v, one, c.values[0])
                if mask is not None:
                    take = f.value(f"and {v.flags} {take}, {mask}")
                number = v.add(_number(v, c.index), iota)
                c.carry([v.select(take, one, c.values[0]), v.select(take, number, c.values[1])])
            found = c.results
        half = v.lanes // 2
        while half:
            other = [v.shuffle(one, one, [i ^ half for i in range(v.lanes)]) for one in found]
            found = self._of_two(v, (found[0], found[1]), (other[0], other[1]))
            half //= 2
        v.store_first(found[1], out, 1)

    def _of_two(self, v: Vectors, a: Found, b: Found) -> list[str]:
        """The better of two lanes, and of equal ones the one that counts."""
        f = v.function

        def both(one: str, two: str) -> str:
            return f.value(f"and {v.flags} {one}, {two}")

        def either(one: str, two: str) -> str:
            return f.value(f"or {v.flags} {one}, {two}")

        over = "gt" if self.kind == "max" else "lt"
        nan_a, nan_b = (v.compare("uno", one[0], one[0]) for one in (a, b))
        alike = either(v.compare("oeq", a[0], b[0]), both(nan_a, nan_b))
        counts = v.compare("ogt" if self.last else "olt", b[1], a[1])
        ahead = both(v.compare(f"u{over}", b[0], a[0]), v.compare("ord", a[0], a[0]))
        take = either(ahead, both(alike, counts))
        return [v.select(take, b[0], a[0]), v.select(take, b[1], a[1])]


def line_is_short(axes: Axes) -> bool:
    """Whether contiguous lines are so short that several are taken at once."""
    return (
        axes.inner.size <= NARROW_CHANNELS and len(axes.kept) == 1 and axes.kept[0].strides[-1] == 1
    )


def _number(v: Vectors, index: str) -> str:
    """A whole number in every lane."""
    return v.spread(v.function.value(f"sitofp i64 {index} to {v.element}"))


def arg(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    sizes: Sequence[int],
    axis: int,
    x: Strided,
    out: Strided,
    kind: str,
    last: bool = False,
    title: str,
) -> None:
    """Add the step that finds the "max" or "min" of ``x`` along an axis."""
    axes = axes_of(sizes, [i == axis for i in range(len(sizes))], [x], out)
    along, lanes = axes.inner.reduced, machine.lanes(dtype)
    if along and line_is_short(axes):
        (rows,) = axes.kept
        item = max(1, int(MAP_ITEM_CYCLES / (SHORT_CYCLES * axes.inner.size))) * lanes
        kernel = ArgKernel(dtype, kind, last, True, 1, 0, axes.inner.size)
        given = kept_strides(axes.kept, ["x", "out"]) | {"outer": rows.size, "item_outer": item}
        rest = dict.fromkeys(("blocks", "block", "inner", "length", "step"), 1)
        items = up(rows.size, item)
        work.steps.append(
            kernel.step(items, title, barrier=False, x=x.operand, out=out.operand, **given, **rest)
        )
        return
    line = axes.inner if along else (axes.reduced or (Axis(1, True, (0, 0)),))[0]
    size, inner = LINES * lanes, 1 if along else axes.inner.size
    vectors = up(line.size, lanes) if along else up(inner, lanes) * line.size
    cycles = vectors * ENTRY_CYCLES + LINE_CYCLES
    blocks = 1 if along else min(up(inner, size), max(1, int(cycles / MAP_ITEM_CYCLES)))
    block = up(up(inner, size), blocks) * size
    blocks = up(inner, block)
    item_outer = max(1, min(axes.outer, int(MAP_ITEM_CYCLES * blocks / cycles)))
    step = ArgKernel(dtype, kind, last, along, len(axes.kept), inner % lanes).step(
        up(axes.outer, item_outer) * blocks,
        title,
        barrier=False,
        x=x.operand,
        out=out.operand,
        outer=axes.outer,
        item_outer=item_outer,
        blocks=blocks,
        block=block,
        inner=inner,
        length=line.size,
        step=line.strides[0],
        **kept_strides(axes.kept, ["x", "out"]),
    )
    work.steps.append(step)
