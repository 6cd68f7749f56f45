"""Elementwise operators of ONNX as formulas."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import (
    Expr,
    at_least,
    constant,
    equal,
    greater,
    is_nan,
    maximum,
    minimum,
    select,
    unary,
)
from faltung.graph import activations
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_terms import SHORTER, holds, largest, power, raw, smallest
from faltung.graph.ops import Dropout
from faltung.onnx.arguments import Arguments, numbers
from faltung.onnx.tensors import FLOATS, type_name

Array = npt.NDArray[Any]
Handler = Callable[[Arguments], Tensor]

INFINITY = float("inf")
# Operands that are taken together in one formula.
MOST_TOGETHER = 7


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


def _is_inf(a: Arguments) -> Tensor:
    below, above = a.whole("detect_negative", 1), a.whole("detect_positive", 1)

    def of(x: Expr) -> Expr:
        low = select(equal(x, -INFINITY), 1, 0) if below else constant(0)
        return select(equal(x, INFINITY), 1, low) if above else low

    return formula(a.f, of, a.floats(0), dtype="bool")


# Several operands ---------------------------------------------------------------------------------


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


def compared(of: Callable[[Expr, Expr], Expr]) -> Handler:
    return two(lambda x, y: holds(of(x, y)), "bool")


def many(of: Callable[[Expr, Expr], Expr], mean: bool = False) -> Handler:
    """An operation over any number of operands, from the first to the last."""

    def made(a: Arguments) -> Tensor:
        operands = _operands(a)
        total: Tensor | Array = operands[0]
        for start in range(1, len(operands), MOST_TOGETHER):
            part = [total, *operands[start : start + MOST_TOGETHER]]
            if not any(isinstance(x, Tensor) for x in part):
                raise Unsaid("constants as the first operands")
            last = start + MOST_TOGETHER >= len(operands)
            share = 1 / len(operands) if mean and last else 1.0
            total = formula(a.f, partial(_combined, of, share), *part)
        return total if isinstance(total, Tensor) else a.tensor(0)

    return made


def _combined(of: Callable[[Expr, Expr], Expr], share: float, *operands: Expr) -> Expr:
    return reduce(of, operands) * share


def _equal(a: Arguments) -> Tensor:
    given = [a[i] for i in range(2)]
    booleans = all(x.dtype == "bool" for x in given)
    operands = [_condition(x) for x in given] if booleans else _operands(a)
    return formula(a.f, lambda x, y: holds(equal(x, y)), *operands, dtype="bool")


def logic(of: Callable[..., Expr]) -> Handler:
    def made(a: Arguments) -> Tensor:
        given = [_condition(a[i]) for i in range(len(a.inputs))]
        if len(given) == 2 and a.opset < 7:
            given[1] = _old(a, given[0], given[1])
        return formula(a.f, of, *given, dtype="bool")

    return made


def _where(a: Arguments) -> Tensor:
    kinds = {str(a[i].dtype) for i in (1, 2)}
    read = _condition if kinds == {"bool"} else _real
    given = [_condition(a[0]), read(a[1]), read(a[2])]
    tensors = [x.dtype for x in given[1:] if isinstance(x, Tensor)]
    dtype = tensors[0] if tensors else str(a[1].dtype)
    return formula(a.f, lambda c, x, y: select(greater(c, 0.5), x, y), *given, dtype=dtype)


def _mod(a: Arguments) -> Tensor:
    op = "fmod" if a.whole("fmod", 0) else "mod"
    return formula(a.f, raw(op), *_operands(a))


def _pow(a: Arguments) -> Tensor:
    base, exponent = _real(a[0]), a[1]
    if isinstance(exponent, Tensor) and exponent.dtype.startswith(("int", "uint")):
        exponent = a.array(1)  # whole numbers that steer: a program for each
    if not isinstance(exponent, Tensor):
        exponent = exponent.astype(np.float64)
    dtype = str(base.dtype)
    if isinstance(exponent, Tensor) or exponent.size != 1:
        return formula(a.f, raw("pow"), base, _real(exponent), dtype=dtype)
    e = float(exponent.ravel()[0])
    shape = np.broadcast_shapes(base.shape, exponent.shape)
    return formula(a.f, lambda x: power(x, e), base, dtype=dtype, shape=shape)


def _clip(a: Arguments) -> Tensor:
    x = a.floats(0)
    bounds: list[tuple[Tensor | Array, Callable[[Expr, Expr], Expr]]] = []
    for number, (name, of) in enumerate((("min", maximum), ("max", minimum)), 1):
        if a.attribute(name) is not None:
            bounds.append((np.array(a.number(name, 0)), of))
        elif a.has(number):
            bounds.append((_real(a[number]), of))

    def made(x: Expr, *given: Expr) -> Expr:
        for bound, (_, of) in zip(given, bounds, strict=True):
            x = of(x, bound)
        return x

    return formula(a.f, made, x, *(bound for bound, _ in bounds)) if bounds else x


def _prelu(a: Arguments) -> Tensor:
    x, slope = a.floats(0), _real(a[1])
    if a.opset < 7 and len(slope.shape) == 1 and slope.shape[0] > 1 and x.rank > 2:
        shape = (slope.shape[0], *(1,) * (x.rank - 2))
        slope = a.f.reshaped(slope, shape) if isinstance(slope, Tensor) else slope.reshape(shape)
    return formula(a.f, lambda x, s: select(at_least(x, 0), x, x * s), x, slope)


# Types --------------------------------------------------------------------------------------------


def _cast(a: Arguments) -> Tensor | Array:
    target = str(a[1].dtype) if a.op == "CastLike" else type_name(a.whole("to", 1))
    x = a[0]
    if isinstance(x, Tensor):
        return cast(a, target)
    if x.dtype.kind not in "fb" or target not in FLOATS:
        raise Unsaid(f"constants of {x.dtype} to {target}")
    return x.astype("float32" if target == "bfloat16" else target)


def cast(a: Arguments, target: str) -> Tensor:
    """To another type."""
    x = a.tensor(0)
    if x.dtype == target:
        return x
    if target in FLOATS and (x.dtype in FLOATS or x.dtype == "bool"):
        if target in SHORTER.get(x.dtype, ()):
            return formula(a.f, partial(unary, f"as_{target}"), x, dtype=target)
        return replace(x, dtype=target)
    if target == "bool" and x.dtype in FLOATS:
        return formula(a.f, lambda x: select(equal(x, 0), 0, 1), x, dtype="bool")
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
        return [_dropped(a, x)]
    a.f.require(x.size)
    return [x, np.ones(x.shape, bool)]  # nothing is dropped


def _dropped(a: Arguments, x: Tensor) -> Tensor:
    """In a network that is trained some of the numbers are 0; otherwise nothing happens."""
    rate = a.scalar("ratio", 1, 0.5) if a.f.b.training else 0.0
    if not rate:
        return x
    if not 0 < rate < 1:
        raise FaltungError(f"ratio={rate:g}: must be at least 0 and below 1")
    key = a.f.b.outside("key", kind="key")
    return replace(x, value=a.f.node(Dropout(rate), (x.value, key), x.value.shape))


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
    "Mish": one(_in(activations.mish())),
    "Sign": named("sign"),
    "Floor": named("floor"),
    "Ceil": named("ceil"),
    "Round": named("round"),
    "Sin": named("sin"),
    "Cos": named("cos"),
    "Tan": named("tan"),
    "Asin": named("asin"),
    "Acos": named("acos"),
    "Atan": named("atan"),
    "Sinh": named("sinh"),
    "Cosh": named("cosh"),
    "Asinh": named("asinh"),
    "Acosh": named("acosh"),
    "Atanh": named("atanh"),
    "Elu": settled(_elu),
    "Selu": settled(_selu),
    "Celu": settled(_celu),
    "LeakyRelu": settled(_leaky),
    "ThresholdedRelu": settled(_thresholded),
    "HardSigmoid": settled(_hard_sigmoid),
    "Shrink": settled(_shrink),
    "Gelu": settled(_gelu),
    "Swish": settled(_swish),
    "IsNaN": lambda a: formula(a.f, lambda x: holds(is_nan(x)), a.floats(0), dtype="bool"),
    "IsInf": _is_inf,
    "Add": two(raw("add")),
    "Sub": two(raw("sub")),
    "Mul": two(raw("mul")),
    "Div": two(raw("div")),
    "Sum": many(raw("add")),
    "Mean": many(raw("add"), mean=True),
    "Max": many(largest),
    "Min": many(smallest),
    "Mod": _mod,
    "Pow": _pow,
    "Clip": _clip,
    "PRelu": _prelu,
    "Greater": compared(greater),
    "GreaterOrEqual": compared(at_least),
    "Less": compared(lambda x, y: greater(y, x)),
    "LessOrEqual": compared(lambda x, y: at_least(y, x)),
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
