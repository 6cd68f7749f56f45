"""Volumes in NIfTI files, ``.nii`` and ``.nii.gz``, by nibabel: one subfolder per class, lazy.

Format: R. Cox et al., "A (sort of) new image data format standard: NIfTI-1", 2004. Axes are
reordered to right, anterior, superior (as nearly as possible without interpolation); a fourth axis
becomes the channels. The slope and intercept of the file are applied.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.folder import Broken, FileSource, class_folders, examine_all, walk
from faltung.data.limits import check_finite, check_unpacked, complaints, described, needs, regular
from faltung.data.names import inside
from faltung.data.options import Options
from faltung.data.resize import resize
from faltung.geometry.errors import FaltungError

SUFFIXES = (".nii", ".nii.gz")


def is_volume(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def matches(path: Path) -> bool:
    """Whether it is a folder with a subfolder that contains a NIfTI file."""
    if not path.is_dir():
        return False
    return any(is_volume(file) for folder in class_folders(path) for file in folder.iterdir())


def open_volumes(root: Path, options: Options) -> FileSource:
    """A folder of NIfTI files (channels, x, y, z), each interpolated to ``size`` if that is given.

    ValueError: volumes of different sizes without ``size``, a class without a volume.
    """
    _nibabel()
    if options.kind not in (None, "volume"):
        raise FaltungError(f"kind={options.kind!r}: a folder of NIfTI files holds volumes")
    found = walk(root, options)
    shapes: list[tuple[int, ...]] = examine_all(found, examine, "volume")
    space = options.space(3)
    for path, shape in zip(found.files, shapes, strict=True):
        name = inside(path, root)
        if options.channels not in (None, shape[0]) or shape[0] != shapes[0][0]:
            wanted = options.channels or shapes[0][0]
            raise FaltungError(f"{name}: has {shape[0]} channels, must have {wanted}")
        if space is None and shape != shapes[0]:
            raise FaltungError(
                f"{name}: is {_by(shape[1:])}, the first is {_by(shapes[0][1:])}; pass size= to "
                "bring all to one size"
            )
    shape = (shapes[0][0], *(space or shapes[0][1:]))
    return FileSource(
        found,
        options,
        kind="volume",
        shape=shape,
        dtype=np.dtype(np.float32),
        decode=partial(decode, shape=shape, fit=space is not None),
    )


def examine(path: Path, where: str) -> tuple[int, ...]:
    """The shape (channels, x, y, z) of a decoded file, from its header.

    Broken: not a complete volume. ValueError: a decompression bomb.
    """
    try:
        image = _loaded(path, where)
        shape, order = image.shape, _order(image)
        reordered = tuple(shape[order.index(i)] for i in range(3))
        return (shape[3] if len(shape) == 4 else 1, *reordered)
    except Broken:
        raise
    except Exception as error:  # see ``complaints``
        if str(error).startswith(where):
            raise
        raise Broken(f"cannot be read, {described(error)}") from error


def decode(path: Path, where: str, *, shape: tuple[int, ...], fit: bool) -> npt.NDArray[np.float32]:
    """A volume (channels, x, y, z), float32. ValueError: it is broken or contains NaN."""
    nibabel = _nibabel()
    with complaints(where):
        try:
            image = _loaded(path, where)
        except Broken as error:
            raise FaltungError(f"{where}: {error}") from None
        values = np.asarray(image.dataobj, np.float32)
        axes = nibabel.orientations.io_orientation(image.affine)
        if not np.isnan(axes).any():
            values = nibabel.orientations.apply_orientation(values, axes)
        values = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[np.newaxis]
        check_finite(values[np.newaxis], where, [""])
        if fit:
            values = resize(values, shape[1:])
        if values.shape != shape:
            raise FaltungError(f"{where}: is {_by(values.shape)}, must be {_by(shape)}")
    return np.ascontiguousarray(values, np.float32)


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise needs("volumes", "nibabel", "a folder of NIfTI files") from None
    return nibabel


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence nibabel's messages on odd headers, one for every file in every epoch."""
    notes = _nibabel().imageglobals.logger
    level = notes.level
    notes.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        notes.setLevel(level)


def _loaded(path: Path, where: str) -> Any:
    """A file whose header has been read and fits its length. Broken; ValueError: a bomb."""
    if not is_volume(path):
        raise Broken("is not a NIfTI file (.nii, .nii.gz)")
    length = regular(path, where)
    with _quiet():
        image = _nibabel().load(path)
    dtype, shape = image.get_data_dtype(), image.shape
    if dtype.kind not in "biuf" or len(shape) not in (3, 4) or not prod(shape):
        raise Broken(f"holds {_by(shape)} of {dtype}; volumes of real numbers are read")
    claimed = prod(map(int, shape)) * dtype.itemsize + int(image.dataobj.offset)
    if path.name.lower().endswith(".gz"):
        check_unpacked(claimed, length, where)
    elif claimed > length:
        raise Broken(f"claims {_by(shape)} of {dtype}, but has {length:,} bytes")
    return image


def _order(image: Any) -> list[int]:
    """The new position of each of the first three axes; unchanged if the file is nonsensical."""
    axes = _nibabel().orientations.io_orientation(image.affine)[:, 0]
    return [0, 1, 2] if np.isnan(axes).any() else [int(axis) for axis in axes]


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
