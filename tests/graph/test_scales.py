"""Scales of weights on grids."""

import numpy as np
import pytest

from faltung.graph.scales import MOST_BIAS, followed, levels, rounded_up, weight_scales
from faltung.graph.value import Follows, Parameter, Value


def test_few_bits_are_rounded_up() -> None:
    x = np.random.default_rng(0).normal(size=500) * 2.0 ** np.arange(-250, 250)
    for bits in (1, 2, 4, 8):
        made = rounded_up(x, bits)
        mantissa = np.frexp(made)[0] * 2**bits
        assert (mantissa == np.rint(mantissa)).all()
        assert (np.abs(made) >= np.abs(x)).all() and (np.sign(made) == np.sign(x)).all()
        assert (np.abs(made) <= np.abs(x) * (1 + 2.0 ** (1 - bits))).all()
    np.testing.assert_array_equal(rounded_up([0.0, 1.0, 1.01, 2.9], 2), [0, 1, 1.5, 3])


@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("axis", [0, 1])
def test_levels_reach_the_largest_weight(bits: int, axis: int) -> None:
    w = np.random.default_rng(bits).normal(size=(6, 5, 3, 3))
    scale = weight_scales(Follows("w", axis, bits), w)
    rows = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1)
    assert scale.shape == (w.shape[axis],)

    def error(scales: np.ndarray) -> np.ndarray:
        wide = scales[:, None]
        snapped = np.clip(np.rint(rows / wide), -levels(bits), levels(bits)) * wide
        return np.square(rows - snapped).sum(1)

    widest = rounded_up(np.abs(rows).max(1) / levels(bits), 4)
    if bits >= 7:
        np.testing.assert_array_equal(scale, widest)
    else:
        assert (error(scale) <= error(widest)).all()
        assert (error(scale) <= error(rounded_up(scale * 1.1, 4))).all()


def test_a_bias_has_not_too_many_units() -> None:
    how = Follows("w", 0, 8, "b", 0.25)
    scale = weight_scales(how, [[1e-9, 0.0], [0.5, 1.0], [0.0, 0.0]], [3.0, 1.0, 0.0])
    assert scale[1] == rounded_up(1 / 127, 4) and scale[2] > 0
    assert 3.0 / (0.25 * scale[0]) <= MOST_BIAS


def test_scales_follow_by_name() -> None:
    w = Parameter(Value("w", (2, 3), False), (2, 3), (2, 3), (1, 0))
    s = Parameter(Value("s", (2,), False), (2,), (2,), (0,), follows=Follows("w", 0, 8))
    made = followed([w, s], {"w": np.array([[0, 1.27, 0], [2.54, 0, -1]])}.__getitem__)
    assert list(made) == ["s"]
    np.testing.assert_array_equal(made["s"], rounded_up([0.01, 0.02], 4))
