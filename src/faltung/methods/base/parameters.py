"""The parameter block of a kernel: names of its pointers and numbers, filled in by name."""

from collections.abc import Mapping, Sequence

from faltung.codegen.ir import Function
from faltung.methods.base.step import Argument


class Words:
    """Reads the parameters at ``base``, which are in the order of ``names``."""

    def __init__(self, f: Function, names: Sequence[str], base: str = "%words") -> None:
        self._f = f
        self._base = base
        self._at = {name: i for i, name in enumerate(names)}

    def number(self, name: str) -> str:
        """The parameter as an i64."""
        return self._f.word(self._base, self._at[name])

    def pointer(self, name: str) -> str:
        """The parameter as an address."""
        return self._f.pointer(self._base, self._at[name])

    def address(self, name: str) -> str:
        """The address of the parameter itself."""
        return self._f.at(self._base, self._at[name], "i64")


def ordered(names: Sequence[str], given: Mapping[str, Argument]) -> tuple[Argument, ...]:
    """The arguments of a step in the order of ``names``. KeyError: one is missing."""
    return tuple(given[name] for name in names)
