"""What a transform reads beside its data: its length, its twiddles, and where it lies in memory."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.record import dataclass
from faltung.machine.costs import LINE_BYTES
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Table
from faltung.methods.fft.passes import LEAF

# Between the planes of real and imaginary parts: an odd number of cache lines, so that what is used
# together does not fall into one set of the cache.
PLANE_GAP_BYTES = 5 * LINE_BYTES


@dataclass(frozen=True, slots=True)
class Transform:
    """Transforms of ``length`` complex numbers in vectors of ``lanes``; ``plane``: elements from a
    real part to its imaginary part; ``buffer``: from one array of them to the next.
    """

    dtype: str
    lanes: int
    length: int

    @property
    def size(self) -> int:
        """Vectors."""
        return self.length // self.lanes

    @property
    def twice(self) -> bool:
        """Twice a power of four, not one."""
        return self.size.bit_length() % 2 == 0

    @property
    def radix(self) -> int:
        """Of the first pass."""
        return 2 if self.twice else 4

    @property
    def plane(self) -> int:
        return self.length + PLANE_GAP_BYTES // ELEMENTS[self.dtype][1]

    @property
    def buffer(self) -> int:
        return 2 * self.plane

    @property
    def arguments(self) -> dict[str, Argument]:
        """What its kernels are given. ``lane_groups``: groups of ``lanes`` vectors."""
        passes, lanes = twiddles(self)
        return {
            **{"passes": passes, "lanes": lanes, "plane": self.plane, "size": self.size},
            **{"twice": int(self.twice), "lane_groups": self.size // self.lanes},
            **{"buffer": self.buffer},
        }


def shortest(machine: Machine, dtype: str) -> int:
    """The shortest transform that the passes take."""
    lanes = machine.lanes(dtype)
    return lanes * max(LEAF, lanes)


def as_words(values: npt.NDArray[np.float64], dtype: str) -> Table:
    """Numbers of ``dtype`` as a table that a step can hold."""
    flat = values.astype(dtype).ravel()
    per_word = 8 // flat.itemsize
    return np.pad(flat, (0, -flat.size % per_word)).view(np.int64)


@lru_cache(maxsize=16)
def twiddles(t: Transform) -> tuple[Table, Table]:
    """Of the passes, one number for all lanes, in the order in which they are read; of the lanes.

    A pass of four over ``s`` vectors: ``w, w^2, w^3`` for ``w = exp(-2 pi i j / s)``; one of two
    before them: ``w`` alone.
    """
    made, s = [], t.size
    if t.twice:
        made.append(_roots(np.arange(s // 2), s))
        s //= 2
    while s > LEAF:
        made.append(_roots(np.multiply.outer(np.arange(s // 4), [1, 2, 3]), s))
        s //= 4
    passes = np.concatenate([*(m.ravel() for m in made), np.zeros(0)])
    lanes = _roots(np.multiply.outer(_order(t.size), np.arange(t.lanes)), t.length)
    # A vector of real parts, then one of imaginary parts.
    return as_words(passes, t.dtype), as_words(np.moveaxis(lanes, -1, 1), t.dtype)


def _roots(k: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.float64]:
    """``exp(-2 pi i k / n)``; the last axis of the result: real and imaginary part."""
    angle = -2 * np.pi * (k % n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _order(size: int) -> npt.NDArray[np.int64]:
    """The frequency of each vector, as the passes leave them."""
    if size == 1:
        return np.zeros(1, np.int64)
    radix = 2 if size.bit_length() % 2 == 0 else 4
    inner = _order(size // radix)
    return np.concatenate([p + radix * inner for p in range(radix)])
