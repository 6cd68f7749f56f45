"""Grey morphology with a structuring element that is not flat: a number is added at each place."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.line import Reduction
from faltung.geometry.record import dataclass
from faltung.reference.filters import stored

Array = npt.NDArray[Any]
# Entries that are computed at once: float64 arrays of them stay in a second-level cache.
BLOCK = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class Structured:
    """What is added at each place (subtracted for a minimum), and where the places lie."""

    structure: npt.NDArray[np.float64]
    before: tuple[int, ...]
    borders: tuple[Border, ...]
    reduction: Reduction


def filter_structure(
    x: Array, footprint: npt.NDArray[np.bool_], asked: Structured, out: Array
) -> None:
    """The maximum of entries plus the structure, or the minimum of entries minus it, over the true
    places of the footprint. In float64, in blocks along the first axis.
    """
    sources = [
        np.array(border.sources(range(-lo, n - lo + size - 1), n), np.intp)
        for n, size, lo, border in zip(
            x.shape, footprint.shape, asked.before, asked.borders, strict=True
        )
    ]
    kept = np.dtype(np.uint8) if x.dtype == np.bool_ else x.dtype
    rows = max(1, BLOCK * x.shape[0] // x.size)
    for first in range(0, x.shape[0], rows):
        last = min(first + rows, x.shape[0])
        shape = (last - first, *x.shape[1:])
        best: Array | None = None
        for tap in zip(*(places.tolist() for places in np.nonzero(footprint)), strict=True):
            starts = [k + (first if axis == 0 else 0) for axis, k in enumerate(tap)]
            read = [
                source[start : start + n]
                for source, start, n in zip(sources, starts, shape, strict=True)
            ]
            added = asked.structure[tap] if asked.reduction == "max" else -asked.structure[tap]
            one = _read(x, read, asked.borders) + added
            if best is None:
                best = one
            else:  # SciPy's code keeps every entry but the first in the input's own dtype
                choose = np.maximum if asked.reduction == "max" else np.minimum
                best = choose(best, stored(one, kept))
        assert best is not None
        out[first:last] = stored(best, out.dtype)


def _read(x: Array, places: list[npt.NDArray[np.intp]], borders: tuple[Border, ...]) -> Array:
    """The entries at these places of each axis as float64, the constant where a place is -1."""
    taken = np.asarray(x[np.ix_(*places)], np.float64)
    for axis, (row, border) in enumerate(zip(places, borders, strict=True)):
        outside = row < 0
        if outside.any():
            index: list[Any] = [slice(None)] * x.ndim
            index[axis] = outside
            taken[tuple(index)] = border.value
    return taken
