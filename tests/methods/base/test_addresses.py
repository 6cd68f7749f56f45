"""Tables over several axes, against what each output reads, one by one."""

from itertools import product

import numpy as np
import pytest

from faltung.geometry.axis import MODES, Axis
from faltung.methods.base.addresses import (
    AxisRows,
    borders,
    combined,
    numbered,
    pitches,
    reads_of,
    rows_of,
)
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import MISSING


def _windows(mode: str) -> list[Window]:
    axes = [Axis(5, 3, 2, 1, 2, 1, mode), Axis(6, 2, 1, 3, 1, 2, mode), Axis(4, 4, 1, 1, -1, 1)]
    kernels = pitches([axis.kernel for axis in axes], 7)
    windows = []
    for axis, x, out, tap in zip(axes, pitches([5, 6, 4], 10), (900, 30, 1), kernels, strict=True):
        windows.append(Window(axis, x, out, tuple(k * tap for k in range(axis.kernel))))
    return windows


def _offset(windows: list[Window], outputs: tuple[int, ...], taps: tuple[int, ...]) -> int:
    """The input that these outputs read at these taps, one axis at a time."""
    total = 0
    for w, o, k in zip(windows, outputs, taps, strict=True):
        read = w.axis.source(o * w.axis.stride - w.axis.lo + k * w.axis.dilation)
        if read is None:
            return MISSING
        total += read * w.x
    return total


@pytest.mark.parametrize("mode", MODES)
def test_rows_and_reads_are_what_outputs_read(mode: str) -> None:
    windows = _windows(mode)
    outputs = list(product(*(range(w.axis.output) for w in windows)))
    taps = list(product(*(range(w.axis.kernel) for w in windows)))
    reads = reads_of(windows)
    assert reads.tolist() == [[_offset(windows, o, k) for k in taps] for o in outputs]
    rows, patterns = rows_of(windows, [0, 1000], 7)
    for (base, out, first, count), o, row in zip(rows.tolist(), outputs, reads, strict=True):
        assert out == sum(w.out * i for w, i in zip(windows, o, strict=True))
        there = np.flatnonzero(row != MISSING)
        inputs, weights = patterns[first : first + count].T
        # Each tap twice: with and without the offset of an inner tap, its weights one step on.
        assert (base + inputs).tolist() == [row[k] + i * 1000 for k in there for i in (0, 1)]
        assert weights.tolist() == [(2 * k + i) * 7 for k in there for i in (0, 1)]


def test_what_begins_elsewhere_and_is_alike_has_one_pattern() -> None:
    firsts, numbers, patterns = numbered([[(4, 0), (6, 1)], [], [(5, 0), (7, 1)], [(5, 1)]])
    assert firsts.tolist() == [4, 0, 5, 5]
    assert numbers.tolist() == [0, 1, 0, 2]
    assert patterns == [((0, 0), (2, 1)), (), ((0, 1),)]


def test_combinations_add_columns_and_entries() -> None:
    outer = AxisRows(
        np.array([[0], [10]]), np.array([1, 0]), [np.array([[1, 1]]), np.zeros((0, 2), int)]
    )
    inner = AxisRows(np.array([[0], [1]]), np.array([0, 0]), [np.array([[5, 0], [6, 1]])])
    columns, spans, entries = combined([outer, inner], 1)
    assert columns[:, 0].tolist() == [0, 1, 10, 11]
    assert spans[:, 1].tolist() == [0, 0, 2, 2]
    first, count = spans[-1]
    assert entries[first : first + count].tolist() == [[6, 1], [7, 2]]


def test_borders_repeat_what_their_mode_says() -> None:
    positions, read = borders(Axis(5, 1, 1, 1, 2, 1, "reflect"))
    assert (positions.tolist(), read.tolist()) == ([-2, -1, 5], [2, 1, 3])
    positions, read = borders(Axis(5, 1, 1, 1, 1, -1))
    assert (positions.tolist(), read.tolist()) == ([-1], [-1])
