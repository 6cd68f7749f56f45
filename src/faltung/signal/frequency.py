"""``fftconvolve`` and ``oaconvolve``: convolutions along chosen axes, by the cheapest method."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError
from faltung.ops.arguments import Array
from faltung.signal.arguments import axes_of, mode_of, pair, swaps
from faltung.signal.sums import Window, convolved


def fftconvolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", axes: Any = None) -> Array:
    """Convolve two arrays along some axes: ``scipy.signal.fftconvolve``.

    Parameters
    ----------
    in1, in2 : array_like, of the same number of axes
    mode : {"full", "same", "valid"}
        As for ``convolve``, along the axes.
    axes : int or sequence of int, optional
        Which axes are convolved; all by default. Along the others, sizes must be the same, or one
        of them 1, which is then repeated: many kernels for one signal, or one kernel for many.

    Returns
    -------
    ndarray
        float32 or complex64 if both arrays are that narrow, else float64 or complex128; whole
        numbers are computed, and returned, in float64.

    Raises
    ------
    ValueError
        Another mode, axes that do not exist or come twice, other ranks, or shapes that do not fit.

    Notes
    -----
    Long kernels are multiplied as spectra of blocks (overlap-save); short ones, for which that
    costs more, are plain sums. A NaN or an infinity may spread over two blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> bank = np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> signal.fftconvolve(np.array([[1.0, 2.0, 4.0]]), bank, axes=1)
    array([[ 1.,  3.,  6.,  4.],
           [ 1.,  1.,  2., -4.]])
    """
    return _along(in1, in2, mode, axes)


def oaconvolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", axes: Any = None) -> Array:
    """Convolve two arrays along some axes: ``scipy.signal.oaconvolve``.

    The same as ``fftconvolve``: blocks of the best length are chosen for both.

    Parameters
    ----------
    in1, in2, mode, axes
        As for ``fftconvolve``.

    Returns
    -------
    ndarray
        As ``fftconvolve``.

    Raises
    ------
    ValueError
        As ``fftconvolve``.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.oaconvolve([1.0, 2.0, 4.0], [1.0, 1.0])
    array([1., 3., 6., 4.])
    """
    return _along(in1, in2, mode, axes)


def _along(in1: ArrayLike, in2: ArrayLike, mode: str, axes: Any) -> Array:
    a, b = pair(in1, in2)
    if a.ndim == 0:
        return np.asarray(a * b)[()]
    if not a.size or not b.size:
        return np.array([])
    # Along an axis where one array has one entry, NumPy's broadcasting does the same.
    along = [i for i in axes_of(axes, a.ndim) if a.shape[i] != 1 and b.shape[i] != 1]
    others = [(a.shape[i], b.shape[i]) for i in range(a.ndim) if i not in along]
    if any(m != n and 1 not in (m, n) for m, n in others):
        raise FaltungError(
            f"incompatible shapes for in1 and in2: {a.shape} and {b.shape}; along axes that are "
            "not convolved, sizes must be the same, or one of them 1"
        )
    if mode == "valid" and swaps(a.shape, b.shape, along):
        a, b = b, a
    mode = mode_of(mode)
    if not along:
        made = np.asarray(a * b)
    else:
        a, b = (x.astype(np.float64) if x.dtype.kind in "bui" else x for x in (a, b))
        made = convolved(a, b, Window(mode, a.shape, b.shape, along), strict=False)
    return _centred(made, a.shape, along) if mode == "same" else made


def _centred(made: Array, shape: tuple[int, ...], along: list[int]) -> Array:
    """The middle part in the shape of the first array, also along axes that were repeated."""
    starts = [(m - n) // 2 for m, n in zip(made.shape, shape, strict=True)]
    cut = tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))
    return made if made.shape == shape else made[cut].copy()
