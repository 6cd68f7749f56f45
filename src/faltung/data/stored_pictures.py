"""Pictures and volumes on disk that are read a part at a time: Zarr, OME-Zarr, TIFF and BigTIFF.

OME-Zarr: J. Moore et al., "OME-NGFF: a next-generation file format for expanding bioimaging
data-access strategies", Nature Methods 18, 2021; versions 0.4 and 0.5 of the format. The levels of
a pyramid are numbered from the largest, 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from faltung.data import ifd, tiff
from faltung.data.folder import Broken
from faltung.data.limits import quiet
from faltung.data.zarr_checked import attributes_of, metadata_of, open_checked
from faltung.data.zarr_store import zarr_module
from faltung.formats.files import shown
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# Axes of space, the last ones; of channels; all others are samples.
SPACE, CHANNELS = "zyx", "cs"
MOST_LEVELS = 64


@dataclass(frozen=True)
class Stored:
    """An array on disk. axes: a letter for each ("t", "c", "z", "y", "x"; "s": colours); "" where
    nothing says it. ome: of OME-Zarr, what its axes are and how large an entry is.
    """

    array: Any
    axes: str = ""
    ome: Mapping[str, Any] = field(default_factory=dict)


def is_stored(path: Path) -> bool:
    """Whether a path is a Zarr array or group, or a TIFF."""
    if path.is_dir():
        return metadata_of(path) is not None
    return path.is_file() and tiff.matches(path)


def open_stored(path: Path, level: int = 0) -> Stored:
    """The array of a path. level: of a pyramid. ValueError: another file, or one that is refused.
    OSError: it cannot be read. ImportError: what reads it is not installed.
    """
    try:
        if path.is_dir():
            return _zarr(path, level)
        return _tiff(path, level)
    except Broken as error:
        raise FaltungError(f"{shown(path)}: {error}") from None


# Zarr ---------------------------------------------------------------------------------------------


def _zarr(path: Path, level: int) -> Stored:
    found = metadata_of(path)
    if found is None:
        raise FaltungError(f"{shown(path)}: is no Zarr array, and no OME-Zarr")
    if found.get("node_type") == "array":
        _no_level(path, level, 1)
        array, about = open_checked(path)
        names = "".join(name[:1].lower() for name in about.names)
        return Stored(_Read(path, array), names if _sound(names, len(about.shape)) else "")
    given = attributes_of(found)
    ome = given.get("ome", given)
    scales = ome.get("multiscales") if isinstance(ome, dict) else None
    if not isinstance(scales, list) or not scales or not isinstance(scales[0], dict):
        raise FaltungError(
            f"{shown(path)}: is a group of Zarr without multiscales, so no OME-Zarr; name an array "
            "in it"
        )
    levels, axes = scales[0].get("datasets"), scales[0].get("axes")
    if not isinstance(levels, list) or not 1 <= len(levels) <= MOST_LEVELS:
        raise FaltungError(f"{shown(path)}: has no levels")
    _no_level(path, level, len(levels))
    one = levels[level] if isinstance(levels[level], dict) else {}
    array, about = open_checked(path / _inside(path, one.get("path")))
    names = _letters(axes)
    if not _sound(names, len(about.shape)):
        raise FaltungError(
            f"{shown(path)}: axes={show(axes)}: must be {len(about.shape)} of t, c, z, y and x"
        )
    kept = {"axes": axes, "coordinateTransformations": one.get("coordinateTransformations", [])}
    return Stored(_Read(path, array), names, {k: v for k, v in kept.items() if isinstance(v, list)})


def _inside(path: Path, name: Any) -> PurePosixPath:
    """The place of a level. ValueError: it leads out of the folder."""
    inside = PurePosixPath(name) if isinstance(name, str) else None
    if inside is None or inside.is_absolute() or ".." in inside.parts or "\\" in str(inside):
        raise FaltungError(f"{shown(path)}: path={show(name)}: must be a place in the folder")
    here = path.resolve()
    if not (here / inside).resolve().is_relative_to(here):
        raise FaltungError(f"{shown(path)}: path={show(name)}: leads out of the folder")
    return inside


def _letters(axes: Any) -> str:
    if not isinstance(axes, list):
        return ""
    names = [axis.get("name") if isinstance(axis, dict) else axis for axis in axes]
    return "".join(n.lower() if isinstance(n, str) and len(n) == 1 else "?" for n in names)


def _sound(names: str, count: int) -> bool:
    return len(names) == count == len(set(names)) and set(names) <= {*SPACE, *CHANNELS, "t"}


def _no_level(path: Path, level: int, count: int) -> None:
    if not 0 <= level < count:
        raise FaltungError(f"level={level}: must be from 0 to {count - 1}, {shown(path)} has them")


# TIFF ---------------------------------------------------------------------------------------------


def _tiff(path: Path, level: int) -> Stored:
    length = path.stat().st_size
    with path.open("rb") as file:
        pages = ifd.read_pages(file, length)
    for page in pages:
        if not page.one(ifd.SUBFILE, 0) & (ifd.THUMBNAIL | ifd.MASK):
            ifd.check_page(page, length)
    ifd.check_total(sum(page.claimed for page in pages), length, shown(path))
    tifffile: Any = tiff.library(pages[0])
    with quiet("tifffile"):
        try:
            # Other files that it names are never opened.
            opened = tifffile.TiffFile(path, _multifile=False)
            series = opened.series[0]
            _no_level(path, level, len(series.levels))
            one = series.levels[level]
            axes, shape, dtype = one.axes.lower(), tuple(one.shape), one.dtype
        except FaltungError:
            raise
        except Exception as error:
            raise Broken(f"is not read by tifffile: {error}") from None
    if dtype is None or dtype.kind not in "biuf" or not shape:
        raise Broken(f"holds {dtype}, not real numbers")
    array = zarr_module().open_array(series.aszarr(level=level), mode="r")
    if tuple(array.shape) != shape:
        raise Broken(f"decodes to {array.shape}, but claims {shape}")
    return Stored(_Read(path, array, opened), axes if _all_known(axes) else "")


def _all_known(axes: str) -> bool:
    return len(set(axes)) == len(axes) and set(axes) <= {*SPACE, *CHANNELS, *"tqi"}


class _Read:
    """An array of a file, of which parts are read: a chunk, a tile or a strip at a time. What a
    library finds wrong with one is a ValueError with the file's name.
    """

    def __init__(self, path: Path, array: Any, opened: Any = None) -> None:
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.chunks = tuple(array.chunks)
        self._path, self._array, self._opened = path, array, opened

    def __getitem__(self, index: Any) -> Any:
        try:
            with quiet("tifffile"):
                return self._array[index]
        except (OSError, MemoryError):
            raise
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise FaltungError(
                f"{shown(self._path)}: a part of it cannot be read: {said}"
            ) from None


# As samples ---------------------------------------------------------------------------------------


class Arranged:
    """A stored array as samples (n, C, *space), or without C where it has no channels: of other
    axes than these, every place is a sample. ``index`` says where.

    ValueError: axes that the samples of a network do not have.
    """

    def __init__(self, stored: Stored, rank: int) -> None:
        axes, shape = stored.axes, tuple(stored.array.shape)
        space = SPACE[-rank:] if rank <= len(SPACE) else ""
        if rank == 1 and "x" not in axes and "t" in axes:
            space = "t"
        if not space or not set(space) <= set(axes):
            raise FaltungError(
                f"axes={axes}: must have {', '.join(space or SPACE)}, as the samples of the network"
            )
        self.source, self.dtype = stored.array, np.dtype(stored.array.dtype)
        self._space = [axes.index(name) for name in space]
        channels = [axes.index(name) for name in CHANNELS if name in axes]
        if len(channels) > 1:
            raise FaltungError(f"axes={axes}: have two kinds of channels")
        self._channel = channels[0] if channels else None
        self._others = [i for i in range(len(axes)) if i not in (*self._space, *channels)]
        self._sizes = tuple(shape[i] for i in self._others)
        self.shape = (
            prod(self._sizes),
            *(shape[i] for i in channels),
            *(shape[i] for i in self._space),
        )
        chunks = getattr(stored.array, "chunks", None)
        first = (1,) * (1 + len(channels))
        self.chunks = None if chunks is None else (*first, *(chunks[i] for i in self._space))

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        """As ``Boxes`` asks for a box: the number of a sample, and slices."""
        sample, *rest = index
        where: list[Any] = [slice(None)] * (len(self._others) + len(rest))
        for axis, at in zip(self._others, np.unravel_index(sample, self._sizes), strict=True):
            where[axis] = slice(int(at), int(at) + 1)
        kept = [*([] if self._channel is None else [self._channel]), *self._space]
        for axis, part in zip(kept, rest, strict=True):
            where[axis] = part
        found = np.asarray(self.source[tuple(where)])
        return found.transpose(*self._others, *kept).reshape([found.shape[axis] for axis in kept])

    def like(self, channels: int | None, space: Sequence[int]) -> tuple[int, ...]:
        """The shape of an array with the axes of the stored one, but so many channels (None: one,
        where it has channels) and this space.
        """
        count = len(self.source.shape) + (self._channel is None and channels is not None)
        made = [1] * count
        for axis, size in zip(self._others, self._sizes, strict=True):
            made[self._moved(axis, channels)] = size
        for axis, size in zip(self._space, space, strict=True):
            made[self._moved(axis, channels)] = size
        if channels is not None:
            made[self._at] = channels
        return tuple(made)

    def region(self, sample: int, channels: int | None, window: Any) -> tuple[slice, ...]:
        """Where a window of a sample lies in an array as ``like`` says."""
        found = [slice(0, n) for n in self.like(channels, [1] * len(self._space))]
        for axis, at in zip(self._others, np.unravel_index(sample, self._sizes), strict=True):
            found[self._moved(axis, channels)] = slice(int(at), int(at) + 1)
        for axis, span in zip(self._space, window, strict=True):
            found[self._moved(axis, channels)] = slice(*span)
        return tuple(found)

    def names(self, axes: str, channels: int | None) -> str:
        """The axes of such an array."""
        if self._channel is None and channels is not None:
            return axes[: self._at] + "c" + axes[self._at :]
        return axes.replace("s", "c")

    @property
    def _at(self) -> int:
        """The axis of channels; of an array that gets one, before its space."""
        return min(self._space) if self._channel is None else self._channel

    def _moved(self, axis: int, channels: int | None) -> int:
        added = self._channel is None and channels is not None
        return axis + (added and axis >= min(self._space))
