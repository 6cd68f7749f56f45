"""``Kernel``: a recipe that declares its arguments by name, its code, and its steps.

The code reads addresses and numbers from one block of 64-bit words, its arguments. Their names are
declared once, in the class of the kernel: the code gets them as values by name, and ``step`` takes
them by name, so that the two cannot disagree about where in the block an argument lies.
"""

from typing import ClassVar

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Step

BLOCK = "%arguments"


class Kernel:
    """What all kernels are: frozen dataclasses whose fields are all that changes their code.

    pointers, numbers: the names of the arguments, in the order of the block; ``declared`` adds what
    depends on the fields.
    """

    pointers: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ()

    dtype: str

    @property
    def symbol(self) -> str:
        """The name of the function, for people who look at the code."""
        raise NotImplementedError

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of pointers and of numbers, as they follow each other in the block."""
        return self.pointers, self.numbers

    def functions(self, module: Module, machine: Machine) -> None:
        """Write the inner functions that ``body`` calls."""

    def body(self, v: Vectors, given: "Arguments") -> None:
        """Write the code of the items ``%begin`` to ``%end``."""
        raise NotImplementedError

    def emit(self, machine: Machine) -> str:
        """LLVM IR of the module, as ``jit.compile.Recipe`` wants it."""
        module = Module()
        self.functions(module, machine)
        arguments = [("ptr", BLOCK[1:]), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        self.body(Vectors(f, machine, self.dtype), Arguments(f, self))
        return str(module)

    def step(self, items: int, title: str, *, barrier: bool = False, **given: Argument) -> Step:
        """The step that runs ``items`` items with these arguments.

        TypeError: an argument that is declared is missing, or one is given that is not.
        """
        pointers, numbers = self.declared()
        names = (*pointers, *numbers)
        if given.keys() != set(names):
            missing = [name for name in names if name not in given]
            unknown = [name for name in given if name not in names]
            raise TypeError(
                f"{type(self).__name__}.step: missing {missing}, unknown {unknown}; "
                f"must be {', '.join(names)}"
            )
        return Step(self, items, tuple(given[name] for name in names), title, barrier)


class Arguments(dict[str, str]):
    """The arguments of a kernel as values in its code, by name; all are loaded here and now.

    block: where they lie. start: where those of ``kernel`` begin in it.
    """

    def __init__(self, f: Function, kernel: Kernel, block: str = BLOCK, start: int = 0) -> None:
        pointers, numbers = kernel.declared()
        self._f, self._block = f, block
        self._places = {name: start + i for i, name in enumerate((*pointers, *numbers))}
        super().__init__({name: f.pointer(block, self._places[name]) for name in pointers})
        self.update({name: f.word(block, self._places[name]) for name in numbers})

    def address(self, name: str) -> str:
        """Where the argument itself lies."""
        return self._f.at(self._block, self._places[name], "i64")
