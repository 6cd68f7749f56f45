"""Gaussian smoothing and derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

from faltung.ndimage.calls import call

Array = NDArray[Any]
Numbers = float | Sequence[float]
Ints = int | Sequence[int]


def gaussian_filter1d(
    input: ArrayLike,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> Array:
    """Smooth along one axis with a Gaussian, or with one of its derivatives.

    Parameters
    ----------
    input : array_like
        Array of at least one axis.
    sigma : float
        Standard deviation, in entries.
    axis : int
        The axis along which it goes.
    order : int
        Of the derivative; 0 is the Gaussian itself.
    output, mode, cval : see ``faltung.ndimage``
    truncate : float
        Standard deviations at which the Gaussian ends.
    radius : int
        Weights on each side, in place of ``truncate * sigma`` rounded.

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(3).tolist()
    [1.427, 2.068, 3.0, 3.932, 4.573]
    """
    return call(
        "gaussian_filter1d", input, output, sigma, axis, order, mode, cval, truncate, radius
    )


def gaussian_filter(
    input: ArrayLike,
    sigma: Numbers,
    order: Ints = 0,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: Ints | None = None,
    axes: Ints | None = None,
) -> Array:
    """Smooth along all axes with a Gaussian, or with its derivatives.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    sigma : float or sequence of float
        Standard deviation, in entries, one for all axes or one for each; 0 leaves an axis as it is.
    order : int or sequence of int
        Of the derivative along each axis; 0 is the Gaussian itself.
    output, mode, cval, axes : see ``faltung.ndimage``
    truncate : float
        Standard deviations at which the Gaussian ends.
    radius : int or sequence of int
        Weights on each side, in place of ``truncate * sigma`` rounded.

    Returns
    -------
    ndarray
        Of the shape of the input.

    Notes
    -----
    After each axis the numbers are those that an array of the output's dtype holds: whole numbers
    are cut, not rounded. ``output=np.float32`` keeps the fractions.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> x = np.zeros((5, 5), np.float32)
    >>> x[2, 2] = 1
    >>> (1000 * ndimage.gaussian_filter(x, 1.0)[2]).astype(int).tolist()
    [23, 96, 159, 96, 23]
    """
    return call("gaussian_filter", input, output, sigma, order, mode, cval, truncate, radius, axes)


def gaussian_laplace(
    input: ArrayLike,
    sigma: Numbers,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    *,
    axes: Ints | None = None,
    **kwargs: Any,
) -> Array:
    """Sum the second Gaussian derivatives along all axes (Laplacian of Gaussian).

    Parameters
    ----------
    input : array_like
        Array of any rank.
    sigma : float or sequence of float
        Standard deviation, in entries, one for all axes or one for each.
    output, mode, cval, axes : see ``faltung.ndimage``
    **kwargs : float, int
        ``truncate`` and ``radius`` of ``gaussian_filter``.

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> ndimage.gaussian_laplace(np.array([0.0, 0, 1, 0, 0]), 1.0).round(3).tolist()
    [0.197, 0.002, -0.399, 0.002, 0.197]
    """
    rest = tuple(kwargs.items())
    return call("gaussian_laplace", input, output, sigma, mode, cval, axes, rest)


def gaussian_gradient_magnitude(
    input: ArrayLike,
    sigma: Numbers,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    *,
    axes: Ints | None = None,
    **kwargs: Any,
) -> Array:
    """Take the length of the gradient, by first Gaussian derivatives.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    sigma : float or sequence of float
        Standard deviation, in entries, one for all axes or one for each.
    output, mode, cval, axes : see ``faltung.ndimage``
    **kwargs : float, int
        ``truncate`` and ``radius`` of ``gaussian_filter``.

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> ramp = np.add.outer(3.0 * np.arange(9), 4.0 * np.arange(9))
    >>> ndimage.gaussian_gradient_magnitude(ramp, 0.5)[4, 4].round(3).item()
    4.3...
    """
    rest = tuple(kwargs.items())
    return call("gaussian_gradient_magnitude", input, output, sigma, mode, cval, axes, rest)
