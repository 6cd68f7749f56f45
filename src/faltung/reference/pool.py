"""The definition of pooling and its gradients, as loops over taps.

Float64 throughout, whatever the inputs are. Each function is one loop over the taps of the window;
what a tap reads is a strided view of the padded input. Slow, and deliberately so.

x: (batch, channels, *space); g, the output gradient, and index: (batch, channels, *output).
ValueError: an array whose shape differs from the spec's.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faltung.geometry.errors import FaltungError
from faltung.geometry.pool import PoolSpec

Array = NDArray[np.float64]
Taps = NDArray[np.int64]


def _array(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise FaltungError(f"{name}: has shape {array.shape}, must have {shape}")
    return array


def _windows(spec: PoolSpec) -> Iterator[tuple[Any, ...]]:
    """For each tap, the last axis fastest, the index of what all outputs read there."""
    for tap in product(*(range(size) for size in spec.kernel)):
        window: list[Any] = [...]
        for k, axis in zip(tap, spec.axes, strict=True):
            first = k * axis.dilation
            window.append(slice(first, first + (axis.output - 1) * axis.stride + 1, axis.stride))
        yield tuple(window)


def _padded(x: Array, spec: PoolSpec) -> Array:
    return np.pad(x, [(0, 0), (0, 0), *spec.padding])


def _unpadded(padded: Array, spec: PoolSpec) -> Array:
    inside: list[Any] = [slice(axis.lo, axis.lo + axis.size) for axis in spec.axes]
    return np.ascontiguousarray(padded[(..., *inside)])


def max_pool(x: ArrayLike, spec: PoolSpec) -> tuple[Array, Taps]:
    """The maximum of each window and the number of its tap, both (batch, channels, *output).

    Taps, including those in the padding, are numbered with the last axis fastest. The first of
    equal maxima is chosen; NaN counts as larger than any number or earlier NaN (as in PyTorch).
    """
    x = _array("x", x, spec.input_shape)
    padded, inside = _padded(x, spec), _padded(np.ones(spec.input_shape), spec) == 1
    best = np.full(spec.output_shape, -np.inf)
    index = np.full(spec.output_shape, -1, dtype=np.int64)
    for number, window in enumerate(_windows(spec)):
        read = padded[window]
        larger = inside[window] & ((read > best) | np.isnan(read) | (index < 0))
        best[larger], index[larger] = read[larger], number
    return best, index


def max_pool_grad(g: ArrayLike, index: ArrayLike, spec: PoolSpec) -> Array:
    """The gradient of sum(max_pool(x) * g) with respect to x: it goes to the chosen taps."""
    grad, chosen = _array("g", g, spec.output_shape), _array("index", index, spec.output_shape)
    padded = _padded(np.zeros(spec.input_shape), spec)
    for number, window in enumerate(_windows(spec)):
        padded[window] += np.where(chosen == number, grad, 0)
    return _unpadded(padded, spec)


def counts(spec: PoolSpec) -> Array:
    """What the sum of each window is divided by, (*output)."""
    counted = np.ones(spec.size)
    beyond = [(0, entries) for entries in spec.overhang]
    if spec.count_padding:
        own = zip(spec.padding, spec.overhang, strict=True)
        counted = np.pad(counted, [(lo, hi - o) for (lo, hi), o in own], constant_values=1)
    else:
        beyond = list(spec.padding)
    counted = np.pad(counted, beyond)
    result = np.zeros(spec.output)
    for window in _windows(spec):
        result += counted[window]
    return result


def average_pool(x: ArrayLike, spec: PoolSpec) -> Array:
    """The mean of each window, (batch, channels, *output)."""
    padded = _padded(_array("x", x, spec.input_shape), spec)
    result = np.zeros(spec.output_shape)
    for window in _windows(spec):
        result += padded[window]
    return result / counts(spec)


def average_pool_grad(g: ArrayLike, spec: PoolSpec) -> Array:
    """The gradient of sum(average_pool(x) * g) with respect to x, spread over each window."""
    grad = _array("g", g, spec.output_shape) / counts(spec)
    padded = _padded(np.zeros(spec.input_shape), spec)
    for window in _windows(spec):
        padded[window] += grad
    return _unpadded(padded, spec)
