"""Tiles along the last axis: their kinds, their order, and how rows are cut into segments."""

from collections.abc import Sequence
from itertools import compress

import numpy as np

from faltung.codegen.tile import parts
from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass
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


def shares(
    runs: list[Run],
    kinds: tuple[Kind, ...],
    last: Window,
    rows: Table,
    most: int,
    divisor: int = 1,
) -> tuple[Table, Table]:
    """The tiles of some rows, cut into shares of nearly the same number, whatever their kinds.

    ``rows``: the offset of each in the input, the output and ``aux``; all read the same taps.
    ``most``: tiles of a share, unless there are very many. ``divisor``: of the number of shares,
    where there are tiles enough. Returns where the runs of each share begin, and behind them the
    end; and the runs: (kind, tiles, input offset, output offset, ``aux`` offsets).
    """
    return _shares(tuple(runs), kinds, last, tuple(map(tuple, rows.tolist())), most, divisor)


@remembered(1024)
def _shares(
    runs: tuple[Run, ...],
    kinds: tuple[Kind, ...],
    last: Window,
    rows: tuple[tuple[int, ...], ...],
    most: int,
    divisor: int,
) -> tuple[Table, Table]:
    counts = np.array([count for _, _, count in runs], np.int64)
    firsts = np.array([first for _, first, _ in runs], np.int64)
    sizes = np.array([kind.positions for kind, _, _ in runs], np.int64)
    numbers = np.array([kinds.index(kind) for kind, _, _ in runs], np.int64)
    tiles, total = int(counts.sum()), int(counts.sum()) * len(rows)
    wanted = -(-total // max(most, total // MAX_ROW_SEGMENTS))
    wanted = min(total, -(-wanted // divisor) * divisor)
    cuts = np.arange(wanted + 1, dtype=np.int64) * total // wanted
    starts = np.arange(len(rows), dtype=np.int64)[:, None] * tiles + np.cumsum(counts) - counts
    # Not with ``np.unique``, which would import masked arrays.
    begins = np.array(sorted({*cuts[:-1].tolist(), *starts.ravel().tolist()}), np.int64)
    row, along = np.divmod(begins, tiles)
    run = np.searchsorted(starts[0], along, side="right") - 1
    at = firsts[run] + (along - starts[0, run]) * sizes[run]
    ins = (at * last.axis.stride - last.axis.lo) * last.x
    outs = np.outer(at, [last.out, *last.aux])
    offsets = np.array(rows, np.int64)[row] + np.column_stack([ins, outs])
    made = np.column_stack([numbers[run], np.diff(begins, append=total), offsets])
    return table(np.searchsorted(begins, cuts), 1), table(made, 4 + len(last.aux))
