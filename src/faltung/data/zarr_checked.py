"""Zarr arrays from strangers: described first, then read chunk by chunk, none of them a bomb.

The metadata of an array are claims. Codecs that run code (pickles) or that nobody knows are
refused, as are chunks larger than memory; and before a library unpacks a chunk, it is seen from its
header, or by unpacking it in small parts, that it has no more bytes than its shape says.
"""

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from faltung.data.zarr_store import zarr_module
from faltung.formats.files import read_checked, shown
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.runtime.memory import require

MOST_METADATA_BYTES = 1 << 26
# Axes and entries of an array, so that sizes fit 64 bits with room.
MOST_AXES, MOST_ENTRIES = 16, 1 << 60
# Ways of packing; what is not one of them leaves the number of bytes as it is.
PACKED = ("blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma")
PLAIN = ("bytes", "transpose", "crc32c", "shuffle", "delta", "endian")
SHARDS = "sharding_indexed"
# What a chunk may have beside its numbers, packed or not: headers, checksums.
SPARE_BYTES = 1 << 16
# Bytes that are unpacked at a time to count them.
PART_BYTES = 1 << 20
NUMBERS = "biuf"


@dataclass(frozen=True)
class Described:
    """An array by its metadata: ``shape`` and ``chunks``, the dtype, how chunks are packed ("":
    not), the inner chunks of shards or None, and attributes.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    packed: str
    inner: tuple[int, ...] | None
    attributes: Mapping[str, Any]
    names: tuple[str, ...]

    def unpacked_bytes(self) -> int:
        """Of a chunk, or of one within a shard."""
        return self.dtype.itemsize * prod(self.inner or self.chunks)


def metadata_of(folder: Path) -> dict[str, Any] | None:
    """What the files of a folder say of the array or group in it; None: it is neither."""
    for names in (("zarr.json",), (".zarray", ".zattrs"), (".zgroup", ".zattrs")):
        if (folder / names[0]).is_file():
            found = _table(folder / names[0])
            if len(names) > 1 and (folder / names[1]).is_file():
                found["attributes"] = _table(folder / names[1])
            found.setdefault("node_type", "array" if names[0] == ".zarray" else "group")
            return found
    return None


def _table(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_checked(path, MOST_METADATA_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FaltungError):
            raise
        raise FaltungError(f"{shown(path)}: is no JSON") from None
    if not isinstance(found, dict):
        raise FaltungError(f"{shown(path)}: is no table of JSON")
    return found


def attributes_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    given = found.get("attributes")
    return given if isinstance(given, dict) else {}


def described(folder: Path) -> Described:
    """The array in a folder. ValueError: none, or one that is not read. MemoryError: its chunks do
    not fit.
    """
    found = metadata_of(folder)
    if found is None or found.get("node_type") != "array":
        raise FaltungError(f"{shown(folder)}: is no Zarr array")
    try:
        made = _described(found)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise FaltungError(
            f"{shown(folder)}: its metadata are not those of a Zarr array ({show(error)})"
        ) from None
    except ValueError as error:
        raise FaltungError(f"{shown(folder)}: {error}") from None
    size = made.dtype.itemsize * prod(made.chunks)
    require(2 * size, f"{shown(folder)}: a chunk of {made.chunks}", "store it in smaller chunks")
    return made


def _described(found: Mapping[str, Any]) -> Described:
    shape = _sizes("shape", found["shape"], 0)
    names = found.get("dimension_names")
    axes = tuple(n if isinstance(n, str) else "" for n in names) if names else ()
    if found.get("zarr_format", 2) == 2:
        chunks, inner = _sizes("chunks", found["chunks"], 1), None
        filters = [each["id"] for each in found.get("filters") or ()]
        packer = found.get("compressor")
        packed = _one_packed([*filters, *([packer["id"]] if packer else [])])
        dtype = found["dtype"]
    else:
        grid, codecs = found["chunk_grid"], found["codecs"]
        if grid["name"] != "regular":
            raise FaltungError(f"chunk_grid={show(grid['name'])}: must be regular")
        chunks, inner = _sizes("chunks", grid["configuration"]["chunk_shape"], 1), None
        if codecs[0]["name"] == SHARDS:
            given = codecs[0]["configuration"]
            inner, index = _sizes("chunks", given["chunk_shape"], 1), given["index_codecs"]
            usual = [each["name"] for each in index] == ["bytes", "crc32c"]
            if not usual or given.get("index_location", "end") != "end" or len(codecs) > 1:
                raise FaltungError("shards: must have the usual index at their end")
            codecs = given["codecs"]
        packed = _one_packed([each["name"].removeprefix("numcodecs.") for each in codecs])
        dtype = found["data_type"]
    if not isinstance(dtype, str) or len(chunks) != len(shape):
        raise FaltungError("data_type, chunks: must be numbers, and as many as the axes")
    try:
        made: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        made = np.dtype(object)
    if made.kind not in NUMBERS:
        raise FaltungError(f"holds {show(dtype)}, not real numbers")
    return Described(shape, chunks, made, packed, inner, attributes_of(found), axes)


def _sizes(name: str, given: Any, least: int) -> tuple[int, ...]:
    if (
        not isinstance(given, list)
        or len(given) > MOST_AXES
        or not all(type(n) is int and least <= n for n in given)
        or prod(max(1, n) for n in given) > MOST_ENTRIES
    ):
        raise FaltungError(f"{name}={show(given)}: must be sizes")
    return tuple(given)


def _one_packed(names: Sequence[str]) -> str:
    """How chunks are packed. ValueError: by what is not known, or more than once."""
    unknown = [name for name in names if name not in (*PACKED, *PLAIN)]
    if unknown:
        raise FaltungError(
            f"codec={show(unknown[0])}: must be one of {', '.join((*PACKED, *PLAIN))}"
        )
    packed = [name for name in names if name in PACKED]
    if len(packed) > 1:
        raise FaltungError(f"codecs={packed}: chunks are packed more than once")
    return packed[0] if packed else ""


# Bombs --------------------------------------------------------------------------------------------


def unpacks_to(packed: str, data: bytes, most: int) -> bool:
    """Whether packed bytes become at most so many, or are no such bytes at all."""
    if packed in ("gzip", "zlib"):
        return _counted(lambda: zlib.decompressobj(31 if packed == "gzip" else 15), data, most)
    if packed == "bz2":
        return _counted(bz2.BZ2Decompressor, data, most)
    if packed == "lzma":
        return _counted(lzma.LZMADecompressor, data, most)
    if packed == "blosc":
        return int.from_bytes(data[4:8], "little") <= most
    if packed == "lz4":
        return int.from_bytes(data[:4], "little") <= most
    if packed == "zstd":
        return _zstd_size(data) <= most
    return len(data) <= most


def _counted(make: Callable[[], Any], data: bytes, most: int) -> bool:
    """By unpacking, a part at a time, all streams that follow each other."""
    total = 0
    while data:
        unpacker, rest = make(), data
        try:
            while not unpacker.eof:
                total += len(unpacker.decompress(rest, PART_BYTES))
                if total > most:
                    return False
                waits = getattr(unpacker, "unconsumed_tail", b"")
                if not waits and getattr(unpacker, "needs_input", True):
                    break
                rest = waits
        except (zlib.error, OSError, lzma.LZMAError, EOFError):
            return True  # the library will say what is wrong with it
        data = unpacker.unused_data if unpacker.eof else b""
    return True


def _zstd_size(data: bytes) -> int:
    """The bytes that the frame of Zstandard claims (RFC 8878, 3.1.1); many where it does not."""
    if len(data) < 6:
        return 0
    flags = data[4]
    single, wide = flags >> 5 & 1, flags >> 6
    size = (1 if single else 0, 2, 4, 8)[wide]
    if not size:
        return 1 << 62
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(data[at : at + size], "little") + (256 if size == 2 else 0)


def check_chunk(about: Described, key: str, data: bytes, whole: bool) -> None:
    """ValueError: a chunk, or a shard (``whole``), that unpacks to more than its shape says."""
    most = 2 * about.unpacked_bytes() + SPARE_BYTES
    parts = [data]
    if about.inner is not None and whole:
        count = prod(-(-n // m) for n, m in zip(about.chunks, about.inner, strict=True))
        index = np.frombuffer(data[-16 * count - 4 : -4] if count else b"", "<u8")
        if len(index) != 2 * count:
            raise FaltungError(f"{key}: is no shard")
        ends = [(int(a), int(a) + int(n)) for a, n in index.reshape(-1, 2)]
        parts = [data[a:b] for a, b in ends if b <= len(data)]
    for part in parts:
        if not unpacks_to(about.packed, part, most):
            raise FaltungError(
                f"{key}: is packed as {about.packed} and does not say, or not truly, that it has "
                f"{about.unpacked_bytes():,} bytes; refused as a decompression bomb"
            )


@lru_cache(1)
def _store_class() -> Any:
    """The class of checked stores: the library is imported when it is needed."""
    zarr_module()
    wrapper: Any = import_module("zarr.storage").WrapperStore

    class Checked(wrapper):  # type: ignore[misc]
        """A folder whose chunks are looked at before they are unpacked."""

        about: Described

        def _with_store(self, store: Any) -> Any:
            made = type(self)(store)
            made.about = self.about
            return made

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            about = self.about
            chunk = not key.endswith((".json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"))
            if chunk and await self._store.exists(key):
                most = 2 * about.dtype.itemsize * prod(about.chunks) + SPARE_BYTES
                size = await self._store.getsize(key)
                if size > most:
                    raise FaltungError(f"{key}: has {size:,} bytes, more than its chunk")
            found = await self._store.get(key, prototype, byte_range)
            if found is not None and chunk and type(byte_range).__name__ != "SuffixByteRequest":
                check_chunk(about, key, found.to_bytes(), byte_range is None)
            return found

    return Checked


def open_checked(folder: Path) -> tuple[Any, Described]:
    """The array in a folder, to read, and what it says of itself. ValueError: one that is refused.
    MemoryError: chunks that do not fit.
    """
    zarr = zarr_module()
    about = described(folder)
    local = import_module("zarr.storage").LocalStore
    store = _store_class()(local(str(folder), read_only=True))
    store.about = about
    try:
        array = zarr.open_array(store=store, mode="r")
    except (ValueError, TypeError, KeyError) as error:
        raise FaltungError(f"{shown(folder)}: {error}") from None
    if tuple(array.shape) != about.shape or array.dtype != about.dtype:
        raise FaltungError(f"{shown(folder)}: is not what its metadata say")
    return array, about
