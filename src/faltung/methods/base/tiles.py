"""Tiles along the last axis: their kinds, their order, and how rows are cut into segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from faltung.codegen.tile import parts
from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import interior, sources_at
from faltung.methods.base.correlation import Window
from faltung.methods.base.remembered import remembered
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


def tiles_of(
    axis: Axis, sizes: Sequence[tuple[int, int]], unrolled: bool, every: int = 1
) -> list[Run]:
    """The tiles along the last axis, as runs of one kind, from (size, count) pairs in order.

    Only tiles that reach into the padding are handled one by one. ``every``: as in ``Window``; all
    sizes but the last are multiples of it.
    """
    return list(_tiles_of(axis, tuple(sizes), unrolled, every))


@remembered(4096)
def _tiles_of(
    axis: Axis, sizes: Sequence[tuple[int, int]], unrolled: bool, every: int
) -> tuple[Run, ...]:
    # In each of these ranges tiles are alike; in the second and the third they read only padding.
    left = -(-(axis.lo - axis.extent + 1) // axis.stride)
    right = -(-(axis.size + axis.lo) // axis.stride)
    alike = [interior(axis), range(left), range(right, axis.output)]
    if not unrolled:
        alike = [range(axis.output)]
    runs: list[Run] = []
    start = 0
    for size, count in sizes:
        while count:
            stops = (where.stop for where in alike if start in where and start + size <= where.stop)
            done = min(count, (next(stops, start + size) - start) // size)
            runs.append(
                (_kind(axis, start, size, every) if unrolled else Kind(size, ((),)), start, done)
            )
            start += size * done
            count -= done
    return tuple(runs)


def _kind(axis: Axis, start: int, size: int, every: int) -> Kind:
    """The kind of a tile from output ``start`` on."""
    positions = (start + np.arange(size, dtype=np.int64)) * axis.stride - axis.lo
    read = sources_at(axis, positions + np.arange(axis.kernel)[:, None] * axis.dilation)
    zeros = (read < 0) | (read % every > 0)
    return Kind(size, tuple(tuple(compress(range(size), tap)) for tap in zeros.tolist()))


def segments(
    runs: list[Run], kinds: tuple[Kind, ...], last: Window, tiles: int = MAX_SEGMENT_TILES
) -> Table:
    """The segments of one row: (kind, tiles, input offset, output offset, ``aux`` offsets).

    ``tiles``: the most per segment, unless the row is very long. Segments have nearly the same
    size, so that items take equally long.
    """
    return _segments(tuple(runs), kinds, last, tiles)


@remembered(1024)
def _segments(runs: tuple[Run, ...], kinds: tuple[Kind, ...], last: Window, tiles: int) -> Table:
    most = max(tiles, sum(count for _, _, count in runs) // MAX_ROW_SEGMENTS)
    rows = []
    for kind, first, count in runs:
        done, sizes = np.array(parts(count, most), np.int64).T
        at = first + done * kind.positions
        position = (at * last.axis.stride - last.axis.lo) // last.every * last.x
        outs = np.outer(at, [last.out, *last.aux])
        number = np.full_like(at, kinds.index(kind))
        rows.append(np.column_stack([number, sizes, position, outs]))
    return table(np.concatenate(rows), 4 + len(last.aux))
