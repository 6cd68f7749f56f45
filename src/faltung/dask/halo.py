"""Which parts of which chunks make a block of an axis with its halo: whole numbers alone.

A block is a range of positions, which may begin before the array and end behind it, as far as
anyone likes: a border says what stands there.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from faltung.geometry.border import Border
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """Positions that repeat entries of one chunk, in a row.

    Attributes
    ----------
    chunk : int
        Its number along the axis.
    source, target : slice
        Where they are in the chunk, and in the block. A source of one entry may repeat.
    start, stop : int
        The entries of the chunk that are read are between.
    share : float
        The part of the chunk that this is.
    """

    chunk: int
    source: slice
    target: slice
    start: int
    stop: int
    share: float


def _run(to: int, count: int, chunk: int, size: int, start: int, step: int) -> Run:
    """``count`` positions from ``to`` on, which repeat the entries of a chunk of ``size`` from
    ``start`` on, each ``step`` (1, 0 or -1) behind the one before.
    """
    last = start + (count - 1) * step
    low, high = min(start, last), max(start, last) + 1
    source = slice(low, high)
    if step < 0:
        source = slice(start, last - 1 if last else None, -1)
    return Run(chunk, source, slice(to, to + count), low, high, (high - low) / size)


@lru_cache(64)
def ends_of(chunks: tuple[int, ...]) -> list[int]:
    """Where each of the chunks of an axis ends."""
    return list(accumulate(chunks))


@lru_cache(256)
def spans_of(chunks: tuple[int, ...]) -> list[tuple[int, int]]:
    """Where each of them begins and ends."""
    return [(end - size, end) for end, size in zip(ends_of(chunks), chunks, strict=True)]


@lru_cache(1 << 14)
def runs(start: int, stop: int, chunks: tuple[int, ...], border: Border) -> list[Run]:
    """The positions ``start`` .. ``stop - 1`` of an axis that is cut into ``chunks``.

    What a constant border fills is in no run.
    """
    ends = ends_of(chunks)
    size = ends[-1]
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
        yield _run(to, here, chunk, chunks[chunk], source - first, step)
        to, count, source = to + here, count - here, source + here * step
