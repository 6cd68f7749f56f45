"""``convolve``, ``correlate`` and what goes with them: SciPy's meaning, for arrays of any rank."""

import warnings
from math import prod
from timeit import Timer
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError
from faltung.ops.arguments import Array
from faltung.signal.arguments import MODES, method_of, mode_of, pair, swaps
from faltung.signal.sums import Window, convolved, rounds_exactly

# Up to so many taps, or products, plain sums cost no more than looking whether a transform spread
# a NaN.
FEW_TAPS, FEW_PRODUCTS = 15, 1 << 18
# Up to so many products of two signals, NumPy's own sums take less time than a call of a kernel.
FEW_NUMPY = 1 << 11
# Seconds in a microsecond-sized measurement, and how often it is repeated.
MEASURED_SECONDS, REPEATS = 5e-3, 3
# Nanoseconds of a transform of N entries, for each N log N, and of a multiply-add of plain sums:
# what SciPy's rule says for one axis and for several, and what it subtracts.
PRICES = {
    ("full", True): (1.7649070e-9, 2.1414831e-10, -1e-3),
    ("valid", True): (1.89095737e-9, 2.1364985e-10, -1e-3),
    ("same", True): (3.2646654e-9, 2.8478277e-10, -1e-3),
    ("full", False): (1.99817e-9, 1.66174e-8, -1e-4),
    ("valid", False): (1.85927e-9, 2.11242e-8, -1e-4),
    ("same", False): (2.04735e-9, 1.55367e-8, -1e-4),
}
SMALLER_FIRST = (3.21635404e-9, 1.1773253e-8, -1e-5)


def convolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", method: str = "auto") -> Array:
    """Convolve two arrays of the same rank: ``scipy.signal.convolve``.

    Parameters
    ----------
    in1, in2 : array_like, of the same number of axes
        Of any numeric dtype, and of any strides.
    mode : {"full", "same", "valid"}
        Everything; the middle part in the shape of ``in1``; what needs no zeros beyond the ends, in
        which case one array must be at least as large as the other along every axis.
    method : {"auto", "direct", "fft"}
        "direct" computes plain sums of products. The others take the cheapest method; whole numbers
        come out exactly by all of them.

    Returns
    -------
    ndarray
        Of NumPy's common dtype of both. Whole numbers wrap in that dtype.

    Raises
    ------
    ValueError
        Another mode or method, other ranks, or shapes that "valid" does not fit.

    See Also
    --------
    faltung.conv : with channels, strides, dilations, groups and padding modes.

    Notes
    -----
    With "auto", a NaN or an infinity shows in the results that read it and nowhere else; a
    transform (``method="fft"``, ``fftconvolve``) spreads it.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.convolve([1, 2, 3], [0, 1, 2])
    array([0, 1, 4, 7, 6])
    >>> signal.convolve([1, 2, 3], [0, 1, 2], mode="same")
    array([1, 4, 7])
    """
    a, b = pair(in1, in2)
    if a.ndim == 0:
        return np.asarray(a * b)[()]
    mode, method = mode_of(mode), method_of(method)
    axes = range(a.ndim)
    if mode == "valid" and swaps(a.shape, b.shape, axes):
        a, b = b, a
    if not a.size or not b.size:
        if method == "fft":
            return np.zeros(0, np.result_type(a, b))
        raise FaltungError(f"in1.shape={a.shape}, in2.shape={b.shape}: must not be empty")
    window = Window(mode, a.shape, b.shape, axes)
    dtype = np.result_type(a, b)
    if a.ndim == 1 and a.size * b.size <= FEW_NUMPY and (mode != "same" or a.size >= b.size):
        return np.convolve(a, b, mode)  # type: ignore[call-overload, no-any-return]
    if dtype.kind in "ui":
        return _whole_numbers(a, b, window, method)
    sums = made_of_sums(a, b, window)
    if dtype.kind in "bO" or method == "direct" or (sums and method == "auto"):
        return convolved(a, b, window, strict=True)
    made = convolved(a, b, window, strict=sums)
    if not np.isfinite(made.sum()):
        if method == "auto":
            return convolved(a, b, window, strict=True)
        warnings.warn(
            "Use of fft convolution on input with NAN or inf results in NAN or inf output, which "
            "may spread. Consider using method='auto' or 'direct' instead.",
            RuntimeWarning,
            stacklevel=2,
        )
    return made


def made_of_sums(a: Array, b: Array, window: Window) -> bool:
    """Whether the problem is so small that plain sums are the best way in any case."""
    taps = min(a.size, b.size)
    return taps <= FEW_TAPS or taps * prod(window.sizes) <= FEW_PRODUCTS


def _whole_numbers(a: Array, b: Array, window: Window, method: str) -> Array:
    """Exactly: sums, or a transform whose error is certain to be less than a half."""
    transforms = method != "direct" and not made_of_sums(a, b, window)
    if transforms and rounds_exactly(a, b, _magnitude):
        first, second = a.astype(np.float64), b.astype(np.float64)
        made = convolved(first, second, window, strict=False)
        return np.rint(made).astype(np.result_type(a, b))
    return convolved(a, b, window, strict=True)


