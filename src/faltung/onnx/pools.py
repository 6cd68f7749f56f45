"""Poolings, from ONNX."""

from collections.abc import Callable

import numpy as np

from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, binary, operand, unary
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import fixed, pooled
from faltung.graph.foreign_reduce import reduced
from faltung.graph.ops import Convolve
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import map_of, pads

X = operand(0)
INFINITY = float("inf")


def pool(kind: str) -> Callable[[Arguments], Tensor]:
    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        if len(a.call.outputs) > 1 and a.call.outputs[1]:
            raise Unsaid("the indices of maxima as an output")
        if kind == "max" and a.whole("storage_order", 0):
            raise Unsaid("storage_order=1")
        channels, space = map_of(a, x)
        spec = _spec(a, kind, channels, space)
        return a.f.of_map(pooled(a.f, a.f.map(x), spec), x.dtype)

    return made


def _spec(a: Arguments, kind: str, channels: int, space: Shape) -> PoolSpec:
    rank = len(space)
    kernel = a.wholes("kernel_shape")
    if kernel is None:
        raise FaltungError("kernel_shape is missing")
    kernel = a.per_axis("kernel_shape", rank, 1)
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    pairs = pads(a, space, kernel, stride, dilation)
    ceil = bool(a.whole("ceil_mode", 0)) and a.word("auto_pad", "NOTSET") in ("NOTSET", "")
    return pool_spec(
        (1, channels, *space),
        kernel,
        kind=kind,
        stride=stride,
        padding=pairs,
        dilation=dilation,
        ceil=ceil,
        count_padding=bool(a.whole("count_include_pad", 0)),
        dtype=a.f.dtype,
    )


def global_pool(kind: str) -> Callable[[Arguments], Tensor]:
    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        map_of(a, x)
        return reduced(a.f, x, range(2, x.rank), kind, True)

    return made


def _lp_pool(a: Arguments) -> Tensor:
    """The p-norm of a window: a convolution of each channel with ones."""
    x = a.floats(0)
    channels, space = map_of(a, x)
    spec = _spec(a, "average", channels, space)
    p = _order(a)
    f = a.f
    value = f.map(formula(f, lambda x: _size_to(x, p), x))
    conv = ConvSpec(spec.axes, channels, channels, 1, channels, f.dtype)
    weight = fixed(f, np.ones(conv.weight_shape))
    total = f.node(Convolve(conv), (value, weight), (channels, *conv.output))
    return formula(f, lambda t: _root(t, p), f.of_map(total, x.dtype))


def _global_lp(a: Arguments) -> Tensor:
    x = a.floats(0)
    map_of(a, x)
    p = _order(a)
    return reduced(a.f, x, range(2, x.rank), "sum", True, _size_to(X, p), _root(X, p))


def _order(a: Arguments) -> float:
    p = a.number("p", 2)
    if not 0 < p < INFINITY:
        raise FaltungError(f"p={p}: must be above 0")
    return p


def _size_to(x: Expr, p: float) -> Expr:
    if p == 2:
        return x * x
    size = unary("abs", x)
    return size if p == 1 else binary("pow", size, p)


def _root(x: Expr, p: float) -> Expr:
    if p == 2:
        return unary("sqrt", x)
    return x if p == 1 else binary("pow", x, 1 / p)


TABLE = {
    "MaxPool": pool("max"),
    "AveragePool": pool("average"),
    "LpPool": _lp_pool,
    "GlobalAveragePool": global_pool("mean"),
    "GlobalMaxPool": global_pool("max"),
    "GlobalLpPool": _global_lp,
}
