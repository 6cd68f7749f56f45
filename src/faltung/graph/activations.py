"""Activations as formulas of operand 0, and their slopes.

Where the slope follows from the result, a backward pass keeps only the result: the sum before the
activation is never stored.
"""

from math import pi, sqrt

from faltung.geometry.expr import (
    Expr,
    constant,
    derivative,
    greater,
    maximum,
    minimum,
    operand,
    select,
    unary,
)

X = operand(0)


def relu() -> Expr:
    """max(x, 0)"""
    return maximum(X, 0)


def relu6() -> Expr:
    """min(max(x, 0), 6); Howard et al., MobileNets, 2017."""
    return minimum(maximum(X, 0), 6)


def leaky_relu(slope: float = 0.01) -> Expr:
    """x where x > 0, else slope * x; Maas et al., 2013. 0 < slope."""
    return select(greater(X, 0), X, X * slope)


def elu(alpha: float = 1.0) -> Expr:
    """x where x > 0, else alpha (exp x - 1); Clevert et al., 2015. 0 < alpha."""
    # Above 0 the exponential is not used; without the minimum it could overflow.
    return select(greater(X, 0), X, alpha * (unary("exp", minimum(X, 0)) - 1))


def sigmoid() -> Expr:
    """1 / (1 + exp -x)"""
    return unary("sigmoid", X)


def tanh() -> Expr:
    """The hyperbolic tangent."""
    return unary("tanh", X)


def silu() -> Expr:
    """x sigmoid(x), also called swish; Elfwing et al., 2017."""
    return X * unary("sigmoid", X)


def gelu() -> Expr:
    """x times the normal distribution's (1 + erf(x / sqrt 2)) / 2; Hendrycks and Gimpel, 2016."""
    return X * (0.5 * (1 + unary("erf", X * (1 / sqrt(2)))))


def gelu_tanh() -> Expr:
    """``gelu`` by a hyperbolic tangent, as in the same paper."""
    return X * (0.5 * (1 + unary("tanh", sqrt(2 / pi) * (X + 0.044715 * (X * X * X)))))


def softplus() -> Expr:
    """log(1 + exp x), written so that nothing overflows."""
    return maximum(X, 0) + unary("log", 1 + unary("exp", -unary("abs", X)))


def hard_sigmoid() -> Expr:
    """min(max(x + 3, 0), 6) / 6; Howard et al., MobileNetV3, 2019."""
    return minimum(maximum(X + 3, 0), 6) * (1 / 6)


def hard_swish() -> Expr:
    """x hard_sigmoid(x); Howard et al., MobileNetV3, 2019."""
    return X * hard_sigmoid()


def slope_by_output(expr: Expr) -> Expr | None:
    """d y / d x as a formula of y (operand 0), where y = expr(x) and that is possible."""
    y = X
    if expr == relu():
        return select(greater(y, 0), 1, 0)
    if expr == relu6():
        return select(greater(y, 0), select(greater(6, y), 1, 0), 0)
    if expr.op in ("sigmoid", "tanh", "exp", "sqrt") and expr.terms == (X,):
        return y * (1 - y) if expr.op == "sigmoid" else _root(expr.op, y)
    if expr.op == "select" and expr.terms[:2] == (greater(X, 0), X):
        below = expr.terms[2]
        slope = derivative(below, 0).value
        if slope is not None and slope > 0:
            return select(greater(y, 0), 1, slope)
        alpha = below.terms[0].value if below.op == "mul" else 1.0
        if alpha is not None and alpha > 0 and expr == elu(alpha):
            return select(greater(y, 0), 1, y + alpha)
    return None


def _root(op: str, y: Expr) -> Expr:
    return {"tanh": 1 - y * y, "exp": y, "sqrt": constant(0.5) / y}[op]
