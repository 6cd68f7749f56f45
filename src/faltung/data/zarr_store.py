"""Zarr arrays on disk that are written a region at a time, by one process or many, and resumed.

>>> import tempfile, numpy as np
>>> from faltung.data.zarr_store import open_target
>>> path = tempfile.mkdtemp() + "/labels.zarr"
>>> target = open_target(path, "my task", shape=(8, 8), dtype="uint8", chunks=(4, 4))
>>> regions = [(slice(0, 4), slice(0, 8)), (slice(4, 8), slice(0, 8))]
>>> target.write(regions[0], np.ones((4, 8), np.uint8))

A process that is killed here and started again finds what is left to do, and says when all is done:

>>> target = open_target(path, "my task", shape=(8, 8), dtype="uint8", chunks=(4, 4))
>>> [str(region[0]) for region in target.left(regions)]
['slice(4, 8, None)']
>>> target.write(regions[1], np.ones((4, 8), np.uint8))
>>> target.finish()

Formats 2 and 3, shards, and arrays within groups (``images.zarr/labels/0``). A region consists of
whole chunks, or of whole shards where there are some: they are the files.
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data import regions
from faltung.data.regions import Region
from faltung.formats.extras import missing
from faltung.formats.files import make_folder, problem, shown
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass

# What zarr calls a file that it is writing.
_PARTIAL = re.compile(r".*\.[0-9a-f]{32}\.partial")
# Errors of file systems that cannot sync a folder.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Target:
    """An array that is being written; ``open_target`` makes one. It can be sent to other processes.

    Attributes
    ----------
    place : str
        The folder of the array.
    shape, dtype
        Of the array.
    unit : tuple of int
        Sizes of what is written at once: of the shards, or of the chunks where there are none.
    """

    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    unit: tuple[int, ...]

    def array(self) -> Any:
        """The array itself."""
        return _opened(self.place, os.getpid())

    def left(self, wanted: Iterable[Region]) -> list[Region]:
        """Those of these regions that are not finished."""
        found = regions.read(Path(self.place))
        if found is None or found.whole:
            return [] if found else list(wanted)
        return [region for region in wanted if regions.ends(region) not in found.finished]

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Write a region, and note that it is finished once it is on disk.

        ValueError: a region that is not whole chunks (shards), or values of another shape.
        """
        shape = tuple(part.stop - part.start for part in region)
        if not regions.is_whole(region, self.unit, self.shape):
            raise FaltungError(f"region={region}: must consist of whole chunks of {self.unit}")
        if values.shape != shape:
            raise FaltungError(f"values.shape={values.shape}: must be that of the region, {shape}")
        array = self.array()
        try:
            array[region] = values
            self._sync(array, region)
        except OSError as error:
            raise problem(self.place, error, "not written") from error
        regions.mark(Path(self.place), region)

    def finish(self) -> None:
        """Note that all regions are finished."""
        regions.mark_whole(Path(self.place))

    def _sync(self, array: Any, region: Region) -> None:
        """Force the files of a region to disk. There is none where all entries are the filling."""
        each = [
            range(part.start // size, -(-part.stop // size))
            for part, size in zip(region, self.unit, strict=True)
        ]
        folders = set()
        for index in product(*each):
            path = Path(self.place) / array.metadata.encode_chunk_key(index)
            if path.exists():
                _sync(path)
                folders.add(path.parent)
        if os.name != "nt":
            for folder in folders:
                _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


@lru_cache(16)
def _opened(place: str, process: int) -> Any:
    """An array to write to, opened once in a process."""
    found = zarr_module().open_array(place, mode="r+")
    return found


def zarr_module() -> Any:
    """The library, ImportError with the extra that brings it."""
    try:
        import zarr
    except ImportError:
        raise missing("zarr", "zarr") from None
    return zarr


def open_target(
    path: str | os.PathLike[str],
    task: str,
    *,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    chunks: Sequence[int],
    shards: Sequence[int] | None = None,
    zarr_format: int = 3,
    fill_value: object = 0,
    attributes: Mapping[str, Any] | None = None,
    existing: bool = False,
    overwrite: bool = False,
) -> Target:
    """A Zarr array to write regions of: a new one, or one that the same task began.

    Parameters
    ----------
    path : path
        The folder of the array.
    task : str
        Says what writes the array and what it depends on, as a digest does. The same task goes on
        where it was interrupted.
    shape, dtype, chunks, shards, zarr_format, fill_value, attributes
        Of a new array; as ``zarr.create_array`` takes them.
    existing : bool
        The array is there, made by somebody else; it is written into as it is.
    overwrite : bool
        What is there is replaced, unless the same task began it.

    Returns
    -------
    Target

    Raises
    ------
    FileExistsError
        There is an array or something else, and the same task has not begun it.
    ValueError, TypeError
        What cannot be an array, or is another one.
    OSError
        The file system refuses.
    """
    place = Path(os.path.realpath(path))
    found = regions.read(place) if place.is_dir() else None
    if found is not None and found.task == task:
        _sweep(place)
    else:
        made = place.exists() and any(place.iterdir() if place.is_dir() else [place])
        if made and not existing and not overwrite:
            of = "another task" if found else "something else"
            raise FileExistsError(
                f"{shown(path)}: exists and was written by {of}; name another, or pass "
                "overwrite=True"
            )
        if made and overwrite and not existing:
            _remove(place)
        if not place.is_dir():
            make_folder(place)
        regions.begin(place, task)
    if not existing and not _is_array(place):
        _create(place, shape, dtype, chunks, shards, zarr_format, fill_value, attributes)
    _opened.cache_clear()
    return _target(place, tuple(shape), np.dtype(dtype))


def _is_array(place: Path) -> bool:
    return any((place / name).exists() for name in ("zarr.json", ".zarray"))


def _create(
    place: Path,
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    chunks: Sequence[int],
    shards: Sequence[int] | None,
    zarr_format: int,
    fill_value: object,
    attributes: Mapping[str, Any] | None,
) -> None:
    try:
        zarr_module().create_array(
            store=str(place),
            shape=tuple(shape),
            dtype=np.dtype(dtype),
            chunks=tuple(chunks),
            shards=None if shards is None else tuple(shards),
            zarr_format=zarr_format,
            fill_value=fill_value,
            attributes=None if attributes is None else dict(attributes),
        )
    except (ValueError, TypeError) as error:
        raise FaltungError(f"{shown(place)}: no such Zarr array, {error}") from None


def _target(place: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Target:
    """ValueError: an array of another shape or dtype is there."""
    array = _opened(str(place), os.getpid())
    if tuple(array.shape) != shape or array.dtype != dtype:
        raise FaltungError(
            f"{shown(place)}: is {tuple(array.shape)} of {array.dtype}; must be {shape} of {dtype}"
        )
    return Target(str(place), shape, dtype, tuple(array.shards or array.chunks))


def _remove(place: Path) -> None:
    """Remove what was at the place: a Zarr array, and nothing else."""
    if not _is_array(place) and regions.read(place) is None:
        raise FileExistsError(f"{shown(place)}: is no Zarr array, and not replaced; remove it")
    import shutil

    shutil.rmtree(place)


def _sweep(place: Path) -> None:
    """Remove the files that a killed process was writing."""
    for folder, _, names in os.walk(place):
        for name in names:
            if _PARTIAL.fullmatch(name):
                Path(folder, name).unlink(missing_ok=True)


def local_place(array: object) -> str:
    """The folder of a Zarr array. TypeError: it lies in no local folder."""
    store = getattr(array, "store", None)
    root = getattr(store, "root", None)
    if root is None:
        raise FaltungTypeError(
            f"store={array!r}: must be a path, or a Zarr array in a local folder"
        )
    return os.path.join(root, getattr(array, "path", ""))
