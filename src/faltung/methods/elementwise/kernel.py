"""The kernels of elementwise steps: formulas and partial sums in one pass over a map.

``FlatKernel``: the whole map is one row, and items are parts of it. What has rows is in ``rows``
and ``narrow``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial

from faltung.codegen.expr import Formulas, instructions, mixed
from faltung.codegen.ir import Function
from faltung.codegen.vectors import ELEMENTS, Functions, Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import BLOCK, Arguments, Kernel
from faltung.methods.elementwise.totals import TotalsKernel, call_finish, paired

# Instructions of formulas in one iteration: for registers, and for short compilation. Several
# vectors of a long formula, which waits for itself, may have more; but sums keep their order.
MAX_INSTRUCTIONS = 48
MAX_LONG = 120
# Arrays that go by in one iteration: processors follow about sixteen.
MAX_STREAMS = 16
# Partial sums of two bands share no cache lines, which are fetched in pairs.
PARTIAL_BYTES = 128
# Operands that stay the same along some axes and have a stride for each of the others: they go on
# from row to row ("map" with a number for each channel, "column" with one for all channels), or do
# so only with the axes before ("row", "one").
SPREAD = ("map", "column", "row", "one")
# Which lanes exist: all, so many, or those of a mask.
Lanes = int | str | None


@dataclass(frozen=True)
class ElementwiseKernel(Kernel):
    """``kinds``: of the inputs: "full", "sample", "channel", "scalar", "key", or one of ``SPREAD``.

    outputs: formulas of the inputs. sums: kind and formula of each partial sum. totals: what is
    finished in the same kernel, by kind, because a single band makes the whole sum; its arguments
    follow those of the pass.
    """

    dtype: str
    kinds: tuple[str, ...]
    outputs: tuple[Expr, ...]
    sums: tuple[tuple[str, Expr], ...]
    totals: tuple[tuple[str, TotalsKernel], ...] = ()

    def of(self, *kinds: str) -> list[int]:
        """The numbers of the inputs of these kinds."""
        return [i for i, found in enumerate(self.kinds) if found in kinds]

    @property
    def streams(self) -> int:
        """Arrays that go by as large as the map."""
        return len(self.of("full", "map")) + len(self.outputs)

    @property
    def work(self) -> int:
        """Instructions for one vector."""
        formulas = (*self.outputs, *(expr for _, expr in self.sums))
        return self.streams + len(self.sums) + instructions(*formulas)

    @property
    def unroll(self) -> int:
        """Vectors in one iteration."""
        most = MAX_INSTRUCTIONS if self.sums else MAX_LONG
        fit = [n for n in (2, 4) if n * self.work <= most and n * self.streams <= MAX_STREAMS]
        return max(fit, default=1)

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        counts = {"in": len(self.kinds), "out": len(self.outputs), "sum": len(self.sums)}
        arrays = (f"{name}{i}" for name, count in counts.items() for i in range(count))
        return tuple(arrays), self.numbers

    def functions(self, code: Functions) -> None:
        for kind, totals in self.totals:
            totals.write_finish(code, f"finish_{kind}", alone=True)


def partial_pitch(machine: Machine, dtype: str) -> int:
    """Elements between the partial sums of two items that are one vector each."""
    return max(machine.lanes(dtype), PARTIAL_BYTES // ELEMENTS[dtype][1])


@dataclass
class Spot:
    """Where one vector of the map lies: addresses of the full inputs by number, and of the outputs;
    the number of its first element; vectors of inputs that are known already.
    """

    inputs: Mapping[int, str]
    outputs: Sequence[str]
    element: str | None
    known: Mapping[int, str] = field(default_factory=dict)


class Iterations:
    """Writes iterations into the function of a kernel."""

    def __init__(self, kernel: ElementwiseKernel, v: Vectors, given: Arguments) -> None:
        self.v, self.kernel = v, kernel
        self.inputs = [given[f"in{i}"] for i in range(len(kernel.kinds))]
        self.outputs = [given[f"out{i}"] for i in range(len(kernel.outputs))]
        self.sums = [given[f"sum{i}"] for i in range(len(kernel.sums))]
        self.pitch = partial_pitch(v.machine, kernel.dtype)
        self._fixed = {i: v.broadcast(self.inputs[i]) for i in kernel.of("scalar")}
        f = v.function
        self._fixed |= {i: mixed(f, f.word(self.inputs[i], 0)) for i in kernel.of("key")}

    def write(self, places: Sequence[Spot], shared: Mapping[int, str], lanes: Lanes) -> list[str]:
        """All formulas at ``places``; the sum over these for each sum. shared: operands.

        All places are read before any is written: an output may replace an input.
        """
        v, kernel = self.v, self.kernel
        read = [{i: self.load(at, lanes) for i, at in place.inputs.items()} for place in places]

        def computed(place: Spot, own: Mapping[int, str]) -> tuple[list[str], list[str]]:
            known = {**self._fixed, **shared, **place.known, **own}
            operands = [known[i] for i in range(len(kernel.kinds))]
            formulas = Formulas(v, operands, place.element)
            made = [formulas.value(expr) for expr in kernel.outputs]
            return made, [formulas.value(expr) for _, expr in kernel.sums]

        parts = [partial(computed, place, own) for place, own in zip(places, read, strict=True)]
        found = v.function.woven(parts)
        made, terms = [values for values, _ in found], [sums for _, sums in found]
        for place, values in zip(places, made, strict=True):
            for value, at in zip(values, place.outputs, strict=True):
                if isinstance(lanes, int):
                    v.store_first(value, at, lanes)
                else:
                    v.store(value, at, lanes)
        return [paired(v, found) for found in zip(*terms, strict=True)]

    def load(self, address: str, lanes: Lanes) -> str:
        return self.v.load(address, self._mask(lanes))

    def alone(self, value: str, lanes: Lanes) -> str:
        """``value``, and zero in the lanes that do not exist."""
        mask = self._mask(lanes)
        return value if mask is None else self.v.select(mask, value, self.v.zero)

    def _mask(self, lanes: Lanes) -> str | None:
        return self.v.first(lanes) if isinstance(lanes, int) else lanes

    def finish(self, kind: str, group: str, first: str, last: str) -> None:
        """Finish the sums of a kind here, if they are to be."""
        f, start = self.v.function, len(self.kernel.names)
        for found, totals in self.kernel.totals:
            if found == kind:
                block = f.at(BLOCK, start, "i64")
                call_finish(f, f"finish_{kind}", block, group, first, last)
            start += len(totals.names)


def whole(f: Function, first: str, last: str, size: int) -> str:
    """The end of the whole iterations of ``size`` from ``first`` on."""
    return f.add(first, f.multiple(f.sub(last, first), size))


# One row ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlatKernel(ElementwiseKernel):
    """Everything lies in one row: all inputs are full, scalars or keys, all sums scalars.

    The last vector is masked. Sums stay in registers.
    """

    name = "elementwise_flat"
    numbers = ("length", "item_length")

    def body(self, v: Vectors, given: Arguments) -> None:
        f, code = v.function, Iterations(self, v, given)
        size = self.unroll * v.lanes

        def place(element: str) -> Spot:
            full = {i: v.at(code.inputs[i], element) for i in self.of("full")}
            return Spot(full, [v.at(base, element) for base in code.outputs], element)

        with f.loop("%begin", "%end") as item:
            first = f.opaque(f.mul(item.index, given["item_length"]))
            last = f.minimum(f.add(first, given["item_length"]), given["length"])
            middle = f.opaque(whole(f, first, last, size))
            with f.loop(first, middle, [(v.type, v.zero)] * len(code.sums), step=size) as i:
                places = [place(f.add(i.index, n * v.lanes)) for n in range(self.unroll)]
                found = code.write(places, {}, None)
                i.carry([v.add(a, b) for a, b in zip(i.values, found, strict=True)])
            with f.loop(middle, last, v.carried(i.results), step=v.lanes) as i:
                mask = v.below(f.sub(last, i.index))
                found = [code.alone(x, mask) for x in code.write([place(i.index)], {}, mask)]
                i.carry([v.add(a, b) for a, b in zip(i.values, found, strict=True)])
            for base, value in zip(code.sums, i.results, strict=True):
                v.store(value, v.at(base, f.mul(item.index, code.pitch)))
            code.finish("scalar", "0", "0", "1")
