"""Whole numbers of 8 bits in memory, float32 in vectors.

Every load converts, which is exact; every store drops what float32 has beyond 8 bits, which is
nothing where the numbers are levels (``geometry/levels.py``). What else is stored so is any number
of the 256.
"""

from faltung.codegen.narrow import Narrow, Words
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass

# The types, and how they become wider integers.
EXTEND = {"uint8": "zext", "int8": "sext"}


@dataclass(frozen=True)
class Whole(Narrow):
    """``Vectors`` of float32 over memory of ``stored``: "uint8" or "int8"."""

    stored: str = "uint8"

    @property
    def _raw(self) -> Vectors:
        return Bytes(self.function, self.machine, self.dtype, self.count)

    def broadcast(self, address: str) -> str:
        return self._widened(self._raw.broadcast(address))

    def _widened(self, words: str) -> str:
        bits = self._cast(f"{EXTEND[self.stored]} {self._raw.type} {words} to", self._whole)
        return self._cast(f"sitofp {self._whole} {bits} to", self.type)

    def _narrowed(self, vector: str) -> str:
        bits = self._cast(f"fptosi {self.type} {vector} to", self._whole)
        return self._cast(f"trunc {self._whole} {bits} to", self._raw.type)


@dataclass(frozen=True)
class Bytes(Words):
    """As many 8-bit integers as a vector has lanes, or ``count``."""

    @property
    def element(self) -> str:
        return "i8"

    @property
    def bytes(self) -> int:
        return 1

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}i8"
