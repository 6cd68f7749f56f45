"""``convolve2d``, ``correlate2d`` and ``sepfir2d``: pictures with boundaries, as SciPy has them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.ops.arguments import Array
from faltung.signal.arguments import OTHER_WORDS, array, mode_of, swaps
from faltung.signal.convolve import conjugate_reversed, made_of_sums
from faltung.signal.sums import Window, convolved

# Our name for each of SciPy's.
BOUNDARIES = {
    **{"fill": "constant", "pad": "constant", "wrap": "circular", "circular": "circular"},
    **{"symm": "symmetric", "symmetric": "symmetric"},
}
REFUSED = "eOmMSUV"


def convolve2d(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
) -> Array:
    """Convolve two pictures: ``scipy.signal.convolve2d``.

    Parameters
    ----------
    in1, in2 : array_like of two axes
    mode : {"full", "same", "valid"}
        As for ``convolve``.
    boundary : {"fill", "wrap", "symm"}
        What stands beyond the ends of ``in1``: a value, the picture again, or its mirror image with
        the edge repeated. "pad", "circular" and "symmetric" are the same three.
    fillvalue : scalar
        The value of "fill"; it is cast to the dtype of the result.

    Returns
    -------
    ndarray
        Of NumPy's common dtype of both.

    Raises
    ------
    ValueError
        Another mode or boundary, arrays of other ranks or types, shapes that "valid" does not fit,
        or a fill value that is not one number.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.convolve2d([[1, 2], [3, 4]], [[1, 1]], mode="same", boundary="symm")
    array([[2, 3],
           [6, 7]])
    """
    a, b = _pictures("convolve2d", in1, in2)
    mode, border = mode_of(mode), _border(boundary)
    if mode == "valid" and swaps(a.shape, b.shape, (0, 1)):
        a, b = b, a
    return _bounded(a, b, mode, border, fillvalue)


def correlate2d(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
) -> Array:
    """Correlate two pictures: ``scipy.signal.correlate2d``; the second is conjugated.

    Parameters
    ----------
    in1, in2, mode, boundary, fillvalue
        As for ``convolve2d``.

    Returns
    -------
    ndarray
        Of NumPy's common dtype of both.

    Raises
    ------
    ValueError
        As ``convolve2d``.

    Examples
    --------
    >>> from faltung import signal
    >>> signal.correlate2d([[1, 2], [3, 4]], [[0, 1]], mode="same")
    array([[2, 0],
           [4, 0]])
    """
    a, b = _pictures("correlate2d", in1, in2)
    mode, border = mode_of(mode), _border(boundary)
    if mode == "valid" and swaps(a.shape, b.shape, (0, 1)):
        # As SciPy has it: the conjugate is that of what is the kernel then, and the result is
        # reversed, not conjugated.
        return _bounded(b, conjugate_reversed(a), mode, border, fillvalue)[::-1, ::-1]
    return _bounded(a, conjugate_reversed(b), mode, border, fillvalue, late=True)


def _pictures(name: str, in1: ArrayLike, in2: ArrayLike) -> tuple[Array, Array]:
    a, b = array("in1", in1), array("in2", in2)
    if not a.ndim == b.ndim == 2:
        raise FaltungError(
            f"in1.ndim={a.ndim}, in2.ndim={b.ndim}: {name} inputs must both be 2-D arrays; "
            "convolve takes any rank"
        )
    dtype = np.result_type(a, b)
    if dtype.char in REFUSED or dtype.kind == "b":
        raise FaltungError(
            f"dtype={dtype}: {name} not available for this type; convert with astype"
        )
    return a, b


def _border(boundary: object) -> str:
    found = BOUNDARIES.get(boundary) if isinstance(boundary, str) else None
    if found is None:
        hint = OTHER_WORDS.get(boundary) if isinstance(boundary, str) else None
        raise FaltungError(
            f"boundary={boundary!r}: acceptable boundary flags are 'fill', 'circular' (or 'wrap'), "
            "and 'symmetric' (or 'symm')" + (f"; {hint!r} is the nearest" if hint else "")
        )
    return found


def _fill(fillvalue: Any, dtype: np.dtype[Any]) -> Any:
    """The value of "fill" in the dtype of the result."""
    value = np.asarray(fillvalue)
    if value.size != 1:
        raise FaltungError(
            f"fillvalue={fillvalue!r}: `fillvalue` must be scalar or an array with one element"
        )
    if not np.can_cast(value.dtype, dtype, "same_kind") and not (
        value.dtype.kind in "buif" and dtype.kind in "buifc"
    ):
        raise FaltungError(
            f"fillvalue={fillvalue!r}: could not cast `fillvalue` directly to the output dtype, "
            f"{dtype} (it requires a cast of {value.dtype} to {dtype})"
        )
    with np.errstate(all="ignore"):
        return value.reshape(()).astype(dtype)[()]


def _bounded(
    a: Array, b: Array, mode: str, border: str, fillvalue: Any, *, late: bool = False
) -> Array:
    """The convolution with what stands beyond the ends of ``a``. ``late``: "same" of an even number
    of taps begins at the later of the two middles, as that of SciPy's ``correlate2d`` does.
    """
    dtype = np.result_type(a, b)
    fill = _fill(fillvalue, dtype)
    window = Window(mode, a.shape, b.shape, (0, 1))
    if late and mode == "same":
        window.starts = [n // 2 for n in b.shape]
    if mode != "valid" and a.size and b.size and (border != "constant" or fill != 0):
        before = [n - 1 - start for n, start in zip(b.shape, window.starts, strict=True)]
        a = extended(a.astype(dtype, copy=False), before, window.sizes, b.shape, border, fill)
        window = Window("valid", a.shape, b.shape, (0, 1))
        if any(m < n for m, n in zip(a.shape, b.shape, strict=True)):
            return np.zeros(window.sizes, dtype)
    few = made_of_sums(a, b, window)
    made = convolved(a, b, window, strict=few)
    if not few and not np.isfinite(made.sum()):
        return convolved(a, b, window, strict=True)
    return made


def extended(
    a: Array,
    before: list[int],
    outputs: list[int],
    taps: tuple[int, ...],
    mode: str,
    value: Any = 0.0,
) -> Array:
    """What ``outputs`` windows of ``taps`` entries read, the first of them ``before`` the array."""
    for axis, (lo, size, reach) in enumerate(zip(before, outputs, taps, strict=True)):
        places = Border(mode).sources(range(-lo, size + reach - 1 - lo), a.shape[axis])
        at = np.array(places)
        a = np.take(a, np.maximum(at, 0), axis)
        if at.min() < 0:
            outside = (slice(None),) * axis + (at < 0,)
            a[outside] = value
    return a


def sepfir2d(input: ArrayLike, hrow: ArrayLike, hcol: ArrayLike) -> Array:
    """Filter a picture by one kernel along rows and one along columns: ``scipy.signal.sepfir2d``.

    Beyond its ends the picture is mirrored, with its edge repeated.

    Parameters
    ----------
    input : array_like of two axes
        float32, float64, complex64 or complex128; whole numbers are computed in float64.
    hrow, hcol : array_like of one axis
        Kernels of an odd number of taps, along the second axis and along the first.

    Returns
    -------
    ndarray of the shape of ``input``

    Raises
    ------
    ValueError
        An even number of taps, or arrays of other ranks or types.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> signal.sepfir2d(np.eye(3), [1.0, 1.0, 1.0], [1.0])
    array([[2., 1., 0.],
           [1., 1., 1.],
           [0., 1., 2.]])
    """
    x, rows, columns = array("input", input), array("hrow", hrow), array("hcol", hcol)
    if x.ndim != 2 or rows.ndim != 1 or columns.ndim != 1:
        raise FaltungError(
            f"input.ndim={x.ndim}, hrow.ndim={rows.ndim}, hcol.ndim={columns.ndim}: object too "
            "deep or too shallow; must be 2, 1 and 1"
        )
    if rows.size % 2 == 0 or columns.size % 2 == 0:
        raise FaltungError(
            f"hrow.size={rows.size}, hcol.size={columns.size}: hrow and hcol must be odd length"
        )
    dtype = x.dtype if x.dtype.char in "fdFD" else np.result_type(x, np.float64)
    if dtype.char not in "fdFD":
        raise FaltungError(f"input.dtype={x.dtype}: must be float32, float64 or complex")
    for name, kernel in (("hrow", rows), ("hcol", columns)):
        if not np.can_cast(kernel.dtype, dtype, "safe"):
            raise FaltungTypeError(
                f"{name}.dtype={kernel.dtype}: must fit into {dtype}, in which the picture is "
                f"filtered; pass {name}.astype({dtype.name!r})"
            )
    x = x.astype(dtype, copy=False)
    if not x.size:
        return x.copy()
    for axis, kernel in ((1, rows), (0, columns)):
        shape, before = [1, 1], [0, 0]
        shape[axis], before[axis] = kernel.size, kernel.size // 2
        k = kernel.astype(dtype).reshape(shape)
        wide = extended(x, before, list(x.shape), k.shape, "symmetric")
        x = convolved(wide, k, Window("valid", wide.shape, k.shape, (0, 1)), strict=False)
    return x
