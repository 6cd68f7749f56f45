"""Arrays of any strides as feature maps or as planes: used where they are, or copied.

A map has contiguous channels, and ``pitch`` elements from position to position; planes have
contiguous positions, and ``pitch`` elements from channel to channel.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from faltung.geometry.record import dataclass
from faltung.methods.base.correlation import Strides, contiguous
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.copies.stage import rearrange


@dataclass(frozen=True, slots=True)
class CallArray:
    """An array of a call, (N, C, *space): the name of its place, and its strides in elements."""

    name: str
    shape: tuple[int, ...]
    strides: Strides
    dtype: str

    def as_map(self, *, compact: bool = False) -> Matrix | None:
        """The array where it is, if that is a map: positions and samples equally far apart.

        compact: without gaps between them.
        """
        (batch, channels, *space), (outer, step, *steps) = self.shape, self.strides
        pitch = _pitch((batch, *space), (outer, *steps), channels)
        if pitch is None or (channels > 1 and step != 1) or (compact and pitch != channels):
            return None
        return Matrix(Operand(self.name), pitch)

    def as_planes(self) -> Matrix | None:
        """The array where it is, if that is planes: channels and samples equally far apart."""
        space = self.shape[2:]
        pitch = _pitch(self.shape[:2], self.strides[:2], prod(space))
        if pitch is None or _pitch(space, self.strides[2:], 1) != 1:
            return None
        return Matrix(Operand(self.name), pitch)

    def read(self, work: Work, *, compact: bool = False) -> Matrix:
        """The array as a map, copied unless it is one."""
        found = self.as_map(compact=compact)
        if found is None:
            found = self._borrowed(work, "staged")
            source, target = self.strides, contiguous(self.shape, True)
            work.steps.append(
                rearrange(
                    *(self.dtype, self.shape, Operand(self.name), source, found.array, target),
                    f"stage {self.name}",
                )
            )
        return found

    def target(self, work: Work, *, compact: bool = False) -> Matrix:
        """The array to write, or a map in its place."""
        return self.as_map(compact=compact) or self._borrowed(work, "result")

    def write(self, work: Work, made: Matrix) -> None:
        """From the map ``made`` to the array that was asked for."""
        out = Operand(self.name)
        if made.array != out:
            source = contiguous(self.shape, True)
            work.steps.append(
                rearrange(
                    *(self.dtype, self.shape, made.array, source, out, self.strides),
                    "write result",
                    barrier=True,
                )
            )

    def _borrowed(self, work: Work, hint: str) -> Matrix:
        size = prod(self.shape) * np.dtype(self.dtype).itemsize
        return Matrix(work.borrow(hint, size), self.shape[1])


def _pitch(sizes: Sequence[int], strides: Sequence[int], single: int) -> int | None:
    """Elements from one to the next, in C order; ``single`` where there is only one; None where
    they are not equally far apart.
    """
    pitch, inner = None, 1
    for size, stride in reversed(list(zip(sizes, strides, strict=True))):
        if size > 1:
            pitch = stride if pitch is None else pitch
            if stride != pitch * inner:
                return None
        inner *= size
    return single if pitch is None else pitch
