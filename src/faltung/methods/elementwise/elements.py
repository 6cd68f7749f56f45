"""What is asked of every element of a map, written for one turn of a loop.

A turn takes a vector of each of several rows at once, so that several loads are under way, and
operands that the rows share are loaded once. How the loops go around it is `pointwise_kernel`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faltung.codegen.expr import Formulas, instructions, mixed
from faltung.codegen.ir import Function
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.geometry.expr import Expr
from faltung.machine.table import Machine
from faltung.methods.base.parameters import Words
from faltung.methods.elementwise.totals import Totals, call_of, paired

# Instructions of formulas written out in one turn: for registers, and for short compilation.
TURN = 48
# Streams of memory in one turn: processors follow about sixteen.
STREAMS = 16
# Partial sums of two bands share no cache lines, which are fetched in pairs.
PARTIAL_BYTES = 128
# Which lanes exist: all, so many, or those of a mask.
Some = int | str | None


@dataclass(frozen=True)
class Elements:
    """``kinds``: of the inputs: "full", "sample", "channel", "scalar" or "key".

    outputs: formulas of the inputs. sums: kind and formula of each partial sum. totals: what is
    finished in the same kernel, by kind, because a single band makes the whole sum.
    """

    dtype: str
    kinds: tuple[str, ...]
    outputs: tuple[Expr, ...]
    sums: tuple[tuple[str, Expr], ...]
    totals: tuple[tuple[str, Totals], ...] = ()

    def of(self, kind: str) -> list[int]:
        """The numbers of the inputs of a kind."""
        return [i for i, found in enumerate(self.kinds) if found == kind]

    @property
    def streams(self) -> int:
        """Arrays that go by as large as the map."""
        return len(self.of("full")) + len(self.outputs)

    @property
    def work(self) -> int:
        """Instructions for one vector."""
        formulas = (*self.outputs, *(expr for _, expr in self.sums))
        return self.streams + len(self.sums) + instructions(*formulas)

    @property
    def unroll(self) -> int:
        """Vectors in one turn."""
        fit = [n for n in (2, 4) if n * self.work <= TURN and n * self.streams <= STREAMS]
        return max(fit, default=1)


def line(machine: Machine, dtype: str) -> int:
    """Elements between the partial sums of two items that are one vector each."""
    return max(machine.lanes(dtype), PARTIAL_BYTES // ELEMENTS[dtype][1])


@dataclass
class Spot:
    """Where one vector of the map lies: addresses of the full inputs by number, and of the outputs;
    the number of its first element.
    """

    inputs: Mapping[int, str]
    outputs: Sequence[str]
    element: str | None


class Turn:
    """Writes turns into a function. words: those of the pass, in their order; the words of what is
    finished at once follow them.
    """

    def __init__(
        self, f: Function, machine: Machine, asked: Elements, words: Sequence[str]
    ) -> None:
        self.f = f
        self.v = Vectors(f, machine, asked.dtype)
        self.asked = asked
        self.words = Words(f, words)
        self.inputs = [self.words.pointer(f"in{i}") for i in range(len(asked.kinds))]
        self.outputs = [self.words.pointer(f"out{i}") for i in range(len(asked.outputs))]
        self.sums = [self.words.pointer(f"sum{i}") for i in range(len(asked.sums))]
        self._end = len(words)
        self.line = line(machine, asked.dtype)
        self.fixed: dict[int, str] = {}
        for i in asked.of("scalar"):
            self.fixed[i] = self.v.broadcast(self.inputs[i])
        for i in asked.of("key"):
            self.fixed[i] = mixed(f, f.word(self.inputs[i], 0))

    def write(self, spots: Sequence[Spot], beside: Mapping[int, str], some: Some) -> list[str]:
        """All formulas at ``spots``; the sum over these for each sum. beside: shared operands.

        All spots are read before any is written: an output may replace an input.
        """
        read = [{i: self.load(at, some) for i, at in spot.inputs.items()} for spot in spots]
        made: list[list[str]] = []
        terms: list[list[str]] = []
        for spot, own in zip(spots, read, strict=True):
            known = {**self.fixed, **beside, **own}
            operands = [known[i] for i in range(len(self.asked.kinds))]
            formulas = Formulas(self.v, operands, spot.element)
            made.append([formulas.value(expr) for expr in self.asked.outputs])
            terms.append([formulas.value(expr) for _, expr in self.asked.sums])
        for spot, values in zip(spots, made, strict=True):
            for value, at in zip(values, spot.outputs, strict=True):
                self.store(value, at, some)
        return [paired(self.v, found) for found in zip(*terms, strict=True)]

    def load(self, address: str, some: Some) -> str:
        return self.v.load(address, self._mask(some))

    def store(self, value: str, address: str, some: Some) -> None:
        if isinstance(some, int):
            self.v.store_first(value, address, some)
        else:
            self.v.store(value, address, some)

    def alone(self, value: str, some: Some) -> str:
        """``value``, and zero in the lanes that do not exist."""
        mask = self._mask(some)
        return value if mask is None else self.v.select(mask, value, self.v.zero)

    def _mask(self, some: Some) -> str | None:
        return self.v.first(some) if isinstance(some, int) else some

    def finish(self, kind: str, group: str, first: str, last: str) -> None:
        """Finish the sums of a kind here, if they are to be."""
        start = self._end
        for found, recipe in self.asked.totals:
            if found == kind:
                words = self.f.at("%words", start, "i64")
                self.f.call(f"finish_{kind}", call_of(words, group, first, last))
            start += len(recipe.words)
