"""Tiles along the last axis: their kinds, their order, and how rows are cut into segments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faltung.codegen.tile import split
from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import interior, sources_at
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import (
    Table,
    table,
)

# The most tiles in one item, and the cycles that suffice for one: long rows are cut into segments
# so that threads can share them.
MAX_SEGMENT_TILES = 16
SEGMENT_ITEM_CYCLES = 6000
# The most items per row.
MAX_ROW_SEGMENTS = 4096


@dataclass(frozen=True)
class Kind:
    """One kind of tile: its size in output positions, and which of them read zeros.

    ``outside``: for each unrolled tap, the positions whose input is zero.
    """

    positions: int
    outside: tuple[tuple[int, ...], ...]


# A run of tiles of one kind: the kind, the first output, how many.
Run = tuple[Kind, int, int]


def taps_of(last: Window) -> tuple[int, ...]:
    """Input offsets of the taps of the last axis."""
    return tuple(k * last.axis.dilation * last.x for k in range(last.axis.kernel))


def kinds_of(runs: Sequence[Run]) -> tuple[Kind, ...]:
    return tuple(dict.fromkeys(kind for kind, _, _ in runs))


def tiles_of(axis: Axis, sizes: Sequence[tuple[int, int]], unrolled: bool) -> list[Run]:
    """The tiles along the last axis, as runs of one kind, from (size, count) pairs in order.

    Only tiles that reach into the padding are handled one by one.
    """
    taps = axis.kernel if unrolled else 1
    inside = interior(axis)
    # Outputs before ``left``, and from ``right`` on, read only padding.
    left = max(0, -(-(axis.lo - axis.extent + 1) // axis.stride))
    right = -(-(axis.size + axis.lo) // axis.stride)
    runs: list[Run] = []
    start = 0
    for size, count in sizes:
        plain = Kind(size, ((),) * taps)
        blank = Kind(size, (tuple(range(size)),) * taps)
        while count:
            if not unrolled:
                kind, done = plain, count
            elif start in inside and start + size <= inside.stop:
                kind, done = plain, (inside.stop - start) // size
            elif start + size <= left:
                kind, done = blank, (left - start) // size
            elif start >= right:
                kind, done = blank, count
            else:
                kind, done = _edge(axis, start, size), 1
            done = min(done, count)
            runs.append((kind, start, done))
            start += size * done
            count -= done
    return runs


def _edge(axis: Axis, start: int, size: int) -> Kind:
    """A tile with taps that may be in the padding."""
    positions = (start + np.arange(size, dtype=np.int64)) * axis.stride - axis.lo
    read = sources_at(axis, positions + np.arange(axis.kernel)[:, None] * axis.dilation)
    return Kind(size, tuple(tuple(np.flatnonzero(tap < 0).tolist()) for tap in read))


def segments(
    runs: list[Run], kinds: tuple[Kind, ...], last: Window, tiles: int = MAX_SEGMENT_TILES
) -> Table:
    """The segments of one row: (kind, tiles, input offset, output offset, ``aux`` offsets).

    ``tiles``: the most per segment, unless the row is very long. Segments have nearly the same
    size, so that items take equally long.
    """
    most = max(tiles, sum(count for _, _, count in runs) // MAX_ROW_SEGMENTS)
    parts = []
    for kind, first, count in runs:
        sizes = [size for size, times in split(count, most) for _ in range(times)]
        done = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        at = first + done * kind.positions
        position = (at * last.axis.stride - last.axis.lo) * last.x
        number = np.full_like(done, kinds.index(kind))
        places = [at * stride for stride in (last.out, *last.aux)]
        parts.append(np.stack([number, np.array(sizes, np.int64), position, *places], axis=1))
    return table(np.concatenate(parts), 4 + len(last.aux))
