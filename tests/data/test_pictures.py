"""Pictures: values, channels, turning, sizes; and files that are broken or too good to be true."""

import io
import os
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data import folder, pictures, pillow
from faltung.data.folder import FileSource
from faltung.data.open import open_source
from faltung.data.options import Options
from faltung.data.pictures import Facts, decode

Image = pytest.importorskip("PIL.Image")
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (6, 5), np.uint8)
COLOUR = RANDOM.integers(0, 256, (6, 5, 3), np.uint8)


def read(path: Path, channels: int, space: tuple[int, int] = (6, 5), **more: Any) -> np.ndarray:
    more = {"fit": False, "white": 255.0} | more
    return decode(path, "a", shape=(channels, *space), **more)


def examine(path: Path, **options: Any) -> Facts:
    return pictures.examine(path, "a", Options(**options))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp", "gif"])
def test_every_format(suffix: str, save) -> None:
    values = GREY if suffix == "gif" else COLOUR
    more = {"lossless": True} if suffix == "webp" else {}
    path = save(f"a.{suffix}", values, **more)
    assert examine(path) == Facts((6, 5), 1 if suffix == "gif" else 3)
    got = read(path, 1 if suffix == "gif" else 3)
    np.testing.assert_array_equal(got.transpose(1, 2, 0).squeeze(), values)


def test_jpeg_is_close(save) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
    path = save("a.jpg", smooth, quality=95)
    assert examine(path) == Facts((40, 30), 1)
    assert np.abs(read(path, 1, (40, 30))[0].astype(int) - smooth).max() <= 4


@pytest.mark.parametrize(
    ("mode", "grey"), [("1", True), ("L", True), ("LA", True), ("P", False), ("RGBA", False)]
)
def test_modes(mode: str, grey: bool, save) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    assert examine(save("a.png", image)).channels == (1 if grey else 3)
    for channels in (1, 3, 4):
        assert read(save("a.png", image), channels).shape == (channels, 6, 5)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff"])
def test_a_palette_of_greys_is_grey(suffix: str, save) -> None:
    for values, grey in ((GREY, True), (COLOUR, False)):
        path = save(f"a.{suffix}", Image.fromarray(values).quantize(16))
        assert examine(path).channels == (1 if grey else 3)


def test_cmyk(save) -> None:
    path = save("a.tiff", Image.fromarray(COLOUR).convert("CMYK"))
    assert np.abs(read(path, 3).transpose(1, 2, 0).astype(int) - COLOUR).max() <= 2


def test_what_is_transparent_is_white(save) -> None:
    values = np.zeros((6, 5, 4), np.uint8)  # black, but not to be seen
    values[0, :, 3] = 255
    path = save("a.png", values)
    for channels in (1, 3):
        got = read(path, channels)
        assert (got[:, 0] == 0).all() and (got[:, 1:] == 255).all()
    np.testing.assert_array_equal(read(path, 4).transpose(1, 2, 0), values)
    palette = Image.fromarray(values).convert("P")
    palette.info["transparency"] = palette.getpixel((0, 1))
    assert read(save("a.gif", palette, transparency=palette.getpixel((0, 1))), 1)[0, 1, 1] == 255


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits(suffix: str, save) -> None:
    values = RANDOM.integers(0, 65536, (6, 5)).astype(np.uint16)
    path = save(f"a.{suffix}", values)
    assert examine(path) == Facts((6, 5), 1, 65535.0)
    want = values.astype(np.float32) / np.float32(65535)
    np.testing.assert_array_equal(read(path, 1, white=1.0)[0], want)
    np.testing.assert_array_equal(read(path, 3, white=1.0)[2], want)
    np.testing.assert_array_equal(read(path, 1, white=65535.0)[0], values)
    np.testing.assert_array_equal(read(path, 1)[0], values.astype(np.float32) / np.float32(257))
    assert (read(path, 4, white=1.0)[3] == 1).all()


