"""What Pillow reads: PNG of 16 bits whole, and every mode it has of 8."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.ramp import FILES, ramp
from optional import optional

from faltung.data import pictures, pillow
from faltung.data.folder import Broken
from faltung.data.options import Options

Image = pytest.importorskip("PIL.Image")
imagecodecs = optional("imagecodecs")
RANDOM = np.random.default_rng(0)
H, W = 6, 5


def read(path: Path, channels: int, white: float = 65535.0) -> np.ndarray:
    return pictures.decode(path, "a", shape=(channels, H, W), fit=False, white=white)


def on_white(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blended with white in exact fractions, then rounded."""
    return np.rint((values * alpha + 65535 * (65535 - alpha)) / 65535)


FOREIGN = {
    "magick-interlaced.png": ramp(3, H, W),
    "netpbm-colour.png": ramp(3, H, W),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_sixteen_bits_of_other_programs(name: str) -> None:
    want = FOREIGN[name]
    facts = pictures.examine(FILES / name, "a", Options())
    assert facts == pictures.Facts((H, W), len(want), 65535.0)
    got = read(FILES / name, len(want))
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, want)


def test_transparency_of_other_programs() -> None:
    both = ramp(2, H, W)
    np.testing.assert_array_equal(read(FILES / "pypng-grey-alpha.png", 1), on_white(*both)[None])
    np.testing.assert_array_equal(read(FILES / "pypng-grey-alpha.png", 4)[3], both[1])
    four = ramp(4, H, W)
    np.testing.assert_array_equal(read(FILES / "netpbm-alpha.png", 4), four)
    np.testing.assert_array_equal(read(FILES / "netpbm-alpha.png", 3), on_white(four[:3], four[3]))


@pytest.mark.parametrize(("name", "count"), [("grey", 1), ("colour", 3)])
def test_a_transparent_colour(name: str, count: int) -> None:
    """Row 2, column 3 has it: white where all 16 bits of all channels agree, and nowhere else."""
    want = ramp(count, H, W)
    want[:, 2, 3] = 65535
    np.testing.assert_array_equal(read(FILES / f"pypng-transparent-{name}.png", count), want)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(values: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits (height, width, channels), its rows filtered in all five ways in turn."""
    height, width, channels = values.shape
    size, above, data = 2 * channels, np.zeros(2 * width * channels, np.int64), b""
    for y in range(height):
        row = np.frombuffer(values[y].astype(">u2").tobytes(), np.uint8).astype(np.int64)
        left = np.concatenate([np.zeros(size, np.int64), row[:-size]])
        corner = np.concatenate([np.zeros(size, np.int64), above[:-size]])
        guess = left + above - corner
        near = [np.abs(guess - one) for one in (left, above, corner)]
        paeth = np.where(
            (near[0] <= near[1]) & (near[0] <= near[2]), left,
            np.where(near[1] <= near[2], above, corner),
        )  # fmt: skip
        filters = (0 * row, left, above, (left + above) // 2, paeth)
        data += bytes([y % 5]) + ((row - filters[y % 5]) % 256).astype(np.uint8).tobytes()
        above = row
    head = struct.pack(">2I5B", width, height, 16, colour, 0, 0, 0)
    body = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_all_filters(colour: int, channels: int, tmp_path: Path) -> None:
    """Written by the definition (W3C, PNG, 3rd edition, section 9)."""
    values = RANDOM.integers(0, 65536, (40, 30, channels))
    path = tmp_path / "a.png"
    path.write_bytes(png(values, colour))
    asked = channels if channels % 2 else 4
    got = pictures.decode(path, "a", shape=(asked, 40, 30), fit=False, white=65535)
    want = values.transpose(2, 0, 1)
    np.testing.assert_array_equal(got, want[[0, 0, 0, 1]] if channels == 2 else want)


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_png_is_turned(turn: int, tmp_path: Path) -> None:
    """As Pillow turns 16-bit grey."""
    values = RANDOM.integers(0, 65536, (H, W)).astype(np.uint16)
    exif = Image.Exif()
    exif[pillow.ORIENTATION] = turn
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    from PIL import ImageOps

    with Image.open(tmp_path / "a.png") as image:
        want = np.asarray(ImageOps.exif_transpose(image))
    got = pictures.decode(tmp_path / "a.png", "a", shape=(1, *want.shape), fit=False, white=65535)
    np.testing.assert_array_equal(got[0], want)


def test_sixteen_bits_are_scaled_without_loss(tmp_path: Path) -> None:
    """Colour is scaled as three pictures of grey are: in floats, by Pillow."""
    values = RANDOM.integers(0, 65536, (40, 30, 3))
    (tmp_path / "c.png").write_bytes(png(values, 2))
    got = pictures.decode(tmp_path / "c.png", "a", shape=(3, 11, 12), fit=True, white=65535)
    assert got.dtype == np.float32
    for i in range(3):
        (tmp_path / "g.png").write_bytes(png(values[..., i : i + 1], 0))
        one = pictures.decode(tmp_path / "g.png", "a", shape=(1, 11, 12), fit=True, white=65535)
        np.testing.assert_array_equal(got[i], one[0])


MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV LAB".split()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_grey_and_colour(mode: str) -> None:
    """So that nothing that was examined stops a training."""
    image = Image.new(mode, (5, 6))
    plain = pillow.EightBits(pillow._plain(image), False)
    for channels in pillow.MODES:
        assert plain.arranged(channels, None).shape == (channels, 6, 5)


def test_grey_with_associated_alpha_in_a_tiff(tmp_path: Path) -> None:
    """Pillow opens it in the mode "La", which it cannot convert to grey or colour."""
    tifffile = pytest.importorskip("tifffile")
    stored = np.zeros((H, W, 2), np.uint8)
    stored[0], stored[1] = (60, 255), (60, 120)
    how: Any = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [1]}
    tifffile.imwrite(tmp_path / "a.tif", stored, **how)
    assert pictures.examine(tmp_path / "a.tif", "a", Options()).channels == 1
    got = read(tmp_path / "a.tif", 1, 255.0)[0]
    assert (got[0] == 60).all() and (np.abs(got[1].astype(int) - 195) <= 1).all()
    assert (got[2:] == 255).all()


def test_a_mode_that_is_not_of_eight_bits() -> None:
    with pytest.raises(Broken, match="is in Pillow's mode F, which is not read"):
        pillow._plain(Image.new("F", (5, 6)))


def test_a_raw_mode_that_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should Pillow one day name the order of bytes otherwise, a file is skipped, not misread."""
    (tmp_path / "a.png").write_bytes(png(RANDOM.integers(0, 65536, (H, W, 3)), 2))
    monkeypatch.setattr(pillow, "LOWER_BYTES", {})
    with pytest.raises(Broken, match=r"^has 16 bits a value in an order \(RGB;16B\)"):
        pictures.examine(tmp_path / "a.png", "a", Options())
