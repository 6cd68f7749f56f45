"""Formulas as text: what they mean, what they print, and what they refuse."""

import numpy as np
import pytest

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import operand, random
from faltung.geometry.formula import FUNCTIONS, LARGEST, as_text, parse, written
from faltung.reference.expr import evaluate

X = np.linspace(0.1, 0.9, 7)
Y = np.linspace(-2, 2, 7)
NAMES = ("x", "y")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("x + 2 * y - 1 / x", X + 2 * Y - 1 / X),
        ("-x ** 2 % 3", np.mod(-(X**2), 3)),
        ("pi * e + +x", np.pi * np.e + X),
        (
            "where(0 < y <= 1 and not x > 0.5, 1, y)",
            np.where((Y > 0) & (Y <= 1) & (X <= 0.5), 1, Y),
        ),
        ("where(x == x or y != y, x, 0)", X),
        ("max(x, y, 0.5) - min(x, y)", np.maximum(np.maximum(X, Y), 0.5) - np.minimum(X, Y)),
        ("relu(y) + softplus(y)", np.maximum(Y, 0) + np.log1p(np.exp(Y))),
        ("pow(x, y)", X**Y),
        ("1e-3 + log1p(x)", 1e-3 + np.log1p(X)),
    ],
)
def test_a_text_means_what_it_says(text: str, want: np.ndarray) -> None:
    made = parse(text, NAMES)
    np.testing.assert_allclose(evaluate(made, [X, Y]), want, rtol=1e-12)
    assert parse(written(made, NAMES), NAMES) == made
    assert parse(as_text(made, NAMES), NAMES) == made


def test_every_function_reads_back() -> None:
    for name, (count, _) in FUNCTIONS.items():
        given = {1: "x", 2: "x, y", 3: "x > 0, x, y"}[count]
        made = parse(f"{name}({given})", NAMES)
        assert parse(written(made, NAMES), NAMES) == made
        assert np.isfinite(evaluate(made, [X + (name == "acosh"), np.abs(Y)])).all(), name


def test_text_is_kept_on_one_line() -> None:
    assert as_text(" x\n + y ", NAMES) == "x + y"
    assert as_text((operand(0) + 1) * (operand(1) - 1), NAMES) == "(x + 1.0) * (y - 1.0)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x +", "formula='x +': is no formula: invalid syntax"),
        ("", "formula='': is no formula"),
        ("z", "'z' is not known; x, y are known, and functions by name"),
        ("exp", "exp is a function; write exp(...)"),
        ("exp(x, y)", "exp() takes 1 value, not 2"),
        ("max(x)", "max() takes 2 values, not 1"),
        ("eval(x)", "eval() is not known; these are: abs, sqrt"),
        ("x.real", "'x.real' is not allowed in a formula"),
        ("x[0]", "'x[0]' is not allowed in a formula"),
        ("(lambda: 1)()", "is not allowed in a formula"),
        ("[x for x in y]", "is not allowed in a formula"),
        ("'a'", "is not allowed in a formula"),
        ("True", "'True' is not allowed in a formula"),
        ("exp(a=x)", "is not allowed in a formula"),
        ("x @ y", "is not allowed in a formula"),
        ("x > 0", "is a condition; write where(condition, 1, 0)"),
        ("1 + (x > 0)", "'x > 0' is a condition, where a number is needed"),
        ("where(x, 1, 0)", "'x' is a number, where a condition is needed, such as x > 0"),
        ("where(x in y, 1, 0)", "compares by > >= < <= == != alone"),
        ("1e999 * x", "inf is too large"),
        ("(" * 300 + "x" + ")" * 300, "is no"),
        ("-" * 1900 + "x", "nested too deeply"),
        ("x" + "+x" * 900, "is nested too deeply"),
        ("(" * 12 + "x" + "**2)" * 12, f"has more than {LARGEST} operations"),
        ("x * 1" * 500, "has 2,500 characters: must have at most 2,000"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(FaltungError) as error:
        parse(text, NAMES)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_formulas_without_a_text_are_refused() -> None:
    with pytest.raises(FaltungError, match=r"operand 2 has no meaning; there are x \(0\), y \(1\)"):
        as_text(operand(2) + 1, NAMES)
    with pytest.raises(FaltungError, match="random cannot be written as text"):
        as_text(random(operand(0)), NAMES)
    with pytest.raises(FaltungTypeError, match="formula=3: must be a text such as"):
        as_text(3, NAMES)
