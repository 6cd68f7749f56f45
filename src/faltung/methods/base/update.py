"""What becomes of a gradient for the weight that is complete: the step of an optimizer.

Where the weight, its gradient and the numbers of the optimizer lie in the same order, a tile that
has summed its part of the gradient changes the weight at once. The gradient itself is then never
written to memory, and not read again.
"""

from collections.abc import Mapping, Sequence

from faltung.codegen.expr import Formulas
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Update:
    """``formulas``: the new parameter and the new slots, of (parameter, gradient, *slots,
    *scalars).
    """

    formulas: tuple[Expr, ...]
    scalars: int

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays in the order of the weight, which are read and written."""
        return ("parameter", *(f"slot{i}" for i in range(len(self.formulas) - 1)))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the scalars, of which each is one element in memory."""
        return tuple(f"scalar{i}" for i in range(self.scalars))

    def load(self, v: Vectors) -> list[str]:
        """The scalars, each in every lane."""
        return [v.broadcast(f"%{name}") for name in self.numbers]

    def store(
        self,
        v: Vectors,
        gradient: str,
        at: Mapping[str, str],
        scalars: Sequence[str],
        lanes: int,
    ) -> None:
        """Change the elements of the arrays ``at`` these addresses, ``lanes`` of a vector."""
        mask = v.first(lanes)
        parameter, *slots = (v.load(at[name], mask) for name in self.arrays)
        made = Formulas(v, [parameter, gradient, *slots, *scalars])
        for name, value in zip(
            self.arrays, [made.value(expr) for expr in self.formulas], strict=True
        ):
            v.store_first(value, at[name], lanes)
