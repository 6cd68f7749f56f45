"""What a method returns: steps, each a kernel with its arguments, over named arrays.

All kernels have the signature ``(arguments, begin, end)``: they read addresses, strides and counts
from the block ``arguments`` and do the items from ``begin`` up to ``end``. Items never write the
same element, so the bits do not depend on how items are split between threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.jit.compile import Recipe
from faltung.methods.base.update import Update

Table = npt.NDArray[np.int64]

# In a table of offsets: there is no source; read zero.
MISSING = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Operand:
    """An address known only at the call: ``offset`` bytes into the array called ``name``."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """The address of the compiled function of a recipe."""

    recipe: Recipe


Argument = int | Operand | Table | Code


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of contiguous elements, ``pitch`` elements from one to the next: positions with their
    channels, or where channels come first, planes with their positions.
    """

    array: Operand
    pitch: int

    def arguments(self, name: str) -> "dict[str, Argument]":
        """The matrix as arguments of a kernel."""
        return {name: self.array, f"{name}_pitch": self.pitch}


@dataclass(frozen=True, slots=True)
class Arrays:
    """The arrays of one problem; ``aux``: those that an epilogue reads. ``update``: what a gradient
    for the weight is for, where it is not to be stored.
    """

    x: Operand
    w: Operand
    out: Operand
    bias: Operand | None = None
    aux: tuple[Operand, ...] = ()
    update: Update | None = None


def shifted(operand: Operand, elements: int, dtype: str) -> Operand:
    """The same array, ``elements`` further on."""
    return Operand(operand.name, operand.offset + elements * np.dtype(dtype).itemsize)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One kernel over ``items`` items.

    ``barrier``: all threads must have finished the steps before this one.
    """

    recipe: Recipe
    items: int
    arguments: Sequence[Argument]
    title: str
    barrier: bool = False


def recipes(step: Step) -> "list[Recipe]":
    """What a step runs: its own code, and the functions that this calls."""
    return [step.recipe, *(word.recipe for word in step.arguments if isinstance(word, Code))]


def relocated(step: Step, names: Mapping[str, Operand]) -> Step:
    """The same step over other arrays: the array ``name`` begins where ``names[name]`` points.

    Offsets add up. ValueError: ``names`` lacks an array of the step.
    """

    moved: list[Argument] = []
    for argument in step.arguments:
        if type(argument) is not int and isinstance(argument, Operand):
            base = names.get(argument.name)
            if base is None:
                known = sorted(names)
                raise ValueError(f"names={known}: must have {argument.name!r}, for {step.title}")
            at = base.offset + argument.offset
            argument = Operand(base.name, at) if at != base.offset else base
        moved.append(argument)
    return Step(step.recipe, step.items, tuple(moved), step.title, step.barrier)


def waiting(step: Step, barrier: bool) -> Step:
    """The same step, with or without a barrier before it."""
    if step.barrier == barrier:
        return step
    return Step(step.recipe, step.items, step.arguments, step.title, barrier)


@dataclass(slots=True)
class Work:
    """A plan under construction: steps, and the arrays that it owns (name -> bytes).

    ``prepare`` only reads weights and bias, and fills the arrays in ``kept``; a ``Conv`` does it
    once. ``packs``: it is done at every call, right before ``steps``, and may be part of them.
    cycles: of one core, about, where a method says so.
    """

    prepare: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)
    packs: bool = False
    cycles: float = 0.0

    def keep(self, hint: str, size: int) -> Operand:
        """Reserve an array of ``size`` bytes that outlives the call."""
        return _reserve(self.kept, hint, size)

    def again(self, name: str, size: int) -> bool:
        """Borrow an array that several steps share; True if an earlier step uses it."""
        used = name in self.scratch
        self.scratch[name] = max(size, self.scratch.get(name, 0))
        return used

    def borrow(self, hint: str, size: int) -> Operand:
        """Reserve an array of ``size`` bytes for the duration of a call."""
        return _reserve(self.scratch, hint, size)


def _reserve(arrays: dict[str, int], hint: str, size: int) -> Operand:
    name = f"{hint}.{len(arrays)}"
    arrays[name] = size
    return Operand(name)


def table(rows: Sequence[Sequence[int]] | Table, columns: int) -> Table:
    """A contiguous table of 64-bit integers with ``columns`` columns, even if it is empty."""
    return np.ascontiguousarray(np.asarray(rows, dtype=np.int64).reshape(-1, columns))
