"""Files that lie, written byte by byte."""

import struct
import zipfile
from pathlib import Path

import numpy as np


def npy_header(shape: str, descr: str = "'<f4'", version: int = 1, more: str = "") -> bytes:
    """The beginning of a `.npy` file that claims anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{more}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def idx(array: np.ndarray, kind: int = 0x08, sizes: tuple[int, ...] | None = None) -> bytes:
    """An IDX file of an array, or one that claims other sizes or another type."""
    sizes = array.shape if sizes is None else sizes
    head = struct.pack(f">2x2B{len(sizes)}I", kind, len(sizes), *sizes)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def nifti(shape: tuple[int, ...], data: bytes, code: int = 16, offset: float = 352) -> bytes:
    """A NIfTI-1 file that claims a shape and a type (16 is float32), with these bytes of data."""
    head = bytearray(348)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(shape), *shape, *(1,) * (7 - len(shape)))
    struct.pack_into("<2h", head, 70, code, 32)
    struct.pack_into("<8f", head, 76, *(1,) * 8)
    struct.pack_into("<f", head, 108, offset)
    head[344:348] = b"n+1\0"
    return bytes(head) + b"\0" * 4 + data
