"""PGM, PPM and PFM with more than 8 bits: headers, the number that is white, files that are cut."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from data.ramp import FILES, ramp

from faltung.data import netpbm, pictures
from faltung.data.folder import Broken
from faltung.data.layers import Layers
from faltung.data.options import Options

H, W = 6, 5


def read(data: bytes) -> Layers | None:
    file = io.BytesIO(data)
    header = netpbm.read_header(file)
    return None if header is None else netpbm.read(file, header)


@pytest.mark.parametrize("name", ["netpbm-plain.ppm", "netpbm-4095.ppm"])
def test_files_of_netpbm(name: str) -> None:
    want = ramp(3, H, W)
    if "4095" in name:  # of 12 bits, stretched to 16: white stays white
        want = np.rint(ramp(3, H, W, bits=12) * (65535 / 4095))
    got = pictures.decode(FILES / name, "a", shape=(3, H, W), fit=False, white=65535)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, want)


def test_grey_with_comments() -> None:
    layers = read(b"P5 # a picture\n2 # wide\n1\n#\n1000 " + struct.pack(">2H", 1000, 250))
    assert layers is not None and layers.meaning == "grey" and layers.white == 65535
    assert layers.values.tolist() == [[[65535, 16384]]]
    layers = read(b"P2\n2 1\n300\n300 # white\n0\n")
    assert layers is not None and layers.values.tolist() == [[[65535, 0]]]


@pytest.mark.parametrize(("order", "scale"), [("<", b"-1.0"), (">", b"1.0")])
@pytest.mark.parametrize(("kind", "channels"), [(b"Pf", 1), (b"PF", 3)])
def test_floats_are_stored_from_the_bottom(
    kind: bytes, channels: int, order: str, scale: bytes, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=(H, W, channels)).astype(np.float32)
    data = kind + b"\n5 6\n" + scale + b"\n" + values[::-1].astype(order + "f4").tobytes()
    (tmp_path / "a.pfm").write_bytes(data)
    facts = pictures.examine(tmp_path / "a.pfm", "a", Options())
    assert facts == pictures.Facts((H, W), channels, None)
    got = pictures.decode(tmp_path / "a.pfm", "a", shape=(channels, H, W), fit=False, white=None)
    np.testing.assert_array_equal(got, values.transpose(2, 0, 1))
    values[2, 2] = np.nan
    with pytest.raises(Broken, match="contains NaN"):
        read(kind + b"\n5 6\n-1\n" + values.astype("<f4").tobytes())


@pytest.mark.parametrize(
    "data", [b"P6 5 6 255\n", b"P4 5 6\n", b"P6", b"P6 a b c ", b"P5 5 6 70000\n", b"P6 -5 6 999 "]
)
def test_what_is_left_to_pillow(data: bytes) -> None:
    assert netpbm.read_header(io.BytesIO(data)) is None


@pytest.mark.parametrize(
    "data",
    [b"P6 5 6 999\n" + b"\0" * 179, b"P3 5 6 999\n" + b"7 " * 89, b"P6 99999 99999 999\n1234"],
)
def test_what_is_cut_off(data: bytes) -> None:
    with pytest.raises(Broken, match="ends before the last of its"):
        read(data)


def test_a_bomb(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    (tmp_path / "a.ppm").write_bytes(b"P6 99999 99999 999\n1234")
    with pytest.raises(ValueError, match=r"^a: 99999x99999 is over .* a decompression bomb\?$"):
        pictures.examine(tmp_path / "a.ppm", "a", Options())


def test_words_that_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P3 1 1 999\n1 two 3\n")
    with pytest.raises(Broken, match="cannot be read, "):
        pictures.examine(tmp_path / "a.ppm", "a", Options())
