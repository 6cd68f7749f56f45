"""Which parts of which chunks make a block of an axis with its halo: whole numbers alone.

A block is a range of positions, which may begin before the array and end behind it, as far as
anyone likes: a border says what stands there.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from faltung.geometry.border import Border


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` positions from ``to`` on, counted from the begin of the block: they repeat the
    entries of ``chunk`` from ``start`` on, each ``step`` (1, 0 or -1) behind the one before.
    """

    to: int
    count: int
    chunk: int
    start: int
    step: int

    @property
    def source(self) -> slice:
        """Where they are in the chunk. Where the step is 0 it is one entry, which repeats."""
        if self.step < 0:
            stop = self.start - self.count
            return slice(self.start, None if stop < 0 else stop, -1)
        return slice(self.start, self.start + (self.count if self.step else 1))

    @property
    def target(self) -> slice:
        """Where they are in the block."""
        return slice(self.to, self.to + self.count)


def runs(start: int, stop: int, chunks: Sequence[int], border: Border) -> list[Run]:
    """The positions ``start`` .. ``stop - 1`` of an axis that is cut into ``chunks``.

    What a constant border fills is in no run.
    """
    size = sum(chunks)
    ends = list(accumulate(chunks))
    found: list[Run] = []
    for first, last, source in _stretches(start, stop, size, border):
        if source is not None:
            step = 0 if first == last else (border.source(last, size) or 0) - source
            step = step // (last - first) if step else 0
            found += _cut(first - start, last - first + 1, source, step, chunks, ends)
    return found


def _stretches(
    start: int, stop: int, size: int, border: Border
) -> Iterator[tuple[int, int, int | None]]:
    """(first, last, entry at the first) of stretches along which entries follow each other, or are
    the same, or none.
    """
    inside = max(start, 0), min(stop, size)
    parts = [(start, min(stop, 0)), inside, (max(start, size), stop)]
    for begin, end in parts:
        if end <= begin:
            continue
        if (begin, end) == inside:
            yield begin, end - 1, begin
            continue
        entries = [border.source(i, size) for i in range(begin, end)]
        at = 0
        while at < len(entries):
            last, step = at, None
            while last + 1 < len(entries):
                here, following = entries[last], entries[last + 1]
                if here is None or following is None:
                    if here is not following:
                        break
                elif abs(following - here) > 1 or step not in (None, following - here):
                    break
                else:
                    step = following - here
                last += 1
            yield begin + at, begin + last, entries[at]
            at = last + 1


def _cut(
    to: int, count: int, source: int, step: int, chunks: Sequence[int], ends: Sequence[int]
) -> Iterator[Run]:
    """A stretch, cut where chunks are."""
    while count:
        chunk = bisect_right(ends, source)
        first = ends[chunk] - chunks[chunk]
        here = count
        if step > 0:
            here = min(count, ends[chunk] - source)
        elif step < 0:
            here = min(count, source - first + 1)
        yield Run(to, here, chunk, source - first, step)
        to, count, source = to + here, count - here, source + here * step
