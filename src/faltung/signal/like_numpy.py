"""NumPy's own ``convolve`` and ``correlate``: its order of arguments, modes and conjugation.

For programs that say ``np.convolve`` and ``np.correlate``: ``like_numpy.convolve`` and so on.
They differ from SciPy's functions of the same names in "same", which has the size of the longer
signal whichever comes first, and in the default mode of ``correlate``, "valid".
"""

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError
from faltung.ops.arguments import Array
from faltung.signal.arguments import array, mode_of
from faltung.signal.convolve import conjugate_reversed
from faltung.signal.convolve import convolve as _convolve


def convolve(a: ArrayLike, v: ArrayLike, mode: str = "full") -> Array:
    """The convolution of two signals: ``numpy.convolve``.

    Parameters
    ----------
    a, v : array_like of one axis, not empty
        Numbers count as signals of one entry.
    mode : {"full", "same", "valid"}
        "same" has as many entries as the longer signal.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        An empty signal, one of more axes, or another mode.

    Examples
    --------
    >>> from faltung.signal import like_numpy
    >>> like_numpy.convolve([1, 2, 3], [0, 1], mode="same")
    array([0, 1, 2])
    """
    a, v = _signal("a", a), _signal("v", v)
    if v.size > a.size:
        a, v = v, a
    return _convolve(a, v, mode_of(mode))


def correlate(a: ArrayLike, v: ArrayLike, mode: str = "valid") -> Array:
    """The correlation of two signals: ``numpy.correlate``.

    ``out[k] = sum over n of a[n + k] * conj(v[n])``: the second signal is conjugated, and swapping
    the two reverses and conjugates the result.

    Parameters
    ----------
    a, v : array_like of one axis, not empty
    mode : {"valid", "same", "full"}
        "same" has as many entries as the longer signal.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        An empty signal, one of more axes, or another mode.

    Examples
    --------
    >>> from faltung.signal import like_numpy
    >>> like_numpy.correlate([1, 2, 3], [0, 1, 2])
    array([8])
    >>> like_numpy.correlate([0, 1], [1, 2, 3], mode="same")
    array([3, 2, 1])
    """
    a, v = _signal("a", a), _signal("v", v)
    mode = mode_of(mode)
    if v.size > a.size:
        return conjugate_reversed(correlate(v, a, mode))
    return _convolve(a, conjugate_reversed(v), mode)


def _signal(name: str, value: ArrayLike) -> Array:
    made = np.atleast_1d(array(name, value))
    if made.ndim != 1 or not made.size:
        raise FaltungError(f"{name}.shape={made.shape}: must be one signal that is not empty")
    return made
