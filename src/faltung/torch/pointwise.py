"""Formulas of several tensors, from ATen: arithmetic, comparisons, logic, bounds, choices."""

from collections.abc import Callable
from math import exp, inf, log, pi
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import (
    Expr,
    Term,
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
from faltung.geometry.expr import logic as both
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import Operand, expanded
from faltung.graph.foreign_terms import holds, largest, power, raw, smallest
from faltung.torch.arguments import Arguments
from faltung.torch.formulas import (
    REALS,
    Handler,
    applied,
    clamped,
    given,
    infinite,
    known_number,
    negative,
    pointwise,
    quotient,
)
from faltung.torch.part import Leaf, Outside

Array = npt.NDArray[Any]
Binary = Callable[[Expr, Expr], Expr]


def two(
    of: Binary, first: str = "self", second: str = "other", gives: str = ""
) -> Callable[[Arguments], Tensor]:
    return lambda a: pointwise(a, of, first, second, gives=gives)


# Arithmetic ---------------------------------------------------------------------------------------


def times(x: Term, y: Term) -> Expr:
    """As it is: 0 times infinity is not 0."""
    x, y = _lifted(x), _lifted(y)
    if x.value == 1:
        return y
    return x if y.value == 1 else Expr("mul", (x, y))


def plus(x: Expr, y: Expr) -> Expr:
    return Expr("add", (x, y))


def minus(x: Expr, y: Expr) -> Expr:
    return Expr("sub", (x, y))


def _lifted(x: Term) -> Expr:
    return x if isinstance(x, Expr) else constant(x)


def _sum(a: Arguments) -> Tensor:
    """Of conditions whether one holds."""
    if a.dtype() == "bool":
        return pointwise(a, maximum, "self", "other", gives="bool")
    alpha = a.number("alpha")
    return pointwise(a, lambda x, y: plus(x, times(y, alpha)), "self", "other")


def _difference(a: Arguments) -> Tensor:
    alpha = a.number("alpha")
    return pointwise(a, lambda x, y: minus(x, times(y, alpha)), "self", "other")


def _difference_from(a: Arguments) -> Tensor:
    alpha = a.number("alpha")
    return pointwise(a, lambda x, y: minus(y, times(x, alpha)), "self", "other")


def _product(a: Arguments) -> Tensor:
    gives = "bool" if a.dtype() == "bool" else ""
    return pointwise(a, times, "self", "other", gives=gives)


def _divide(a: Arguments) -> Tensor:
    mode = a["rounding_mode"] if "mode" in a.call.overload else None
    return pointwise(a, _QUOTIENT[mode], "self", "other")


def _floored(x: Expr, y: Expr) -> Expr:
    """As in Python: (x - the remainder) / y is a whole number but for rounding."""
    rest = Expr("fmod", (x, y))
    made = quotient(x - rest, y)
    apart = both("and", both("not", equal(rest, 0)), both("xor", greater(0, y), greater(0, rest)))
    floor = unary("round", select(apart, made - 1, made))
    return select(equal(y, 0), unary("floor", quotient(x, y)), floor)


_QUOTIENT: dict[str | None, Binary] = {
    None: quotient,
    "trunc": lambda x, y: unary("trunc", quotient(x, y)),
    "floor": _floored,
}


def _power(a: Arguments) -> Tensor:
    e = known_number(a, "exponent")
    if e is not None:
        return pointwise(a, lambda x: power(x, e), "self")
    return pointwise(a, raw("pow"), "self", "exponent")


def _scaled(x: Expr, y: Expr, far: int) -> Expr:
    """sqrt(x x + y y), without overflow: squares of numbers of about 1."""
    most = maximum(unary("abs", x), unary("abs", y))
    scale = select(
        greater(most, 2.0**far), 2.0**-far, select(greater(2.0**-far, most), 2.0**far, 1)
    )
    root = unary("sqrt", (x * scale) * (x * scale) + (y * scale) * (y * scale))
    made = root / scale
    return select(both("or", infinite(x), infinite(y)), inf, made)


def _hypot(a: Arguments) -> Tensor:
    far = 48 if a.f.dtype == "float32" else 500
    return pointwise(a, lambda x, y: _scaled(x, y, far), "self", "other")


def _signed(size: Expr, x: Expr) -> Expr:
    """A size with the sign of x."""
    return select(negative(x), -size, size)


def _copysign(x: Expr, y: Expr) -> Expr:
    return _signed(unary("abs", x), y)


def _atan2(y: Expr, x: Expr) -> Expr:
    """By the quotient that is at most 1."""
    wide, high = unary("abs", x), unary("abs", y)
    steep = _signed(constant(pi / 2), y) - unary("atan", quotient(x, y))
    flat = unary("atan", quotient(y, x))
    flat = select(negative(x), flat + _signed(constant(pi), y), flat)
    # Where both are 0, or infinite, their quotient says nothing.
    zero = select(negative(x), _signed(constant(pi), y), y)
    far = _signed(select(greater(x, 0), constant(pi / 4), 3 * pi / 4), y)
    made = select(greater(high, wide), steep, flat)
    made = select(both("and", equal(x, 0), equal(y, 0)), zero, made)
    return select(both("and", infinite(x), infinite(y)), far, made)


def _heaviside(x: Expr, value: Expr) -> Expr:
    return select(equal(x, 0), value, select(greater(x, 0), 1, 0))


def _log_add(base: float) -> Binary:
    """The logarithm of a sum of powers, without overflow."""

    def of(x: Expr, y: Expr) -> Expr:
        def beyond(x: Expr, y: Expr) -> Expr:
            rest = unary("log1p", unary("exp", (y - x) * log(base)))
            return x + (rest if base == exp(1) else rest * (1 / log(base)))

        made = select(at_least(x, y), beyond(x, y), beyond(y, x))
        return select(both("and", equal(x, y), infinite(x)), x, made)

    return of


def x_log(of: str) -> Binary:
    """x times a logarithm; 0 where x is 0 and the logarithm infinite."""

    def made(x: Expr, y: Expr) -> Expr:
        term = unary(of, y)
        lost = both("and", equal(x, 0), infinite(term))
        flat = both("and", equal(x, 0), both("not", is_nan(y)))
        return select(lost, 0, select(both("and", flat, is_nan(term)), 0, times(x, term)))

    return made


def _ldexp(a: Arguments) -> Tensor:
    return pointwise(a, lambda x, n: times(x, Expr("pow", (constant(2), n))), "self", "other")


def _lerp(x: Expr, end: Expr, weight: Expr) -> Expr:
    """From the end that is nearer."""
    near, far = x + weight * (end - x), end - (end - x) * (1 - weight)
    return select(greater(0.5, unary("abs", weight)), near, far)


def _add_product(a: Arguments) -> Tensor:
    value = a.number("value")
    return pointwise(
        a, lambda x, y, z: plus(x, times(times(y, z), value)), "self", "tensor1", "tensor2"
    )


def _add_quotient(a: Arguments) -> Tensor:
    value = a.number("value")
    return pointwise(
        a, lambda x, y, z: plus(x, times(quotient(y, z), value)), "self", "tensor1", "tensor2"
    )


# Extremes and bounds ------------------------------------------------------------------------------


def extreme(of: Binary) -> Callable[[Arguments], Tensor]:
    """The larger or smaller one. Where gradients are asked for, equal ones share it."""

    def made(a: Arguments) -> Tensor:
        gives = "bool" if a.dtype() == "bool" else ""

        def shared(x: Expr, y: Expr) -> Expr:
            return select(equal(x, y), x * 0.5 + y * 0.5, of(x, y))

        training = a.f.training and not gives
        return pointwise(a, shared if training else of, "self", "other", gives=gives)

    return made


def larger(a: Arguments) -> Tensor:
    return extreme(largest)(a)


def smaller(a: Arguments) -> Tensor:
    return extreme(smallest)(a)


def _known(first: Binary) -> Binary:
    """Where one is NaN the other; else the first if a condition holds."""

    def of(x: Expr, y: Expr) -> Expr:
        return select(is_nan(x), y, select(is_nan(y), x, select(first(x, y), x, y)))

    return of


def _clamp(a: Arguments) -> Tensor:
    """NaN stays. A bound that is NaN makes everything NaN."""
    names = [name for name in ("min", "max") if a.call.given.get(name) is not None]
    bounds = [given(a, name) for name in names]
    training = a.f.training

    def of(x: Expr, *limits: Expr) -> Expr:
        for name, limit in zip(names, limits, strict=True):
            if not training and limit.value is not None and limit.value == limit.value:
                x = maximum(x, limit) if name == "min" else minimum(x, limit)
                continue
            low, high = (limit, None) if name == "min" else (None, limit)
            x = select(is_nan(limit), limit, clamped(x, low, high))
        return x

    return applied(a, of, given(a, "self"), *bounds)


# Comparisons --------------------------------------------------------------------------------------


def exact(a: Arguments, name: str, other: str) -> Operand:
    """An operand of a comparison. Of whole numbers it must be exact: those that come from outside
    are compared with real numbers, which makes them real in PyTorch, too, or with small ones, which
    no large one is rounded to.
    """
    found = a[name]
    if isinstance(found, Tensor | Outside) and "int" in found.dtype:
        x = a.as_tensor(found, name)
        against = a[other]
        if x.value.kind == "int" and not _is_real(against) and not _is_small(a, against):
            raise Unsaid("whole numbers that are compared with others (needs whole numbers)")
    elif not (_is_real(found) or _is_real(a[other]) or _is_small(a, found)):
        raise Unsaid("large whole numbers in a comparison")
    return given(a, name)


def _is_real(x: Any) -> bool:
    return isinstance(x, float) or (isinstance(x, Tensor | Leaf | Outside) and x.dtype in REALS)


def _is_small(a: Arguments, x: Any) -> bool:
    """Whether these are whole numbers that the dtype of the graph tells apart."""
    most = 2 ** (np.finfo(a.f.dtype).nmant + 1)
    if isinstance(x, bool | int):
        return bool(abs(x) < most)
    if isinstance(x, Leaf):
        array = x.array
        a.f.baked[id(x)] = x
        return x.dtype == "bool" or bool((np.abs(array) < most).all())
    return isinstance(x, Tensor) and (x.dtype == "bool" or bool(x.value.kind != "int"))


def compared(of: Binary) -> Handler:
    def made(a: Arguments) -> Tensor:
        operands = exact(a, "self", "other"), exact(a, "other", "self")
        return applied(a, lambda x, y: holds(of(x, y)), *operands, gives="bool")

    return made


def _is_close(a: Arguments) -> Tensor:
    rtol, atol, nans = a.number("rtol"), a.number("atol"), a.flag("equal_nan")

    def of(x: Expr, y: Expr) -> Expr:
        away = unary("abs", x - y)
        near = both("and", at_least(atol + rtol * unary("abs", y), away), greater(inf, away))
        near = both("or", equal(x, y), near)
        return holds(both("or", near, both("and", is_nan(x), is_nan(y))) if nans else near)

    return pointwise(a, of, "self", "other", gives="bool")


# Logic --------------------------------------------------------------------------------------------


def logic(op: str) -> Callable[[Arguments], Tensor]:
    """Of numbers: whether they are not 0."""
    return two(
        lambda x, y: holds(both(op, *(both("not", equal(t, 0)) for t in (x, y)))), gives="bool"
    )


def bits(op: str) -> Handler:
    """Of conditions."""

    def made(a: Arguments) -> Tensor:
        if a.dtype() != "bool":
            raise Unsaid(f"bits of {a.dtype()} (needs whole numbers in formulas)")
        return logic(op)(a)

    return made


def _no(a: Arguments) -> Tensor:
    if a.dtype() != "bool":
        raise Unsaid(f"bits of {a.dtype()} (needs whole numbers in formulas)")
    return pointwise(a, lambda x: 1 - x, "self", gives="bool")


def condition(a: Arguments, name: str) -> Operand:
    found = a[name]
    if found.dtype != "bool":
        raise Unsaid(f"a condition of {found.dtype}")
    return given(a, name)


def _where(a: Arguments) -> Tensor:
    if not a.call.overload:
        raise Unsaid("a result whose shape depends on values")
    return _chosen(a, condition(a, "condition"), "self", "other")


def _masked_fill(a: Arguments) -> Tensor:
    return _chosen(a, condition(a, "mask"), "value", "self")


def _chosen(a: Arguments, where: Operand, yes: str, no: str) -> Tensor:
    gives = "bool" if a.dtype() == "bool" else ""
    return applied(
        a,
        lambda c, x, y: select(greater(c, 0.5), x, y),
        where,
        given(a, yes),
        given(a, no),
        gives=gives,
    )


def broadcast_together(a: Arguments) -> list[Any]:
    """Tensors in their common shape; what has it stays what it is."""
    shape = a.shape()
    return [
        x if tuple(x.shape) == shape else expanded(a.f, a.as_tensor(x, "tensors"), shape)
        for x in a["tensors"]
    ]


TABLE: dict[str, Handler] = {
    "broadcast_tensors": broadcast_together,
    "add": _sum,
    "sub": _difference,
    "subtract": _difference,
    "rsub": _difference_from,
    "mul": _product,
    "multiply": _product,
    "div": _divide,
    "divide": _divide,
    "true_divide": two(quotient),
    "floor_divide": two(_floored),
    "remainder": two(raw("mod")),
    "fmod": two(raw("fmod")),
    "pow": _power,
    "float_power": _power,
    "hypot": _hypot,
    "copysign": two(_copysign),
    "atan2": two(_atan2),
    "arctan2": two(_atan2),
    "heaviside": two(_heaviside, second="values"),
    "logaddexp": two(_log_add(exp(1))),
    "logaddexp2": two(_log_add(2)),
    "xlogy": two(x_log("log")),
    "special_xlogy": two(x_log("log")),
    "special_xlog1py": two(x_log("log1p")),
    "ldexp": _ldexp,
    "lerp": lambda a: pointwise(a, _lerp, "self", "end", "weight"),
    "addcmul": _add_product,
    "addcdiv": _add_quotient,
    "maximum": larger,
    "minimum": smaller,
    "fmax": two(_known(at_least)),
    "fmin": two(_known(lambda x, y: at_least(y, x))),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "eq": compared(equal),
    "ne": compared(lambda x, y: both("not", equal(x, y))),
    "lt": compared(lambda x, y: greater(y, x)),
    "le": compared(lambda x, y: at_least(y, x)),
    "gt": compared(greater),
    "ge": compared(at_least),
    "not_equal": compared(lambda x, y: both("not", equal(x, y))),
    "less": compared(lambda x, y: greater(y, x)),
    "less_equal": compared(lambda x, y: at_least(y, x)),
    "greater": compared(greater),
    "greater_equal": compared(at_least),
    "isclose": _is_close,
    "logical_and": logic("and"),
    "logical_or": logic("or"),
    "logical_xor": logic("xor"),
    "bitwise_and": bits("and"),
    "bitwise_or": bits("or"),
    "bitwise_xor": bits("xor"),
    "__and__": bits("and"),
    "__or__": bits("or"),
    "__xor__": bits("xor"),
    "bitwise_not": _no,
    "where": _where,
    "masked_fill": _masked_fill,
}
