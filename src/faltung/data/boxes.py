"""Samples of any size that are read a box at a time, wherever they are stored: Zarr, memory maps,
and whatever else has a shape, a dtype and slices.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import isnan, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.layout import Layout
from faltung.data.native import native
from faltung.data.units import Units, is_whole
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.part import Span
from faltung.geometry.record import dataclass
from faltung.runtime.memory import available

Array = npt.NDArray[Any]

# Packages whose arrays are never read as a whole.
ELSEWHERE = ("zarr", "dask", "h5py", "tensorstore", "netCDF4")
# The part of the memory that is left which an array of another package must need to be read box by
# box instead of being made an array of NumPy.
LARGE_PART = 4
# Bytes of the boxes in which numbers are looked at.
LOOK_BYTES = 1 << 26


def is_stored_elsewhere(x: object) -> bool:
    """Whether an argument is no array of NumPy, nor anything small that becomes one."""
    if isinstance(x, np.ndarray | np.generic | list | tuple | int | float):
        return False
    if type(x).__module__.partition(".")[0] in ELSEWHERE:
        return hasattr(x, "shape") and hasattr(x, "dtype")
    if not all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    if not any(hasattr(x, name) for name in ("__array__", "__array_interface__", "__buffer__")):
        return True  # NumPy does not know how to read it
    try:
        size = prod(x.shape) * np.dtype(x.dtype).itemsize  # type: ignore[attr-defined]
    except TypeError:
        return False
    free = available()
    return free is not None and size > free // LARGE_PART


def arranged(
    shape: Sequence[int], sample: Sequence[int], layout: Layout
) -> tuple[bool, int | None] | None:
    """Whether an array of this shape is a single sample, without an axis of samples, and which of
    its axes has the channels (None: none has), where samples may have other sizes than ``sample``
    (C, *space). As for arrays of the size itself, where several fit. None: none fits.
    """
    channels, rank, axes = sample[0], len(sample) - 1, len(shape)
    if not rank:
        return None
    ends = {"first": 0, "last": rank}
    order = [layout, "last" if layout == "first" else "first"]
    for end in order:
        at = ends[end]
        if axes == rank + 2 and shape[at + 1] == channels:
            return False, at + 1
        if axes == rank + 1 and shape[at] == channels:
            return True, at
    if channels == 1 and axes in (rank, rank + 1):
        return axes == rank, None
    return None


@dataclass(frozen=True)
class Boxes:
    """Samples (n, C, *space) of one size. single: there is no axis of samples. channel: which axis
    of the source has the channels; None: none.
    """

    source: Any
    single: bool
    channel: int | None

    @staticmethod
    def of(x: Any, sample: Sequence[int], layout: Layout) -> "Boxes":
        """ValueError, TypeError: not such samples, or no real numbers."""
        shape = tuple(x.shape)
        if any(isinstance(n, float) and isnan(n) for n in shape):
            raise FaltungError(
                f"x.shape={shape}: must be known; x.compute_chunk_sizes() finds it out"
            )
        found = arranged(shape, sample, layout)
        if found is None:
            axes = ", ".join(f"size{i + 1}" for i in range(len(sample) - 1))
            raise FaltungError(f"x.shape={shape}: must be (n, {sample[0]}, {axes})")
        if min(shape) < 1:
            raise FaltungError(f"x.shape={shape}: must have no axis of 0 entries")
        try:
            dtype = np.dtype(x.dtype)
        except TypeError:
            raise FaltungTypeError(f"x.dtype={show(x.dtype)}: must be real numbers") from None
        if dtype.kind not in "buif":
            raise FaltungTypeError(f"x.dtype={dtype}: must be real numbers")
        return Boxes(x, *found)

    @property
    def count(self) -> int:
        """How many samples there are."""
        return 1 if self.single else int(self.source.shape[0])

    @property
    def along(self) -> tuple[int, ...]:
        """The axes of the source that are space."""
        axes = range(0 if self.single else 1, len(self.source.shape))
        return tuple(axis for axis in axes if axis != self.channel)

    @property
    def space(self) -> tuple[int, ...]:
        return tuple(int(self.source.shape[axis]) for axis in self.along)

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self.source.dtype)
        return found

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Of the source along its space, where it has such that are alike."""
        found = getattr(self.source, "chunks", None)
        if not found or not all(isinstance(n, int) for n in found):
            return None
        return tuple(found[axis] for axis in self.along)

    def sliced(self, sample: int, box: Sequence[Span]) -> Any:
        """A box of a sample as the source gives it, channels first."""
        index: list[Any] = [slice(None)] * len(self.source.shape)
        if not self.single:
            index[0] = sample
        for axis, span in zip(self.along, box, strict=True):
            index[axis] = slice(*span)
        part = self.source[tuple(index)]
        if self.channel is None:
            return part[np.newaxis]
        at = self.channel - (not self.single)
        return np.moveaxis(part, at, 0) if at else part

    def read(self, sample: int, box: Sequence[Span]) -> Array:
        """A box of a sample, (C, *sizes). ValueError: the source gives something else."""
        part = native(np.asarray(self.sliced(sample, box)))
        sizes = tuple(stop - first for first, stop in box)
        if part.shape[1:] != sizes or part.dtype != self.dtype.newbyteorder("="):
            raise FaltungError(
                f"x: gives {part.dtype} of shape {part.shape} where it claims {self.dtype} of "
                f"sizes {sizes}"
            )
        return part

    def parts(self) -> Iterator[Array]:
        """All numbers, box by box; boxes are whole chunks."""
        space, chunks = self.space, self.chunks or (1,) * len(self.space)
        width = self.dtype.itemsize * prod(self.source.shape) // (prod(space) * self.count)
        most = max(1, LOOK_BYTES // max(1, width))
        steps = list(space)
        for axis, (size, chunk) in enumerate(zip(space, chunks, strict=True)):
            rest = prod(steps) // steps[axis]
            steps[axis] = min(size, max(1, most // rest // chunk) * chunk)
        spans = [
            [(a, min(a + step, size)) for a in range(0, size, step)]
            for size, step in zip(space, steps, strict=True)
        ]
        for sample in range(self.count):
            for box in product(*spans):
                yield self.read(sample, box)

    def undecided(self, units: Units) -> bool:
        """Whether it follows from the numbers, not from their dtype alone, what they mean."""
        if not units.looks(self.dtype):
            return False
        white = units.white or 0
        # Neither brighter than white, nor fractions.
        known = self.dtype.kind == "u" and np.iinfo(self.dtype).max <= white
        return not (known and white > 1)

    def seen(self, units: Units | None) -> Units | None:
        """What the numbers say of their units, as ``Units.seen`` of an array says it. Numbers are
        looked at only where their dtype leaves it open.
        """
        if units is None or not self.undecided(units):
            return None
        ends = [(part.min(), part.max()) for part in self.parts()]
        lows, highs = zip(*ends, strict=True)
        low, high = float(np.min(lows)), float(np.max(highs))
        whole = lambda: all(map(is_whole, self.parts()))  # noqa: E731
        return units.seen_between(self.dtype, low, high, whole)
