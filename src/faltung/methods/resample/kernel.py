"""The code of resampling: sums over the taps of one or several axes at once, along a run.

An array is a nest of axes and, inside, a run of elements that are contiguous in the result. An axis
is plain, or its output reads several places of the source, which a table lists. The sums of several
axes are nested: for each tap of an outer axis the sum over the taps of the next. No intermediate
array is stored, and the terms have the order of one axis after the other, the innermost first.
"""

from collections.abc import Callable, Sequence
from dataclasses import field

from faltung.codegen.expr import emit
from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING

# Taps of an axis that are written out, instead of a loop over them.
MOST_UNROLLED = 4
# The number of taps of an axis where rows differ, or have many: a loop.
RAGGED = 0


@dataclass(frozen=True)
class Level:
    """One axis of the nest. taps: of each row, or ``RAGGED``; None for a plain axis. weighted: the
    weights are not all 1. holes: some rows are empty; a row of an unrolled axis is so where its
    first offset is ``MISSING``.
    """

    taps: int | None = None
    weighted: bool = True
    holes: bool = False


@dataclass(frozen=True)
class Gather:
    """The taps of the elements of the run themselves, by tables of 32-bit offsets and of weights:
    all first taps, all second ones, and so on. An offset below 0 reads nothing. Few taps are
    written out; ``taps`` is then their number, otherwise ``RAGGED``.
    """

    taps: int
    weighted: bool
    holes: bool


@dataclass(frozen=True)
class ResampleKernel(Kernel):
    """Items are ``chunk`` rows of the last level, for one place of the others.

    unroll: vectors of the run in one iteration, 0 where the run is shorter than one. tail: elements
    after the last whole vector. epilogue: a formula of what is made (operand 0) and of the arrays
    ``aux``, each an "array" with strides of its own, contiguous along the run, or a "number".
    segmented: an item takes a segment of one long run; segments are whole iterations but for the
    last.
    """

    name = "resample"

    dtype: str
    levels: tuple[Level, ...]
    gather: Gather | None
    unroll: int
    tail: int
    epilogue: Expr | None = None
    aux: tuple[str, ...] = ()
    segmented: bool = False

    @property
    def holes(self) -> bool:
        """Whether some results are ``fill``."""
        return any(level.holes for level in self.levels) or bool(self.gather and self.gather.holes)

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = ["x", "out"], ["run", "parts", "chunk"]
        if self.segmented:
            numbers += ["segments", "segment"]
        for number, level in enumerate(self.levels):
            numbers += [f"size{number}", f"out{number}"]
            if level.taps is None:
                numbers.append(f"x{number}")
                continue
            pointers.append(f"index{number}")
            if level.taps == RAGGED:
                pointers.append(f"start{number}")
            if level.weighted:
                pointers.append(f"weight{number}")
        if self.gather is not None:
            pointers.append("offsets")
            if self.gather.weighted:
                pointers.append("weights")
            if self.gather.taps == RAGGED:
                numbers.append("taps")
        if self.holes:
            numbers.append("fill")
        for i, kind in enumerate(self.aux):
            pointers.append(f"aux{i}")
            if kind == "array":
                numbers += [f"aux{i}_{number}" for number in range(len(self.levels))]
        return tuple(pointers), tuple(numbers)

    def body(self, v: Vectors, given: Arguments) -> None:
        _Nest(self, v, given).write()


@dataclass
class _Node:
    """What is read for one place of the outer levels: at an ``address``, or a sum.

    terms: weight (None for 1) and node. row: of a ragged level, whose terms are a loop.
    """

    address: str = ""
    terms: Sequence[tuple[str | None, "_Node"]] = ()
    level: int = 0
    row: str = ""


