"""Differences: Sobel, Prewitt, Laplace, and derivatives that are given as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faltung.ndimage.arguments import all_axes, per_axis, plain
from faltung.ndimage.arguments import output as output_of
from faltung.ndimage.calls import call

Array = NDArray[Any]
Modes = str | Sequence[str]


def sobel(
    input: ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
) -> Array:
    """Take Sobel's gradient along one axis.

    Parameters
    ----------
    input : array_like
        Array of at least one axis.
    axis : int
        Along which the difference is taken; along all others it is smoothed with 1, 2, 1.
    output, mode, cval : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> ndimage.sobel(np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1]])).tolist()
    [[0, 4, 4], [0, 4, 4], [0, 4, 4]]
    """
    return call("sobel", input, output, axis, mode, cval)


def prewitt(
    input: ArrayLike,
    axis: int = -1,
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
) -> Array:
    """Take Prewitt's gradient along one axis.

    Parameters
    ----------
    input : array_like
        Array of at least one axis.
    axis : int
        Along which the difference is taken; along all others three entries are added.
    output, mode, cval : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> ndimage.prewitt(np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1]])).tolist()
    [[0, 3, 3], [0, 3, 3], [0, 3, 3]]
    """
    return call("prewitt", input, output, axis, mode, cval)


def laplace(
    input: ArrayLike,
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
    *,
    axes: int | Sequence[int] | None = None,
) -> Array:
    """Sum the second differences along all axes.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    output, mode, cval, axes : see ``faltung.ndimage``

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> ndimage.laplace(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])).tolist()
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    """
    return call("laplace", input, output, mode, cval, axes)


def generic_laplace(
    input: ArrayLike,
    derivative2: Callable[..., Any],
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
    extra_arguments: Sequence[Any] = (),
    extra_keywords: Mapping[str, Any] | None = None,
    *,
    axes: int | Sequence[int] | None = None,
) -> Array:
    """Sum second derivatives along all axes that a function computes.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    derivative2 : callable
        ``derivative2(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``: with
        an array as ``output`` it writes there, with a dtype it returns an array of that dtype.
    output, mode, cval, axes : see ``faltung.ndimage``
    extra_arguments, extra_keywords : sequence, mapping
        Further arguments of ``derivative2``.

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> def second(x, axis, output, mode, cval):
    ...     return ndimage.correlate1d(x, [1, -2, 1], axis, output, mode, cval)
    >>> ndimage.generic_laplace(np.array([0.0, 1.0, 0.0]), second).tolist()
    [1.0, -2.0, 1.0]
    """
    rest = extra_arguments, extra_keywords or {}
    return _generic(input, derivative2, output, mode, cval, rest, axes, squares=False)


def generic_gradient_magnitude(
    input: ArrayLike,
    derivative: Callable[..., Any],
    output: Any = None,
    mode: Modes = "reflect",
    cval: complex = 0.0,
    extra_arguments: Sequence[Any] = (),
    extra_keywords: Mapping[str, Any] | None = None,
    *,
    axes: int | Sequence[int] | None = None,
) -> Array:
    """Take the length of a gradient whose components a function computes.

    Parameters
    ----------
    input : array_like
        Array of any rank.
    derivative : callable
        ``derivative(input, axis, output, mode, cval, *extra_arguments, **extra_keywords)``: with an
        array as ``output`` it writes there, with a dtype it returns an array of that dtype, which
        is then overwritten.
    output, mode, cval, axes : see ``faltung.ndimage``
    extra_arguments, extra_keywords : sequence, mapping
        Further arguments of ``derivative``.

    Returns
    -------
    ndarray
        Of the shape of the input.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import ndimage
    >>> x = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    >>> ndimage.generic_gradient_magnitude(x, ndimage.sobel).tolist()
    [[0.0, 4.0, 4.0], [0.0, 4.0, 4.0]]
    """
    rest = extra_arguments, extra_keywords or {}
    return _generic(input, derivative, output, mode, cval, rest, axes, squares=True)


def _generic(
    x: Any,
    derive: Callable[..., Any],
    output: Any,
    mode: Any,
    cval: Any,
    rest: tuple[Sequence[Any], Mapping[str, Any]],
    axes: Any,
    squares: bool,
) -> Array:
    """The sum of what a function finds along each axis, or the root of the sum of the squares, in
    the output's dtype.
    """
    x = plain("input", x)
    more, named = rest
    made = output_of(output, x.shape, x.dtype, x.dtype.kind == "c", promote=False)
    filtered = all_axes(axes, x.ndim)
    if not filtered:
        made[...] = x
        return made
    modes = per_axis("mode", mode, len(filtered))
    derive(x, filtered[0], made, modes[0], cval, *more, **named)
    if squares:
        np.multiply(made, made, out=made)
    for axis, one in zip(filtered[1:], modes[1:], strict=True):
        found = derive(x, axis, made.dtype, one, cval, *more, **named)
        if squares:
            np.multiply(found, found, out=found)
        made += found
    if squares:
        np.sqrt(made, out=made, casting="unsafe")
    return made
