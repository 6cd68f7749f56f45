"""``upfirdn``, ``resample_poly`` and ``decimate``: other sampling rates by FIR filters."""

from collections.abc import Callable
from functools import lru_cache
from math import gcd
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.ops.arguments import Array
from faltung.signal.arguments import array, axis_of, lines_back, lines_of
from faltung.signal.phases import Phases, extended, extension_of, output_length
from faltung.signal.windows import low_pass

# What ``resample_poly`` may take away from a signal before it is filtered, and put back after.
BACKGROUNDS: dict[str, Callable[..., Any]] = {
    "maximum": np.max,
    "mean": np.mean,
    "median": np.median,
    "minimum": np.min,
}


def upfirdn(
    h: ArrayLike,
    x: ArrayLike,
    up: int = 1,
    down: int = 1,
    axis: int = -1,
    mode: str = "constant",
    cval: float = 0,
) -> Array:
    """Upsample, filter and downsample: ``scipy.signal.upfirdn``.

    ``y[j] = sum over i of h[j * down - i * up] * x[i]``: no product with a zero is computed.

    Parameters
    ----------
    h : array_like of one axis, not empty
        The taps.
    x : array_like
    up, down : int
        Rates, at least 1.
    axis : int
        The axis of the samples.
    mode : str
        How the signal continues beyond its ends: "constant" (with ``cval``), "symmetric",
        "reflect", "edge", "wrap", "smooth" (along the last two samples), "antisymmetric",
        "antireflect", "line" (through the first and the last sample).
    cval : float

    Returns
    -------
    ndarray, with ``ceil(((samples - 1) * up + taps) / down)`` samples
        Of NumPy's common dtype of both, float32 at least.

    Raises
    ------
    ValueError
        No taps, more than one axis of them, rates below 1, or an unknown mode.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.upfirdn([0.5, 1, 0.5], [1, 1, 1], 2)  # linear interpolation
    array([0.5, 1. , 1. , 1. , 1. , 1. , 0.5])
    """
    taps, samples = array("h", h), array("x", x)
    if taps.ndim != 1 or not taps.size:
        raise FaltungError(f"h.shape={taps.shape}: h must be 1-D with non-zero length")
    up, down = int(up), int(down)
    if up < 1 or down < 1:
        raise FaltungError(f"up={up}, down={down}: Both up and down must be >= 1")
    if not samples.ndim:
        raise FaltungError("x: must have at least one axis")
    at = axis_of(axis, samples.ndim)
    mode = extension_of("mode", mode)
    return _along(taps, samples, up, down, at, mode, cval)


def result_of(*arrays: Array) -> np.dtype[Any]:
    """The dtype of results: float32 at least."""
    dtype = np.result_type(*arrays, np.float32)
    if dtype.char not in "fdgFDG":
        raise FaltungTypeError(f"dtype={dtype}: must be of numbers that float64 or complex hold")
    return dtype


