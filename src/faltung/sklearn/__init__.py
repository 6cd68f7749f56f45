"""Networks as estimators of scikit-learn: ``ConvClassifier`` and ``ConvRegressor``.

>>> from sklearn.datasets import load_digits
>>> from faltung.sklearn import ConvClassifier
>>> X, y = load_digits(return_X_y=True)
>>> model = ConvClassifier(input_shape=(1, 8, 8), epochs=5, random_state=0).fit(X[:900], y[:900])
>>> bool(model.score(X[900:], y[900:]) > 0.9)
True
"""

from faltung.sklearn.classifier import ConvClassifier
from faltung.sklearn.regressor import ConvRegressor

__all__ = ["ConvClassifier", "ConvRegressor"]


def __dir__() -> list[str]:
    return __all__
