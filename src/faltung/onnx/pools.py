"""Poolings and reductions, from ONNX."""

from collections.abc import Callable

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, unary
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import pooled, reduced
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import map_of, pads


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


Formula = Callable[[Expr], Expr]


def reduce(
    kind: str, before: Formula | None = None, after: Formula | None = None
) -> Callable[[Arguments], Tensor]:
    """A reduction of a formula, and a formula of the result."""

    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        axes = a.axes(x.rank, 1)
        if not axes:
            axes = () if a.whole("noop_with_empty_axes", 0) else tuple(range(x.rank))
        keep = bool(a.whole("keepdims", 1))
        if before is not None:
            x = formula(a.f, before, x)
        done = reduced(a.f, x, axes, kind, keep)
        return done if after is None else formula(a.f, after, done)

    return made


def _log_sum_exp(a: Arguments) -> Tensor:
    x = a.floats(0)
    axes = a.axes(x.rank, 1)
    if not axes:
        axes = () if a.whole("noop_with_empty_axes", 0) else tuple(range(x.rank))
    top = reduced(a.f, x, axes, "max", True)
    total = reduced(a.f, formula(a.f, lambda x, m: unary("exp", x - m), x, top), axes, "sum", True)
    made = formula(a.f, lambda s, m: unary("log", s) + m, total, top)
    if a.whole("keepdims", 1):
        return made
    left = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return a.f.reshaped(made, left)


def _square(x: Expr) -> Expr:
    return x * x


TABLE = {
    "MaxPool": pool("max"),
    "AveragePool": pool("average"),
    "GlobalAveragePool": global_pool("mean"),
    "GlobalMaxPool": global_pool("max"),
    "ReduceMean": reduce("mean"),
    "ReduceSum": reduce("sum"),
    "ReduceMax": reduce("max"),
    "ReduceMin": reduce("max", lambda x: -x, lambda y: -y),
    "ReduceL1": reduce("sum", lambda x: unary("abs", x)),
    "ReduceL2": reduce("sum", _square, lambda y: unary("sqrt", y)),
    "ReduceSumSquare": reduce("sum", _square),
    "ReduceLogSum": reduce("sum", None, lambda y: unary("log", y)),
    "ReduceLogSumExp": _log_sum_exp,
}
