"""Filters where something is missing: the weights of what is there, for so much more.

Normalised convolution: the filtered data, with zeros where nothing is, over the filtered weights of
what is there, times the sum of the kernel. Where nothing is missing, it is the filter itself, but
for rounding. (H. Knutsson, C.-F. Westin, *Normalized and differential convolution*, 1993.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.geometry.check import real, show, truth
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.xarray.centres import Centres
from faltung.xarray.fields import is_lazy, module
from faltung.xarray.words import Dims

if TYPE_CHECKING:
    import xarray

# Shares of weights are sums of rounded numbers: one that should reach a limit may miss it by this.
ROUNDING = {2: 1e-2, 4: 1e-5, 8: 1e-10, 16: 1e-10}


@dataclass(frozen=True, slots=True)
class Missing:
    """What is asked of missing entries: the options of this name."""

    skipna: bool
    weights: Any
    min_weight: float
    preserve_nan: bool

    @property
    def plain(self) -> bool:
        """Whether nothing is asked."""
        return not self.skipna and self.weights is None


def missing(skipna: bool, weights: Any, min_weight: float, preserve_nan: bool) -> Missing:
    """The options, checked."""
    least = real("min_weight", min_weight)
    if not 0 <= least <= 1:
        raise FaltungError(f"min_weight={show(min_weight)}: is a share, from 0 to 1")
    if weights is not None and not isinstance(weights, module().DataArray):
        raise FaltungTypeError(
            f"weights={show(type(weights).__name__)}: must be a DataArray, whose dimensions say "
            "where it belongs"
        )
    found = Missing(truth("skipna", skipna), weights, least, truth("preserve_nan", preserve_nan))
    if found.plain and (least or found.preserve_nan):
        name = "min_weight" if least else "preserve_nan"
        raise FaltungError(f"{name}={show(least or True)}: has a meaning only with skipna=True")
    return found


def positive(name: str, kernel: Any) -> None:
    """Whether the weights of a kernel can be normalised: none negative, none missing. ValueError:
    otherwise.
    """
    array = np.asarray(kernel)
    if array.dtype.kind == "c" or not (np.isfinite(array).all() and (array >= 0).all()):
        raise FaltungError(
            f"{name}: must have no negative, complex or infinite weights with skipna=True or "
            "weights: they are normalised by their sum; fill what is missing first, with fillna"
        )
    if not array.any():
        raise FaltungError(f"{name}: must have a weight other than 0")


def normalised(
    field: xarray.DataArray,
    dims: Dims,
    asked: Missing,
    run: Callable[[xarray.Variable], xarray.Variable],
    sums: Any | None,
    places: Mapping[Any, Centres],
    exists: Callable[[xarray.Variable], xarray.Variable] | None = None,
) -> xarray.Variable:
    """The filter ``run`` of what is there. ``sums``: of the kernel's weights, None for 1;
    ``places``: of the outputs, for ``preserve_nan``; ``exists``: whether any of these bits is in a
    window, for filters whose sum of zeros may be something else.
    """
    values = field.variable
    dtype = values.dtype if values.dtype.kind in "fc" else np.dtype(np.float64)
    real_dtype = np.zeros((), dtype).real.dtype
    there = values.notnull() if asked.skipna and values.dtype.kind in "fc" else None
    if there is None and asked.weights is None:
        return run(values)
    weights = None if asked.weights is None else _weights(field, dims, asked.weights, real_dtype)
    mass: Any = weights if there is None else there.astype(real_dtype)
    filled = values if there is None else values.where(there, 0)
    if weights is not None:
        mass = weights if there is None else mass * weights
        filled = (filled * weights).astype(dtype)
    weight = run(mass)
    tests = [] if exists is None else [exists(mass > 0)]
    if asked.min_weight:
        whole = run(weights) if weights is not None else 1.0 if sums is None else sums
        share = asked.min_weight - ROUNDING[real_dtype.itemsize]
        tests.append(weight >= share * whole)
    if asked.preserve_nan and there is not None:
        tests.append(_middle(there, places))
    if tests or is_lazy(weight):  # Dask would warn of divisions when it makes them
        weight = weight.where(reduce(and_, tests, weight > 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = run(filled) / weight  # where nothing is, 0 / 0
    return (mean if sums is None else mean * sums).astype(dtype, copy=False)


def _weights(
    field: xarray.DataArray, dims: Dims, weights: xarray.DataArray, dtype: Any
) -> xarray.Variable:
    """The weights along all dimensions of the filter. ValueError: they do not fit the field."""
    absent = [name for name in weights.dims if name not in field.dims]
    if absent:
        raise FaltungError(f"weights.dims={show(weights.dims)}: da has no dimension {absent[0]!r}")
    try:
        module().align(field, weights, join="exact", copy=False)
    except ValueError:
        raise FaltungError(
            "weights: must have the coordinates of da; take them from there, as in "
            "np.cos(np.deg2rad(da.lat))"
        ) from None
    if weights.dtype.kind not in "biuf":
        raise FaltungTypeError(f"weights.dtype={weights.dtype}: must be real numbers")
    if not is_lazy(weights) and not (np.isfinite(weights.values).all() and (weights >= 0).all()):
        raise FaltungError("weights: must be finite and at least 0; an entry of no weight has 0")
    names = [name for name in field.dims if name in dims or name in weights.dims]
    sizes = {name: field.sizes[name] for name in names}
    return weights.variable.astype(dtype).set_dims(sizes)


def _middle(there: xarray.Variable, places: Mapping[Any, Centres]) -> xarray.Variable:
    """Whether the entry in the middle of each window is there."""
    for dim, place in places.items():
        entries = place.entries
        if entries is None:
            raise FaltungError(
                f"preserve_nan=True: along {dim!r} the middle of a window is between two entries, "
                "or beyond the ends; take an odd kernel, with padding='same'"
            )
        there = there.isel({dim: entries})
    return there
