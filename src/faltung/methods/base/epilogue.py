"""Epilogues: bias and formula applied to a sum in registers, as it is stored.

A method stores each element of its output once. Just before, the bias is added to the sum, and if
the correlation has an ``Epilogue``, its formula is applied to the result: an activation, a residual
to add, the sign of an activation that masks a gradient. The formula may read further arrays of the
output's shape, each with its own strides (0 to repeat an entry along an axis). Their elements are
read only by the item that writes the output at the same position, and before it writes: so one of
them may be the output itself, with the same strides.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from faltung.codegen.expr import emit, instructions
from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass

# Formulas of so many instructions are computed for so many vectors at once.
LONG = 12
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Epilogue:
    """A formula of the sum with its bias (operand 0) and of ``aux`` arrays (operands 1, 2, ...).

    ValueError: another operand, or random numbers.
    """

    expr: Expr
    aux: int = 0

    def __post_init__(self) -> None:
        if not self.expr.operands() <= set(range(self.aux + 1)):
            raise FaltungError(f"expr={self.expr}: must have operands 0 to {self.aux}")
        if self.expr.uses("random"):
            raise FaltungError(f"expr={self.expr}: must have no random numbers")

    def __str__(self) -> str:
        return f"then {self.expr}"


def aux_names(count: int) -> tuple[str, ...]:
    """Names in code of the ``count`` arrays that an epilogue reads."""
    return tuple(f"aux{i}" for i in range(count))


def tile_arguments(aux: int) -> list[tuple[str, str]]:
    """The arguments of a tile function for the arrays: their addresses and strides."""
    return [
        (kind, f"{name}{number}")
        for name in aux_names(aux)
        for kind, number in (("ptr", ""), ("i64", "_position"), ("i64", "_channel"))
    ]


@dataclass(frozen=True, slots=True)
class Finish:
    """The epilogue at one position of a tile.

    ``at``: the addresses in its arrays. ``steps``: for each array, whether its lanes are contiguous
    in memory (1), the same element (0), or gathered (-1).
    """

    v: Vectors
    epilogue: Epilogue | None
    steps: tuple[int, ...]
    at: tuple[str, ...]

    def moved(self, along: str, count: Index) -> "Finish":
        """The same, ``count`` further ``along`` the output ("channel" or "position")."""
        f = self.v.function
        offsets = [f.mul(f"%aux{i}_{along}", count) for i in range(len(self.at) if count else 0)]
        moved = tuple(map(self.v.at, self.at, offsets)) if offsets else self.at
        return replace(self, at=moved)

    def value(self, total: str, along: str, mask: str | None) -> str:
        """What to store for the vector ``total``, whose lanes go ``along`` the output."""
        if self.epilogue is None:
            return total
        return emit(self.v, self.epilogue.expr, self.operands(total, along, mask))

    def operands(self, total: str, along: str, mask: str | None) -> list[str]:
        """``total`` and what the formula reads beside it; ``total`` also for what it does not."""
        used = frozenset() if self.epilogue is None else self.epilogue.expr.operands()
        read = [self._read(i, along, mask) if i + 1 in used else total for i in range(len(self.at))]
        return [total, *read]

    def _read(self, number: int, along: str, mask: str | None) -> str:
        if self.steps[number] == 1:
            return self.v.load(self.at[number], mask)
        if self.steps[number] == 0:
            return self.v.broadcast(self.at[number])  # some lane of a vector is always stored
        return self.v.gather(self.at[number], f"%aux{number}_{along}", mask)


def walked(
    end: Finish, step: str, totals: Iterable[str], mask: str | None
) -> Iterator[tuple[Finish, str, str | None]]:
    """Vectors one ``step`` ("channel" or "position") apart, for ``finished``."""
    for total in totals:
        yield end, total, mask
        end = end.moved(step, 1)


def finished(sums: Iterable[tuple[Finish, str, str | None]], along: str) -> Iterator[str]:
    """What to store for each of several vectors, given its place, the vector, and its mask.

    Long formulas are computed for a few vectors at a time: those are read before the first of them
    is given out to be written.
    """
    left = iter(sums)
    for first in left:
        end, epilogue = first[0], first[0].epilogue
        if epilogue is None or instructions(epilogue.expr) < LONG:
            yield end.value(first[1], along, first[2])
            continue
        several = [first, *islice(left, AT_ONCE - 1)]
        operands = [end.operands(total, along, mask) for end, total, mask in several]
        yield from _together(end.v, epilogue.expr, operands)


def _together(v: Vectors, expr: Expr, operands: Sequence[Sequence[str]]) -> list[str]:
    """The formula of several vectors of operands, by a function.

    In line, LLVM would compute one after the other to save registers, and each waits for itself
    most of the time. The sums that are still to come are in memory meanwhile.
    """
    f, used = v.function, sorted(expr.operands())
    every = range(len(operands))
    kind = f"{{{', '.join([v.type] * len(operands))}}}"

    def write(name: str) -> None:
        own = [[f"x{i}_{number}" for number in range(len(operands[0]))] for i in every]
        given = [(v.type, own[i][number]) for i in every for number in used]
        inner = v.functions.open(name, given, returns=kind)
        parts = [partial(emit, inner, expr, [f"%{one}" for one in own[i]]) for i in every]
        packed = "poison"
        for i, value in enumerate(inner.function.woven(parts)):
            text = f"insertvalue {kind} {packed}, {v.type} {value}, {i}"
            packed = inner.function.value(text)
        inner.function.result = packed

    name = f.module.shared((expr, v.dtype, len(operands)), write)
    arguments = ", ".join(f"{v.type} {operands[i][number]}" for i in every for number in used)
    made = f.value(f"call {kind} @{name}({arguments})")
    return [f.value(f"extractvalue {kind} {made}, {i}") for i in every]


def finish(v: Vectors, epilogue: Epilogue | None, steps: tuple[int, ...]) -> Finish:
    """The epilogue at the first position and channel of a tile (see ``tile_arguments``)."""
    at = tuple(f"%{name}" for name in aux_names(len(steps)))
    return Finish(v, epilogue, steps, at)
