"""The numbers of an ONNX file: types, and tensors whose sizes are checked before they are read."""

import os
import stat
from collections.abc import Callable
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
}
FLOATS = ("float32", "float64", "float16", "bfloat16")
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
    16: "int32_data",
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
    stored = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")
    if tensor.data_location == _EXTERNAL:
        raw: Any = _external(tensor, folder, count * stored.itemsize, what)
    elif apart is not None:
        raw = apart
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
    else:
        return _from_field(tensor, dtype, dims, what)
    if len(raw) != count * stored.itemsize:
        raise FaltungError(
            f"{what}: shape {dims} of {dtype} takes {count * stored.itemsize} bytes, has {len(raw)}"
        )
    return _native(np.frombuffer(raw, stored), dtype).reshape(dims)


def _native(numbers: Array, dtype: str) -> Array:
    if dtype == "bfloat16":  # the upper half of a float32
        made: Array = (numbers.astype(np.uint32) << 16).view(np.float32)
        return made
    if dtype == "bool":
        return np.asarray(numbers.view(np.uint8) != 0)
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _from_field(tensor: Any, dtype: str, dims: tuple[int, ...], what: str) -> Array:
    values = getattr(tensor, _FIELDS[tensor.data_type])
    if len(values) != prod(dims):
        raise FaltungError(f"{what}: shape {dims} does not fit its {len(values)} numbers")
    if dtype in ("float16", "bfloat16"):  # as the bits of a uint16
        bits = (np.array(values, np.int64) & 0xFFFF).astype(np.uint16)
        made = _native(bits, dtype) if dtype == "bfloat16" else bits.view(np.float16)
    elif dtype in ("float32", "float64"):
        made = np.array(values, dtype)
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
