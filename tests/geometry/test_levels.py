"""Formulas of numbers on a grid: what they give, and that they are found again."""

import numpy as np
import pytest
from optional import optional

from faltung.geometry.expr import derivative, operand
from faltung.geometry.levels import grid_of, level, level_of, number, number_of, on_grid, stored_as
from faltung.reference.expr import evaluate

torch = optional("torch")
X, S = operand(0), operand(1)


def test_levels_are_rounded_to_even_and_clipped() -> None:
    x = np.array([-9.0, -0.375, -0.125, 0.125, 0.375, 0.625, 63.0, 900.0])
    q = evaluate(level(X, 0.25, 3, 0, 255), [x])
    np.testing.assert_array_equal(q, [0, 1, 3, 3, 5, 5, 255, 255])
    np.testing.assert_array_equal(evaluate(number(X, 0.25, 3), [q]), (q - 3) * 0.25)


def test_what_is_on_a_grid_stays_there() -> None:
    x = np.random.default_rng(0).normal(0, 20, 1000)
    once = evaluate(on_grid(X, 0.75, 2, -128, 127), [x])
    np.testing.assert_array_equal(evaluate(on_grid(X, 0.75, 2, -128, 127), [once]), once)
    assert len(np.unique(once)) > 100


@pytest.mark.parametrize("scale", [0.25, 1.0, S])
@pytest.mark.parametrize("zero", [0, 7, -3])
def test_parts_are_found(scale: object, zero: int) -> None:
    found = grid_of(on_grid(X, scale, zero, -128, 127))  # type: ignore[arg-type]
    assert found is not None
    assert (found.x, found.zero.value, found.low, found.high) == (X, zero, -128, 127)
    assert found.scale.value == scale or found.scale == scale


def test_other_formulas_are_no_grids() -> None:
    for expr in (X, X * 2.0 + 1, level(X, 2.0, 0.5), (X + 1) * S, number(X, S)):
        assert grid_of(expr) is None
    assert number_of(X + 1) is None and level_of(number(X, S)) is None


def test_types_of_8_bits() -> None:
    given = [(0, 255), (0, 15), (-128, 127), (-127, 127), (-1, 255), (0, 256), (-129, 0)]
    expected = ["uint8", "uint8", "int8", "int8", "", "", ""]
    assert [stored_as(*each) for each in given] == expected


@pytest.mark.parametrize("zero", [0, 3])
def test_gradients_pass_straight_through_within_the_range(zero: int) -> None:
    """As if nothing were rounded, from half a step below the lowest level to half a step above."""
    slope = derivative(on_grid(X, 0.25, zero, 0, 7), 0)
    x = np.array([-9, -0.126, -0.124, 0.0, 0.3, 1.0, 1.624, 1.874, 1.876, 30]) - zero * 0.25
    np.testing.assert_array_equal(evaluate(slope, [x]), [0, 0, 1, 1, 1, 1, 1, 1, 0, 0])
    assert str(evaluate(on_grid(X, 0.25), [-0.1])) == "0.0"  # a level has no negative zero


def test_gradients_are_those_of_pytorch() -> None:

    x = np.random.default_rng(1).normal(0, 3, 4000).astype(np.float32)
    for scale, zero, low, high in [(0.03, 0, 0, 255), (0.02, 100, 0, 255), (0.05, 0, -127, 127)]:
        leaf = torch.from_numpy(x).requires_grad_()
        made = torch.fake_quantize_per_tensor_affine(leaf, scale, zero, low, high)
        made.sum().backward()
        expr = on_grid(X, scale, zero, low, high)
        # PyTorch multiplies with 1 / scale: the levels of a few numbers differ by one.
        far = np.abs(evaluate(expr, [x]) - made.detach().numpy())
        assert far.max() < 1.01 * scale and (far > 1e-6).mean() < 1e-3
        slope = evaluate(derivative(expr, 0), [x])
        np.testing.assert_allclose(slope, leaf.grad.numpy(), rtol=1e-12)


def test_the_slope_of_a_scale() -> None:
    """What is learned where scales are trained (Esser et al., 2020): q - x / s, or the bound."""
    x = np.array([-3.0, 0.3, 0.55, 9.0])
    slope = evaluate(derivative(on_grid(X, S, 0, -4, 4), 1), [x, np.full(4, 0.25)])
    np.testing.assert_allclose(slope, [-4, 1 - 0.3 / 0.25, 2 - 0.55 / 0.25, 4])
