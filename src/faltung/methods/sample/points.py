"""What a point reads, in code: the entries around it and their weights.

The arithmetic of a point is done once for all channels, in scalars. What lies outside is read from
a row of zeros, so that nothing in the map, not even a NaN, is multiplied by zero. No number that a
point may have, not even NaN, leads out of the map.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product
from struct import pack

import numpy as np

from faltung.codegen.ir import Index
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.geometry.sample import CUBIC, TAPS
from faltung.methods.base.kernel import Arguments, Kernel


@dataclass(frozen=True)
class PointsKernel(Kernel):
    """``rank``: axes of the map. ``windows``: points are relative to the taps of windows."""

    dtype: str
    rank: int
    mode: str
    outside: str
    masked: bool
    windows: bool
    backwards: bool

    @property
    def arrays(self) -> tuple[str, ...]:
        """What a kernel reads and writes beside points and masks."""
        raise NotImplementedError

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        every = range(self.rank)
        pointers = (*self.arrays, "points", *["mask"] * self.masked, "taps")
        numbers = ["positions", "count", "channels", "groups", "points_pitch"]
        numbers += ["mask_pitch"] * self.masked
        numbers += [f"{name}_pitch" for name in self.arrays if name != "zeros"]
        numbers += [f"{name}{a}" for name in ("size", "period", "step") for a in every]
        numbers += [f"{name}{a}" for name in ("out", "stride", "lo") for a in every if self.windows]
        return pointers, (*numbers, *self.numbers)


@dataclass(frozen=True, slots=True)
class Tap:
    """An entry that a point reads: its row of the map, whether it is there (None: always), its
    weight, and the slopes of that along the axes of the map.
    """

    row: str
    there: str | None
    weight: str
    slopes: tuple[str, ...]


class Points:
    """Writes the arithmetic of points into the function of a kernel."""

    def __init__(self, kernel: PointsKernel, v: Vectors, given: Arguments) -> None:
        self.kernel, self.v, self.f, self.given = kernel, v, v.function, given
        self.kind = v.element

    # Scalars -------------------------------------------------------------------------------------

    def number(self, value: float) -> str:
        narrow = float(np.dtype(self.kernel.dtype).type(value))
        return f"0x{pack('>d', narrow).hex().upper()}"

    def op(self, name: str, a: str, b: str) -> str:
        return self.f.value(f"{name} {self.kind} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self.op("fadd", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.op("fmul", a, b)

    def real(self, whole: str) -> str:
        return self.f.value(f"sitofp i64 {whole} to {self.kind}")

    def floor(self, x: str) -> tuple[str, str]:
        """The whole number below, and the rest; no library is called for it."""
        f, bits = self.f, 8 * ELEMENTS[self.kernel.dtype][1]
        name = f"llvm.fptosi.sat.i64.f{bits}"
        callee = f.module.declare(name, "i64", self.kind)
        near = f.value(f"call i64 {callee}({self.kind} {x})")
        above = f.value(f"fcmp ogt {self.kind} {self.real(near)}, {x}")
        whole = f.sub(near, f.value(f"zext i1 {above} to i64"))
        return whole, self.op("fsub", x, self.real(whole))

    def polynomial(self, t: str, *coefficients: float) -> str:
        """Of ``t``, from the highest power to the constant."""
        total = self.number(coefficients[0])
        for number in coefficients[1:]:
            total = self.add(self.mul(total, t), self.number(number))
        return total

    # Points --------------------------------------------------------------------------------------

    def bases(self, position: str) -> list[str]:
        """Where the first tap of a window is; zeros without windows."""
        if not self.kernel.windows:
            return ["0"] * self.kernel.rank
        f, given, found = self.f, self.given, []
        for a in reversed(range(self.kernel.rank)):
            position, at = f.divmod(position, given[f"out{a}"])
            found.append(f.sub(f.mul(at, given[f"stride{a}"]), given[f"lo{a}"]))
        return found[::-1]

    def taps(self, sample: str, bases: list[str], row: str, tap: str, group: Index) -> list[Tap]:
        """The entries that a point reads. row: of the point; tap: its number in the window."""
        f, v, given, rank = self.f, self.v, self.given, self.kernel.rank
        point = v.at(given["points"], f.mul(row, given["points_pitch"]))
        point = v.at(point, f.mul(group, rank))
        along = []
        for a in range(rank):
            place = rank - 1 - a if self.kernel.backwards else a
            where = v.load_one(v.at(point, place))
            if self.kernel.windows:
                offset = f.word(given["taps"], f.add(f.mul(tap, rank), a))
                where = self.add(where, self.real(f.add(bases[a], offset)))
            along.append(self._axis(where, a))
        first = sample
        rows = f.mul(first, self._map())
        made = []
        for choice in product(*along):
            places = [f.mul(index, given[f"step{a}"]) for a, (index, _, _, _) in enumerate(choice)]
            flags = [flag for _, flag, _, _ in choice if flag is not None]
            there = reduce(lambda a, b: f.value(f"and i1 {a}, {b}"), flags) if flags else None
            weights = [weight for _, _, weight, _ in choice]
            slopes = tuple(
                reduce(self.mul, [slope, *(w for i, w in enumerate(weights) if i != a)])
                for a, (_, _, _, slope) in enumerate(choice)
            )
            made.append(Tap(reduce(f.add, places, rows), there, reduce(self.mul, weights), slopes))
        return made

    def _map(self) -> str:
        """Entries of a sample."""
        f, given = self.f, self.given
        return f.mul(given["size0"], given["step0"])

    def _axis(self, where: str, a: int) -> list[tuple[str, str | None, str, str]]:
        """The taps along an axis: index, whether it is there, weight, slope."""
        f = self.f
        low, t = self.floor(where)
        one, zero = self.number(1.0), self.number(0.0)
        away = self.op("fsub", one, t)
        first = low
        if self.kernel.mode == "nearest":
            # The nearest one; of two the even one.
            half = self.number(0.5)
            over = f.value(f"fcmp ogt {self.kind} {t}, {half}")
            same = f.value(f"fcmp oeq {self.kind} {t}, {half}")
            odd = f.value(f"trunc i64 {low} to i1")
            up = f.value(f"or i1 {over}, {f.value(f'and i1 {same}, {odd}')}")
            first = f.add(low, f.value(f"zext i1 {up} to i64"))
            weights, slopes = [one], [zero]
        elif self.kernel.mode == "linear":
            weights, slopes = [away, t], [self.number(-1.0), one]
        else:
            first = f.sub(low, 1)
            c = CUBIC
            near, far = (c + 2, -(c + 3), 0.0, 1.0), (c, -5 * c, 8 * c, -4 * c)
            near_slope, far_slope = (3 * (c + 2), -2 * (c + 3), 0.0), (3 * c, -10 * c, 8 * c)
            beyond, before = self.add(t, one), self.add(away, one)
            weights = [
                self.polynomial(beyond, *far),
                self.polynomial(t, *near),
                self.polynomial(away, *near),
                self.polynomial(before, *far),
            ]
            slopes = [
                self.polynomial(beyond, *far_slope),
                self.polynomial(t, *near_slope),
                f.value(f"fneg {self.kind} {self.polynomial(away, *near_slope)}"),
                f.value(f"fneg {self.kind} {self.polynomial(before, *far_slope)}"),
            ]
        made = []
        for number in range(TAPS[self.kernel.mode]):
            index, there = self._inside(f.add(first, number), a)
            made.append((index, there, weights[number], slopes[number]))
        return made

    def _inside(self, index: str, a: int) -> tuple[str, str | None]:
        """An index in the map, whatever it was, and whether it was there."""
        f, size, period = self.f, self.given[f"size{a}"], self.given[f"period{a}"]
        if self.kernel.outside == "zeros":
            there = f.value(f"icmp ult i64 {index}, {size}")
            return f.value(f"select i1 {there}, i64 {index}, i64 0"), there
        if self.kernel.outside == "replicate":
            return f.maximum(f.minimum(index, f.sub(size, 1)), 0), None
        rest = f.value(f"srem i64 {index}, {period}")
        below = f.value(f"icmp slt i64 {rest}, 0")
        rest = f.value(f"select i1 {below}, i64 {f.add(rest, period)}, i64 {rest}")
        back = f.sub(period, rest)
        if self.kernel.outside == "symmetric":
            back = f.sub(back, 1)
        mirrored = f.minimum(rest, back)
        return f.minimum(mirrored, f.sub(size, 1)), None

    def mask(self, row: str, group: Index) -> str | None:
        """The factor of a point."""
        if not self.kernel.masked:
            return None
        f, v = self.f, self.v
        at = f.add(f.mul(row, self.given["mask_pitch"]), group)
        return v.load_one(v.at(self.given["mask"], at))
