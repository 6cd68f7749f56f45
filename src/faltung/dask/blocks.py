"""Blocks of a Dask array with their halos: the tasks that cut what others need, and put it
together.

A block is one array, written once, or a view where it lies in one chunk. Of a chunk beside it, it
gets the frame: strips along its sides, copied once for all blocks that need them, so that the chunk
itself can go, and that other workers are sent no more than that.
"""

from collections.abc import Hashable, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.dask.arrays import chunk
from faltung.dask.halo import runs
from faltung.geometry.border import Border
from faltung.geometry.record import dataclass
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Slices = tuple[slice, ...]
# A frame is cut where it is less than this part of its chunk; otherwise the chunk itself is passed.
MAX_FRAME = 0.5
# What a part is read from: a chunk itself, or one of the strips of its frame.
ITSELF = -1


@dataclass(frozen=True, slots=True)
class Frame:
    """The task that cuts strips out of a chunk: (axis, start, stop) of each."""

    strips: tuple[tuple[int, int, int], ...]

    def __call__(self, value: object) -> tuple[Array, ...]:
        whole = chunk(value)
        return tuple(
            whole[(*(slice(None),) * axis, slice(start, stop))].copy()
            for axis, start, stop in self.strips
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Of a block: from which source, from which strip of it, where it is read and written."""

    source: int
    strip: int
    read: Slices
    to: Slices

    def of(self, sources: Sequence[Any]) -> Array:
        """It, as it is in its source."""
        found = sources[self.source]
        return chunk(found if self.strip == ITSELF else found[self.strip])[self.read]

    @property
    def entries(self) -> int:
        """How many it writes."""
        return prod(part.stop - part.start for part in self.to)


@dataclass(frozen=True, slots=True)
class Gather:
    """Puts a block together; ``filling``: what stands where no part is."""

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    dtype: np.dtype[Any]
    filling: float = 0.0

    def __call__(self, sources: Sequence[object]) -> Array:
        """The block; a view if it lies in one chunk."""
        if len(self.parts) == 1:
            whole = self.parts[0].of(sources)
            if whole.shape == self.shape:
                return whole
        size = prod(self.shape)
        require(size * self.dtype.itemsize, "a chunk with its halo", "make the chunks smaller")
        block = np.empty(self.shape, self.dtype)
        if sum(part.entries for part in self.parts) < size:
            block.fill(self.filling)
        for part in self.parts:
            block[part.to] = part.of(sources)
        return block


@dataclass(slots=True)
class _Wanted:
    """A block whose tasks are not made yet: for each part its chunk, strip, and places."""

    shape: tuple[int, ...]
    filling: float
    cells: list[tuple[tuple[int, ...], tuple[int, int, int] | None, Slices, Slices]]


# What a task does: how its blocks are put together, and the keys of what they are made of.
Made = tuple[list[Gather], list[Hashable]]


class Blocks:
    """Blocks of the Dask array ``x``, and the tasks that make them. ``name``: of their frames."""

    def __init__(self, x: Any, name: str) -> None:
        self._x, self._name = x, name
        self._wanted: dict[Hashable, list[_Wanted]] = {}
        self._strips: dict[tuple[int, ...], dict[tuple[int, int, int], int]] = {}

    def add(
        self, key: Hashable, ranges: Sequence[tuple[int, int]], borders: Sequence[Border]
    ) -> None:
        """One more block of the task ``key``: these positions of each axis."""
        along = [
            runs(*ends, chunks, border)
            for ends, chunks, border in zip(ranges, self._x.chunks, borders, strict=True)
        ]
        # Where blocks lie beyond the ends of one axis alone: all of it is what stands there.
        values = [
            border.value
            for border, (start, stop), chunks in zip(borders, ranges, self._x.chunks, strict=True)
            if border.mode == "constant" and (start < 0 or stop > sum(chunks))
        ]
        shape = tuple([stop - start for start, stop in ranges])
        axes = range(len(along))
        cells = []
        for cell in product(*along):
            index = tuple([run.chunk for run in cell])
            strip = None
            thinnest = min(axes, key=[run.share for run in cell].__getitem__, default=None)
            if thinnest is not None and cell[thinnest].share < MAX_FRAME:
                strip = thinnest, cell[thinnest].start, cell[thinnest].stop
                numbers = self._strips.setdefault(index, {})
                numbers.setdefault(strip, len(numbers))
            read = tuple([run.source for run in cell])
            cells.append((index, strip, read, tuple([run.target for run in cell])))
        made = _Wanted(shape, min(values, key=abs, default=0.0), cells)
        self._wanted.setdefault(key, []).append(made)

    def tasks(self) -> tuple[dict[Hashable, Any], dict[Hashable, Made]]:
        """The tasks of the frames; and for each task its blocks, in the order they were added."""
        large = {
            index
            for index, strips in self._strips.items()
            if sum(
                (stop - start) / self._x.chunks[axis][index[axis]] for axis, start, stop in strips
            )
            >= MAX_FRAME
        }
        frames: dict[Hashable, Any] = {
            (self._name, *index): (Frame(tuple(strips)), (self._x.name, *index))
            for index, strips in self._strips.items()
            if index not in large
        }
        made: dict[Hashable, Made] = {}
        for key, wanted in self._wanted.items():
            numbers: dict[Hashable, int] = {}
            gathers = [self._gather(block, large, numbers) for block in wanted]
            made[key] = gathers, list(numbers)
        return frames, made

    def _gather(
        self, wanted: _Wanted, large: set[tuple[int, ...]], numbers: dict[Hashable, int]
    ) -> Gather:
        """``numbers``: of the sources, by their keys."""
        parts = []
        for index, strip, read, to in wanted.cells:
            name, number = self._x.name, ITSELF
            if strip is not None and index not in large:
                axis, start, _ = strip
                name, number = self._name, self._strips[index][strip]
                read = (*read[:axis], _before(read[axis], start), *read[axis + 1 :])
            source = numbers.setdefault((name, *index), len(numbers))
            parts.append(Part(source, number, read, to))
        return Gather(wanted.shape, tuple(parts), self._x.dtype, wanted.filling)


def _before(read: slice, begin: int) -> slice:
    """The same entries in a strip that begins at ``begin``."""
    stop = None if read.stop is None or read.stop < begin else read.stop - begin
    return slice(read.start - begin, stop, read.step)
