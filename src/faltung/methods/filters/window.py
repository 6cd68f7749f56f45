"""Maxima, minima and means of windows along an axis, by doubling.

Windows of two entries are made of two of one, those of four of two of two, and so on, in place: a
window of n takes about log2(n) steps, whatever stands before it. A maximum is that of two windows
of a power of two that overlap; a sum adds one of each power that n has, from small to large, so
that the same entries make the same bits wherever they lie.

W. D. Hillis, G. L. Steele, "Data Parallel Algorithms", Communications of the ACM 29, 1986.
"""

from collections.abc import Callable

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """The "max", "min" or "mean" of ``size`` entries. floats: of numbers that may be NaN, which an
    extreme then is, too.
    """

    size: int
    reduction: str
    floats: bool = True


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


def windows(
    window: Window,
    track: Track,
    outputs: str,
    sums: Callable[[str], str],
    emit: Callable[[str, list[str]], None],
) -> None:
    """``emit`` the windows that begin at entries 0 .. ``outputs`` - 1. ``sums``: the address where
    those of an entry may lie meanwhile.
    """
    if window.reduction == "mean":
        _means(window, track, outputs, sums, emit)
    else:
        _extremes(window, track, outputs, emit)


def _extremes(
    window: Window, track: Track, outputs: str, emit: Callable[[str, list[str]], None]
) -> None:
    v, size, power = track.v, window.size, 1
    while power * 2 <= size:
        times = 4 if power * 4 <= size else 2
        _multiply(window, track, outputs, power, times)
        power *= times
    f = v.function
    with f.loop(0, outputs, step=track.step) as at:
        found = track.load(at.index)
        if size > power:
            more = track.load(f.add(at.index, size - power))
            found = [joined(v, window, a, b) for a, b in zip(found, more, strict=True)]
        emit(at.index, found)


def _means(
    window: Window,
    track: Track,
    outputs: str,
    sums: Callable[[str], str],
    emit: Callable[[str, list[str]], None],
) -> None:
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
        _multiply(window, track, outputs, power, 2)
        power *= 2


def _multiply(window: Window, track: Track, outputs: str, power: int, times: int) -> None:
    """Windows of ``times * power`` entries from those of ``power``, in place, as many as are
    read.
    """
    v, f = track.v, track.v.function
    with f.loop(0, f.add(outputs, window.size - times * power), step=track.step) as at:
        found = [track.load(f.add(at.index, k * power)) for k in range(times)]
        while len(found) > 1:
            found = [
                [joined(v, window, a, b) for a, b in zip(one, two, strict=True)]
                for one, two in zip(found[::2], found[1::2], strict=True)
            ]
        track.store(at.index, found[0])


def joined(v: Vectors, window: Window, a: str, b: str) -> str:
    """Two windows as one."""
    if window.reduction == "mean":
        return v.add(a, b)
    better = v.compare("olt" if window.reduction == "max" else "ogt", a, b)
    if window.floats:
        nan = v.compare("uno", b, b)
        better = v.function.value(f"or {v.flags} {better}, {nan}")
    return v.select(better, b, a)
