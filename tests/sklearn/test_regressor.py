"""Numbers of any scale, one or several for each sample."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor

from faltung.sklearn import ConvRegressor

RNG = np.random.default_rng(0)
X = RNG.random((120, 3))


def test_scales_do_not_matter() -> None:
    """Targets are scaled, each output by itself, and scaled back."""
    y = np.stack([1e-6 * X[:, 0], 1e9 + 1e3 * X[:, 1]], 1)
    model = ConvRegressor(random_state=0).fit(X, y)
    assert model.predict(X).shape == y.shape and model.predict(X).dtype == np.float64
    assert model.score(X, y) > 0.99
    one = ConvRegressor(random_state=0).fit(X, y[:, 0])
    assert one.predict(X).shape == (120,) and one.score(X, y[:, 0]) > 0.99


def test_unscaled_targets_if_asked() -> None:
    y = 1e9 * X[:, 0]
    assert ConvRegressor(scale_targets=False, epochs=5, random_state=0).fit(X, y).score(X, y) < 0.1


def test_a_target_that_does_not_change() -> None:
    y = np.stack([np.full(120, 7.0), X[:, 0]], 1)
    made = ConvRegressor(random_state=0).fit(X, y).predict(X)
    assert np.allclose(made[:, 0], 7, atol=0.5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_better_than_a_perceptron() -> None:
    x, y = load_diabetes(return_X_y=True)
    ours = ConvRegressor(random_state=0).fit(x[:300], y[:300]).score(x[300:], y[300:])
    assert ours > 0.4
    assert ours > MLPRegressor(random_state=0, max_iter=20).fit(x[:300], y[:300]).score(
        x[300:], y[300:]
    )


def test_partial_fit() -> None:
    y = 100 + X.sum(1)
    model = ConvRegressor(random_state=0)
    for _ in range(60):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9


def test_losses() -> None:
    """Absolute errors are not drawn to outliers; the model alone predicts the same."""
    y = X.sum(1) * 1000
    wrong = y + np.where(np.arange(120) % 12 == 0, 1e5, 0)
    errors = {}
    for loss in ("mse", "mae", "huber", "log(1 + (output - target) ** 2)"):
        model = ConvRegressor(loss=loss, epochs=20, random_state=0).fit(X, wrong)
        errors[loss] = np.abs(model.predict(X) - y).mean()
        assert np.allclose(model.model_.predict(X.astype("f"))[:, 0], model.predict(X), rtol=1e-5)
    assert max(errors["mae"], errors["huber"]) < errors["mse"] / 2


def test_weights() -> None:
    """Of two answers for the same samples the heavier counts more."""
    x, y = np.concatenate([X, X]), np.concatenate([np.zeros(120), np.ones(120)])
    weights = np.where(y == 1, 2.5, 0.7)
    made = ConvRegressor(random_state=0).fit(x, y, weights).predict(X)
    assert made.mean() == pytest.approx(2.5 / 3.2, abs=0.05)
