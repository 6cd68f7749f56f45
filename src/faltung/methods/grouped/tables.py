"""Tables of grouped convolution: pairs of rows that share inputs, and patches that items copy.

Two rows of one axis are computed together where the last rows of taps of the one are the first of
the other. So each row of the input is read once for both, and each output still takes its taps in
order.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faltung.codegen.tile import parts
from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import interior, pitches, ring, sources_at, sums
from faltung.methods.base.correlation import Window
from faltung.methods.base.kernel import MAX_PARTS, RowItems
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
    along = list(zip(outer, _pairs(outer, tile.rows), strict=True))
    found = [_patterns(window, pairs, tile.patch is not None) for window, pairs in along]
    patterns = [kinds for *_, kinds in found]
    counts = pitches([len(kinds) for kinds in patterns])
    rows = []
    for (w, pairs), (begins, numbers, _), count in zip(along, found, counts, strict=True):
        at = np.array(pairs)
        others = [at * step for step in w.aux]
        outs = np.column_stack([ring(at, w.out_ring) * w.out, *others])
        rows.append(np.column_stack([begins, numbers * count, outs]))
    made = sums(rows, 4 + 2 * aux)
    ranges, entries, first = _ranges(outer, patterns, tile.rows, inner, weights)
    made = np.column_stack([made[:, 0], first[made[:, 1]], made[:, 2:]])
    return {"rows": table(made, 5 + 2 * aux), "ranges": ranges, "entries": entries}


def _patterns(
    window: Window, pairs: Pairs, padded: bool
) -> tuple[Table, Table, list[tuple[Taps, Taps]]]:
    """For each pair where it begins and the number of its pattern; and the patterns."""
    axis, size = window.axis, 0 if padded else window.x_ring
    inside = range(0) if size else interior(axis)
    # Pairs whose taps all lie in the array are alike where they are equally far apart.
    alike = [
        (first := inside.start + (a - inside.start) % window.every, first + b - a)
        if a in inside and b in inside
        else (a, b)
        for a, b in pairs
    ]
    found = {
        (a, b): (_taps(window, a, a, padded), _taps(window, b, a, padded))
        for a, b in dict.fromkeys(alike)
    }
    kinds = {pattern: number for number, pattern in enumerate(dict.fromkeys(found.values()))}
    firsts = np.array([first for first, _ in pairs], np.int64)
    places = (firsts * axis.stride - (0 if padded else axis.lo)) // window.every
    begins = ring(places, size) * window.x
    return begins, np.array([kinds[found[pair]] for pair in alike], np.int64), list(kinds)


def _taps(window: Window, output: int, first: int, padded: bool) -> Taps:
    """The taps of one output, relative to where tap 0 of the output ``first`` would be."""
    axis = window.axis
    places = (output - first) * axis.stride + np.arange(axis.kernel, dtype=np.int64) * axis.dilation
    begin = first * axis.stride - axis.lo
    read = sources_at(axis, begin + places)
    size, every = window.x_ring, window.every
    origin = begin // every % size if size else begin // every
    there = ring(read // every, size) - origin
    offsets = (places if padded else there) * window.x
    found = (read >= 0) & (read % every == 0)
    return tuple((k, int(offsets[k])) for k in np.flatnonzero(found).tolist())


def _ranges(
    windows: Sequence[Window],
    patterns: Sequence[Sequence[tuple[Taps, Taps]]],
    rows: int,
    inner: Sequence[int],
    weights: int,
) -> tuple[Table, Table, Table]:
    """Ranges and entries of all patterns, and of each pattern its first range and how many."""
    ranges: list[tuple[int, ...]] = []
    entries: list[Table] = []
    pattern_ranges: list[tuple[int, int]] = []
    steps = pitches([w.axis.kernel for w in windows], weights * len(inner))
    # Each entry: input, tap of the first row, tap of the second.
    leading = [
        [table([(x, k * step, k * step) for k, x in first], 3) for first, _ in found]
        for found, step in zip(patterns[:-1], steps, strict=False)
    ]
    along = table([(x, i * weights, i * weights) for i, x in enumerate(inner)], 3)
    done = 0
    for outer, (one, two) in itertools.product(itertools.product(*leading), patterns[-1]):
        if rows > 1 and one == two:
            two = ()  # its own pair
        shared = _shared(one, two) if rows > 1 else 0
        alone = len(one) - shared
        made = [(x, k, two[i - alone][0] if i >= alone else k) for i, (k, x) in enumerate(one)]
        made += [(x, k, k) for k, x in two[shared:]] if rows > 1 else []
        before = sums(outer, 3)
        lengths = [count * len(inner) for count in (alone, shared, len(made) - len(one))]
        pattern_ranges.append((len(ranges), len(before)))
        ranges += [(done + i * sum(lengths), *lengths) for i in range(len(before))]
        entries.append(sums([before, table(made, 3) * (1, steps[-1], steps[-1]), along], 3))
        done += len(entries[-1])
    return table(ranges, 4), np.concatenate(entries), table(pattern_ranges, 2)


def _shared(one: Taps, two: Taps) -> int:
    """How many of the last inputs of the one are the first of the other."""
    a, b = [x for _, x in one], [x for _, x in two]
    return next((n for n in range(min(len(a), len(b)), 0, -1) if a[-n:] == b[:n]), 0)


def items_of_rows(
    axes: Sequence[Axis], rows: int, counts: Sequence[int], patches: list[int] | None, outer: bool
) -> RowItems | None:
    """The items of tiles of ``rows`` rows by the rows of their outputs.

    ``counts``: of items along the rows, the last axis and the blocks of channels; ``patches``: the
    first row, or pair, of each patch; ``outer``: blocks lie outside of rows.
    """
    count, each, blocks = counts
    # Both rows of a pair belong together, and so do pairs that lie among each other.
    apart = pair_distance(axes[0]) if rows > 1 else 1
    if len(axes) != 2 or (patches is not None and apart > 1) or (outer and blocks > MAX_PARTS):
        return None
    stop, last = axes[0].output, 1
    if patches is None:
        firsts = list(range(0, stop, rows * apart))
        last = min(stop - firsts[-1], apart)
    else:
        firsts = [rows * first for first in patches]
    if count != (len(firsts) - 1) * apart + last:
        return None  # rows of another axis
    parts = tuple(i * count * each for i in range(blocks)) if outer else (0,)
    size = each if outer else each * blocks
    items = *(i * apart * size for i in range(len(firsts))), count * size
    return RowItems((*firsts, stop), items, count * each * blocks, parts)


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
    steps = pitches(patch.extents, position)[: len(outer)]
    staged = [replace(w, x=step) for w, step in zip(outer, steps, strict=True)]
    tables = tables_of([*staged, last], tile, position, tap)
    pairs = _pairs(outer, tile.rows)
    # For each axis, cut into parts of nearly one size: which pairs are in one, and what is copied.
    parts = []
    counts = pitches([len(along) for along in pairs])
    for w, along, most, step, count in zip(outer, pairs, patch.counts, steps, counts, strict=True):
        cuts = np.array_split(np.arange(len(along))[:, None], -(-len(along) // most))
        parts.append(
            [(cut * count, *_copied(w, [along[i] for i in cut[:, 0]], step)) for cut in cuts]
        )
    patches, copies, picked = [], [], []
    done = [0, 0]
    for where in itertools.product(*parts):
        # Without outer axes there is one patch, of one row.
        numbers, copied, begins = zip(*where, strict=True) if where else ((), (), ())
        copies.append(sums(copied, 2))
        taken = tables["rows"][sums(numbers, 1)[:, 0]]
        taken[:, 0] -= sum(begins)
        picked.append(taken)
        patches.append((done[0], len(copies[-1]), done[1], len(taken)))
        done = [done[0] + len(copies[-1]), done[1] + len(taken)]
    segments, run_table = _segments(last, patch.tiles, runs, position)
    return tables | {
        "patches": table(patches, 4),
        "copies": table(np.concatenate(copies), 2),
        "rows": table(np.concatenate(picked), tables["rows"].shape[1]),
        "segments": segments,
        "runs": run_table,
    }


def _copied(window: Window, pairs: Pairs, pitch: int) -> tuple[Table, int]:
    """Along one axis: where what ``pairs`` read lies in the input and in the patch, and how far the
    patch begins from the first row of the padded input.
    """
    axis = window.axis
    first = pairs[0][0] * axis.stride
    outputs = np.unique(pairs)[:, None] * axis.stride
    used = np.unique(outputs + np.arange(axis.kernel, dtype=np.int64) * axis.dilation)
    read = sources_at(axis, used - axis.lo)
    both = np.stack([ring(read, window.x_ring) * window.x, (used - first) * pitch], axis=1)
    return both[read >= 0], first * pitch


def _segments(last: Window, most: int, runs: Sequence[Run], position: int) -> tuple[Table, Table]:
    """The last axis in segments of ``most`` tiles: (input of the first column that is loaded, zeros
    before, columns, zeros behind, first run, runs), and runs of tiles (kind, tiles, place in the
    patch, output, those of ``aux``).
    """
    axis, kinds = last.axis, kinds_of(runs)
    counts = [count for *_, count in runs]
    tiles = np.cumsum([0, *counts], dtype=np.int64)
    cuts = np.array([first for first, _ in parts(sum(counts), most)], np.int64)
    # What is left of runs where they are cut at the beginnings of segments: from which tile on.
    begins = np.union1d(tiles[:-1], cuts)
    run = np.searchsorted(tiles, begins, side="right") - 1
    of_runs = [(kinds.index(kind), first, kind.positions) for kind, first, _ in runs]
    number, first, positions = table(of_runs, 3)[run].T
    output = first + (begins - tiles[run]) * positions
    head = np.searchsorted(begins, cuts)
    lengths = np.diff(head, append=len(begins))
    start = output[head] * axis.stride - axis.lo
    stop = np.append(start[1:], axis.output * axis.stride - axis.lo) - axis.stride + axis.extent
    begin, end = np.clip(start, 0, axis.size), np.clip(stop, 0, axis.size)
    before = np.clip(-start, 0, stop - start)
    loaded = np.maximum(end - begin, 0)
    behind = stop - start - before - loaded
    segments = np.stack([begin * last.x, before, loaded, behind, head, lengths], axis=1)
    place = (output * axis.stride - axis.lo - np.repeat(start, lengths)) * position
    outs = np.outer(output, [last.out, *last.aux])
    made = np.column_stack([number, np.diff(begins, append=tiles[-1]), place, outs])
    return table(segments, 6), table(made, 4 + len(last.aux))