@dataclass
class _Nest:
    """Writes the loops of a kernel."""

    kernel: ResampleKernel
    v: Vectors
    given: Arguments
    rows: list[str] = field(default_factory=list)  # the place at each level
    fill: str = ""
    aux: list[str] = field(default_factory=list)  # addresses at the row, or numbers in all lanes
    begin: str = "0"  # of the part of the run
    end: str = ""

    @property
    def f(self) -> Function:
        return self.v.function

    def write(self) -> None:
        f, given, last = self.f, self.given, len(self.kernel.levels) - 1
        if self.kernel.holes:
            self.fill = self.v.broadcast(given.address("fill"))
        kinds = self.kernel.aux
        fixed = {
            i: self.v.broadcast(given[f"aux{i}"]) for i, kind in enumerate(kinds) if kind != "array"
        }
        with f.loop("%begin", "%end") as item:
            each, self.end = item.index, given["run"]
            if self.kernel.segmented:
                each, segment = f.divmod(each, given["segments"])
                self.begin = f.mul(segment, given["segment"])
                self.end = f.minimum(f.add(self.begin, given["segment"]), self.end)
            rest, part = f.divmod(each, given["parts"])
            places: list[str] = []
            for number in reversed(range(last)):
                if number:
                    rest, place = f.divmod(rest, given[f"size{number}"])
                    places.append(place)
                else:
                    places.append(rest)
            places.reverse()
            first = f.mul(part, given["chunk"])
            stop = f.minimum(f.add(first, given["chunk"]), given[f"size{last}"])
            with f.loop(f.opaque(first), f.opaque(stop)) as row:
                self.rows = [*places, row.index]
                self.aux = [fixed.get(i) or self._beside(i) for i in range(len(kinds))]
                self._row()

    def _beside(self, i: int) -> str:
        """Where an array of the epilogue is at this row."""
        address = self.given[f"aux{i}"]
        for number, row in enumerate(self.rows):
            address = self.v.at(address, self.f.mul(row, self.given[f"aux{i}_{number}"]))
        return address

    def _finished(self, value: str, at: str, mask: str | None) -> str:
        """The epilogue of a vector of the run."""
        if self.kernel.epilogue is None:
            return value
        beside = [
            self.v.load(self.v.at(where, at), mask) if kind == "array" else where
            for where, kind in zip(self.aux, self.kernel.aux, strict=True)
        ]
        return emit(self.v, self.kernel.epilogue, [value, *beside])

    def _row(self) -> None:
        """One run: its address in the result, what it reads, and whether it is a hole."""
        f, v, given = self.f, self.v, self.given
        x, out = given["x"], given["out"]
        missing: list[str] = []
        for number, level in enumerate(self.kernel.levels):
            out = v.at(out, f.mul(self.rows[number], given[f"out{number}"]))
            if level.taps is None:
                x = v.at(x, f.mul(self.rows[number], given[f"x{number}"]))
            elif level.holes:
                missing.append(self._missing(number, level))

        def sums() -> None:
            node = self._node(0, x)
            self._run(out, lambda at, size, mask: self._value(node, at, size, mask))

        if not missing:
            sums()
            return
        none = missing[0]
        for other in missing[1:]:
            none = f.value(f"or i1 {none}, {other}")
        f.choose(none, lambda: self._run(out, lambda at, n, mask: [self.fill] * n), sums)

    def _missing(self, number: int, level: Level) -> str:
        f, given, row = self.f, self.given, self.rows[number]
        if level.taps == RAGGED:
            first, stop = (f.word(given[f"start{number}"], f.add(row, i)) for i in (0, 1))
            return f.value(f"icmp eq i64 {first}, {stop}")
        first = f.word(given[f"index{number}"], f.mul(row, level.taps or 1))
        return f.value(f"icmp eq i64 {first}, {MISSING}")

    def _node(self, number: int, address: str) -> _Node:
        """What the levels from ``number`` on make of the source at ``address``."""
        f, v, given = self.f, self.v, self.given
        levels = self.kernel.levels
        while number < len(levels) and levels[number].taps is None:
            number += 1
        if number == len(levels):
            return _Node(address)
        level, row = levels[number], self.rows[number]
        if level.taps == RAGGED:
            return _Node(address, level=number, row=row)
        terms = []
        taps = level.taps or 1
        first = f.mul(row, taps)
        for k in range(taps):
            at = f.add(first, k)
            weight = v.broadcast(v.at(given[f"weight{number}"], at)) if level.weighted else None
            there = v.at(address, f.word(given[f"index{number}"], at))
            terms.append((weight, self._node(number + 1, there)))
        return _Node(terms=terms)

    def _value(self, node: _Node, at: str, size: int, mask: str | None) -> list[str]:
        """``size`` vectors of the run from element ``at`` on."""
        f, v, given = self.f, self.v, self.given
        if node.terms:
            total: list[str] = []
            for weight, part in node.terms:
                total = self._add(total, weight, self._value(part, at, size, mask))
            return total
        if node.row:
            number = node.level
            weighted = self.kernel.levels[number].weighted
            first, stop = (f.word(given[f"start{number}"], f.add(node.row, i)) for i in (0, 1))
            with f.loop(f.opaque(first), stop, v.carried([v.zero] * size)) as k:
                there = v.at(node.address, f.word(given[f"index{number}"], k.index))
                weight = v.broadcast(v.at(given[f"weight{number}"], k.index)) if weighted else None
                inner = self._value(self._node(number + 1, there), at, size, mask)
                k.carry(self._add(k.values, weight, inner))
            return k.results
        if self.kernel.gather is not None:
            places = (f.add(at, i * v.lanes) for i in range(size))
            return [self._gathered(self.kernel.gather, node.address, p, mask) for p in places]
        return [v.load(v.at(node.address, f.add(at, i * v.lanes)), mask) for i in range(size)]

    def _add(self, total: Sequence[str], weight: str | None, part: list[str]) -> list[str]:
        v = self.v
        if weight is None:
            return [v.add(a, b) for a, b in zip(total, part, strict=True)] if total else part
        if not total:
            return [v.mul(weight, b) for b in part]
        return [v.multiply_add(weight, b, a) for a, b in zip(total, part, strict=True)]

    def _gathered(self, gather: Gather, address: str, at: str, mask: str | None) -> str:
        """A vector of the run whose elements have tables of their own."""
        f, v, given = self.f, self.v, self.given

        def tap(k: str | int, total: list[str]) -> str:
            place = f.add(f.mul(k, given["run"]) if str(k) != "0" else "0", at)
            got, there = v.gathered(address, f.at(given["offsets"], place, "i32"), mask)
            weight = v.load(v.at(given["weights"], place), mask) if gather.weighted else None
            (made,) = self._add(total, weight, [got])
            if k == 0 and gather.holes:
                self._here = there
            return made

        if gather.taps == RAGGED:
            made = tap(0, [])
            with f.loop(1, given["taps"], v.carried([made])) as k:
                k.carry([tap(k.index, k.values)])
            (made,) = k.results
        else:
            made = tap(0, [])
            for number in range(1, gather.taps):
                made = tap(number, [made])
        return v.select(self._here, made, self.fill) if gather.holes else made

    def _run(self, out: str, make: Callable[[str, int, str | None], list[str]]) -> None:
        """Store a run: whole iterations, single vectors, the elements that are left."""
        f, v, kernel, start = self.f, self.v, self.kernel, self.begin
        length = f.sub(self.end, start) if kernel.segmented else self.end
        for size in (kernel.unroll, 1):
            if not kernel.unroll or (size == 1 and kernel.unroll == 1 and start != self.begin):
                break
            whole = f.add(v.whole(length, size), self.begin)
            with f.loop(start, f.opaque(whole), step=size * v.lanes) as at:
                found = [
                    (value, f.add(at.index, i * v.lanes))
                    for i, value in enumerate(make(at.index, size, None))
                ]
                for value, here in [(self._finished(*each, None), each[1]) for each in found]:
                    v.store(value, v.at(out, here))
            start = whole
        if not kernel.tail:
            return

        def tail() -> None:
            mask = v.first(kernel.tail)
            (value,) = make(start, 1, mask)
            value = self._finished(value, start, mask)
            v.store_first(value, v.at(out, start), kernel.tail)

        if kernel.segmented:
            with f.when(f.value(f"icmp eq i64 {self.end}, {self.given['run']}")):
                tail()
        else:
            tail()
