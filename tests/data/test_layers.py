"""Channels, transparency, turning and units of decoded arrays, against exact fractions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from faltung.data.layers import DEEP, Layers, same_bits, turned, with_white
from faltung.geometry.errors import FaltungError

RANDOM = np.random.default_rng(0)
H, W = 4, 3


def u16(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 65536, shape).astype(np.uint16)


def nearest(value: Fraction) -> int:
    """The nearest whole number, halves upwards."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def test_grey_of_colours_is_that_of_pillow() -> None:
    image = pytest.importorskip("PIL.Image")
    values = RANDOM.integers(0, 256, (3, 40, 50)).astype(np.uint8)
    want = np.asarray(image.fromarray(values.transpose(1, 2, 0)).convert("L"))
    got = Layers(values, 255.0, "colour").arranged(1, None)
    np.testing.assert_array_equal(got[0], want)
    white = np.full((3, 1, 1), 65535, np.uint16)
    assert Layers(white, DEEP, "colour").arranged(1, None).tolist() == [[[65535]]]
    floats = Layers(values / np.float32(255), None, "colour").arranged(1, None)
    assert np.abs(floats[0] - want / 255).max() < 0.003


@pytest.mark.parametrize("most", [255, 65535])
def test_blending_with_white_is_rounded_once(most: int) -> None:
    dtype = np.uint8 if most == 255 else np.uint16
    values = RANDOM.integers(0, most + 1, (2, 5, 8)).astype(dtype)
    values[:, 0, :4] = [[0, most, 0, most], [0, 0, most, most]]
    got = Layers(values, float(most), "grey", "straight").arranged(1, None)
    for (y, x), value in np.ndenumerate(got[0]):
        grey, alpha = int(values[0, y, x]), int(values[1, y, x])
        assert value == nearest(Fraction(grey * alpha + most * (most - alpha), most))
    values[0] = np.minimum(*values)
    flat = Layers(values, float(most), "grey", "associated").arranged(1, None)
    np.testing.assert_array_equal(flat[0], values[0] + (most - values[1]))
    four = Layers(values, float(most), "grey", "associated").arranged(4, None)
    for (y, x), value in np.ndenumerate(four[0]):
        alpha = max(int(values[1, y, x]), 1)
        assert value == nearest(Fraction(int(values[0, y, x]) * most, alpha))


def test_colours_beyond_their_transparency_stay_white() -> None:
    values = np.array([[[60000]], [[30000]]], np.uint16)
    assert Layers(values, DEEP, "grey", "associated").arranged(1, None).item() == 65535
    assert Layers(values, DEEP, "grey", "associated").arranged(4, None)[0].item() == 65535


def test_what_channels_can_become() -> None:
    grey, colour = Layers(u16(1, H, W), DEEP, "grey"), Layers(u16(3, H, W), DEEP, "colour")
    np.testing.assert_array_equal(grey.arranged(3, None), np.repeat(grey.values, 3, 0))
    assert (grey.arranged(4, None)[3] == 65535).all() and grey.convertible
    np.testing.assert_array_equal(colour.arranged(3, None), colour.values)
    five = Layers(u16(5, H, W), DEEP, "data")
    np.testing.assert_array_equal(five.arranged(5, None), five.values)
    more = Layers(u16(4, H, W), DEEP, "colour")
    assert more.channels == 4 and not more.convertible
    np.testing.assert_array_equal(more.arranged(4, None), more.values)
    np.testing.assert_array_equal(more.arranged(3, None), more.values[:3])
    for layers, channels in ((grey, 2), (colour, 5), (five, 3), (five, 1), (more, 5)):
        with pytest.raises(FaltungError, match=rf"has \d channels?, must have {channels}"):
            layers.arranged(channels, None)


def test_a_volume_is_interpolated() -> None:
    ramp = np.arange(8.0, dtype=np.float32).reshape(1, 8, 1, 1) * np.ones((1, 1, 4, 4), np.float32)
    got = Layers(ramp, None, "grey").arranged(1, (4, 2, 2))
    assert got.shape == (1, 4, 2, 2) and got.dtype == np.float32
    assert np.allclose(got[0, 1:3, 0, 0], [2.5, 4.5])


@pytest.mark.parametrize("bits", range(1, 17))
def test_white_stays_white_and_no_two_numbers_become_one(bits: int) -> None:
    own = np.arange(1 << bits, dtype=np.uint16)
    got = same_bits(own.astype(np.uint8) if bits <= 8 else own, bits)
    most = 255 if bits <= 8 else 65535
    assert got.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert got[0] == 0 and got[-1] == most and (np.diff(got.astype(int)) > 0).all()
    for i in RANDOM.integers(0, 1 << bits, 50):
        assert got[i] == nearest(Fraction(int(i) * most, (1 << bits) - 1))


def test_units() -> None:
    eight, deep = RANDOM.integers(0, 256, (1, H, W)).astype(np.uint8), u16(1, H, W)
    assert with_white(eight, 255.0, 255.0) is eight and with_white(deep, DEEP, None) is deep
    wide = with_white(eight, 255.0, DEEP)
    assert wide.dtype == np.uint16
    np.testing.assert_array_equal(wide, eight.astype(int) * 257)
    np.testing.assert_array_equal(with_white(deep, DEEP, 255.0), deep / np.float32(257))
    np.testing.assert_array_equal(with_white(deep, DEEP, 1.0), deep / np.float32(65535))
    # the same quotients, to the last bit, however white is written
    np.testing.assert_array_equal(with_white(eight, 255.0, 1.0), wide / np.float32(65535))
    np.testing.assert_array_equal(
        with_white(eight, 255.0, 16.0), (eight.astype(float) * 16 / 255).astype(np.float32)
    )
    with pytest.raises(FaltungError, match="has floats or signed numbers, of which none is white"):
        with_white(deep.astype(np.float32), None, 1.0)


@pytest.mark.parametrize("shape", [(2, H, W), (2, 5, H, W)])
@pytest.mark.parametrize("turn", range(1, 9))
def test_turned(turn: int, shape: tuple[int, ...]) -> None:
    """The first row and column that are stored are these sides of what is seen (EXIF, 0x0112)."""
    values = np.arange(np.prod(shape)).reshape(shape)
    sides = "top left, top right, bottom right, bottom left, left top, right top, right bottom, "
    row, column = (sides + "left bottom").split(", ")[turn - 1].split()
    seen = turned(values, turn)
    at: dict[str, Any] = {"top": np.s_[..., 0, :], "bottom": np.s_[..., -1, :]}
    at |= {"left": np.s_[..., 0], "right": np.s_[..., -1]}
    first_row, first_column = seen[at[row]], seen[at[column]]
    assert (np.sort(first_row) == values[..., 0, :]).all()
    assert (np.sort(first_column) == values[..., :, 0]).all()
