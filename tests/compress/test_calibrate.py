"""Histograms and the grids that are chosen from them, against the numbers themselves."""

import numpy as np
import pytest

from faltung.compress.calibrate import (
    METHODS,
    Choice,
    Histogram,
    _candidates,
    checked,
    error,
    grid_for,
)
from faltung.nn import Quantise

RNG = np.random.default_rng(0)
NUMBERS = {
    "normal": RNG.normal(0.3, 2, 20000),
    "rectified": np.maximum(RNG.normal(size=20000), 0),
    "few far ones": np.concatenate([RNG.normal(size=20000), [300.0, -500.0]]),
    "negative": -RNG.exponential(1e-4, 20000),
    "whole": RNG.integers(0, 17, 20000).astype(np.float64),
    "large": RNG.normal(1e6, 1e3, 20000),
}


def counted(x: np.ndarray, parts: int = 1) -> Histogram:
    made = Histogram()
    for part in np.array_split(x, parts):
        made.add(part)
    return made


def same(a: Histogram, b: Histogram) -> None:
    assert (a.exponent, a.zeros, a.least, a.most) == (b.exponent, b.zeros, b.least, b.most)
    np.testing.assert_array_equal(a.positive, b.positive)
    np.testing.assert_array_equal(a.negative, b.negative)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_order_of_the_numbers_does_not_matter(name: str) -> None:
    x = NUMBERS[name].astype(np.float32)
    whole = counted(x)
    same(whole, counted(np.sort(np.abs(x)) * np.sign(x[np.argsort(np.abs(x))]), 37))
    same(whole, counted(RNG.permutation(x), 5))
    same(whole, counted(x[:7000]).joined(counted(x[7000:])))
    assert whole.count == x.size
    assert whole.energy == pytest.approx(np.square(x, dtype=np.float64).sum(), rel=2e-3)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("method", METHODS)
def test_grids_keep_what_their_method_says(name: str, method: str) -> None:
    x = NUMBERS[name]
    grid = grid_for(counted(x), checked(method, 99.9))
    assert (grid.low, grid.high) == (0, 255) and 0 <= grid.zero <= 255
    mantissa = np.frexp(grid.scale)[0] * 4
    assert mantissa == np.rint(mantissa)  # two significant bits
    low, high = ((end - grid.zero) * grid.scale for end in (-0.5, 255.5))
    clipped = ((x < low) | (x > high)).mean()
    if method == "max":
        assert clipped == 0
    if method == "percentile":
        assert clipped <= 1.05e-3 + 5e-5
    if x.min() >= 0:
        assert grid.zero == 0


def loss(x: np.ndarray, grid: Quantise) -> float:
    q = np.clip(np.rint(x / grid.scale) + grid.zero, grid.low, grid.high)
    return float(np.square(x - (q - grid.zero) * grid.scale).sum())


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("levels", [256, 16])
def test_the_least_squared_error_is_that_of_the_numbers(name: str, levels: int) -> None:
    """To what the bins are as wide as."""
    h, x = counted(NUMBERS[name]), NUMBERS[name]
    grid = grid_for(h, Choice("mse", levels=levels))
    best = min(loss(x, other) for other in _candidates(h, levels))
    assert loss(x, grid) <= 1.15 * best + 1e-9 * h.energy
    if levels == 16:
        assert error(h, grid) == pytest.approx(loss(x, grid), rel=0.05, abs=1e-9 * h.energy)


def test_far_numbers_are_clipped_where_that_costs_less() -> None:
    h = counted(NUMBERS["few far ones"])
    widest, best = grid_for(h, Choice("max", levels=16)), grid_for(h, Choice("mse", levels=16))
    assert error(h, best) <= error(h, widest)
    fine = grid_for(h, checked("percentile", 99.9))
    assert fine.scale < widest.scale / 8


def test_nothing_but_zeros_has_a_grid() -> None:
    for x in (np.zeros(5), np.zeros(0)):
        assert grid_for(counted(x), Choice()) == Quantise(1.0)
    tiny = grid_for(counted(np.full(9, 1e-30)), Choice("max"))
    assert 0 < tiny.scale < 1e-10


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="method='median': must be one of mse, percentile, max"):
        checked("median", 99)
    for percentile in (50, 101, float("nan")):
        with pytest.raises(ValueError, match="percentile="):
            checked("percentile", percentile)
