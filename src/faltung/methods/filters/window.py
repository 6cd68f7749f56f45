"""Means of windows along an axis, by doubling.

Windows of two entries are made of two of one, those of four of two of two, and so on, in place: a
window of n takes about log2(n) steps, whatever stands before it. A sum adds one of each power that
n has, from small to large, so that the same entries make the same bits wherever they lie. (Maxima
and minima have a kernel of their own: ``extremes_kernel.py``.)

W. D. Hillis, G. L. Steele, "Data Parallel Algorithms", Communications of the ACM 29, 1986.
"""

from collections.abc import Callable

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The mean of ``size`` entries."""

    size: int


@dataclass(frozen=True)
class Track:
    """Entries of one axis in memory, which are overwritten: entry i is ``vectors`` vectors from
    ``base + i * stride`` elements on, and a loop over entries goes in steps of ``step``.
    """

    v: Vectors
    base: str
    stride: int
    step: int
    vectors: int

    def address(self, index: Index) -> str:
        return self.v.at(self.base, self.v.function.mul(index, self.stride))

    def load(self, index: Index) -> list[str]:
        address = self.address(index)
        return [self.v.load(self.v.at(address, q * self.v.lanes)) for q in range(self.vectors)]

    def store(self, index: Index, vectors: list[str]) -> None:
        store(self.v, self.address(index), vectors)


def store(v: Vectors, address: str, vectors: list[str]) -> None:
    """Vectors one after the other."""
    for q, one in enumerate(vectors):
        v.store(one, v.at(address, q * v.lanes))


def means(
    window: Window,
    track: Track,
    outputs: str,
    sums: Callable[[str], str],
    emit: Callable[[str, list[str]], None],
) -> None:
    """``emit`` the means that begin at entries 0 .. ``outputs`` - 1. ``sums``: the address where
    those of an entry may lie meanwhile.
    """
    v, size = track.v, window.size
    f, power, offset = v.function, 1, 0
    count = v.constant(float(size))
    while True:
        last = power * 2 > size
        if size & power:
            with f.loop(0, outputs, step=track.step) as at:
                found = track.load(f.add(at.index, offset))
                address = sums(at.index)
                if offset:
                    before = [v.load(v.at(address, q * v.lanes)) for q in range(track.vectors)]
                    found = [v.add(a, b) for a, b in zip(before, found, strict=True)]
                if last:
                    emit(at.index, [v.div(one, count) for one in found])
                else:
                    store(v, address, found)
            offset += power
        if last:
            return
        _double(window, track, outputs, power)
        power *= 2


def _double(window: Window, track: Track, outputs: str, power: int) -> None:
    """Windows of ``2 * power`` entries from those of ``power``, in place, as many as are read."""
    v, f = track.v, track.v.function
    with f.loop(0, f.add(outputs, window.size - 2 * power), step=track.step) as at:
        one, two = (track.load(f.add(at.index, k * power)) for k in (0, 1))
        track.store(at.index, [v.add(a, b) for a, b in zip(one, two, strict=True)])
