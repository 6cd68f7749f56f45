"""Elementwise operators of ONNX as formulas."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import (
    Expr,
    at_least,
    constant,
    greater,
    maximum,
    minimum,
    power,
    select,
    unary,
)
from faltung.graph import activations
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.onnx.arguments import Arguments, numbers
from faltung.onnx.tensors import FLOATS

Array = npt.NDArray[Any]
Handler = Callable[[Arguments], Tensor]

INFINITY = float("inf")


def _real(x: Tensor | Array) -> Tensor | Array:
    """An operand of real numbers."""
    if isinstance(x, Tensor):
        numbers(x)
    elif x.dtype.kind != "f":
        raise Unsaid(f"{x.dtype} tensors (needs whole numbers in formulas)")
    return x


def _condition(x: Tensor | Array) -> Tensor | Array:
    if isinstance(x, Tensor):
        if x.dtype != "bool":
            raise FaltungError(f"input of {x.dtype}: must be bool")
        return x
    return x.astype(np.float32)


# One operand --------------------------------------------------------------------------------------


def one(of: Callable[[Expr], Expr]) -> Handler:
    return lambda a: formula(a.f, of, a.floats(0))


def named(name: str) -> Handler:
    return one(lambda x: unary(name, x))


def settled(of: Callable[[Arguments], Callable[[Expr], Expr]]) -> Handler:
    """A formula with numbers from the node's attributes."""
    return lambda a: formula(a.f, of(a), a.floats(0))


def _in(expr: Expr) -> Callable[[Expr], Expr]:
    """A formula of operand 0, of any term."""
    return lambda x: expr.replaced([x])


def _elu(a: Arguments) -> Callable[[Expr], Expr]:
    alpha = a.number("alpha", 1)
    return lambda x: select(greater(x, 0), x, alpha * unary("expm1", minimum(x, 0)))


def _selu(a: Arguments) -> Callable[[Expr], Expr]:
    alpha = a.number("alpha", 1.6732632423543772)
    gamma = a.number("gamma", 1.0507009873554805)
    return lambda x: select(greater(x, 0), gamma * x, gamma * alpha * unary("expm1", minimum(x, 0)))


def _celu(a: Arguments) -> Callable[[Expr], Expr]:
    alpha = a.number("alpha", 1)
    if not alpha:
        raise FaltungError("alpha=0: must not be 0")
    return lambda x: maximum(x, 0) + minimum(alpha * unary("expm1", x / alpha), 0)


def _leaky(a: Arguments) -> Callable[[Expr], Expr]:
    alpha = a.number("alpha", 0.01)
    return lambda x: select(at_least(x, 0), x, x * alpha)


def _thresholded(a: Arguments) -> Callable[[Expr], Expr]:
    alpha = a.number("alpha", 1)
    return lambda x: select(greater(x, alpha), x, 0)


def _hard_sigmoid(a: Arguments) -> Callable[[Expr], Expr]:
    alpha, beta = a.number("alpha", 0.2), a.number("beta", 0.5)
    return lambda x: maximum(minimum(x * alpha + beta, 1), 0)


def _shrink(a: Arguments) -> Callable[[Expr], Expr]:
    lambd, bias = a.number("lambd", 0.5), a.number("bias", 0)
    return lambda x: select(greater(-lambd, x), x + bias, select(greater(x, lambd), x - bias, 0))


def _gelu(a: Arguments) -> Callable[[Expr], Expr]:
    if a.word("approximate", "none") == "tanh":
        return _in(activations.gelu_tanh())
    return _in(activations.gelu())


def _swish(a: Arguments) -> Callable[[Expr], Expr]:
    alpha = a.number("alpha", 1)
    return lambda x: x * unary("sigmoid", x * alpha)


def _mish(x: Expr) -> Expr:
    return x * unary("tanh", activations.softplus().replaced([x]))


def _is_inf(a: Arguments) -> Tensor:
    below, above = a.whole("detect_negative", 1), a.whole("detect_positive", 1)

    def of(x: Expr) -> Expr:
        low = select(at_least(-INFINITY, x), 1, 0) if below else constant(0)
        return select(at_least(x, INFINITY), 1, low) if above else low

    if not (below or above):
        raise Unsaid("a condition that never holds")
    return formula(a.f, of, a.floats(0), dtype="bool")


def _sign(x: Expr) -> Expr:
    return select(greater(x, 0), 1, select(greater(0, x), -1, x))


def _asinh(x: Expr) -> Expr:
    size = unary("abs", x)
    square = size * size
    made = unary("log1p", size + square / (1 + unary("sqrt", 1 + square)))
    return select(at_least(x, 0), made, -made)


def _acosh(x: Expr) -> Expr:
    t = x - 1
    return unary("log1p", t + unary("sqrt", t * (x + 1)))


def _atanh(x: Expr) -> Expr:
    return 0.5 * (unary("log1p", x) - unary("log1p", -x))


# Several operands ---------------------------------------------------------------------------------


def raw(op: str) -> Callable[[Expr, Expr], Expr]:
    """An operation as it is: zero times infinity is not zero."""
    return lambda a, b: Expr(op, (a, b))


