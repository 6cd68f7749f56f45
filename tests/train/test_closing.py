"""What is said of a run at its end, in the words of who reads it."""

import math
from typing import Any

import numpy as np
import pytest
from runs import net, shapes

from faltung import Model
from faltung.train.closing import exploded, learned_nothing, overfits, spelled, why_stopped
from faltung.train.metrics import EpochMetrics
from faltung.train.settings import Settings

X, Y = shapes(48)


def epochs(losses: list[float], held: list[float | None]) -> list[EpochMetrics]:
    return [
        EpochMetrics(n, n, 0.1, loss, val_loss=other)
        for n, (loss, other) in enumerate(zip(losses, held, strict=True), 1)
    ]


FALLING = [1.0, 0.8, 0.5, 0.3, 0.2, 0.1]


def test_a_run_that_overfits_says_so_in_one_line() -> None:
    rows = epochs(FALLING, [1.0, 0.9, 0.8, 0.9, 1.1, 1.2])
    said = overfits(rows, Settings(), 3, typed=False)
    assert said == (
        "overfits since epoch 3: val loss 0.8000 -> 1.1500 while the loss went 0.5000 -> 0.1000 "
        "(the weights of epoch 3 are kept); try more samples, augment=, decay=0.01, smoothing=0.1 "
        "or patience=5"
    )
    typed = overfits(rows, Settings(smoothing=0.1, patience=9, decay=0.2), 3, typed=True)
    assert typed is not None and typed.endswith("try more samples, augmentation or --decay 2")


@pytest.mark.parametrize(
    "held",
    [
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5],  # it gets better
        [1.0, 0.9, 0.8, 0.81, 0.8, 0.82],  # hardly worse
        [1.0, 0.9, 0.8, 0.7, 0.5, 0.9],  # the last alone
        [None] * 6,
        [1.0, 0.9, math.nan, 0.9, 1.1, 1.2],
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],  # as good as can be, at first
    ],
)
def test_other_runs_do_not(held: list[float | None]) -> None:
    assert overfits(epochs(FALLING, held), Settings(), 3, typed=False) is None
    assert overfits(epochs(FALLING[:3], [0.5, 0.8, 0.9]), Settings(), 1, typed=False) is None
    worse: list[float | None] = [1.0, 0.9, 0.8, 0.9, 1.1, 1.2]
    assert overfits(epochs(FALLING[::-1], worse), Settings(), 3, typed=False) is None


def test_a_run_that_learned_nothing() -> None:
    rows = epochs([1.0, 1.5, 2.0], [None] * 3)
    assert learned_nothing(rows, Settings(), typed=True) == (
        "the loss is higher than in the first epoch, 2.0000 instead of 1.0000: try --lr 0.01 or "
        "--lr find"
    )
    assert learned_nothing(rows[:1], Settings(), typed=True) is None
    assert learned_nothing(epochs([1.0, 1.0], [None] * 2), Settings(), typed=True) is None


def test_patience_that_ran_out_is_said() -> None:
    settings = Settings(epochs=80, patience=5)
    said = why_stopped(settings, 12, 6, None, typed=False)
    assert said == (
        "stopped after epoch 12 of 80: no better val accuracy for 6 epochs (patience=5); the "
        "weights of epoch 6 are kept"
    )
    assert "(--patience 5)" in str(why_stopped(settings, 12, 6, None, typed=True))
    assert why_stopped(settings, 80, 79, None, typed=True) is None
    assert why_stopped(Settings(epochs=3), 2, 2, None, typed=True) is None


def test_what_exploded_says_what_was_not_tried() -> None:
    error = exploded("loss", math.nan, "in epoch 1, batch 7", Settings(), 0.5, typed=False)
    assert isinstance(error, FloatingPointError | ValueError)
    assert str(error) == (
        "the loss is nan in epoch 1, batch 7, with lr=0.5: must be finite; try lr=0.003 instead, "
        "or lr='find', clip=1 or warmup=0.1"
    )
    tried = Settings(clip=1, warmup=0.2, optimizer="sgd")
    said = str(exploded("loss", math.inf, "in epoch 9", tried, 0.1, typed=True))
    assert said.endswith("with --lr 0.1: must be finite; try --lr 0.01 instead, or --lr find")


def test_a_setting_is_spelled_as_it_is_written() -> None:
    assert spelled("held_out", 0.25, typed=True) == "--held-out 0.25"
    assert spelled("nesterov", True, typed=True) == "--nesterov"
    assert spelled("nesterov", True, typed=False) == "nesterov=True"
    assert spelled("lr", typed=False) == "lr="


@pytest.mark.parametrize("validated", [True, False])
def test_after_an_explosion_the_model_is_as_it_was_or_best(validated: bool) -> None:
    model = Model(net(), (1, 8, 8))
    before = model.parameters
    given: dict[str, Any] = {"epochs": 3, "batch": 12, "show": False, "optimizer": "sgd"}
    if validated:
        given["validation"] = 0.25
    with pytest.raises(FloatingPointError, match=r"must be finite; try lr=0\.05 instead"):
        model.fit(X, Y, lr=1e30, decay=0, **given)
    for name, value in model.parameters.items():
        assert np.array_equal(value, before[name])
    assert len(model.fit(X, Y, **given)) == 3
