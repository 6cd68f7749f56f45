"""The numbers of an ONNX file: types, and tensors whose sizes are checked before they are read."""

import os
import stat
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.files import shown
from faltung.geometry.errors import FaltungError
from faltung.runtime.memory import require

Array = npt.NDArray[Any]

# Elements of one tensor at most: what follows from them still fits 64 bits.
MOST_ELEMENTS = 1 << 40
MOST_AXES = 64

# By the number that the file has for a type: its name in ONNX Runtime, and in NumPy.
TYPES: dict[int, tuple[str, str]] = {
    1: ("float", "float32"),
    2: ("uint8", "uint8"),
    3: ("int8", "int8"),
    4: ("uint16", "uint16"),
    5: ("int16", "int16"),
    6: ("int32", "int32"),
    7: ("int64", "int64"),
    8: ("string", "str"),
    9: ("bool", "bool"),
    10: ("float16", "float16"),
    11: ("double", "float64"),
    12: ("uint32", "uint32"),
    13: ("uint64", "uint64"),
    14: ("complex64", "complex64"),
    15: ("complex128", "complex128"),
    16: ("bfloat16", "bfloat16"),
    17: ("float8e4m3fn", "float8_e4m3fn"),
    18: ("float8e4m3fnuz", "float8_e4m3fnuz"),
    19: ("float8e5m2", "float8_e5m2"),
    20: ("float8e5m2fnuz", "float8_e5m2fnuz"),
    21: ("uint4", "uint4"),
    22: ("int4", "int4"),
    23: ("float4e2m1", "float4_e2m1fn"),
    24: ("float8e8m0", "float8_e8m0fnu"),
    25: ("uint2", "uint2"),
    26: ("int2", "int2"),
}
# Types of which a byte of a file holds several, and the bits of each.
_BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}
FLOATS = ("float32", "float64", "float16", "bfloat16")
TYPES_OF_NUMPY = frozenset(name for number, (_, name) in TYPES.items() if number < 16)
_WORD = {value[1]: value[0] for value in TYPES.values()}
# Where a tensor keeps its numbers if not as raw bytes, and how many of a type one entry is.
_FIELDS: dict[int, str] = {
    1: "float_data",
    2: "int32_data",
    3: "int32_data",
    4: "int32_data",
    5: "int32_data",
    6: "int32_data",
    7: "int64_data",
    9: "int32_data",
    10: "int32_data",
    11: "double_data",
    12: "uint64_data",
    13: "uint64_data",
    **dict.fromkeys(range(16, 27), "int32_data"),
}
_EXTERNAL = 1
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def text(value: str | bytes) -> str:
    """A name of the file. FaltungError: bytes that are no text, which protobuf lets pass."""
    if isinstance(value, bytes):
        raise FaltungError(f"name {value[:40]!r}: is not UTF-8")
    return value


def type_name(number: int) -> str:
    """NumPy's name of a type, for what has one here. FaltungError: another."""
    if number not in TYPES:
        raise FaltungError(f"type {number}: is none that Faltung reads")
    return TYPES[number][1]


