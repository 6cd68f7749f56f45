"""``Kernel``: a recipe that declares its arguments by name, its code, and its steps.

The code reads addresses and numbers from one block of 64-bit words, its arguments. Their names are
declared once, in the class of the kernel: the code gets the values by name and ``step`` takes them
by name, so the two cannot disagree about the position of an argument in the block.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import ClassVar

from faltung.codegen.ir import Function, Module, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.axis import Axis
from faltung.geometry.errors import FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Step

BLOCK = "%arguments"
# The most runs of items, each with all rows.
MAX_PARTS = 16


@dataclass(frozen=True, slots=True)
class RowItems:
    """Where the items of a step are rows one after the other: the items before ``items[i]`` write
    the outputs before ``outputs[i]`` along the first axis. Both begin with 0 and end with how many
    there are. ``parts``: there may be several such runs, of groups or blocks of channels, which
    begin with these items. ``sample``: items from one sample to the next.
    """

    outputs: tuple[int, ...]
    items: tuple[int, ...]
    sample: int
    parts: tuple[int, ...] = (0,)


class Kernel:
    """Base of all kernels: frozen dataclasses whose fields determine their code.

    name: of the code. pointers, numbers: the names of the arguments; ``declared`` adds what depends
    on the fields. one_call: a call does at its beginning what serves all of its items, such as a
    copy, so that each thread should have one.
    """

    name: ClassVar[str] = "kernel"
    one_call: ClassVar[bool] = False
    pointers: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ()

    dtype: str

    @property
    def symbol(self) -> str:
        """The name of the function, for people who look at the code."""
        return f"{self.name}_{self.dtype}"

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of pointers and of numbers."""
        return self.pointers, self.numbers

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arguments, as they follow each other in the block."""
        pointers, numbers = self.declared()
        return (*numbers, *pointers)

    def functions(self, code: Functions) -> None:
        """Write the inner functions that ``body`` calls."""

    def body(self, v: Vectors, given: "Arguments") -> None:
        """Write the code for the items from ``%begin`` up to ``%end``."""
        raise NotImplementedError

    def row_items(self, step: Step, axes: Sequence[Axis]) -> RowItems | None:
        """The items of a step of this kernel by rows of the first of ``axes``, the output's; None
        where others lie between them.
        """
        return None

    def named(self, step: Step) -> dict[str, Argument]:
        """The arguments of a step of this kernel, by name."""
        return dict(zip(self.names, step.arguments, strict=True))

    def counts(self, step: Step, names: Iterable[str]) -> list[int]:
        """Those of the arguments that are numbers."""
        given = self.named(step)
        return [int(given[name]) for name in names]  # type: ignore[arg-type]

    def emit(self, machine: Machine) -> str:
        """LLVM IR of the module, as ``jit.compile.Recipe`` requires."""
        code = Functions(Module(), machine, self.dtype)
        self.functions(code)
        arguments = parameters([BLOCK[1:]], ["begin", "end"])
        v = code.open(self.symbol, arguments, public=True)
        self.body(v, Arguments(v.function, self))
        return str(code.module)

    def step(self, items: int, title: str, /, *, barrier: bool = False, **given: Argument) -> Step:
        """The step that runs ``items`` items with these arguments.

        TypeError: a declared argument is missing, or one is given that is not declared.
        """
        names = self.names
        if given.keys() != set(names):
            missing = [name for name in names if name not in given]
            unknown = [name for name in given if name not in names]
            raise FaltungTypeError(
                f"{type(self).__name__}.step: missing {missing}, unknown {unknown}; "
                f"must be {', '.join(names)}"
            )
        return Step(self, items, tuple(given[name] for name in names), title, barrier)


def part(
    f: Function, total: str, parts: str, begin: str, end: str | None = None
) -> tuple[str, str]:
    """First and stop of part ``begin`` of ``total``, divided into ``parts``; or of those up to
    ``end``.
    """
    ends = begin, end or f.add(begin, 1)
    first, stop = (f.divmod(f.mul(at, total), parts)[0] for at in ends)
    return first, stop


class Arguments(dict[str, str]):
    """The arguments of a kernel as values in its code, by name; all are loaded at once.

    ``block``: the block of arguments. ``start``: where those of ``kernel`` begin in it.
    """

    def __init__(self, f: Function, kernel: Kernel, block: str = BLOCK, start: int = 0) -> None:
        pointers, numbers = kernel.declared()
        self._f, self._block = f, block
        self._places = {name: start + i for i, name in enumerate(kernel.names)}
        super().__init__({name: f.pointer(block, self._places[name]) for name in pointers})
        self.update({name: f.word(block, self._places[name]) for name in numbers})

    def offset(self, name: str, **indices: str) -> str:
        """The offset in an array: each index times the stride ``name_...`` of the same name."""
        f = self._f
        return reduce(f.add, (f.mul(at, self[f"{name}_{of}"]) for of, at in indices.items()))

    def address(self, name: str) -> str:
        """The address of the argument itself."""
        return self._f.at(self._block, self._places[name], "i64")
