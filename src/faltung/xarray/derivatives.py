"""Derivatives of ``faltung.ndimage`` by the names of dimensions, for the distance of an entry.

NaN spreads as far as the kernel reaches. A derivative of what is missing in part has no meaning:
smooth over the gaps first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from faltung import ndimage
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.xarray.along import Along, modes, named
from faltung.xarray.fields import Field, each, rebuilt
from faltung.xarray.smooth import Names, Reals, Words
from faltung.xarray.words import by_dim, dimensions

if TYPE_CHECKING:
    import xarray

# Across the derivative.
SOBEL, PREWITT = (1.0, 2.0, 1.0), (1.0, 1.0, 1.0)


def sobel(
    da: Field, axis: Hashable, dim: Names, *, mode: Words = "reflect", cval: float = 0.0
) -> Field:
    """The Sobel filter of ``scipy.ndimage``: a difference along one dimension, smooth across it.

    Parameters
    ----------
    da : DataArray or Dataset
        As for ``gaussian_filter``.
    axis : name
        The dimension of the difference, one of ``dim``.
    dim : name or names
        All dimensions of the kernel; ``scipy.ndimage`` takes all that there are.
    mode : word, or one by dimension
        As for ``gaussian_filter``.
    cval : float
        What stands beyond a border of mode "constant".

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
    >>> depth = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("lat", "lon"))
    >>> faltung.xarray.sobel(depth, "lon", ("lat", "lon")).values[0]
    array([4., 8., 8., 4.])
    """
    return _difference(SOBEL, da, axis, dim, mode, cval)


def prewitt(
    da: Field, axis: Hashable, dim: Names, *, mode: Words = "reflect", cval: float = 0.0
) -> Field:
    """The Prewitt filter of ``scipy.ndimage``: a difference along one dimension, a sum across it.

    Parameters
    ----------
    da, axis, dim, mode, cval
        As for ``sobel``.

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
    >>> depth = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("lat", "lon"))
    >>> faltung.xarray.prewitt(depth, "lon", ("lat", "lon")).values[0]
    array([3., 6., 6., 3.])
    """
    return _difference(PREWITT, da, axis, dim, mode, cval)


def laplace(da: Field, dim: Names, *, mode: Words = "reflect", cval: float = 0.0) -> Field:
    """The Laplace filter of ``scipy.ndimage``: second differences, summed over the dimensions.

    Parameters
    ----------
    da : DataArray or Dataset
        As for ``gaussian_filter``.
    dim : name or names
        Along which differences are taken.
    mode : word, or one by dimension
        As for ``gaussian_filter``.
    cval : float
        What stands beyond a border of mode "constant".

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
    >>> depth = xr.DataArray([1.0, 4.0, 9.0, 16.0], dims="lon")
    >>> faltung.xarray.laplace(depth, "lon").values
    array([ 3.,  2.,  2., -7.])
    """
    dims = named(dim)
    return Along(ndimage.laplace, dims, {"mode": modes(mode, dims)}, {"cval": cval}).of(da)


def gaussian_laplace(
    da: Field,
    sigma: Reals,
    dim: Names = None,
    *,
    mode: Words = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
) -> Field:
    """The Laplacian of the Gaussian, by the names of dimensions.

    As ``scipy.ndimage`` has it, but that every derivative has the border of each dimension.

    Parameters
    ----------
    da, sigma, dim, mode, cval, truncate
        As for ``gaussian_filter``.

    Returns
    -------
    DataArray or Dataset
        Of the same shape, coordinates, names and attributes; float64 of whole numbers.

    Raises
    ------
    TypeError, ValueError, ImportError
        As ``gaussian_filter``.

    Examples
    --------
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray(np.arange(9.0) ** 2, dims="lon")
    >>> round(float(faltung.xarray.gaussian_laplace(depth, {"lon": 0.8})[4]), 3)
    1.995
    """
    return _derivatives(2, da, sigma, dim, mode, cval, truncate, _sum)


def gaussian_gradient_magnitude(
    da: Field,
    sigma: Reals,
    dim: Names = None,
    *,
    mode: Words = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
) -> Field:
    """The length of the gradient from Gaussian derivatives, by the names of dimensions.

    As ``scipy.ndimage`` has it, but that every derivative has the border of each dimension, and
    that nothing is smoothed along dimensions that are not named.

    Parameters
    ----------
    da, sigma, dim, mode, cval, truncate
        As for ``gaussian_filter``.

    Returns
    -------
    DataArray or Dataset
        Of the same shape, coordinates, names and attributes; float64 of whole numbers.

    Raises
    ------
    TypeError, ValueError, ImportError
        As ``gaussian_filter``.

    Examples
    --------
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray(3.0 * np.arange(9), dims="lon")
    >>> round(float(faltung.xarray.gaussian_gradient_magnitude(depth, {"lon": 0.8})[4]), 2)
    3.0
    """
    return _derivatives(1, da, sigma, dim, mode, cval, truncate, _length)


def _derivatives(
    order: int,
    da: Field,
    sigma: Reals,
    dim: Names,
    mode: Words,
    cval: float,
    truncate: float,
    joined: Callable[[list[xarray.Variable]], xarray.Variable],
) -> Field:
    """What ``joined`` makes of the Gaussian derivatives along each of the dimensions. Each has the
    borders of all dimensions; ``scipy.ndimage`` takes for all of them that of the derivative's.
    """
    dims = named(dim, sigma)
    entries = {"sigma": by_dim("sigma", sigma, dims, 0.0), "mode": modes(mode, dims)}
    options = {"cval": cval, "truncate": truncate}

    def filtered(one: xarray.DataArray) -> xarray.DataArray:
        values = one.variable.astype(np.float64) if one.dtype.kind in "biu" else one.variable
        found = []
        for name in (name for name in one.dims if name in dims):
            orders = {dim: order * (dim == name) for dim in dims}
            along = Along(ndimage.gaussian_filter, dims, {**entries, "order": orders}, options)
            found.append(along.run(values))
        return rebuilt(one, joined(found))

    return each(da, dims, filtered)


def _sum(parts: list[xarray.Variable]) -> xarray.Variable:
    return reduce(add, parts)


def _length(parts: list[xarray.Variable]) -> xarray.Variable:
    return reduce(add, [part * part for part in parts]) ** 0.5


def _difference(
    across: tuple[float, ...], da: Field, axis: Hashable, dim: Names, mode: Words, cval: float
) -> Field:
    """As ``scipy.ndimage``: the difference first, then what is across, one axis after the other."""
    dims = dimensions(dim)
    if axis not in dims:
        raise FaltungError(f"axis={show(axis)}: must be one of dim, {', '.join(map(repr, dims))}")
    words = modes(mode, dims)

    def filtered(one: xarray.DataArray) -> xarray.DataArray:
        data = one.data
        for name in (axis, *(name for name in one.dims if name in dims and name != axis)):
            line = (-1.0, 0.0, 1.0) if name == axis else across
            place = one.dims.index(name)
            data = ndimage.correlate1d(data, line, place, mode=words[name], cval=cval)
        return rebuilt(one, type(one.variable)(one.dims, data))

    return each(da, dims, filtered)
