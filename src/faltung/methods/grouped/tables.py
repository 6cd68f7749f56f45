"""Tables of grouped convolution: pairs of rows that share inputs, and patches that items copy.

Two rows of one axis are computed together where the last rows of taps of the one are the first of
the other. So each row of the input is read once for both, and each output still takes its taps in
order.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from faltung.codegen.tile import split
from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import interior
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import Table, table
from faltung.methods.base.tiles import Run, kinds_of
from faltung.methods.grouped.choice import Patch, Tile, pair_distance

# Outputs of an axis two by two; one that stands alone is its own pair.
Pairs = list[tuple[int, int]]
# One row of an axis: taps (tap, input), relative to where the first row of its pair begins.
Taps = tuple[tuple[int, int], ...]


def pairs_of(axis: Axis) -> Pairs:
    """The outputs of an axis in pairs that share inputs; one that is left over is its own pair."""
    step, found = pair_distance(axis), []
    for start in range(0, axis.output, 2 * step):
        for first in range(start, min(start + step, axis.output)):
            found.append((first, first + step if first + step < axis.output else first))
    return found


def _pairs(windows: Sequence[Window], rows: int) -> list[Pairs]:
    """The outputs of each axis alone, but those of the last in pairs where tiles have two rows."""
    found = [[(o, o) for o in range(w.axis.output)] for w in windows]
    if rows > 1:
        found[-1] = pairs_of(windows[-1].axis)
    return found


# Rows ---------------------------------------------------------------------------------------------


def tables_of(windows: Sequence[Window], tile: Tile, position: int, tap: int) -> dict[str, Table]:
    """Rows of all axes but the last, with ranges and entries.

    ``position``: elements between neighbouring positions of the last axis; ``tap``: of the weights
    of one tap. A patch has its padding, and begins with it.
    """
    *outer, last = windows
    aux, kernel = len(last.aux), last.axis.kernel
    # Input offsets of the last axis's taps that are not in the code, and weights of an entry.
    inner = [k * last.axis.dilation * position for k in range(1 if tile.unrolled else kernel)]
    weights = tap * kernel // len(inner)
    outer = outer or [Window(Axis(1, 1), 0, 0, (0,), (0,) * aux)]
    begins, kinds = np.zeros(1, np.int64), np.zeros(1, np.int64)
    outs = np.zeros((1, 1 + aux, 2), np.int64)
    patterns: list[list[tuple[Taps, Taps]]] = []
    for window, pairs in zip(outer, _pairs(outer, tile.rows), strict=True):
        origin, number, found = _patterns(window, pairs, tile.patch is not None)
        patterns.append(found)
        begins = np.add.outer(begins, origin).ravel()
        kinds = np.add.outer(kinds * len(found), number).ravel()
        steps = np.array([window.out, *window.aux], np.int64)
        to = np.array(pairs, np.int64).reshape(-1, 1, 2) * steps[:, None]
        outs = (outs[:, None] + to).reshape(-1, 1 + aux, 2)
    ranges, entries, first = _ranges(outer, patterns, tile.rows, inner, weights)
    made = np.column_stack([begins, first[kinds], outs.reshape(len(begins), -1)])
    return {"rows": table(made, 5 + 2 * aux), "ranges": ranges, "entries": entries}


def _patterns(
    window: Window, pairs: Pairs, padded: bool
) -> tuple[Table, Table, list[tuple[Taps, Taps]]]:
    """For each pair where it begins and the number of its pattern; and the patterns."""
    axis, inside = window.axis, interior(window.axis)
    seen: dict[tuple[Taps, Taps], int] = {}
    # Pairs whose taps all lie in the array are alike where they are equally far apart.
    whole: dict[int, int] = {}
    numbers: list[int] = []
    for first, second in pairs:
        known = first in inside and second in inside
        number = whole.get(second - first) if known else None
        if number is None:
            begin = first * axis.stride - axis.lo
            found = _taps(window, first, begin, padded), _taps(window, second, begin, padded)
            number = seen.setdefault(found, len(seen))
            if known:
                whole[second - first] = number
        numbers.append(number)
    firsts = np.array([first for first, _ in pairs], np.int64)
    begins = (firsts * axis.stride - (0 if padded else axis.lo)) * window.x
    return begins, np.array(numbers, np.int64), list(seen)


def _taps(window: Window, output: int, begin: int, padded: bool) -> Taps:
    axis = window.axis
    start = output * axis.stride - axis.lo
    places = [start + k * axis.dilation for k in range(axis.kernel)]
    found = [(k, place, axis.source(place)) for k, place in enumerate(places)]
    return tuple(
        (k, ((place if padded else where) - begin) * window.x)
        for k, place, where in found
        if where is not None
    )


def _ranges(
    windows: Sequence[Window],
    patterns: Sequence[Sequence[tuple[Taps, Taps]]],
    rows: int,
    inner: Sequence[int],
    weights: int,
) -> tuple[Table, Table, Table]:
    """Ranges and entries of all patterns, and of each pattern its first range and how many."""
    ranges: list[tuple[int, int, int, int]] = []
    entries: list[tuple[int, ...]] = []
    pattern_ranges: list[tuple[int, int]] = []
    leading = itertools.product(*([first for first, _ in found] for found in patterns[:-1]))
    kernels = [w.axis.kernel for w in windows]
    for combination, (one, two) in itertools.product(leading, patterns[-1]):
        start = len(ranges)
        shared = _shared(one, two) if rows > 1 else 0
        alone = len(one) - shared
        # (input, tap of the first row, tap of the second)
        found = [(x, k, two[i - alone][0] if i >= alone else k) for i, (k, x) in enumerate(one)]
        rest = [(x, k, k) for k, x in two[shared:]] if rows > 1 else []
        for taps in itertools.product(*combination):
            number = 0
            for kernel, (k, _) in zip(kernels, taps, strict=False):
                number = number * kernel + k
            offset, number = sum(x for _, x in taps), number * kernels[-1]
            counts = (alone * len(inner), shared * len(inner), len(rest) * len(inner))
            ranges.append((len(entries), *counts))
            entries += [
                (offset + x + along, *(((number + k) * len(inner) + i) * weights for k in numbers))
                for x, *numbers in found + rest
                for i, along in enumerate(inner)
            ]
        pattern_ranges.append((start, len(ranges) - start))
    return table(ranges, 4), table(entries, 3), table(pattern_ranges, 2)


def _shared(one: Taps, two: Taps) -> int:
    """How many of the last inputs of the one are the first of the other."""
    a, b = [x for _, x in one], [x for _, x in two]
    return next((n for n in range(min(len(a), len(b)), 0, -1) if a[-n:] == b[:n]), 0)


# Patches ------------------------------------------------------------------------------------------


def patch_tables_of(
    windows: Sequence[Window],
    tile: Tile,
    patch: Patch,
    runs: Sequence[Run],
    position: int,
    tap: int,
) -> dict[str, Table]:
    """All tables where items copy patches; ``position``, ``tap``: as for ``tables_of``."""
    *outer, last = windows
    pitches = [position * prod(patch.extents[i + 1 :]) for i in range(len(outer))]
    staged = [replace(w, x=pitch) for w, pitch in zip(outer, pitches, strict=True)]
    tables = tables_of([*staged, last], tile, position, tap)
    pairs = _pairs(outer, tile.rows)
    # For each axis, cut into parts of nearly one size: which pairs are in one, and what is copied.
    parts = []
    for w, along, count, pitch in zip(outer, pairs, patch.counts, pitches, strict=True):
        cuts = np.array_split(np.arange(len(along)), -(-len(along) // count))
        parts.append([(cut, *_copied(w, [along[i] for i in cut], pitch)) for cut in cuts])
    patches, copies, picked = [], [], []
    done = [0, 0]
    for where in itertools.product(*parts):
        numbers, source, target, begin = (np.zeros(1, np.int64) for _ in range(4))
        for along, (cut, from_, to, first) in zip(pairs, where, strict=True):
            numbers = np.add.outer(numbers * len(along), cut).ravel()
            source = np.add.outer(source, from_).ravel()
            target = np.add.outer(target, to).ravel()
            begin += first
        taken = tables["rows"][numbers]
        taken[:, 0] -= begin
        patches.append((done[0], len(source), done[1], len(taken)))
        copies.append(np.stack([source, target], axis=1))
        picked.append(taken)
        done = [done[0] + len(source), done[1] + len(taken)]
    segments, run_table = _segments(last, patch.tiles, runs, position)
    return tables | {
        "patches": table(patches, 4),
        "copies": table(np.concatenate(copies), 2),
        "rows": table(np.concatenate(picked), tables["rows"].shape[1]),
        "segments": segments,
        "runs": run_table,
    }


def _copied(window: Window, pairs: Pairs, pitch: int) -> tuple[Table, Table, int]:
    """Along one axis: where what ``pairs`` read lies in the input and in the patch, and how far the
    patch begins from the first row of the padded input.
    """
    axis = window.axis
    first = pairs[0][0] * axis.stride
    taps = [k * axis.dilation for k in range(axis.kernel)]
    used = sorted({o * axis.stride + tap for pair in pairs for o in pair for tap in taps})
    found = [(axis.source(p - axis.lo), p) for p in used]
    both = table([(s * window.x, (p - first) * pitch) for s, p in found if s is not None], 2)
    return both[:, 0], both[:, 1], first * pitch


def _segments(last: Window, most: int, runs: Sequence[Run], position: int) -> tuple[Table, Table]:
    """The last axis in segments of ``most`` tiles: (input of the first column that is loaded, zeros
    before, columns, zeros behind, first run, runs), and runs of tiles (kind, tiles, place in the
    patch, output, those of ``aux``).
    """
    axis, kinds = last.axis, kinds_of(runs)
    tiles = sum(count for _, _, count in runs)
    rest = list(runs)
    segments: list[tuple[int, ...]] = []
    made: list[tuple[int, ...]] = []
    for size in [size for size, times in split(tiles, most) for _ in range(times)]:
        taken: list[Run] = []
        while size:
            kind, first, count = rest.pop(0)
            here = min(size, count)
            taken.append((kind, first, here))
            size -= here
            if here < count:
                rest.insert(0, (kind, first + here * kind.positions, count - here))
        kind, first, count = taken[-1]
        start = taken[0][1] * axis.stride - axis.lo
        stop = (first + count * kind.positions - 1) * axis.stride - axis.lo + axis.extent
        begin, end = (min(max(place, 0), axis.size) for place in (start, stop))
        before = min(max(-start, 0), stop - start)
        loaded = max(0, end - begin)
        behind = stop - start - before - loaded
        segments.append((begin * last.x, before, loaded, behind, len(made), len(taken)))
        for kind, first, count in taken:
            place = (first * axis.stride - axis.lo - start) * position
            outs = (first * stride for stride in (last.out, *last.aux))
            made.append((kinds.index(kind), count, place, *outs))
    return table(segments, 6), table(made, 4 + len(last.aux))
