"""The neighbours of a place that coordinates name, in generated code: offsets, weights, slopes."""

from collections.abc import Iterator
from itertools import product

from faltung.codegen.scalars import Scalars
from faltung.codegen.vectors import Vectors
from faltung.geometry.grid import KEYS_A, TAPS, Sampling
from faltung.geometry.record import dataclass

# Positions are kept within this, so that they fit integers; so far out nothing but NaN and mistakes
# is meant.
FARTHEST = float(1 << 30)


@dataclass(frozen=True)
class Tap:
    """One neighbour along an axis. offset: in elements of the map. inside: whether it is there (an
    ``i1``), "" for always. slope: of the weight by the coordinate.
    """

    offset: str
    weight: str
    slope: str
    inside: str = ""


@dataclass(frozen=True)
class Neighbour:
    """One neighbour of a place: a tap along each axis."""

    taps: tuple[Tap, ...]
    offset: str
    inside: str


@dataclass(frozen=True)
class Coordinates:
    """Writes what a place reads. sizes, strides: of the axes of space, as ``i64``."""

    v: Vectors
    how: Sampling
    sizes: list[str]
    strides: list[str]

    @property
    def s(self) -> Scalars:
        return Scalars(self.v.function, self.v.dtype)

    def neighbours(self, place: str, slopes: bool = False) -> list[Neighbour]:
        """All neighbours, the last axis fastest. place: the address of the coordinates."""
        f, rank = self.v.function, len(self.sizes)
        along = [self._axis(a, self.v.at(place, rank - 1 - a), slopes) for a in range(rank)]
        found = []
        for taps in product(*along):
            offset, inside = taps[0].offset, taps[0].inside
            for tap in taps[1:]:
                offset = f.add(offset, tap.offset)
                inside = f.value(f"and i1 {inside}, {tap.inside}") if inside else ""
            found.append(Neighbour(taps, offset, inside))
        return found

    def _axis(self, a: int, address: str, slopes: bool) -> list[Tap]:
        s, corners = self.s, self.how.align_corners
        size = s.number(self.sizes[a])
        last = s.sub(size, 1.0)
        scale, x = s.of(1.0), s.load(address)
        if not self.how.positions:
            scale = s.mul(last if corners else size, 0.5)
            x = s.mul(s.add(x, 1.0), scale)
            x = x if corners else s.sub(x, 0.5)
        x = s.at_most(s.at_least(x, -FARTHEST), FARTHEST)
        sign = scale
        if self.how.mode != "cubic":
            x, turned = self._padded(x, size, last)
            sign = s.mul(sign, turned) if turned else sign
        return [self._tap(a, last, *each) for each in self._weights(x, size, last, sign)]

    def _weights(self, x: str, size: str, last: str, sign: str) -> Iterator[tuple[str, str, str]]:
        """Position, weight and slope of the neighbours along an axis."""
        s = self.s
        base, number = s.floor(x)
        d = s.sub(x, base)
        if self.how.mode == "nearest":
            odd = s.function.value(f"trunc i64 {number} to i1")
            tie = s.function.value(f"and i1 {s.compare('oeq', d, 0.5)}, {odd}")
            up = s.function.value(f"or i1 {s.compare('ogt', d, 0.5)}, {tie}")
            yield s.select(up, s.add(base, 1.0), base), s.of(1.0), s.of(0.0)
        elif self.how.mode == "linear":
            yield base, s.sub(1.0, d), s.sub(0.0, sign)
            yield s.add(base, 1.0), d, sign
        else:
            rest = s.sub(1.0, d)
            for k, t in enumerate((s.add(d, 1.0), d, rest, s.add(rest, 1.0))):
                weight, slope = self._cubic(t, near=k in (1, 2))
                toward = sign if k < 2 else s.sub(0.0, sign)
                position = self._padded(s.add(base, float(k - 1)), size, last)[0]
                yield position, weight, s.mul(slope, toward)

    def _cubic(self, t: str, near: bool) -> tuple[str, str]:
        """Keys' polynomial at a distance up to 1 (``near``) or up to 2, and its slope."""
        a = KEYS_A
        if near:
            return self._polynomial(t, a + 2, -(a + 3), 0.0, 1.0)
        return self._polynomial(t, a, -5 * a, 8 * a, -4 * a)

    def _polynomial(self, t: str, a: float, b: float, c: float, d: float) -> tuple[str, str]:
        s = self.s
        value = s.add(s.mul(s.add(s.mul(s.add(s.mul(t, a), b), t), c), t), d)
        slope = s.add(s.mul(s.add(s.mul(t, 3 * a), 2 * b), t), c)
        return value, slope

    def _padded(self, x: str, size: str, last: str) -> tuple[str, str]:
        """A position brought back to the map, and how it changes: "" for as given."""
        s = self.s
        if self.how.padding == "zeros":
            return x, ""
        turned = s.of(1.0)
        if self.how.padding == "reflection":
            x, turned = self._reflected(x, size, last)
        inside = s.function.value(f"and i1 {s.compare('ogt', x, 0.0)}, {s.compare('olt', x, last)}")
        return s.at_most(s.at_least(x, 0.0), last), s.select(inside, turned, 0.0)

    def _reflected(self, x: str, size: str, last: str) -> tuple[str, str]:
        """A position mirrored at both ends as often as it takes."""
        s, f, corners = self.s, self.v.function, self.how.align_corners
        low, span = (0.0, last) if corners else (-0.5, size)
        wide = s.at_least(span, 1.0)  # a single entry is clipped to
        moved = s.sub(x, low)
        away = s.select(s.compare("olt", moved, 0.0), s.sub(0.0, moved), moved)
        flips, number = s.floor(s.div(away, wide))
        rest = s.sub(away, s.mul(flips, wide))
        odd = f.value(f"trunc i64 {number} to i1")
        before = s.compare("olt", moved, 0.0)
        back = f.value(f"xor i1 {odd}, {before}")
        place = s.add(s.select(odd, s.sub(wide, rest), rest), low)
        return place, s.select(back, -1.0, 1.0)

    def _tap(self, a: int, last: str, position: str, weight: str, slope: str) -> Tap:
        s, f = self.s, self.v.function
        inside = ""
        # A place on the last entry has a neighbour behind it, which has no weight.
        if self.how.padding == "zeros" or self.how.mode == "linear":
            inside = f.value(
                f"and i1 {s.compare('oge', position, 0.0)}, {s.compare('ole', position, last)}"
            )
            position = s.select(inside, position, 0.0)
        offset = f.mul(s.whole(position), self.strides[a])
        return Tap(offset, weight, slope, inside)

    def weighted(self, neighbours: list[Neighbour], values: list[str], slope: int = -1) -> str:
        """The sum of values (numbers) times weights; along axis ``slope`` times slopes instead."""
        s = self.s
        total = ""
        for neighbour, value in zip(neighbours, values, strict=True):
            for a, tap in enumerate(neighbour.taps):
                value = s.mul(value, tap.slope if a == slope else tap.weight)
            total = s.add(total, value) if total else value
        return total


def count(how: Sampling, rank: int) -> int:
    """Neighbours of a place."""
    return int(TAPS[how.mode] ** rank)
