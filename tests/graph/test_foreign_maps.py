"""Broadcasts, reductions, parts and joins of foreign tensors, against NumPy."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from graph.foreign_runs import meant, run
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.geometry.errors import FaltungError
from faltung.graph import foreign_maps as maps
from faltung.graph import foreign_reduce as reduce
from faltung.graph.foreign import Foreign, Tensor
from faltung.graph.foreign_formulas import expanded, formula

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
BOTH = pytest.mark.parametrize("as_maps", [False, True])


@BOTH
@pytest.mark.parametrize(
    "axes", [[0], [1], [2], [3], [1, 2], [0, 2], [2, 3], [1, 2, 3], [0, 1, 2, 3]]
)
@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
def test_reductions(kind: str, axes: list[int], as_maps: bool) -> None:
    want = getattr(np, kind)(X, axis=tuple(axes), keepdims=True)
    for keep in (True, False):
        got = run([X], lambda f, x: reduce.reduced(f, x, axes, kind, keep), as_maps)  # noqa: B023
        shape = want.shape if keep else want.squeeze(tuple(axes)).shape
        assert got.shape == shape
        np.testing.assert_allclose(got.reshape(want.shape), want, rtol=1e-5, atol=1e-6)


@BOTH
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize(("start", "count", "step"), [(0, 2, 1), (1, 1, 1), (0, 1, 2), (0, 2, 2)])
def test_parts_are_exact(axis: int, start: int, count: int, step: int, as_maps: bool) -> None:
    if start + (count - 1) * step >= X.shape[axis] or count == X.shape[axis]:
        return
    want = np.take(X, range(start, start + count * step, step), axis=axis)
    got = run([X], lambda f, x: maps.sliced(f, x, axis, start, count, step), as_maps)
    assert np.array_equal(got, want)


@BOTH
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_joins_and_pads_are_exact(axis: int, as_maps: bool) -> None:
    def joined(f: Foreign, x: Tensor) -> Tensor:
        return maps.concatenated(f, [x, maps.sliced(f, x, axis, 1, 1), x], axis)

    want = np.concatenate([X, np.take(X, [1], axis), X], axis)
    assert np.array_equal(run([X], joined, as_maps), want)
    pairs = [(2, 1) if i == axis else (0, 0) for i in range(4)]
    for mode, word in (("zeros", "constant"), ("replicate", "edge")):
        got = run([X], lambda f, x, m=mode: maps.padded(f, x, pairs, m), as_maps)  # type: ignore[misc]
        assert np.array_equal(got, np.pad(X, pairs, word))  # type: ignore[call-overload]


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_softmax(axis: int) -> None:
    away = np.exp(X - X.max(axis=axis, keepdims=True))
    want = away / away.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(run([X], lambda f, x: reduce.softmax(f, x, [axis])), want, rtol=1e-5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_transposes_are_exact(order: tuple[int, ...]) -> None:
    """Also merged afterwards, which needs numbers in another order."""
    axes = (0, *(i + 1 for i in order))
    plain = X.transpose(axes)

    def built(f: Foreign, x: Tensor) -> Tensor:
        return maps.sliced(f, f.reshaped(x.transposed(axes), (2, 60)), 1, 7, 31)

    assert np.array_equal(run([X], built, True), plain.reshape(2, 60)[:, 7:38])


SHAPES = [(2, 3, 4, 5), (2, 1, 4, 5), (1, 3, 1, 1), (3, 1, 5), (5,), (), (2, 3, 1, 1), (4, 1)]


@BOTH
@pytest.mark.parametrize("shape", SHAPES)
def test_formulas_broadcast_as_in_numpy(shape: tuple[int, ...], as_maps: bool) -> None:
    other = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for swapped in (False, True):
        pair = [other, X] if swapped else [X, other]
        got = run(pair, lambda f, a, b: formula(f, lambda a, b: a - b * 2, a, b), as_maps)
        np.testing.assert_allclose(got, pair[0] - 2.0 * pair[1], rtol=1e-5, atol=1e-5)
    got = run([X], lambda f, a: formula(f, lambda a, b: a - b, a, other), as_maps)
    np.testing.assert_allclose(got, X.astype(np.float64) - other, rtol=1e-5, atol=1e-5)


def test_two_that_grow() -> None:
    a, b = X[:, :1], X[:, :, :1]
    got = run([a, b], lambda f, a, b: formula(f, lambda a, b: a * b, a, b))
    np.testing.assert_allclose(got, a.astype(np.float64) * b)
    got = run([b], lambda f, b: expanded(f, b, (2, 3, 4, 5)))
    assert np.array_equal(got, np.broadcast_to(b, X.shape))
    with pytest.raises(FaltungError, match="not broadcast"):
        meant([b], lambda f, b: expanded(f, b, (2, 2, 4, 5)))


# Any steps one after the other --------------------------------------------------------------------

Step = tuple[Callable[[Foreign, Tensor], Tensor], Callable[[np.ndarray], np.ndarray]]


def _steps(draw: st.DrawFn, shape: tuple[int, ...]) -> Step:
    """A step on a tensor of this shape, and what it is in NumPy."""
    kind = draw(st.sampled_from("reshape transpose slice concat add reduce square".split()))
    axis = draw(st.integers(0, len(shape) - 1))
    if kind == "reshape":
        flat = int(np.prod(shape))
        sizes = []
        while flat > 1 and len(sizes) < 4:
            n = draw(st.sampled_from([d for d in range(1, flat + 1) if flat % d == 0]))
            sizes.append(n)
            flat //= n
        made = (*sizes, flat)
        return lambda f, x: f.reshaped(x, made), lambda a: a.reshape(made)
    if kind == "transpose":
        order = draw(st.permutations(range(len(shape))))
        return lambda f, x: x.transposed(order), lambda a: a.transpose(order)
    if kind == "slice":
        start = draw(st.integers(0, shape[axis] - 1))
        count = draw(st.integers(1, shape[axis] - start))
        part = tuple(
            slice(start, start + count) if i == axis else slice(None) for i in range(len(shape))
        )
        return lambda f, x: maps.sliced(f, x, axis, start, count), lambda a: a[part]
    if kind == "concat":
        return (
            lambda f, x: maps.concatenated(f, [x, formula(f, lambda a: a + 1, x)], axis),
            lambda a: np.concatenate([a, a + 1], axis),
        )
    if kind == "add":
        there = [draw(st.booleans()) for _ in shape]
        other = tuple(n if keep else 1 for n, keep in zip(shape, there, strict=True))
        constant = np.arange(int(np.prod(other)), dtype=np.float32).reshape(other)
        return lambda f, x: formula(f, lambda a, b: a + b, x, constant), lambda a: a + constant
    if kind == "reduce":
        return (
            lambda f, x: reduce.reduced(f, x, [axis], "max", True),
            lambda a: a.max(axis, keepdims=True),
        )
    order = draw(st.permutations(range(len(shape))))
    back = tuple(np.argsort(order))
    return (  # of a tensor and the same numbers in another order of memory
        lambda f, x: formula(
            f, lambda a, b: a + b, x, f.straightened(x.transposed(order)).transposed(back)
        ),
        lambda a: a + a,
    )


def chain(data: st.DataObject, compute: Callable[..., np.ndarray]) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    x = np.random.default_rng(len(shape)).integers(-9, 9, shape).astype(np.float32)
    as_maps = data.draw(st.booleans())
    steps, want = [], x + 1
    for _ in range(data.draw(st.integers(1, 6))):
        step, same = data.draw(st.composite(_steps)(want.shape))
        made = same(want)
        if made.size <= 2000:
            steps.append(step)
            want = made

    def built(f: Foreign, t: Tensor) -> Tensor:
        t = formula(f, lambda a: a + 1, t)
        for step in steps:
            t = step(f, t)
        return formula(f, lambda a: a * 2, t)

    got = compute([x], built, as_maps)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want * 2)


@given(st.data())
def test_what_steps_one_after_the_other_mean(data: st.DataObject) -> None:
    chain(data, meant)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_steps_one_after_the_other_as_a_program(data: st.DataObject) -> None:
    chain(data, run)
