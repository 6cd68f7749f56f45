"""Flat maxima and minima of ``faltung.ndimage`` by the names of dimensions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung import ndimage
from faltung.geometry.check import truth
from faltung.geometry.errors import FaltungError
from faltung.xarray.along import Along, modes, named, window
from faltung.xarray.fields import Field, each, rebuilt
from faltung.xarray.smooth import Names, Whole, Words
from faltung.xarray.words import by_dim

if TYPE_CHECKING:
    import xarray


def maximum_filter(
    da: Field,
    size: Whole | None = None,
    dim: Names = None,
    *,
    footprint: Any = None,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
    skipna: bool = False,
) -> Field:
    """The largest entry in a window, as in ``scipy.ndimage``.

    Parameters
    ----------
    da : DataArray or Dataset
        As for ``gaussian_filter``.
    size : int, or one by dimension, optional
        Entries of the window.
    dim : name or names, optional
        None: the dimensions that ``size`` or ``footprint`` names.
    footprint : array_like or DataArray of bool, optional
        Which entries of the window count, in the place of ``size``: with an axis for each of
        ``dim``, in this order unless it has names.
    mode : word, or one by dimension
        As for ``gaussian_filter``.
    cval : float
        What stands beyond a border of mode "constant".
    origin : int, or one by dimension
        How far the window is moved: a positive number towards smaller positions.
    skipna : bool
        The largest or smallest of what is there; NaN where nothing is. Otherwise NaN compares as
        in ``scipy.ndimage``, where the result depends on the order.

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
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3.0, np.nan, 9.0, 0.0], dims="lon")
    >>> faltung.xarray.maximum_filter(depth, {"lon": 2}, mode="wrap", skipna=True).values
    array([3., 3., 9., 9.])
    """
    return _extreme(
        ndimage.maximum_filter, -np.inf, da, size, dim, footprint, mode, cval, origin, skipna
    )


def minimum_filter(
    da: Field,
    size: Whole | None = None,
    dim: Names = None,
    *,
    footprint: Any = None,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
    skipna: bool = False,
) -> Field:
    """The smallest entry in a window, as in ``scipy.ndimage``.

    Parameters
    ----------
    da, size, dim, footprint, mode, cval, origin, skipna
        As for ``maximum_filter``.

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
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3.0, np.nan, 9.0, 0.0], dims="lon")
    >>> faltung.xarray.minimum_filter(depth, {"lon": 2}, mode="wrap", skipna=True).values
    array([0., 3., 9., 0.])
    """
    return _extreme(
        ndimage.minimum_filter, np.inf, da, size, dim, footprint, mode, cval, origin, skipna
    )


def grey_dilation(
    da: Field,
    size: Whole | None = None,
    dim: Names = None,
    *,
    footprint: Any = None,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
    skipna: bool = False,
) -> Field:
    """The flat dilation of ``scipy.ndimage``: maxima in the reflected window.

    Parameters
    ----------
    da, size, dim, footprint, mode, cval, origin, skipna
        As for ``maximum_filter``.

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
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3.0, np.nan, 9.0, 0.0], dims="lon")
    >>> faltung.xarray.grey_dilation(depth, {"lon": 2}, mode="wrap", skipna=True).values
    array([3., 9., 9., 3.])
    """
    return _extreme(
        ndimage.grey_dilation, -np.inf, da, size, dim, footprint, mode, cval, origin, skipna
    )


def grey_erosion(
    da: Field,
    size: Whole | None = None,
    dim: Names = None,
    *,
    footprint: Any = None,
    mode: Words = "reflect",
    cval: float = 0.0,
    origin: Whole = 0,
    skipna: bool = False,
) -> Field:
    """The flat erosion of ``scipy.ndimage``: minima in a window.

    Parameters
    ----------
    da, size, dim, footprint, mode, cval, origin, skipna
        As for ``maximum_filter``.

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
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([3.0, np.nan, 9.0, 0.0], dims="lon")
    >>> faltung.xarray.grey_erosion(depth, {"lon": 2}, mode="wrap", skipna=True).values
    array([0., 3., 9., 0.])
    """
    return _extreme(
        ndimage.grey_erosion, np.inf, da, size, dim, footprint, mode, cval, origin, skipna
    )


def _extreme(
    function: Any,
    empty: float,
    da: Field,
    size: Whole | None,
    dim: Names,
    footprint: Any,
    mode: Words,
    cval: float,
    origin: Whole,
    skipna: bool,
) -> Field:
    """``empty``: what stands where nothing is, which is no extreme."""
    dims = named(dim, size, footprint, origin)
    entries: dict[str, Any] = {
        "mode": modes(mode, dims),
        "origin": by_dim("origin", origin, dims, 0),
    }
    arrays = {}
    if (size is None) == (footprint is None):
        raise FaltungError("size: give either size or footprint")
    if footprint is None:
        entries["size"] = by_dim("size", size, dims, 1)
    else:
        arrays["footprint"] = window("footprint", footprint, dims).astype(bool)
    along = Along(function, dims, entries, {"cval": cval}, arrays)
    if not truth("skipna", skipna):
        return along.of(da)
    if cval != 0:
        raise FaltungError(
            f"cval={cval!r}: nothing is there beyond the border with skipna=True; leave it out"
        )

    def filtered(one: xarray.DataArray) -> xarray.DataArray:
        if one.dtype.kind != "f":
            return along.of(one)
        there = one.variable.notnull()
        filled = one.variable.where(there, empty)
        bits = (there if empty < 0 else ~there).astype("uint8")
        extreme = replace(along, all={"cval": empty}).run(filled)
        found = replace(along, all={"cval": int(empty > 0)}).run(bits) == int(empty < 0)
        return rebuilt(one, extreme.where(found))

    return each(da, dims, filtered)
