"""What integer sums become as they are stored: a formula in float32, then levels or numbers.

Each operation of the formula is rounded on its own, on every machine, so that the same sums give
the same bits everywhere; the sums are exact.
"""

from collections.abc import Sequence

from faltung.codegen.expr import emit, instructions
from faltung.codegen.ir import Function
from faltung.codegen.levels import Levels, bounds, exact
from faltung.codegen.tile import Accumulators
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.levels import Grid
from faltung.geometry.record import dataclass
from faltung.methods.base.epilogue import LONG, Epilogue, aux_names

# Columns of the table of positions: where each begins in the patch, in the output, and in the
# arrays of the epilogue.
PATCH, OUT = 0, 1
# Vectors of levels that are stored together.
JOINED = 2


def rounded(expr: Expr) -> Expr:
    """A formula without the operations that only say that float32 is rounded to float32."""
    if expr.op == "as_float32":
        return rounded(expr.terms[0])
    if not expr.terms:
        return expr
    return Expr(expr.op, tuple(map(rounded, expr.terms)))


@dataclass(frozen=True, slots=True)
class Store:
    """result: the grid of what is stored, None for numbers. grids: of what the formula reads beside
    the sum, None for numbers; steps: for each whether its channels are contiguous (1) or the same
    (0); fixed: whether it is the same at all positions.
    """

    result: Grid | None = None
    epilogue: Epilogue | None = None
    grids: tuple[Grid | None, ...] = ()
    steps: tuple[int, ...] = ()
    fixed: tuple[bool, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return ("out", *aux_names(len(self.grids)))

    @property
    def columns(self) -> int:
        """Of the table of positions."""
        return 1 + len(self.names)

    def kind(self, number: int) -> str:
        """The LLVM type of the elements of one of ``names``."""
        return "float" if (self.result, *self.grids)[number] is None else "i8"

    def entry(self, f: Function, positions: str, number: int) -> str:
        return f.at(positions, number * self.columns, "i64")

    def tile(self, v: Vectors, acc: Accumulators, entries: Sequence[str], channels: int) -> None:
        """Store a tile of int32 sums, of which so many channels exist. ``entries``: of its
        positions.
        """
        self.numbers(v, acc, entries, channels, whole=True)

    def numbers(
        self,
        v: Vectors,
        acc: Accumulators,
        entries: Sequence[str],
        channels: int,
        whole: bool = False,
    ) -> None:
        """The same for sums that are float32 already, or ``whole``."""
        f, numbers = v.function, exact(v)
        fused = Vectors(f, v.machine, "float32") if v.machine.fma else None
        firsts = range(0, len(acc[0]) * v.lanes, v.lanes)
        counts = [min(v.lanes, channels - first) for first in firsts]
        fixed = [
            [
                self._read(numbers, i, f"%aux{i}", first, count) if self._once(i) else ""
                for i in range(len(self.grids))
            ]
            for first, count in zip(firsts, counts, strict=True)
        ]
        for row, entry in zip(acc, entries, strict=True):
            at = [
                f.at(f"%{name}", f.word(entry, OUT + i), self.kind(i))
                for i, name in enumerate(self.names)
                if i == 0 or not self.fixed[i - 1]
            ]
            places = iter(at[1:])
            aux = [f"%aux{i}" if once else next(places) for i, once in enumerate(self.fixed)]
            made = []
            for total, known, first, count in zip(row, fixed, firsts, counts, strict=True):
                if whole:
                    total = f.value(f"sitofp {v.type} {total} to {numbers.type}")
                read = [
                    known[i] or (self._read(numbers, i, aux[i], first, count) if used else total)
                    for i, used in enumerate(map(self._used, range(len(aux))))
                ]
                made.append(self._formula(numbers, [total, *read]))
            self._write(numbers, fused, made, at[0], channels)

    def _used(self, number: int) -> bool:
        return self.epilogue is not None and number + 1 in self.epilogue.expr.operands()

    def _once(self, number: int) -> bool:
        return self.fixed[number] and self._used(number)

    def _read(self, v: Vectors, number: int, at: str, first: int, count: int) -> str:
        """What the formula reads: numbers, of ``count`` channels."""
        f, grid, step = v.function, self.grids[number], self.steps[number]
        at = f.at(at, first * step, self.kind(number + 1))
        if grid is None:
            return v.load(at, v.first(count)) if step else v.broadcast(at)
        levels = Levels(v, grid)
        return levels.read(at, count) if step else levels.read_one(at)

    @property
    def _expr(self) -> Expr | None:
        """The formula, without bounds that are no narrower than those of the levels."""
        expr = None if self.epilogue is None else rounded(self.epilogue.expr)
        if self.result is None:
            return expr
        low, high = bounds(self.result)
        while expr is not None and expr.op in ("max", "min"):
            inner, bound = expr.terms[0], expr.terms[1].value
            if bound is None or (bound > low if expr.op == "max" else bound < high):
                break
            expr = inner
        return expr

    def _formula(self, v: Vectors, operands: Sequence[str]) -> str:
        expr = self._expr
        if expr is None:
            return operands[0]
        if instructions(expr) < LONG:
            return emit(v, expr, operands)
        used = sorted({0, *expr.operands()})

        def write(name: str) -> None:
            given = [(v.type, f"x{i}") for i in used]
            inner = exact(v.functions.open(name, given, returns=v.type))
            own = [f"%x{i}" if i in used else "poison" for i in range(len(operands))]
            inner.function.result = emit(inner, expr, own)

        name = v.function.module.shared((expr, "exact"), write)
        arguments = ", ".join(f"{v.type} {operands[i]}" for i in used)
        return v.function.value(f"call {v.type} @{name}({arguments})")

    def _write(
        self, v: Vectors, fused: Vectors | None, values: list[str], out: str, channels: int
    ) -> None:
        """Vectors of one position, one after the other."""
        f = v.function
        if self.result is None:
            for q, value in enumerate(values):
                v.store_first(value, v.at(out, q * v.lanes), channels - q * v.lanes)
            return
        levels = Levels(v, self.result, fused)
        whole = [levels.levels(value) for value in values]
        for q in range(0, len(whole), JOINED):
            first = q * v.lanes
            levels.write(whole[q : q + JOINED], f.at(out, first, "i8"), channels - first)
