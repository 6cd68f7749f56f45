"""Tables of ``grouped``: output rows in pairs that read rows of the input in common.

Two rows of one axis are computed together where the last rows of taps of the one are the first of
the other. So each row of the input is read once for both, and each output still takes its taps in
order.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import interior
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import Table, table

# One row, or pair, of an axis: taps (tap, input) of each, relative to where the first begins.
Taps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """``rows``, ``spans``, ``entries`` as ``grouped_kernel`` reads them."""

    rows: Table
    spans: Table
    entries: Table


def apart(axis: Axis) -> int:
    """How far the outputs of a pair are from each other."""
    return axis.dilation // gcd(axis.stride, axis.dilation)


def pairs_of(axis: Axis) -> list[tuple[int, int]]:
    """The outputs of an axis in pairs that share inputs; one that is left over is its own pair."""
    step, found = apart(axis), []
    for start in range(0, axis.output, 2 * step):
        for first in range(start, min(start + step, axis.output)):
            found.append((first, first + step if first + step < axis.output else first))
    return found


def tables_of(
    windows: Sequence[Window],
    rows: int,
    inner: Sequence[int],
    weights: int,
    aux: int,
    padded: bool = False,
) -> Tables:
    """All axes but the last as tables. ``inner``: input offsets of the last axis's taps that are
    not in the code; ``weights``: elements of an entry; ``aux``: arrays of the epilogue; ``padded``:
    the input has its padding, and begins with it.
    """
    *before, last = windows or (None,)
    begins = np.zeros(1, np.int64)
    outs = np.zeros((1, 1 + aux), np.int64)
    leading: list[list[Taps]] = []
    kinds = np.zeros(1, np.int64)
    for window in before:
        assert window is not None
        singles = [(o, o) for o in range(window.axis.output)]
        origin, number, patterns = _patterns(window, singles, padded)
        leading.append([first for first, _ in patterns])
        begins = (begins[:, None] + origin).ravel()
        kinds = (kinds[:, None] * len(patterns) + number).ravel()
        steps = np.array([window.out, *window.aux], np.int64)
        outs = (outs[:, None] + np.arange(window.axis.output)[:, None] * steps).reshape(-1, 1 + aux)
    paired: list[tuple[Taps, Taps]] = [(((0, 0),), ((0, 0),))]
    kernel, places = 1, np.repeat(outs[:, :, None], 2, axis=2)
    if last is not None:
        kernel = last.axis.kernel
        pairs = pairs_of(last.axis) if rows > 1 else [(o, o) for o in range(last.axis.output)]
        origin, number, paired = _patterns(last, pairs, padded)
        begins = (begins[:, None] + origin).ravel()
        kinds = (kinds[:, None] * len(paired) + number).ravel()
        steps = np.array([last.out, *last.aux], np.int64)
        to = np.array(pairs, np.int64)[:, None, :] * steps[:, None]
        places = (outs[:, None, :, None] + to[None]).reshape(-1, 1 + aux, 2)
    axes = [w for w in before if w]
    spans, entries, first = _spans(axes, leading, paired, kernel, rows, inner, weights)
    made = np.column_stack([begins, first[kinds], places.reshape(len(begins), -1)])
    return Tables(table(made, 4 + 2 * aux + 1), spans, entries)


def _patterns(
    window: Window, pairs: Sequence[tuple[int, int]], padded: bool
) -> tuple[Table, Table, list[tuple[Taps, Taps]]]:
    """For each pair where it begins and the number of its pattern; and the patterns."""
    axis, inside = window.axis, interior(window.axis)
    seen: dict[tuple[Taps, Taps], int] = {}
    numbers: list[int] = []
    plain: dict[int, int] = {}
    for first, second in pairs:
        known = first in inside and second in inside
        if not known or second - first not in plain:
            begin = first * axis.stride - axis.lo
            found = _taps(window, first, begin, padded), _taps(window, second, begin, padded)
            number = seen.setdefault(found, len(seen))
            if known:
                plain[second - first] = number
        else:
            number = plain[second - first]
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


def _spans(
    before: Sequence[Window],
    leading: Sequence[Sequence[Taps]],
    paired: Sequence[tuple[Taps, Taps]],
    kernel: int,
    rows: int,
    inner: Sequence[int],
    weights: int,
) -> tuple[Table, Table, Table]:
    """Spans and entries of all patterns, and of each pattern its first span and how many."""
    spans: list[tuple[int, int, int, int]] = []
    entries: list[tuple[int, int, int]] = []
    first: list[tuple[int, int]] = []
    combinations = itertools.product(itertools.product(*leading), paired)
    for combination, (one, two) in combinations:
        start = len(spans)
        shared = _shared(one, two) if rows > 1 else 0
        for taps in itertools.product(*combination):
            number = 0
            for window, (k, _) in zip(before, taps, strict=True):
                number = number * window.axis.kernel + k
            offset, number = sum(where for _, where in taps), number * kernel
            here, alone = len(entries), len(one) - shared
            # (input, tap of the first row, tap of the second)
            found = [
                (where, k, two[i - alone][0] if i >= alone else k)
                for i, (k, where) in enumerate(one)
            ]
            rest = [(where, k, k) for k, where in two[shared:]] if rows > 1 else []
            for where, *numbers in found + rest:
                for i, along in enumerate(inner):
                    at = [((number + k) * len(inner) + i) * weights for k in numbers]
                    entries.append((offset + where + along, at[0], at[1]))
            counts = (alone * len(inner), shared * len(inner), len(rest) * len(inner))
            spans.append((here, *counts))
        first.append((start, len(spans) - start))
    return table(spans, 4), table(entries, 3), table(first, 2)


def _shared(one: Taps, two: Taps) -> int:
    """How many of the last inputs of the one are the first of the other."""
    a, b = [where for _, where in one], [where for _, where in two]
    return next((n for n in range(min(len(a), len(b)), 0, -1) if a[-n:] == b[:n]), 0)
