"""Axes of foreign tensors through tables, in any order of memory, against the definition."""

from collections.abc import Mapping

import numpy as np
import pytest
from graph.foreign_runs import run
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.geometry.interpolate import interpolated
from faltung.geometry.resample import Table, averaged, flipped, padded, selected, tiled
from faltung.graph.foreign import Foreign, Tensor
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import concatenated, sliced
from faltung.graph.foreign_resample import merged, resampled
from faltung.reference.resample import resample

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
BOTH = pytest.mark.parametrize("as_maps", [False, True])


def wanted(x: np.ndarray, tables: Mapping[int, Table], fill: float = 0.0) -> np.ndarray:
    return resample(x[None], [tables.get(axis) for axis in range(x.ndim)], fill)[0]


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def doubled(f: Foreign, x: Tensor) -> Tensor:
    """So that something happens where tables change nothing."""
    return formula(f, lambda x: x * 2.0, x)


@BOTH
@pytest.mark.parametrize("axis", range(4))
def test_one_axis(axis: int, as_maps: bool) -> None:
    n = X.shape[axis]
    for table in (
        flipped(n),
        padded(n, 2, 1),
        padded(n, -1, 3, "circular"),
        averaged(n, 2),
        interpolated("cubic", n, 7),
        selected(n, [0]),
        tiled(n, 3),
    ):
        got = run([X], lambda f, x, t=table: doubled(f, resampled(f, x, {axis: t}, 2.0)), as_maps)
        close(got, 2 * wanted(X, {axis: table}, 2.0))


@st.composite
def steps(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[int, int], tuple[int, ...], bool]:
    """An order, what happens to some of the axes, sizes and whether they are maps."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple))
    order = draw(st.permutations(range(len(shape))).map(tuple))
    kinds = draw(st.dictionaries(st.integers(0, len(shape) - 1), st.integers(0, 4)))
    return order, kinds, shape, draw(st.booleans())


@given(steps())
@settings(deadline=None)
def test_any_axes_in_any_order_of_memory(problem: tuple) -> None:
    order, kinds, shape, as_maps = problem
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    sizes = [shape[i] for i in order]
    made = {
        axis: (
            flipped(sizes[axis]),
            padded(sizes[axis], 1, 2),
            averaged(sizes[axis], 3),
            selected(sizes[axis], [0, None, sizes[axis] - 1]),
            interpolated("linear", sizes[axis], 4),
        )[kind]
        for axis, kind in kinds.items()
    }

    def step(f: Foreign, t: Tensor) -> Tensor:
        return doubled(f, resampled(f, t.transposed(order), made))

    got = run([x], step, as_maps and len(shape) > 2)
    close(got, 2 * wanted(x.transpose(order), made))


def test_axes_that_were_split_and_merged() -> None:
    """In pieces of memory, an axis is put together first."""

    def step(f: Foreign, x: Tensor) -> Tensor:
        return resampled(f, f.reshaped(x.transposed((0, 2, 1, 3)), (2, 12, 5)), {1: flipped(12)})

    want = X.transpose(0, 2, 1, 3).reshape(2, 12, 5)[:, ::-1]
    assert np.array_equal(run([X], step), want)


def test_axes_as_one() -> None:
    """A triangle of each matrix, where memory has them and where not."""
    mask = np.tril(np.ones((4, 5), bool)).ravel()
    table = selected(20, [i if there else None for i, there in enumerate(mask)])

    def step(f: Foreign, x: Tensor) -> Tensor:
        return merged(f, x, (2, 3), table, (4, 5))

    assert np.array_equal(run([X], step), np.tril(X))
    assert np.array_equal(run([X], step, True), np.tril(X))


def test_maps_stay_maps() -> None:
    """No view stands between a map, its other size, and what reads it as a map."""
    names: list[str] = []

    def step(f: Foreign, x: Tensor) -> Tensor:
        x = resampled(f, x, {2: interpolated("linear", 4, 8), 3: interpolated("linear", 5, 9)})
        made = f.of_map(f.map(x), x.dtype)
        names.extend(type(node.op).__name__ for node in f.graph([made.value]).nodes)
        return made

    run([X], step, True)
    assert names == ["Resample"]


@pytest.mark.parametrize("axis", range(4))
def test_parts_put_together_again(axis: int) -> None:
    """A roll and a circular padding, spelled out, are a table."""
    n = X.shape[axis]
    kinds: list[str] = []

    def rolled(f: Foreign, x: Tensor) -> Tensor:
        made = concatenated(f, [sliced(f, x, axis, 1, n - 1), sliced(f, x, axis, 0, 1)], axis)
        kinds.extend(type(node.op).__name__ for node in f.graph([made.value]).nodes)
        return made

    def around(f: Foreign, x: Tensor) -> Tensor:
        return concatenated(f, [sliced(f, x, axis, n - 1, 1), x, sliced(f, x, axis, 0, 1)], axis)

    for as_maps in (False, True):
        assert np.array_equal(run([X], rolled, as_maps), np.roll(X, -1, axis))
        pairs = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        assert np.array_equal(run([X], around, as_maps), np.pad(X, pairs, "wrap"))
    assert "Resample" in kinds and "Concat" not in kinds


def test_parts_of_different_tensors_are_joined() -> None:
    def step(f: Foreign, x: Tensor) -> Tensor:
        twice = formula(f, lambda x: x * 2.0, x)
        return concatenated(f, [sliced(f, x, 1, 1, 2), sliced(f, twice, 1, 0, 1)], 1)

    assert np.array_equal(run([X], step), np.concatenate([X[:, 1:], 2 * X[:, :1]], 1))
