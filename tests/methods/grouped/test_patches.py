"""Patches: what an item copies is all that it reads, and fits the memory for it."""

import numpy as np
import pytest
from grid import grid

from faltung.geometry import parse
from faltung.jit.target import current
from faltung.methods.base.correlation import Correlation, contiguous, forward
from faltung.methods.grouped.choice import Blocks, Tile, best_patch, runs_of
from faltung.methods.grouped.tables import patch_tables_of

INPUTS = 8


def problem(text: str) -> Correlation:
    spec = parse(text)
    x, out = contiguous(spec.input_shape, True), contiguous(spec.output_shape, True)
    return forward(spec, x, contiguous(spec.weight_shape, False), out)


@grid(
    text=[
        "c8>8 9x20 k3 p1 g8",
        "c8>8 23x9 k3x2 d3x2 s2x1 p4x1 g8",
        "c8>8 17x40 k4 d2x1 s1x3 p(5,0)x(0,6) g8",
        "c8>8 5x6x7 k3 p1 g8",
        "c8>8 11x6 k2 s5 p3 g8",
    ],
    rows=[1, 2],
    room=[300, 3000],
)
def test_items_stay_in_their_patch(text: str, rows: int, room: int) -> None:
    c = problem(text)
    axes = tuple(window.axis for window in c.windows)
    patch = best_patch(axes, rows, 4, room, 100)
    assert patch is not None
    assert patch.positions <= room
    tile = Tile(rows, 4, True, patch, zeros=True)
    runs = runs_of(axes[-1], tile)
    made = patch_tables_of(c.windows, tile, patch, runs, INPUTS, INPUTS)
    size, width = patch.positions * INPUTS, patch.extents[-1] * INPUTS
    # Rows go where there is room for a whole one.
    assert made["copies"][:, 1].min() >= 0
    assert made["copies"][:, 1].max() + width <= size
    assert made["segments"][:, 1:4].min() >= 0
    assert made["segments"][:, 1:4].sum(axis=1).max() * INPUTS <= width
    # Each row of outputs, or pair of rows, is in one patch; each tile in one segment.
    firsts, counts = made["patches"][:, 2], made["patches"][:, 3]
    assert np.array_equal(firsts, np.cumsum(counts) - counts)
    places = {tuple(row) for row in made["rows"][:, 3:].tolist()}
    assert len(places) == len(made["rows"]) == counts.sum()
    assert sum(made["runs"][:, 1]) == sum(count for _, _, count in runs)
    # What rows of taps read was copied.
    for first, many, start, count in made["patches"]:
        copied = set(made["copies"][first : first + many, 1].tolist())
        for begin, first_range, ranges, *_ in made["rows"][start : start + count]:
            for at, *numbers in made["ranges"][first_range : first_range + ranges]:
                read = made["entries"][at : at + sum(numbers), 0] + begin
                assert copied.issuperset(read.tolist())


def test_nothing_fits() -> None:
    axes = tuple(window.axis for window in problem("c8>8 90x90 k50 g8").windows)
    assert best_patch(axes, 2, 4, 1000, 100) is None


@pytest.mark.parametrize("text", ["c256>256 28x28 k7 p3 g256", "n8 c256>256 1024 k31 p15 g256"])
def test_where_they_are_taken(text: str) -> None:
    if current().name != "avx2":
        pytest.skip("other vectors, other blocks")
    c = problem(text)
    assert Blocks(c, current(), 8).choose().patch is not None
    for text, count in (("c240>240 28x28 k7 p3 g240", 8), ("c256>256 56x56 k3 p1 g32", 1)):
        assert Blocks(problem(text), current(), count).choose().patch is None
