"""The code of reductions: several vectors of a row, or along it, in registers until the end.

Items are results (``outer``) times bands of the rows that make one times blocks of the inner axis.
Rows go to a few accumulators in turn, which are combined in pairs at the end, so that an addition
need not wait for the one before it; the order depends on sizes alone.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from faltung.codegen.expr import Formulas, instructions
from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel

# Accumulators that take turns.
CHAINS = 4
# Instructions of one iteration: for registers, and for short compilation.
MAX_INSTRUCTIONS = 96
Lanes = int | str | None


def largest(v: Vectors, a: str, b: str) -> str:
    """The larger one; NaN where one is NaN."""
    found = v.select(v.compare("ogt", a, b), a, b)
    return v.select(v.compare("uno", a, a), a, found)


def smallest(v: Vectors, a: str, b: str) -> str:
    """The smaller one; NaN where one is NaN."""
    found = v.select(v.compare("olt", a, b), a, b)
    return v.select(v.compare("uno", a, a), a, found)


# What combines two results, and what changes none.
COMBINE: dict[str, tuple[Callable[[Vectors, str, str], str], float]] = {
    "sum": (Vectors.add, 0.0),
    "product": (Vectors.mul, 1.0),
    "max": (largest, -inf),
    "min": (smallest, inf),
}


@dataclass(frozen=True)
class Given:
    """How an operand lies: whether it changes along the reduced rows, and along the inner axis."""

    rows: bool
    inner: bool


@dataclass(frozen=True)
class ReduceKernel(Kernel):
    """``along``: the inner axis is reduced too, to one number. ``kept``, ``reduced``: numbers of
    axes beside it, of the latter at least one. ``tail``: elements of the inner axis beyond the last
    whole vector. ``vectors``: of the inner axis at once. ``divided``: by ``count``.
    """

    name = "reduce"

    dtype: str
    kind: str
    along: bool
    inputs: tuple[Given, ...]
    exprs: tuple[Expr, ...]
    finish: Expr
    divided: bool
    kept: int
    reduced: int
    tail: int
    vectors: int

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        inputs = [f"in{i}" for i in range(len(self.inputs))]
        outputs = [f"out{i}" for i in range(len(self.exprs))]
        numbers = ["outer", "item_outer", "bands", "band", "last", "blocks", "block", "inner"]
        numbers += ["rows", "part", "count"]
        numbers += kept_numbers([*inputs, "out"], self.kept)
        numbers += [f"rows{i}" for i in range(self.reduced - 1)]
        walked = [name for name, one in zip(inputs, self.inputs, strict=True) if one.rows]
        numbers += [f"{name}_rows{i}" for name in walked for i in range(self.reduced)]
        return (*inputs, *outputs), tuple(numbers)

    def body(self, v: Vectors, given: Arguments) -> None:
        _Loops(self, v, given).write()


def chains(exprs: Sequence[Expr], vectors: int) -> int:
    """How many accumulators take turns."""
    work = vectors * (instructions(*exprs) + 2 * len(exprs))
    return next(n for n in (CHAINS, 2, 1) if n * work <= MAX_INSTRUCTIONS or n == 1)


def outer_offsets(
    f: Function, given: Arguments, names: Sequence[str], kept: int, index: str
) -> dict[str, str]:
    """The offset in each array of an index over ``kept`` axes, whose sizes and strides are the
    arguments ``kept0``, ... and ``name_kept0``, ...
    """
    offsets = dict.fromkeys(names, "0")
    for axis in reversed(range(kept)):
        place = index
        if axis:
            index, place = f.divmod(index, given[f"kept{axis}"])
        for name, offset in offsets.items():
            step = f.mul(place, given[f"{name}_kept{axis}"])
            offsets[name] = step if offset == "0" else f.add(offset, step)
    return offsets


def kept_numbers(names: Sequence[str], kept: int) -> list[str]:
    """The names of the arguments that ``outer_offsets`` reads."""
    strides = [f"{name}_kept{i}" for name in names for i in range(kept)]
    return [f"kept{i}" for i in range(kept)] + strides


class _Loops:
    def __init__(self, kernel: ReduceKernel, v: Vectors, given: Arguments) -> None:
        self.kernel, self.v, self.f, self.given = kernel, v, v.function, given
        self.combine, neutral = COMBINE[kernel.kind]
        self.neutral = v.constant(neutral)
        self.chains = chains(kernel.exprs, 1 if kernel.along else kernel.vectors)
        self.numbers = range(len(kernel.inputs))

    def write(self) -> None:
        f, given = self.f, self.given
        if self.kernel.divided:
            self.count = self.v.broadcast(given.address("count"))
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            group, band = f.divmod(rest, given["bands"])
            rows = self._range(band, "band", "last")
            inner = self._range(block, "block", "inner")
            part = f.mul(f.add(f.mul(band, given["blocks"]), block), given["part"])
            with f.loop(*self._range(group, "item_outer", "outer")) as outer:
                bases, outputs = self._bases(outer.index)
                if self.kernel.along:
                    self._one(bases, [self.v.at(out, part) for out in outputs], rows, inner)
                else:
                    at = f.mul(band, given["part"])
                    self._columns(bases, [self.v.at(out, at) for out in outputs], rows, inner)

    def _range(self, number: str, size: str, limit: str) -> tuple[str, str]:
        first = self.f.mul(number, self.given[size])
        return first, self.f.minimum(self.f.add(first, self.given[size]), self.given[limit])

    def _bases(self, index: str) -> tuple[list[str], list[str]]:
        """Where the operands and results of an outer index begin."""
        names = [f"in{i}" for i in self.numbers]
        found = outer_offsets(self.f, self.given, [*names, "out"], self.kernel.kept, index)
        outputs = [f"out{i}" for i in range(len(self.kernel.exprs))]
        return (
            [self.v.at(self.given[name], found[name]) for name in names],
            [self.v.at(self.given[name], found["out"]) for name in outputs],
        )

    # Rows -----------------------------------------------------------------------------------------

    def _rows(
        self,
        bases: Sequence[str],
        rows: tuple[str, str],
        accumulators: Sequence[str],
        add: Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]],
        together: int,
    ) -> list[str]:
        """Walk the reduced rows. ``add``: what the accumulators become with some rows more, each
        given by the addresses of the operands there; ``together``: rows at once, as long as there
        are so many.
        """
        v, f = self.v, self.f
        if self.kernel.reduced == 1:
            return self._run(bases, rows, accumulators, add, together)
        with f.loop(*rows, v.carried(accumulators)) as outer:
            index, starts = outer.index, list(bases)
            for axis in reversed(range(self.kernel.reduced - 1)):
                place = index
                if axis:
                    index, place = f.divmod(index, self.given[f"rows{axis}"])
                starts = [self._moved(i, starts[i], place, axis) for i in self.numbers]
            whole = ("0", self.given["rows"])
            outer.carry(self._run(starts, whole, outer.values, add, together))
        return outer.results

    def _moved(self, number: int, base: str, place: str, axis: int) -> str:
        """The address of an operand ``place`` entries of a reduced axis on."""
        if not self.kernel.inputs[number].rows:
            return base
        return self.v.at(base, self.f.mul(place, self.given[f"in{number}_rows{axis}"]))

    def _run(
        self,
        bases: Sequence[str],
        rows: tuple[str, str],
        accumulators: Sequence[str],
        add: Callable[[Sequence[str], Sequence[Sequence[str]]], list[str]],
        together: int,
    ) -> list[str]:
        """The rows of the last reduced axis."""
        v, f, last = self.v, self.f, self.kernel.reduced - 1
        first, stop = rows
        middle = f.opaque(f.add(first, f.multiple(f.sub(stop, first), together)))
        found = list(accumulators)
        parts = [(first, middle, together), (middle, stop, 1)][: min(together, 2)]
        for start, end, count in parts:
            with f.loop(start, end, v.carried(found), step=count) as row:
                there = [[self._moved(i, bases[i], row.index, last) for i in self.numbers]]
                for _ in range(count - 1):
                    there.append([self._next(i, there[-1][i]) for i in self.numbers])
                row.carry(add(row.values, there))
            found = row.results
        return found

    def _next(self, number: int, base: str) -> str:
        if not self.kernel.inputs[number].rows:
            return base
        return self.v.at(base, self.given[f"in{number}_rows{self.kernel.reduced - 1}"])

    # Several results at once ----------------------------------------------------------------------

    def _columns(
        self,
        bases: Sequence[str],
        outputs: Sequence[str],
        rows: tuple[str, str],
        inner: tuple[str, str],
    ) -> None:
        """The inner axis is kept: every lane has results of its own."""
        f, v, kernel = self.f, self.v, self.kernel
        first, last = inner
        size = kernel.vectors * v.lanes
        many = first
        whole = f.add(first, f.multiple(f.sub(last, first), v.lanes))
        if kernel.vectors > 1:
            many = f.add(first, f.multiple(f.sub(last, first), size))
            with f.loop(first, many, step=size) as column:
                self._block(bases, outputs, rows, column.index, kernel.vectors, None)
        with f.loop(many, whole, step=v.lanes) as column:
            self._block(bases, outputs, rows, column.index, 1, None)
        if kernel.tail:
            with f.when(f.value(f"icmp slt i64 {whole}, {last}")):
                self._block(bases, outputs, rows, whole, 1, kernel.tail)

    def _block(
        self,
        bases: Sequence[str],
        outputs: Sequence[str],
        rows: tuple[str, str],
        column: str,
        vectors: int,
        lanes: int | None,
    ) -> None:
        v, kernel = self.v, self.kernel
        exprs = len(kernel.exprs)
        bases = [
            v.at(base, column) if one.inner else base
            for base, one in zip(bases, kernel.inputs, strict=True)
        ]
        fixed = {
            (i, p): self._load(i, bases[i], p, lanes)
            for i, one in enumerate(kernel.inputs)
            if not one.rows
            for p in range(vectors if one.inner else 1)
        }

        def add(values: Sequence[str], there: Sequence[Sequence[str]]) -> list[str]:
            made = list(values)
            for chain, places in enumerate(there):
                read = dict(fixed)
                for i, one in enumerate(kernel.inputs):
                    for p in range(vectors if one.inner else 1) if one.rows else ():
                        read[i, p] = self._load(i, places[i], p, lanes)
                for p in range(vectors):
                    operands = [read[i, p if kernel.inputs[i].inner else 0] for i in self.numbers]
                    formulas = Formulas(v, operands)
                    for e, expr in enumerate(kernel.exprs):
                        at = (chain * vectors + p) * exprs + e
                        made[at] = self.combine(v, made[at], formulas.value(expr))
            return made

        begin = [self.neutral] * (self.chains * vectors * exprs)
        found = self._combined(self._rows(bases, rows, begin, add, self.chains))
        for p in range(vectors):
            for e, out in enumerate(outputs):
                value = self._finished(found[p * exprs + e])
                at = v.at(out, self.f.add(column, p * v.lanes))
                if lanes is None:
                    v.store(value, at)
                else:
                    v.store_first(value, at, lanes)

    def _load(self, number: int, base: str, vector: int, lanes: Lanes) -> str:
        """A vector of an operand; one number of one that stays the same along the inner axis."""
        v = self.v
        if not self.kernel.inputs[number].inner:
            return v.broadcast(base)
        mask = v.first(lanes) if isinstance(lanes, int) else lanes
        return v.load(v.at(base, vector * v.lanes), mask)

    def _combined(self, values: Sequence[str]) -> list[str]:
        """The accumulators of all chains, neighbours first."""
        each = len(values) // self.chains
        found = [list(values[i * each : (i + 1) * each]) for i in range(self.chains)]
        while len(found) > 1:
            found = [
                [self.combine(self.v, a, b) for a, b in zip(one, two, strict=True)]
                for one, two in zip(found[::2], found[1::2], strict=True)
            ]
        return found[0]

    def _finished(self, total: str) -> str:
        if self.kernel.divided:
            total = self.v.div(total, self.count)
        return Formulas(self.v, [total]).value(self.kernel.finish)

    # One result -----------------------------------------------------------------------------------

    def _one(
        self,
        bases: Sequence[str],
        outputs: Sequence[str],
        rows: tuple[str, str],
        inner: tuple[str, str],
    ) -> None:
        """The inner axis is reduced: the lanes are combined in the end."""
        f, v, kernel = self.f, self.v, self.kernel
        exprs, (first, last) = len(kernel.exprs), inner
        middle = f.opaque(f.add(first, v.whole(f.sub(last, first), self.chains)))
        whole = f.opaque(f.add(first, v.whole(f.sub(last, first))))
        fixed = {
            i: v.broadcast(bases[i])
            for i, one in enumerate(kernel.inputs)
            if not one.rows and not one.inner
        }

        def add(values: Sequence[str], there: Sequence[Sequence[str]]) -> list[str]:
            (places,) = there
            known = dict(fixed)
            for i, one in enumerate(kernel.inputs):
                if one.rows and not one.inner:
                    known[i] = v.broadcast(places[i])
            with f.loop(first, middle, v.carried(values), step=self.chains * v.lanes) as c:
                found: list[str] = []
                for chain in range(self.chains):
                    at = f.add(c.index, chain * v.lanes)
                    before = c.values[chain * exprs : (chain + 1) * exprs]
                    found += self._added(known, places, at, None, before)
                c.carry(found)
            with f.loop(middle, whole, v.carried(c.results[:exprs]), step=v.lanes) as rest:
                rest.carry(self._added(known, places, rest.index, None, rest.values))
            found = rest.results
            if kernel.tail:
                with f.loop(whole, last, v.carried(found), step=v.lanes) as rest:
                    mask = v.first(kernel.tail)
                    rest.carry(self._added(known, places, rest.index, mask, rest.values))
                found = rest.results
            return [*found, *c.results[exprs:]]

        begin = [self.neutral] * (self.chains * exprs)
        found = self._combined(self._rows(bases, rows, begin, add, 1))
        for value, out in zip(found, outputs, strict=True):
            v.store_first(self._finished(self._across(value)), out, 1)

    def _added(
        self,
        known: Mapping[int, str],
        places: Sequence[str],
        at: str,
        mask: str | None,
        before: Sequence[str],
    ) -> list[str]:
        """The accumulators with one vector more."""
        v = self.v
        read = [known[i] if i in known else v.load(v.at(places[i], at), mask) for i in self.numbers]
        formulas = Formulas(v, read)
        made = []
        for expr, total in zip(self.kernel.exprs, before, strict=True):
            term = formulas.value(expr)
            term = term if mask is None else v.select(mask, term, self.neutral)
            made.append(self.combine(v, total, term))
        return made

    def _across(self, vector: str) -> str:
        """All lanes combined, in every lane: halves first."""
        half = self.v.lanes // 2
        while half:
            other = self.v.shuffle(vector, vector, [i ^ half for i in range(self.v.lanes)])
            vector = self.combine(self.v, vector, other)
            half //= 2
        return vector
