"""``ConvClassifier`` and ``ConvRegressor`` among what scikit-learn does with estimators."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from faltung.sklearn import ConvClassifier, ConvRegressor


@parametrize_with_checks([ConvClassifier(), ConvRegressor()])
def test_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one of the checks is skipped
    check(estimator)


def test_strings() -> None:
    x, y = load_iris(return_X_y=True)
    words = np.array(["setosa", "versicolor", "virginica"])[y]
    model = ConvClassifier(random_state=0).fit(x, words)
    assert model.score(x, words) > 0.95
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
