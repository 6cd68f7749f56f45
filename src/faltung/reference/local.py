"""The definition of the locally connected layer, and of the three forms of one linear map.

A convolution has one kernel for all output positions, a locally connected layer one for each:

    h[n, co, o] = bias[o, co] + sum over ci, k of v[o, co, ci, k] x[n, ci, o s - lo + k d]

and a dense layer has a weight for every pair of input and output. A convolution is a local layer
with repeated weights, and that is a dense layer with zeros; the conversions here are exact.

Float64 throughout. x: (batch, channels_in, *space); w: (*output, channels_out, channels_in //
groups, *kernel); bias: (*output, channels_out) or None; g, the output gradient: (batch,
channels_out, *output). Padding modes, dilation, groups and flip as in a convolution.
ValueError: an array whose shape differs from the spec's.
"""

from itertools import product
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.conv import ConvSpec
from faltung.reference.conv import Array, Index, _array, _windows, fold, pad


def weight_shape(spec: ConvSpec) -> tuple[int, ...]:
    """The shape of the weight, (*output, channels_out, channels_in // groups, *kernel)."""
    return (*spec.output, *spec.weight_shape)


def bias_shape(spec: ConvSpec) -> tuple[int, ...]:
    """The shape of the bias, (*output, channels_out)."""
    return (*spec.output, spec.channels_out)


def _flat(w: Array, spec: ConvSpec) -> Array:
    """The weight as (positions, groups, channels_out // groups, channels_in // groups, *kernel)."""
    inner = spec.weight_shape[1:]
    return w.reshape(prod(spec.output), spec.groups, spec.channels_out // spec.groups, *inner)


def _grouped(x: Array, spec: ConvSpec) -> Array:
    """A feature map as (batch, groups, channels // groups, positions)."""
    return x.reshape(spec.batch, spec.groups, -1, prod(spec.output))


def local(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None, spec: ConvSpec) -> Array:
    """The local layer, (batch, channels_out, *output)."""
    padded = pad(x, spec)
    weight = _flat(_array("w", w, weight_shape(spec)), spec)
    result = np.zeros(spec.output_shape)
    # A view: sums land in ``result``.
    flat = result.reshape(spec.batch, spec.groups, -1, prod(spec.output)) if result.size else result
    for tap, window in _windows(spec) if result.size else ():
        flat += np.einsum("ngcp,pgoc->ngop", _grouped(padded[window], spec), weight[tap])
    if bias is not None:
        result += np.moveaxis(_array("bias", bias, bias_shape(spec)), -1, 0)
    return result


def local_input_grad(g: ArrayLike, w: ArrayLike, spec: ConvSpec) -> Array:
    """The gradient of sum(local(x) * g) with respect to x, in the shape of x."""
    weight = _flat(_array("w", w, weight_shape(spec)), spec)
    grad = _array("g", g, spec.output_shape)
    padded = np.zeros((spec.batch, spec.channels_in, *(axis.padded for axis in spec.axes)))
    for tap, window in _windows(spec) if grad.size else ():
        share = np.einsum("ngop,pgoc->ngcp", _grouped(grad, spec), weight[tap])
        padded[window] += share.reshape(padded[window].shape)
    return fold(padded, spec)


def local_weight_grad(x: ArrayLike, g: ArrayLike, spec: ConvSpec) -> Array:
    """The gradient of sum(local(x) * g) with respect to w, in the shape of w."""
    padded = pad(x, spec)
    grad = _array("g", g, spec.output_shape)
    result = np.zeros(weight_shape(spec))
    flat = _flat(result, spec)  # a view
    for tap, window in _windows(spec) if grad.size else ():
        read = _grouped(padded[window], spec)
        flat[tap] = np.einsum("ngcp,ngop->pgoc", read, _grouped(grad, spec))
    return result


def local_bias_grad(g: ArrayLike, spec: ConvSpec) -> Array:
    """The gradient with respect to the bias, (*output, channels_out): a sum over the batch."""
    return np.moveaxis(_array("g", g, spec.output_shape).sum(axis=0), 0, -1)


# The three forms ----------------------------------------------------------------------------------


def local_from_conv(weight: ArrayLike, output: tuple[int, ...]) -> Array:
    """A convolution as a local layer: its weight, once for each output position.

    weight: (channels_out, channels_in // groups, *kernel).
    """
    kernel = np.asarray(weight, dtype=np.float64)
    return np.array(np.broadcast_to(kernel, (*output, *kernel.shape)))


def dense_from_local(w: ArrayLike, spec: ConvSpec) -> Array:
    """A local layer without bias as a matrix M: local(x).ravel() = M @ x.ravel() for each sample.

    Its shape is (prod(output_shape[1:]), prod(input_shape[1:])); rows and columns are in the order
    channel, *space.
    """
    weight = _array("w", w, weight_shape(spec))
    matrix = np.zeros((*spec.output_shape[1:], *spec.input_shape[1:]))
    for o in product(*(range(size) for size in spec.output)):
        for k in product(*(range(size) for size in spec.kernel)):
            sources = [
                axis.source(at * axis.stride - axis.lo + tap * axis.dilation)
                for at, tap, axis in zip(o, k, spec.axes, strict=True)
            ]
            if any(source is None for source in sources):
                continue
            mirrored = tuple(size - 1 - tap for tap, size in zip(k, spec.kernel, strict=True))
            outs, ins = (n // spec.groups for n in (spec.channels_out, spec.channels_in))
            for g in range(spec.groups):
                made, read = slice(g * outs, (g + 1) * outs), slice(g * ins, (g + 1) * ins)
                of: Index = (*o, made, slice(None), *(mirrored if spec.flip else k))
                to: Index = (made, *o, read, *sources)
                matrix[to] += weight[of]
    return matrix.reshape(prod(spec.output_shape[1:]), prod(spec.input_shape[1:]))


def dense_from_conv(weight: ArrayLike, spec: ConvSpec) -> Array:
    """A convolution as a matrix, as in ``dense_from_local``.

    weight: (channels_out, channels_in // groups, *kernel).
    """
    return dense_from_local(local_from_conv(weight, spec.output), spec)
