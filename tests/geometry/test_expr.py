"""Formulas as data: how they are built, what they print, and their derivatives."""

from math import exp, inf, nan, pi

import numpy as np
import pytest
from grid import examples, grid
from hypothesis import assume, given
from hypothesis import strategies as st

from faltung.geometry.expr import (
    ARITY,
    FORMATS,
    Expr,
    at_least,
    binary,
    constant,
    derivative,
    equal,
    greater,
    is_nan,
    lifted,
    logic,
    maximum,
    minimum,
    operand,
    power,
    random,
    select,
    unary,
)
from faltung.reference.expr import evaluate

A, B, C = operand(0), operand(1), operand(2)
UNARY = [op for op, terms in ARITY.items() if terms == 1 and op not in ("random", "not", *FORMATS)]
# Where they are smooth, if that is not everywhere.
DOMAIN = {
    **dict.fromkeys(("sqrt", "log"), (0, inf)),
    **dict.fromkeys(("asin", "acos", "atanh"), (-1, 1)),
    "log1p": (-1, inf),
    "acosh": (1, inf),
}


def value(expr: Expr, *at: float) -> float:
    return float(evaluate(expr, [np.float64(x) for x in at]))


# Building ---------------------------------------------------------------------------------------


def test_operators_build_and_repr_says_all() -> None:
    expr = -(2 * A + B) / (1 - C) - 3
    assert repr(expr) == "sub(div(neg(add(mul(2.0, $0), $1)), sub(1.0, $2)), 3.0)"
    assert expr == -(2 * A + B) / (1 - C) - 3
    assert hash(expr) == hash(-(2 * A + B) / (1 - C) - 3)
    assert expr.operands() == {0, 1, 2}
    assert expr.uses("div")
    assert not expr.uses("exp")
    assert value(expr, 1, 2, 3) == -(2 * 1 + 2) / (1 - 3) - 3


def test_constants_are_folded_and_neutral_elements_left_out() -> None:
    assert lifted(3) + 4 == constant(7)
    assert (A + 0, 0 + A, A - 0, A * 1, 1 * A, A / 1) == (A,) * 6
    assert 0 - A == -A
    negative = -A
    assert -negative == A
    assert constant(0) == A * 0
    assert constant(0) == 0 / A
    assert unary("sqrt", 4) == constant(2)
    assert unary("expm1", 1e-20) == unary("log1p", 1e-20) == constant(1e-20)
    assert unary("sigmoid", -40).value == pytest.approx(exp(-40), rel=1e-15)
    assert unary("ndtr", -9).value == pytest.approx(1.1285884059538406e-19, rel=1e-14)
    assert unary("gaussian", 2) == constant(exp(-2))
    assert select(greater(A, 0), B, B) == B
    # What has no value stays for the processor: infinity.
    assert constant(1) / 0 == Expr("div", (constant(1), constant(0)))
    assert value(constant(1) / 0) == inf


def test_parts_count_once() -> None:
    root = unary("sqrt", A + 1)
    assert (root * root + root).size() == 4
    assert A.size() == 0


def test_replacing_operands() -> None:
    expr = maximum(A * B, 0)
    assert expr.replaced([B + 1, constant(2)]) == maximum((B + 1) * 2, 0)
    assert expr.replaced([constant(3), constant(2)]) == constant(6)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a comparison"):
        select(A, A, B)
    with pytest.raises(ValueError, match="must be an operand"):
        random(A + 1)
    with pytest.raises(ValueError, match="no derivative"):
        derivative(random(A), 0)
    assert derivative(select(at_least(random(B), 0.5), A * 2, 0), 0) == select(
        at_least(random(B), 0.5), 2, 0
    )


@pytest.mark.parametrize("exponent", [0, 0.25, 0.5, 0.75, 1, 2, 2.75, 4, 7.3, -1, -0.5, -0.75])
def test_powers(exponent: float) -> None:
    for base in (0.3, 1.0, 2.5):
        assert value(power(A, exponent), base) == pytest.approx(base**exponent, rel=1e-14)


# Derivatives ------------------------------------------------------------------------------------


def slope(expr: Expr, number: int, at: list[float]) -> tuple[float, float]:
    """By differences, of fourth order, and how far that may be off."""

    def moved(by: float) -> float:
        return value(expr, *(x + by * (i == number) for i, x in enumerate(at)))

    def differences(h: float) -> float:
        return (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)

    fine, coarse = differences(1e-3), differences(2e-3)
    return fine, abs(fine - coarse) + 1e-9 * (1 + abs(fine))


@grid(at=[0.4, 1.3, 2.7], op=UNARY, every=1)
def test_derivatives_of_functions(op: str, at: float) -> None:
    for x in (at, -at):
        low, high = DOMAIN.get(op, (-inf, inf))
        if not low < x < high:
            continue
        expr = unary(op, A)
        want, off = slope(expr, 0, [x])
        assert value(derivative(expr, 0), x) == pytest.approx(want, abs=off + 1e-10)


@pytest.mark.parametrize(
    "expr",
    [
        A + B,
        A - B,
        A * B,
        A / B,
        maximum(A, B),
        minimum(A, B),
        select(greater(A, B), A * B, A + 2 * B),
        select(at_least(A, B), A * A, 3 * B),
        binary("fmod", A, B),
        binary("mod", A, B),
    ],
    ids=str,
)
def test_derivatives_for_both_operands(expr: Expr) -> None:
    for at in ([0.7, 1.9], [2.2, -0.6]):
        for number in (0, 1):
            want, off = slope(expr, number, at)
            assert value(derivative(expr, number), *at) == pytest.approx(want, abs=off)


