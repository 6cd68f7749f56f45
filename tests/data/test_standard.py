"""Means and spreads against float64, and back from a file of settings."""

import json

import numpy as np
import pytest

from faltung.data.source import ArraySource
from faltung.data.standard import Standard, standardise

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(700, 3, 4, 5), (2, 1, 9), (300, 6), (5, 2, 2, 3, 4)])
def test_against_float64(shape: tuple[int, ...]) -> None:
    x = (RANDOM.standard_normal(shape) * 3 + 100).astype(np.float32)
    found = standardise(ArraySource(x))
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(found.mean, x.mean(axes, np.float64), rtol=1e-6)
    np.testing.assert_allclose(found.std, x.std(axes, np.float64), rtol=1e-6)
    done = found(x)
    assert done.dtype == np.float32
    np.testing.assert_allclose(done.std(axes), 1, rtol=1e-4)
    np.testing.assert_allclose(found.undo(done), x, rtol=1e-5)


def test_a_channel_that_never_changes_is_divided_by_one() -> None:
    x = np.concatenate([np.full((9, 1, 4), 0.1), RANDOM.random((9, 1, 4))], 1)
    assert standardise(ArraySource(x)).std[0] == 1


def test_a_sample_does_not_depend_on_its_batch() -> None:
    x = RANDOM.random((33, 3, 7)).astype(np.float32)
    standard = Standard((0.1, 0.2, 0.3), (0.7, 0.8, 0.9))
    np.testing.assert_array_equal(standard(x)[5:6], standard(x[5:6]))


def test_settings_come_back_bit_for_bit() -> None:
    found = standardise(ArraySource(RANDOM.random((50, 3, 7))))
    assert Standard.from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((), ()),
        ((0.0,), (1.0, 1.0)),
        ((0.0,), (0.0,)),
        ((float("nan"),), (1.0,)),
        ((0.0,), (-1.0,)),
    ],
)
def test_refusals(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"mean|std"):
        Standard(mean, std)


@pytest.mark.parametrize("found", [{}, {"mean": "0", "std": [1]}, {"mean": [True], "std": [1]}])
def test_settings_that_are_none(found: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="must be a list of numbers"):
        Standard.from_dict(found)


def test_channels_must_fit() -> None:
    with pytest.raises(ValueError, match=r"must be \(n, 2, ...\)"):
        Standard((0.0, 0.0), (1.0, 1.0))(np.ones((2, 3, 4), np.float32))
    with pytest.raises(ValueError, match="text has no mean"):
        standardise(ArraySource(np.array([[1, 2]]), kind="text"))
