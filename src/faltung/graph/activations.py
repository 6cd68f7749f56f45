"""Activations as formulas of operand 0, and their slopes.

Where the slope follows from the result, a backward pass keeps only the result: the sum before the
activation is never stored.

No formula loses a small result as the difference of two large numbers: ``expm1``, ``log1p`` and
``ndtr`` are as accurate near zero and far below it as elsewhere.
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
    return select(greater(X, 0), X, alpha * unary("expm1", X))


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
    return X * unary("ndtr", X)


def gelu_tanh() -> Expr:
    """``gelu`` by a hyperbolic tangent, as in the same paper: x (1 + tanh u) / 2 with
    u = sqrt(2 / pi) (x + 0.044715 x^3), written as x sigmoid(2u), which does not cancel.
    """
    slope = 2 * sqrt(2 / pi)
    # From |x| = 100 on the sigmoid is 0 or 1 anyway; an infinite square would make its slope NaN.
    x = minimum(maximum(X, -100), 100)
    return X * unary("sigmoid", x * (slope + (0.044715 * slope) * (x * x)))


def softplus() -> Expr:
    """log(1 + exp x), written so that nothing overflows."""
    # At 0 the minimum and the maximum take the sides whose slopes add up to 1/2.
    return maximum(X, 0) + unary("log1p", unary("exp", minimum(-X, X)))


def mish() -> Expr:
    """x tanh(softplus(x)); Misra, 2019. Of e = exp x it is x n / (n + 2) with n = e (e + 2)."""
    # From 20 on the quotient is 1 anyway; an infinite one would be NaN.
    e = unary("exp", minimum(X, 20))
    n = e * (e + 2)
    return X * (n / (n + 2))


def hard_sigmoid() -> Expr:
    """min(max(x + 3, 0), 6) / 6; Howard et al., MobileNetV3, 2019."""
    return minimum(maximum(X + 3, 0), 6) * (1 / 6)


def hard_swish() -> Expr:
    """x hard_sigmoid(x); Howard et al., MobileNetV3, 2019."""
    return X * hard_sigmoid()


def slope_by_output(expr: Expr) -> Expr | None:
    """d y / d x as a formula of y (operand 0), where y = expr(x) and that is possible.

    It is not where y is the same number for many x whose slopes differ: that of ``elu`` is lost
    once y rounds to -alpha. Of sigmoid and tanh, whose y rounds to 1, it is accepted, as in
    PyTorch: their slopes have the absolute error of y, not its relative one.
    """
    y = X
    if expr == relu():
        return select(greater(y, 0), 1, 0)
    if expr == relu6():
        return select(greater(y, 0), select(greater(6, y), 1, 0), 0)
    if expr == softplus():
        return -unary("expm1", -y)
    if expr.op in _BY_OUTPUT and expr.terms == (X,):
        return _BY_OUTPUT[expr.op]
    if expr.op == "select" and expr.terms[:2] == (greater(X, 0), X):
        slope = derivative(expr.terms[2], 0).value
        if slope is not None and slope > 0:
            return select(greater(y, 0), 1, slope)
    return None


_BY_OUTPUT: dict[str, Expr] = {
    "sigmoid": X * (1 - X),
    "tanh": 1 - X * X,
    "exp": X,
    "sqrt": constant(0.5) / X,
}
