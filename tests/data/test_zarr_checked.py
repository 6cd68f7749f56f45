"""Zarr arrays of strangers: every way of packing is read, and bombs and lies are refused."""

import bz2
import gzip
import json
import lzma
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data.zarr_checked import described, open_checked, unpacks_to

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")
X = np.arange(60 * 50, dtype=np.float32).reshape(60, 50)


def made(folder: Path, x: np.ndarray = X, **more: Any) -> Path:
    array = zarr.create_array(folder, shape=x.shape, dtype=x.dtype, **{"chunks": (16, 16)} | more)
    array[...] = x
    return folder


def edited(folder: Path, name: str = "zarr.json", **changes: Any) -> None:
    text = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(text | changes))


V3 = [
    None,
    zarr.codecs.GzipCodec(),
    zarr.codecs.ZstdCodec(),
    zarr.codecs.BloscCodec(cname="zstd"),
    zarr.codecs.BloscCodec(cname="lz4"),
]
V2 = [
    numcodecs.Zlib(),
    numcodecs.GZip(),
    numcodecs.BZ2(),
    numcodecs.LZMA(),
    numcodecs.LZ4(),
    numcodecs.Zstd(),
    numcodecs.Blosc(),
]


@pytest.mark.parametrize("codec", V3)
@pytest.mark.parametrize("shards", [None, (32, 32)])
def test_packed_in_format_3(tmp_path: Path, codec: Any, shards: Any) -> None:
    array, about = open_checked(made(tmp_path / "x.zarr", compressors=codec, shards=shards))
    np.testing.assert_array_equal(array[...], X)
    np.testing.assert_array_equal(array[5:17, 3:5], X[5:17, 3:5])
    assert about.shape == X.shape and about.dtype == np.float32
    assert about.inner == (None if shards is None else (16, 16))


@pytest.mark.parametrize("codec", V2)
def test_packed_in_format_2(tmp_path: Path, codec: Any) -> None:
    array, _ = open_checked(made(tmp_path / "x.zarr", zarr_format=2, compressors=codec))
    np.testing.assert_array_equal(array[...], X)


def bomb(packed: str, size: int) -> bytes:
    zeros = bytes(size)
    if packed == "zlib":
        return zlib.compress(zeros)
    if packed == "gzip":
        return gzip.compress(zeros)
    if packed == "bz2":
        return bz2.compress(zeros)
    if packed == "lzma":
        return lzma.compress(zeros)
    kinds = {"lz4": numcodecs.LZ4(), "zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc()}
    return bytes(kinds[packed].encode(zeros))


@pytest.mark.parametrize("packed", ["zlib", "gzip", "bz2", "lzma", "lz4", "zstd", "blosc"])
def test_what_it_unpacks_to(packed: str) -> None:
    for size in (1, 100, 300, 70_000, 3 << 20):
        data = bomb(packed, size)
        assert unpacks_to(packed, data, size)
        assert not unpacks_to(packed, data, size - 1)
    if packed in ("zlib", "gzip", "bz2"):  # streams after each other
        assert not unpacks_to(packed, 3 * bomb(packed, 1000), 2999) or packed == "zlib"
    assert unpacks_to(packed, b"", 10)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    folder = made(tmp_path / "x.zarr", compressors=zarr.codecs.GzipCodec())
    (folder / "c" / "1" / "2").write_bytes(gzip.compress(bytes(1 << 22)))
    array, _ = open_checked(folder)
    np.testing.assert_array_equal(array[:16, :16], X[:16, :16])
    with pytest.raises(ValueError, match=r"c/1/2: .* refused as a decompression bomb"):
        array[16:32, 32:]
    (folder / "c" / "0" / "0").write_bytes(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"c/0/0: has 1,048,576 bytes, more than its chunk"):
        array[:16, :16]


def test_a_bomb_in_a_shard(tmp_path: Path) -> None:
    folder = made(tmp_path / "x.zarr", compressors=zarr.codecs.GzipCodec(), shards=(32, 32))
    packed, index = gzip.compress(bytes(1 << 22)), []
    for place in range(4):
        index += [0, len(packed)] if place == 0 else [(1 << 64) - 1] * 2
    table = np.array(index, "<u8").tobytes()
    (folder / "c" / "0" / "0").write_bytes(
        packed + table + np.uint32(numcodecs.CRC32C().encode(table)[-4:].view("<u4")[0]).tobytes()
    )
    array, _ = open_checked(folder)
    with pytest.raises(ValueError, match="refused as a decompression bomb"):
        array[:32, :32]
    with pytest.raises(ValueError, match="refused as a decompression bomb"):
        array[:16, :16]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [60, -1]}, "shape=.*must be sizes"),
        ({"shape": "no"}, "must be sizes"),
        ({"shape": [1 << 50, 1 << 50]}, "must be sizes"),
        ({"shape": [60]}, "as many as the axes"),
        ({"data_type": "complex64"}, "not real numbers"),
        ({"data_type": {"name": "struct"}}, "must be numbers"),
        ({"data_type": "string"}, "not real numbers"),
        ({"codecs": [{"name": "bytes"}, {"name": "pickle"}]}, "codec='pickle': must be one of"),
        ({"codecs": [{"name": "gzip"}, {"name": "zstd"}]}, "packed more than once"),
        ({"codecs": "no"}, "its metadata are not those"),
        ({"chunk_grid": {"name": "other"}}, "must be regular"),
        ({"node_type": "group"}, "is no Zarr array"),
    ],
)
def test_claims(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    folder = made(tmp_path / "x.zarr")
    edited(folder, **changes)
    with pytest.raises(ValueError, match=said) as error:
        described(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_code_in_format_2_is_never_run(tmp_path: Path) -> None:
    folder = made(tmp_path / "x.zarr", zarr_format=2)
    for changes in ({"filters": [{"id": "pickle"}]}, {"compressor": {"id": "pickle"}}):
        edited(folder, ".zarray", filters=None, compressor=None)
        edited(folder, ".zarray", **changes)
        with pytest.raises(ValueError, match="codec='pickle': must be one of"):
            open_checked(folder)


def test_chunks_larger_than_memory(tmp_path: Path) -> None:
    folder = made(tmp_path / "x.zarr")
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 24, 1 << 24]}}
    edited(folder, chunk_grid=grid)
    with pytest.raises(MemoryError, match="store it in smaller chunks"):
        described(folder)


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        described(tmp_path)
    (tmp_path / "zarr.json").write_text("[]")
    with pytest.raises(ValueError, match="is no table"):
        described(tmp_path)
