"""Scores beside scikit-learn, whose definitions they have."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optional import optional

from faltung import Model, nn
from faltung.train import defaults, scores
from faltung.train.scores import (
    SCORES,
    check_score,
    confusion_matrix,
    of_flags,
    of_labels,
    of_numbers,
)

metrics = optional("sklearn.metrics")
Array = np.ndarray


def softmax(logits: Array) -> Array:
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def one_hot(labels: Array, count: int) -> Array:
    return np.eye(count, dtype=int)[labels]


def theirs(name: str, labels: Array, logits: Array) -> float:
    said, p, count = logits.argmax(1), softmax(logits), logits.shape[1]
    macro: dict[str, Any] = {"average": "macro", "zero_division": 0}
    table: dict[str, Callable[[], float]] = {
        "balanced_accuracy": lambda: metrics.balanced_accuracy_score(labels, said),
        "f1": lambda: metrics.f1_score(labels, said, **macro),
        "precision": lambda: metrics.precision_score(labels, said, **macro),
        "recall": lambda: metrics.recall_score(labels, said, **macro),
        "jaccard": lambda: metrics.jaccard_score(labels, said, **macro),
        "kappa": lambda: metrics.cohen_kappa_score(labels, said),
        "mcc": lambda: metrics.matthews_corrcoef(labels, said),
        "auc": lambda: metrics.roc_auc_score(
            labels, p[:, 1] if count == 2 else p, multi_class="ovr"
        ),
        "average_precision": lambda: metrics.average_precision_score(
            *((labels, p[:, 1]) if count == 2 else (one_hot(labels, count), p))
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that occur on one side alone
        return float(table[name]())


OF_LABELS = [name for name, score in SCORES.items() if score.kind in ("confusion", "probabilities")]


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_of_labels_as_in_scikit_learn(name: str, classes: int) -> None:
    """Unequal classes, ties in the outputs, and a perfect prediction."""
    rng = np.random.default_rng(classes)
    for trial in range(6):
        labels = rng.choice(classes, 60, p=rng.dirichlet(np.ones(classes)))
        labels[:classes] = np.arange(classes)
        logits = rng.standard_normal((60, classes)).round(trial % 3) + np.eye(classes)[labels]
        if trial == 5:
            logits = 9 * np.eye(classes)[labels]
        matrix = confusion_matrix(labels, logits.argmax(1), classes)
        assert of_labels(name, matrix, labels, logits) == pytest.approx(
            theirs(name, labels, logits), rel=1e-12, abs=1e-12
        )


@pytest.mark.parametrize("name", [n for n, score in SCORES.items() if score.kind == "confusion"])
def test_classes_that_occur_on_one_side_alone(name: str) -> None:
    labels = np.array([0, 0, 0, 2, 2, 5])
    logits = np.eye(6)[[0, 1, 0, 2, 3, 0]]
    matrix = confusion_matrix(labels, logits.argmax(1), 6)
    assert of_labels(name, matrix, labels, None) == pytest.approx(theirs(name, labels, logits))


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "r2"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_of_numbers_as_in_scikit_learn(name: str, outputs: int) -> None:
    their_name = {
        "mse": "mean_squared_error",
        "rmse": "root_mean_squared_error",
        "mae": "mean_absolute_error",
        "r2": "r2_score",
    }[name]
    rng = np.random.default_rng(outputs)
    wanted = rng.standard_normal((40, outputs)).astype(np.float32)
    made = (wanted + rng.standard_normal((40, outputs))).astype(np.float32)
    if outputs == 3:  # constants, met and missed
        wanted[:, 0], made[:, 0], wanted[:, 1] = 2.0, 2.0, 1.0
    want = getattr(metrics, their_name)(wanted.astype(float), made.astype(float))
    assert of_numbers(name, wanted, made) == pytest.approx(want, rel=1e-12)


def test_by_hand() -> None:
    """Nine of class 0, of which eight are found; one of class 1, which is found."""
    matrix = np.array([[8, 1], [0, 1]])
    assert scores.recall(matrix) == scores.balanced_accuracy(matrix) == (8 / 9 + 1) / 2
    assert scores.precision(matrix) == (1 + 1 / 2) / 2
    assert scores.f1(matrix) == (16 / 17 + 2 / 3) / 2
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[0, 0.1], [0, 0.4], [0, 0.35], [0, 0.8]])
    assert of_labels("auc", matrix, labels, logits) == 0.75
    tied = np.zeros((4, 2))
    assert of_labels("auc", matrix, labels, tied) == 0.5


def test_labels_of_positions_and_those_that_do_not_count() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, (5, 4, 6))
    logits = rng.standard_normal((5, 3, 4, 6))
    flat, counted = np.moveaxis(logits, 1, -1).reshape(-1, 3), labels.ravel() >= 0
    matrix = confusion_matrix(labels, logits.argmax(1), 3)
    assert matrix.sum() == counted.sum()
    for name in OF_LABELS:
        want = theirs(name, labels.ravel()[counted], flat[counted])
        assert of_labels(name, matrix, labels, logits) == pytest.approx(want, rel=1e-12)


OF_FLAGS = [name for name, score in SCORES.items() if score.flags is not None]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OF_FLAGS)
def test_of_several_labels_as_in_scikit_learn(name: str, weighted: bool) -> None:
    """With ties, and where counts alone matter a label that is never said."""
    rng = np.random.default_rng(3)
    flags = rng.integers(0, 2, (50, 4))
    logits = (rng.standard_normal((50, 4)) + flags).round(1)
    counted = SCORES[name].kind == "confusion"
    logits[:, 3] -= 9 * counted
    weights = rng.uniform(0.1, 2, 50) if weighted else None
    more: dict[str, Any] = {"average": "macro", "sample_weight": weights}
    if counted:
        want = getattr(metrics, f"{name}_score")(flags, logits > 0, zero_division=0, **more)
    else:
        of = metrics.roc_auc_score if name == "auc" else metrics.average_precision_score
        want = of(flags, logits, **more)
    counts = scores.flag_counts(flags, logits > 0, weights)
    assert of_flags(name, counts, flags, logits, weights) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("name", [*OF_LABELS, "mse", "rmse", "mae", "r2"])
def test_weights_are_those_of_scikit_learn(name: str) -> None:
    rng = np.random.default_rng(4)
    labels, weights = rng.integers(0, 3, 60), rng.uniform(0.1, 2, 60)
    logits = rng.standard_normal((60, 3)).round(1) + np.eye(3)[labels]
    said, p = logits.argmax(1), softmax(logits)
    if name in OF_LABELS:
        matrix = confusion_matrix(labels, said, 3, weights)
        got = of_labels(name, matrix, labels, logits, weights)
        macro: dict[str, Any] = {"average": "macro"}
        table: dict[str, Any] = {
            "balanced_accuracy": (metrics.balanced_accuracy_score, labels, said, {}),
            "kappa": (metrics.cohen_kappa_score, labels, said, {}),
            "mcc": (metrics.matthews_corrcoef, labels, said, {}),
            "auc": (metrics.roc_auc_score, labels, p, {"multi_class": "ovr"}),
            "average_precision": (metrics.average_precision_score, one_hot(labels, 3), p, macro),
        }
        usual = (getattr(metrics, f"{name}_score", None), labels, said, macro)
        of, true, made, words = table.get(name, usual)
        if name == "auc":  # which scikit-learn's has no weights for by class
            true, words = one_hot(labels, 3), macro
    else:
        got = of_numbers(name, logits[:, :2], p[:, :2], weights)
        names = {"mse": "mean_squared_error", "rmse": "root_mean_squared_error"}
        names |= {"mae": "mean_absolute_error", "r2": "r2_score"}
        of, true, made, words = getattr(metrics, names[name]), logits[:, :2], p[:, :2], {}
    assert got == pytest.approx(of(true, made, sample_weight=weights, **words), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_among_the_five_largest_as_in_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(5)
    labels, logits = rng.integers(0, 12, 90), rng.standard_normal((90, 12)).round(1)
    labels[:12] = np.arange(12)
    weights = rng.uniform(0.1, 2, 90) if weighted else None
    want = metrics.top_k_accuracy_score(labels, logits, k=5, sample_weight=weights)
    assert of_labels("top5", None, labels, logits, weights) == pytest.approx(want)
    model = Model(nn.Linear(12), (4,))
    x = rng.standard_normal((90, 4))
    made = model.predict(x)
    want = metrics.top_k_accuracy_score(labels, made, k=5, sample_weight=weights)
    found = model.evaluate(x, labels, metric="top5", sample_weight=weights)
    assert found["top5"] == pytest.approx(want)


def test_a_label_that_no_sample_has_cannot_be_ranked() -> None:
    model = Model(nn.Linear(2), (2,), classes=["a", "b"])
    x, flags = np.ones((3, 2)), np.array([[1, 0], [1, 0], [0, 0]])
    model.fit(x, flags, loss="binary_cross_entropy", epochs=1, show=False)
    with pytest.raises(ValueError, match="needs samples with and without every label, there are"):
        model.evaluate(x, flags, metric="auc")
    with pytest.raises(ValueError, match="does not apply to several labels at once; these do"):
        model.evaluate(x, flags, metric="mcc")


def test_every_score_is_told_in_the_help() -> None:
    assert list(SCORES) == list(defaults.METRICS)


def test_names_that_are_none() -> None:
    for name, loss, message in (
        ("f2", None, "metric='f2': must be one of loss, accuracy"),
        (3, None, "metric=3: must be one of"),
        ("auc", "mse", "metric='auc': does not apply to numbers; these do: loss, mse, rmse"),
        ("mse", "cross_entropy", "metric='mse': does not apply to labels; these do: loss, acc"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            check_score(name, loss)


def test_a_model_tells_what_scikit_learn_does() -> None:
    rng = np.random.default_rng(1)
    model = Model(nn.Linear(3), (4,), classes=["a", "b", "c"])
    x, y = rng.standard_normal((50, 4)), rng.integers(0, 3, 50)
    found = model.evaluate(x, y, metric=["f1", "auc", "loss", "accuracy"])
    assert list(found) == ["loss", "accuracy", "f1", "auc"]
    assert found["f1"] == pytest.approx(theirs("f1", y, model.predict(x, softmax=False)))
    want = metrics.roc_auc_score(y, model.predict(x), multi_class="ovr")
    assert found["auc"] == pytest.approx(want)
    with pytest.raises(
        ValueError, match="metric='auc': needs samples of every class, there are no"
    ):
        model.evaluate(x, np.minimum(y, 1), metric="auc")


def test_a_table_of_confusions_that_no_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million classes are few numbers in a file, and 24 TB of pairs."""
    monkeypatch.setattr("faltung.runtime.memory.available", lambda: 10**10)
    with pytest.raises(MemoryError, match=r"confusions of 1,000,000 classes needs 24\.0 TB"):
        scores.no_confusion(10**6)
