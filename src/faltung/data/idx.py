"""IDX files, the format of MNIST and similar data: a file of pictures and a file of labels.

Format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): two zero
bytes, a byte for the type, a byte for the number of axes, the length of each axis (uint32), the
values; all big-endian. Often gzipped.
"""

import gzip
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from faltung.data.arrays import labelled
from faltung.data.layout import guess_kind
from faltung.data.limits import check_unpacked, complaints, empty, fill, regular
from faltung.data.names import listing, printable
from faltung.data.options import Options
from faltung.data.source import ArraySource
from faltung.geometry.errors import FaltungError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 5
# train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz, emnist-letters-train-images-idx3-ubyte.gz
PICTURES = re.compile(r"images?[-.]idx[345]-\w+(\.gz)?", re.IGNORECASE)


def matches(path: Path) -> bool:
    """Whether a path is a file with the name or first bytes of IDX, or a folder with such names."""
    if path.is_dir():
        return bool(_inside(path))
    if not path.is_file():
        return False
    return bool(PICTURES.search(path.name)) or _begins(path)


def open_idx(path: Path, options: Options) -> ArraySource:
    """Pictures and their labels. Of a folder with several parts the training part is opened; the
    test part is opened by the name of its file. ValueError.
    """
    pictures = _choose(path) if path.is_dir() else path
    where = printable(pictures.name)
    labels = _partner(pictures)
    x, y = read_idx(pictures, where), read_idx(labels, printable(labels.name))
    kind = options.kind or guess_kind(x, where)
    return labelled(x, y, where, options, kind=kind)


def read_idx(path: Path, where: str) -> npt.NDArray[Any]:
    """The array of one file, in this machine's byte order: ValueError."""
    length = regular(path, where)
    with complaints(where, path), _opened(path) as (file, packed):
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
            raise FaltungError(f"{where}: begins with {head.hex(' ')}, so it is not an IDX file")
        if not 1 <= head[3] <= MOST_AXES:
            raise FaltungError(f"{where}: claims {head[3]} axes; 1 to {MOST_AXES} are read")
        sizes = file.read(4 * head[3])
        if len(sizes) < 4 * head[3]:
            raise FaltungError(f"{where}: ends within its header")
        shape = struct.unpack(f">{head[3]}I", sizes)
        dtype = np.dtype(TYPES[head[2]])
        claimed, rest = prod(shape) * dtype.itemsize, length - 4 - len(sizes)
        if packed:
            check_unpacked(claimed, length, where)
        elif claimed != rest:
            raise FaltungError(f"{where}: claims {shape} of {dtype.name}, but has {rest:,} bytes")
        flat = empty((prod(shape),), dtype, where)
        if claimed:
            fill(file, flat, where)
        if file.read(1):
            raise FaltungError(f"{where}: is longer than the {shape} that it claims")
    return flat.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The contents of a file, unpacked if it is gzipped, and whether it was."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file, False
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield cast(IO[bytes], unpacked), True


def _begins(path: Path) -> bool:
    """Whether a file begins like IDX, possibly gzipped."""
    try:
        with _opened(path) as (file, _):
            head = file.read(4)
    except (OSError, EOFError, ValueError):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in TYPES and 0 < head[3] <= MOST_AXES


def _inside(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if PICTURES.search(p.name) and p.is_file())


def _choose(folder: Path) -> Path:
    """The pictures to train on: the only file of pictures, or the one with "train" in its name."""
    found = _inside(folder)
    # A file that exists packed and unpacked counts once; the unpacked one is read.
    names = {path.name.removesuffix(".gz"): path for path in reversed(found)}
    train = [path for name, path in names.items() if "train" in name.lower()]
    few = train if train else list(names.values())
    if len(few) != 1:
        raise FaltungError(
            f"{printable(folder.name)}: has several files of pictures, "
            f"{listing([path.name for path in found])}; name the one you want"
        )
    return few[0]


def _partner(pictures: Path) -> Path:
    """The file of labels that belongs to a file of pictures, packed or not."""
    name = pictures.name.removesuffix(".gz")
    base = re.sub(r"idx[345]", "idx1", re.sub(r"images", "labels", name))
    base = re.sub(r"image(?=[-.])", "label", base)
    if base == name:
        raise FaltungError(
            f"{printable(pictures.name)}: its name should say 'images', so that the file of labels "
            "('labels' in its place) can be found"
        )
    for candidate in (base, f"{base}.gz"):
        if (pictures.parent / candidate).is_file():
            return pictures.parent / candidate
    # The last word of a name is the type of the values: labels may be of another.
    stem = re.compile(re.escape(re.sub(r"\w+$", "", base)) + r"\w+(\.gz)?")
    others = sorted(p for p in pictures.parent.iterdir() if stem.fullmatch(p.name) and p.is_file())
    if len(others) == 1:
        return others[0]
    raise FaltungError(
        f"{printable(pictures.name)}: its labels, {printable(base)}[.gz], are missing"
    )
