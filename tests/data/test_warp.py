"""Samples read at other places, against SciPy and against turns that are exact."""

import numpy as np
import pytest
from scipy import ndimage

from faltung.data.warp import CHUNK, bends, here, mapped, rotations, sampled, scales, warp

SPACES = [(9,), (9, 9), (5, 7), (5, 6, 7)]


def batch(count: int, space: tuple[int, ...], channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).random((count, channels, *space)).astype(np.float32)


@pytest.mark.parametrize("fill", ["zero", "edge"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 3])
def test_read_where_they_are(count: int, space: tuple[int, ...], fill: str) -> None:
    x = batch(count, space)
    np.testing.assert_array_equal(sampled(x, here(count, space), fill), x)


@pytest.mark.parametrize(("fill", "mode"), [("zero", "grid-constant"), ("edge", "nearest")])
@pytest.mark.parametrize("space", SPACES)
def test_places_as_scipy_reads_them(space: tuple[int, ...], fill: str, mode: str) -> None:
    x, rng = batch(4, space), np.random.default_rng(0)
    rank = len(space)
    matrices = rotations(30, 4, rank, rng) @ scales(0.5, 4, rank, rng)
    places = mapped(matrices, np.zeros((4, rank), np.float32), space) + bends(1.5, 4, space, rng)
    got = sampled(x, places, fill)
    for sample, where, out in zip(x, places, got, strict=True):
        for channel, made in zip(sample, out, strict=True):
            wanted = ndimage.map_coordinates(channel, where, order=1, mode=mode)
            np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_a_quarter_turn_is_exact() -> None:
    x = batch(2, (9, 9))
    quarter = np.broadcast_to(np.array([[0, 1], [-1, 0]], np.float32), (2, 2, 2))
    got = sampled(x, mapped(quarter, np.zeros((2, 2), np.float32), (9, 9)), "zero")
    turned = [np.rot90(x, k, (2, 3)) for k in (1, 3)]
    assert any(np.array_equal(got, each) for each in turned)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rotations_keep_lengths_and_scales_are_factors(rank: int) -> None:
    made = rotations(40, 50, rank, np.random.default_rng(0)).astype(np.float64)
    unit = np.broadcast_to(np.eye(rank), made.shape)
    np.testing.assert_allclose(made @ made.swapaxes(1, 2), unit, atol=1e-6)
    if rank == 2:
        angles = np.rad2deg(np.arcsin(made[:, 0, 1]))
        assert np.abs(angles).max() <= 40 < 2 * np.abs(angles).max()
    factors = scales(0.25, 200, rank, np.random.default_rng(0))[:, 0, 0]
    assert 1 / 1.2500001 <= factors.min() < 0.85 and 1.2 < factors.max() <= 1.2500001


def test_bends_are_smooth_and_bounded() -> None:
    made = bends(3, 20, (40, 50), np.random.default_rng(0))
    assert made.shape == (20, 2, 40, 50) and 2 < np.abs(made).max() <= 3
    assert np.abs(np.diff(made, axis=-1)).max() < 6 / 12 * 1.01  # from knot to knot at most


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    x = batch(11, (9, 9))
    places = np.array(here(11, (9, 9))) + np.float32(0.3)
    whole = sampled(x, places, "edge")
    for part in (slice(0, 1), slice(3, 5), slice(10, 11)):
        np.testing.assert_array_equal(sampled(x[part], places[part], "edge"), whole[part])


def test_one_entry_and_one_axis() -> None:
    x = batch(3, (1,))
    got = warp(x, 0, 0.5, 0, "edge", np.random.default_rng(0))
    np.testing.assert_array_equal(got, x)
