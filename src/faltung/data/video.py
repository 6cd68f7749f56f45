"""Frames of a video, by PyAV: evenly spaced over its length, turned as the camera was.

Which demuxers may open a file is said by name: FFmpeg has others that read what a file names (play
lists, lists of parts), from anywhere. What a file claims is checked before frames are decoded.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.folder import Broken
from faltung.data.limits import described, regular
from faltung.data.pillow import EightBits, check_pixels, pillow

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ogv", ".3gp")
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,ogg"
# More frames than any clip has: eight hours at 60 a second.
MAX_FRAMES = 1 << 21
INSTALL = 'needs PyAV: pip install "faltung[video]"'


def is_video(path: Path) -> bool:
    """Whether a file is a video by its name."""
    return path.suffix.lower() in SUFFIXES


def evenly(length: int, count: int) -> list[int]:
    """``count`` places in ``length``, each in the middle of an equal part; they repeat where there
    are too few.

    >>> evenly(10, 5), evenly(2, 4)
    ([1, 3, 5, 7, 9], [0, 0, 1, 1])
    """
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def load(path: Path, where: str, count: int) -> list[EightBits]:
    """So many frames of a video, in colour. Broken: it cannot be read. ValueError: a bomb."""
    try:
        import av
    except ImportError:
        raise Broken(f"is a video, which {INSTALL}") from None
    regular(path, where)
    try:
        with (
            path.open("rb") as file,
            av.open(file, "r", container_options={"format_whitelist": DEMUXERS}) as container,
        ):
            return _frames(container, where, count)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        if type(error).__module__.startswith("faltung"):
            raise
        raise Broken(f"cannot be read as a video, {described(error)}") from error


def _frames(container: Any, where: str, count: int) -> list[EightBits]:
    if not container.streams.video:
        raise Broken("has no pictures in it, only sound or text")
    stream = container.streams.video[0]
    check_pixels((stream.codec_context.height, stream.codec_context.width), where)
    length = 0  # counted, as headers may not say it, or say something else
    for packet in container.demux(stream):
        length += packet.size > 0
        if length > MAX_FRAMES:
            raise Broken(f"has more than {MAX_FRAMES:,} frames")
    if not length:
        raise Broken("has no frames")
    container.seek(0)
    wanted = evenly(length, count)
    found = dict(_decoded(container, stream, where, set(wanted)))
    if not found:
        raise Broken("has no frames that can be decoded")
    # Decoders drop a frame here and there: then the one before it is taken.
    numbers = sorted(found)
    return [found[max((n for n in numbers if n <= i), default=numbers[0])] for i in wanted]


def _decoded(
    container: Any, stream: Any, where: str, wanted: set[int]
) -> Iterator[tuple[int, EightBits]]:
    """The frames of these numbers, in the order in which they are shown."""
    last = max(wanted)
    for number, frame in enumerate(container.decode(stream)):
        if number in wanted:
            check_pixels((frame.height, frame.width), where)
            values = frame.to_ndarray(format="rgb24")
            turns = round(getattr(frame, "rotation", 0) / 90) % 4
            yield number, as_picture(np.rot90(values, turns))
        if number >= last:
            return


def as_picture(values: npt.NDArray[np.uint8]) -> EightBits:
    """(height, width, 3) as a picture."""
    return EightBits(pillow().fromarray(np.ascontiguousarray(values)), False)