@pytest.mark.parametrize("exponent", [2.5, -1.5, 0.5, 3.0])
def test_derivatives_of_powers(exponent: float) -> None:
    expr = binary("pow", A, B)
    for number in (0, 1):
        want, off = slope(expr, number, [1.7, exponent])
        assert value(derivative(expr, number), 1.7, exponent) == pytest.approx(want, abs=off)
    one = binary("pow", A, exponent)
    want, off = slope(one, 0, [1.7])
    assert value(derivative(one, 0), 1.7) == pytest.approx(want, abs=off)


def test_derivatives_of_powers_of_zero() -> None:
    """The limits, as in PyTorch."""
    expr = binary("pow", A, B)
    assert value(derivative(expr, 0), 0.0, 0.0) == value(derivative(expr, 1), 0.0, 0.0) == 0
    assert (value(derivative(expr, 0), 0.0, 1.0), value(derivative(expr, 1), 0.0, 2.0)) == (1, 0)
    assert value(derivative(expr, 0), -2.0, 3.0) == 12


def test_powers_that_are_short() -> None:
    assert binary("pow", A, 0) == constant(1)
    assert (binary("pow", A, 1), binary("pow", A, 2), binary("pow", A, -1)) == (A, A * A, 1 / A)
    assert binary("pow", 2, 10) == constant(1024)


def test_logic() -> None:
    above, same = greater(A, B), equal(A, B)
    both = logic("and", above, logic("not", same))
    assert repr(both) == "and(gt($0, $1), not(eq($0, $1)))"
    assert value(select(both, 1, 2), 3, 1) == 1 and value(select(both, 1, 2), 1, 1) == 2
    assert value(select(is_nan(A), 1, 2), nan) == 1 and value(select(is_nan(A), 1, 2), inf) == 2
    assert both.replaced([B, A]) == logic("and", greater(B, A), logic("not", equal(B, A)))
    with pytest.raises(ValueError, match="must be a comparison"):
        logic("and", above, A)


def test_whole_numbers_are_folded() -> None:
    assert [unary(op, -2.5).value for op in ("floor", "ceil", "round", "trunc")] == [-3, -2, -2, -2]
    assert str(unary("round", -0.25)) == str(unary("ceil", -0.25)) == "-0.0"
    assert (binary("mod", -5, 3).value, binary("fmod", -5, 3).value) == (1, -2)
    assert binary("mod", 5, 0).value is None and unary("floor", inf).value is None
    assert unary("sign", -3).value == -1


def test_rounding_has_the_slope_of_what_is_rounded() -> None:
    for op in FORMATS:
        assert derivative(unary(op, A * A), 0) == A + A


def test_known_derivatives() -> None:
    assert derivative(A * B + C, 0) == B
    assert derivative(A * A, 0) == A + A
    assert derivative(B * 3, 0) == constant(0)
    assert derivative(unary("exp", A), 0) == unary("exp", A)
    y = unary("tanh", A)
    assert derivative(y, 0) == 1 - y * y
    assert value(derivative(unary("erf", A), 0), 0.0) == pytest.approx(2 / pi**0.5)
    assert value(derivative(unary("ndtr", A), 0), 0.0) == pytest.approx((2 * pi) ** -0.5)
    # Not y + 1, which is 0 here.
    assert value(derivative(unary("expm1", A), 0), -50.0) == pytest.approx(exp(-50), rel=1e-15)
    assert derivative(unary("log1p", A), 0) == 1 / (1 + A)
    # At a kink the branch that is taken: that of a rectifier is 0 at 0.
    assert value(derivative(maximum(A, 0), 0), 0.0) == 0
    assert value(derivative(unary("abs", A), 0), 0.0) == 0


SMOOTH = st.recursive(
    st.sampled_from([A, B, C, constant(0.5), constant(-2)]),
    lambda inner: st.one_of(
        st.builds(lambda x, y: x + y, inner, inner),
        st.builds(lambda x, y: x - y, inner, inner),
        st.builds(lambda x, y: x * y, inner, inner),
        st.builds(lambda x, y: x / (y * y + 1), inner, inner),
        st.builds(maximum, inner, inner),
        st.builds(minimum, inner, inner),
        st.builds(lambda x: -x, inner),
        st.builds(lambda x: unary("tanh", x), inner),
        st.builds(lambda x: unary("sigmoid", x), inner),
        st.builds(lambda x: unary("erf", x), inner),
        st.builds(lambda x: unary("exp", unary("sigmoid", x)), inner),
        st.builds(lambda x: unary("expm1", unary("tanh", x)), inner),
        st.builds(lambda x: unary("log1p", unary("abs", x)), inner),
        st.builds(lambda x: unary("ndtr", unary("gaussian", x)), inner),
        st.builds(lambda x: unary("log", x * x + 1), inner),
        st.builds(lambda x: unary("sqrt", unary("abs", x) + 1), inner),
        st.builds(lambda x, y, z: select(greater(x, y), y, z), inner, inner, inner),
    ),
    max_leaves=8,
)


@examples(12)
@given(SMOOTH, st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3), st.integers(0, 2))
def test_derivatives_of_any_formula(expr: Expr, at: list[float], number: int) -> None:
    want, off = slope(expr, number, at)
    made = derivative(expr, number)
    got, *near = (
        value(made, *(x + by * (i == number) for i, x in enumerate(at))) for by in (0, -2e-3, 2e-3)
    )
    spread = max(abs(got - one) for one in near)
    assume(off + spread < 1e-2 * (1 + abs(want)))  # no kink near, and not too steep
    assert got == pytest.approx(want, abs=10 * off + spread)
