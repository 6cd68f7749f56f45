"""Grad-CAM: where the evidence for a class lies, from maps and their gradients; and its resizing.

Grad-CAM (Selvaraju et al., 2017): the sum of the maps of a layer, each weighted by the mean
gradient of the class's output for it, cut off below 0. For a network that classifies every
position, the class's outputs at all positions are added (Vinogradova et al., 2020).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def grad_cam(maps: Array, grads: Array) -> Array:
    """The heat (n, *space) of maps and gradients (n, C, *space), each from 0 to 1."""
    n, channels = maps.shape[:2]
    weights = grads.reshape(n, channels, -1).mean(2)
    heat = np.einsum("nc,ncp->np", weights, maps.reshape(n, channels, -1))
    return up_to_one(np.maximum(heat, 0).reshape(n, *maps.shape[2:]))


def up_to_one(heat: Array) -> Array:
    """Heat (n, *space) divided by the largest of each sample, where there is any."""
    most = heat.max(tuple(range(1, heat.ndim)), keepdims=True, initial=0)
    return np.asarray(heat / np.where(most > 0, most, 1))


def likeliest(outputs: Array) -> Array:
    """Weights of a sum over outputs (n, C, *space): 1 for the class with the largest mean."""
    n, channels = outputs.shape[:2]
    chosen = outputs.reshape(n, channels, -1).mean(2).argmax(1)
    made = np.zeros_like(outputs)
    made[np.arange(n), chosen] = 1
    return made


def interpolated(values: Array, size: int, axis: int) -> Array:
    """Linear interpolation along one axis; the outer edges of both grids coincide."""
    old = values.shape[axis]
    if old == size:
        return values
    at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(at.astype(np.int64), max(old - 2, 0))
    part = np.expand_dims((at - low).astype(values.dtype), tuple(range(1, values.ndim - axis)))
    high = np.minimum(low + 1, old - 1)
    return np.asarray(values.take(low, axis) * (1 - part) + values.take(high, axis) * part)
