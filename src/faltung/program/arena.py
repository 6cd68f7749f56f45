"""One stretch of memory for all that is needed only for a while: placed by lifetime.

Largest first, each at the lowest place where nothing lies that is alive at the same time (first
fit by decreasing size; Pisarchyk and Lee, "Efficient memory management for deep neural net
inference", 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faltung.runtime.buffers import ALIGNMENT

Offsets = npt.NDArray[np.int64]


@dataclass(slots=True)
class Span:
    """``size`` bytes, alive from step ``first`` to step ``last``, both counted."""

    size: int
    first: int
    last: int


def arranged(spans: Mapping[str, Span]) -> tuple[dict[str, int], int]:
    """Offsets of all spans, and the bytes that they need together."""
    count = len(spans)
    # Offset, end, first and last step of each span that has its place, by offset.
    rows = np.zeros((4, count), np.int64)
    found: dict[str, int] = {}
    total = 0
    by_size = sorted(spans.items(), key=lambda item: -item[1].size)
    for number, (name, span) in enumerate(by_size):
        size = -(-span.size // ALIGNMENT) * ALIGNMENT
        start, end, first, last = rows[:, :number]
        beside = (last >= span.first) & (first <= span.last)
        offset = _lowest(start[beside], end[beside], size)
        found[name] = offset
        total = max(total, offset + size)
        at = int(np.searchsorted(start, offset, side="right"))
        rows[:, at + 1 : number + 1] = rows[:, at:number]
        rows[:, at] = offset, offset + size, span.first, span.last
    return found, total


def _lowest(start: Offsets, end: Offsets, size: int) -> int:
    """The lowest offset with ``size`` bytes of room between what lies there, sorted by start."""
    if not len(start):
        return 0
    reached = np.maximum.accumulate(end)
    if start[0] >= size:
        return 0
    room = np.flatnonzero(start[1:] - reached[:-1] >= size)
    return int(reached[room[0]] if len(room) else reached[-1])
