"""The meaning of formulas, by definitions; random numbers that look like some."""

from math import erf, exp, expm1, log1p, nan

import numpy as np
import pytest

from faltung.geometry.expr import (
    at_least,
    constant,
    greater,
    maximum,
    minimum,
    operand,
    select,
    unary,
)
from faltung.reference.expr import evaluate, uniform

A, B = operand(0), operand(1)


def test_operations_one_by_one() -> None:
    a, b = np.array([1.5, -2.0, 0.0]), np.array([0.5, 4.0, nan])

    def same(expr, want) -> None:
        np.testing.assert_array_equal(evaluate(expr, [a, b]), want)

    same(A + B, [2, 2, nan])
    same(A - B, [1, -6, nan])
    same(A * B, [0.75, -8, nan])
    same(A / B, [3, -0.5, nan])
    same(maximum(A, B), [1.5, 4, 0])
    same(maximum(B, A), [1.5, 4, nan])
    same(minimum(A, B), [0.5, -2, 0])
    same(minimum(B, A), [0.5, -2, nan])
    same(-A, [-1.5, 2, 0])
    same(unary("abs", A), [1.5, 2, 0])
    same(unary("sqrt", A), [1.5**0.5, nan, 0])
    same(1 / A, [1 / 1.5, -0.5, np.inf])
    same(select(greater(A, B), 1, 2), [1, 2, 2])
    same(select(at_least(A, A), A, B), a)
    same(unary("erf", A), [erf(1.5), erf(-2), 0])
    np.testing.assert_allclose(evaluate(unary("sigmoid", A), [a]), 1 / (1 + np.exp(-a)))
    np.testing.assert_allclose(evaluate(unary("tanh", A), [a]), np.tanh(a))
    np.testing.assert_allclose(evaluate(unary("exp", A), [a]), [exp(1.5), exp(-2), 1])
    np.testing.assert_allclose(evaluate(unary("log", A), [a]), [np.log(1.5), nan, -np.inf])
    same(unary("expm1", A), [expm1(1.5), expm1(-2), 0])
    same(unary("log1p", A), [log1p(1.5), nan, 0])


@pytest.mark.parametrize(("op", "x", "want"), [
    # By mpmath, with 40 digits.
    ("sigmoid", -40.0, 4.248354255291589e-18),
    ("sigmoid", -720.0, 2.0322308e-313),
    ("gaussian", 30.1, 1.8299036584778077e-197),
    ("ndtr", -9.3, 7.022284240441626e-21),
    ("ndtr", -37.5, 4.6053530095819548e-308),
    ("ndtr", 0.0, 0.5),
    ("ndtr", 40.0, 1.0),
    ("expm1", -1e-18, -1e-18),
    ("log1p", 1e-18, 1e-18),
])  # fmt: skip
def test_small_results_keep_their_digits(op: str, x: float, want: float) -> None:
    (got,) = evaluate(unary(op, A), [[x]])
    assert got == pytest.approx(want, rel=3e-15 if want > 1e-300 else 1e-8, abs=0)


def test_operands_broadcast() -> None:
    x, y = np.ones((4, 1, 3), np.float32), np.arange(5).reshape(5, 1)
    got = evaluate(A + B * 2, [x, y])
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, x + y * 2.0)
    # Also those that the formula does not read give the shape.
    assert evaluate(constant(2), [x, y]).shape == (4, 5, 3)


def test_a_condition_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="condition is not a number"):
        evaluate(greater(A, 0), [np.zeros(3)])


# Random numbers ---------------------------------------------------------------------------------

N = 1 << 20


def numbers(key: int, start: int = 0, count: int = N) -> np.ndarray:
    return uniform(np.asarray(key), np.arange(start, start + count))


def test_random_numbers_are_those_of_the_paper_and_ink() -> None:
    """By hand, in whole numbers of Python."""

    def murmur(x: int) -> int:
        x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
        x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
        return x ^ x >> 16

    key, number = -7, 3 * 2**32 + 123456
    z = (key + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    x = murmur((number + z) % 2**32)
    x = murmur(x ^ ((number >> 32) + (z >> 32)) % 2**32)
    assert uniform(np.asarray(key), np.asarray(number)) == (x >> 8) / 2**24


@pytest.mark.parametrize("key", [0, 1, 2, -1, 10**15])
def test_uniform(key: int) -> None:
    u = numbers(key)
    assert u.min() >= 0
    assert u.max() < 1
    for shift in (1, 2**8, 2**16):  # high bits, middle bits, low bits
        counts = np.bincount((u * shift % 1 * 256).astype(int), minlength=256)
        chi = ((counts - N / 256) ** 2).sum() / (N / 256)
        assert 160 < chi < 370  # 255 degrees of freedom: mean 255, deviation 22.6


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return abs(float(np.corrcoef(a, b)[0, 1]))


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 64, 1000, 65536])
def test_neighbours_are_not_related(lag: int) -> None:
    u = numbers(5)
    assert correlation(u[lag:], u[:-lag]) < 5 / N**0.5
    # Nor are the decisions of a dropout.
    kept = u >= 0.1
    assert correlation(kept[lag:], kept[:-lag]) < 5 / N**0.5


@pytest.mark.parametrize("other", [1, 2, 256, 2**31, 2**32, 2**63 - 1])
def test_keys_are_not_related(other: int) -> None:
    u = numbers(0)
    for start in (0, 1, 2**32):
        assert correlation(u, numbers(other, start)) < 5 / N**0.5
    assert correlation(u, numbers(0, 2**32)) < 5 / N**0.5


def test_a_number_of_keys_at_one_element() -> None:
    u = uniform(np.arange(N), np.asarray(17))
    counts = np.bincount((u * 256).astype(int), minlength=256)
    assert 160 < ((counts - N / 256) ** 2).sum() / (N / 256) < 370
    assert correlation(u[1:], u[:-1]) < 5 / N**0.5
