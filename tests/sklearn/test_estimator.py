"""What scikit-learn does with estimators: its own checks, search, pipelines, other estimators."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import joblib
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from faltung import Model, nn
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.jit.compile import counts
from faltung.nets.mlp import mlp
from faltung.runtime.threads import VARIABLES, get_threads
from faltung.sklearn import ConvClassifier, ConvRegressor

RNG = np.random.default_rng(0)
IRIS, KIND = load_iris(return_X_y=True)
SMALL = {"epochs": 5, "random_state": 0}


@parametrize_with_checks([ConvClassifier(), ConvRegressor()])
def test_checks(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one of the checks is skipped
    check(estimator)


def test_pipeline_and_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two processes, which find the kernels of the first on disk and share the cores."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    each = joblib.Parallel(2)(joblib.delayed(get_threads)() for _ in range(2))
    assert each == [max(1, joblib.cpu_count() // 2)] * 2
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ConvClassifier(**SMALL)),
        {"convclassifier__lr": [1e-5, 0.04]},
        cv=2,
        n_jobs=2,
    ).fit(IRIS, KIND)
    assert search.best_params_ == {"convclassifier__lr": 0.04}
    assert search.score(IRIS, KIND) > 0.8


def test_among_other_estimators() -> None:
    ours = ConvClassifier(**SMALL)
    other = [("ours", ours), ("bayes", GaussianNB())]
    for whole in (
        StackingClassifier(other, LogisticRegression(), cv=2),
        VotingClassifier(other, voting="soft"),
        CalibratedClassifierCV(ours, cv=2),
    ):
        assert whole.fit(IRIS, KIND).score(IRIS, KIND) > 0.8
    assert cross_val_score(ours, IRIS, KIND, cv=3).mean() > 0.8


def test_pickle_and_joblib(tmp_path: Path) -> None:
    model = ConvClassifier(nn.Sequential(nn.Linear(8), nn.Tanh(), nn.Linear(3)), **SMALL)
    assert repr(clone(model)) == repr(model)
    model.fit(IRIS, KIND)
    joblib.dump(model, tmp_path / "model.joblib")
    for again in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        clone(model).fit(IRIS, KIND),
    ):
        assert np.array_equal(again.predict_proba(IRIS), model.predict_proba(IRIS))


def test_the_second_fit_compiles_nothing() -> None:
    x, y = RNG.random((41, 1, 6, 6)), np.arange(41) % 3
    ConvClassifier(epochs=1, random_state=0).fit(x, y).predict(x)

    before = counts()
    ConvClassifier(epochs=2, lr=0.01, decay=0.0, random_state=1).fit(x, y).predict(x)
    assert counts() == before


def test_order_and_threads_do_not_matter() -> None:
    order = RNG.permutation(len(KIND))
    found = ConvClassifier(n_jobs=1, **SMALL).fit(IRIS, KIND).predict_proba(IRIS)
    other = ConvClassifier(n_jobs=-1, **SMALL).fit(IRIS[order], KIND[order]).predict_proba(IRIS)
    assert np.array_equal(found, other)


def test_random_state() -> None:
    def outputs(state: Any) -> Any:
        return ConvClassifier(epochs=1, random_state=state).fit(IRIS, KIND).predict_proba(IRIS)

    first = outputs(7)
    assert np.array_equal(first, outputs(np.int64(7)))
    assert not np.array_equal(first, outputs(8))
    assert np.array_equal(outputs(np.random.RandomState(7)), outputs(np.random.RandomState(7)))
    assert not np.array_equal(outputs(None), outputs(None))


def test_warm_start_goes_on() -> None:
    model = ConvClassifier(warm_start=True, **SMALL).fit(IRIS, KIND)
    first = model.model_
    before = model.loss_
    model.fit(IRIS, KIND)
    assert model.model_ is first and model.n_iter_ == 10 and model.loss_ < before
    with pytest.raises(FaltungError, match=r"warm_start=True: y has the classes \[0, 1\]: must"):
        model.fit(IRIS[:100], KIND[:100])
    with pytest.raises(FaltungError, match="X: has samples of shape"):
        model.set_params(input_shape=(1, 2, 2)).fit(IRIS, KIND)


def test_early_stopping() -> None:
    noise = RNG.random((60, 4)), np.arange(60) % 2
    model = ConvClassifier(
        epochs=50, early_stopping=True, n_iter_no_change=2, validation_fraction=0.25, random_state=0
    ).fit(*noise)
    assert model.n_iter_ < 50
    assert all(row.val_accuracy is not None for row in model.history_)


def test_partial_fit_goes_on_as_one_run() -> None:
    """The state of the optimizer is kept, in a pickle too: two passes of the same sizes are those
    of a run with the same constant rate, but for the order.
    """
    x, y = IRIS[::2], KIND[::2]
    model = ConvClassifier(lr=0.01, random_state=0)
    model.partial_fit(x, y, classes=[0, 1, 2])
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        each.partial_fit(x, y)
    whole = ConvClassifier(lr=0.01, schedule="constant", epochs=2, random_state=0).fit(x, y)
    assert model.n_iter_ == 2
    for each in (again, whole):
        assert np.array_equal(each.predict_proba(x), model.predict_proba(x))


def test_parts_of_one_class() -> None:
    model = ConvClassifier(random_state=0)
    for _ in range(10):
        for kind in range(3):
            model.partial_fit(IRIS[kind == KIND], KIND[kind == KIND], classes=[0, 1, 2])
    assert model.score(IRIS, KIND) > 0.6


def test_samples_with_space() -> None:
    """Of one, two and three axes, and tables that are told their shape."""
    for shape in ((2, 12), (1, 5, 6), (1, 4, 5, 6)):
        x = RNG.random((40, *shape)).astype("f")
        y = np.arange(40) % 2
        x[y == 1] += 0.3
        first = ConvClassifier(epochs=3, random_state=0).fit(x, y)
        assert first.input_shape_ == shape and first.predict(x).shape == (40,)
        flat = ConvClassifier(epochs=3, random_state=0, input_shape=shape)
        flat.fit(x.reshape(40, -1), y)
        assert np.array_equal(first.predict_proba(x), flat.predict_proba(x.reshape(40, -1)))
        with pytest.raises(FaltungError, match="X: has samples of shape"):
            first.predict(np.concatenate([x, x], -1))


def test_networks() -> None:
    for net in ("mlp", mlp, nn.Sequential(nn.Linear(4), nn.ReLU(), nn.Linear(3))):
        model = ConvClassifier(net, epochs=1, random_state=0).fit(IRIS, KIND)
        assert isinstance(model.model_, Model)
    for net, said in (
        (nn.Linear(5), "has 5 outputs, y needs 3; end with Linear"),
        (lambda outputs, shape: outputs, "must give a Layer"),
        ("mpl", "net='mpl': must be one of"),
        ("lenet5", "input_shape"),
        (3, "must be 'auto', the name"),
    ):
        with pytest.raises(FaltungError, match=said):
            ConvClassifier(net).fit(IRIS, KIND)


def test_what_is_wrong() -> None:
    for given, said in (
        ({"input_shape": (1, 2, 3)}, "is 6 numbers, a sample of X has 4"),
        ({"input_shape": "4"}, "must be a sequence of ints"),
        ({"epochs": 0}, "epochs=0: must be at least 1"),
        ({"n_jobs": 0}, "n_jobs=0: must be"),
        ({"n_jobs": 1.5}, "must be an int or None"),
        ({"early_stopping": True, "validation_fraction": 2}, "must lie between 0 and 1"),
        ({"warm_start": 1}, "must be True or False"),
    ):
        with pytest.raises(FaltungError, match=said):
            ConvClassifier(**given).fit(IRIS, KIND)
    with pytest.raises(FaltungTypeError, match=r"batch_size=3.*did you mean batch"):
        ConvClassifier(batch_size=3)  # type: ignore[call-arg]
    with pytest.raises(FaltungError, match="too large for float32"):
        ConvRegressor().fit(IRIS * 1e200, KIND)
    with pytest.raises(FaltungError, match="must be at least 0"):
        ConvRegressor().fit(IRIS, KIND, sample_weight=-np.ones(150))


def test_digits() -> None:
    x, y = load_digits(return_X_y=True)
    model = ConvClassifier(input_shape=(1, 8, 8), random_state=0).fit(x[:1437], y[:1437])
    assert model.score(x[1437:], y[1437:]) > 0.96  # by other writers
