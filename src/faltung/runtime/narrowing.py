"""Whole numbers into another dtype: what does not fit is refused, or clipped, and never wrapped.

NumPy's own conversions take a number modulo 2 to the width of the dtype: of a label 2**63 + 1 they
make a negative one, of the index 2**32 + 5 the index 5.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError

Array = npt.NDArray[Any]


def narrowed(name: str, values: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    """Whole numbers as a contiguous array of another whole dtype. ``name``: of the argument.

    TypeError: not whole numbers. ValueError: one that the dtype does not hold, and where it stands.
    """
    given, wanted = _whole(name, values), np.dtype(dtype)
    if given.size and not np.can_cast(given.dtype, wanted, "safe"):
        limits = np.iinfo(wanted)
        low, high = int(given.min()), int(given.max())
        if low < limits.min or high > limits.max:
            wrong = low if low < limits.min else high
            place = np.argwhere(given == given.dtype.type(wrong))[0].tolist()
            raise FaltungError(
                f"{name}{place or ''}={wrong}: must be from {limits.min} to {limits.max}, as "
                f"{wanted} holds"
            )
    return np.ascontiguousarray(given, wanted).reshape(given.shape)


def clipped(name: str, values: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    """Whole numbers as a contiguous and aligned array of another whole dtype; what it does not hold
    becomes its least or its largest. TypeError: not whole numbers.
    """
    given, wanted = _whole(name, values), np.dtype(dtype)
    if not np.can_cast(given.dtype, wanted, "safe"):
        here, there = np.iinfo(given.dtype), np.iinfo(wanted)
        # Bounds that both dtypes hold: NumPy compares with them in the dtype of the array.
        low, high = max(here.min, there.min), min(here.max, there.max)
        given = np.clip(given, given.dtype.type(low), given.dtype.type(high))
    return np.require(given, wanted, ["C", "A"])


def _whole(name: str, values: npt.ArrayLike) -> Array:
    given = np.asarray(values)
    if given.dtype.kind not in "bui":
        what = given.dtype if given.dtype != object else f"object ({show(values)})"
        raise FaltungTypeError(f"{name}.dtype={what}: must be whole numbers")
    return given
