"""The float64 result that every peer is compared with.

``faltung.reference`` computes the same more simply, and a test compares the two; here each tap is a
matrix product, so that a row of 10^10 multiply-adds takes a second instead of a minute.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD, INPUT_GRAD, WEIGHT_GRAD

Window = tuple[Any, ...]

# Beyond this, signals of one channel are computed by Fourier transform: sums would take minutes.
# The error of NumPy's transform is 1e-15.
MAX_SUM_MACS = 10**10


def answer(problem: Problem) -> Array:
    """The result in the direction of the problem: float64, channels first; zero padding only."""
    if any(axis.mode != "zeros" for axis in problem.spec.axes):
        raise ValueError(f"problem={problem.text!r}: must pad with zeros")
    if (
        problem.spec.macs > MAX_SUM_MACS
        and problem.spec.rank == 1
        and problem.spec.channels_in == problem.spec.channels_out == 1
    ):
        return _long(problem)
    if problem.direction == INPUT_GRAD:
        return _input_grad(problem)
    return _weight_grad(problem) if problem.direction == WEIGHT_GRAD else _forward(problem)


def _forward(problem: Problem) -> Array:
    spec, weight = problem.spec, _grouped_weight(problem)
    padded = np.pad(problem.x.astype(np.float64), [(0, 0), (0, 0), *problem.pads])
    result = np.zeros((spec.batch, spec.groups, weight.shape[1], prod(spec.output_shape[2:])))
    for tap, window in _windows(problem):
        result += weight[tap] @ _flat(padded[window], spec.groups)
    result = result.reshape(spec.output_shape)
    if problem.bias is not None:
        result += problem.bias.reshape(-1, *[1] * spec.rank)
    return result


def _long(problem: Problem) -> Array:
    """A signal of one channel, in any direction, by transforms over its whole length."""
    (axis,), turn = problem.spec.axes, slice(None, None, -1 if problem.spec.flip else 1)
    size, rfft, irfft = axis.padded, np.fft.rfft, np.fft.irfft
    padded = np.pad(problem.x.astype(np.float64), [(0, 0), (0, 0), *problem.pads])
    kernel = np.zeros(axis.extent)
    kernel[:: axis.dilation] = problem.weight[0, 0][turn]
    outputs = slice(0, size - axis.extent + 1, axis.stride)
    if problem.direction == FORWARD:
        return irfft(rfft(padded) * np.conj(rfft(kernel, size)), size)[..., outputs]
    grad = np.zeros(padded.shape)
    grad[..., outputs] = problem.grad
    if problem.direction == INPUT_GRAD:
        full = irfft(rfft(grad) * rfft(kernel, size), size)
        return full[..., axis.lo : axis.lo + axis.size]
    sums = irfft((rfft(padded) * np.conj(rfft(grad))).sum(0, keepdims=True), size)
    return sums[..., : axis.extent : axis.dilation][..., turn]


def _input_grad(problem: Problem) -> Array:
    spec, weight = problem.spec, _grouped_weight(problem)
    grad = _flat(problem.grad.astype(np.float64), spec.groups)
    padded = np.zeros((spec.batch, spec.channels_in, *(axis.padded for axis in spec.axes)))
    for tap, window in _windows(problem):
        padded[window] += (weight[tap].swapaxes(-1, -2) @ grad).reshape(padded[window].shape)
    inside: Window = (..., *(slice(axis.lo, axis.lo + axis.size) for axis in spec.axes))
    return padded[inside]


def _weight_grad(problem: Problem) -> Array:
    spec = problem.spec
    grad = _flat(problem.grad.astype(np.float64), spec.groups)
    padded = np.pad(problem.x.astype(np.float64), [(0, 0), (0, 0), *problem.pads])
    result = np.zeros(_grouped_weight(problem).shape)
    for tap, window in _windows(problem):
        result[tap] = (grad @ _flat(padded[window], spec.groups).swapaxes(-1, -2)).sum(0)
    return result.reshape(spec.weight_shape)


def _grouped_weight(problem: Problem) -> Array:
    """The weight as (groups, C_out // groups, C_in // groups, *kernel)."""
    weight, groups = problem.weight.astype(np.float64), problem.spec.groups
    return weight.reshape(groups, -1, *weight.shape[1:])


def _flat(array: Array, groups: int) -> Array:
    """From (N, C, *space) to (N, groups, C // groups, positions)."""
    return array.reshape(array.shape[0], groups, array.shape[1] // groups, -1)


def _windows(problem: Problem) -> Iterator[tuple[Window, Window]]:
    """For each tap, the index of its weight and that of what all outputs read there."""
    spec = problem.spec
    for tap in product(*(range(size) for size in spec.kernel)):
        where = tuple(s - 1 - k for k, s in zip(tap, spec.kernel, strict=True))
        firsts = [(k * axis.dilation, axis) for k, axis in zip(tap, spec.axes, strict=True)]
        window = (slice(i, i + (a.output - 1) * a.stride + 1, a.stride) for i, a in firsts)
        yield (..., *(where if spec.flip else tap)), (..., *window)
