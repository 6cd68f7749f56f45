"""How sure and how right, against a count by hand and scikit-learn's curve."""

import numpy as np
import pytest

from faltung.train.calibration import BINS, calibration


def test_by_hand() -> None:
    # 0.8 sure four times, three of them right; 0.6 sure once, and wrong.
    logits = np.log(np.array([[0.8, 0.2]] * 4 + [[0.4, 0.6]]))
    found = calibration(logits, np.array([0, 0, 0, 1, 0]))
    assert found is not None
    np.testing.assert_allclose(found.sure, [0.6, 0.8])
    np.testing.assert_allclose(found.right, [0, 0.75])
    np.testing.assert_allclose(found.share, [0.2, 0.8])
    assert found.error == pytest.approx(0.2 * 0.6 + 0.8 * 0.05)


def test_as_scikit_learn_draws_it() -> None:
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.standard_normal((500, 4)), rng.integers(0, 4, 500)
    found = calibration(logits, labels)
    assert found is not None
    sure = np.exp(logits).max(1) / np.exp(logits).sum(1)
    right, mean = curve(logits.argmax(1) == labels, sure, n_bins=BINS)
    np.testing.assert_allclose(found.right, right)
    np.testing.assert_allclose(found.sure, mean)
    assert sum(found.share) == pytest.approx(1)


def test_unknown_labels_and_large_logits() -> None:
    assert calibration(np.zeros((3, 2)), np.full(3, -1)) is None
    found = calibration(np.array([[1e4, 0], [5, 5]]), np.array([0, -1]))
    assert found is not None and found.error == 0 and found.sure == (1.0,)
