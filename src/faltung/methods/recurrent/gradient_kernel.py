"""Back through time: at each step, from the last to the first, the gradients of the gates, then
what these mean for the state before.
"""

from collections.abc import Mapping, Sequence

from faltung.codegen.expr import Formulas
from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr, constant, derivative, operand
from faltung.geometry.record import dataclass
from faltung.methods.recurrent.walk import Walker, WalkKernel


@dataclass(frozen=True)
class GradientKernel(WalkKernel):
    """``given``: of which outputs there are gradients: "y", "h", "c"."""

    name = "recurrence_grad"

    given: tuple[str, ...]

    @property
    def states(self) -> tuple[str, ...]:
        return ("h", "c")[: len(self.cell.states)]

    @property
    def results(self) -> tuple[str, ...]:
        return ("x", *["products"] * (self.cell.apart is not None), *self.states)

    @property
    def reads(self) -> tuple[str, ...]:
        """The maps and vectors that it reads."""
        grads = (f"grad_{name}" for name in self.given)
        return (*grads, *("sums", "before", "cells")[: 1 + len(self.states)])

    @property
    def arrays(self) -> tuple[str, ...]:
        more = ["w2"] * bool(self.cell.second) + ["peepholes"] * self.peepholes
        return (*self.reads, "w", *more, *self.results)

    @property
    def pitches(self) -> tuple[str, ...]:
        return tuple(f"{name}_pitch" for name in (*self.reads, *self.results))

    @property
    def planes(self) -> int:
        """The gradient of the state, what of it does not go through a product, that of the cell
        twice, those of the gates; where there are two products, what comes through the second.
        """
        gates = len(self.cell.first) + len(self.cell.second)
        return 2 + 2 * (len(self.states) - 1) + gates + bool(self.cell.second)

    def spare(self, lanes: int) -> int:
        return 0

    def walk(self, v: Vectors) -> None:
        _Gradient(self, v).write()


