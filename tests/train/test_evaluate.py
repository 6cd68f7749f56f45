"""Evaluation: losses and accuracies against their definitions, and what cannot be evaluated."""

import re
from typing import Any

import numpy as np
import pytest
from runs import Array, maps, net, source

from faltung import Model, nn
from faltung.data.augment import Augment
from faltung.data.source import ArraySource
from faltung.reference.softmax import softmax
from faltung.train.checks import check_run
from faltung.train.evaluate import cross_entropy, evaluate
from faltung.train.settings import Settings

DENSE = nn.Conv(3, 3, padding="same")


def test_cross_entropy_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((5, 4, 2, 3)).astype(np.float32) * 30
    labels = rng.integers(-1, 4, (5, 2, 3))
    p = softmax(logits.astype(np.float64))
    for at in np.ndindex(labels.shape):
        n, *place = at
        label = labels[at]
        want = -np.log(p[(n, label, *place)]) if label >= 0 else 0.0
        assert cross_entropy(logits, labels)[at] == pytest.approx(want, rel=1e-12, abs=1e-12)
    huge = np.array([[1e30, -1e30]], np.float32)
    assert cross_entropy(huge, np.array([0])).tolist() == [0.0]


def test_labels() -> None:
    model, held = Model(net(), (1, 8, 8)), source(300)  # more than is read at once
    found = evaluate(model, held, keep=True)
    logits = model.predict(held.read(range(300)), softmax=False)
    np.testing.assert_array_equal(found.outputs, logits)
    np.testing.assert_array_equal(found.right, logits.argmax(1) == held.targets)
    assert found.metrics()["accuracy"] == float(np.mean(logits.argmax(1) == held.targets))
    assert found.metrics()["loss"] == float(cross_entropy(logits, held.targets).mean())
    assert evaluate(model, held).outputs is None


def test_a_label_for_each_position() -> None:
    x, y = maps(20)
    y[0] = -1
    y[1, :4] = -1
    model = Model(DENSE, (1, 8, 8))
    found = evaluate(model, ArraySource(x, y, classes=["a", "b", "c"], partial=True))
    logits = model.predict(x, softmax=False)
    counted = y >= 0
    assert found.metrics()["accuracy"] == (logits.argmax(1) == y)[counted].mean()
    each = cross_entropy(logits, y)
    assert found.metrics()["loss"] == pytest.approx(each[counted].mean(), rel=1e-12)
    assert found.losses[0] == 0 and found.losses.shape == (20,)
    np.testing.assert_allclose(found.losses[1:], each[1:].mean((1, 2)))
    nothing = ArraySource(x[:1], np.zeros((1, 8, 8), int), classes=["a", "b", "c"], partial=True)
    nothing.targets[:] = -1
    assert evaluate(model, nothing).metrics()["accuracy"] == 0


def test_numbers() -> None:
    x, _ = maps(7)
    y = np.random.default_rng(0).standard_normal((7, 3))
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(3)), (1, 8, 8))
    found = evaluate(model, ArraySource(x, y), "mse")
    want = (model.predict(x).astype(np.float64) - y.astype(np.float32)) ** 2
    np.testing.assert_allclose(found.losses, want.mean(1))
    assert found.right is None and list(found.metrics()) == ["loss"]


X, Y = maps(6)


@pytest.mark.parametrize(
    ("layer", "y", "loss", "message"),
    [
        (net(), Y, "cross_entropy", "y.shape=(6, 8, 8): must be (n,)"),
        (DENSE, Y[:, 0, 0], "cross_entropy", "y.shape=(6,): must be (n, 8, 8)"),
        (DENSE, Y[:, :4], "cross_entropy", "y.shape=(6, 4, 8): must be (n, 8, 8)"),
        (net(), Y[:, 0, 0] * 2.0, "cross_entropy", "y.dtype=float32: labels must be whole"),
        (net(), Y[:, 0, 0], "mse", "y.dtype=int64: must be floats for loss='mse'"),
        (net(), np.ones((6, 3)), "mse", "y.shape=(6, 3): must be (n, 2)"),
        (net(), [0, 1, 2, 0, 1, 2], "cross_entropy", "y: label 2: must be from 0 to 1"),
    ],
)
def test_targets_of_another_network(layer: nn.Layer, y: Any, loss: str, message: str) -> None:
    model = Model(layer, (1, 8, 8))
    partial = np.asarray(y).dtype.kind in "iu"
    classes = "abc" if partial else None
    held = ArraySource(X, y, classes=classes and tuple(classes), partial=partial)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        evaluate(model, held, loss)


def test_samples_of_another_shape() -> None:
    with pytest.raises(ValueError, match=re.escape("x: samples of shape (1, 8, 8): must be (1, 9")):
        evaluate(Model(nn.Conv(2, 9), (1, 9, 9)), source())


def run(**settings: Any) -> tuple[Model, Settings, ArraySource, None]:
    x, y = maps(6)
    dense = Model(nn.Conv(2, 3, padding="same"), (1, 8, 8))
    return dense, Settings(**settings), ArraySource(x, y), None


@pytest.mark.parametrize("how", [{"shift": 1}, {"flip": True}, {"crop": 2}])
def test_samples_are_not_moved_away_from_their_labels(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="moves samples away from their labels"):
        check_run(*run(augment=Augment(**how)))
    check_run(*run(augment=Augment(jitter=1, cutout=2)))


def test_patience_needs_a_validation() -> None:
    with pytest.raises(ValueError, match="patience=2: needs a validation"):
        check_run(*run(patience=2))


def test_the_validation_is_checked_too() -> None:
    other: Array = np.ones((4, 1, 9, 9))
    with pytest.raises(ValueError, match="samples of shape"):
        check_run(Model(net(), (1, 8, 8)), Settings(), source(), ArraySource(other, [0, 1, 0, 1]))
