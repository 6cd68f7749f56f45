"""One stretch of memory for all that is needed only for a while: placed by lifetime.

Largest first, each at the lowest place where nothing lies that is alive at the same time (first
fit by decreasing size; Pisarchyk and Lee, "Efficient memory management for deep neural net
inference", 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from faltung.runtime.buffers import ALIGNMENT


@dataclass(slots=True)
class Span:
    """``size`` bytes, alive from step ``first`` to step ``last``, both counted."""

    size: int
    first: int
    last: int


def arranged(spans: Mapping[str, Span]) -> tuple[dict[str, int], int]:
    """Offsets of all spans, and the bytes that they need together."""
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last; ascending
    found: dict[str, int] = {}
    total = 0
    for name, span in sorted(spans.items(), key=lambda item: -item[1].size):
        size = -(-span.size // ALIGNMENT) * ALIGNMENT
        offset = 0
        at = len(placed)
        for i, (start, end, first, last) in enumerate(placed):
            if last < span.first or first > span.last:
                continue
            if start - offset >= size:
                at = i
                break
            offset = max(offset, end)
        found[name] = offset
        total = max(total, offset + size)
        # Ascending by offset: the first gap that fits is then found in one walk.
        at = next((i for i, row in enumerate(placed) if row[0] >= offset), len(placed))
        placed.insert(at, (offset, offset + size, span.first, span.last))
    return found, total
