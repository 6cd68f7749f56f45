"""Activations: their values, their slopes, and slopes that follow from the result alone."""

from collections.abc import Callable

import numpy as np
import pytest

from faltung.geometry.expr import Expr, derivative, greater, operand, select, unary
from faltung.graph import activations
from faltung.reference.expr import evaluate

X = operand(0)
# Name, formula, PyTorch's function, whether the slope follows from the result.
TABLE: dict[str, tuple[Expr, Callable[..., object], bool]] = {
    "relu": (activations.relu(), lambda f, x: f.relu(x), True),
    "relu6": (activations.relu6(), lambda f, x: f.relu6(x), True),
    "leaky_relu": (activations.leaky_relu(), lambda f, x: f.leaky_relu(x), True),
    "leaky_relu steep": (activations.leaky_relu(3.0), lambda f, x: f.leaky_relu(x, 3.0), True),
    "elu": (activations.elu(), lambda f, x: f.elu(x), False),
    "elu small": (activations.elu(0.25), lambda f, x: f.elu(x, 0.25), False),
    "elu large": (activations.elu(2.0), lambda f, x: f.elu(x, 2.0), False),
    "sigmoid": (activations.sigmoid(), lambda f, x: x.sigmoid(), True),
    "tanh": (activations.tanh(), lambda f, x: x.tanh(), True),
    "silu": (activations.silu(), lambda f, x: f.silu(x), False),
    "gelu": (activations.gelu(), lambda f, x: f.gelu(x), False),
    "gelu_tanh": (activations.gelu_tanh(), lambda f, x: f.gelu(x, approximate="tanh"), False),
    "softplus": (activations.softplus(), lambda f, x: f.softplus(x), True),
    "hard_sigmoid": (activations.hard_sigmoid(), lambda f, x: f.hardsigmoid(x), False),
    "hard_swish": (activations.hard_swish(), lambda f, x: f.hardswish(x), False),
}
NAMES = pytest.mark.parametrize("name", TABLE)
# Without the kinks but 0, which has a slope by agreement in each.
POINTS = np.array([*np.linspace(-9, 9, 73), 1e-300, -1e-300, 1e-3, -1e-3, 40.0, -40.0])
KINKS = (3.0, -3.0, 6.0)
AT_ZERO = {
    "relu": 0.0,
    "relu6": 0.0,
    "leaky_relu": 0.01,
    "leaky_relu steep": 3.0,
    "sigmoid": 0.25,
    "tanh": 1.0,
    "softplus": 0.5,
}


@NAMES
def test_values_and_slopes_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    expr, function, _ = TABLE[name]
    points = POINTS[~np.isin(POINTS, KINKS)]
    x = torch.tensor(points, requires_grad=True)
    y = function(torch.nn.functional, x)
    y.sum().backward()
    got = evaluate(expr, [points])
    # PyTorch's softplus is x itself from 20 on.
    np.testing.assert_allclose(got, y.detach().numpy(), rtol=1e-8, atol=1e-12)
    slope = evaluate(derivative(expr, 0), [points])
    away = points != 0  # there PyTorch takes either side
    np.testing.assert_allclose(slope[away], x.grad.numpy()[away], rtol=1e-7, atol=1e-12)


@NAMES
def test_slopes_by_the_result_are_the_slopes(name: str) -> None:
    """Also at kinks. At zero it is PyTorch's, that of what lies below."""
    expr, _, known = TABLE[name]
    slope = activations.slope_by_output(expr)
    assert (slope is not None) == known
    if slope is None:
        return
    points = POINTS[POINTS != 0]
    want = evaluate(derivative(expr, 0), [points])
    got = evaluate(slope, [evaluate(expr, [points])])
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    at_zero = evaluate(slope, [evaluate(expr, [np.zeros(1)])])
    assert at_zero == pytest.approx(AT_ZERO[name], rel=1e-15)


@pytest.mark.parametrize(("expr", "want"), [
    (activations.softplus(), 0.5),
    (activations.elu(0.25), 0.25),
    (activations.silu(), 0.5),
    (activations.gelu(), 0.5),
    (activations.gelu_tanh(), 0.5),
])  # fmt: skip
def test_slopes_at_zero(expr: Expr, want: float) -> None:
    for zero in (0.0, -0.0):
        assert evaluate(derivative(expr, 0), [[zero]]) == [want]


@NAMES
def test_what_is_no_number_stays_none(name: str) -> None:
    expr, _, _ = TABLE[name]
    assert np.isnan(evaluate(expr, [np.array([np.nan])])).all()


@NAMES
def test_nothing_overflows(name: str) -> None:
    """Values and slopes of the largest float32 numbers are finite; no NaN in the middle."""
    expr, _, _ = TABLE[name]
    far = np.array([-3e38, -1e10, -200.0, 200.0, 1e10, 3e38])
    with np.errstate(over="ignore"):
        assert np.isfinite(evaluate(expr, [far])[:5]).all()
    assert np.isfinite(evaluate(derivative(expr, 0), [[*far, 0.0]])).all()


def test_other_formulas_that_know_their_slope() -> None:
    x = np.array([0.25, 1.0, 4.0])
    for op in ("exp", "sqrt"):
        expr = unary(op, X)
        slope = activations.slope_by_output(expr)
        assert slope is not None
        want = evaluate(derivative(expr, 0), [x])
        np.testing.assert_allclose(evaluate(slope, [evaluate(expr, [x])]), want, rtol=1e-14)


def test_formulas_that_do_not_know_their_slope() -> None:
    """What is below zero must come from below zero, or the sign of the result says nothing."""
    for expr in (
        X,
        X * X,
        unary("abs", X),
        unary("sigmoid", X * 2),
        unary("tanh", operand(1)),
        select(greater(X, 0), X, X * -0.5),
        select(greater(X, 0), X, X * X),
        select(greater(X, 1), X, X * 0.5),
        select(greater(X, 0), X * 2, X * 0.5),
        activations.elu(),
        select(greater(X, 0), X, -1.0 * (unary("exp", X) - 1)),
        select(greater(X, 0), X, 0.5),
    ):
        assert activations.slope_by_output(expr) is None, expr
