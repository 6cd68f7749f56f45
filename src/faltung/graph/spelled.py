"""Formulas that files spell out, as the operation that computes them at once.

(1 + erf(x / sqrt 2)) / 2 is the normal distribution function: exporters write GELU in this way. The
function itself takes fewer instructions, and keeps the digits that 1 + erf loses below zero.
"""

from math import isclose, prod, sqrt

from faltung.geometry.expr import Expr, constant, unary

# As near as the constants of files, which are float32, come to those that are meant.
NEAR = 1e-6


def spelled(expr: Expr) -> Expr:
    """The formula with what is spelled out replaced."""
    return _replaced(expr) if expr.uses("erf") else expr


def _replaced(expr: Expr) -> Expr:
    if not expr.terms:
        return expr
    if expr.op == "mul":
        factors = _factors(expr)
        scale = prod(factor.value for factor in factors if factor.value is not None)
        others = [factor for factor in factors if factor.value is None]
        for i, factor in enumerate(others):
            x = _normal(factor)
            if x is not None and scale == 0.5:
                rest = [_replaced(other) for other in others[:i] + others[i + 1 :]]
                return prod([*rest, unary("ndtr", _replaced(x))], start=constant(1))
    return Expr(expr.op, tuple(map(_replaced, expr.terms)))


def _factors(expr: Expr) -> list[Expr]:
    if expr.op != "mul":
        return [expr]
    return [factor for term in expr.terms for factor in _factors(term)]


def _normal(expr: Expr) -> Expr | None:
    """The x of 1 + erf(x / sqrt 2)."""
    if expr.op != "add":
        return None
    for one, other in (expr.terms, expr.terms[::-1]):
        if one.value == 1 and other.op == "erf":
            (inside,) = other.terms
            if inside.op == "div" and _is(inside.terms[1], sqrt(2)):
                return inside.terms[0]
            if inside.op == "mul":
                for x, factor in (inside.terms, inside.terms[::-1]):
                    if _is(factor, sqrt(0.5)):
                        return x
    return None


def _is(expr: Expr, number: float) -> bool:
    return expr.value is not None and isclose(expr.value, number, rel_tol=NEAR)
