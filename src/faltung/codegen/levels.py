"""Levels: whole numbers of 8 bits in memory, float32 or int32 in vectors.

Reading a level gives the number that it stands for, (q - zero) * scale; writing divides by the
scale, rounds to the nearest level, of two to the even one, and keeps within the bounds. These are
the formulas of ``geometry/levels.py``, each operation rounded on its own: the same bits on every
machine. Memory is touched for the lanes asked for and no others.
"""

from dataclasses import dataclass, replace
from math import frexp

import numpy as np

from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.levels import Grid

# Adding it to a float32 below 2**22 in size rounds that to a whole number, in the lowest bits.
MAGIC = 1.5 * 2.0**23
MAGIC_BITS = 0x4B400000


def exact(v: Vectors) -> Vectors:
    """Vectors of float32 whose sums do not swallow the rounding of products."""
    return Vectors(v.function, replace(v.machine, fma=False), "float32")


@dataclass(frozen=True)
class Levels:
    """Memory of levels on a grid whose scale is a number. ``v``: vectors of float32, ``exact``."""

    v: Vectors
    grid: Grid

    @property
    def _scale(self) -> float:
        return float(self.grid.scale)  # type: ignore[arg-type]

    def read(self, address: str, count: int) -> str:
        """The numbers of the first ``count`` lanes, a constant; the others are whatever."""
        q = read_bytes(self.v, address, min(count, self.v.lanes))
        return self.numbers(widened(self.v, q, self.grid.stored))

    def read_one(self, address: str) -> str:
        """The number of one level, in every lane."""
        f, signed = self.v.function, self.grid.stored == "int8"
        q = f.value(f"load i8, ptr {address}, align 1")
        q = f.value(f"{'sext' if signed else 'zext'} i8 {q} to i32")
        return self.numbers(self.v.spread(q, "i32"))

    def numbers(self, q: str) -> str:
        """What levels stand for; q: a vector of int32."""
        v = self.v
        moved = v.function.value(f"sub {v.integers} {q}, {v.splat(self.grid.zero)}")
        number = v.function.value(f"sitofp {v.integers} {moved} to {v.type}")
        return number if self._scale == 1.0 else v.mul(number, v.constant(self._scale))

    def levels(self, number: str) -> str:
        """The nearest levels, a vector of int32; the lowest one for what is no number."""
        v, grid = self.v, self.grid
        # Bounds before the division: with them nothing overflows, and rounding is monotonous.
        low, high = ((at - grid.zero) * self._scale for at in (grid.low, grid.high))
        bounded = v.min(v.max(v.constant(low), number), v.constant(high))
        bounded = v.add(self._quotient(bounded), v.constant(MAGIC))
        bits = v.bits(bounded)
        return v.function.value(f"sub {v.integers} {bits}, {v.splat(MAGIC_BITS - grid.zero)}")

    def _quotient(self, number: str) -> str:
        """By the scale; a product where that has the same bits."""
        inverse = 1.0 / self._scale
        power = frexp(self._scale)[0] == 0.5 and np.isfinite(np.float32(inverse))
        if power and abs(inverse) >= np.finfo(np.float32).tiny:
            return self.v.mul(number, self.v.constant(inverse))
        return self.v.div(number, self.v.constant(self._scale))

    def write(self, levels: list[str], address: str, count: int) -> None:
        """Several vectors of int32, one after the other, of which ``count`` lanes are stored."""
        f, joined, lanes = self.v.function, levels[0], self.v.lanes
        for more in levels[1:]:
            joined = _joined(self.v, joined, more, lanes)
            lanes += self.v.lanes
        made = f.value(f"trunc <{lanes} x i32> {joined} to <{lanes} x i8>")
        write_bytes(f, made, lanes, address, count)


def _joined(v: Vectors, a: str, b: str, lanes: int) -> str:
    """A vector of ``lanes`` and one of the usual number, as one."""
    f, more = v.function, v.lanes
    if more < lanes:
        numbers = ", ".join(f"i32 {i if i < more else 'poison'}" for i in range(lanes))
        b = f.value(
            f"shufflevector {v.integers} {b}, {v.integers} poison, <{lanes} x i32> <{numbers}>"
        )
    numbers = ", ".join(f"i32 {i}" for i in range(lanes + more))
    kind = f"<{lanes} x i32>"
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{lanes + more} x i32> <{numbers}>")


def widened(v: Vectors, q: str, stored: str) -> str:
    """Bytes as a vector of int32."""
    extend = "sext" if stored == "int8" else "zext"
    return v.function.value(f"{extend} <{v.lanes} x i8> {q} to {v.integers}")


def read_bytes(v: Vectors, address: str, count: int) -> str:
    """The first ``count`` of as many bytes as a vector has lanes, in parts of powers of two."""
    f, lanes = v.function, v.lanes
    if count == lanes:
        return f.value(f"load <{lanes} x i8>, ptr {address}, align 1")
    made, start, size = "zeroinitializer", 0, lanes // 2
    while size:
        if count & size:
            part = f.value(f"load <{size} x i8>, ptr {f.at(address, start, 'i8')}, align 1")
            numbers = ", ".join(f"i32 {i if i < size else 'poison'}" for i in range(lanes))
            part = f.value(
                f"shufflevector <{size} x i8> {part}, <{size} x i8> poison, "
                f"<{lanes} x i32> <{numbers}>"
            )
            places = range(lanes)
            picks = [lanes + i - start if start <= i < start + size else i for i in places]
            numbers = ", ".join(f"i32 {i}" for i in picks)
            made = f.value(
                f"shufflevector <{lanes} x i8> {made}, <{lanes} x i8> {part}, "
                f"<{lanes} x i32> <{numbers}>"
            )
            start += size
        size //= 2
    return made


def write_bytes(f: Function, vector: str, lanes: int, address: str, count: int) -> None:
    """The first ``count`` bytes of a vector of ``lanes``, in parts of powers of two."""
    if count >= lanes:
        f.emit(f"store <{lanes} x i8> {vector}, ptr {address}, align 1")
        return
    start, size = 0, 1 << (lanes.bit_length() - 1)
    while size:
        if count & size:
            numbers = ", ".join(f"i32 {start + i}" for i in range(size))
            part = f.value(
                f"shufflevector <{lanes} x i8> {vector}, <{lanes} x i8> poison, "
                f"<{size} x i32> <{numbers}>"
            )
            f.emit(f"store <{size} x i8> {part}, ptr {f.at(address, start, 'i8')}, align 1")
            start += size
        size //= 2
