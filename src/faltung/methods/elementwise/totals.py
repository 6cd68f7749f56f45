"""The second half of a sum: partial sums of bands, added in order, scaled, and finished.

A step over many rows leaves one row of partial sums for each band of rows. Here they are added, and
what is stored is a formula of the total: a mean, one over a standard deviation. Bands are cut by
sizes and machine, and added in one order, so that the bits do not depend on the threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from faltung.codegen.expr import Formulas
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr
from faltung.machine.table import Machine
from faltung.methods.base.parameters import Words, ordered
from faltung.methods.base.step import Argument, Step

# Bands added side by side.
CHAINS = 4
# Vectors of partial sums that one item of work adds up.
ITEM = 2048


@dataclass(frozen=True, slots=True)
class Finish:
    """What is stored of a total. ``total``: its number among the partial sums.

    expr: a formula of the scaled total (operand 0), of further operands, and after these of the
    scaled totals of all finishes. kinds: of the further operands: "beside", a number for each
    element of the total, or "scalar".
    """

    total: int
    expr: Expr
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Totals:
    """``sums``: how many arrays of partial sums; ``lanes``: their lanes are summed, too."""

    dtype: str
    sums: int
    finishes: tuple[Finish, ...]
    lanes: bool

    @property
    def symbol(self) -> str:
        return f"totals_{self.dtype}"

    @property
    def words(self) -> tuple[str, ...]:
        found = ["bands", "pitch", "columns", "chunk"]
        found += [f"sum{i}" for i in range(self.sums)]
        for i, finish in enumerate(self.finishes):
            found += [f"scale{i}", f"out{i}", f"out{i}.pitch"]
            for j in range(len(finish.kinds)):
                found += [f"in{i}.{j}", f"in{i}.{j}.pitch"]
        return tuple(found)

    def emit(self, machine: Machine) -> str:
        module = Module()
        finisher(module, machine, self, "finish")
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        words = Words(f, self.words)
        columns, chunk = words.number("columns"), words.number("chunk")
        pieces = f.value(f"sdiv i64 {f.add(columns, f.sub(chunk, 1))}, {chunk}")
        with f.loop("%begin", "%end") as item:
            group, piece = f.divmod(item.index, pieces)
            first = f.mul(piece, chunk)
            last = f.minimum(f.add(first, chunk), columns)
            f.call("finish", call_of("%words", group, first, last))
        return str(module)


def call_of(words: str, group: str, first: str, last: str) -> list[tuple[str, str]]:
    """The arguments of what `finisher` wrote."""
    return [("ptr", words), ("i64", group), ("i64", first), ("i64", last)]


def finisher(
    module: Module, machine: Machine, recipe: Totals, name: str, *, alone: bool = False
) -> None:
    """A function that adds, finishes and stores columns ``first`` to ``last`` of a group of bands.

    alone: a group is a single band. With ``lanes`` there is one column, a vector of partial sums
    that becomes one number.
    """
    f = module.function(
        name, [("ptr", "words"), ("i64", "group"), ("i64", "first"), ("i64", "last")]
    )
    v = Vectors(f, machine, recipe.dtype)
    words = Words(f, recipe.words)
    bands, pitch = words.number("bands"), words.number("pitch")
    start = f.opaque(f.mul(f.mul("%group", bands), pitch))
    sums = [v.at(words.pointer(f"sum{i}"), start) for i in range(recipe.sums)]
    with f.loop("%first", "%last", step=v.lanes) as column:
        mask = v.first(1) if recipe.lanes else v.below(f.sub("%last", column.index))
        columns = [v.at(base, column.index) for base in sums]
        raw = [v.load(at) for at in columns] if alone else _added(v, columns, bands, pitch)
        if recipe.lanes:
            raw = [v.spread(v.total(value)) for value in raw]
        scaled = [
            v.mul(raw[part.total], v.broadcast(words.address(f"scale{i}")))
            for i, part in enumerate(recipe.finishes)
        ]
        # Everything is read before anything is stored: a result may replace what it is made of.
        made = []
        for i, part in enumerate(recipe.finishes):
            further = [
                _operand(v, words, f"in{i}.{j}", kind, column.index, mask)
                for j, kind in enumerate(part.kinds)
            ]
            made.append(Formulas(v, [scaled[i], *further, *scaled]).value(part.expr))
        for i, value in enumerate(made):
            v.store(value, _row(v, words, f"out{i}", column.index), mask)


def _row(v: Vectors, words: Words, name: str, column: str) -> str:
    offset = v.function.mul("%group", words.number(f"{name}.pitch"))
    return v.at(v.at(words.pointer(name), offset), column)


def _operand(v: Vectors, words: Words, name: str, kind: str, column: str, mask: str | None) -> str:
    if kind == "scalar":
        return v.broadcast(words.pointer(name))
    return v.load(_row(v, words, name, column), mask)


def _added(v: Vectors, bases: Sequence[str], bands: str, pitch: str) -> list[str]:
    """From each base on the vectors ``pitch`` apart, in chains that are added in pairs; then the
    rest.
    """
    f = v.function
    zeros = [(v.type, v.zero)] * (CHAINS * len(bases))

    def read(band: str, i: int) -> list[str]:
        offset = f.mul(f.add(band, i), pitch)
        return [v.load(v.at(base, offset)) for base in bases]

    whole = f.opaque(f.mul(f.value(f"sdiv i64 {bands}, {CHAINS}"), CHAINS))
    with f.loop(0, whole, zeros, step=CHAINS) as band:
        got = [one for i in range(CHAINS) for one in read(band.index, i)]
        band.carry([v.add(a, b) for a, b in zip(band.values, got, strict=True)])
    sums = [paired(v, band.results[i :: len(bases)]) for i in range(len(bases))]
    with f.loop(whole, bands, [(v.type, value) for value in sums]) as rest:
        got = read(rest.index, 0)
        rest.carry([v.add(a, b) for a, b in zip(rest.values, got, strict=True)])
    return rest.results


def paired(v: Vectors, values: Sequence[str]) -> str:
    """The sum of vectors, neighbours first."""
    found = list(values)
    while len(found) > 1:
        even = len(found) // 2 * 2
        found = [v.add(found[i], found[i + 1]) for i in range(0, even, 2)] + found[even:]
    return found[0]


def totals_step(
    recipe: Totals, given: Mapping[str, Argument], groups: int, machine: Machine, title: str
) -> Step:
    """The step for ``groups`` groups of bands; ``given``: the words by name, but for "chunk"."""
    bands, columns = given["bands"], given["columns"]
    assert isinstance(bands, int)
    assert isinstance(columns, int)
    vectors = max(1, ITEM // ((bands + 8) * len(recipe.finishes)))
    chunk = vectors * machine.lanes(recipe.dtype)
    words = ordered(recipe.words, {**given, "chunk": chunk})
    return Step(recipe, groups * -(-columns // chunk), words, title, barrier=True)


def scale_word(dtype: str, scale: float) -> int:
    """A number of the dtype as the word that holds its bits."""
    bits = np.zeros(1, np.int64)
    bits.view(dtype)[0] = scale
    return int(bits[0])
