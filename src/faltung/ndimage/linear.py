"""Correlations and convolutions, along one axis and along all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

from faltung.ndimage.calls import call

Array = NDArray[Any]
Modes = str | Sequence[str]
Origins = int | Sequence[int]


def correlate1d(
    input: ArrayLike,
    weights: ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> Array:
    """Correlate along one axis with weights.

    Parameters
    ----------
    input : array_like
        Array of at least one axis.
    weights : array_like
        One axis of numbers. Complex ones are conjugated.
    axis : int
        The axis along which it goes.
    output, mode, cval, origin : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Raises
    ------
    FaltungError
        For arguments that do not fit; it is a RuntimeError, TypeError or IndexError where SciPy's
        is.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3]).tolist()
    [8, 26, 8, 12, 7, 28, 36, 9]
    """
    return call("correlate1d", input, output, weights, axis, mode, cval, origin)


def convolve1d(
    input: ArrayLike,
    weights: ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: int = 0,
) -> Array:
    """Convolve along one axis with weights.

    Parameters
    ----------
    input : array_like
        Array of at least one axis.
    weights : array_like
        One axis of numbers.
    axis : int
        The axis along which it goes.
    output, mode, cval, origin : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Raises
    ------
    FaltungError
        As in ``correlate1d``.

    Examples
    --------
    >>> from faltung import ndimage
    >>> ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3]).tolist()
    [14, 24, 4, 13, 12, 36, 27, 0]
    """
    return call("convolve1d", input, output, weights, axis, mode, cval, origin)


def correlate(
    input: ArrayLike,
    weights: ArrayLike | Sequence[Array],
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
    origin: Origins = 0,
    *,
    axes: Origins | None = None,
) -> Array:
    """Correlate with a kernel along all axes, or with several kernels in one pass.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    weights : array_like, or list of ndarray
        A kernel with an axis for each that is filtered, in the order in which the input has them;
        complex ones are conjugated. A list or tuple in which *every* member is an ``ndarray`` with
        that many axes is several kernels, which SciPy does not take. Whatever else is nested, as
        ``[[1, 2], [3, 4]]`` for two axes, or a list of arrays with one axis less, is one kernel.
    output, mode, cval, origin, axes : see ``faltung.ndimage``
        ``mode`` may also be one for each axis.

    Returns
    -------
    ndarray
        Of the shape of the input; of several kernels their results along a new first axis.

    Raises
    ------
    FaltungError
        As in ``correlate1d``.

    Notes
    -----
    Whole numbers, and float64 where the kernel is not taken apart, are summed in SciPy's order and
    have its bits; weights that are not larger than 2.2e-16 are left out, as there.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> x = np.arange(9).reshape(3, 3)
    >>> ndimage.correlate(x, [[0, 1, 0], [1, 1, 1], [0, 1, 0]]).tolist()
    [[4, 8, 12], [16, 20, 24], [28, 32, 36]]

    Two kernels, one pass:

    >>> along, across = np.array([[-1, 0, 1]]), np.array([[-1], [0], [1]])
    >>> ndimage.correlate(x, [along, across]).shape
    (2, 3, 3)
    """
    return call("correlate", input, output, weights, mode, cval, origin, axes)


def convolve(
    input: ArrayLike,
    weights: ArrayLike | Sequence[Array],
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
    origin: Origins = 0,
    *,
    axes: Origins | None = None,
) -> Array:
    """Convolve with a kernel along all axes, or with several kernels in one pass.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    weights : array_like, or list of ndarray
        A kernel, or several, as in ``correlate``; not conjugated.
    output, mode, cval, origin, axes : see ``faltung.ndimage``
        ``mode`` may also be one for each axis.

    Returns
    -------
    ndarray
        Of the shape of the input; of several kernels their results along a new first axis.

    Raises
    ------
    FaltungError
        As in ``correlate1d``.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> x = np.array([[1, 2, 0, 0], [5, 3, 0, 4], [0, 0, 0, 7], [9, 3, 0, 0]])
    >>> k = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    >>> ndimage.convolve(x, k, mode="constant", cval=1.0).tolist()
    [[13, 11, 8, 7], [11, 3, 11, 14], [16, 12, 14, 10], [15, 6, 10, 5]]
    """
    return call("convolve", input, output, weights, mode, cval, origin, axes)
