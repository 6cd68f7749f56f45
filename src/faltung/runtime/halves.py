"""Arrays of 16-bit floats, with NumPy alone, which has no bfloat16: its numbers are kept as words.

The upper half of a float32 is a bfloat16; rounding adds slightly less than half of the last bit,
and that bit, so that ties go to even. What kernels do in ``codegen/narrow.py`` is the same.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import NARROW

Array = npt.NDArray[Any]

# How NumPy holds them.
HELD = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(np.uint16)}
assert tuple(HELD) == NARROW
# What each number may differ from the one that was rounded, relative to it: half a unit in the last
# place, above the least normal number.
UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
# From here on float16 is infinite.
HALF_LIMIT = 65520


def halved(values: npt.ArrayLike, stored: str) -> Array:
    """Numbers rounded to 16 bits, to nearest with ties to even: float16, or words of bfloat16.

    Those too large for float16 become infinite.

    Examples
    --------
    >>> halved([1.0, 1 / 3], "bfloat16")
    array([16256, 16043], dtype=uint16)
    """
    if stored == "float16":
        with np.errstate(over="ignore"):
            return np.asarray(values).astype(np.float16)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    near = (bits + (odd + np.uint32(0x7FFF))) >> np.uint32(16)
    words = np.where(nan, (bits >> np.uint32(16)) | np.uint32(0x40), near).astype(np.uint16)
    return words.reshape(np.shape(values))


def whole(held: Array, stored: str) -> Array:
    """16-bit numbers, as ``halved`` gives them, in float32; that is exact.

    Examples
    --------
    >>> whole(halved([1.0, 1 / 3], "bfloat16"), "bfloat16")
    array([1.        , 0.33398438], dtype=float32)
    """
    if stored == "float16":
        return held.astype(np.float32)
    bits = np.left_shift(held, 16, dtype=np.uint32)
    return bits.view(np.float32)


def rounded(values: npt.ArrayLike, stored: str) -> Array:
    """The nearest numbers of 16 bits, in float32.

    Examples
    --------
    >>> rounded(1 / 3, "float16")
    array(0.33325195, dtype=float32)
    """
    return whole(halved(values, stored), stored)
