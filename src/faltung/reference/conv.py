"""The definition of convolution, its gradients and its transpose, as loops over taps.

Float64 throughout, whatever the inputs are. Each function is one loop over the taps of the kernel;
what a tap reads is a strided view of the padded input. Slow, and deliberately so.

x: (batch, channels_in, *space); w: (channels_out, channels_in // groups, *kernel); bias:
(channels_out,) or None; g, the output gradient: (batch, channels_out, *output).
ValueError: an array whose shape differs from the spec's.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError

Array = NDArray[np.float64]
Index = tuple[Any, ...]  # what an array is indexed by


def _array(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise FaltungError(f"{name}: has shape {array.shape}, must have {shape}")
    return array


def _grouped(array: Array, groups: int, axis: int) -> Array:
    """Split the channels at ``axis`` into two axes, (groups, channels // groups)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _windows(spec: ConvSpec) -> Iterator[tuple[Index, Index]]:
    """For each tap, the index of its weight and that of what all outputs read there.

    A tap reads the padded input from ``tap * dilation`` on, in steps of the stride. The convolution
    of mathematics (``flip``) pairs the first input read with the last weight.
    """
    for tap in product(*(range(size) for size in spec.kernel)):
        window = []
        for k, axis in zip(tap, spec.axes, strict=True):
            first = k * axis.dilation
            window.append(slice(first, first + (axis.output - 1) * axis.stride + 1, axis.stride))
        mirrored = tuple(size - 1 - k for k, size in zip(tap, spec.kernel, strict=True))
        yield (..., *(mirrored if spec.flip else tap)), (..., *window)


def pad(x: ArrayLike, spec: ConvSpec) -> Array:
    """The padded input, (batch, channels_in, *padded): position j holds the source of j - lo."""
    result = _array("x", x, spec.input_shape)
    for dim, axis in enumerate(spec.axes, start=2):
        sources = [axis.source(j - axis.lo) for j in range(axis.padded)]
        result = np.take(result, [source or 0 for source in sources], axis=dim)
        zeros = [j for j, source in enumerate(sources) if source is None]
        np.moveaxis(result, dim, 0)[zeros] = 0.0
    return result


def fold(padded: ArrayLike, spec: ConvSpec) -> Array:
    """The transpose of ``pad``: adds every padded position to the entry it was copied from."""
    result = np.asarray(padded, dtype=np.float64)
    for dim, axis in enumerate(spec.axes, start=2):
        source_first = np.moveaxis(result, dim, 0)
        folded = np.zeros((axis.size, *source_first.shape[1:]))
        for j, values in enumerate(source_first):
            source = axis.source(j - axis.lo)
            if source is not None:
                folded[source] += values
        result = np.moveaxis(folded, 0, dim)
    return np.ascontiguousarray(result)


def conv(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None, spec: ConvSpec) -> Array:
    """The convolution, (batch, channels_out, *output)."""
    padded = _grouped(pad(x, spec), spec.groups, axis=1)
    weight = _grouped(_array("w", w, spec.weight_shape), spec.groups, axis=0)
    result = np.zeros(spec.output_shape)
    grouped = _grouped(result, spec.groups, axis=1)  # a view: sums land in ``result``
    for tap, window in _windows(spec):
        grouped += np.einsum("ngc...,goc->ngo...", padded[window], weight[tap])
    if bias is not None:
        column = (1, spec.channels_out) + (1,) * spec.rank
        result += _array("bias", bias, (spec.channels_out,)).reshape(column)
    return result


def conv_input_grad(g: ArrayLike, w: ArrayLike, spec: ConvSpec) -> Array:
    """The gradient of sum(conv(x) * g) with respect to x, in the shape of x."""
    grad = _grouped(_array("g", g, spec.output_shape), spec.groups, axis=1)
    weight = _grouped(_array("w", w, spec.weight_shape), spec.groups, axis=0)
    padded = np.zeros((spec.batch, spec.channels_in, *(axis.padded for axis in spec.axes)))
    grouped = _grouped(padded, spec.groups, axis=1)  # a view: sums land in ``padded``
    for tap, window in _windows(spec):
        grouped[window] += np.einsum("ngo...,goc->ngc...", grad, weight[tap])
    return fold(padded, spec)


def conv_weight_grad(x: ArrayLike, g: ArrayLike, spec: ConvSpec) -> Array:
    """The gradient of sum(conv(x) * g) with respect to w, in the shape of w."""
    padded = _grouped(pad(x, spec), spec.groups, axis=1)
    grad = _grouped(_array("g", g, spec.output_shape), spec.groups, axis=1)
    result = np.zeros(spec.weight_shape)
    grouped = _grouped(result, spec.groups, axis=0)  # a view: sums land in ``result``
    positions = (prod(spec.output),)  # all spatial axes as one, to sum over
    flat_grad = grad.reshape(grad.shape[:3] + positions)
    for tap, window in _windows(spec):
        flat_read = padded[window].reshape(padded.shape[:3] + positions)
        grouped[tap] = np.einsum("ngcp,ngop->goc", flat_read, flat_grad)
    return result


def conv_transpose(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None, spec: ConvSpec) -> Array:
    """The transposed convolution, (batch, channels_in, *space) of ``spec``.

    ``spec`` is what ``geometry.transposed`` returns: x has its output_shape, w its weight_shape,
    and bias its channels_in.
    """
    result = conv_input_grad(x, w, spec)
    if bias is not None:
        column = (1, spec.channels_in) + (1,) * spec.rank
        result += _array("bias", bias, (spec.channels_in,)).reshape(column)
    return result
