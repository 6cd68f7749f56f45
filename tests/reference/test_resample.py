"""The definition of resampling against what NumPy says in other words."""

import numpy as np
import pytest

from faltung.geometry.resample import averaged, flipped, padded, rolled
from faltung.reference.resample import resample

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5))


def test_one_axis_after_the_other() -> None:
    got = resample(X, (rolled(3, 1), flipped(4), averaged(5, 1)))
    want = np.roll(X, 1, 1)[:, :, ::-1].mean(3, keepdims=True)
    np.testing.assert_allclose(got, want)


def test_what_is_filled_is_filled_on_every_axis() -> None:
    got = resample(X, (None, padded(4, 1, 0), averaged(5, 2).after(padded(5, 0, 0))), 3.0)
    assert (got[:, :, 0] == 3).all() and not (got[:, :, 1:] == 3).any()
    ones = resample(X, (padded(3, 0, 2), padded(4, 1, 1), None), 1.0)
    np.testing.assert_array_equal(
        ones, np.pad(X, [(0, 0), (0, 2), (1, 1), (0, 0)], constant_values=1)
    )


def test_the_adjoint() -> None:
    """<A x, y> = <x, A' y>."""
    tables = (None, averaged(4, 3), padded(5, 2, 1, "reflect"))
    y = np.random.default_rng(1).normal(size=(2, 3, 3, 8))
    back = resample(y, tuple(t and t.transposed for t in tables))
    assert abs((resample(X, tables) * y).sum() - (X * back).sum()) < 1e-12


def test_refused() -> None:
    with pytest.raises(ValueError, match="tables: must be 3, one for each axis, not 1"):
        resample(X, (None,))
    with pytest.raises(ValueError, match="axis 2 must have 5 entries"):
        resample(X, (None, flipped(5), None))