def _operands(a: Arguments) -> list[Tensor | Array]:
    """Inputs of a formula. Before opset 7 the second one may say where it begins."""
    given = [_real(a[i]) for i in range(len(a.inputs))]
    if len(given) == 2 and a.opset < 7:
        given[1] = _old(a, given[0], given[1])
    return given


def _old(a: Arguments, first: Tensor | Array, second: Tensor | Array) -> Tensor | Array:
    if not a.whole("broadcast", 0):
        return second
    axis = a.whole("axis", len(first.shape) - len(second.shape))
    extra = len(first.shape) - axis - len(second.shape)
    if axis < 0 or extra < 0:
        raise FaltungError(f"axis={axis}: {second.shape} does not fit {first.shape} there")
    shape = (*second.shape, *(1,) * extra)
    return a.f.reshaped(second, shape) if isinstance(second, Tensor) else second.reshape(shape)


def two(of: Callable[[Expr, Expr], Expr], dtype: str | None = None) -> Handler:
    return lambda a: formula(a.f, of, *_operands(a), dtype=dtype)


def many(of: Callable[[Expr, Expr], Expr], mean: bool = False) -> Handler:
    """An operation over any number of operands, from the first to the last."""

    def made(a: Arguments) -> Tensor:
        operands = _operands(a)
        total: Tensor | Array = operands[0]
        for other in operands[1:]:
            if isinstance(total, Tensor) or isinstance(other, Tensor):
                total = formula(a.f, of, total, other)
            else:
                raise Unsaid("constants as the first operands")
        if not isinstance(total, Tensor):
            raise Unsaid("constants alone")
        if mean and len(operands) > 1:
            total = formula(a.f, lambda x: x * (1 / len(operands)), total)
        return total

    return made


def compared(of: Callable[[Expr, Expr], Expr]) -> Handler:
    return two(of, "bool")


def _equal(a: Arguments) -> Tensor:
    given = [a[i] for i in range(2)]
    if all(x.dtype in ("bool",) for x in given):
        both = [_condition(x) for x in given]
        return formula(a.f, lambda x, y: 1 - unary("abs", x - y), *both, dtype="bool")
    return compared(lambda x, y: select(at_least(x, y), select(at_least(y, x), 1, 0), 0))(a)


def logic(of: Callable[..., Expr]) -> Handler:
    def made(a: Arguments) -> Tensor:
        given = [_condition(a[i]) for i in range(len(a.inputs))]
        if len(given) == 2 and a.opset < 7:
            given[1] = _old(a, given[0], given[1])
        return formula(a.f, of, *given, dtype="bool")

    return made


def _where(a: Arguments) -> Tensor:
    given = [_condition(a[0]), _real(a[1]), _real(a[2])]
    kinds = [x.dtype for x in given[1:] if isinstance(x, Tensor)] or [str(given[1].dtype)]
    return formula(a.f, lambda c, x, y: select(greater(c, 0.5), x, y), *given, dtype=str(kinds[0]))


def _pow(a: Arguments) -> Tensor:
    base, exponent = a.tensor(0), a[1]
    numbers(base)
    if not isinstance(exponent, Tensor) and exponent.dtype.kind in "iu":
        exponent = exponent.astype(np.float64)
    if isinstance(exponent, Tensor) or exponent.size != 1:
        if a.is_input(1):
            exponent = a.array(1)
        if isinstance(exponent, Tensor) or exponent.size != 1:
            raise Unsaid("an exponent that is not one number (needs pow)")
    e = float(exponent.ravel()[0])
    shape = np.broadcast_shapes(base.shape, exponent.shape)
    if shape != base.shape:
        base = a.f.reshaped(base, shape)
    return formula(a.f, lambda x: _power(x, e), base)


def _power(x: Expr, e: float) -> Expr:
    """Also of a negative base, where the exponent is whole."""
    if not e.is_integer() or abs(e) > 64:
        if e.is_integer() or e != e or abs(e) == INFINITY:
            raise Unsaid("a large exponent (needs pow)")
        if e < 0:
            return 1 / _power(x, -e)
        return power(x, e) if e in (0.25, 0.5, 0.75) else unary("exp", e * unary("log", x))
    if e < 0:
        return 1 / _power(x, -e)
    if not e:
        return _ones(x)
    made: Expr | None = None
    square, left = x, int(e)
    while left:
        if left & 1:
            made = square if made is None else made * square
        left >>= 1
        square = square * square if left else square
    assert made is not None
    return made


def _ones(x: Expr) -> Expr:
    """1 everywhere, as a formula that has the shape of ``x``."""
    return Expr("select", (at_least(x, 0), constant(1), constant(1.0)))


def _clip(a: Arguments) -> Tensor:
    x = a.floats(0)
    low, high = a.scalar("min", 1), a.scalar("max", 2)
    made = x
    if low is not None:
        made = formula(a.f, lambda x: maximum(x, low), made)
    if high is not None:
        made = formula(a.f, lambda x: minimum(x, high), made)
    return made


