"""Clips: folders of videos, or of frames with a folder for each clip, one subfolder per class.

A clip becomes (channels, frames, height, width), a volume: ``frames`` of it, evenly spaced. Frames
in a folder are sorted as people count (2 before 10). That a folder of folders holds clips must be
said (``frames``); it could as well be the parts of a data set.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data import pictures, video
from faltung.data.folder import (
    Broken,
    FileSource,
    Kept,
    Listing,
    can_be_read,
    check_white,
    class_folders,
    examine_all,
    hidden,
    range_of,
    stay_inside,
    units_of_files,
    walk,
)
from faltung.data.layers import Layers, with_white
from faltung.data.names import inside, natural, printable
from faltung.data.options import Options
from faltung.data.pictures import Facts
from faltung.data.pillow import EightBits, pillow
from faltung.data.video import evenly
from faltung.geometry.errors import FaltungError
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
# Frames that are taken where nothing is said: as many as most networks for clips take.
FRAMES = 16
# What lies in folders beside samples.
ARRAYS = (".npy", ".npz", ".nii", ".gz", ".csv", ".tsv", ".txt", ".ts", ".arff")


def matches(path: Path) -> bool:
    """Whether it is a folder with a class folder that has a video in it."""
    if not path.is_dir():
        return False
    return any(
        video.is_video(file) and not hidden(file)
        for folder in class_folders(path)
        for file in folder.iterdir()
    )


def is_clip(path: Path) -> bool:
    """Whether a folder holds frames: files alone, and none of them is a sample of another kind."""
    found = False
    for each in path.iterdir():
        if hidden(each):
            continue
        if each.is_dir() or video.is_video(each) or each.suffix.lower() in ARRAYS:
            return False
        found = True
    return found


def open_clips(root: Path, options: Options) -> FileSource:
    """A folder of clips (channels, frames, height, width) with one subfolder per class.

    With ``size``, of one frame, each is scaled until it covers that size, and its centre is cut
    out. ValueError: clips of several sizes without it, or in several units; a class without a clip.
    """
    pillow()
    if options.kind not in (None, "volume"):
        raise FaltungError(f"kind={options.kind!r}: a folder of clips holds volumes")
    count, space = _asked(options)
    found, kept = walk(root, options, _can_be_read), Kept()
    with warnings.catch_warnings():  # of Pillow; bombs are refused by us
        warnings.simplefilter("ignore")
        look = partial(_examine, root=root, count=count, options=options, space=space, kept=kept)
        threads = min(pictures.THREADS, os.cpu_count() or 1)
        facts: list[Facts] = examine_all(found, look, "clip", threads)
    shape = _shape(found, facts, options, count, space)
    white = pictures.common_white(found, facts)
    units = units_of_files(white, [fact.range for fact in facts], picture=False)
    check_white(units, options.like.meaning if options.like else None, printable(root.name))
    dtype = np.float32 if white is None else np.uint8 if white == 255 else np.uint16
    if space is not None and white != 255:
        dtype = np.float32
    first = (
        with_white(pictures.widened(values, shape[0]), fact.white, white)
        for fact, values in zip(facts, kept.taken(found.files), strict=False)
    )
    source = FileSource(
        found,
        options,
        kind="volume",
        shape=shape,
        dtype=np.dtype(dtype),
        units=units,
        decode=partial(decode, shape=shape, fit=space is not None, white=white),
        first=first,
    )
    source.frames = count
    return source


def decode(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool, white: float | None
) -> Array:
    """A clip (channels, frames, height, width) of this shape, in the units of ``white``, as
    ``pictures.decode``. ValueError.
    """
    values, own = stored(path, where, shape=shape, fit=fit)
    with pictures.named(where):
        return with_white(values, own, white)


def stored(
    path: Path, where: str, *, shape: tuple[int, ...], fit: bool
) -> tuple[Array, float | None]:
    """What ``decode`` gives without a white, and the number that is white by the files' format."""
    with pictures.named(where):
        frames = _load(path, where, shape[1], shape[2:] if fit else None)
        for frame in frames:
            if not fit and frame.space != shape[2:]:
                raise FaltungError(f"is {_by(frame.space)}, must be {_by(shape[2:])}")
        return _arranged(frames, shape[0], shape[2:] if fit else None), frames[0].white


