"""Normalisation, from ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import maximum, operand, power, unary
from faltung.graph.foreign import Foreign, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_norms import (
    affine,
    along_channels,
    in_channels,
    inverse_root,
    moments,
    over_channels,
    over_groups,
    over_last,
    scaled,
)
from faltung.graph.foreign_reduce import reduced
from faltung.graph.ops import ChannelConv, Normalise
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import map_of

Array = npt.NDArray[Any]

X = operand(0)


def _channels(a: Arguments, x: Tensor) -> int:
    if x.rank < 2:
        raise FaltungError(f"input of shape {x.shape}: must be (batch, channels, *space)")
    return x.shape[1]


def _vector(array: Array, count: int, what: str) -> Array:
    if array.shape != (count,):
        raise FaltungError(f"{what} of shape {array.shape}: must have {count} numbers")
    return array


def batch_norm(a: Arguments) -> Tensor | list[Tensor]:
    x = a.floats(0)
    if not a.whole("spatial", 1):
        raise Unsaid("spatial=0")
    channels = _channels(a, x)
    f, eps = a.f, a.number("epsilon", 1e-5)
    given = [a[i] for i in range(1, 5)]
    if a.whole("training_mode", 0) or any(a.call.outputs[1:]):
        return _batch_norm_in_training(a, x, given, eps)
    arrays = [each for each in given if isinstance(each, np.ndarray)]
    if len(arrays) < len(given):
        away, gain = (along_channels(f, each, x.rank) for each in (given[2], given[3]))
        y = formula(f, lambda x, m, v: (x - m) / unary("sqrt", v + eps), x, away, gain)
        return scaled(f, y, given[0], given[1])
    names = ("weight", "bias", "running_mean", "running_var")
    vectors = [_vector(v, channels, name) for name, v in zip(names, arrays, strict=True)]
    momentum = 1 - a.number("momentum", 0.9)  # of what is kept, and here of what is new
    op = Normalise("batch", eps, momentum=momentum, training=f.b.training)
    return over_channels(f, x, op, vectors)


def _batch_norm_in_training(
    a: Arguments, x: Tensor, given: Sequence[Tensor | Array], eps: float
) -> list[Tensor]:
    """By the statistics of this batch; the running ones follow, with the biased variance."""
    f, keep = a.f, a.number("momentum", 0.9)
    if len(a.call.outputs) > 3:
        raise Unsaid("the saved statistics of old opsets")
    axes = [0, *range(2, x.rank)]
    mean, var = moments(f, x, axes)
    y = formula(f, lambda x, m, v: (x - m) / unary("sqrt", v + eps), x, mean, var)
    made = [scaled(f, y, given[0], given[1])]
    for number, now in ((2, mean), (3, var)):
        flat = f.reshaped(now, (x.shape[1],))
        before = given[number]
        made.append(formula(f, lambda n, b: b * keep + n * (1 - keep), flat, before))
    return made[: len(a.call.outputs)]


# Groups -------------------------------------------------------------------------------------------


def _grouped(a: Arguments, groups: int, each_group: bool = False) -> Tensor:
    """each_group: gain and shift have a number for each group of channels."""
    gain, shift = a[1], a[2]
    x = a.floats(0)
    channels, _ = map_of(a, x)
    if groups < 1 or channels % groups:
        raise FaltungError(f"num_groups={groups}: must divide the {channels} channels")
    f, eps = a.f, a.number("epsilon", 1e-5)
    if in_channels(x) and isinstance(gain, np.ndarray) and isinstance(shift, np.ndarray):
        if each_group:
            gain, shift = (np.repeat(v, channels // groups) for v in (gain, shift))
        vectors = [_vector(v, channels, name) for name, v in (("weight", gain), ("bias", shift))]
        return over_channels(f, x, Normalise("group", eps, groups), vectors)
    y = over_groups(f, x, groups, eps)
    if each_group:
        parts = f.reshaped(y, (x.shape[0], groups, channels // groups, *x.shape[2:]))
        return f.reshaped(scaled(f, parts, gain, shift), x.shape)
    return scaled(f, y, gain, shift)


def instance_norm(a: Arguments) -> Tensor:
    x = a.floats(0)
    return _grouped(a, _channels(a, x))


def group_norm(a: Arguments) -> Tensor:
    return _grouped(a, a.whole("num_groups", 1), each_group=a.opset < 21)


# Axes ---------------------------------------------------------------------------------------------


def layer_norm(a: Arguments) -> Tensor | list[Tensor]:
    x = a.floats(0)
    axes = range(a.axis(x.rank, -1), x.rank)
    eps = a.number("epsilon", 1e-5)
    vectors = [a[1], a[2] if a.has(2) else None]
    if not any(a.call.outputs[1:]):
        return _normalised(a.f, x, axes, eps, vectors, True)
    f = a.f
    mean, var = moments(f, x, axes)
    rstd = inverse_root(f, var, eps)
    y = formula(f, lambda x, m, r: (x - m) * r, x, mean, rstd)
    return [affine(f, y, *vectors), mean, rstd][: len(a.call.outputs)]


def rms_norm(a: Arguments) -> Tensor:
    x = a.floats(0)
    axes = range(a.axis(x.rank, -1), x.rank)
    return _normalised(a.f, x, axes, a.number("epsilon", 1e-5), [a[1], None], False)


def _normalised(
    f: Foreign,
    x: Tensor,
    axes: Sequence[int],
    eps: float,
    vectors: Sequence[Tensor | Array | None],
    centred: bool,
) -> Tensor:
    given = [v for v in vectors if v is not None]
    rows = [v for v in given if isinstance(v, np.ndarray)]
    known = rows if len(rows) == len(given) else None
    return over_last(f, x, axes, eps, known, vectors, centred)


def mean_variance(a: Arguments) -> Tensor:
    x = a.floats(0)
    axes = a.axes(x.rank, None)
    over = [axis for axis in (0, 2, 3) if axis < x.rank] if axes is None else axes
    mean, var = moments(a.f, x, over)
    return formula(a.f, lambda x, m, v: (x - m) / (unary("sqrt", v) + 1e-9), x, mean, var)


def lp_norm(a: Arguments) -> Tensor:
    x = a.floats(0)
    axis, p = a.axis(x.rank, -1), a.whole("p", 2)
    if p not in (1, 2):
        raise FaltungError(f"p={p}: must be 1 or 2")
    term, root = (unary("abs", X), X) if p == 1 else (X * X, unary("sqrt", X))
    total = reduced(a.f, x, [axis], "sum", True, term, root)
    # What is zero everywhere stays so.
    least = 1e-30 if a.f.dtype == "float32" else 1e-300
    return formula(a.f, lambda x, t: x / maximum(t, least), x, total)


def response_norm(a: Arguments) -> Tensor:
    """Over a window of channels; the rest as ``nn.LocalResponseNorm``."""
    x = a.floats(0)
    channels, _ = map_of(a, x)
    size = a.whole("size", 1)
    if size < 1:
        raise FaltungError(f"size={size}: must be at least 1")
    alpha, beta, k = a.number("alpha", 1e-4), a.number("beta", 0.75), a.number("bias", 1.0)
    before, after = min((size - 1) // 2, channels - 1), min(size // 2, channels - 1)
    f = a.f
    value = f.map(x)
    straight = f.of_map(value, x.dtype)
    square = formula(f, lambda x: x * x, straight)
    op = ChannelConv((alpha / size,) * (before + 1 + after), before)
    total = f.node(op, (square.value,), value.shape)
    scale = f.of_map(total, x.dtype)
    return formula(f, lambda x, s: x * power(k + s, -beta), straight, scale)


TABLE = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "MeanVarianceNormalization": mean_variance,
    "LpNormalization": lp_norm,
    "LRN": response_norm,
}
