"""What is refused before the first step, though each part alone is right."""

import re
from typing import Any

import numpy as np
import pytest
from optional import optional
from runs import maps, net, shapes

from faltung import Model, nn
from faltung.data.source import ArraySource
from faltung.train.checks import weights_of
from faltung.train.settings import Settings

utils = optional("sklearn.utils.class_weight")
X, Y = shapes(33)
VECTORS = nn.Sequential(nn.Flatten(), nn.Linear(8), nn.BatchNorm(name="norm"), nn.Linear(2))


def refused(message: str, layer: nn.Layer, x: Any, y: Any, **how: Any) -> None:
    model = Model(layer, x.shape[1:], classes=how.pop("classes", None))
    before = {name: value.tobytes() for name, value in model.parameters.items()}
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        model.fit(x, y, epochs=1, show=False, **how)
    assert "\n" not in str(error.value)
    assert {name: value.tobytes() for name, value in model.parameters.items()} == before
    assert model.standard is None


# One class ----------------------------------------------------------------------------------------


def test_one_class_is_nothing_to_learn() -> None:
    two = "training needs samples of at least two classes"
    refused(f"y: all 33 labels are of class '1': {two}", net(), X, Y * 0 + 1)
    names = {"classes": ["cat", "dog"]}
    refused(f"y: all 33 labels are of class 'cat': {two}", net(), X, Y * 0, **names)
    refused(f"y: all 33 labels are of class '0': {two}", net(1), X, Y * 0)
    pictures, labels = maps(6)
    dense = nn.Conv(2, 3, padding="same")
    refused(f"y: all 384 labels are of class '0': {two}", dense, pictures, labels * 0)
    refused(f"y: all labels but -1 are of class '1': {two}", dense, pictures, 2 * labels - 1)


def test_one_class_after_splitting() -> None:
    """The held-out part has the other one."""
    train, held = ArraySource(X[Y == 0], Y[Y == 0] * 0, partial=True, classes=("a", "b")), (X, Y)
    model = Model(net(), (1, 8, 8), classes=["a", "b"])
    with pytest.raises(ValueError, match="y: all 17 labels are of class 'a'"):
        model.fit(train, validation=held, show=False)


def test_one_class_can_be_evaluated() -> None:
    model = Model(net(), (1, 8, 8))
    assert set(model.evaluate(X, Y * 0)) == {"loss", "accuracy"}


# A single value -----------------------------------------------------------------------------------


def test_batch_normalisation_of_a_single_value() -> None:
    """As in PyTorch, which refuses the step; here the run is refused before it."""
    needs = "BatchNorm 'norm' needs more than one value per channel"
    refused(f"batch=1: {needs}; take batch=2 or more", VECTORS, X, Y, batch=1)
    refused(
        f"batch=32: leaves one of 33 samples for the last batch, and {needs}; take batch=33",
        VECTORS,
        X,
        Y,
    )
    refused(f"leaves one of 33 samples for the last batch, and {needs}", VECTORS, X, Y, batch=8)
    once = nn.Sequential(nn.Conv(4, 8), nn.BatchNorm(), nn.Flatten(), nn.Linear(2))
    refused("batch=32: leaves one of 33 samples", once, X, Y)
    numbers = {"loss": "mse"}
    refused(
        f"there is one sample to train on, and {needs}", VECTORS, X[:1], X[:1, 0, :2, 0], **numbers
    )


@pytest.mark.parametrize("batch", [2, 3, 5, 31, 33, 40])
def test_batches_of_more_than_one_are_none_of_it(batch: int) -> None:
    model = Model(VECTORS, (1, 8, 8))
    if 33 % min(batch, 33) != 1:
        model.fit(X, Y, epochs=1, batch=batch, show=False)


def test_where_a_single_sample_has_many_values_it_is_enough() -> None:
    Model(net(), (1, 8, 8)).fit(X, Y, epochs=1, batch=1, show=False)
    frozen = Model(VECTORS, (1, 8, 8))
    frozen.fit(X, Y, epochs=1, batch=1, freeze="norm", show=False)  # by its running statistics


# Weights ------------------------------------------------------------------------------------------


def weights(labels: Any, count: int, given: Any) -> Any:
    model = Model(nn.Linear(count), (4,))
    return weights_of(Settings(class_weight=given), np.asarray(labels), model)


def test_balanced_weights_as_in_scikit_learn() -> None:
    labels = np.array([0] * 7 + [1] * 2 + [2] * 4)
    want = utils.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weights(labels, 3, "balanced") == pytest.approx(tuple(want), rel=1e-15)
    assert weights([0, 0, 0, 2], 3, "balanced") == (4 / 6, 0.0, 4 / 2)
    assert weights([-1, 0, 1, 1], 2, "balanced") == (3 / 2, 3 / 4)
    dense = np.array([[0, 0], [0, 1]])
    assert weights(dense, 2, "balanced") == (4 / 6, 4 / 2)


def test_weights_that_do_not_fit() -> None:
    refused(
        "class_weight=(1.0, 2.0, 3.0): must be 2 numbers, one for each class: 0, 1",
        net(),
        X,
        Y,
        class_weight=[1, 2, 3],
    )
    half = np.where(np.arange(33) % 3 == 0, 2, Y)
    refused(
        "class_weight=(0.0, 0.0, 0.0, 1.0): no class with samples has any weight",
        net(4),
        X,
        half,
        class_weight=[0, 0, 0, 1],
    )


# A validation -------------------------------------------------------------------------------------


def test_what_needs_a_validation() -> None:
    refused("patience=2: needs a validation", net(), X, Y, patience=2)
    refused("metric='f1': needs a validation", net(), X, Y, metric="f1")
    refused("metrics=('f1',): needs a validation", net(), X, Y, metrics=["f1"])
    refused(
        "metric='auc': needs samples of every class, there are none of b; take another metric",
        net(),
        X,
        Y,
        metric="auc",
        validation=(X[Y == 0], Y[Y == 0]),
        classes=["a", "b"],
    )
    refused(
        "validation=0: must lie between 0 and 1; None holds nothing out", net(), X, Y, validation=0
    )


def test_a_balanced_draw_needs_a_class_of_each_sample() -> None:
    pictures, labels = maps(6)
    dense = nn.Conv(2, 3, padding="same")
    refused(
        "sampler='balanced': every position has a class",
        dense,
        pictures,
        labels,
        sampler="balanced",
    )
