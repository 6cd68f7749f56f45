"""One stretch of memory for all that is needed only for a while: placed by lifetime.

Largest first, each at the lowest place where nothing lies that is alive at the same time (first
fit by decreasing size; Pisarchyk and Lee, "Efficient memory management for deep neural net
inference", 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from faltung.runtime.buffers import ALIGNMENT


@dataclass(slots=True)
class Span:
    """``size`` bytes, alive from step ``first`` to step ``last``, both counted."""

    size: int
    first: int
    last: int


def arranged(spans: Mapping[str, Span]) -> tuple[dict[str, int], int]:
    """Offsets of all spans, and the bytes that they need together."""
    count = len(spans)
    # Offset, end, first and last step of each span that has its place.
    rows = np.zeros((4, count), np.int64)
    found: dict[str, int] = {}
    total = 0
    by_size = sorted(spans.items(), key=lambda item: -item[1].size)
    for number, (name, span) in enumerate(by_size):
        size = -(-span.size // ALIGNMENT) * ALIGNMENT
        start, end, first, last = rows[:, :number]
        beside = np.flatnonzero((last >= span.first) & (first <= span.last))
        beside = beside[np.argsort(start[beside], kind="stable")]
        offset = 0
        for low, high in zip(start[beside].tolist(), end[beside].tolist(), strict=True):
            if low - offset >= size:
                break
            offset = max(offset, high)
        found[name] = offset
        total = max(total, offset + size)
        rows[:, number] = offset, offset + size, span.first, span.last
    return found, total
