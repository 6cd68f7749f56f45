"""What the tests of this folder share: arrays of any dtype, and how results are compared."""

from typing import Any

import numpy as np

DTYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex64".split()
DTYPES.append("complex128")
TOLERANCES = {"f": 2e-5, "F": 2e-5, "d": 1e-12, "D": 1e-12}


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    made = rng.standard_normal(shape)
    return (made + 1j * rng.standard_normal(shape) if kind == "c" else made).astype(dtype)


def same(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], single: bool = False) -> None:
    """The same dtype, shape and numbers. ``single``: parts were computed in single precision."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if ours.dtype.char in TOLERANCES:
        scale = max(1.0, float(np.abs(theirs).max(initial=0)))
        tolerance = TOLERANCES["f" if single else ours.dtype.char]
        assert np.abs(ours - theirs).max(initial=0) <= tolerance * scale
    else:
        np.testing.assert_array_equal(ours, theirs)
