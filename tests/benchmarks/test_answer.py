"""The benchmark's own float64 answer is the reference's, in every direction."""

import numpy as np
import pytest
from grid import grid
from numpy.typing import NDArray

from benchmarks.answer import answer
from benchmarks.problem import LIMITS, Problem, relative_error
from benchmarks.protocol import DIRECTIONS, FORWARD, INPUT_GRAD
from faltung.reference import conv, conv_input_grad, conv_weight_grad

TEXTS = [
    "n2 c3>4 9x8 k3x2 s2x1 p1 d1x2",
    "n1 c4>6 7x7 k3 p2 g2",
    "n1 c4>4 11 k4 psame g4",
    "n2 c2>3 12 k2 pcausal d5",
    "n1 c1>1 30 k5 p2",
    "n1 c2>3 5x6x4 k2x3x1 p1 s1x2x3 flip",
    "n1 c2>2 6x6 k3 p1 f64",
]


def reference(problem: Problem) -> NDArray[np.float64]:
    if problem.direction == FORWARD:
        return conv(problem.x, problem.weight, problem.bias, problem.spec)
    if problem.direction == INPUT_GRAD:
        return conv_input_grad(problem.grad, problem.weight, problem.spec)
    return conv_weight_grad(problem.x, problem.grad, problem.spec)


@grid(text=TEXTS, direction=DIRECTIONS, every=1)
def test_agrees_with_the_reference(text: str, direction: str) -> None:
    problem = Problem(text, direction)
    np.testing.assert_allclose(answer(problem), reference(problem), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("text", ["n2 c1>1 30 k5 p2", "n1 c1>1 41 k4 p(3,1) s3 d2 flip f64"])
def test_long_signals_agree_with_it(
    text: str, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.answer.MAX_SUM_MACS", 0)
    problem = Problem(text, direction)
    np.testing.assert_allclose(answer(problem), reference(problem), rtol=1e-12, atol=1e-12)


def test_other_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="zeros"):
        answer(Problem("n1 c1>1 8 k3 p1 m:circular"))


def test_arrays_are_the_same_in_every_process() -> None:
    first, second = Problem(TEXTS[0]), Problem(TEXTS[0])
    assert first.x.dtype == first.weight.dtype == np.float32
    for name in ("x", "weight", "bias", "grad"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_signal_has_no_bias() -> None:
    assert Problem("n1 c1>1 30 k5").bias is None
    assert Problem("n1 c1>2 30 k5").bias is not None


def test_relative_error_tells_float32_from_bfloat16() -> None:
    want = np.random.default_rng(0).standard_normal(1000)
    assert relative_error(want.astype(np.float32), want) < LIMITS["float32"]
    bits = want.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    assert relative_error(bits.view(np.float32), want) > LIMITS["float32"]


def test_relative_error_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"shape=\(2,\)"):
        relative_error(np.zeros(2), np.zeros(3))
