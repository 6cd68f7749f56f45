"""The journal of an array that is written a region at a time: what is finished stays finished.

    labels.zarr/.faltung-regions

Its first line says which task writes the array; each further one is a region that is finished, and
the last that all are. A line is added in one piece, with a checksum, by whatever process wrote the
region: what a killed process left of a line counts as not written, and its region is done again.
"""

import json
import os
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from zlib import crc32

from faltung.formats.files import problem, read_checked, shown, write_whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# A slice of each axis, with whole numbers and steps of 1.
Region = tuple[slice, ...]
# The same as pairs, which can be in a set.
Ends = tuple[tuple[int, int], ...]

NAME = ".faltung-regions"
FORMAT = 1
WHOLE = "whole"
MOST_BYTES = 1 << 30  # of a journal that is read: some 20 million regions
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class Journal:
    """``task``: what writes the array; ``finished``: its regions; ``whole``: there are no more."""

    task: str
    finished: frozenset[Ends]
    whole: bool


def begin(folder: Path, task: str) -> None:
    """A journal without regions."""
    head = json.dumps({"faltung": "regions", "format": FORMAT, "task": task})
    write_whole(folder / NAME, f"{head}\n".encode(), own=True)


def read(folder: Path) -> Journal | None:
    """The journal in a folder; None if there is none. FaltungError: a file of another kind."""
    path = folder / NAME
    if not path.exists() and not path.is_symlink():
        return None
    first, *lines = read_checked(path, MOST_BYTES, own=True).decode("ascii", "replace").split("\n")
    try:
        head = json.loads(first)
        if head["faltung"] != "regions" or head["format"] != FORMAT:
            raise ValueError
        task = str(head["task"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FaltungError(f"{shown(path)}: not the journal of an array; remove it") from None
    words = set(map(_stated, lines)) - {""}
    try:
        finished = frozenset(map(_ends, words - {WHOLE}))
    except ValueError:
        raise FaltungError(f"{shown(path)}: not the journal of an array; remove it") from None
    return Journal(task, finished, WHOLE in words)


def _stated(line: str) -> str:
    """What a line says; "" if it is not whole."""
    text, _, checksum = line.rpartition(" ")
    return text if checksum == _checksum(text) else ""


def mark(folder: Path, region: Region) -> None:
    """This region is finished, and on disk."""
    _add(folder, _words(region))


def mark_whole(folder: Path) -> None:
    """All regions are finished."""
    _add(folder, WHOLE)


def _add(folder: Path, text: str) -> None:
    # A line begins its own: what a killed process left before it must not spoil it.
    line = f"\n{text} {_checksum(text)}\n".encode()
    path = folder / NAME
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | _NO_LINK)
        try:
            os.write(file, line)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise problem(path, error, "not written") from error


def _words(region: Region) -> str:
    return ",".join(f"{part.start}:{part.stop}" for part in region)


def _ends(words: str) -> Ends:
    pairs = [part.split(":") for part in words.split(",")]
    return tuple((int(start), int(stop)) for start, stop in pairs)


def ends(region: Region) -> Ends:
    """The region as pairs."""
    return tuple((part.start, part.stop) for part in region)


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"


# How regions lie on the units of a store ----------------------------------------------------------


def regions_of(chunks: Sequence[Sequence[int]]) -> Iterable[Region]:
    """The regions of an array whose axes are cut into these lengths, in C order."""
    return product(*map(_slices, chunks))


def _slices(lengths: Sequence[int]) -> list[slice]:
    stops = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [slice(stop - n, stop) for n, stop in zip(lengths, stops, strict=True)]


def misfit(chunks: Sequence[Sequence[int]], unit: Sequence[int]) -> str:
    """Why regions cut so do not consist of whole units; "" if they do.

    Two tasks that write parts of one chunk (or shard) of a file each read the whole of it, change
    their part and write it back: what one of them wrote is lost.
    """
    for axis, (lengths, size) in enumerate(zip(chunks, unit, strict=True)):
        for part in _slices(lengths)[:-1]:
            if part.stop % size:
                return f"axis {axis} is cut at {part.stop}, which no chunk of {size} begins with"
    return ""


def is_whole(region: Region, unit: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a region consists of whole units."""
    return all(
        part.start % size == 0 and (part.stop % size == 0 or part.stop == length)
        for part, size, length in zip(region, unit, shape, strict=True)
    )
