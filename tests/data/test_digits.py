"""The embedded digits are scikit-learn's, and they come with the package."""

from importlib.resources import files

import numpy as np
import pytest

from faltung.data.digits import INK, digits


def test_they_are_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    ours = digits()
    np.testing.assert_array_equal(ours.read(range(1797))[:, 0] * INK, theirs.images)
    np.testing.assert_array_equal(ours.targets, theirs.target)


def test_what_they_are() -> None:
    source = digits()
    assert (len(source), source.kind, source.shape) == (1797, "picture", (1, 8, 8))
    assert source.classes == tuple("0123456789") and not source.lazy
    values = source.read(range(100))
    assert values.min() == 0 and values.max() == 1


def test_they_are_small_and_say_where_they_are_from() -> None:
    folder = files("faltung.data")
    assert len(folder.joinpath("digits.npz").read_bytes()) < 65_536
    assert "CC BY 4.0" in folder.joinpath("README.md").read_text("utf-8")
