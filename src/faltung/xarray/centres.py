"""Where along a dimension the outputs of a filter lie, and the coordinates there.

The place of an output is the middle of the window that it reads. Where that is an entry of the
array, the output has the coordinates of this entry. The middle of an even number of entries is
half-way between two, and so are its coordinates; beyond the ends they go on as the last two do.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.geometry.axis import Axis
from faltung.geometry.record import dataclass

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, slots=True)
class Centres:
    """Places ``(first + 2 step i) / 2`` for ``i`` below ``count``, of an axis of ``size``.

    In halves, so that they are whole numbers.
    """

    first: int
    step: int
    count: int
    size: int

    @property
    def same(self) -> bool:
        """Whether every entry has its output."""
        return (self.first, self.step, self.count) == (0, 1, self.size)

    @property
    def entries(self) -> slice | None:
        """The entries in the middle; None where these are between entries, or beyond the ends."""
        last = self.first + 2 * self.step * (self.count - 1)
        if self.first % 2 or self.first < 0 or last >= 2 * self.size:
            return None
        return slice(self.first // 2, last // 2 + 1, self.step)

    @property
    def halves(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """All places, in halves."""
        return self.first + 2 * self.step * np.arange(self.count)


def centres(axis: Axis) -> Centres:
    """Of the outputs along an axis.

    >>> centres(Axis(size=8, kernel=3, stride=2, lo=1, hi=1)).entries
    slice(0, 7, 2)
    """
    return Centres(axis.extent - 1 - 2 * axis.lo, axis.stride, axis.output, axis.size)


def moved(carried: xarray.Dataset, places: Mapping[Any, Centres]) -> xarray.Dataset:
    """Variables and coordinates at these places; what has no value there is left out."""
    for dim, place in places.items():
        if dim not in carried.sizes or place.same:
            continue
        entries = place.entries
        carried = _between(carried, dim, place) if entries is None else carried.isel({dim: entries})
    return carried


def _between(carried: xarray.Dataset, dim: Hashable, place: Centres) -> xarray.Dataset:
    """Half-way between entries, or beyond the ends."""
    having = [name for name, one in carried.variables.items() if dim in one.dims]
    found = {name: _value(carried.variables[name], dim, place) for name in having}
    there = {name: one for name, one in found.items() if one is not None}
    data = {name: one for name, one in there.items() if name in carried.data_vars}
    left = carried.drop_vars(having).assign(data)
    return left.assign_coords({name: one for name, one in there.items() if name not in data})


def _value(one: xarray.Variable, dim: Hashable, place: Centres) -> xarray.Variable | None:
    """None for words, objects and all else that has nothing between, and for a single entry."""
    if place.size < 2 or one.dtype.kind not in "biufcmM":
        return None
    base = one.to_base_variable()
    if base.dtype.kind in "biu":
        base = base.astype(np.float64)
    low = np.clip(place.halves // 2, 0, place.size - 2)
    left, right = (base.isel({dim: low + i}) for i in (0, 1))
    halves = type(base)((dim,), place.halves - 2 * low)
    if base.dtype.kind in "mM":
        made = left + (right - left) * halves // 2
    else:
        made = left + (right - left) * halves.astype(base.dtype) / 2
    made.attrs = dict(one.attrs)
    return made
