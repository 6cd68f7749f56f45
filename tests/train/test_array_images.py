"""Arrays of every rank as pictures, grids of them, and heat maps over them."""

import io
import sys

import numpy as np
import pytest

from faltung.train.array_images import SERIES, enlarged, overlay, picture, png, reduced, tile_images

image = pytest.importorskip("PIL.Image")


def decoded(data: bytes) -> np.ndarray:
    assert data.startswith(b"\x89PNG")
    return np.asarray(image.open(io.BytesIO(data)))


def test_grey_is_stretched_from_black_to_white() -> None:
    found = picture(np.array([[[-1.0, 0.0], [1.0, 3.0]]]))
    assert found.shape == (2, 2, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found[..., 0], [[0, 64], [128, 255]])


def test_bytes_are_shown_as_they_are() -> None:
    value = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    np.testing.assert_array_equal(picture(value), value.transpose(1, 2, 0))
    np.testing.assert_array_equal(picture(value[:1])[..., 2], value[0])


def test_signed_is_white_at_zero() -> None:
    found = picture(np.array([[[-2.0, 0.0, 2.0]]]), signed=True)
    assert found[0].tolist() == [[5, 48, 97], [247, 247, 247], [103, 0, 31]]
    colours = picture(np.array([[[-2.0, 0.0]], [[2.0, 0.0]], [[0.0, 0.0]]]), signed=True)
    assert colours[0].tolist() == [[0, 255, 128], [128, 128, 128]]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((1, 6, 7), (6, 7)),
        ((2, 6, 7), (6, 15)),  # side by side
        ((4, 6, 7), (6, 31)),
        ((64, 6, 7), (6, 7)),
        ((1, 9, 6, 7), (6, 7)),
        ((3, 2, 9, 6, 7), (6, 7)),
        ((2, 100), SERIES[::-1]),
        ((50, 100), (50, 100)),
        ((1, 1), SERIES[::-1]),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_ranks(shape: tuple[int, ...], wanted: tuple[int, int], signed: bool) -> None:
    value = np.random.default_rng(0).standard_normal(shape)
    assert picture(value, signed=signed).shape == (*wanted, 3)


def test_a_volume_shows_its_middle() -> None:
    value = np.zeros((1, 5, 2, 2))
    value[0, 2] = [[0, 1], [2, 3]]
    np.testing.assert_array_equal(picture(value), picture(value[:, 2]))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.7e308, 5e-324])
@pytest.mark.parametrize("signed", [False, True])
def test_values_of_any_kind(value: float, signed: bool) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for array in (np.full((1, 3, 3), value), np.array([[[value, -value, 1.0]]])):
            assert picture(array, signed=signed).dtype == np.uint8


@pytest.mark.parametrize("shape", [(), (3,), (1, 0), (0, 4, 4)])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"array\.shape=.*: must be \(channels"):
        picture(np.zeros(shape))


def test_tiles_stand_in_rows() -> None:
    tiles = [np.full((1, 2, 2), n, np.uint8) for n in range(5)]
    found = decoded(tile_images(tiles, columns=3, size=8))
    assert found.shape == (20, 32, 4)
    assert found[0, 0].tolist() == [0, 0, 0, 255]
    assert found[12, 15].tolist() == [4, 4, 4, 255]
    assert found[0, 9, 3] == 0 and found[15, 30, 3] == 0  # gaps and empty places
    assert decoded(tile_images(tiles)).shape[1] == 3 * 64 + 2 * 4
    assert decoded(tile_images(list(np.zeros((2, 2, 50))))).shape == (64, 2 * 144 + 4, 4)
    with pytest.raises(ValueError, match="must hold at least one"):
        tile_images([])


def test_tiles_are_the_same_bytes_every_time() -> None:
    value = np.random.default_rng(0).standard_normal((7, 3, 5, 5))
    assert tile_images(list(value), signed=True) == tile_images(list(value), signed=True)


def test_sizes() -> None:
    pixels = picture(np.random.default_rng(0).random((3, 30, 20)))
    assert enlarged(pixels, 100).shape == (90, 60, 3)
    assert enlarged(pixels, 10) is not None and enlarged(pixels, 10).shape == pixels.shape
    assert reduced(pixels, 15).shape == (15, 10, 3)
    assert reduced(pixels, 30) is pixels


def test_png_is_lossless() -> None:
    pixels = picture(np.random.default_rng(0).random((3, 5, 4)))
    np.testing.assert_array_equal(decoded(png(pixels)), pixels)
    grey = picture(np.random.default_rng(0).random((1, 5, 4)))
    np.testing.assert_array_equal(decoded(png(grey)), grey[..., 0])


def test_heat_lies_where_it_is_hot() -> None:
    heat = np.zeros((4, 4))
    heat[0, 3] = 1
    found = decoded(overlay(np.full((1, 16, 16), 128, np.uint8), heat, size=16)).astype(int)
    changed = np.abs(found - 128).sum(2)
    assert changed[:4, 12:].min() > 30  # upper right
    assert (changed[8:] == 0).all() and (changed[:, :8] == 0).all()


def test_without_heat_the_picture_stays() -> None:
    value = np.random.default_rng(0).integers(0, 255, (3, 8, 8), np.uint8)
    for cold in (0.0, -1.0, np.nan):
        found = decoded(overlay(value, np.full((2, 2), cold), size=8))
        np.testing.assert_array_equal(found, value.transpose(1, 2, 0))


def test_of_a_volume_the_hottest_slice_is_shown() -> None:
    value = np.arange(8, dtype=np.uint8)[None, :, None, None] * np.ones((1, 8, 6, 6), np.uint8)
    heat = np.zeros((4, 2, 2))
    heat[3, 0, 0] = 1  # slices 6 and 7 of 8
    found = decoded(overlay(value, heat, size=6))
    assert found[5, 5].tolist() in ([6, 6, 6], [7, 7, 7], 6, 7)


@pytest.mark.parametrize(("shape", "heat"), [((1, 300), (10,)), ((40, 300), (10,)), ((1, 1), (1,))])
def test_heat_of_a_series(shape: tuple[int, ...], heat: tuple[int, ...]) -> None:
    warm = np.linspace(0, 1, heat[0])
    assert decoded(overlay(np.random.default_rng(0).random(shape), warm)).ndim == 3


def test_heat_of_another_rank() -> None:
    with pytest.raises(ValueError, match=r"heat\.shape=\(3,\): must have the axes of space"):
        overlay(np.zeros((1, 4, 4)), np.zeros(3))


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'^PIL: not installed; pip install "faltung\[train\]"$'):
        tile_images([np.zeros((1, 2, 2))])
