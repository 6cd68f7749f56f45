"""JPEG, JPEG 2000 and AVIF of more than 8 bits: bits from headers, numbers from other programs."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from data.ramp import FILES, ramp
from optional import optional

from faltung.data import deep, pictures, pillow
from faltung.data.folder import Broken
from faltung.data.options import Options

Image = pytest.importorskip("PIL.Image")
imagecodecs = optional("imagecodecs")
H, W = 6, 5
TWELVE = np.rint(ramp(3, H, W, bits=12) * (65535 / 4095))
FOREIGN = {"openjpeg-12-bits.jp2": TWELVE, "openjpeg-grey-16.j2k": ramp(1, H, W)}


def need(kind: str) -> None:
    """Skip a test where Pillow does not have a format."""
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow has no {kind}")


@pytest.mark.parametrize("name", FOREIGN)
def test_jpeg_2000(name: str) -> None:
    pytest.importorskip("imagecodecs")
    want = FOREIGN[name]
    assert pictures.examine(FILES / name, "a", Options()) == pictures.Facts(
        (H, W), len(want), 65535.0
    )
    got = pictures.decode(FILES / name, "a", shape=want.shape, fit=False, white=65535)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, want)


def test_avif() -> None:
    """AVIF stores other colours than these, so that some are rounded by one of its 4,095 steps."""
    pytest.importorskip("imagecodecs")
    need("AVIF")
    path = FILES / "libavif-12-bits.avif"
    assert pictures.examine(path, "a", Options()).white == 65535
    got = pictures.decode(path, "a", shape=(3, H, W), fit=False, white=65535)
    assert np.abs(got - TWELVE).max() <= 17 and len(np.unique(got % 256)) > 60


SMOOTH = (np.add.outer(np.arange(40), np.arange(30)) * 50).astype(np.uint16)


def test_jpeg_of_twelve_bits(tmp_path: Path) -> None:
    """Which Pillow does not open; its orientation in EXIF is applied all the same."""
    data = imagecodecs.jpeg_encode(SMOOTH, level=98, bitspersample=12)
    (tmp_path / "a.jpg").write_bytes(data)
    assert pictures.examine(tmp_path / "a.jpg", "a", Options()) == pictures.Facts(
        (40, 30), 1, 65535.0
    )
    got = pictures.decode(tmp_path / "a.jpg", "a", shape=(1, 40, 30), fit=False, white=65535)
    want = SMOOTH[np.newaxis] * (65535 / 4095)
    assert np.abs(got - want).max() < 100
    exif = Image.Exif()
    exif[pillow.ORIENTATION] = 6
    body = exif.tobytes()
    body = body if body.startswith(b"Exif") else b"Exif\0\0" + body
    part = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    (tmp_path / "b.jpg").write_bytes(data[:2] + part + data[2:])
    turned = pictures.decode(tmp_path / "b.jpg", "a", shape=(1, 30, 40), fit=False, white=65535)
    np.testing.assert_array_equal(turned[0], got[0, ::-1].T)


@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_without_loss(bits: int, tmp_path: Path) -> None:
    values = (SMOOTH * 16).astype(np.uint16) if bits == 16 else (SMOOTH // 16).astype(np.uint8)
    data = imagecodecs.jpeg_encode(values, lossless=True, bitspersample=bits, predictor=1)
    (tmp_path / "a.jpg").write_bytes(data)
    white = 255.0 if bits == 8 else 65535.0
    got = pictures.decode(tmp_path / "a.jpg", "a", shape=(1, 40, 30), fit=False, white=white)
    np.testing.assert_array_equal(got[0], values)


@pytest.mark.parametrize("name", ["openjpeg-12-bits.jp2", "libavif-12-bits.avif"])
def test_without_imagecodecs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need("AVIF" if name.endswith("avif") else "JPEG2000")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(Broken, match=r'^has 12 bits a value .*pip install "faltung\[pictures\]"$'):
        pictures.examine(FILES / name, "a", Options())


@pytest.mark.parametrize("kind", ["JPEG2000", "AVIF", "JPEG"])
def test_eight_bits_are_left_to_pillow(kind: str, tmp_path: Path) -> None:
    need(kind)
    values = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    more = {"irreversible": False} if kind == "JPEG2000" else {"quality": 98}
    Image.fromarray(values).convert("RGB").save(tmp_path / "a", kind, **more)
    with (tmp_path / "a").open("rb") as file:
        assert deep.read_header(file) is None
    facts = pictures.examine(tmp_path / "a", "a", Options())
    assert facts == pictures.Facts((40, 30), 3, 255.0)
    got = pictures.decode(tmp_path / "a", "a", shape=(3, 40, 30), fit=False, white=255)
    assert np.abs(got.astype(int) - values).max() <= (0 if kind == "JPEG2000" else 3)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 99,
        b"\xff\xd8\xff\xe1\0\0" * 99,
        b"\xff\x4f\xff\x51",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\0\0\0\x1cftypavif" + b"av1C",
        b"hello",
        b"",
    ],
)
def test_headers_that_end_too_early(data: bytes) -> None:
    assert deep.read_header(io.BytesIO(data)) is None


def test_claims_are_checked_first(tmp_path: Path) -> None:
    frame = b"\xff\xc1\0\x0b\x0c" + b"\xff\xff\xff\xff" + b"\x01\x01\x11\0"
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + frame + b"\0" * 20)
    with pytest.raises(ValueError, match=r"^a: 65535x65535 is over .* a decompression bomb\?$"):
        pictures.examine(tmp_path / "a.jpg", "a", Options())
    data = bytearray((FILES / "openjpeg-12-bits.jp2").read_bytes())
    place = data.find(deep.BAND) + 8
    data[place : place + 8] = b"\x7f\xff\xff\xff" * 2
    (tmp_path / "a.jp2").write_bytes(data)
    with pytest.raises(ValueError, match=r"^a: .* a decompression bomb\?$"):
        pictures.examine(tmp_path / "a.jp2", "a", Options())
    data[place : place + 8] = (5).to_bytes(4, "big") + (6).to_bytes(4, "big")
    data[place + 32 : place + 34] = b"\x40\0"
    (tmp_path / "a.jp2").write_bytes(data)
    with pytest.raises(Broken, match=r"^has 16,384 channels; JPEG and JPEG 2000 of up to 4"):
        pictures.examine(tmp_path / "a.jp2", "a", Options())
