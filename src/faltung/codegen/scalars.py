"""Single numbers of one dtype in generated code: arithmetic, floor, choices."""

from struct import pack

import numpy as np

from faltung.codegen.ir import Function
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class Scalars:
    """Floating-point numbers of ``dtype`` in a function; every method returns a value's name."""

    function: Function
    dtype: str

    @property
    def kind(self) -> str:
        return ELEMENTS[self.dtype][0]

    def constant(self, value: float) -> str:
        """A number, rounded to the dtype."""
        narrow = float(np.dtype(self.dtype).type(value))
        return f"0x{pack('>d', narrow).hex().upper()}"

    def _two(self, name: str, a: str | float, b: str | float) -> str:
        return self.function.value(f"{name} {self.kind} {self.of(a)}, {self.of(b)}")

    def of(self, a: str | float) -> str:
        return a if isinstance(a, str) else self.constant(a)

    def add(self, a: str | float, b: str | float) -> str:
        return self._two("fadd", a, b)

    def sub(self, a: str | float, b: str | float) -> str:
        return self._two("fsub", a, b)

    def mul(self, a: str | float, b: str | float) -> str:
        return self._two("fmul", a, b)

    def div(self, a: str | float, b: str | float) -> str:
        return self._two("fdiv", a, b)

    def compare(self, predicate: str, a: str | float, b: str | float) -> str:
        """A truth, "olt", "oge", ...: false if one is NaN."""
        return self._two(f"fcmp {predicate}", a, b)

    def select(self, condition: str, a: str | float, b: str | float) -> str:
        kind = self.kind
        return self.function.value(
            f"select i1 {condition}, {kind} {self.of(a)}, {kind} {self.of(b)}"
        )

    def at_least(self, a: str | float, low: str | float) -> str:
        """The larger of the two; ``low`` for NaN."""
        return self.select(self.compare("ogt", a, low), a, low)

    def at_most(self, a: str | float, high: str | float) -> str:
        """The smaller of the two; ``high`` for NaN."""
        return self.select(self.compare("olt", a, high), a, high)

    def load(self, address: str) -> str:
        size = ELEMENTS[self.dtype][1]
        return self.function.value(f"load {self.kind}, ptr {address}, align {size}")

    def store(self, value: str, address: str) -> None:
        size = ELEMENTS[self.dtype][1]
        self.function.emit(f"store {self.kind} {value}, ptr {address}, align {size}")

    def number(self, integer: str) -> str:
        """An ``i64`` as such a number."""
        return self.function.value(f"sitofp i64 {integer} to {self.kind}")

    def whole(self, a: str) -> str:
        """The ``i64`` of a number that has no fraction and fits."""
        return self.function.value(f"fptosi {self.kind} {a} to i64")

    def floor(self, a: str) -> tuple[str, str]:
        """The largest whole number up to ``a``, as a number and as an ``i64``; |a| < 2**62.

        By conversions: not every processor has an instruction, and LLVM would call the C library.
        """
        f = self.function
        near = self.whole(a)
        above = self.compare("ogt", self.number(near), a)
        found = f.sub(near, f.value(f"zext i1 {above} to i64"))
        return self.number(found), found
