"""Reductions, extremes, running sums, sorting and softmax, from ONNX."""

from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, equal, operand, select, unary
from faltung.graph.foreign import Tensor
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_reduce import arg, cumulative, reduced, softmax, top_k
from faltung.graph.ops import ITSELF
from faltung.onnx.arguments import Arguments, counted

X = operand(0)
Handler = Callable[[Arguments], Any]


def over(a: Arguments, x: Tensor) -> tuple[int, ...]:
    """The axes of a reduction: an attribute once, an input now, all if there are none."""
    axes = a.axes(x.rank, 1)
    if axes:
        return axes
    return () if a.whole("noop_with_empty_axes", 0) else tuple(range(x.rank))


def reduce(kind: str, before: Expr = ITSELF, after: Expr = ITSELF) -> Handler:
    """A reduction of a formula, and a formula of the result."""

    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        keep = bool(a.whole("keepdims", 1))
        return reduced(a.f, x, over(a, x), kind, keep, before, after)

    return made


def extreme(kind: str) -> Handler:
    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        keep, last = bool(a.whole("keepdims", 1)), bool(a.whole("select_last_index", 0))
        return arg(a.f, x, a.axis(x.rank, 0), kind, last, keep)

    return made


def running(kind: str) -> Handler:
    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        axis = a.array(1)
        if axis.size != 1 or axis.dtype.kind not in "iu":
            raise FaltungError(f"axis of shape {axis.shape}: must be one whole number")
        flags = bool(a.whole("exclusive", 0)), bool(a.whole("reverse", 0))
        return cumulative(a.f, x, counted(int(axis.ravel()[0]), x.rank), kind, *flags)

    return made


def _top_k(a: Arguments) -> list[Tensor]:
    x = a.floats(0)
    axis = a.axis(x.rank, -1)
    k = a.wholes("k", 1)
    if k is None or len(k) != 1 or not 1 <= k[0] <= x.shape[axis]:
        raise FaltungError(f"k={k}: must be one number from 1 to {x.shape[axis]}")
    a.whole("sorted", 1)  # in order is one of the orders that are allowed
    return top_k(a.f, x, axis, k[0], bool(a.whole("largest", 1)))


# Softmax ------------------------------------------------------------------------------------------


def _softmax_axes(a: Arguments, x: Tensor) -> tuple[int, ...]:
    """One axis; before opset 13 this axis and all behind it together."""
    if a.opset >= 13:
        return (a.axis(x.rank, -1),)
    axis = counted(a.whole("axis", 1), x.rank) if x.rank > 1 else 0
    return tuple(range(axis, x.rank))


def soft(log: bool) -> Handler:
    def made(a: Arguments) -> Tensor:
        x = a.floats(0)
        return softmax(a.f, x, _softmax_axes(a, x), log)

    return made


def _hardmax(a: Arguments) -> Tensor:
    """1 where the first of the largest is, else 0."""
    x = a.floats(0)
    axes = _softmax_axes(a, x)
    shape = x.shape
    count = int(np.prod([shape[axis] for axis in axes]))
    flat = a.f.reshaped(x, (*shape[: axes[0]], count, *shape[axes[-1] + 1 :]))
    place = arg(a.f, flat, axes[0], "max", False, True)
    numbers = np.arange(count, dtype=a.f.dtype).reshape(count, *(1,) * (flat.rank - axes[0] - 1))

    def one(place: Expr, number: Expr) -> Expr:
        return select(equal(place, number), 1, 0)

    made = formula(a.f, one, place, numbers, dtype=x.dtype, shape=flat.shape)
    return a.f.reshaped(made, shape)


TABLE: dict[str, Handler] = {
    "ReduceMean": reduce("mean"),
    "ReduceSum": reduce("sum"),
    "ReduceMax": reduce("max"),
    "ReduceMin": reduce("min"),
    "ReduceProd": reduce("product"),
    "ReduceL1": reduce("sum", unary("abs", X)),
    "ReduceL2": reduce("sum", X * X, unary("sqrt", X)),
    "ReduceSumSquare": reduce("sum", X * X),
    "ReduceLogSum": reduce("sum", ITSELF, unary("log", X)),
    "ReduceLogSumExp": reduce("log_sum_exp"),
    "ArgMax": extreme("max"),
    "ArgMin": extreme("min"),
    "CumSum": running("sum"),
    "CumProd": running("product"),
    "TopK": _top_k,
    "Softmax": soft(False),
    "LogSoftmax": soft(True),
    "Hardmax": _hardmax,
}
