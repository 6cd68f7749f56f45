"""Sums of products along an axis, of several rows and vectors at a time.

A row that is read serves all sums that take from it. Weights are data: one code serves all filters
of a size.
"""

from collections.abc import Callable

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass

# Taps up to which the code has all of them; more are a loop.
UNROLLED = 16
# Reads the vectors of row ``number`` of what a sum reads.
Read = Callable[[Index], list[str]]
# Broadcasts a weight.
Weight = Callable[[Index], str]
Rows = list[list[str]]


@dataclass(frozen=True, slots=True)
class Taps:
    """The weights of a correlation: how many, and whether they are symmetric ("even"),
    antisymmetric ("odd"), which makes sums of pairs, or neither ("").
    """

    size: int
    parity: str = ""


@dataclass(frozen=True)
class Sums:
    """Sums of ``taps`` products: of ``vectors`` vectors each. contracted: with fused
    multiplications and additions, else in the order and with the roundings of SciPy.
    """

    v: Vectors
    taps: Taps
    vectors: int
    read: Read
    weight: Weight
    contracted: bool

    def make(self, rows: int) -> Rows:
        """The sums of so many rows: row q takes from the rows q .. q + size - 1 that are read."""
        return self._paired(rows) if self.taps.parity else self._plain(rows)

    def _product(self, x: str, w: str, acc: str) -> str:
        v = self.v
        return v.multiply_add(x, w, acc) if self.contracted else v.add(acc, v.mul(x, w))

    def _add(self, acc: Rows, q: int, tap: Index, found: list[str]) -> None:
        """The products of one tap to row q, which is empty before its first."""
        w = self.weight(tap)
        if acc[q]:
            acc[q] = [self._product(x, w, a) for x, a in zip(found, acc[q], strict=True)]
        else:
            acc[q] = [self.v.mul(x, w) for x in found]

    def _plain(self, rows: int) -> Rows:
        f, size = self.v.function, self.taps.size
        acc: Rows = [[] for _ in range(rows)]
        if not self.contracted:  # SciPy begins with the last tap
            size -= 1
            for q in range(rows):
                self._add(acc, q, size, self.read(f.add(q, size)))
        looped = size > UNROLLED and size >= rows
        begin = rows if looped else size + rows - 1
        for s in range(begin):
            found = self.read(s)
            for q in range(max(0, s - size + 1), min(rows, s + 1)):
                self._add(acc, q, s - q, found)
        if not looped:
            return acc
        with f.loop(rows, size, self.v.carried(_flat(acc))) as at:
            now = self._parted(at.values)
            found = self.read(at.index)
            for q in range(rows):
                self._add(now, q, f.sub(at.index, q), found)
            at.carry(_flat(now))
        acc = self._parted(at.results)
        for s in range(size, size + rows - 1):
            found = self.read(s)
            for q in range(s - size + 1, rows):
                self._add(acc, q, s - q, found)
        return acc

    def _parted(self, flat: list[str]) -> Rows:
        return [flat[i : i + self.vectors] for i in range(0, len(flat), self.vectors)]

    def _paired(self, rows: int) -> Rows:
        """From the centre, then pairs from outside in, each pair added before it is multiplied."""
        f, read, half = self.v.function, self.read, self.taps.size // 2
        acc: Rows = [[] for _ in range(rows)]
        for q in range(rows):
            self._add(acc, q, half, read(half + q))
        if half <= UNROLLED // 2:
            left = [read(q) for q in range(rows)]
            right = [read(2 * half + q) for q in range(rows)]
            for t in range(half):
                self._pair(acc, left, right, t)
                if t + 1 < half:
                    left = [*left[1:], read(t + rows)]
                    right = [read(2 * half - t - 1), *right[:-1]]
            return acc
        left = [read(q) for q in range(rows - 1)]
        right = [read(2 * half + 1 + q) for q in range(rows - 1)]
        with f.loop(0, half, self.v.carried(_flat([*acc, *left, *right]))) as at:
            now = self._parted(at.values)
            acc, left, right = now[:rows], now[rows : 2 * rows - 1], now[2 * rows - 1 :]
            left = [*left, read(f.add(at.index, rows - 1))]
            right = [read(f.sub(2 * half, at.index)), *right]
            self._pair(acc, left, right, at.index)
            at.carry(_flat([*acc, *left[1:], *right[:-1]]))
        return self._parted(at.results)[:rows]

    def _pair(self, acc: Rows, left: Rows, right: Rows, tap: Index) -> None:
        join = self.v.add if self.taps.parity == "even" else self.v.sub
        for q, (one, two) in enumerate(zip(left, right, strict=True)):
            self._add(acc, q, tap, [join(a, b) for a, b in zip(one, two, strict=True)])


def _flat(rows: Rows) -> list[str]:
    return [one for row in rows for one in row]


def near_whole(v: Vectors, vectors: list[str], bound: str) -> str:
    """Whether (an ``i1``) a lane is within ``bound``, a vector, of a whole number but 0, or NaN.

    Numbers below 1 become 0 whatever their sign, so 0 is no number at which a sum may jump.
    """
    f, found = v.function, ""
    zeros = v.sub(v.constant(0.5), bound)
    for one in vectors:
        apart = v.compare("ogt", v.abs(v.sub(one, v.intrinsic("rint", one))), bound)
        small = v.compare("olt", v.abs(one), zeros)
        sure = f.value(f"or {v.flags} {apart}, {small}")
        found = f.value(f"and {v.flags} {found}, {sure}") if found else sure
    bits = f.value(f"bitcast {v.flags} {found} to i{v.lanes}")
    return f.value(f"icmp ne i{v.lanes} {bits}, -1")
