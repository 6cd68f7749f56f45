"""The walk along the steps: at each, the products of the states, then the gates."""

from collections.abc import Sequence

from faltung.codegen.expr import Formulas
from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.recurrent.walk import Walker, WalkKernel

# Bytes that a prefetch brings.
LINE_BYTES = 64


@dataclass(frozen=True)
class ForwardKernel(WalkKernel):
    """``bias``: of the products. ``first``: which states are given: "h", "c". ``kept``: what the
    gradient reads is stored too.
    """

    name = "recurrence"

    bias: bool
    first: tuple[str, ...]
    kept: bool

    @property
    def states(self) -> tuple[str, ...]:
        return ("h", "c")[: len(self.cell.states)]

    @property
    def arrays(self) -> tuple[str, ...]:
        more = ["w2"] * bool(self.cell.second) + ["bias"] * self.bias
        more += ["peepholes"] * self.peepholes + [f"first_{name}" for name in self.first]
        return ("x", "w", *more, "y", *self.states, *self.maps)

    @property
    def maps(self) -> tuple[str, ...]:
        """The maps that are kept."""
        return ("sums", "before", "cells")[: 1 + len(self.states)] if self.kept else ()

    @property
    def pitches(self) -> tuple[str, ...]:
        first = [f"first_{name}_{of}" for name in self.first for of in ("pitch", "count")]
        pitched = ("x", "y", *self.states, *self.maps)
        return (*(f"{name}_pitch" for name in pitched), *first)

    @property
    def planes(self) -> int:
        """The states twice; where there are two products, what the second reads and the sums of the
        first.
        """
        return 2 * len(self.states) + (1 + len(self.cell.first) if self.cell.second else 0)

    def spare(self, lanes: int) -> int:
        return self.rows * len(self.cell.first) * self.vectors * lanes

    def walk(self, v: Vectors) -> None:
        _Forward(self, v).write()


class _Forward(Walker):
    """``planes``: of the states now, of those after; then what a second product needs."""

    kernel: ForwardKernel

    def write(self) -> None:
        f, kernel = self.f, self.kernel
        count = len(kernel.states)
        *planes, self.sums = self.planes()
        self.own = planes[2 * count :]
        self.begin(kernel.states, planes[:count], "first", kernel.first)
        carried = [("ptr", plane) for plane in planes[: 2 * count]]
        with f.loop(0, "%steps", carried, runs=True) as step:
            now, after = step.values[:count], step.values[count:]
            self._step(step.index, now, after)
            step.carry([*after, *now])
        self.end(kernel.states, step.results[:count])

    def _step(self, step: str, now: Sequence[str], after: Sequence[str]) -> None:
        cell = self.kernel.cell
        self._pass(step, now, after, "%w", now[0], cell.first, not cell.second)
        if cell.second:
            self._pass(step, now, after, "%w2", self.own[0], cell.second, True)

    def _pass(
        self,
        step: str,
        now: Sequence[str],
        after: Sequence[str],
        weight: str,
        read: str,
        gates: Sequence[int],
        last: bool,
    ) -> None:
        """The products of some gates for all units, and what follows from them."""
        v, f, vectors = self.v, self.f, self.kernel.vectors
        columns = len(gates) * vectors
        panel = f.mul("%hidden", columns * v.lanes)
        with self.units(vectors) as (block, unit):
            b = v.at(weight, f.mul(block, panel))
            with self.tiles() as first:
                a = v.at(read, f.mul(first, "%pitch"))
                acc = self.product(a, self.down, b, "%hidden", columns)
                for number, value in enumerate(value for row in acc for value in row):
                    v.store(value, v.at(self.sums, number * v.lanes))
                with f.loop(0, self.kernel.rows, runs=True) as tile:
                    row = f.add(first, tile.index)
                    at, active = self.position(step, self.sample(row))
                    sums = v.at(self.sums, f.mul(tile.index, columns * v.lanes))
                    for q in range(vectors):
                        here = f.add(unit, q * v.lanes)
                        places = ((i * vectors + q) * v.lanes for i in range(len(gates)))
                        found = [v.load(v.at(sums, place)) for place in places]
                        products = dict(zip(gates, found, strict=True))
                        self._unit(at, active, row, here, now, after, products, last)

    def _unit(
        self,
        at: str,
        active: str | None,
        row: str,
        unit: str,
        now: Sequence[str],
        after: Sequence[str],
        products: dict[int, str],
        last: bool,
    ) -> None:
        """A vector of units of one sample; ``products``: by the number of the gate."""
        v, f, kernel = self.v, self.f, self.kernel
        cell = kernel.cell
        there = f.add(f.mul(row, "%pitch"), unit)
        if kernel.bias:
            products = {
                g: v.add(value, self.load(v.at("%bias", self._gate(g, unit))))
                for g, value in products.items()
            }
        x = v.at("%x", f.mul(at, "%x_pitch"))
        sums = {g: self.load(v.at(x, self._gate(g, unit))) for g in products}
        # Rows lie far apart, so that nothing but this fetches what the next block of units reads.
        ahead = max(kernel.vectors * v.lanes, LINE_BYTES // v.bytes)
        for g in products:
            f.prefetch(v.at(x, f.add(self._gate(g, unit), ahead)))
        for g, value in products.items():
            if g != cell.apart:
                sums[g] = v.add(sums[g], value)
        if cell.second and last:
            sums |= {g: v.load(v.at(self.own[1 + i], there)) for i, g in enumerate(cell.first)}
        before = [v.load(v.at(plane, there)) for plane in now]
        operands = [sums.get(g, v.zero) for g in range(kernel.gates)]
        operands += [products[cell.apart]] if cell.apart is not None else []
        operands += [*before, *self.peepholes(unit)]
        formulas = Formulas(v, operands)
        if not last:
            assert cell.inner is not None
            v.store(formulas.value(cell.inner), v.at(self.own[0], there))
            for i, g in enumerate(cell.first):
                v.store(sums[g], v.at(self.own[1 + i], there))
            return
        made = [formulas.value(expr) for expr in cell.states]
        for value, old, plane in zip(made, before, after, strict=True):
            v.store(self.where(active, value, old), v.at(plane, there))
        shown = self.where(active, made[0], v.zero)
        self.store(shown, v.at("%y", f.add(f.mul(at, "%y_pitch"), unit)))
        if kernel.kept:
            self._keep(at, unit, operands, before)

    def _keep(self, at: str, unit: str, operands: Sequence[str], before: Sequence[str]) -> None:
        v, f, kernel = self.v, self.f, self.kernel
        sums = v.at("%sums", f.mul(at, "%sums_pitch"))
        for g in range(kernel.gates + (kernel.cell.apart is not None)):
            self.store(operands[g], v.at(sums, self._gate(g, unit)))
        for name, value in zip(("before", "cells"), before, strict=False):
            self.store(value, v.at(f"%{name}", f.add(f.mul(at, f"%{name}_pitch"), unit)))

    def _gate(self, gate: int, unit: Index) -> str:
        return self.f.add(unit, self.f.mul("%hidden", gate))