def test_sixteen_and_eight_bits_together(save, tmp_path: Path) -> None:
    save("a/1.png", np.full((6, 5), 65535, np.uint16))
    save("b/1.png", np.full((6, 5), 255, np.uint8))
    got = open_source(tmp_path).read([0, 1])
    assert got.dtype == np.float32 and (got == 1).all()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_thirty_two_bits_stay_as_they_are(mode: str, save, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save(f"{name}/x.tiff", Image.fromarray(GREY).convert(mode))
    source = open_source(tmp_path)
    assert isinstance(source, FileSource) and source.units.white == 255 and source.units.scale == 1
    np.testing.assert_array_equal(source.read([1])[0, 0], GREY)
    message = "cat/x.tiff: holds floats or signed numbers, dog/y.png a picture of 8 bits"
    save("dog/y.png", GREY)
    with pytest.raises(ValueError, match=re.escape(message)):
        open_source(tmp_path)
    with pytest.raises(ValueError, match=r"^a: has floats or signed numbers, of which none is"):
        read(tmp_path / "cat/x.tiff", 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_turning(turn: int, suffix: str, save) -> None:
    """All eight against what NumPy makes of them; a wide dark stripe survives JPEG."""
    values = np.full((24, 40), 255, np.uint8)
    values[:8, :20] = 0
    exif = Image.Exif()
    exif[pillow.ORIENTATION] = turn
    path = save(f"a.{suffix}", values, exif=exif)
    seen = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.T,
        6: values[::-1].T,
        7: values[::-1, ::-1].T,
        8: values[:, ::-1].T,
    }[turn]
    assert examine(path).space == seen.shape
    got = read(path, 1, seen.shape)[0]
    assert ((got > 127) == (seen > 127)).mean() > 0.97
    fitted = read(path, 1, (seen.shape[0] // 4, seen.shape[1] // 4), fit=True)[0]
    assert ((fitted > 127) == (seen[::4, ::4] > 127)).mean() > 0.9


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_is_nonsense(save) -> None:
    path = save("a.jpg", GREY, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert examine(path).space == (6, 5)
    assert read(path, 1).shape == (1, 6, 5)


def test_channels_are_decided_by_all_files(save, two_classes: Path) -> None:
    assert open_source(two_classes).shape == (1, 6, 5)
    save("cat/x.png", COLOUR)
    assert open_source(two_classes).shape == (3, 6, 5)
    assert open_source(two_classes, channels=1).shape == (1, 6, 5)
    with pytest.raises(ValueError, match=r"^cat/a.png: has 1 channel, must have 2$"):
        open_source(two_classes, channels=2)
    with pytest.raises(ValueError, match=r"no volume that can be read; cat/a.png: is not a volume"):
        open_source(two_classes, kind="volume")
    with pytest.raises(ValueError, match="kind='series': a folder holds pictures or volumes"):
        open_source(two_classes, kind="series")


def test_different_sizes(save, two_classes: Path) -> None:
    save("dog/x.png", np.zeros((7, 5), np.uint8))
    message = "dog/x.png: is 7x5, most are 6x5 (2 sizes in all); pass size=, e.g. 6x5"
    with pytest.raises(ValueError, match=re.escape(message)):
        open_source(two_classes)
    assert open_source(two_classes, size=(4, 8)).read(range(7)).shape == (7, 1, 4, 8)
    assert open_source(two_classes, size=4).shape == (1, 4, 4)


def test_scaled_and_the_centre_cut_out(save) -> None:
    """A wide picture in three stripes: only the middle one is left."""
    values = np.repeat(np.array([0, 128, 255], np.uint8), 20)[None].repeat(20, 0)
    for suffix in ("png", "jpg"):
        got = read(save(f"a.{suffix}", values, quality=95), 1, (10, 10), fit=True)
        assert np.abs(got[0, :, 2:-2].astype(int) - 128).max() < 6
    grown = read(save("a.png", values), 1, (40, 40), fit=True)
    assert grown.shape == (1, 40, 40)


def test_a_large_jpeg_is_not_decoded_whole(save) -> None:
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)[None].repeat(1200, 0)
    got = read(save("a.jpg", ramp, quality=95), 1, (60, 80), fit=True)
    np.testing.assert_allclose(got[0].mean(0), np.linspace(1.6, 253.4, 80), atol=2)


def test_the_first_of_an_animation(save) -> None:
    frames = [Image.fromarray(np.full((6, 5), v, np.uint8)) for v in (10, 20)]
    path = save("a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (read(path, 1) == 10).all()


# Broken and hostile files -------------------------------------------------------------------------


def png(width: int, height: int, data: bytes = b"", end: bool = True) -> bytes:
    """A grey PNG that claims a size, with these bytes for its pixels and right check sums."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        total = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", total)

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data)] + [chunk(b"IEND", b"")] * end
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(suffix: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (64, 64), np.uint8)).save(file, suffix)
    return file.getvalue()


Image.init()
WRITTEN = [name for name in pillow.FORMATS if name in Image.SAVE]
BROKEN = {
    "no picture": b"hello, world",
    "only the magic": b"\x89PNG\r\n\x1a\n",
    "no pixels": png(6, 5)[:33],
    "no end": png(6, 5, zlib.compress(b"\0" * 36), end=False),
    "a header of zeros": b"\0" * 1000,
    "a wrong check sum": png(6, 5, zlib.compress(b"\0" * 36)).replace(b"IDAT", b"IDAT", 1)[:-20]
    + b"xxxx"
    + png(6, 5)[-16:],
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n",
    "a program": b"\x7fELF" + b"\0" * 200,
    **{f"half a {name}": encoded(name)[: len(encoded(name)) // 2] for name in WRITTEN},
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_named(what: str, two_classes: Path) -> None:
    (two_classes / "cat" / "x.png").write_bytes(BROKEN[what])
    source = open_source(two_classes)
    (line,) = source.skipped
    assert line.startswith("cat/x.png: ") and line.isprintable() and len(line) < 300
    assert len(source) == 6
    with pytest.raises(ValueError, match=r"^cat/x.png: "):
        open_source(two_classes, strict=True)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (9_999, 9_999), (2**31 - 1, 9)])
def test_bombs_are_errors_always(width: int, height: int, two_classes: Path) -> None:
    data = png(width, height, zlib.compress(b"\0" * 1000))
    (two_classes / "cat" / "x.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"^cat/x.png: .*a decompression bomb"):
        open_source(two_classes)


@pytest.mark.filterwarnings("error")
def test_bombs_where_warnings_are_errors(two_classes: Path) -> None:
    path = two_classes / "cat" / "x.png"
    path.write_bytes(png(9_999, 9_999))
    with pytest.raises(ValueError, match=r"^a: .*a decompression bomb"):
        examine(path)


def test_opening_leaves_warnings_alone(two_classes: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_source(two_classes)
        warnings.warn("mine", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["mine"]


def test_a_claim_that_check_sums_do_not_show(two_classes: Path) -> None:
    """A whole PNG of 6x5 whose pixels are not packed, or are too few: found before training."""
    (two_classes / "cat" / "x.png").write_bytes(png(5, 6, b"not packed at all"))
    (two_classes / "cat" / "y.png").write_bytes(png(5, 6, zlib.compress(b"\0" * 20)))
    source = open_source(two_classes)
    assert [line.split(", ")[0] for line in source.skipped] == [
        "cat/x.png: cannot be read",
        "cat/y.png: cannot be read",
    ]
    with pytest.raises(ValueError, match=r"^cat/x.png: cannot be read, "):
        open_source(two_classes, strict=True)


def test_a_file_that_changes_after_opening(
    save, two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_KEPT_BYTES", 0)
    source = open_source(two_classes)
    save("cat/a.png", np.zeros((5, 6), np.uint8))
    with pytest.raises(ValueError, match=r"^cat/a.png: is 5x6, must be 6x5"):
        source.read([0])
    (two_classes / "cat" / "b.png").write_bytes(png(20_000, 20_000))
    with pytest.raises(ValueError, match=r"^cat/b.png: .*a decompression bomb"):
        source.read([1])


def test_every_file_is_decoded_once(
    save, two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though grey pictures become colour and 8 bits 16; what is not kept is decoded again."""
    save("cat/x.png", COLOUR)
    save("dog/x.png", GREY.astype(np.uint16) * 200)
    decoded: list[str] = []
    load = pillow.load

    def counted(path: Path, *more: Any) -> Any:
        decoded.append(path.name)
        return load(path, *more)

    monkeypatch.setattr(pillow, "load", counted)
    source = open_source(two_classes, channels=3)
    got = open_source(two_classes).read(range(8))
    assert len(decoded) == 16
    np.testing.assert_array_equal(source.read(range(8)), got)
    assert len(decoded) == 16
    monkeypatch.setattr(folder, "MAX_KEPT_BYTES", 0)
    again = open_source(two_classes)
    assert len(decoded) == 24
    np.testing.assert_array_equal(again.read(range(8)), got)
    assert len(decoded) == 32


def test_files_may_end_with_a_little_more(save, two_classes: Path) -> None:
    """Cameras append to their files; the end of the JPEG is then not at the end of the file."""
    path = save("cat/x.jpg", GREY)
    path.write_bytes(path.read_bytes() + b"\0" * 10_000)
    assert open_source(two_classes).skipped == ()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_no_descriptor_stays_open(two_classes: Path) -> None:
    (two_classes / "cat" / "x.png").write_bytes(b"bad")
    before = len(os.listdir("/proc/self/fd"))
    open_source(two_classes).read(range(6))
    assert len(os.listdir("/proc/self/fd")) == before


def test_source_of_files(two_classes: Path) -> None:
    source = open_source(two_classes)
    assert isinstance(source, FileSource) and source.kind == "picture"


def test_without_pillow(two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=re.escape('pip install "faltung[train]"')):
        open_source(two_classes)
