"""Lengths changed along axes, against NumPy and Pillow."""

import numpy as np
import pytest

from faltung.data.resize import resize

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("new", [5, 8, 13, 40])
def test_growing_is_interpolation(new: int) -> None:
    x = RANDOM.random((3, 5))
    centres = (np.arange(new) + 0.5) * 5 / new - 0.5
    want = [np.interp(centres, np.arange(5), row) for row in x]
    np.testing.assert_allclose(resize(x, (new,)), want, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 9), (40, 3), (17, 100), (1, 1)])
def test_both_ways_as_pillow_does(shape: tuple[int, int]) -> None:
    image = pytest.importorskip("PIL.Image")
    x = RANDOM.random((17, 20)).astype(np.float32)
    want = np.asarray(image.fromarray(x).resize(shape[::-1], image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize(x, shape), want, atol=1e-5)


def test_constants_and_ends_stay() -> None:
    for new in (1, 2, 7, 100):
        np.testing.assert_allclose(resize(np.full((2, 9), 3.0), (new,)), 3, rtol=1e-6)
    assert resize(np.arange(9.0)[None], (9,)).tolist() == [list(range(9))]


def test_volumes_and_leading_axes() -> None:
    x = RANDOM.random((2, 4, 5, 6))
    out = resize(x, (8, 5, 3))
    assert out.shape == (2, 8, 5, 3) and out.dtype == np.float32 and out.flags.c_contiguous
    np.testing.assert_array_equal(out[1], resize(x[1], (8, 5, 3)))


def test_very_long_series() -> None:
    assert resize(np.ones((1, 1_000_000)), (3,)).tolist() == [[1, 1, 1]]
