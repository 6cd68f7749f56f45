"""GELU as files spell it out."""

from math import erfc, sqrt

import numpy as np
import pytest

from benchmarks.elementary import applied
from faltung.geometry.expr import Expr, constant, operand, unary
from faltung.graph.activations import gelu
from faltung.graph.spelled import spelled

X, Y = operand(0), operand(1)
SQRT2 = float(np.float32(sqrt(2)))


def _one_and_erf(x: Expr) -> Expr:
    return unary("erf", x / SQRT2) + 1


@pytest.mark.parametrize(
    "written",
    [
        X * _one_and_erf(X) * 0.5,
        X * 0.5 * _one_and_erf(X),
        0.5 * (X * (1 + unary("erf", X * sqrt(0.5)))),
        X * (0.5 * (1 + unary("erf", sqrt(0.5) * X))),
    ],
    ids=str,
)
def test_gelu(written: Expr) -> None:
    assert spelled(written) == gelu()
    x = np.linspace(-8, 8, 1001)
    want = [0.5 * value * erfc(-value * sqrt(0.5)) for value in x]
    np.testing.assert_allclose(applied(spelled(written), x), want, rtol=2e-14)


def test_inside_another_formula() -> None:
    z = X + Y
    made = spelled(unary("abs", Y * (z * _one_and_erf(z) * 0.5) + Y))
    assert made == unary("abs", Y * z * unary("ndtr", z) + Y)


@pytest.mark.parametrize(
    "other",
    [
        X * _one_and_erf(X),
        X * (unary("erf", X / 1.5) + 1) * 0.5,
        X * (unary("erf", X / SQRT2) + 2) * 0.5,
        unary("exp", X) + constant(1),
    ],
    ids=str,
)
def test_what_is_something_else_stays(other: Expr) -> None:
    assert spelled(other) == other