@cache
def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of this name. Those that NumPy lacks are of ml_dtypes, which comes with onnx."""
    if name in TYPES_OF_NUMPY:
        return np.dtype(name)
    import ml_dtypes

    made: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return made


@cache
def number_of(dtype: str) -> int:
    """The number that a file has for a type. FaltungError: none has this name."""
    for number, (_, name) in TYPES.items():
        if name == dtype:
            return number
    raise FaltungError(f"dtype {dtype}: is none of an ONNX tensor")


def runtime_name(dtype: str) -> str:
    """As ONNX Runtime writes it: "tensor(float)"."""
    return f"tensor({_WORD.get(dtype, dtype)})"


def array(tensor: Any, folder: Path | None, apart: Array | None = None) -> Array:
    """The numbers of a TensorProto. folder: where files with external data are; None: nowhere.
    apart: its raw bytes, where they were not left in it.
    """
    dims = tuple(tensor.dims)
    what = f"tensor {shown(tensor.name or '(no name)')}"
    if len(dims) > MOST_AXES or any(n < 0 for n in dims) or prod(dims) > MOST_ELEMENTS:
        raise FaltungError(f"{what}: shape {dims[:8]!s}: is none of a tensor")
    dtype, count = type_name(tensor.data_type), prod(dims)
    if tensor.HasField("segment"):
        raise FaltungError(f"{what}: is in segments, which Faltung does not read")
    if dtype == "str":
        if len(tensor.string_data) != count:
            raise FaltungError(
                f"{what}: shape {dims} does not fit {len(tensor.string_data)} strings"
            )
        return np.array([bytes(s) for s in tensor.string_data], object).reshape(dims)
    if dtype.startswith("complex"):
        raise FaltungError(f"{what}: complex numbers are not supported")
    if tensor.data_location != _EXTERNAL and apart is None and not tensor.HasField("raw_data"):
        return _from_field(tensor, dtype, dims, what)
    bits = _BITS.get(dtype, 8 * dtype_of(dtype).itemsize)
    size = -(-count * bits // 8)
    if tensor.data_location == _EXTERNAL:
        raw: Any = _external(tensor, folder, size, what)
    else:
        raw = tensor.raw_data if apart is None else apart
    if len(raw) != size:
        raise FaltungError(f"{what}: shape {dims} of {dtype} takes {size} bytes, has {len(raw)}")
    return _native(np.frombuffer(raw, np.uint8), dtype, count).reshape(dims)


def _native(data: Array, dtype: str, count: int) -> Array:
    """Bytes of a file as numbers."""
    if dtype == "bool":
        return np.asarray(data != 0)
    if dtype in _BITS:
        return _unpacked(data, dtype, count)
    wanted = dtype_of(dtype)
    if dtype not in TYPES_OF_NUMPY:
        bits = np.dtype(f"uint{8 * wanted.itemsize}")
        return data.view(bits.newbyteorder("<")).astype(bits).view(wanted)
    return data.view(wanted.newbyteorder("<")).astype(wanted, copy=False)


def _unpacked(data: Array, dtype: str, count: int) -> Array:
    """Several numbers of each byte, the first in its lowest bits."""
    bits = _BITS[dtype]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = ((data[:, np.newaxis] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]
    if dtype.startswith("int"):
        signed = parts.astype(np.int8)
        parts = np.where(signed >> (bits - 1), signed - (1 << bits), signed)
    elif dtype.startswith("float"):
        made: Array = parts.astype(np.uint8).view(dtype_of(dtype))
        return made
    return np.asarray(parts.astype(dtype_of(dtype)))


def _from_field(tensor: Any, dtype: str, dims: tuple[int, ...], what: str) -> Array:
    values, count = getattr(tensor, _FIELDS[tensor.data_type]), prod(dims)
    bits = _BITS.get(dtype, 8)
    if len(values) != (-(-count * bits // 8) if bits < 8 else count):
        raise FaltungError(f"{what}: shape {dims} does not fit its {len(values)} numbers")
    if dtype in ("float32", "float64"):
        made = np.array(values, dtype)
    elif dtype == "float16" or dtype not in TYPES_OF_NUMPY:  # their bits
        size = dtype_of(dtype).itemsize
        whole = np.array(values, np.int64) & ((1 << 8 * size) - 1)
        made = _native(whole.astype(f"<u{size}").view(np.uint8), dtype, count)
    else:
        made = np.array(values, np.uint64 if dtype == "uint64" else np.int64).astype(dtype)
    return made.reshape(dims)


def _external(tensor: Any, folder: Path | None, size: int, what: str) -> Any:
    """The bytes of a tensor that are in a file beside the model."""
    entries = {text(entry.key): text(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise FaltungError(
            f"{what}: is in the file {shown(location)}; give the path of the model, not its bytes"
        )
    path = _inside(folder, location, what)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise FaltungError(f"{what}: offset and length of external data must be numbers") from None
    if length != size:
        raise FaltungError(f"{what}: takes {size} bytes, its external data have {length}")
    handle = os.open(
        path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FaltungError(f"{what}: {shown(location)}: must be a regular file")
        if offset < 0 or offset + length > status.st_size:
            raise FaltungError(
                f"{what}: bytes {offset} to {offset + length} of {shown(location)}, which has "
                f"{status.st_size}"
            )
        require(length, what)
        file.seek(offset)
        return file.read(length)


def _inside(folder: Path, location: str, what: str) -> Path:
    """The file beside the model. FaltungError: an absolute path, one that leaves, a link."""
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or os.path.isabs(location) or ":" in parts[0]:
        raise FaltungError(f"{what}: {shown(location)}: must be a file beside the model")
    if ".." in parts or location.startswith(("/", "\\")):
        raise FaltungError(f"{what}: {shown(location)}: must not leave the model's folder")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise FaltungError(f"{what}: {shown(location)}: must not be a link")
    return path


def checked(read: Callable[[], Array], what: str) -> Array:
    """What ``read`` gives; the errors of the system name the tensor."""
    try:
        return read()
    except OSError as error:
        raise FaltungError(f"{what}: not read, {(error.strerror or str(error)).lower()}") from None
