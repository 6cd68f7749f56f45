"""Losses, targets and weights in ``fit``, ``evaluate`` and ``predict``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung import Model, nn
from faltung.data import Augment, Standard
from faltung.geometry.expr import operand, unary
from faltung.train.evaluate import cross_entropy, dice, losses_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 3)).astype(np.float32)
Y = 1000 + 50 * X @ np.array([1.0, 2.0, 3.0])  # far from 0
FLAGS = np.stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0], 1).astype(int)
MAPS = RNG.standard_normal((12, 1, 6, 6)).astype(np.float32)
USUAL: dict[str, Any] = {"epochs": 30, "lr": 0.05, "show": False}
AWAY = operand(0) - operand(1)


def numbers(**more: Any) -> Model:
    model = Model(nn.Linear(1), (3,))
    model.fit(X, Y, **{**USUAL, "loss": "mse", **more})
    return model


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "huber", "log(cosh(output - target))", unary("abs", AWAY) * 2]
)
def test_numbers_are_learned_in_any_unit(loss: Any, tmp_path: Path) -> None:
    """The answers, the metrics and what is saved are in the units of the targets."""
    model = numbers(loss=loss)
    made = model.predict(X)[:, 0]
    assert np.abs(made - Y).mean() < 10
    found = model.evaluate(X, Y, metric=["mae", "r2"])
    assert found["mae"] == pytest.approx(np.abs(made - Y).mean(), rel=1e-3)
    assert found["r2"] > 0.98 and found["loss"] < 0.1
    assert model.predict(X[0])[0] == made[0]
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert again.loss == model.loss and again.target_scale == model.target_scale
    assert again.predict(X).tobytes() == model.predict(X).tobytes()


def test_numbers_are_learned_as_they_are_where_that_is_wanted() -> None:
    assert numbers(scale_targets=False, epochs=1).target_scale is None
    uneven = "where(output > target, 2, 1) * abs(target - output)"
    assert numbers(loss=uneven, epochs=1).target_scale
    # A formula that is not of the difference alone has a meaning in one unit.
    assert numbers(loss="abs(output - target) / target", epochs=1).target_scale is None
    model = numbers(scale_targets=False, epochs=1)
    model.fit(X, Y, **{**USUAL, "epochs": 1, "loss": "mse"})  # its parameters have that unit
    assert model.target_scale is None
    model = numbers(epochs=1)
    scale = model.target_scale
    model.fit(X, 2 * Y, **{**USUAL, "epochs": 1, "loss": "mse"})
    assert scale is not None and model.target_scale == scale


def test_a_teacher_of_numbers_may_have_learned_them_in_another_unit() -> None:
    teacher = numbers()
    student = Model(nn.Linear(1), (3,))
    student.fit(X, Y + 200, loss="mse", teacher=teacher, distil=1, **USUAL)
    assert np.abs(student.predict(X) - teacher.predict(X)).mean() < 40  # not the 200


def test_other_programs_answer_in_the_same_unit(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    model = numbers()
    model.export(tmp_path / "m.onnx")
    session = ort.InferenceSession(tmp_path / "m.onnx")
    want = model.predict(X)
    np.testing.assert_allclose(session.run(None, {"input": X})[0], want, rtol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(model.to_torch()(torch.tensor(X)).numpy(), want, rtol=1e-6)


def test_several_labels_at_once(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(8), nn.ReLU(), nn.Linear(2))
    model = Model(net, (3,), classes=["right", "up"])
    loss = "binary_cross_entropy"
    history = model.fit(
        *(X, FLAGS), loss=loss, validation=0.25, metric="f1", metrics=["auc"], **USUAL
    )
    assert history[-1].val_accuracy is not None and history[-1].scores["auc"] > 0.9
    made = model.predict(X)
    logits = model.predict(X, softmax=False)
    np.testing.assert_allclose(made, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    found = model.evaluate(X, FLAGS.astype(bool), metric="jaccard")
    assert found["accuracy"] == ((made > 0.5) == FLAGS).all(1).mean() > 0.8
    two = np.stack([np.zeros_like(logits), logits], 2).reshape(-1, 2)
    assert found["loss"] == pytest.approx(cross_entropy(two, FLAGS.reshape(-1)).mean(), rel=1e-6)
    model.save(tmp_path / "m.safetensors")
    assert Model.load(tmp_path / "m.safetensors").predict(X).tobytes() == made.tobytes()


def test_dice_of_maps() -> None:
    labels = (MAPS[:, 0] > 0).astype(int)
    labels[:, 0] = -1
    model = Model(nn.Sequential(nn.Conv(2, 1)), (1, 6, 6))
    model.fit(MAPS, labels, loss="dice", batch=4, class_weight={"1": 2, "0": 1}, **USUAL)
    found = model.evaluate(MAPS, labels)
    assert found["accuracy"] > 0.95 and found["loss"] < 0.2
    logits = model.predict(MAPS, softmax=False)
    assert found["loss"] == pytest.approx(dice(logits, labels).mean())
    p, t = model.predict(MAPS)[0, 1, 1:], labels[0, 1:]
    want = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert dice(logits, labels)[0, 1] == pytest.approx(want, rel=1e-5)


def test_losses_of_formulas_are_means_over_outputs() -> None:
    made, wanted = RNG.normal(size=(2, 5, 3))
    want = np.abs(made - wanted).mean(1)
    for loss in ("mae", "abs(output - target)"):
        np.testing.assert_allclose(losses_of(loss, made, wanted), want)


# Weights ------------------------------------------------------------------------------------------

W = RNG.uniform(0, 2, 80)


def test_a_weight_is_how_often_a_sample_counts() -> None:
    """With all samples in a step: as if some were there twice, and some not at all."""
    times = RNG.integers(0, 3, 80)
    repeated = np.repeat(np.arange(80), times)
    labels = np.where(X[:, 0] > 0, "cat", "dog")
    made = []
    for which, weight in ((np.arange(80), times), (repeated, None)):
        model = Model(nn.Linear(2), (3,), classes=["cat", "dog"])
        model.standard = Standard((0.0,) * 3, (1.0,) * 3)
        given: dict[str, Any] = {"batch": 500, "optimizer": "sgd"}
        model.fit(X[which], labels[which], sample_weight=weight, **USUAL, **given)
        made.append(model.predict(X))
        found = model.evaluate(X, labels, metric="f1", sample_weight=times)
        want = model.evaluate(X[repeated], labels[repeated], metric="f1")
        assert found == pytest.approx(want)
    np.testing.assert_allclose(made[0], made[1], rtol=1e-4)


def test_a_validation_has_weights() -> None:
    model = Model(nn.Linear(2), (3,))
    labels = FLAGS[:, 0]
    history = model.fit(X, labels, validation=(X, labels, W), sample_weight=W, **USUAL)
    found = model.evaluate(X, labels, sample_weight=W)
    assert max(row.val_accuracy or 0 for row in history) == found["accuracy"]
    assert found["loss"] != model.evaluate(X, labels)["loss"]
    # A part that is held out keeps its own.
    history = model.fit(X, labels, validation=0.5, sample_weight=W * (W > 1), **USUAL)
    assert history[-1].val_loss is not None


def test_mixed_samples_have_probabilities_as_targets() -> None:
    model = Model(nn.Linear(2), (3,), classes=["no", "yes"])
    history = model.fit(X, FLAGS[:, 0], augment=Augment(mixup=0.3), sample_weight=W, **USUAL)
    assert history[-1].loss < history[0].loss and model.evaluate(X, FLAGS[:, 0])["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sample_weight": W[:3]}, "sample_weight.shape=(3,): must be (80,), a number for each"),
        ({"sample_weight": -W}, "sample_weight: must be at least 0 and finite"),
        ({"sample_weight": 0 * W}, "sample_weight: must not all be 0"),
        ({"sample_weight": ["a"] * 80}, "sample_weight.dtype=<U1: must be numbers"),
        ({"class_weight": {"cow": 2}}, "class_weight: 'cow' is no class; there are no, yes"),
        ({"class_weight": {"no": 0, "yes": 0}}, "must not all be 0"),
        ({"loss": "binary_cross_entropy"}, "y.shape=(80,): must be (80, 2)"),
        ({"loss": "dice"}, "loss='dice': needs an output for every position"),
        ({"loss": "floor(output - target)"}, "is flat in output, so there is nothing to learn"),
        ({"loss": "target ** 2"}, "loss='target ** 2': must depend on output"),
        ({"loss": 3}, "loss=3: must be one of cross_entropy, binary_cross_entropy, mse, mae"),
        ({"scale_targets": 1}, "scale_targets=1: must be True or False"),
        ({"sample_weight": W, "teacher": Model(nn.Linear(2), (3,))}, "does not go with a teacher"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], words: str) -> None:
    model = Model(nn.Linear(2), (3,), classes=["no", "yes"])
    with pytest.raises((TypeError, ValueError)) as error:
        model.fit(X, FLAGS[:, 0], epochs=1, show=False, **given)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert model.loss == "cross_entropy" and model.target_scale is None


def test_several_labels_say_which_loss_they_need() -> None:
    with pytest.raises(ValueError, match="several labels at once, each 0 or 1, need loss binary"):
        Model(nn.Linear(2), (3,)).fit(X, FLAGS, epochs=1, show=False)
    with pytest.raises(ValueError, match="y: 2: must be 0 or 1 for each label"):
        Model(nn.Linear(2), (3,)).fit(
            *(X, 2 * FLAGS), loss="binary_cross_entropy", epochs=1, show=False
        )
