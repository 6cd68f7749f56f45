"""Volumes in NIfTI files, ``.nii`` and ``.nii.gz``, by nibabel: one subfolder per class, lazy.

Format: R. Cox et al., "A (sort of) new image data format standard: NIfTI-1", 2004. Axes are
reordered to right, anterior, superior (as nearly as possible without interpolation); a fourth axis,
or a fifth if the fourth is 1 long, becomes the channels, as do red, green and blue. The slope and
intercept of the file are applied, so numbers have units of their own and none is white, except in
colours, where it is 255. Every file is decoded once when it is opened (see ``pictures.py``).
"""

from collections import Counter
from dataclasses import field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.contents import it_is
from faltung.data.folder import (
    Broken,
    FileSource,
    Kept,
    check_white,
    class_folders,
    examine_all,
    range_of,
    units_of_files,
    walk,
)
from faltung.data.layers import with_white
from faltung.data.limits import check_unpacked, complaints, described, needs, quiet, regular
from faltung.data.names import inside, printable
from faltung.data.options import Options
from faltung.data.resize import resize
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

SUFFIXES = (".nii", ".nii.gz")
LOGGER = "nibabel.global"


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
    found, kept = walk(root, options), Kept()
    look = partial(examine, options=options, kept=kept)
    facts: list[Facts] = examine_all(found, look, "volume")
    space, first = options.space(3), facts[0]
    white = Counter(fact.white for fact in facts).most_common(1)[0][0]
    for path, fact in zip(found.files, facts, strict=True):
        name, channels = inside(path, root), fact.shape[0]
        if options.count not in (None, channels) or channels != first.shape[0]:
            wanted = options.count or first.shape[0]
            raise FaltungError(f"{name}: has {channels} channels, must have {wanted}")
        if space is None and fact.shape != first.shape:
            raise FaltungError(
                f"{name}: is {_by(fact.shape[1:])}, the first is {_by(first.shape[1:])}; pass "
                "size= to bring all to one size"
            )
        if fact.white != white:
            raise FaltungError(
                f"{name}: holds {_kind(fact.white)}, most files hold {_kind(white)}; save all "
                "files of a data set in the same units"
            )
    units = units_of_files(white, [fact.range for fact in facts], picture=False)
    check_white(units, options.like.meaning if options.like else None, printable(root.name))
    shape = (first.shape[0], *(space or first.shape[1:]))
    return FileSource(
        found,
        options,
        kind="volume",
        shape=shape,
        dtype=np.dtype(np.uint8 if white and space is None else np.float32),
        units=units,
        decode=partial(decode, shape=shape, fit=space is not None, white=white),
        first=kept.taken(found.files),
    )


@dataclass(frozen=True)
class Facts:
    """The shape (channels, x, y, z) of a decoded file, and the number that is white, or None;
    ``range``: least and largest number, and whether all are whole.
    """

    shape: tuple[int, ...]
    white: float | None = None
    range: tuple[float, float, bool] = field(default=(0, 0, True), compare=False)


def examine(path: Path, where: str, options: Options, kept: Kept | None = None) -> Facts:
    """Decode a file, and say what it is; what it becomes under these options goes to ``kept``.

    Broken: not a complete volume, or one with NaN. ValueError: a decompression bomb.
    """
    try:
        values, white = _decoded(path, where)
        if kept is not None:
            space = options.space(3)
            kept.put(path, values if space is None else resize(values, space))
        return Facts(values.shape, white, range_of(values))
    except Broken:
        raise
    except Exception as error:  # see ``complaints``
        if isinstance(error, FaltungError):
            raise
        raise Broken(f"cannot be read, {described(error)}") from error


def decode(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool, white: float | None = None
) -> npt.NDArray[Any]:
    """A volume (channels, x, y, z) as it is stored: uint8 of colours, otherwise float32.

    ``white``: the number that is white in the result, see ``pictures.decode``. ValueError: it is
    broken, contains NaN, or has another shape.
    """
    values, own = stored(path, where, shape=shape, fit=fit)
    if white is not None and own is None:
        raise FaltungError(f"{where}: holds {_kind(own)}, must hold {_kind(white)}")
    return with_white(values, own, white)


def stored(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool
) -> tuple[npt.NDArray[Any], float | None]:
    """What ``decode`` gives without a white, and the number that is white, or None."""
    with complaints(where, path):
        try:
            values, white = _decoded(path, where)
        except Broken as error:
            raise FaltungError(f"{where}: {error}{it_is(path)}") from None
        if fit:
            values = resize(values, shape[1:])
        if values.shape != shape:
            raise FaltungError(f"{where}: is {_by(values.shape)}, must be {_by(shape)}")
        return values, white


def _decoded(path: Path, where: str) -> tuple[npt.NDArray[Any], float | None]:
    """A volume (channels, x, y, z) of its own size, and the number that is white, or None."""
    image, nibabel = _loaded(path, where), _nibabel()
    colours = image.get_data_dtype().names
    with quiet(LOGGER), np.errstate(all="ignore"):  # what is not finite is refused below
        if colours:
            stored = np.asarray(image.dataobj.get_unscaled())
            values = np.stack([stored[name] for name in colours], -1).reshape(
                *image.shape[:3], len(colours)
            )
        else:
            values = np.asarray(image.dataobj, np.float32).reshape(*image.shape[:3], -1)
        axes = nibabel.orientations.io_orientation(image.affine)
        if not np.isnan(axes).any():
            values = nibabel.orientations.apply_orientation(values, axes)
    values = np.ascontiguousarray(np.moveaxis(values, 3, 0))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Broken(f"contains {'NaN' if np.isnan(values).any() else 'an infinite value'}")
    return values, 255.0 if colours else None


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise needs("volumes", "nibabel", "a folder of NIfTI files") from None
    return nibabel


def _loaded(path: Path, where: str) -> Any:
    """A file whose header has been read and fits its length. Broken; ValueError: a bomb."""
    if not is_volume(path):
        raise Broken("is not a NIfTI file (.nii, .nii.gz)")
    length = regular(path, where)
    with quiet(LOGGER):
        image = _nibabel().load(path)
    dtype, shape = image.get_data_dtype(), image.shape
    if dtype.kind not in "biuf" and dtype.names not in (tuple("RGB"), tuple("RGBA")):
        raise Broken(f"holds {dtype}; real numbers and colours (RGB24, RGBA32) are read")
    if len(shape) < 3 or not prod(shape) or sum(length > 1 for length in shape[3:]) > 1:
        raise Broken(
            f"has the shape {_by(shape)}; volumes are x, y, z and perhaps channels, as a fourth "
            "axis, or a fifth if the fourth is 1 long"
        )
    if dtype.names and prod(shape[3:]) > 1:
        raise Broken(f"has the shape {_by(shape)} of colours; these are the channels")
    claimed = prod(map(int, shape)) * dtype.itemsize + int(image.dataobj.offset)
    if path.name.lower().endswith(".gz"):
        check_unpacked(claimed, length, where)
    elif claimed > length:
        raise Broken(f"claims {_by(shape)} of {dtype}, but has {length:,} bytes")
    return image


def _kind(white: float | None) -> str:
    return "colours (0 to 255)" if white else "numbers of which none is white"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
