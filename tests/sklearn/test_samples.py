"""The order of samples, and their weights."""

import numpy as np
import pytest

from faltung.geometry.errors import FaltungError
from faltung.sklearn.samples import in_order, numbers, shape_of

RNG = np.random.default_rng(0)
X = RNG.random((20, 3)).astype("f")
Y = np.arange(20)


def test_the_order_follows_from_the_samples() -> None:
    first, weights = in_order(X, Y, None)
    assert sorted(first) == list(range(20)) and weights is None
    moved = RNG.permutation(20)
    second, _ = in_order(X[moved], Y[moved], None)
    assert np.array_equal(Y[first], Y[moved][second])


def test_whole_weights_are_repetitions() -> None:
    given = np.arange(20) % 4
    weighted, weights = in_order(X, Y, given.astype(float))
    assert weights is None
    times = np.repeat(np.arange(20), given)
    repeated, _ = in_order(X[times], Y[times], None)
    assert np.array_equal(Y[weighted], Y[times][repeated])


def test_other_weights() -> None:
    given = np.linspace(0, 3, 20)
    order, weights = in_order(X, Y, given)
    assert weights is not None and weights.mean() == pytest.approx(1) and 0 not in order
    assert np.allclose(weights / weights[0], given[order] / given[order[0]])
    assert in_order(X, Y, np.full(20, 0.3))[1] is None
    assert in_order(X, Y, np.where(Y == 3, 1e6, 1.0))[1] is not None  # too many for repetitions


def test_shapes() -> None:
    assert shape_of(X, None) == (3,) and shape_of(X, [1, 3]) == (1, 3)
    assert numbers(X, (1, 3)).shape == (20, 1, 3)
    with pytest.raises(FaltungError, match=r"X.shape=\(1, 1, 1, 1, 1, 1\): must be"):
        shape_of(np.ones((1,) * 6), None)
    with pytest.raises(FaltungError, match=r"must be \(channels, \*space\)"):
        shape_of(X, (0, 3))
