"""Resizing along axes by linear interpolation, smoothed where the length shrinks."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.runtime.memory import require

_TAP_BYTES = 40  # of one point and its share while they are computed


@lru_cache(64)
def _taps(old: int, new: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The old points (new, k) that each new point depends on, and their weights, which sum to 1.

    A triangle around each new point, as wide as the step between them but at least one old point,
    cut off at the ends, like Pillow's BILINEAR.
    """
    step = old / new
    wide = max(step, 1.0)
    centre = (np.arange(new) + 0.5) * step - 0.5
    points = np.floor(centre - wide)[:, np.newaxis] + np.arange(1, int(2 * wide) + 2)
    shares = np.maximum(1 - np.abs(points - centre[:, np.newaxis]) / wide, 0)
    shares[(points < 0) | (points >= old)] = 0
    shares /= shares.sum(1, keepdims=True)
    return points.clip(0, old - 1).astype(np.int64), shares.astype(np.float32)


def resize(array: npt.NDArray[Any], space: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The last ``len(space)`` axes resized to these lengths, in float32."""
    out = array
    for axis, new in enumerate(space, array.ndim - len(space)):
        if out.shape[axis] != new:
            taps = int(2 * max(out.shape[axis] / new, 1.0)) + 1  # points that each depends on
            values = out.size // out.shape[axis] * new
            require(taps * (_TAP_BYTES * new + out.itemsize * values), f"size={space}: a sample")
            points, shares = _taps(out.shape[axis], new)
            near = np.moveaxis(out, axis, -1)[..., points]
            out = np.moveaxis(np.einsum("...nk,nk->...n", near, shares), -1, axis)
    return np.ascontiguousarray(out, np.float32)
