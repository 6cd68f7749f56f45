"""Folders of pictures, and of volumes in TIFF files: each file is decoded once when it is opened.

A file that cannot be decoded is thus found before training begins. What decoding gives is kept if
it is small, otherwise files are decoded again when they are needed. Numbers stay as they are
stored, and ``white`` says which of them is white. Grey pictures have one channel, colours three;
if some are in colour all get three, with ``channels=4`` also transparency, which is otherwise
blended with white. Other channels (satellites, microscopes) stay as they are. The orientation in
EXIF is applied. Of an animation the first picture is read.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data import pillow, tiff
from faltung.data.contents import it_is
from faltung.data.folder import (
    Broken,
    FileSource,
    Kept,
    Listing,
    check_white,
    examine_all,
    range_of,
    units_of_files,
    walk,
)
from faltung.data.layers import DEEP, Layers, with_white
from faltung.data.limits import described
from faltung.data.names import inside, printable
from faltung.data.options import Options
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]
# Threads that decode when a folder is opened; each may hold a large picture.
THREADS = 4


@dataclass(frozen=True)
class Facts:
    """What a decoded file is. ``space``: (height, width), with its orientation applied, of a volume
    (pages, height, width); ``white``: the number that is white, or None; ``convertible``: whether
    it is grey or colour, so that one can become the other; ``range``: where no number is white, the
    least and the largest, and whether all are whole.
    """

    space: tuple[int, ...]
    channels: int
    white: float | None = 255.0
    convertible: bool = True
    range: tuple[float, float, bool] = field(default=(0, 0, True), compare=False)


def matches(path: Path) -> bool:
    return path.is_dir()


def open_pictures(root: Path, options: Options) -> FileSource:
    """A folder of pictures (channels, height, width) or volumes (channels, pages, height, width)
    with one subfolder per class.

    With ``size`` each picture is scaled until it covers that size, and its centre is cut out; a
    volume is interpolated. ValueError: files of different sizes without ``size``, or of different
    channels, pages or units; a class without a picture; a decompression bomb.
    """
    pillow.pillow()
    if options.kind not in (None, "picture", "volume"):
        raise FaltungError(f"kind={options.kind!r}: a folder holds pictures or volumes")
    found, kept = walk(root, options), Kept()
    with warnings.catch_warnings():  # of Pillow; bombs are refused here
        warnings.simplefilter("ignore")
        look = partial(examine, options=options, kept=kept)
        threads = min(THREADS, os.cpu_count() or 1)
        facts: list[Facts] = examine_all(found, look, options.kind or "picture", threads)
    _check_pages(found, facts)
    rank = len(facts[0].space)
    space = options.space(rank) or _common(found, facts)
    white, channels = common_white(found, facts), common_channels(found, facts, options)
    shape, fit = (channels, *space), options.size is not None
    units = units_of_files(white, [fact.range for fact in facts], picture=rank == 2)
    check_white(units, options.like.meaning if options.like else None, printable(root.name))
    floats = white is None or (fit and (white == DEEP or rank == 3))
    dtype = np.dtype(np.float32 if floats else np.uint16 if white == DEEP else np.uint8)
    first = (
        with_white(widened(values, channels), fact.white, white)
        for fact, values in zip(facts, kept.taken(found.files), strict=False)
    )
    return FileSource(
        found,
        options,
        kind="picture" if rank == 2 else "volume",
        shape=shape,
        dtype=dtype,
        units=units,
        decode=partial(decode, shape=shape, fit=fit, white=white),
        first=first,
    )


def examine(path: Path, where: str, options: Options, kept: Kept | None = None) -> Facts:
    """Decode a file, and say what it is; what it becomes under these options goes to ``kept``.

    Broken: it cannot be read. ValueError: a decompression bomb, or an option that it cannot follow.
    """
    asked = options.count
    with named(where, skip=True):
        flat = options.kind != "volume" and (
            isinstance(options.size, int) or (options.size is not None and len(options.size) == 2)
        )
        near = options.space(2) if flat else None
        picture = load(path, where, near, options.kind, asked)
        space = options.space(len(picture.space))
        values = picture.arranged(asked or picture.channels, space)
        if kept is not None:
            kept.put(path, values)
        facts = Facts(picture.space, picture.channels, picture.white, picture.convertible)
        return facts if facts.white else replace(facts, range=range_of(values))


def decode(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool, white: float | None
) -> Array:
    """A picture (channels, height, width) or a volume (channels, pages, height, width).

    Parameters
    ----------
    path, where : Path, str
        The file, and what messages call it.
    shape : tuple of int
        What it must be. Grey and colour become each other; other channels must be as many.
    fit : bool
        Whether another size is scaled to this one (a picture until it covers it, and the centre cut
        out), instead of being an error.
    white : float or None
        The number that is white in the result. 255: 8 bits as they are stored, 16 bits divided by
        257; 65535: 16 bits as they are stored, 8 bits times 257; 1: all divided by their white;
        None: all numbers as they are stored.

    Returns
    -------
    ndarray
        uint8 or uint16 where that is what is stored and nothing was scaled, otherwise float32.

    Raises
    ------
    ValueError
        A file that cannot be read as such a picture; floats or signed numbers if there is a white.
    """
    values, own = stored(path, where, shape=shape, fit=fit)
    with named(where):
        return with_white(values, own, white)


def stored(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool
) -> tuple[Array, float | None]:
    """What ``decode`` gives without a white, and the number that is white by the file's format."""
    with named(where):
        kind = "volume" if len(shape) == 4 else "picture"
        near = shape[1:] if fit and kind == "picture" else None
        try:
            picture = load(path, where, near, kind, shape[0])
        except Broken as error:
            raise Broken(f"{error}{it_is(path)}") from error
        if not fit and picture.space != shape[1:]:
            raise FaltungError(f"is {_by(picture.space)}, must be {_by(shape[1:])}")
        return picture.arranged(shape[0], shape[1:] if fit else None), picture.white