def _magnitude(a: Array) -> int:
    """The largest absolute value, also that of the least whole number."""
    return max(abs(int(a.min())), abs(int(a.max())))


def conjugate_reversed(a: Array) -> Array:
    """The array backwards along all axes, conjugate: a correlation convolves with it."""
    back = a[(slice(None, None, -1),) * a.ndim]
    return back.conj() if back.dtype.kind == "c" else back


def correlate(in1: ArrayLike, in2: ArrayLike, mode: str = "full", method: str = "auto") -> Array:
    """Correlate two arrays of the same rank: ``scipy.signal.correlate``.

    ``out[n] = sum over m of in1[m] * conj(in2[m - n + size(in2) - 1])``: the second array is
    conjugated, as in SciPy. ``faltung.signal.like_numpy.correlate`` is NumPy's.

    Parameters
    ----------
    in1, in2, mode, method
        As for ``convolve``.

    Returns
    -------
    ndarray
        Of NumPy's common dtype of both.

    Raises
    ------
    ValueError
        As ``convolve``.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.correlate([1, 2, 3], [0, 1, 2])
    array([2, 5, 8, 3, 0])
    """
    a, b = pair(in1, in2)
    mode, method = mode_of(mode), method_of(method)
    if method == "direct" and mode == "valid" and a.ndim:
        swaps(a.shape, b.shape, range(a.ndim))
    return convolve(a, conjugate_reversed(b), mode, method)


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> Array:
    """The lags of ``correlate`` along one axis: ``scipy.signal.correlation_lags``.

    Parameters
    ----------
    in1_len, in2_len : int
        Sizes of both arrays along the axis.
    mode : {"full", "same", "valid"}

    Returns
    -------
    ndarray of int
        For each entry of the result, by how much the first signal is late.

    Raises
    ------
    ValueError
        Another mode.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.correlation_lags(4, 2)
    array([-1,  0,  1,  2,  3])
    """
    if mode not in MODES:
        raise FaltungError(f"mode={mode!r}: Mode {mode} is invalid; must be one of {MODES}")
    if mode == "valid":
        bound = in1_len - in2_len
        return np.arange(bound + 1) if bound >= 0 else np.arange(bound, 1)
    lags = np.arange(-in2_len + 1, in1_len)
    if mode == "full":
        return lags
    first = lags.size // 2 - in1_len // 2
    return lags[first : first + in1_len]


def choose_conv_method(
    in1: ArrayLike, in2: ArrayLike, mode: str = "full", measure: bool = False
) -> Any:
    """Which method of ``convolve`` SciPy's rule calls the faster: "direct" or "fft".

    The same words as ``scipy.signal.choose_conv_method``, so that programs that branch on them keep
    their way. What "auto" does is our own policy's choice, not this one.

    Parameters
    ----------
    in1, in2, mode
        As for ``convolve``.
    measure : bool
        Time both methods of ours on these arrays instead.

    Returns
    -------
    str, or with ``measure`` (str, dict of seconds)

    Raises
    ------
    ValueError
        As ``convolve``.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> signal.choose_conv_method(np.ones((256, 256)), np.ones((32, 32)))
    'fft'
    """
    a, b = pair(in1, in2)
    mode = mode_of(mode)
    if measure:
        times = {way: _seconds(a, b, mode, way) for way in ("fft", "direct")}
        return min(times, key=times.__getitem__), times
    if any(x.dtype.kind in "ui" for x in (a, b)):
        # Also for a pair of a whole number and a float: what SciPy does.
        largest = [int(np.max(np.abs(x))) for x in (a, b)]
        if largest[0] * largest[1] * min(a.size, b.size) > 2**52 - 1:
            return "direct"
    if all(x.dtype.kind == "b" for x in (a, b)) or any(x.dtype.kind not in "buifc" for x in (a, b)):
        return "direct"
    return "fft" if _transform_is_cheaper(a, b, mode) else "direct"


def _seconds(a: Array, b: Array, mode: str, method: str) -> float:
    """Of one call, the least of several."""
    timer = Timer(lambda: convolve(a, b, mode, method))
    once = max(timer.timeit(1), 1e-9)
    number = max(1, int(MEASURED_SECONDS / once))
    return min(timer.repeat(REPEATS, number)) / number if once < 1 else once


def _transform_is_cheaper(a: Array, b: Array, mode: str) -> bool:
    """SciPy's prices."""
    if mode == "valid":
        swaps(a.shape, b.shape, range(a.ndim))
    line = a.ndim == 1
    full = prod(m + n - 1 for m, n in zip(a.shape, b.shape, strict=True))
    if mode == "same":
        products = a.size * b.size
        if line and a.size >= b.size:
            products -= (b.size // 2) * ((b.size + 1) // 2)
    elif mode == "full":
        products = min(a.size, b.size) * (full if not line else max(a.size, b.size))
    else:
        outputs = prod(abs(m - n) + 1 for m, n in zip(a.shape, b.shape, strict=True))
        products = min(a.size, b.size) * outputs
    smaller_first = line and mode == "same" and b.size > a.size
    transform, product, offset = SMALLER_FIRST if smaller_first else PRICES[mode, line]
    return bool(transform * 3 * full * np.log(full) < product * products + offset)