def _prelu(a: Arguments) -> Tensor:
    x, slope = a.floats(0), _real(a[1])
    if a.opset < 7 and len(slope.shape) == 1 and slope.shape[0] > 1 and x.rank > 2:
        shape = (slope.shape[0], *(1,) * (x.rank - 2))
        slope = a.f.reshaped(slope, shape) if isinstance(slope, Tensor) else slope.reshape(shape)
    return formula(a.f, lambda x, s: select(at_least(x, 0), x, x * s), x, slope)


# Types --------------------------------------------------------------------------------------------


def _cast(a: Arguments) -> Tensor:
    from faltung.onnx.tensors import type_name

    if a.op == "CastLike":
        like = a[1]
        return cast(a, str(like.dtype))
    return cast(a, type_name(a.whole("to", 1)))


def cast(a: Arguments, target: str) -> Tensor:
    """To another type. Real numbers keep the precision of the graph until they leave it."""
    from dataclasses import replace

    x = a.tensor(0)
    if x.dtype == target:
        return x
    if target in FLOATS and (x.dtype in FLOATS or x.dtype == "bool"):
        wide = {"float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}
        if wide[target] < wide.get(x.dtype, 0) and target in ("float16", "bfloat16"):
            raise Unsaid(f"rounding to {target}")
        if target == "float32" and x.dtype == "float64":
            raise Unsaid("rounding to float32")
        return replace(x, dtype=target)
    if target == "bool" and x.dtype in FLOATS:
        return formula(
            a.f,
            lambda x: select(
                greater(x, 0), 1, select(greater(0, x), 1, select(at_least(x, x), 0, 1))
            ),
            x,
            dtype="bool",
        )
    if target == a.f.dtype and x.dtype.startswith(("int", "uint")) and x.dtype != "uint64":
        return a.f.real(x)
    raise Unsaid(f"{x.dtype} to {target} (needs whole numbers in formulas)")


def _same(a: Arguments) -> Tensor:
    return a.tensor(0)


def _dropout(a: Arguments) -> list[Tensor | Array]:
    if a.has(2) and bool(a.array(2).any()) and not (a.has(1) and not a.array(1).any()):
        raise Unsaid("dropout in training")
    x = a.tensor(0)
    if not any(a.call.outputs[1:]):
        return [x]
    a.f.require(x.size)
    return [x, np.ones(x.shape, bool)]  # nothing is dropped


TABLE: dict[str, Callable[[Arguments], Any]] = {
    "Relu": one(lambda x: maximum(x, 0)),
    "Sigmoid": named("sigmoid"),
    "Tanh": named("tanh"),
    "Exp": named("exp"),
    "Log": named("log"),
    "Sqrt": named("sqrt"),
    "Abs": named("abs"),
    "Neg": named("neg"),
    "Erf": named("erf"),
    "Reciprocal": one(lambda x: Expr("div", (constant(1), x))),
    "Softplus": one(_in(activations.softplus())),
    "Softsign": one(lambda x: x / (1 + unary("abs", x))),
    "HardSwish": one(_in(activations.hard_swish())),
    "Mish": one(_mish),
    "Sign": one(_sign),
    "Sinh": one(lambda x: 0.5 * (unary("expm1", x) - unary("expm1", -x))),
    "Cosh": one(lambda x: 0.5 * (unary("exp", x) + unary("exp", -x))),
    "Asinh": one(_asinh),
    "Acosh": one(_acosh),
    "Atanh": one(_atanh),
    "Elu": settled(_elu),
    "Selu": settled(_selu),
    "Celu": settled(_celu),
    "LeakyRelu": settled(_leaky),
    "ThresholdedRelu": settled(_thresholded),
    "HardSigmoid": settled(_hard_sigmoid),
    "Shrink": settled(_shrink),
    "Gelu": settled(_gelu),
    "Swish": settled(_swish),
    "IsNaN": lambda a: formula(
        a.f, lambda x: select(at_least(x, x), 0, 1), a.floats(0), dtype="bool"
    ),
    "IsInf": _is_inf,
    "Add": two(raw("add")),
    "Sub": two(raw("sub")),
    "Mul": two(raw("mul")),
    "Div": two(raw("div")),
    "Sum": many(raw("add")),
    "Mean": many(raw("add"), mean=True),
    "Max": many(maximum),
    "Min": many(minimum),
    "Pow": _pow,
    "Clip": _clip,
    "PRelu": _prelu,
    "Greater": compared(lambda x, y: select(greater(x, y), 1, 0)),
    "GreaterOrEqual": compared(lambda x, y: select(at_least(x, y), 1, 0)),
    "Less": compared(lambda x, y: select(greater(y, x), 1, 0)),
    "LessOrEqual": compared(lambda x, y: select(at_least(y, x), 1, 0)),
    "Equal": _equal,
    "And": logic(lambda x, y: minimum(x, y)),
    "Or": logic(lambda x, y: maximum(x, y)),
    "Xor": logic(lambda x, y: unary("abs", x - y)),
    "Not": logic(lambda x: 1 - x),
    "Where": _where,
    "Cast": _cast,
    "CastLike": _cast,
    "Identity": _same,
    "Dropout": _dropout,
}
