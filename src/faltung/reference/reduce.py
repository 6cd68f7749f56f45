"""The definition of reductions, of where extremes are, of running sums and of sorting."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def _log_sum_exp(x: Array, **along: Any) -> Array:
    top = np.max(x, **along)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.asarray(np.log(np.sum(np.exp(x - top), **along)) + top)


KINDS: dict[str, Callable[..., Array]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "product": np.prod,
    "log_sum_exp": _log_sum_exp,
}


def reduced(x: ArrayLike, axes: Sequence[int], kind: str) -> Array:
    """One of ``KINDS`` over these axes, which become 1. NaN makes everything NaN.

    >>> reduced([[1, 2], [3, 4]], (0,), "max")
    array([[3., 4.]])
    """
    with np.errstate(all="ignore"):
        array = np.asarray(x, np.float64)
        return np.asarray(KINDS[kind](array, axis=tuple(axes), keepdims=True))


def arg(x: ArrayLike, axis: int, kind: str, last: bool = False) -> Array:
    """Where along an axis, which becomes 1, the largest ("max") or smallest ("min") entry is.

    Among equal ones the first, or the ``last``; a NaN comes before all others.

    >>> arg([3, 7, 7], 0, "max", last=True)
    array([2.])
    """
    found: Callable[..., Any] = {"max": np.argmax, "min": np.argmin}[kind]
    array = np.asarray(x, np.float64)
    if last:
        made = array.shape[axis] - 1 - found(np.flip(array, axis), axis=axis, keepdims=True)
    else:
        made = found(array, axis=axis, keepdims=True)
    return np.asarray(made, np.float64)


def cumulative(
    x: ArrayLike, axis: int, kind: str = "sum", exclusive: bool = False, reverse: bool = False
) -> Array:
    """At every entry the sum or product of those up to it along an axis.

    exclusive: without the entry itself. reverse: from the end.

    >>> cumulative([1, 2, 3], 0, exclusive=True, reverse=True)
    array([5., 3., 0.])
    """
    along = np.moveaxis(np.asarray(x, np.float64), axis, 0)
    along = along[::-1] if reverse else along
    with np.errstate(all="ignore"):
        made: Array = np.cumsum(along, axis=0)
        if kind == "product":
            made = np.cumprod(along, axis=0)
    if exclusive:
        neutral = {"sum": 0.0, "product": 1.0}[kind]
        made = np.concatenate([np.full_like(made[:1], neutral), made[:-1]])
    return np.moveaxis(made[::-1] if reverse else made, 0, axis)


def top_k_grad(grad: ArrayLike, places: ArrayLike, axis: int, size: int) -> Array:
    """Each gradient at its place along an axis of ``size`` entries, and zeros elsewhere.

    >>> top_k_grad([5, 6], [2, 0], 0, 4)
    array([6., 0., 5., 0.])
    """
    g = np.asarray(grad, np.float64)
    made = np.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]))
    np.put_along_axis(made, np.asarray(places).astype(np.int64), g, axis)
    return made


def top_k(x: ArrayLike, axis: int, k: int, largest: bool = True) -> tuple[Array, Array]:
    """The ``k`` largest or smallest entries along an axis, in order, and where they are.

    Of equal ones the first comes first; NaN is larger than everything.

    >>> top_k([1, 5, 5, 2], 0, 3)
    (array([5., 5., 2.]), array([1., 2., 3.]))
    """
    along = np.moveaxis(np.asarray(x, np.float64), axis, 0)
    nan = np.isnan(along)
    # Sorted by (NaN or not, value); ``lexsort`` keeps equal ones in order.
    keys = np.where(nan, 0.0, -along if largest else along), ~nan if largest else nan
    order = np.lexsort(keys, axis=0)[:k]
    values = np.take_along_axis(along, order, 0)
    return np.moveaxis(values, 0, axis), np.moveaxis(order.astype(np.float64), 0, axis)
