"""Changes of colour, against their definitions."""

import colorsys

import numpy as np
import pytest

from faltung.data.colours import brighter, brightness, colour, contrasted, saturated, turned_hue

X = np.random.default_rng(0).random((4, 3, 5, 6)).astype(np.float32)
FACTORS = np.array([0.0, 0.5, 1.0, 1.5])


def test_factors() -> None:
    wide = FACTORS[:, None, None, None]
    np.testing.assert_allclose(brighter(X, FACTORS), X * wide, atol=1e-6)
    grey = 0.299 * X[:, 0] + 0.587 * X[:, 1] + 0.114 * X[:, 2]
    np.testing.assert_allclose(brightness(X), grey, atol=1e-6)
    mean = grey.mean((1, 2))[:, None, None, None]
    np.testing.assert_allclose(contrasted(X, FACTORS), mean + wide * (X - mean), atol=1e-6)
    there = grey[:, None] + wide * (X - grey[:, None])
    np.testing.assert_allclose(saturated(X, FACTORS), there, atol=1e-6)


def test_hue_turns_and_grey_stays() -> None:
    red = np.zeros((3, 3, 1, 1), np.float32)
    red[:, 0] = 1
    got = turned_hue(red, np.array([0.0, 1 / 3, 1.0]))[..., 0, 0]
    np.testing.assert_allclose(got[0], [1, 0, 0], atol=1e-3)
    np.testing.assert_allclose(got[2], [1, 0, 0], atol=1e-3)
    hue = colorsys.rgb_to_hsv(*got[1].clip(0, 1))[0]
    assert min(abs(hue - 1 / 3), abs(hue - 2 / 3)) < 0.12  # to green, or to blue
    grey = np.full((1, 3, 2, 2), 0.4, np.float32)
    np.testing.assert_allclose(turned_hue(grey, np.array([0.2])), grey, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("space", [(4, 5), (3, 4, 5)])
def test_any_channels(channels: int, space: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((6, channels, *space)).astype(np.float32)
    got = colour(x, 0.4, np.random.default_rng(1))
    assert got.dtype == np.float32 and got.shape == x.shape and not np.array_equal(got, x)
    np.testing.assert_allclose(colour(x, 0.0, np.random.default_rng(1)), x, atol=2e-3)
