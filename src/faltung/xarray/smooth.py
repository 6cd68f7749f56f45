"""Means and correlations of ``faltung.ndimage`` by the names of dimensions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from faltung import ndimage
from faltung.geometry.errors import FaltungError
from faltung.xarray.along import Along, modes, named, window
from faltung.xarray.fields import Field
from faltung.xarray.missing import missing
from faltung.xarray.words import by_dim

if TYPE_CHECKING:
    import xarray

Names = Hashable | Iterable[Hashable] | None
Words = str | Sequence[str] | Mapping[Any, str]
Reals = float | Sequence[float] | Mapping[Any, float]
Whole = int | Sequence[int] | Mapping[Any, int]


def gaussian_filter(
    da: Field,
    sigma: Reals,
    dim: Names = None,
    *,
    order: Whole = 0,
    mode: Words = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    radius: Whole | None = None,
    skipna: bool = False,
    weights: xarray.DataArray | None = None,
    min_weight: float = 0.0,
    preserve_nan: bool = False,
) -> Field:
    """The Gaussian filter of ``scipy.ndimage``, by the names of dimensions.

    Parameters
    ----------
    da : DataArray or Dataset
        Of a Dataset, each variable that has all the dimensions; the others are carried on. With
        Dask arrays the result is lazy.
    sigma : float, or one by dimension
        Standard deviations in entries of ``da``, not in units of its coordinates.
    dim : name or names, optional
        None: the dimensions that ``sigma`` names.
    order : int, or one by dimension
        Of derivatives: 0 is the filter itself.
    mode : word, or one by dimension
        SciPy's words, or "symmetric", "replicate", "circular" and "zeros". "reflect" has SciPy's
        meaning: the edge is repeated. What a dictionary leaves out is "reflect".
    cval : float
        What stands beyond a border of mode "constant".
    truncate : float
        The kernel ends after so many standard deviations.
    radius : int, or one by dimension, optional
        The kernel ends after so many entries; then ``truncate`` is of no account.
    skipna, weights, min_weight, preserve_nan
        As for ``faltung.xarray.conv``. Nothing is there beyond a border of mode "constant".

    Returns
    -------
    DataArray or Dataset
        Of the same dtype, shape, coordinates, names and attributes.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.
    ImportError
        xarray is not installed.

    Examples
    --------
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([[1.0, 2.0, np.nan, 8.0]], dims=("lat", "lon"))
    >>> found = faltung.xarray.gaussian_filter(
    ...     depth, {"lon": 0.5}, mode={"lon": "wrap"}, skipna=True, preserve_nan=True
    ... )
    >>> found.values.round(2)
    array([[1.85, 1.88,  nan, 7.16]])
    """
    dims = named(dim, sigma, order, radius)
    asked = missing(skipna, weights, min_weight, preserve_nan)
    widths, orders = by_dim("sigma", sigma, dims, 0.0), by_dim("order", order, dims, 0)
    if not asked.plain and any(orders.values()):
        raise FaltungError("order: a derivative has no mean of what is there; smooth it first")
    entries = {"sigma": widths, "order": orders, "mode": modes(mode, dims)}
    if radius is not None:
        entries["radius"] = by_dim("radius", radius, dims, None)
    options = {"cval": _outside(asked, cval), "truncate": truncate}
    return Along(ndimage.gaussian_filter, dims, entries, options).over_what_is_there(da, asked)


def uniform_filter(
    da: Field,
    size: Whole,
    dim: Names = None,
    *,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
    skipna: bool = False,
    weights: xarray.DataArray | None = None,
    min_weight: float = 0.0,
    preserve_nan: bool = False,
) -> Field:
    """The running mean of ``scipy.ndimage``, by the names of dimensions.

    Parameters
    ----------
    da : DataArray or Dataset
        As for ``gaussian_filter``.
    size : int, or one by dimension
        Entries of the window; the cost does not depend on it.
    dim : name or names, optional
        None: the dimensions that ``size`` names.
    mode : word, or one by dimension
        As for ``gaussian_filter``.
    cval : float
        What stands beyond a border of mode "constant".
    origin : int, or one by dimension
        How far the window is moved: a positive number towards smaller positions.
    skipna, weights, min_weight, preserve_nan
        As for ``faltung.xarray.conv``. Nothing is there beyond a border of mode "constant".

    Returns
    -------
    DataArray or Dataset
        Of the same dtype, shape, coordinates, names and attributes.

    Raises
    ------
    TypeError, ValueError, ImportError
        As ``gaussian_filter``.

    Examples
    --------
    >>> import xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3.0, 6.0, 9.0, 0.0], dims="lon")
    >>> faltung.xarray.uniform_filter(depth, {"lon": 3}, mode="wrap").values
    array([3., 6., 5., 4.])
    """
    dims = named(dim, size, origin)
    asked = missing(skipna, weights, min_weight, preserve_nan)
    sizes, origins = by_dim("size", size, dims, 1), by_dim("origin", origin, dims, 0)
    entries = {"size": sizes, "mode": modes(mode, dims), "origin": origins}
    along = Along(ndimage.uniform_filter, dims, entries, {"cval": _outside(asked, cval)})
    # A running sum of weights that have left the window may not be 0; maxima of bits are exact.
    largest = Along(ndimage.maximum_filter, dims, entries)
    return along.over_what_is_there(da, asked, lambda there: largest.run(there.astype("uint8")) > 0)


def correlate(
    da: Field,
    weights: Any,
    dim: Names = None,
    *,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
) -> Field:
    """The correlation of ``scipy.ndimage``, by the names of dimensions.

    ``faltung.xarray.conv`` has strides, dilation, banks of kernels and ``skipna``; this has SciPy's
    dtypes, borders of any width, and constants other than 0 beyond them.

    Parameters
    ----------
    da : DataArray or Dataset
        As for ``gaussian_filter``.
    weights : array_like or DataArray
        With an axis for each of ``dim``, in this order unless it has names.
    dim : name or names, optional
        None: the dimensions of ``weights``.
    mode : word, or one by dimension
        As for ``gaussian_filter``.
    cval : float
        What stands beyond a border of mode "constant".
    origin : int, or one by dimension
        How far the kernel is moved: a positive number towards smaller positions.

    Returns
    -------
    DataArray or Dataset
        Of the same dtype, shape, coordinates, names and attributes.

    Raises
    ------
    TypeError, ValueError, ImportError
        As ``gaussian_filter``.

    Examples
    --------
    >>> import xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3, 6, 9, 0], dims="lon")
    >>> faltung.xarray.correlate(depth, [1, 0, -1], "lon", mode="wrap").values
    array([-6, -6,  6,  6])
    """
    return _weighted(ndimage.correlate, da, weights, dim, mode, cval, origin)


def convolve(
    da: Field,
    weights: Any,
    dim: Names = None,
    *,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
) -> Field:
    """The convolution of ``scipy.ndimage``, by the names of dimensions.

    Parameters
    ----------
    da, weights, dim, mode, cval, origin
        As for ``correlate``.

    Returns
    -------
    DataArray or Dataset
        Of the same dtype, shape, coordinates, names and attributes.

    Raises
    ------
    TypeError, ValueError, ImportError
        As ``gaussian_filter``.

    Examples
    --------
    >>> import xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3, 6, 9, 0], dims="lon")
    >>> faltung.xarray.convolve(depth, [1, 0, -1], "lon", mode="wrap").values
    array([ 6,  6, -6, -6])
    """
    return _weighted(ndimage.convolve, da, weights, dim, mode, cval, origin)


def _weighted(
    function: Any, da: Field, weights: Any, dim: Names, mode: Words, cval: float, origin: Whole
) -> Field:
    dims = named(dim, weights, origin)
    entries = {"mode": modes(mode, dims), "origin": by_dim("origin", origin, dims, 0)}
    arrays = {"weights": window("weights", weights, dims)}
    return Along(function, dims, entries, {"cval": cval}, arrays).of(da)


def _outside(asked: Any, cval: float) -> float:
    """What stands beyond a constant border: nothing, where what is missing is skipped."""
    if not asked.plain and cval != 0:
        raise FaltungError(
            f"cval={cval!r}: nothing is there beyond the border with skipna=True or weights; leave "
            "it out"
        )
    return cval