def _along(
    taps: Array,
    x: Array,
    up: int,
    down: int,
    axis: int,
    mode: str,
    cval: Any,
    *,
    first: int = 0,
    outputs: int = -1,
) -> Array:
    """The filter along an axis; ``outputs`` from ``first`` on, all by default."""
    dtype = result_of(taps, x)
    size = x.shape[axis]
    if outputs < 0:
        outputs = output_length(taps.size, size, up, down)
    lines = lines_of(x, axis)
    outer = lines.shape[:-1]
    if not lines.size:
        return lines_back(np.zeros((*outer, outputs), dtype), axis)
    lines = lines.reshape(-1, size)
    phases = Phases.of(taps[np.newaxis], dtype, up, down)
    at = 0
    if mode != "constant" or cval:
        at = 1 - phases.bank.taps
        after = max(0, (first + outputs - 1) * down // up + 1 - size)
        kind = dtype if lines.dtype.kind == "c" else phases.bank.weights.dtype
        lines = extended(lines.astype(kind, copy=False), -at, after, mode, cval)
    (made,) = phases.lines(lines, outputs, first=first, at=at)
    return lines_back(made.reshape(*outer, outputs), axis)


def resample_poly(
    x: ArrayLike,
    up: int,
    down: int,
    axis: int = 0,
    window: Any = ("kaiser", 5.0),
    padtype: str = "constant",
    cval: float | None = None,
) -> Array:
    """Resample by a ratio of whole numbers: ``scipy.signal.resample_poly``.

    Parameters
    ----------
    x : array_like
    up, down : int
        The new rate is ``up / down`` times the old one.
    axis : int
        The axis of the samples.
    window : name, tuple, or list or array of taps
        Of the low-pass filter: a name, or ("kaiser", beta) and the like; or the taps themselves.
    padtype : str
        What stands beyond the ends: a ``mode`` of ``upfirdn``, or "mean", "median", "minimum",
        "maximum" of the signal.
    cval : float, optional
        The value of "constant", 0 by default.

    Returns
    -------
    ndarray, with ``ceil(samples * up / down)`` samples

    Raises
    ------
    ValueError
        Rates that are no whole numbers or below 1, an unknown window or padtype, a ``cval`` without
        "constant".

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> signal.resample_poly(np.arange(6.0), 2, 3).round(3)
    array([0.029, 1.585, 2.845, 4.815])
    """
    samples = array("x", x)
    up, down, taps, first = resampler(up, down, window, samples.dtype)
    if cval is not None and padtype != "constant":
        raise FaltungError(f"cval={cval}: cval has no effect when padtype is {padtype!r}")
    if up == down == 1:
        return np.array(samples)
    axis = axis_of(axis, samples.ndim)
    padtype = extension_of("padtype", padtype, tuple(BACKGROUNDS))
    outputs = -(-samples.shape[axis] * up // down)
    background: Any = None
    if padtype in BACKGROUNDS:
        background = BACKGROUNDS[padtype](samples, axis=axis, keepdims=True)
        samples, padtype = np.asarray(samples - background), "constant"
    made = _along(
        *(taps, samples, up, down, axis, padtype, cval or 0),
        **{"first": first, "outputs": outputs},
    )
    if background is not None:
        made += background
    return made


def resampler(up: Any, down: Any, window: Any, dtype: np.dtype[Any]) -> tuple[int, int, Array, int]:
    """The ratio in lowest terms, the taps for signals of ``dtype``, and the number of the output of
    ``upfirdn`` that stands where the first sample stood.
    """
    for name, rate in (("up", up), ("down", down)):
        if rate != int(rate):
            raise FaltungError(f"{name}={rate}: {name} must be an integer")
    up, down = int(up), int(down)
    if up < 1 or down < 1:
        raise FaltungError(f"up={up}, down={down}: up and down must be >= 1")
    common = gcd(up, down)
    up, down = up // common, down // common
    if up == down == 1:
        return 1, 1, np.ones(1), 0
    if isinstance(window, (str, tuple, int, float)):
        return _designed(up, down, window, dtype)
    return _with_taps(up, down, window, dtype)


@lru_cache(maxsize=64)
def _designed(up: int, down: int, window: Any, dtype: np.dtype[Any]) -> tuple[int, int, Array, int]:
    return _with_taps(up, down, window, dtype)


def _with_taps(
    up: int, down: int, window: Any, dtype: np.dtype[Any]
) -> tuple[int, int, Array, int]:
    """The same for a ratio in lowest terms."""
    if isinstance(window, (list, np.ndarray)):
        taps = np.array(window)
        if taps.ndim > 1:
            raise FaltungError(f"window.shape={taps.shape}: window must be 1-D")
        half = (taps.size - 1) // 2
    else:
        widest = max(up, down)
        half = 10 * widest
        taps = low_pass(2 * half + 1, 1.0 / widest, window)
        if dtype.kind in "fc":
            taps = taps.astype(np.float16 if dtype == np.float16 else dtype)
            taps = np.asarray(taps.real) if dtype.kind == "c" else taps
    taps = taps * np.asarray(up, taps.dtype)
    before = down - half % down
    taps = np.concatenate([np.zeros(before, taps.dtype), taps])
    return up, down, taps, (half + before) // down


def decimate(
    x: ArrayLike,
    q: int,
    n: int | None = None,
    ftype: Any = "iir",
    axis: int = -1,
    zero_phase: bool = True,
) -> Array:
    """Downsample by a whole number after a low-pass FIR filter: ``scipy.signal.decimate``.

    Parameters
    ----------
    x : array_like
    q : int
        The factor.
    n : int, optional
        The order of the filter, one less than its taps; 20 ``q`` by default.
    ftype : "fir"
        The filter: a windowed sinc (Hamming). Also a ``scipy.signal.dlti`` without poles. SciPy's
        default, "iir", is a recursive filter, which is no convolution, and is refused.
    axis : int
        The axis of the samples.
    zero_phase : bool
        Shift the result back by the delay of the filter.

    Returns
    -------
    ndarray, with ``ceil(samples / q)`` samples

    Raises
    ------
    ValueError
        A filter that is not FIR.
    TypeError
        ``q`` or ``n`` is not a whole number.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> signal.decimate(np.ones(300), 3, ftype="fir").shape
    (100,)
    """
    samples = array("x", x)
    try:
        q, n = index(q), None if n is None else index(n)
    except TypeError:
        raise FaltungTypeError(f"q={q!r}, n={n!r}: must be whole numbers") from None
    dtype = samples.dtype
    if dtype.kind not in "fc" or dtype == np.float16:
        dtype = np.dtype(np.float64)
    taps = _decimator(ftype, q, n, dtype)
    if zero_phase:
        return resample_poly(samples, 1, q, axis=axis, window=taps)
    axis = axis_of(axis, samples.ndim)
    outputs = -(-samples.shape[axis] // q)
    return _along(taps, samples, 1, q, axis, "constant", 0, outputs=outputs)


def _decimator(ftype: Any, q: int, n: int | None, dtype: np.dtype[Any]) -> Array:
    remedy = "pass ftype='fir', or filter with scipy.signal and take every q-th sample"
    if isinstance(ftype, str):
        if ftype == "iir":
            raise FaltungError(f"ftype='iir': recursive filters are no convolutions; {remedy}")
        if ftype != "fir":
            raise FaltungError(f"ftype={ftype!r}: invalid ftype; {remedy}")
        taps = low_pass((20 * q if n is None else n) + 1, 1.0 / q, "hamming") if q > 1 else None
        if taps is None:
            raise FaltungError("q=1: nothing to take away; must be at least 2")
        return taps.real.astype(dtype)
    # A system of SciPy's: taken apart by its own words.
    if not hasattr(ftype, "to_tf"):
        raise FaltungError(f"ftype={ftype!r}: invalid ftype; {remedy}")
    system = ftype.to_tf()
    num, den = np.atleast_1d(system.num), np.atleast_1d(system.den)
    if np.any(den[1:] != 0):
        raise FaltungError(f"ftype={type(ftype).__name__}: has poles, so is recursive; {remedy}")
    return np.asarray(num / den[0])
