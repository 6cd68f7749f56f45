"""Terms of formulas as other programs mean them: with their rules for NaN, zeros and powers."""

from collections.abc import Callable
from math import isnan

from faltung.geometry.expr import Expr, constant, is_nan, maximum, minimum, select, unary

# Whole exponents that are products.
MOST_FACTORS = 8
# Types that do not hold all numbers of another.
SHORTER = {
    "float64": ("float32", "float16", "bfloat16"),
    "float32": ("float16", "bfloat16"),
    "float16": ("bfloat16",),
    "bfloat16": ("float16",),
}


def raw(op: str) -> Callable[[Expr, Expr], Expr]:
    """An operation as it is: zero times infinity is not zero."""
    return lambda a, b: Expr(op, (a, b))


def holds(condition: Expr) -> Expr:
    """A condition as a number."""
    return select(condition, 1, 0)


def largest(x: Expr, y: Expr) -> Expr:
    """NaN where either is NaN."""
    return _or_nan(y, maximum(x, y))


def smallest(x: Expr, y: Expr) -> Expr:
    """NaN where either is NaN."""
    return _or_nan(y, minimum(x, y))


def _or_nan(y: Expr, made: Expr) -> Expr:
    number = y.value is not None and not isnan(y.value)
    return made if number else select(is_nan(y), y, made)


def power(x: Expr, e: float) -> Expr:
    """Products and roots for the exponents that are usual."""
    if e in (0, 0.5):
        return unary("sqrt", x) if e else constant(1)
    if not e.is_integer() or abs(e) > MOST_FACTORS:
        return Expr("pow", (x, constant(e)))
    made: Expr | None = None
    square, left = x, abs(int(e))
    while left:
        if left & 1:
            made = square if made is None else made * square
        left >>= 1
        square = square * square if left else square
    assert made is not None
    return made if e > 0 else Expr("div", (constant(1), made))
