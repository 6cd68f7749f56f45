"""Formulas of one tensor, from ATen; and how operands of formulas are read.

Real numbers come as they are. Conditions are 0 and 1. Whole numbers become real ones where PyTorch
makes them real, too; as results they are said nowhere, because the numbers of a graph are real.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, log, pi, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from faltung.geometry.expr import (
    Expr,
    at_least,
    constant,
    equal,
    greater,
    is_nan,
    lifted,
    maximum,
    minimum,
    select,
    unary,
)
from faltung.geometry.expr import logic as both
from faltung.graph import activations
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import Operand, formula
from faltung.graph.foreign_maps import sliced
from faltung.graph.foreign_terms import holds, raw
from faltung.torch.arguments import Arguments
from faltung.torch.part import Leaf

Array = npt.NDArray[Any]
Handler = Callable[[Arguments], Any]
Unary = Callable[[Expr], Expr]

REALS = ("float32", "float64", "float16", "bfloat16")
# Beyond, softplus of PyTorch is its argument; in float32 it is that anyway.
LINEAR_FROM = 20.0


# Operands -----------------------------------------------------------------------------------------


def given(a: Arguments, name: str) -> Operand:
    """An operand as real numbers: a tensor, or a constant as an array."""
    return as_given(a, a[name], name)


def as_given(a: Arguments, found: Any, name: str = "") -> Operand:
    if isinstance(found, bool | int | float):
        return np.asarray(found, np.float64)
    if isinstance(found, Leaf):
        array = real_array(a, found)
        if not found.trained or (array.size > 1 and max(array.shape) == array.size):
            return array
    made = a.as_tensor(found, name)
    return a.f.real(made) if made.value.kind == "int" else made


def real_array(a: Arguments, leaf: Leaf) -> Array:
    """The numbers of a leaf, conditions and whole numbers as the real ones nearest to them. If it
    is not trained they become a part of the graph.
    """
    if not leaf.trained:
        a.f.baked[id(leaf)] = leaf
    if leaf.dtype in REALS:
        return leaf.array
    if leaf.array.dtype.kind not in "biu":
        raise Unsaid(f"{leaf.dtype} constants as data")
    made = np.asarray(leaf.array, a.f.dtype)
    a.f.near.append(replace(leaf, _array=made))  # what is read is this copy
    return made


def known_number(a: Arguments, name: str) -> float | None:
    """A number, also one in a tensor that is known."""
    found = a[name]
    if isinstance(found, Leaf) and not found.trained and found.array.size == 1:
        return float(real_array(a, found).item())
    return float(found) if isinstance(found, bool | int | float) else None


def pointwise(a: Arguments, of: Callable[..., Expr], *names: str, gives: str = "") -> Tensor:
    """A formula of arguments. gives: "bool" for a condition; otherwise real numbers are due."""
    return applied(a, of, *(given(a, name) for name in names), gives=gives)


def applied(a: Arguments, of: Callable[..., Expr], *operands: Operand, gives: str = "") -> Tensor:
    """A formula of operands, with the shape and the dtype that PyTorch gives it."""
    dtype = a.dtype()
    if dtype not in REALS and dtype != gives:
        raise Unsaid(f"{dtype} results (needs whole numbers in formulas)")
    return formula(a.f, of, *_plain(a, operands), dtype=dtype, shape=a.shape())


def _plain(a: Arguments, operands: Sequence[Operand]) -> list[Operand]:
    """Tensors that are one number everywhere as this number, beside others that are not."""
    made: list[Operand] = []
    for x in operands:
        number = a.f.filled.get(x.value.name) if isinstance(x, Tensor) else None
        made.append(x if number is None else np.full((1,) * len(x.shape), number))
    return made if any(isinstance(x, Tensor) for x in made) else list(operands)


# One operand --------------------------------------------------------------------------------------


def one(of: Unary, name: str = "self", gives: str = "") -> Handler:
    return lambda a: pointwise(a, of, name, gives=gives)


def named(name: str) -> Handler:
    return one(lambda x: unary(name, x))


def settled(of: Callable[[Arguments], Unary], name: str = "self") -> Handler:
    """A formula with numbers from the other arguments."""
    return lambda a: pointwise(a, of(a), name)


def stored(expr: Expr, name: str = "self") -> Handler:
    """A formula of operand 0."""
    return one(lambda x: expr.replaced([x]), name)


def negative(x: Expr) -> Expr:
    """The condition that the sign is minus, of zeros, too."""
    return both("or", greater(0, x), greater(0, Expr("div", (constant(1), x))))


def infinite(x: Expr) -> Expr:
    return equal(unary("abs", x), inf)


def clamped(x: Expr, low: Expr | float | None, high: Expr | float | None) -> Expr:
    """Between bounds; NaN stays, and at a bound the gradient is that of ``x``."""
    if low is not None:
        x = select(greater(low, x), low, x)
    return x if high is None else select(greater(x, high), high, x)


def inside(x: Expr, low: float, high: float) -> Expr:
    """Between bounds; NaN stays, and at a bound the gradient is 0."""
    return minimum(maximum(x, low), high)


def _sign(x: Expr) -> Expr:
    return select(is_nan(x), 0, unary("sign", x))


def _sinc(x: Expr) -> Expr:
    return select(equal(x, 0), 1, unary("sin", x * pi) / (x * pi))


def _round(a: Arguments) -> Unary:
    decimals = a.whole("decimals") if a.call.overload == "decimals" else 0
    if not decimals:
        return lambda x: unary("round", x)
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return lambda x: unary("round", x * scale) / scale
    return lambda x: unary("round", x / scale) * scale


def _logit(a: Arguments) -> Unary:
    eps = a["eps"]

    def of(x: Expr) -> Expr:
        x = x if eps is None else clamped(x, float(eps), 1 - float(eps))
        return unary("log", x / (1 - x))

    return of


def _nan_to_num(a: Arguments) -> Unary:
    top = torch.finfo(getattr(torch, a.dtype())).max if a.dtype() in REALS else 0.0
    put = a["nan"] or 0.0, a["posinf"], a["neginf"]
    other, high, low = put[0], top if put[1] is None else put[1], -top if put[2] is None else put[2]

    def of(x: Expr) -> Expr:
        x = select(is_nan(x), other, x)
        return select(equal(x, inf), high, select(equal(x, -inf), low, x))

    return of


# Activations --------------------------------------------------------------------------------------


def _elu(a: Arguments) -> Unary:
    alpha, scale, inner = a.number("alpha"), a.number("scale"), a.number("input_scale")
    if (scale, inner) == (1, 1):
        return lambda x: activations.elu(alpha).replaced([x])
    return lambda x: select(greater(x, 0), x * scale, unary("expm1", x * inner) * (alpha * scale))


def _selu(x: Expr) -> Expr:
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return select(greater(x, 0), x * scale, unary("expm1", x) * (alpha * scale))


def _celu(a: Arguments) -> Unary:
    alpha = a.number("alpha")
    if not alpha:
        raise Unsaid("alpha=0")
    return lambda x: select(greater(x, 0), x, unary("expm1", x / alpha) * alpha)


def _leaky(a: Arguments) -> Unary:
    return lambda x: activations.leaky_relu(a.number("negative_slope")).replaced([x])


def _threshold(a: Arguments) -> Unary:
    bound, value = a.number("threshold"), a.number("value")
    return lambda x: select(at_least(bound, x), value, x)


def _hardtanh(a: Arguments) -> Unary:
    return lambda x: inside(x, a.number("min_val"), a.number("max_val"))


def _hardshrink(a: Arguments) -> Unary:
    bound = a.number("lambd")
    return lambda x: select(both("and", at_least(x, -bound), at_least(bound, x)), 0, x)


def _softshrink(a: Arguments) -> Unary:
    bound = a.number("lambd")
    return lambda x: select(
        greater(x, bound), x - bound, select(greater(-bound, x), x + bound, select(is_nan(x), x, 0))
    )


def _softplus(a: Arguments) -> Unary:
    beta, bound = a.number("beta"), a.number("threshold")

    def of(x: Expr) -> Expr:
        if (beta, bound, a.f.dtype) == (1, LINEAR_FROM, "float32"):
            return activations.softplus().replaced([x])
        scaled = x * beta
        return select(greater(scaled, bound), x, activations.softplus().replaced([scaled]) / beta)

    return of


def _gelu(a: Arguments) -> Unary:
    made = activations.gelu_tanh() if a.word("approximate") == "tanh" else activations.gelu()
    return lambda x: made.replaced([x])


def _log_sigmoid(x: Expr) -> Expr:
    return -activations.softplus().replaced([-x])


def _hard_swish(a: Arguments) -> Unary:
    """With the slopes of PyTorch at the bounds, where gradients are asked for."""

    def of(x: Expr) -> Expr:
        inner = select(at_least(x, 3), x, x * (x + 3) * (1 / 6))
        return select(at_least(-3, x), x - x, inner)  # NaN of minus infinity

    return of if a.f.training else lambda x: activations.hard_swish().replaced([x])


def glu(a: Arguments) -> Tensor:
    """One half times the sigmoid of the other."""
    x = a.floats("self")
    axis = a.axis(x.rank)
    half = x.shape[axis] // 2
    parts = [sliced(a.f, x, axis, start, half) for start in (0, half)]
    return applied(a, lambda x, y: x * unary("sigmoid", y), *parts)


def prelu(a: Arguments) -> Tensor:
    """A slope for all channels, which are axis 1, or one for each."""
    x, slope = a.floats("self"), given(a, "weight")
    if len(slope.shape) == 1 and x.rank > 1:
        shape = (slope.shape[0], *(1,) * (x.rank - 2))
        slope = a.f.reshaped(slope, shape) if isinstance(slope, Tensor) else slope.reshape(shape)
    elif x.rank == 0 and len(slope.shape) == 1:
        slope = a.f.reshaped(slope, ()) if isinstance(slope, Tensor) else slope.reshape(())
    return applied(a, lambda x, s: select(greater(x, 0), x, raw("mul")(x, s)), x, slope)


def quotient(x: Expr | float, y: Expr | float) -> Expr:
    """As it is: 0 / 0 is not 0."""
    return Expr("div", (lifted(x), lifted(y)))


TABLE: dict[str, Handler] = {
    **{
        op: named(op)
        for op in (
            "abs neg exp expm1 log log1p sqrt tanh sigmoid erf floor ceil trunc sin cos tan asin"
            " acos atan sinh cosh asinh acosh atanh"
        ).split()
    },
    "absolute": named("abs"),
    "negative": named("neg"),
    "fix": named("trunc"),
    **{f"arc{op}": named(f"a{op}") for op in "sin cos tan sinh cosh tanh".split()},
    "sign": one(_sign),
    "sgn": one(_sign),
    "reciprocal": one(lambda x: quotient(1, x)),
    "square": one(lambda x: x * x),
    "rsqrt": one(lambda x: quotient(1, unary("sqrt", x))),
    "exp2": one(lambda x: Expr("pow", (constant(2), x))),
    "log2": one(lambda x: unary("log", x) * (1 / log(2))),
    "log10": one(lambda x: unary("log", x) * (1 / log(10))),
    "erfc": one(lambda x: 2 * unary("ndtr", x * -sqrt(2))),
    "special_ndtr": one(lambda x: unary("ndtr", x)),
    "special_entr": one(
        lambda x: select(equal(x, 0), 0, select(greater(0, x), -inf, -(x * unary("log", x))))
    ),
    "frac": one(lambda x: x - unary("trunc", x)),
    "round": settled(_round),
    "deg2rad": one(lambda x: x * (pi / 180)),
    "rad2deg": one(lambda x: x * (180 / pi)),
    "angle": one(lambda x: select(greater(0, x), pi, select(is_nan(x), x, 0))),
    "sinc": one(_sinc),
    "logit": settled(_logit),
    "nan_to_num": settled(_nan_to_num),
    "isnan": one(lambda x: holds(is_nan(x)), gives="bool"),
    "isinf": one(lambda x: holds(infinite(x)), gives="bool"),
    "isposinf": one(lambda x: holds(equal(x, inf)), gives="bool"),
    "isneginf": one(lambda x: holds(equal(x, -inf)), gives="bool"),
    "isfinite": one(lambda x: holds(greater(inf, unary("abs", x))), gives="bool"),
    "signbit": one(lambda x: holds(negative(x)), gives="bool"),
    "logical_not": one(lambda x: holds(equal(x, 0)), gives="bool"),
    "relu": stored(activations.relu()),
    "relu6": stored(activations.relu6()),
    "silu": stored(activations.silu()),
    "mish": stored(activations.mish()),
    "hardswish": settled(_hard_swish),
    "hardsigmoid": stored(activations.hard_sigmoid()),
    "log_sigmoid": one(_log_sigmoid),
    "elu": settled(_elu),
    "selu": one(_selu),
    "celu": settled(_celu),
    "leaky_relu": settled(_leaky),
    "threshold": settled(_threshold),
    "hardtanh": settled(_hardtanh),
    "hardshrink": settled(_hardshrink),
    "softshrink": settled(_softshrink),
    "softplus": settled(_softplus),
    "gelu": settled(_gelu),
    "glu": glu,
    "prelu": prelu,
}