def _asked(options: Options) -> tuple[int, tuple[int, ...] | None]:
    """How many frames a clip gets, and the size of a frame if one was asked for. ValueError."""
    size = options.size
    if isinstance(size, tuple) and len(size) == 3:
        if options.frames not in (None, size[0]):
            raise FaltungError(
                f"size={size}: has {size[0]} frames, frames={options.frames} is asked"
            )
        return size[0], size[1:]
    return options.frames or FRAMES, options.space(2)


def _can_be_read(path: Path, found: Listing, real: Path) -> bool:
    """Whether a path in a class folder is a video or a folder of frames; else it is skipped."""
    if not path.is_dir():
        if not video.is_video(path):
            found.skip(path, "is neither a video nor a folder of frames")
            return False
        return can_be_read(path, found, real)
    stay_inside(path, found.root, real)
    if not is_clip(path):
        found.skip(path, "is no folder of frames")
        return False
    return True


def _examine(
    path: Path,
    where: str,
    *,
    root: Path,
    count: int,
    options: Options,
    space: tuple[int, ...] | None,
    kept: Kept,
) -> Facts:
    """Decode a clip, and say what it is. Broken: it cannot be read, or its frames differ."""
    with pictures.named(where, skip=True):
        if path.is_dir():
            for each in path.iterdir():
                stay_inside(each, root, root.resolve())
        frames = _load(path, where, count, space)
        first = frames[0]
        if space is None and any(frame.space != first.space for frame in frames):
            raise Broken("has frames of several sizes")
        if any(frame.white != first.white for frame in frames):
            raise Broken("has frames in several units")
        channels = options.count or max(frame.channels for frame in frames)
        values = _arranged(frames, channels, space)
        kept.put(path, values)
        convertible = all(frame.convertible for frame in frames)
        facts = Facts(first.space, channels, first.white, convertible)
        return facts if facts.white else replace(facts, range=range_of(values))


def _load(
    path: Path, where: str, count: int, space: tuple[int, ...] | None
) -> list[EightBits | Layers]:
    """So many frames of a clip. Broken names the frame that cannot be read."""
    if not path.is_dir():
        return list(video.load(path, where, count))
    files = sorted(
        (each for each in path.iterdir() if not hidden(each)), key=lambda each: natural(each.name)
    )
    if not files:
        raise Broken("is a folder without frames")
    loaded: dict[int, EightBits | Layers] = {}
    chosen = evenly(len(files), count)
    for i in chosen:
        if i in loaded:
            continue
        try:
            loaded[i] = pictures.load(files[i], where, space, "picture", None)
        except Broken as error:
            raise Broken(f"{printable(files[i].name)} {error}") from error
        require(count * loaded[i].channels * int(np.prod(loaded[i].space)) * 4, f"{where}: a clip")
    return [loaded[i] for i in chosen]


def _arranged(
    frames: Sequence[EightBits | Layers], channels: int, space: tuple[int, ...] | None
) -> Array:
    """(channels, frames, height, width)."""
    return np.stack([frame.arranged(channels, space) for frame in frames], axis=1)


def _shape(
    found: Listing,
    facts: Sequence[Facts],
    options: Options,
    count: int,
    space: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """Of every clip. ValueError: they have several sizes or channels."""
    channels = pictures.common_channels(found, facts, options)
    return (channels, count, *(space or _common(found, facts)))


def _common(found: Listing, facts: Sequence[Facts]) -> tuple[int, ...]:
    """The size of the frames of all clips. ValueError: they have several."""
    first = facts[0].space
    for path, fact in zip(found.files, facts, strict=True):
        if fact.space != first:
            raise FaltungError(
                f"{inside(path, found.root)}: has frames of {_by(fact.space)}, the first clip of "
                f"{_by(first)}; pass size=, e.g. {_by(first)}, to bring all to one size"
            )
    return first


def _by(space: tuple[int, ...]) -> str:
    return "x".join(map(str, space))
