"""Reductions, extremes, running sums and sorting by definition, against PyTorch and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faltung.reference import arg, cumulative, reduced, top_k

RNG = np.random.default_rng(0)
X = np.round(RNG.normal(size=(3, 4, 5)), 1)


def test_nan_makes_everything_nan() -> None:
    for kind in ("sum", "mean", "max", "min", "product"):
        assert np.isnan(reduced([1.0, np.nan, 2.0], (0,), kind)).all()


def test_first_last_and_nan() -> None:
    row = [2.0, 7.0, np.nan, 7.0, np.nan]
    assert arg(row, 0, "max") == 2 and arg(row, 0, "max", last=True) == 4
    assert arg(row[:2], 0, "min") == 0
    assert arg([1.0, 1.0], 0, "min", last=True) == 1


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9), st.integers(1, 9), st.booleans())
def test_sorting_by_hand(row: list[int], k: int, largest: bool) -> None:
    k = min(k, len(row))
    values, indices = top_k(row, 0, k, largest)
    order = sorted(range(len(row)), key=lambda i: (-row[i] if largest else row[i], i))[:k]
    assert indices.tolist() == order
    assert values.tolist() == [row[i] for i in order]


@pytest.mark.parametrize("largest", [True, False])
def test_nan_is_larger_than_everything(largest: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[1.0, np.nan, np.inf, -np.inf, 3.0]])
    values, _ = top_k(x, 1, 5, largest)
    want = torch.topk(torch.tensor(x), 5, largest=largest).values
    np.testing.assert_array_equal(values, want.numpy())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_sums_as_in_pytorch(axis: int) -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(X)
    np.testing.assert_allclose(cumulative(X, axis), torch.cumsum(x, axis).numpy(), atol=1e-12)
    want = torch.cumprod(x.flip(axis), axis).flip(axis).numpy()
    np.testing.assert_allclose(cumulative(X, axis, "product", reverse=True), want, atol=1e-12)
    before = cumulative(X, axis, exclusive=True) + X
    np.testing.assert_allclose(before, cumulative(X, axis), atol=1e-12)