class _Gradient(Walker):
    kernel: GradientKernel

    def write(self) -> None:
        f, cell = self.f, self.kernel.cell
        planes = self.planes()
        self.state, self.direct = planes[:2]
        cells = planes[2:4] if len(self.kernel.states) == 2 else []
        rest = planes[2 + len(cells) :]
        self.first, self.second = rest[0], rest[len(cell.first)]
        self.through = rest[len(cell.first) + len(cell.second)]
        states, given = self.kernel.states, self.kernel.given
        self.begin(states, [self.state, *cells[:1]], "grad", given)
        with f.loop(0, "%steps", [("ptr", plane) for plane in cells], runs=True) as loop:
            step = f.sub(f.sub("%steps", 1), loop.index)
            if cell.second:
                self._gates(step, loop.values, cell.second, False)
                self._product("%w2", self.second, len(cell.second), self.through, None)
            self._gates(step, loop.values, cell.first, True)
            self._product("%w", self.first, len(cell.first), self.state, self.direct)
            loop.carry(loop.values[::-1])
        self.end(states, [self.state, *loop.results[:1]])

    def _gates(self, step: str, cells: Sequence[str], gates: Sequence[int], last: bool) -> None:
        """The gradients of some gates from those of the states and of what a second product read;
        ``last``: also what goes on to the states before.
        """
        v, f, kernel = self.v, self.f, self.kernel
        parts = [*kernel.cell.states]
        inner = kernel.cell.inner if last else None
        with self.rows() as (row, sample):
            at, active = self.position(step, sample)
            with self.units(1) as (_, unit):
                there = f.add(f.mul(row, "%pitch"), unit)
                old = [v.load(v.at(plane, there)) for plane in (self.state, *cells[:1])]
                reach = list(old)
                if "y" in kernel.given:
                    reach[0] = v.add(reach[0], self._map("grad_y", at, unit))
                reach += [] if inner is None else [v.load(v.at(self.through, there))]
                operands = self._operands(at, unit)
                formulas = Formulas(v, [*operands, *reach])
                slopes = _Slopes([*parts, *([] if inner is None else [inner])], len(operands))
                found = {g: formulas.value(slopes.of(g)) for g in gates}
                read = dict(found)
                state = kernel.gates
                if kernel.cell.apart is not None:
                    read[kernel.cell.apart] = formulas.value(slopes.of(kernel.gates))
                    state += 1
                self._give(at, active, row, unit, found, read)
                if last:
                    direct = formulas.value(slopes.of(state))
                    v.store(self.where(active, direct, old[0]), v.at(self.direct, there))
                if last and cells:
                    cell = formulas.value(slopes.of(state + 1))
                    v.store(self.where(active, cell, old[1]), v.at(cells[1], there))

    def _give(
        self,
        at: str,
        active: str | None,
        row: str,
        unit: str,
        found: Mapping[int, str],
        read: Mapping[int, str],
    ) -> None:
        """Store the gradients of gates: ``found`` of their sums, ``read`` of their products."""
        v, f, cell = self.v, self.f, self.kernel.cell
        last = next(iter(found)) in cell.first
        plane, gates = (self.first, cell.first) if last else (self.second, cell.second)
        target = v.at(plane, f.mul(row, f.mul("%pitch", len(gates))))
        for i, g in enumerate(gates):
            value, product = (self.where(active, of[g], v.zero) for of in (found, read))
            self.store(value, v.at(self._row("x", at), self._gate(g, unit)))
            if cell.apart is not None:
                self.store(product, v.at(self._row("products", at), self._gate(g, unit)))
            self.store(product, v.at(target, self._gate(i, unit)))

    def _product(self, weight: str, read: str, gates: int, target: str, more: str | None) -> None:
        """Gradients of gates times their weight, with ``more`` added, into a plane."""
        v, f, vectors = self.v, self.f, self.kernel.vectors
        down = [f.mul(offset, gates) for offset in self.down]
        count = f.mul("%hidden", gates)
        panel = f.mul(count, vectors * v.lanes)
        with self.units(vectors) as (block, unit):
            b = v.at(weight, f.mul(block, panel))
            with self.tiles() as first:
                base = f.mul(first, "%pitch")
                a = v.at(read, f.mul(base, gates))
                acc = self.product(a, down, b, count, vectors)
                for offset, values in zip(self.down, acc, strict=True):
                    for q, value in enumerate(values):
                        there = f.add(f.add(f.add(base, offset), unit), q * v.lanes)
                        if more is not None:
                            value = v.add(v.load(v.at(more, there)), value)
                        v.store(value, v.at(target, there))

    def _operands(self, at: str, unit: str) -> list[str]:
        """What the formulas of the cell read, as the recurrence kept it."""
        v, kernel = self.v, self.kernel
        sums = self._row("sums", at)
        count = kernel.gates + (kernel.cell.apart is not None)
        made = [self.load(v.at(sums, self._gate(g, unit))) for g in range(count)]
        names = ("before", "cells")[: len(kernel.states)]
        return [*made, *(self._map(n, at, unit) for n in names), *self.peepholes(unit)]

    def _row(self, name: str, at: str) -> str:
        return self.v.at(f"%{name}", self.f.mul(at, f"%{name}_pitch"))

    def _map(self, name: str, at: str, unit: str) -> str:
        return self.load(self.v.at(self._row(name, at), unit))

    def _gate(self, gate: int, unit: Index) -> str:
        return self.f.add(unit, self.f.mul("%hidden", gate))


class _Slopes:
    """The gradients of the operands of formulas, whose own gradients are the operands from
    ``count`` on.
    """

    def __init__(self, parts: Sequence[Expr], count: int) -> None:
        self.parts, self.count = parts, count

    def of(self, number: int) -> Expr:
        total: Expr = constant(0)
        for i, part in enumerate(self.parts):
            total = total + operand(self.count + i) * derivative(part, number)
        return total
