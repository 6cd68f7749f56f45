"""One block of memory for all temporary buffers: buffers that are not alive together may overlap.

Largest first, each at the lowest offset that is free while it is alive (first fit by decreasing
size; Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.runtime.buffers import ALIGNMENT

Offsets = npt.NDArray[np.int64]


@dataclass(slots=True)
class Lifetime:
    """``size`` bytes, alive from step ``first`` to step ``last``, both included."""

    size: int
    first: int
    last: int


def placed(lifetimes: Mapping[str, Lifetime]) -> tuple[dict[str, int], int]:
    """The offset of each buffer, and the bytes that all of them need."""
    count = len(lifetimes)
    # Offset, end, first and last step of each buffer that is placed, by offset.
    rows = np.zeros((4, count), np.int64)
    found: dict[str, int] = {}
    total = 0
    by_size = sorted(lifetimes.items(), key=lambda item: -item[1].size)
    for number, (name, life) in enumerate(by_size):
        size = -(-life.size // ALIGNMENT) * ALIGNMENT
        start, end, first, last = rows[:, :number]
        together = (last >= life.first) & (first <= life.last)
        offset = _lowest(start[together], end[together], size)
        found[name] = offset
        total = max(total, offset + size)
        at = int(np.searchsorted(start, offset, side="right"))
        rows[:, at + 1 : number + 1] = rows[:, at:number]
        rows[:, at] = offset, offset + size, life.first, life.last
    return found, total


def _lowest(start: Offsets, end: Offsets, size: int) -> int:
    """The lowest offset with ``size`` free bytes; what is occupied is sorted by its start."""
    if not len(start):
        return 0
    reached = np.maximum.accumulate(end)
    if start[0] >= size:
        return 0
    room = np.flatnonzero(start[1:] - reached[:-1] >= size)
    return int(reached[room[0]] if len(room) else reached[-1])
