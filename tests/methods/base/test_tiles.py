"""Tiles and rows: every output once, edges where they are, huge axes in no time."""

from itertools import pairwise

import numpy as np
import pytest

from faltung.codegen.tile import split
from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import rows_of
from faltung.methods.base.correlation import Window
from faltung.methods.base.tiles import kinds_of, segments, shares, tiles_of

AXES = [
    Axis(56, 3, 1, 1, 1, 1),
    Axis(7, 7, 2, 1, 3, 3),
    Axis(20, 3, 2, 4, 5, 9),
    Axis(1, 1, 1, 1, 0, 0),
    Axis(30, 5, 1, 1, -2, -3),
    Axis(9, 2, 7, 1, 6, 0),
]


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_tiles_cover_the_axis_and_name_their_zeros(axis: Axis) -> None:
    runs = tiles_of(axis, split(axis.output, 14), True)
    at = 0
    for kind, first, count in runs:
        assert first == at
        for _ in range(count):
            for k, outside in enumerate(kind.outside):
                for p in range(kind.positions):
                    i = (at + p) * axis.stride - axis.lo + k * axis.dilation
                    assert (p in outside) == (axis.source(i) is None)
            at += kind.positions
    assert at == axis.output


def test_a_huge_axis_is_no_work() -> None:
    axis = Axis(10**9, 5, 1, 1, 2, 2)
    runs = tiles_of(axis, split(axis.output, 14), True)
    assert len(runs) < 10
    window = Window(axis, 1, 1, tuple(range(5)))
    assert len(segments(runs, kinds_of(runs), window)) < 10_000
    cut, made = shares(runs, kinds_of(runs), window, np.zeros((1, 2), np.int64), 16)
    assert len(cut) < 10_000
    assert len(made) < 20_000


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize(("most", "divisor"), [(1, 1), (3, 2), (5, 4), (100, 3)])
def test_shares_have_all_tiles_of_all_rows_and_nearly_equally_many(
    axis: Axis, most: int, divisor: int
) -> None:
    runs = tiles_of(axis, split(axis.output, 4), True)
    window = Window(axis, 3, 5, tuple(range(axis.kernel)), (7,))
    rows = np.array([[1000, 2000, 50], [7000, 100, 900], [40, 9000, 0]], np.int64)
    cut, made = shares(runs, kinds_of(runs), window, rows, most, divisor)
    numbers = {kind: number for number, kind in enumerate(kinds_of(runs))}
    wanted = [
        (numbers[kind], *np.add(row, [(at * axis.stride - axis.lo) * 3, at * 5, at * 7]))
        for row in rows
        for kind, first, count in runs
        for at in range(first, first + count * kind.positions, kind.positions)
    ]
    found, tiles = [], []
    for begin, end in pairwise(cut[:, 0].tolist()):
        tiles.append(made[begin:end, 1].sum())
        for number, count, x, out, aux in made[begin:end].tolist():
            size = kinds_of(runs)[number].positions
            found += [
                (number, x + i * size * axis.stride * 3, out + i * size * 5, aux + i * size * 7)
                for i in range(count)
            ]
    assert found == wanted
    assert max(tiles) <= most
    assert max(tiles) - min(tiles) <= 1
    assert len(tiles) % divisor == 0 or max(tiles) == 1


def test_rows_share_patterns() -> None:
    height = Window(Axis(100, 3, 1, 1, 1, 1), 50, 40, (0, 3, 6))
    depth = Window(Axis(10, 3, 1, 1, 1, 1, "circular"), 5000, 4000, (0, 9, 18))
    rows, patterns = rows_of([depth, height], [0], 7)
    assert len(rows) == 1000
    assert len(patterns) < 150
    _, out, first, count = rows[3 * 100 + 50].tolist()
    assert out == 3 * 4000 + 50 * 40
    assert count == 9
    base = rows[3 * 100 + 50, 0]
    assert base + patterns[first : first + count, 0].max() == 4 * 5000 + 51 * 50
    assert rows[50, 3] == 9  # the first plane has all its taps: the axis is a circle
    assert rows[3 * 100, 3] == 6  # the first row has not
