"""The second half of a sum: partial sums of bands, added in order, scaled, and finished.

A step over many rows leaves one row of partial sums for each band of rows. Here they are added, and
what is stored is a formula of the total: a mean, one over a standard deviation. Bands are cut by
sizes and machine, and added in one order, so that the bits do not depend on the threads.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from faltung.codegen.expr import Formulas
from faltung.codegen.ir import Function, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import BLOCK, Arguments, Kernel
from faltung.methods.base.step import Argument, Step

# Sums of bands under way at once.
CHAINS = 4
# Vectors of partial sums that one item adds up.
ITEM_VECTORS = 2048


@dataclass(frozen=True, slots=True)
class StoredTotal:
    """What is stored of a total. ``total``: its number among the partial sums.

    expr: a formula of the scaled total (operand 0), of further operands, and after these of all
    scaled totals. kinds: of the further operands: "column", a number for each element of the total,
    or "scalar".
    """

    total: int
    expr: Expr
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class TotalsKernel(Kernel):
    """``sums``: how many arrays of partial sums; ``lanes``: their lanes are summed, too: there is
    one column, a vector of partial sums that becomes one number.
    """

    name = "totals"
    pointers = ()
    numbers = ("bands", "pitch", "columns", "item_columns")

    dtype: str
    sums: int
    stored: tuple[StoredTotal, ...]
    lanes: bool

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers = [f"sum{i}" for i in range(self.sums)]
        numbers = list(self.numbers)
        for i, part in enumerate(self.stored):
            arrays = [f"out{i}", *(f"in{i}_{j}" for j in range(len(part.kinds)))]
            pointers += arrays
            numbers += [f"scale{i}", *(f"{name}_pitch" for name in arrays)]
        return tuple(pointers), tuple(numbers)

    def functions(self, code: Functions) -> None:
        self.write_finish(code, "finish")

    def body(self, v: Vectors, given: Arguments) -> None:
        f, columns, size = v.function, given["columns"], given["item_columns"]
        group_items = f.value(f"sdiv i64 {f.add(columns, f.sub(size, 1))}, {size}")
        with f.loop("%begin", "%end") as item:
            group, number = f.divmod(item.index, group_items)
            first = f.mul(number, size)
            last = f.minimum(f.add(first, size), columns)
            call_finish(f, "finish", BLOCK, group, first, last)

    def write_finish(self, code: Functions, name: str, *, alone: bool = False) -> None:
        """A function that adds, finishes and stores columns ``first`` to ``last`` of a group of
        bands; ``alone``: a group is a single band.
        """
        v = code.open(name, parameters([BLOCK[1:]], ["group", "first", "last"]))
        f, given = v.function, Arguments(v.function, self)
        bands, pitch = given["bands"], given["pitch"]
        start = f.opaque(f.mul(f.mul("%group", bands), pitch))
        sums = [v.at(given[f"sum{i}"], start) for i in range(self.sums)]
        with f.loop("%first", "%last", step=v.lanes) as column:
            mask = v.first(1) if self.lanes else v.below(f.sub("%last", column.index))
            columns = [v.at(base, column.index) for base in sums]
            raw = [v.load(at) for at in columns] if alone else _added(v, columns, bands, pitch)
            if self.lanes:
                raw = [v.spread(v.total(value)) for value in raw]
            scaled = [
                v.mul(raw[part.total], v.broadcast(given.address(f"scale{i}")))
                for i, part in enumerate(self.stored)
            ]
            # Everything is read before anything is stored: a result may replace what it is made of.
            made = []
            for i, part in enumerate(self.stored):
                further = [
                    v.broadcast(given[f"in{i}_{j}"])
                    if kind == "scalar"
                    else v.load(_row(v, given, f"in{i}_{j}", column.index), mask)
                    for j, kind in enumerate(part.kinds)
                ]
                made.append(Formulas(v, [scaled[i], *further, *scaled]).value(part.expr))
            for i, value in enumerate(made):
                v.store(value, _row(v, given, f"out{i}", column.index), mask)

    def totals_step(
        self, given: Mapping[str, Argument], groups: int, machine: Machine, title: str
    ) -> Step:
        """The step for ``groups`` groups of bands; ``given``: all arguments but "item_columns"."""
        bands, columns = given["bands"], given["columns"]
        assert isinstance(bands, int)
        assert isinstance(columns, int)
        vectors = max(1, ITEM_VECTORS // ((bands + 8) * len(self.stored)))
        size = vectors * machine.lanes(self.dtype)
        items = groups * -(-columns // size)
        return self.step(items, title, barrier=True, item_columns=size, **given)


def call_finish(f: Function, name: str, block: str, group: str, first: str, last: str) -> None:
    """Call what ``write_finish`` wrote; ``block``: where the arguments lie."""
    f.call(name, [("ptr", block), ("i64", group), ("i64", first), ("i64", last)])


def _row(v: Vectors, given: Arguments, name: str, column: str) -> str:
    return v.at(v.at(given[name], v.function.mul("%group", given[f"{name}_pitch"])), column)


def _added(v: Vectors, bases: Sequence[str], bands: str, pitch: str) -> list[str]:
    """From each base on the vectors ``pitch`` apart, in chains that are added in pairs; then the
    rest.
    """
    f = v.function
    zeros = [(v.type, v.zero)] * (CHAINS * len(bases))

    def read(band: str, i: int) -> list[str]:
        offset = f.mul(f.add(band, i), pitch)
        return [v.load(v.at(base, offset)) for base in bases]

    whole = f.opaque(f.multiple(bands, CHAINS))
    with f.loop(0, whole, zeros, step=CHAINS) as band:
        got = [one for i in range(CHAINS) for one in read(band.index, i)]
        band.carry([v.add(a, b) for a, b in zip(band.values, got, strict=True)])
    sums = [paired(v, band.results[i :: len(bases)]) for i in range(len(bases))]
    with f.loop(whole, bands, v.carried(sums)) as rest:
        got = read(rest.index, 0)
        rest.carry([v.add(a, b) for a, b in zip(rest.values, got, strict=True)])
    return rest.results


def paired(v: Vectors, values: Sequence[str]) -> str:
    """The sum of vectors, those that follow each other first."""
    found = list(values)
    while len(found) > 1:
        even = len(found) // 2 * 2
        found = [v.add(found[i], found[i + 1]) for i in range(0, even, 2)] + found[even:]
    return found[0]


def scale_bits(dtype: str, scale: float) -> int:
    """A number of the dtype as the 64-bit argument that holds its bits."""
    bits = np.zeros(1, np.int64)
    bits.view(dtype)[0] = scale
    return int(bits[0])
