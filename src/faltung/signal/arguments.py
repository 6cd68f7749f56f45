"""What people pass to the functions of this package: modes, axes and pairs of arrays, checked."""

from collections.abc import Iterable, Sequence
from numbers import Number
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.ops.arguments import Array

MODES = ("full", "same", "valid")
METHODS = ("auto", "direct", "fft")
# A word that was seen for each of ours, in other libraries.
OTHER_WORDS = {"reflect": "symm", "zeros": "fill", "constant": "fill"}


def mode_of(mode: object) -> str:
    """One of ``MODES``."""
    if isinstance(mode, str) and mode in MODES:
        return mode
    hint = ""
    if isinstance(mode, str) and mode.lower() in MODES:
        hint = f"; {mode.lower()!r} is meant"
    raise FaltungError(f"mode={mode!r}: acceptable mode flags are 'valid', 'same', or 'full'{hint}")


def method_of(method: object) -> str:
    """One of ``METHODS``."""
    if isinstance(method, str) and method in METHODS:
        return method
    raise FaltungError(f"method={method!r}: acceptable method flags are 'auto', 'direct', or 'fft'")


def array(name: str, value: ArrayLike) -> Array:
    """A plain NumPy array; masked ones and those with a unit are refused, with the remedy."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise FaltungTypeError(f"{name}: must not be a masked array; pass {name}.filled(0)")
    if hasattr(value, "unit") and hasattr(value, "to_value"):
        raise FaltungTypeError(
            f"{name}: must be plain numbers without a unit; pass {name}.value and give the result "
            "its unit again"
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise FaltungError(f"{name}: must be an array, {error}") from None


def pair(in1: ArrayLike, in2: ArrayLike) -> tuple[Array, Array]:
    """Two arrays with the same number of axes."""
    a, b = array("in1", in1), array("in2", in2)
    if a.ndim != b.ndim:
        raise FaltungError(
            f"in1.ndim={a.ndim}, in2.ndim={b.ndim}: in1 and in2 should have the same "
            "dimensionality; add axes of one entry with in2[np.newaxis]"
        )
    return a, b


def swaps(a: Sequence[int], b: Sequence[int], axes: Iterable[int]) -> bool:
    """Whether the first of two shapes must be the kernel of a "valid" result.

    ValueError: neither is as large as the other along all axes.
    """
    axes = tuple(axes)
    if all(a[i] >= b[i] for i in axes):
        return False
    if all(b[i] >= a[i] for i in axes):
        return True
    raise FaltungError(
        f"in1.shape={tuple(a)}, in2.shape={tuple(b)}: For 'valid' mode, one must be at least as "
        "large as the other in every dimension"
    )


def axes_of(axes: Any, ndim: int) -> list[int]:
    """The axes that are convolved, not negative, in the order given; all for None."""
    if axes is None:
        return list(range(ndim))
    try:
        found = [index(a) for a in ((axes,) if isinstance(axes, Number) else axes)]  # type: ignore[arg-type]
    except TypeError:
        raise FaltungError(
            f"axes={axes!r}: axes must be a scalar or iterable of integers"
        ) from None
    if not found:
        raise FaltungError(f"axes={axes!r}: when provided, axes cannot be empty; None means all")
    if any(not -ndim <= a < ndim for a in found):
        raise FaltungError(f"axes={axes!r}: axes exceeds dimensionality of input, {ndim}")
    found = [a % ndim for a in found]
    if len(set(found)) != len(found):
        raise FaltungError(f"axes={axes!r}: all axes must be unique")
    return found


def lines_of(x: Array, axis: int) -> Array:
    """The array with an axis, not negative, as its last one."""
    return x if axis == x.ndim - 1 else np.moveaxis(x, axis, -1)


def lines_back(made: Array, axis: int) -> Array:
    """The reverse."""
    return made if axis == made.ndim - 1 else np.moveaxis(made, -1, axis)


def axis_of(axis: Any, ndim: int) -> int:
    """One axis, not negative."""
    try:
        at = index(axis)
    except TypeError:
        raise FaltungTypeError(f"axis={axis!r}: must be a whole number") from None
    if not -ndim <= at < ndim:
        raise FaltungAxisError(f"axis={axis}: must be an axis of an array of {ndim} dimensions")
    return at % ndim


class FaltungAxisError(FaltungError, IndexError):
    """An axis that an array does not have: also an ``IndexError``, as NumPy's is."""
