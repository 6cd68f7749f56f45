"""Directories of TIFFs that lie, written byte by byte: named and skipped, at little cost."""

import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limit

from faltung.data import ifd, limits, pictures
from faltung.data.folder import Broken
from faltung.data.options import Options

pytest.importorskip("PIL")
H, W = 6, 5
TAGS: dict[int, Any] = {
    ifd.WIDTH: (4, W), ifd.HEIGHT: (4, H), ifd.BITS: (3, 16), ifd.COMPRESSION: (3, 1),
    ifd.PHOTOMETRIC: (3, 1), ifd.OFFSETS: (4, 8), ifd.SAMPLES: (3, 1), ifd.ROWS: (4, H),
    ifd.COUNTS: (4, 2 * H * W),
}  # fmt: skip
DATA = np.arange(H * W, dtype="<u2").tobytes()


def tiff(changes: dict[int, Any] | None = None, data: bytes = DATA, after: int = 0) -> bytes:
    """A little-endian TIFF of one page; a tag is (type, value) or (type, count, offset)."""
    tags = {tag: value for tag, value in (TAGS | (changes or {})).items() if value is not None}
    start = 8 + len(data)
    table = struct.pack("<H", len(tags))
    for tag in sorted(tags):
        kind, *rest = tags[tag]
        table += struct.pack("<HHII", tag, kind, *([1, *rest] if len(rest) == 1 else rest))
    return b"II*\0" + struct.pack("<I", start) + data + table + struct.pack("<I", after)


def opened(path: Path, data: bytes) -> pictures.Facts:
    path.write_bytes(data)
    return pictures.examine(path, "a", Options())


def test_a_file_by_the_definition(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    assert opened(tmp_path / "a.tif", tiff()) == pictures.Facts((H, W), 1, 65535.0)
    got = pictures.decode(tmp_path / "a.tif", "a", shape=(1, H, W), fit=False, white=65535)
    np.testing.assert_array_equal(got.ravel(), np.arange(H * W))


def test_pages_and_their_tags(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff({ifd.DESCRIPTION: (2, 4, 0x414243)}))
    with (tmp_path / "a.tif").open("rb") as file:
        (page,) = ifd.read_pages(file, 1 << 20)
    assert (page.space, page.samples, page.bits) == ((H, W), 1, 16)
    assert page.texts == {ifd.DESCRIPTION: b"CBA"} and page.pieces == 1
    assert page.claimed == 2 * H * W and page.extra == () and not page.stacked


FAR, MUCH = 1 << 31, (1 << 32) - 1
BROKEN: dict[str, bytes] = {
    "no directory": b"II*\0" + struct.pack("<I", 0),
    "a directory behind the end": b"II*\0" + struct.pack("<I", FAR),
    "only the magic": b"II*\0",
    "half": tiff()[:90],
    "a circle": tiff(after=8 + len(DATA)),
    "no pixels": tiff({ifd.WIDTH: (4, 0)}),
    "no place": tiff({ifd.OFFSETS: None}),
    "pixels behind the end": tiff({ifd.OFFSETS: (4, FAR)}),
    "more pixels than there are": tiff({ifd.HEIGHT: (4, 60), ifd.ROWS: (4, 60)}),
    "more samples than there are": tiff({ifd.SAMPLES: (3, 60000)}),
    "wide samples": tiff({ifd.BITS: (3, 60000)}),
    "strips that are missing": tiff({ifd.ROWS: (4, 1)}),
    "strips of no rows": tiff({ifd.ROWS: (4, 0)}),
    "a strip without data": tiff({ifd.COUNTS: (4, 0)}),
    "a tag of 16 GB": tiff({ifd.OFFSETS: (4, MUCH, 8)}),
    "tags that overlap": tiff({n: (4, 20, 8) for n in range(700, 760)}),
    "tiles of a terabyte": tiff(
        {ifd.TILE_WIDTH: (4, 1 << 20), ifd.TILE_HEIGHT: (4, 1 << 20), ifd.TILE_OFFSETS: (4, 8),
         ifd.TILE_COUNTS: (4, 60)}
    ),
    "a packed tile of nothing": tiff(
        {ifd.TILE_WIDTH: (4, 16), ifd.TILE_HEIGHT: (4, 16), ifd.TILE_OFFSETS: (4, 8),
         ifd.TILE_COUNTS: (4, 60), ifd.COMPRESSION: (3, 8)}
    ),
    "packed, but it is not": tiff({ifd.COMPRESSION: (3, 5)}),
    "a packing that is unknown": tiff({ifd.COMPRESSION: (3, 4711)}),
    "several layers": tiff({ifd.DEPTH: (4, 3)}),
    "a stack of MetaMorph": tiff({ifd.STACK: (5, 3, 8)}),
    "a thumbnail alone": tiff({ifd.SUBFILE: (4, 1), ifd.PARTS: (4, 8)}),
    "a camera's raw picture": tiff({ifd.PHOTOMETRIC: (3, 32803)}),
    "Lab of 16 bits": tiff({ifd.PHOTOMETRIC: (3, 8)}),
    "a palette that is not there": tiff({ifd.PHOTOMETRIC: (3, 3)}),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_named(what: str, tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    tracemalloc.start()
    with pytest.raises(Broken) as error:
        opened(tmp_path / "a.tif", BROKEN[what])
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    assert str(error.value).isprintable() and len(str(error.value)) < 200


@pytest.mark.parametrize("size", [(20_000, 20_000), (MUCH, MUCH), (MUCH, 1)])
def test_bombs_are_errors_always(size: tuple[int, int], tmp_path: Path) -> None:
    height, width = size
    changes = {ifd.HEIGHT: (4, height), ifd.WIDTH: (4, width), ifd.ROWS: (4, height)}
    with pytest.raises(ValueError, match=r"^a: .* pixels: a decompression bomb\?$"):
        opened(tmp_path / "a.tif", tiff(changes | {ifd.COMPRESSION: (3, 8)}))


def test_many_pages_of_a_small_file_are_a_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred pages that share one packed strip."""
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(ifd, "FREE_UNPACKED_BYTES", 1 << 20)
    pages = np.zeros((20, 500, 500), np.uint16)
    how: Any = {"compression": "zlib", "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", pages, **how)
    with pytest.raises(ValueError, match=r"^a: would unpack to 10,000,000 bytes from .*bomb"):
        pictures.examine(tmp_path / "a.tif", "a", Options())


def test_pages_without_end_take_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of nothing but directories, each of which leads to the next."""
    monkeypatch.setattr(ifd, "MAX_PAGES", 5_000)
    count = 70_000
    data = b"II*\0" + struct.pack("<I", 8)
    data += b"".join(struct.pack("<HI", 0, 8 + 6 * (i + 1)) for i in range(count))
    (tmp_path / "a.tif").write_bytes(data)
    began = time.monotonic()
    with pytest.raises(Broken, match="more than 5,000"):
        pictures.examine(tmp_path / "a.tif", "a", Options())
    assert time.monotonic() - began < limit(1)
