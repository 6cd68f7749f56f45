"""``lfilter`` for FIR filters, with the state from one block to the next as SciPy keeps it."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError
from faltung.ops.arguments import Array
from faltung.signal.arguments import array, axis_of, lines_back, lines_of
from faltung.signal.stream import causal
from faltung.signal.sums import Window, singly


class FaltungNotImplementedError(FaltungError, NotImplementedError):
    """Arrays of a type for which a function has no meaning, here and in SciPy."""


def lfilter(
    b: ArrayLike, a: ArrayLike, x: ArrayLike, axis: int = -1, zi: ArrayLike | None = None
) -> Any:
    """Filter a signal by an FIR filter: ``scipy.signal.lfilter`` where ``a`` is one number.

    Parameters
    ----------
    b : array_like of one axis
        The taps.
    a : number, or array_like of one entry
        The taps are divided by it.
    x : array_like
    axis : int
        The axis of the samples.
    zi : array_like, of the shape of ``x`` with ``len(b) - 1`` entries along the axis, optional
        What earlier samples add to the first results; ``zf`` of the block before.

    Returns
    -------
    ndarray of the shape of ``x``, or with ``zi`` (ndarray, zf)
        Without ``zi`` the bits of ``Stream(b)``, whatever the blocks of that.

    Raises
    ------
    ValueError
        Feedback (``a`` of more entries that are not zero), or shapes that do not fit.
    NotImplementedError
        Whole numbers only: convert one of the arrays with ``astype(float)``.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.lfilter([0.5, 0.5], 1, [1.0, 2.0, 4.0])
    array([0.5, 1.5, 3. ])
    """
    taps, divisor = np.atleast_1d(array("b", b)), np.atleast_1d(array("a", a))
    samples = array("x", x)
    for name, value in (("b", taps), ("a", divisor)):
        if value.ndim != 1 or not value.size:
            raise FaltungError(
                f"Parameter {name} is not a non-empty 1d array, since {name}.shape={value.shape}!"
            )
    if not samples.ndim:
        raise FaltungError("x: must be an array of at least one axis (x must be at least 1-D)")
    axis = axis_of(axis, samples.ndim)
    if divisor.size > taps.size:  # the state is as long as the longer of the two
        taps = np.pad(taps, (0, divisor.size - taps.size))
    state = None if zi is None else _state(array("zi", zi), samples, taps.size - 1, axis)
    arrays = [taps, divisor, samples] + ([] if state is None else [state])
    dtype = np.result_type(*arrays)
    if dtype.char not in "fdgFDGO":
        raise FaltungNotImplementedError(
            f"Parameter's dtypes produced result type '{dtype}', which is not supported! Convert "
            "one of them with astype(float)"
        )
    if divisor.size > 1 and np.any(divisor[1:] != 0):
        raise FaltungError(
            f"a={divisor}: feedback makes a recursive filter, which is no convolution; must be one "
            "number. Use scipy.signal.lfilter, or the first taps of its impulse response as b"
        )
    taps = taps.astype(dtype) / divisor[:1].astype(dtype)
    lines = lines_of(samples.astype(dtype, copy=False), axis)
    if state is None:
        return lines_back(_filtered(taps, lines, lines.shape[-1]), axis)
    full = _filtered(taps, lines, lines.shape[-1] + taps.size - 1)
    full[..., : taps.size - 1] += lines_of(state, axis)
    size = lines.shape[-1]
    out, last = full[..., :size], full[..., size:]
    return lines_back(out, axis), lines_back(last, axis)


def _state(zi: Array, x: Array, size: int, axis: int) -> Array:
    """The state in full: axes of one entry are repeated."""
    if zi.ndim != x.ndim:
        raise FaltungError(
            f"Dimensions of parameters x and zi must match, but x.ndim={x.ndim}, zi.ndim={zi.ndim}!"
        )
    expected = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    for n, (given, wanted) in enumerate(zip(zi.shape, expected, strict=True)):
        if given != wanted and (n == axis or given != 1):
            raise FaltungError(
                f"Unexpected shape for parameter zi: expected {expected}, found {zi.shape}."
            )
    return np.broadcast_to(zi, expected)


def _filtered(taps: Array, lines: Array, outputs: int) -> Array:
    """Causal results (*channels, outputs) of lines, followed by zeros."""
    outer, size = lines.shape[:-1], lines.shape[-1]
    if not lines.size:
        return np.zeros((*outer, outputs), lines.dtype)
    flat = lines.reshape(-1, size)
    if lines.dtype.char == "O":
        window = Window("full", flat.shape, (1, taps.size), (1,))
        made = singly(flat, taps[np.newaxis], window)[:, :outputs]
    else:
        made = causal(taps, flat, outputs)
    return made.reshape(*outer, outputs)