def load(
    path: Path, where: str, near: tuple[int, ...] | None, kind: str | None, channels: int | None
) -> pillow.EightBits | Layers:
    if tiff.matches(path):
        return tiff.load(path, where, near, kind, channels)
    if kind == "volume":
        raise Broken("is not a volume: TIFF files of several pages and NIfTI files are")
    return pillow.load(path, where, near)


@contextmanager
def named(where: str, skip: bool = False) -> Iterator[None]:
    """Turn any error inside into a ValueError that begins with the name of the file. With ``skip``
    what is wrong with the file itself stays or becomes Broken.

    For a broken or hostile file a library raises nearly anything.
    """
    try:
        yield
    except FaltungError as error:
        raise error if str(error).startswith(where) else FaltungError(f"{where}: {error}") from None
    except Exception as error:
        broken = isinstance(error, Broken)
        why = str(error) if broken else f"cannot be read, {described(error)}"
        raise (Broken(why) if skip else FaltungError(f"{where}: {why}")) from error


# What the files of a folder have in common --------------------------------------------------------


def _check_pages(found: Listing, facts: Sequence[Facts]) -> None:
    """ValueError: some are pictures and some are volumes."""
    ranks = [len(fact.space) for fact in facts]
    if len(set(ranks)) > 1:
        volume, picture = ranks.index(3), ranks.index(2)
        names = [inside(found.files[i], found.root) for i in (volume, picture)]
        raise FaltungError(
            f"{names[0]}: has {facts[volume].space[0]} pages, {names[1]} has one; pass "
            "kind='picture' if pages are channels, kind='volume' to skip single pictures, or keep "
            "volumes and pictures apart"
        )


def _common(found: Listing, facts: Sequence[Facts]) -> tuple[int, ...]:
    """The size of all pictures. ValueError: they have several."""
    sizes = Counter(fact.space for fact in facts)
    usual = sizes.most_common(1)[0][0]
    for path, fact in zip(found.files, facts, strict=True):
        if fact.space != usual:
            what = "scale every picture and cut out its centre"
            if len(usual) == 3:
                what = "bring all volumes to one size"
            raise FaltungError(
                f"{inside(path, found.root)}: is {_by(fact.space)}, most are {_by(usual)} "
                f"({len(sizes)} sizes in all); pass size=, e.g. {_by(usual)}, to {what}"
            )
    return usual


def common_white(found: Listing, facts: Sequence[Facts]) -> float | None:
    """What is white in all of them: 16 bits if any has 16. ValueError: in some nothing is."""
    whites = [fact.white for fact in facts]
    known = [white for white in whites if white is not None]
    if known and len(known) < len(whites):
        floats, other = whites.index(None), whites.index(known[0])
        names = [inside(found.files[i], found.root) for i in (floats, other)]
        raise FaltungError(
            f"{names[0]}: holds floats or signed numbers, {names[1]} a picture of "
            f"{8 if known[0] == 255 else 16} bits, in which a number is white; save all files of a "
            "data set in the same units"
        )
    return max(known, default=None)


def common_channels(found: Listing, facts: Sequence[Facts], options: Options) -> int:
    """Three if any is in colour. ValueError: they have different channels of other kinds."""
    if options.count is not None:
        return options.count
    if all(fact.convertible for fact in facts):
        return max(fact.channels for fact in facts)
    usual = Counter(fact.channels for fact in facts).most_common(1)[0][0]
    for path, fact in zip(found.files, facts, strict=True):
        if fact.channels != usual:
            raise FaltungError(
                f"{inside(path, found.root)}: has {fact.channels} channels, most files have "
                f"{usual}; pass channels=, or save all with the same channels"
            )
    return usual


def widened(values: Array, channels: int) -> Array:
    """Grey as colour, where other pictures are in colour."""
    return np.repeat(values, channels, axis=0) if len(values) < channels else values


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
