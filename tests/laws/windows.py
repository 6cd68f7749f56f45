"""A second oracle, which shares nothing with the first: convolutions by lists of indices.

Each entry of an axis has a number, from 1 on, and NumPy pads the numbers instead of the entries, so
that each mode of padding is that of ``np.pad``, and 0 is a zero. Sums are as wide as numbers get.
"""

import math
from typing import Any

import numpy as np

from faltung.geometry import ConvSpec

Array = np.ndarray[Any, Any]
MODES = {"reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}


def read(spec: ConvSpec) -> Array:
    """(positions, taps): the number of the entry that a position reads at a tap, 0 for a zero."""
    numbers = np.arange(1, math.prod(spec.size) + 1).reshape(spec.size)
    for dim, axis in enumerate(spec.axes):
        widths = [(0, 0)] * spec.rank
        widths[dim] = (axis.lo, axis.hi)
        numbers = np.pad(numbers, widths, MODES.get(axis.mode, "constant"))  # type: ignore[call-overload]
    for dim, axis in enumerate(spec.axes):
        starts = np.arange(axis.output) * axis.stride
        rows = starts[:, None] + np.arange(axis.kernel) * axis.dilation
        numbers = np.take(numbers, rows, axis=2 * dim)
    order = [*range(0, 2 * spec.rank, 2), *range(1, 2 * spec.rank, 2)]
    return numbers.transpose(order).reshape(-1, spec.taps)


def columns(x: Array, spec: ConvSpec, numbers: Array) -> Array:
    """x (N, C, *space) -> (N, groups, C / groups, positions, taps)."""
    flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    flat = np.concatenate([np.zeros((*x.shape[:2], 1), x.dtype), flat], axis=2)
    per_group = spec.channels_in // spec.groups
    return flat[:, :, numbers].reshape(len(x), spec.groups, per_group, *numbers.shape)


def grouped(g: Array, spec: ConvSpec) -> Array:
    """g (N, C_out, *space) -> (N, groups, C_out / groups, positions)."""
    per_group = spec.channels_out // spec.groups
    return g.reshape(len(g), spec.groups, per_group, math.prod(spec.output))


def taps(w: Array, spec: ConvSpec) -> Array:
    """w -> (groups, C_out / groups, C_in / groups, taps), as they meet the entries."""
    turned = np.flip(w, range(2, w.ndim)) if spec.flip else w
    return turned.reshape(spec.groups, -1, w.shape[1], spec.taps)


def forward(x: Array, w: Array, bias: Array, spec: ConvSpec) -> Array:
    made = np.einsum("ngcpt,gdct->ngdp", columns(x, spec, read(spec)), taps(w, spec))
    return made.reshape(spec.output_shape) + bias.reshape(-1, *[1] * spec.rank)


def input_grad(g: Array, w: Array, spec: ConvSpec) -> Array:
    numbers = read(spec)
    parts = np.einsum("ngdp,gdct->ptngc", grouped(g, spec), taps(w.conj(), spec))
    made = np.zeros((math.prod(spec.size) + 1, spec.batch, spec.channels_in), parts.dtype)
    np.add.at(made, numbers.ravel(), parts.reshape(numbers.size, *made.shape[1:]))
    return np.moveaxis(made[1:], 0, 2).reshape(spec.input_shape)


def weight_grad(x: Array, g: Array, spec: ConvSpec) -> Array:
    made = np.einsum("ngcpt,ngdp->gdct", columns(x.conj(), spec, read(spec)), grouped(g, spec))
    made = made.reshape(spec.weight_shape)
    return np.flip(made, range(2, made.ndim)) if spec.flip else made
