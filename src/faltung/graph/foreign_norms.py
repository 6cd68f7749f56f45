"""Normalisation of foreign tensors: over groups of channels and over the last axes.

Gain and shift that are known are vectors of the operation itself where the channels, or the axes,
are the last in memory; otherwise, and where they are computed, they are a formula after it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand, unary
from faltung.graph.foreign import Foreign, Tensor
from faltung.graph.foreign_formulas import Operand, formula
from faltung.graph.foreign_reduce import in_place, is_row, normalised, reduced
from faltung.graph.ops import Normalise

Array = npt.NDArray[Any]

X = operand(0)


def moments(f: Foreign, x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The mean and the variance over axes, which stay as 1."""
    mean = reduced(f, x, axes, "mean", True)
    away = formula(f, lambda x, m: x - m, x, mean)
    return mean, reduced(f, away, axes, "mean", True, X * X)


def inverse_root(f: Foreign, var: Tensor, eps: float) -> Tensor:
    """1 / sqrt(variance + eps)."""
    return formula(f, lambda v: 1 / unary("sqrt", v + eps), var)


def along_channels(f: Foreign, vector: Operand, rank: int) -> Operand:
    """A number for each channel, as it meets (samples, channels, *space)."""
    shape = (vector.shape[0], *(1,) * (rank - 2)) if vector.shape else ()
    if isinstance(vector, np.ndarray):
        return vector.reshape(shape)
    return f.reshaped(vector, shape)


def affine(f: Foreign, y: Tensor, gain: Operand | None, shift: Operand | None) -> Tensor:
    """Times a gain, plus a shift, each of which may be missing."""
    if gain is not None and shift is not None:
        return formula(f, lambda y, g, s: y * g + s, y, gain, shift)
    if gain is not None:
        return formula(f, lambda y, g: y * g, y, gain)
    return y if shift is None else formula(f, lambda y, s: y + s, y, shift)


def scaled(f: Foreign, y: Tensor, gain: Operand | None, shift: Operand | None) -> Tensor:
    """The same with a number for each channel of (samples, channels, *space)."""
    each = (v if v is None else along_channels(f, v, y.rank) for v in (gain, shift))
    return affine(f, y, *each)


def in_channels(x: Tensor) -> bool:
    """Whether (samples, channels, *space) has its channels last in memory."""
    return in_place(x, (0, *range(2, x.rank), 1))


def over_channels(f: Foreign, x: Tensor, op: Normalise, vectors: Sequence[Array]) -> Tensor:
    """A normalisation of maps with vectors of channels: gain, shift, and what else it reads."""
    names = ("weight", "bias", "running_mean", "running_var")
    inputs = [
        f.parameter(name, vector, decay=False, trained=i < 2)
        for i, (name, vector) in enumerate(zip(names, vectors, strict=False))
    ]
    value = f.map(x)
    return f.of_map(f.node(op, (value, *inputs), value.shape), x.dtype)


def over_groups(f: Foreign, x: Tensor, groups: int, eps: float) -> Tensor:
    """Over each of so many groups of channels, without a gain, whatever the order of memory."""
    parts = f.reshaped(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    return f.reshaped(normalised(f, parts, range(2, parts.rank), eps), x.shape)


def over_last(
    f: Foreign,
    x: Tensor,
    axes: Sequence[int],
    eps: float,
    rows: Sequence[Array] | None,
    vectors: Sequence[Operand | None],
    centred: bool = True,
) -> Tensor:
    """Over the last axes. vectors: gain and shift. rows: both as arrays, where they are known; then
    they are a part of the operation if these axes are the last in memory.
    """
    if rows is None or not is_row(x, axes):
        return affine(f, normalised(f, x, axes, eps, centred=centred), *vectors)
    sizes = tuple(x.shape[axis] for axis in axes)
    inputs = [
        f.parameter(name, _flat(array, sizes), decay=False, of=array)
        for name, array in zip(("weight", "bias"), rows, strict=False)
    ]
    return normalised(f, x, axes, eps, inputs, centred)


def _flat(array: Array, sizes: tuple[int, ...]) -> Array:
    """A number for each entry of the axes."""
    try:
        return np.ascontiguousarray(np.broadcast_to(array, sizes)).reshape(-1)
    except ValueError:
        raise FaltungError(f"scale of shape {array.shape}: must be {sizes}") from None
