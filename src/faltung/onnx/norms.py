"""Normalisation, from ONNX."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import maximum, operand, power, unary
from faltung.graph.foreign import Foreign, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_reduce import in_place, is_row, normalised, reduced
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
        away, gain = (_along(f, each, x.rank) for each in (given[2], given[3]))
        y = formula(f, lambda x, m, v: (x - m) / unary("sqrt", v + eps), x, away, gain)
        return _scaled(f, y, given[0], given[1], x.rank)
    names = ("weight", "bias", "running_mean", "running_var")
    inputs = [
        f.parameter(name, _vector(array, channels, name), decay=False, trained=i < 2)
        for i, (name, array) in enumerate(zip(names, arrays, strict=True))
    ]
    value = f.map(x)
    momentum = 1 - a.number("momentum", 0.9)  # of what is kept, and here of what is new
    op = Normalise("batch", eps, momentum=momentum, training=f.b.training)
    return f.of_map(f.node(op, (value, *inputs), value.shape), x.dtype)


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
    made = [_scaled(f, y, given[0], given[1], x.rank)]
    for number, now in ((2, mean), (3, var)):
        flat = f.reshaped(now, (x.shape[1],))
        before = given[number]
        made.append(formula(f, lambda n, b: b * keep + n * (1 - keep), flat, before))
    return made[: len(a.call.outputs)]


def _along(f: Foreign, vector: Tensor | Array, rank: int) -> Tensor | Array:
    """A number for each channel, as it meets (batch, channels, *space)."""
    shape = (vector.shape[0], *(1,) * (rank - 2)) if vector.shape else ()
    if isinstance(vector, np.ndarray):
        return vector.reshape(shape)
    return f.reshaped(vector, shape)


def _scaled(
    f: Foreign, y: Tensor, gain: Tensor | Array, shift: Tensor | Array, rank: int
) -> Tensor:
    vectors = _along(f, gain, rank), _along(f, shift, rank)
    return formula(f, lambda y, g, s: y * g + s, y, *vectors)


def moments(f: Foreign, x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The mean and the variance over axes, which stay as 1."""
    mean = reduced(f, x, axes, "mean", True)
    away = formula(f, lambda x, m: x - m, x, mean)
    return mean, reduced(f, away, axes, "mean", True, X * X)


# Groups -------------------------------------------------------------------------------------------


def _grouped(a: Arguments, groups: int, each_group: bool = False) -> Tensor:
    """each_group: gain and shift have a number for each group of channels."""
    gain, shift = a[1], a[2]
    x = a.floats(0)
    channels, _ = map_of(a, x)
    if groups < 1 or channels % groups:
        raise FaltungError(f"num_groups={groups}: must divide the {channels} channels")
    f, eps = a.f, a.number("epsilon", 1e-5)
    there = in_place(x, (0, *range(2, x.rank), 1))
    if there and isinstance(gain, np.ndarray) and isinstance(shift, np.ndarray):
        if each_group:
            gain, shift = (np.repeat(v, channels // groups) for v in (gain, shift))
        inputs = [
            f.parameter(name, _vector(array, channels, name), decay=False)
            for name, array in (("weight", gain), ("bias", shift))
        ]
        value = f.map(x)
        made = f.node(Normalise("group", eps, groups), (value, *inputs), value.shape)
        return f.of_map(made, x.dtype)
    parts = f.reshaped(x, (x.shape[0], groups, channels // groups, *x.shape[2:]))
    y = normalised(f, parts, range(2, parts.rank), eps)
    if each_group:
        return f.reshaped(_scaled(f, y, gain, shift, parts.rank), x.shape)
    return _scaled(f, f.reshaped(y, x.shape), gain, shift, x.rank)


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
    vectors: list[Tensor | Array] = [a[1], *([a[2]] if a.has(2) else [])]
    if not any(a.call.outputs[1:]):
        return _normalised(a.f, x, axes, eps, vectors, True)
    f = a.f
    mean, var = moments(f, x, axes)
    rstd = formula(f, lambda v: 1 / unary("sqrt", v + eps), var)
    y = formula(f, lambda x, m, r: (x - m) * r, x, mean, rstd)
    return [_affine(f, y, vectors), mean, rstd][: len(a.call.outputs)]


def rms_norm(a: Arguments) -> Tensor:
    x = a.floats(0)
    axes = range(a.axis(x.rank, -1), x.rank)
    return _normalised(a.f, x, axes, a.number("epsilon", 1e-5), [a[1]], False)


def _normalised(
    f: Foreign,
    x: Tensor,
    axes: Sequence[int],
    eps: float,
    vectors: Sequence[Tensor | Array],
    centred: bool,
) -> Tensor:
    """Over the last axes. Where these are the last in memory, gain and shift are part of it."""
    known = [v for v in vectors if isinstance(v, np.ndarray)]
    if len(known) < len(vectors) or not is_row(x, axes):
        return _affine(f, normalised(f, x, axes, eps, centred=centred), vectors)
    sizes = tuple(x.shape[axis] for axis in axes)
    inputs = [
        f.parameter(name, _flat(array, sizes), decay=False, of=array)
        for name, array in zip(("weight", "bias"), known, strict=False)
    ]
    return normalised(f, x, axes, eps, inputs, centred)


def _flat(array: Array, sizes: tuple[int, ...]) -> Array:
    """A number for each entry of the axes."""
    try:
        return np.ascontiguousarray(np.broadcast_to(array, sizes)).reshape(-1)
    except ValueError:
        raise FaltungError(f"scale of shape {array.shape}: must be {sizes}") from None


def _affine(f: Foreign, y: Tensor, vectors: Sequence[Tensor | Array]) -> Tensor:
    if len(vectors) == 1:
        return formula(f, lambda y, g: y * g, y, vectors[0])
    return formula(f, lambda y, g, s: y * g + s, y, *vectors)


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
