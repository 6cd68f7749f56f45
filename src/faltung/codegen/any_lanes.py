"""Narrow memory and vectors of any number of lanes: for code that was written for others."""

from dataclasses import dataclass

from faltung.codegen.ir import Function
from faltung.codegen.narrow import Narrow, Words
from faltung.codegen.vectors import Vectors
from faltung.codegen.whole import EXTEND, Bytes, Whole
from faltung.machine.table import Machine


@dataclass(frozen=True)
class _Lanes(Narrow):
    """``Narrow`` vectors of any number of lanes."""

    count: int = 1

    @property
    def lanes(self) -> int:
        return self.count

    @property
    def _raw(self) -> Vectors:
        return _LaneWords(self.function, self.machine, self.dtype, self.count)


@dataclass(frozen=True)
class _LaneWords(Words):
    count: int = 1

    @property
    def lanes(self) -> int:
        return self.count


@dataclass(frozen=True)
class _WholeLanes(Whole):
    """``Whole`` vectors of any number of lanes."""

    count: int = 1

    @property
    def lanes(self) -> int:
        return self.count

    @property
    def _raw(self) -> Vectors:
        return _LaneBytes(self.function, self.machine, self.dtype, self.count)


@dataclass(frozen=True)
class _LaneBytes(Bytes):
    count: int = 1

    @property
    def lanes(self) -> int:
        return self.count


# The elements of memory of each kind.
ELEMENTS = {"float16": "i16", "bfloat16": "i16", "uint8": "i8", "int8": "i8"}


def lanes_of(piece: Function, machine: Machine, kind: str, count: int) -> Narrow:
    """Vectors of so many lanes over memory of a kind."""
    made = _WholeLanes if kind in EXTEND else _Lanes
    return made(piece, machine, "float32", kind, count)
