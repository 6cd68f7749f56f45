"""TIFF files by tifffile: what other programs wrote, every layout, what pages are, what is refused.

Expected numbers are those that were written, or follow from the TIFF 6.0 specification.
"""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.ramp import FILES, ramp
from optional import optional

from faltung.data import pictures, pillow, tiff
from faltung.data.folder import Broken, FileSource
from faltung.data.open import open_source
from faltung.data.options import Options

tifffile = optional("tifffile")
optional("imagecodecs")
RANDOM = np.random.default_rng(0)
H, W = 6, 5


def u8(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape).astype(np.uint8)


def u16(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 65536, shape).astype(np.uint16)


def check(
    path: Path, want: np.ndarray, white: float | None, channels: int | None = None, **more: Any
) -> None:
    """That examining and decoding a file give just these numbers, in this dtype."""
    facts = pictures.examine(path, "a", Options(channels=channels, **more))
    assert (facts.space, facts.white) == (want.shape[1:], white)
    assert channels or facts.channels == len(want)
    got = pictures.decode(path, "a", shape=want.shape, fit=False, white=white)
    assert got.dtype == {255.0: np.uint8, 65535.0: np.uint16, None: np.float32}[white]
    np.testing.assert_array_equal(got, want)


FOREIGN = {
    "magick-colour-lzw.tif": (ramp(3, H, W), 65535.0),
    "magick-planes.tif": (ramp(3, H, W), 65535.0),
    "magick-min-is-white.tif": (65535 - ramp(1, H, W), 65535.0),  # as ImageMagick reads it
    "gdal-13-bands.tif": (ramp(13, H, W, bits=14), 65535.0),
    "gdal-4-bands-8-bits.tif": (ramp(4, H, W, bits=8), 255.0),
    "gdal-float.tif": (ramp(1, H, W) / 256 - 100, None),
    "gdal-int16.tif": (ramp(1, H, W) - 32768, None),
    "gdal-tiles.tif": (ramp(3, H, W), 65535.0),
    "tifffile-imagej.tif": (ramp(4, 3, H, W).transpose(1, 0, 2, 3), 65535.0),
    "tifffile-ome.tif": (ramp(3, 4, H, W), 65535.0),
    "tifffile-pages.tif": (ramp(1, 7, H, W, bits=8), 255.0),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_programs(name: str) -> None:
    check(FILES / name, *FOREIGN[name])


def test_a_number_for_no_data() -> None:
    with pytest.raises(Broken, match=r"^contains 1 times -9999, which says that there are no data"):
        pictures.examine(FILES / "gdal-no-data.tif", "a", Options())


# Stored array, how it is written, and the numbers (channels, *space) with their white.
LAYOUTS: dict[str, tuple[np.ndarray, dict[str, Any], Any, float | None]] = {
    "16-bit grey": (u16(H, W), {}, lambda x: x[None], 65535.0),
    "big-endian": (u16(H, W), {"byteorder": ">"}, lambda x: x[None], 65535.0),
    "MinIsWhite, 16 bits": (
        u16(H, W), {"photometric": "miniswhite"}, lambda x: 65535 - x[None], 65535.0,
    ),
    "MinIsWhite, 8 bits": (
        u8(H, W), {"photometric": "miniswhite"}, lambda x: 255 - x[None], 255.0,
    ),
    "16-bit colour": (
        u16(H, W, 3), {"photometric": "rgb"}, lambda x: x.transpose(2, 0, 1), 65535.0,
    ),
    "16-bit colour in planes": (
        u16(3, H, W), {"photometric": "rgb", "planarconfig": "separate"}, lambda x: x, 65535.0,
    ),
    "planes, big-endian, packed": (
        u16(3, H, W),
        {
            "photometric": "rgb", "planarconfig": "separate", "byteorder": ">",
            "compression": "lzw", "predictor": True,
        },
        lambda x: x, 65535.0,
    ),
    "8-bit colour in planes": (
        u8(3, H, W), {"photometric": "rgb", "planarconfig": "separate"}, lambda x: x, 255.0,
    ),
    "colour and near infrared": (
        u8(H, W, 4), {"photometric": "rgb", "extrasamples": ["unspecified"]},
        lambda x: x.transpose(2, 0, 1), 255.0,
    ),
    "two channels": (
        u16(H, W, 2), {"planarconfig": "contig"}, lambda x: x.transpose(2, 0, 1), 65535.0,
    ),
    "13 channels in planes": (
        u16(13, H, W), {"planarconfig": "separate"}, lambda x: x, 65535.0,
    ),
    "5 channels of 8 bits": (
        u8(H, W, 5), {"planarconfig": "contig"}, lambda x: x.transpose(2, 0, 1), 255.0,
    ),
    "float32": (RANDOM.normal(size=(H, W)).astype("f4"), {}, lambda x: x[None], None),
    "float16": (RANDOM.normal(size=(H, W)).astype("f2"), {}, lambda x: x[None], None),
    "float64": (
        RANDOM.normal(size=(H, W)), {}, lambda x: x[None].astype(np.float32), None,
    ),
    "float colour": (
        RANDOM.normal(size=(H, W, 3)).astype("f4"), {"photometric": "rgb"},
        lambda x: x.transpose(2, 0, 1), None,
    ),
    "int8": (RANDOM.integers(-128, 128, (H, W)).astype("i1"), {}, lambda x: x[None], None),
    "int16": (RANDOM.integers(-9999, 9999, (H, W)).astype("i2"), {}, lambda x: x[None], None),
    "int32": (RANDOM.integers(-9999, 9999, (H, W)).astype("i4"), {}, lambda x: x[None], None),
    "uint32": (
        RANDOM.integers(0, 2**32, (H, W)).astype("u4"), {},
        lambda x: x[None].astype(np.float32), None,
    ),
    "12 bits, packed as such": (
        RANDOM.integers(0, 4096, (H, W)).astype("u2"), {"bitspersample": 12},
        lambda x: np.rint(x[None] * (65535 / 4095)), 65535.0,
    ),
    "10 bits": (
        RANDOM.integers(0, 1024, (H, W)).astype("u2"), {"bitspersample": 10},
        lambda x: np.rint(x[None] * (65535 / 1023)), 65535.0,
    ),
    "one bit in two pages": (  # tifffile writes bool as MinIsWhite
        RANDOM.integers(0, 2, (2, H, 16)).astype(bool), {"photometric": None},
        lambda x: np.where(x, 0, 255)[None], 255.0,
    ),
    "pages in colour": (
        u8(4, H, W, 3), {"photometric": "rgb"}, lambda x: x.transpose(3, 0, 1, 2), 255.0,
    ),
    "tiles": (
        u16(70, 90), {"tile": (32, 32), "compression": "zlib", "predictor": True},
        lambda x: x[None], 65535.0,
    ),
    "BigTIFF": (u16(H, W), {"bigtiff": True}, lambda x: x[None], 65535.0),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, tmp_path: Path) -> None:
    stored, how, expected, white = LAYOUTS[name]
    tifffile.imwrite(tmp_path / "a.tif", stored, **{"photometric": "minisblack"} | how)
    check(tmp_path / "a.tif", expected(stored), white)


@pytest.mark.parametrize("packing", ["zlib", "lzw", "zstd", "lzma", "packbits", "jpeg2000", "lerc"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_packing(packing: str, dtype: str, tmp_path: Path) -> None:
    stored = RANDOM.integers(0, 256, (70, 90)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, compression=packing)
    check(tmp_path / "a.tif", stored[None], 255.0 if dtype == "u1" else 65535.0)


def test_palettes(tmp_path: Path) -> None:
    """In 8 bits the upper byte of the palette, as Pillow has it; in 16 all of it."""
    for bits, white in ((8, 255.0), (16, 65535.0)):
        palette, stored = u16(3, 1 << bits), u16(H, W) >> (16 - bits)
        stored = stored.astype(f"u{bits // 8}")
        want = palette[:, stored] >> (16 - bits)
        for pages in (stored, np.stack([stored, stored])):
            more = {"photometric": "palette", "colormap": palette, "metadata": None}
            tifffile.imwrite(tmp_path / "a.tif", pages, **more)
            wanted = want if pages.ndim == 2 else np.stack([want, want], 1)
            check(tmp_path / "a.tif", wanted, white)


def test_a_grey_palette_is_grey(tmp_path: Path) -> None:
    palette = np.repeat(u16(1, 65536), 3, 0)
    stored = u16(H, W)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="palette", colormap=palette)
    check(tmp_path / "a.tif", palette[:1, stored], 65535.0)


def test_inks(tmp_path: Path) -> None:
    """CMYK of 16 bits: no ink is white, and black ink darkens the others."""
    stored = np.zeros((H, W, 4), np.uint16)
    stored[0], stored[1, :, 3], stored[2, :, 0], stored[3] = 65535, 65535, 65535, 32768
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated")
    want = np.full((3, H, W), 65535)
    want[:, :2], want[0, 2], want[:, 3] = 0, 0, round(32767 * 32767 / 65535)
    check(tmp_path / "a.tif", want, 65535.0)


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_transparency(alpha: str, grey: bool, dtype: str, tmp_path: Path) -> None:
    """Blended with white: colour * alpha + white * (1 - alpha). Also grey, 8 bits, associated,
    which Pillow opens and cannot convert.
    """
    most = np.iinfo(dtype).max
    colours = (1,) if grey else (3, 2, 1)
    stored = np.zeros((H, W, len(colours) + 1), dtype)
    stored[1, :, -1], stored[2, :, -1] = most // 3, most
    stored[..., :-1] = stored[..., -1:] // np.array([3 * c for c in colours], dtype)
    kind = "minisblack" if grey else "rgb"
    how = {"photometric": kind, "planarconfig": "contig", "extrasamples": [alpha]}
    tifffile.imwrite(tmp_path / "a.tif", stored, **how)
    through = stored[..., -1:] / most
    shade = stored[..., :-1].astype(float)
    want = shade * (through if alpha == "unassalpha" else 1) + most * (1 - through)
    got = pictures.decode(
        tmp_path / "a.tif", "a", shape=(len(colours), H, W), fit=False, white=float(most)
    )
    assert got.dtype == dtype
    assert np.abs(got.transpose(1, 2, 0) - want).max() <= (1 if dtype == "u1" else 0.5)
    four = pictures.decode(tmp_path / "a.tif", "a", shape=(4, H, W), fit=False, white=float(most))
    np.testing.assert_array_equal(four[3], stored[..., -1])
    if alpha == "unassalpha":
        want = stored[..., [0] * 3 if grey else [0, 1, 2]].transpose(2, 0, 1)
        np.testing.assert_array_equal(four[:3], want)


@pytest.mark.parametrize("turn", range(1, 9))
def test_turning(turn: int, tmp_path: Path) -> None:
    """As Pillow turns the same picture of 8 bits."""
    deep, tags = u8(H, W).astype(np.uint16) * 257, [(274, 3, 1, turn, True)]
    tifffile.imwrite(tmp_path / "8.tif", (deep // 257).astype(np.uint8), extratags=tags)
    tifffile.imwrite(tmp_path / "16.tif", deep, extratags=tags)
    facts = pictures.examine(tmp_path / "8.tif", "a", Options())
    assert facts.space == ((H, W) if turn < 5 else (W, H))
    want = pictures.decode(tmp_path / "8.tif", "a", shape=(1, *facts.space), fit=False, white=255)
    check(tmp_path / "16.tif", want.astype(np.uint16) * 257, 65535.0)


# What pages are -----------------------------------------------------------------------------------

STACK = u16(4, 3, H, W)
PAGES: dict[str, tuple[np.ndarray, dict[str, Any], np.ndarray]] = {
    "ImageJ ZC": (STACK, {"imagej": True, "metadata": {"axes": "ZCYX"}}, STACK.swapaxes(0, 1)),
    "ImageJ C": (STACK[0], {"imagej": True, "metadata": {"axes": "CYX"}}, STACK[0]),
    "ImageJ Z": (STACK[0], {"imagej": True, "metadata": {"axes": "ZYX"}}, STACK[:1]),
    "ImageJ T": (STACK[0], {"imagej": True, "metadata": {"axes": "TYX"}}, STACK[:1]),
    "ImageJ in one strip": (
        STACK[:, 0], {"imagej": True, "metadata": {"axes": "ZYX"}, "truncate": True},
        STACK[None, :, 0],
    ),
    "tifffile in one strip": (STACK[:, 0], {"truncate": True}, STACK[None, :, 0]),
    "tifffile C": (STACK[0], {"metadata": {"axes": "CYX"}}, STACK[0]),
    "OME CZ": (STACK, {"ome": True, "metadata": {"axes": "CZYX"}}, STACK),
    "OME ZC": (STACK, {"ome": True, "metadata": {"axes": "ZCYX"}}, STACK.swapaxes(0, 1)),
    "OME C": (STACK[0], {"ome": True, "metadata": {"axes": "CYX"}}, STACK[0]),
    "pages": (STACK[0], {"metadata": None}, STACK[:1]),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_pages(name: str, tmp_path: Path) -> None:
    stored, how, want = PAGES[name]
    tifffile.imwrite(tmp_path / "a.tif", stored, **{"photometric": "minisblack"} | how)
    check(tmp_path / "a.tif", want, 65535.0)


def test_options_decide_what_pages_are(tmp_path: Path) -> None:
    for name in ("a/1.tif", "b/1.tif"):
        (tmp_path / name).parent.mkdir()
        tifffile.imwrite(tmp_path / name, STACK[0], photometric="minisblack", metadata=None)
    stacks = open_source(tmp_path)
    assert (stacks.kind, stacks.shape) == ("volume", (1, 3, H, W))
    for options in ({"kind": "picture"}, {"channels": 3}):
        flat = open_source(tmp_path, **options)  # type: ignore[arg-type]
        assert (flat.kind, flat.shape) == ("picture", (3, H, W))
        np.testing.assert_array_equal(flat.read([0])[0], STACK[0] / np.float32(65535))
    assert open_source(tmp_path, size=4).read([1]).shape == (1, 1, 4, 4, 4)
    tifffile.imwrite(tmp_path / "a/2.tif", STACK[0, 0])
    message = "a/1.tif: has 3 pages, a/2.tif has one; pass kind='picture' if pages are channels"
    with pytest.raises(ValueError, match=re.escape(message)):
        open_source(tmp_path)
    assert open_source(tmp_path, kind="volume").skipped == (
        "a/2.tif: is a picture, not a volume: it has no pages along its depth",
    )


def test_times_of_volumes_are_refused(tmp_path: Path) -> None:
    how = {"imagej": True, "metadata": {"axes": "TZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", STACK, **how)
    with pytest.raises(Broken, match=r"^has pages along T 4, Z 3; a volume has one axis beside"):
        pictures.examine(tmp_path / "a.tif", "a", Options())
    check(tmp_path / "a.tif", STACK.reshape(12, H, W), 65535.0, kind="picture")


def test_thumbnails_and_masks_are_no_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for values, kind in ((STACK[0, 0, ::2], 1), (STACK[0, 1], 0), (STACK[0, 0] > 9, 4)):
            file.write(values, subfiletype=kind, photometric="minisblack", metadata=None)
    check(tmp_path / "a.tif", STACK[0, 1:2], 65535.0)


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    """An OME file that names another file, as data sets of several files do."""
    tifffile.imwrite(tmp_path / "b.tif", STACK[0], photometric="minisblack")
    xml = (
        '<OME xmlns="x"><Image><Pixels DimensionOrder="XYCZT" SizeX="5" SizeY="6" SizeC="2" '
        'SizeZ="1" SizeT="1" Type="uint16">'
        '<TiffData IFD="0" FirstC="0" PlaneCount="1"><UUID FileName="a.tif">1</UUID></TiffData>'
        '<TiffData IFD="0" FirstC="1" PlaneCount="1"><UUID FileName="b.tif">2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    how = {"photometric": "minisblack", "metadata": None, "description": xml}
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, :2], **how)
    with pytest.raises(Broken, match=r"^is one of several files of an OME image"):
        pictures.examine(tmp_path / "a.tif", "a", Options())


# Folders, sizes and what is missing ---------------------------------------------------------------


def folder(root: Path, **files: Any) -> Path:
    for name, values in files.items():
        path = root / name[0] / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, values, photometric="minisblack", planarconfig="separate")
    return root


def test_a_folder_of_many_channels(tmp_path: Path) -> None:
    bands = {name: u16(5, 12, 10) for name in ("a1", "a2", "b1")}
    source = open_source(folder(tmp_path, **bands))
    assert isinstance(source, FileSource) and source.shape == (5, 12, 10)
    assert (source.units.white, source.units.scale, source.dtype) == (65535, 65535, np.uint16)
    np.testing.assert_array_equal(source.stored([1])[0], bands["a2"])
    np.testing.assert_array_equal(source.read([2])[0], bands["b1"] / np.float32(65535))
    small = open_source(tmp_path, size=6)
    one = fitted(bands["a1"][3])
    assert isinstance(small, FileSource)
    np.testing.assert_array_equal(small.stored([0])[0, 3], one)
    how = {"photometric": "minisblack", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "b/x.tif", u16(4, 12, 10), **how)
    with pytest.raises(ValueError, match=r"^b/x.tif: has 4 channels, most files have 5; pass"):
        open_source(tmp_path)
    with pytest.raises(ValueError, match=r"^a/a1.tif: has 5 channels, must have 4"):
        open_source(tmp_path, channels=4)


def fitted(values: np.ndarray) -> np.ndarray:
    """12x10 made 6x6, as Pillow does it to floats."""
    image = pytest.importorskip("PIL.Image")
    ops = pytest.importorskip("PIL.ImageOps")
    return np.asarray(
        ops.fit(image.fromarray(values.astype(np.float32)), (6, 6), image.Resampling.BILINEAR)
    )


def test_eight_bits_are_scaled_alike_as_channels_and_as_colour(tmp_path: Path) -> None:
    values = u8(3, 40, 30)
    tifffile.imwrite(tmp_path / "c.tif", values.transpose(1, 2, 0), photometric="rgb")
    how = {"photometric": "minisblack", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "d.tif", values, **how)
    got = [
        pictures.decode(tmp_path / name, "a", shape=(3, 11, 12), fit=True, white=255)
        for name in ("c.tif", "d.tif")
    ]
    np.testing.assert_array_equal(got[0], got[1])
    assert got[1].dtype == np.uint8


def test_not_a_number(tmp_path: Path) -> None:
    heights = RANDOM.normal(size=(6, 5)).astype(np.float32)
    hole = heights.copy()
    hole[2, 2] = np.nan
    root = folder(tmp_path, a1=heights, a2=hole, b1=heights + 1)
    source = open_source(root)
    assert source.skipped == ("a/a2.tif: contains NaN or an infinite value",)
    np.testing.assert_array_equal(source.read([1])[0, 0], heights + 1)
    with pytest.raises(ValueError, match=r"^a/a2.tif: contains NaN"):
        open_source(root, strict=True)


@pytest.mark.parametrize(
    ("package", "how", "extra"),
    [("tifffile", {}, "train"), ("imagecodecs", {"compression": "lzw"}, "pictures")],
)
def test_what_is_not_installed_is_named(
    package: str, how: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never 8 bits of 16 without a word; pictures of 8 bits need neither."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "8.tif", u8(H, W), **how)
    tifffile.imwrite(tmp_path / "a/16.tif", u16(H, W, 3), photometric="rgb", **how)
    monkeypatch.setitem(sys.modules, package, None)
    source = open_source(tmp_path)
    (line,) = source.skipped
    assert line.startswith("a/16.tif: is ") and f'pip install "faltung[{extra}]"' in line
    assert source.shape == (1, H, W)


def test_what_pillow_reads_whole_is_left_to_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", u8(H, W, 3), photometric="rgb")
    assert isinstance(tiff.load(tmp_path / "a.tif", "a", None, None, None), pillow.EightBits)
