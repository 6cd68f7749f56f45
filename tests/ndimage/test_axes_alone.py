"""Filters of some axes alone: what stands beyond the others' ends is read nowhere."""

import numpy as np
import pytest

from faltung import ndimage

X = np.random.default_rng(0).integers(1, 90, (8, 10)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "nearest", "mirror"])
def test_border_of_the_last_axis(axis: int, mode: str) -> None:
    where = np.array([True, False, True])
    wide = where[None] if axis else where[:, None]
    made = ndimage.maximum_filter(X, footprint=where, axes=(axis,), mode=mode)
    assert np.array_equal(made, ndimage.maximum_filter(X, footprint=wide, mode=mode))
    made = ndimage.correlate(X, [1.0, 2.0, 4.0], axes=(axis,), mode=mode)
    assert np.array_equal(made, ndimage.correlate1d(X, [1.0, 2.0, 4.0], axis=axis, mode=mode))
