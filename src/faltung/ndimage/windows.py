"""Means, maxima and minima of windows; dilation and erosion."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

from faltung.ndimage.calls import call

Array = NDArray[Any]
Modes = str | Sequence[str]
Ints = int | Sequence[int]


def uniform_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> Array:
    """Take the mean of a window along one axis.

    Parameters
    ----------
    input : array_like
        Array of at least one axis.
    size : int
        Entries of the window.
    axis : int
        The axis along which it goes.
    output, mode, cval, origin : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3).tolist()
    [4, 3, 4, 1, 4, 6, 6, 3]
    """
    return call("uniform_filter1d", input, output, size, axis, mode, cval, origin)


def uniform_filter(
    input: ArrayLike,
    size: Ints = 3,
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
    origin: Ints = 0,
    *,
    axes: Ints | None = None,
) -> Array:
    """Take the mean of a window along all axes, at the same cost for every size.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    size : int or sequence of int
        Entries of the window, one for all axes or one for each.
    output, mode, cval, origin, axes : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> ndimage.uniform_filter(np.array([[0.0, 0, 0], [0, 9, 0], [0, 0, 0]]), 3)[1].tolist()
    [1.0, 1.0, 1.0]
    """
    return call("uniform_filter", input, output, size, mode, cval, origin, axes)


def maximum_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Array:
    """Take the maximum of a window along one axis.

    Parameters
    ----------
    input : array_like
        Array of at least one axis, of real numbers.
    size : int
        Entries of the window.
    axis : int
        The axis along which it goes.
    output, mode, cval, origin : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.maximum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3).tolist()
    [8, 8, 8, 4, 9, 9, 9, 9]
    """
    return call("maximum_filter1d", input, output, size, axis, mode, cval, origin)


def minimum_filter1d(
    input: ArrayLike,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
) -> Array:
    """Take the minimum of a window along one axis.

    Parameters
    ----------
    input : array_like
        Array of at least one axis, of real numbers.
    size : int
        Entries of the window.
    axis : int
        The axis along which it goes.
    output, mode, cval, origin : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.minimum_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3).tolist()
    [2, 0, 0, 0, 1, 1, 0, 0]
    """
    return call("minimum_filter1d", input, output, size, axis, mode, cval, origin)


def maximum_filter(
    input: ArrayLike,
    size: Ints | None = None,
    footprint: ArrayLike | None = None,
    output: Any = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Ints = 0,
    *,
    axes: Ints | None = None,
) -> Array:
    """Take the maximum of a window or of a footprint.

    Parameters
    ----------
    input : array_like
        Array of any rank, of real numbers.
    size : int or sequence of int
        Entries of the window, one for all axes or one for each.
    footprint : array_like
        True where an entry is looked at, with an axis for each that is filtered; in place of a
        size.
    output, mode, cval, origin, axes : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Notes
    -----
    NaN where a window has one, as ``np.maximum`` says; SciPy's answer depends on their order.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> x = np.array([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    >>> ndimage.maximum_filter(x, footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]]).tolist()
    [[0, 9, 0], [9, 9, 9], [0, 9, 0]]
    """
    _one_of_both(size, footprint)
    return call("maximum_filter", input, output, size, footprint, mode, cval, origin, axes)


def minimum_filter(
    input: ArrayLike,
    size: Ints | None = None,
    footprint: ArrayLike | None = None,
    output: Any = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Ints = 0,
    *,
    axes: Ints | None = None,
) -> Array:
    """Take the minimum of a window or of a footprint.

    Parameters
    ----------
    input : array_like
        Array of any rank, of real numbers.
    size, footprint : as in ``maximum_filter``
        The window.
    output, mode, cval, origin, axes : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.minimum_filter([4, 3, 5, 1, 6], 3).tolist()
    [3, 3, 1, 1, 1]
    """
    _one_of_both(size, footprint)
    return call("minimum_filter", input, output, size, footprint, mode, cval, origin, axes)


def grey_dilation(
    input: ArrayLike,
    size: Ints | None = None,
    footprint: ArrayLike | None = None,
    structure: ArrayLike | None = None,
    output: Any = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Ints = 0,
    *,
    axes: Ints | None = None,
) -> Array:
    """Dilate: the maximum of a window that is reflected at its origin.

    Parameters
    ----------
    input : array_like
        Array of any rank, of real numbers.
    size, footprint : as in ``maximum_filter``
        The window.
    structure : array_like
        Numbers that are added before the maximum is taken. This is no faster than SciPy's; a flat
        one (a size or a footprint) is.
    output, mode, cval, origin, axes : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.grey_dilation([0, 0, 7, 0, 0], footprint=[1, 1, 0]).tolist()
    [0, 7, 7, 0, 0]
    """
    _one_of_both(size, footprint)
    given = size, footprint, structure
    return call("grey_dilation", input, output, *given, mode, cval, origin, axes)


def grey_erosion(
    input: ArrayLike,
    size: Ints | None = None,
    footprint: ArrayLike | None = None,
    structure: ArrayLike | None = None,
    output: Any = None,
    mode: Modes = "reflect",
    cval: float = 0.0,
    origin: Ints = 0,
    *,
    axes: Ints | None = None,
) -> Array:
    """Erode: the minimum of a window.

    Parameters
    ----------
    input : array_like
        Array of any rank, of real numbers.
    size, footprint : as in ``maximum_filter``
        The window.
    structure : array_like
        Numbers that are subtracted before the minimum is taken, as in ``grey_dilation``.
    output, mode, cval, origin, axes : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.grey_erosion([5, 5, 2, 5, 5], size=3).tolist()
    [5, 2, 2, 2, 5]
    """
    _one_of_both(size, footprint)
    given = size, footprint, structure
    return call("grey_erosion", input, output, *given, mode, cval, origin, axes)


def _one_of_both(size: Any, footprint: Any) -> None:
    if size is not None and footprint is not None:
        warnings.warn("ignoring size because footprint is set", UserWarning, stacklevel=3)
