"""Levels: whole numbers of 8 bits in memory, float32 or int32 in vectors.

Reading a level gives the number that it stands for, (q - zero) * scale; writing divides by the
scale, rounds to the nearest level, of two to the even one, and keeps within the bounds. These are
the formulas of ``geometry/levels.py``, each operation rounded on its own: the same bits on every
machine. Memory is touched for the lanes asked for and no others.
"""

from dataclasses import replace
from fractions import Fraction
from math import frexp

import numpy as np

from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.levels import Grid
from faltung.geometry.record import dataclass

# Adding it to a float32 below 2**22 in size rounds that to a whole number, in the lowest bits.
# The lowest byte of its bits is zero.
MAGIC = 1.5 * 2.0**23
# Digits of a short scale; the largest exponent of one whose inverse, and what that lacks, are not
# denormal.
SHORT_DIGITS, MOST_EXPONENT = 12, 90


def exact(v: Vectors) -> Vectors:
    """Vectors of float32 whose sums do not swallow the rounding of products."""
    return Vectors(v.function, replace(v.machine, fma=False), "float32")


def bounds(grid: Grid) -> tuple[float, float]:
    """The numbers of the lowest and of the highest level."""
    scale = float(grid.scale)  # type: ignore[arg-type]
    return (grid.low - grid.zero) * scale, (grid.high - grid.zero) * scale


@dataclass(frozen=True)
class Levels:
    """Memory of levels on a grid whose scale is a number. ``v``: vectors of float32, ``exact``;
    ``fused``: those that multiply and add at once, if there are.
    """

    v: Vectors
    grid: Grid
    fused: Vectors | None = None

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
        """The nearest levels, in the low bytes of a vector of int32; the lowest one for what is no
        number.
        """
        v = self.v
        # Bounds before the division: with them nothing overflows, and rounding is monotonous.
        low, high = map(v.constant, bounds(self.grid))
        bits = v.bits(self._whole(v.min(v.max(low, number), high)))
        if not self.grid.zero:
            return bits
        return v.function.value(f"add {v.integers} {bits}, {v.splat(self.grid.zero)}")

    def _whole(self, x: str) -> str:
        """The quotient by the scale, rounded as a float32, plus ``MAGIC``: so rounded once more, to
        a whole number.

        Where the scale is a power of two its inverse is exact. Where it has few digits, the inverse
        in two parts gives the rounded quotient: what it lacks, 2**-48, is less than the distance of
        any quotient from the middle of two float32.
        """
        v, scale = self.v, self._scale
        mantissa, exponent = frexp(scale)
        magic, inverse = v.constant(MAGIC), 1.0 / scale
        usual = -MOST_EXPONENT < exponent < MOST_EXPONENT
        if usual and mantissa == 0.5:
            if self.fused is not None:
                return self.fused.multiply_add(x, v.constant(inverse), magic)
            return v.add(v.mul(x, v.constant(inverse)), magic)
        if usual and self.fused is not None and mantissa * 2.0**SHORT_DIGITS % 1 == 0:
            high = float(np.float32(inverse))
            low = float(1 / Fraction(scale) - Fraction(high))
            rest = v.mul(x, v.constant(low))
            return v.add(self.fused.multiply_add(x, v.constant(high), rest), magic)
        return v.add(v.div(x, v.constant(scale)), magic)

    def write(self, levels: list[str], address: str, count: int) -> None:
        """Store ``count`` lanes of several vectors of ``levels``, one after the other."""
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
