"""Normalisation and softmax, from ONNX."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, maximum, power, unary
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import last, reduced
from faltung.graph.foreign_maps import softmax as softmax_of
from faltung.graph.ops import ChannelConv, Normalise
from faltung.onnx.arguments import Arguments, counted
from faltung.onnx.convolve import map_of

Array = npt.NDArray[Any]


def _channels(a: Arguments, x: Tensor) -> int:
    if x.rank < 2:
        raise FaltungError(f"input of shape {x.shape}: must be (batch, channels, *space)")
    return x.shape[1]


def _vector(array: Array, count: int, what: str) -> Array:
    if array.shape != (count,):
        raise FaltungError(f"{what} of shape {array.shape}: must have {count} numbers")
    return array


def batch_norm(a: Arguments) -> Tensor:
    arrays = [a.array(i) for i in range(1, 5)]
    x = a.floats(0)
    if a.whole("training_mode", 0) or any(a.call.outputs[1:]):
        raise Unsaid("batch normalisation in training")
    if not a.whole("spatial", 1):
        raise Unsaid("spatial=0")
    channels = _channels(a, x)
    f = a.f
    names = ("weight", "bias", "running_mean", "running_var")
    inputs = [
        f.parameter(name, _vector(array, channels, name), decay=False, trained=i < 2)
        for i, (name, array) in enumerate(zip(names, arrays, strict=True))
    ]
    value = f.map(x)
    eps = a.number("epsilon", 1e-5)
    made = f.node(Normalise("batch", eps), (value, *inputs), value.shape)
    return f.of_map(made, x.dtype)


def _grouped(a: Arguments, x: Tensor, groups: int, gain: Array, shift: Array) -> Tensor:
    channels = _channels(a, x)
    if groups < 1 or channels % groups:
        raise FaltungError(f"num_groups={groups}: must divide the {channels} channels")
    f = a.f
    inputs = [
        f.parameter(name, _vector(array, channels, name), decay=False)
        for name, array in (("weight", gain), ("bias", shift))
    ]
    value = f.map(x)
    op = Normalise("group", a.number("epsilon", 1e-5), groups)
    made = f.node(op, (value, *inputs), value.shape)
    return f.of_map(made, x.dtype)


def instance_norm(a: Arguments) -> Tensor:
    gain, shift = a.array(1), a.array(2)
    x = a.floats(0)
    map_of(a, x)
    return _grouped(a, x, x.shape[1], gain, shift)


def group_norm(a: Arguments) -> Tensor:
    gain, shift = a.array(1), a.array(2)
    x = a.floats(0)
    map_of(a, x)
    groups = a.whole("num_groups", 1)
    if a.opset < 21 and groups > 0:  # one number for each group then
        each = x.shape[1] // groups
        gain, shift = np.repeat(gain, each), np.repeat(shift, each)
    return _grouped(a, x, groups, gain, shift)


def layer_norm(a: Arguments) -> Tensor | list[Tensor]:
    x = a.floats(0)
    axis = a.axis(x.rank, -1)
    eps = a.number("epsilon", 1e-5)
    gain, shift = a[1], a[2] if a.has(2) else np.zeros(1, np.float32)
    known = isinstance(gain, np.ndarray) and isinstance(shift, np.ndarray)
    more = any(a.call.outputs[1:])  # mean and 1 / deviation
    if axis == x.rank - 1 and known and not more:
        f, count = a.f, x.shape[-1]
        inputs = [
            f.parameter(name, _spread(array, count), decay=False)  # type: ignore[arg-type]
            for name, array in (("weight", gain), ("bias", shift))
        ]
        there, value = last(f, x, axis)
        made = f.node(Normalise("position", eps), (value, *inputs), value.shape)
        return replace(there, value=made)
    y, mean, rstd = standardised(a, x, range(axis, x.rank), eps)
    scaled = formula(a.f, lambda y, g, s: y * g + s, y, gain, shift)
    return [scaled, mean, rstd][: len(a.call.outputs)]


def _spread(array: Array, count: int) -> Array:
    if array.shape == (count,):
        return array
    return np.ascontiguousarray(np.broadcast_to(array.ravel(), (count,)))


def standardised(
    a: Arguments, x: Tensor, axes: Sequence[int], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean 0 and variance 1 over the axes; the mean, and 1 / deviation."""
    axes = list(axes)
    mean = reduced(a.f, x, axes, "mean", True)
    away = formula(a.f, lambda x, m: x - m, x, mean)
    var = reduced(a.f, formula(a.f, lambda d: d * d, away), axes, "mean", True)
    rstd = formula(a.f, lambda v: 1 / unary("sqrt", v + eps), var)
    return formula(a.f, lambda d, r: d * r, away, rstd), mean, rstd


def rms_norm(a: Arguments) -> Tensor:
    x = a.floats(0)
    axes = list(range(a.axis(x.rank, -1), x.rank))
    eps = a.number("epsilon", 1e-5)
    square = reduced(a.f, formula(a.f, lambda x: x * x, x), axes, "mean", True)
    return formula(a.f, lambda x, s, g: x / unary("sqrt", s + eps) * g, x, square, a[1])


def mean_variance(a: Arguments) -> Tensor:
    x = a.floats(0)
    axes = a.axes(x.rank, None)
    over = [axis for axis in (0, 2, 3) if axis < x.rank] if axes is None else axes
    mean = reduced(a.f, x, over, "mean", True)
    away = formula(a.f, lambda x, m: x - m, x, mean)
    var = reduced(a.f, formula(a.f, lambda d: d * d, away), over, "mean", True)
    return formula(a.f, lambda d, v: d / (unary("sqrt", v) + 1e-9), away, var)


def lp_norm(a: Arguments) -> Tensor:
    x = a.floats(0)
    axis, p = a.axis(x.rank, -1), a.whole("p", 2)
    if p not in (1, 2):
        raise FaltungError(f"p={p}: must be 1 or 2")

    def term(x: Expr) -> Expr:
        return unary("abs", x) if p == 1 else x * x

    total = reduced(a.f, formula(a.f, term, x), [axis], "sum", True)
    # What is zero everywhere stays so.
    least = 1e-30 if a.f.dtype == "float32" else 1e-300

    def divided(x: Expr, t: Expr) -> Expr:
        return x / maximum(t if p == 1 else unary("sqrt", t), least)

    return formula(a.f, divided, x, total)


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


def softmax(a: Arguments) -> Tensor:
    return _soft(a, lambda x, axis: softmax_of(a.f, x, axis))


def log_softmax(a: Arguments) -> Tensor:
    def made(x: Tensor, axis: int) -> Tensor:
        top = reduced(a.f, x, [axis], "max", True)
        away = formula(a.f, lambda x, m: x - m, x, top)
        total = reduced(a.f, formula(a.f, lambda d: unary("exp", d), away), [axis], "sum", True)
        return formula(a.f, lambda d, t: d - unary("log", t), away, total)

    return _soft(a, made)


def _soft(a: Arguments, along: Any) -> Tensor:
    """Along an axis; before opset 13 along this axis and all behind it together."""
    x = a.floats(0)
    if a.opset >= 13:
        made: Tensor = along(x, a.axis(x.rank, -1))
        return made
    axis = counted(a.whole("axis", 1), x.rank) if x.rank > 1 else 0
    front = x.shape[:axis]
    flat = a.f.reshaped(x, (*front, int(np.prod(x.shape[axis:]))))
    made = along(flat, axis)
    return a.f.reshaped(made, x.shape)


TABLE = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "MeanVarianceNormalization": mean_variance,
    "LpNormalization": lp_norm,
    "LRN": response_norm,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
}
