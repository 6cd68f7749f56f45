"""Pooling of series, of pictures and of volumes: ``max_pool`` and ``avg_pool`` of one rank each."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar, cast

from numpy.typing import ArrayLike

from faltung.geometry.calls import explained
from faltung.geometry.check import PerAxis, per_axis
from faltung.ops.pool import avg_pool, max_pool

F = TypeVar("F", bound=Callable[..., Any])


def _of_rank(rank: int, whole: F) -> Callable[[Callable[[], None]], F]:
    """A decorator that makes ``whole`` for one rank. The signature is that of ``whole``; name and
    docstring are those of the decorated function.
    """
    called: Callable[..., Any] = whole.__wrapped__  # type: ignore[attr-defined]

    def decorated(named: Callable[[], None]) -> F:
        def of_rank(x: ArrayLike, kernel: PerAxis, **options: Any) -> Any:
            return called(x, per_axis("kernel", kernel, rank, 1), **options)

        made: Any = update_wrapper(of_rank, named)
        made.__wrapped__ = called
        return cast(F, explained(made))

    return decorated


@_of_rank(1, max_pool)
def max_pool1d() -> None:
    """The maximum of each window of series: ``max_pool`` of rank 1.

    Parameters
    ----------
    x : array_like, ``(N, C, L)`` or ``(C, L)``
    kernel : int
        The size of a window, in entries.
    stride, padding, ..., out
        As for ``max_pool``.

    Returns
    -------
    ndarray, ``(N, C, output)``, without N if ``x`` has none
        With ``indices`` a pair, as of ``max_pool``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``; also for an array of another rank.

    Examples
    --------
    >>> import faltung
    >>> faltung.max_pool1d([[1.0, 5.0, 2.0, 3.0]], 2)
    array([[5., 3.]])
    """


@_of_rank(2, max_pool)
def max_pool2d() -> None:
    """The maximum of each window of pictures: ``max_pool`` of rank 2.

    Parameters
    ----------
    x : array_like, ``(N, C, H, W)`` or ``(C, H, W)``
    kernel : int, or two ints
        The size of a window, in entries.
    stride, padding, ..., out
        As for ``max_pool``.

    Returns
    -------
    ndarray, ``(N, C, *output)``, without N if ``x`` has none
        With ``indices`` a pair, as of ``max_pool``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``; also for an array of another rank.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.max_pool2d(np.zeros((3, 64, 48)), 2).shape
    (3, 32, 24)
    """


@_of_rank(3, max_pool)
def max_pool3d() -> None:
    """The maximum of each window of volumes: ``max_pool`` of rank 3.

    Parameters
    ----------
    x : array_like, ``(N, C, D, H, W)`` or ``(C, D, H, W)``
    kernel : int, or three ints
        The size of a window, in entries.
    stride, padding, ..., out
        As for ``max_pool``.

    Returns
    -------
    ndarray, ``(N, C, *output)``, without N if ``x`` has none
        With ``indices`` a pair, as of ``max_pool``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``; also for an array of another rank.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.max_pool3d(np.zeros((1, 16, 64, 48)), 2).shape
    (1, 8, 32, 24)
    """


@_of_rank(1, avg_pool)
def avg_pool1d() -> None:
    """The mean of each window of series: ``avg_pool`` of rank 1.

    Parameters
    ----------
    x : array_like, ``(N, C, L)`` or ``(C, L)``
    kernel : int
        The size of a window, in entries.
    stride, padding, ..., out
        As for ``avg_pool``.

    Returns
    -------
    ndarray, ``(N, C, output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``; also for an array of another rank.

    Examples
    --------
    >>> import faltung
    >>> faltung.avg_pool1d([[1.0, 5.0, 2.0, 4.0]], 2)
    array([[3., 3.]])
    """


@_of_rank(2, avg_pool)
def avg_pool2d() -> None:
    """The mean of each window of pictures: ``avg_pool`` of rank 2.

    Parameters
    ----------
    x : array_like, ``(N, C, H, W)`` or ``(C, H, W)``
    kernel : int, or two ints
        The size of a window, in entries.
    stride, padding, ..., out
        As for ``avg_pool``.

    Returns
    -------
    ndarray, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``; also for an array of another rank.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.avg_pool2d(np.zeros((3, 64, 48)), 2).shape
    (3, 32, 24)
    """


@_of_rank(3, avg_pool)
def avg_pool3d() -> None:
    """The mean of each window of volumes: ``avg_pool`` of rank 3.

    Parameters
    ----------
    x : array_like, ``(N, C, D, H, W)`` or ``(C, D, H, W)``
    kernel : int, or three ints
        The size of a window, in entries.
    stride, padding, ..., out
        As for ``avg_pool``.

    Returns
    -------
    ndarray, ``(N, C, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``max_pool``; also for an array of another rank.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.avg_pool3d(np.zeros((1, 16, 64, 48)), 2).shape
    (1, 8, 32, 24)
    """
