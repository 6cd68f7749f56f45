"""Recipes for the tests of jit: small modules, written by hand."""

from dataclasses import dataclass

from faltung.machine.table import Machine


@dataclass(frozen=True)
class Fill:
    """Write the float `value` to elements begin..end of the array."""

    value: float

    @property
    def symbol(self) -> str:
        return "fill"

    def emit(self, machine: Machine, /) -> str:
        bits = f"{self.value:.17e}"
        return f"""
        define void @fill(ptr %array, i64 %begin, i64 %end) nounwind {{
          br label %test
        test:
          %i = phi i64 [%begin, %0], [%next, %body]
          %more = icmp slt i64 %i, %end
          br i1 %more, label %body, label %done
        body:
          %place = getelementptr double, ptr %array, i64 %i
          store double {bits}, ptr %place
          %next = add i64 %i, 1
          br label %test
        done:
          ret void
        }}"""


@dataclass(frozen=True)
class Text:
    """Any module, given as its text."""

    symbol: str
    text: str

    def emit(self, machine: Machine, /) -> str:
        return self.text


@dataclass(frozen=True)
class Own:
    """Counts how often its text is asked for; passes for a recipe of the package itself."""

    number: int

    @property
    def symbol(self) -> str:
        return "own"

    def emit(self, machine: Machine, /) -> str:
        EMITTED.append(self.number)
        return f"""
        define void @own(ptr %p, i64 %begin, i64 %end) nounwind {{
          store i64 {self.number}, ptr %p
          ret void
        }}"""


EMITTED: list[int] = []
Own.__module__ = "faltung.methods.of_the_tests"
