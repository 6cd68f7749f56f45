"""NumPy's own files, ``.npy`` and ``.npz``, read without trusting them.

No pickles. The shape in a header is compared with the length of the data before memory is
allocated; NumPy's reader allocates first.
"""

import io
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from faltung.data.limits import check_unpacked, complaints, empty, fill, regular
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]
MAX_HEADER_BYTES = 1 << 12  # bytes that the header of a plain array may take; NumPy writes 128
MAX_MEMBERS = 1000  # arrays of a file that are looked at


def read_npy(path: Path, where: str) -> Array:
    """The array in a ``.npy`` file. ValueError."""
    length = regular(path, where)
    with complaints(where, path), path.open("rb") as file:
        return _array(file, length, where)


def npz_headers(path: Path, where: str) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The claimed shape and dtype of each array in a ``.npz`` file, by name. ValueError."""
    regular(path, where)
    with complaints(where, path), zipfile.ZipFile(path) as archive:
        found = {}
        for info in archive.infolist()[:MAX_MEMBERS]:
            if info.filename.endswith(".npy") and _is_plain(info):
                with archive.open(info) as file:
                    shape, _, dtype = _header(file)
                found[info.filename.removesuffix(".npy")] = shape, dtype
        return found


# What to do about arrays of other kinds.
_REMEDIES = {
    "O": ": save it as numbers or text, array.astype(float), or array.astype(str)",
    "S": ": save it as text, array.astype(str)",
    "c": ": save it as real numbers",
}


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Whether a member is packed in a way that NumPy writes."""
    return info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: Path, where: str, names: tuple[str, ...]) -> dict[str, Array]:
    """The arrays with these names in a ``.npz`` file. ValueError."""
    length = regular(path, where)
    with complaints(where, path), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        listed = {info.filename.removesuffix(".npy"): info for info in members}
        wanted = {name: listed[name] for name in names if name in listed}
        for name, info in wanted.items():
            if not _is_plain(info):
                raise FaltungError(f"{where}: {name} is packed in a way that NumPy does not write")
        # Members may overlap: their sum is compared with the whole file.
        check_unpacked(sum(info.file_size for info in wanted.values()), length, where)
        found = {}
        for name, info in wanted.items():
            with archive.open(info) as file:
                found[name] = _array(file, info.file_size, f"{where}: {name}")
        return found


def _array(file: IO[bytes], length: int, where: str) -> Array:
    """One array of a stream that claims to hold ``length`` bytes."""
    shape, by_columns, dtype = _header(file)
    if dtype.kind not in "buifU" or not dtype.itemsize:
        remedy = _REMEDIES.get(dtype.kind, "")
        raise FaltungError(f"{where}: dtype {dtype} is neither numbers nor text{remedy}")
    claimed = prod(shape) * dtype.itemsize
    if not 0 <= claimed <= length:
        raise FaltungError(f"{where}: claims {shape} of {dtype}, but has {length:,} bytes")
    flat = empty((prod(shape),), dtype, where)
    if claimed:
        fill(file, flat, where)
    array = flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype; parsed by NumPy once its length is known."""
    start = file.read(8)
    version = np.lib.format.read_magic(io.BytesIO(start))
    readers = {
        (1, 0): (2, np.lib.format.read_array_header_1_0),
        (2, 0): (4, np.lib.format.read_array_header_2_0),
    }
    if version not in readers:
        raise FaltungError(f"version {version} of NumPy's format is for structures")
    width, read = readers[version]
    size = file.read(width)
    length = int.from_bytes(size, "little")
    if length > MAX_HEADER_BYTES:
        raise FaltungError(f"its header claims {length:,} bytes")
    return read(io.BytesIO(size + file.read(length)), max_header_size=MAX_HEADER_BYTES)
