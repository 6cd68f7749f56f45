"""Functions that are called after each epoch: what they see, say and leave unchanged."""

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from runs import net, shapes

from faltung import Epoch, Model

X, Y = shapes(48)
GIVEN: dict[str, Any] = {"epochs": 4, "batch": 12, "validation": 0.25, "show": False}


def model() -> Model:
    return Model(net(), (1, 8, 8))


def test_they_see_the_epochs_and_change_no_bit() -> None:
    seen: list[Epoch] = []
    one, two = model(), model()
    given = {**GIVEN, "metrics": ["f1", "auc"], "ema": 0.9, "accumulate": 2}
    history = one.fit(X, Y, callbacks=[seen.append, lambda epoch: False], **given)
    two.fit(X, Y, **given)
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]
    assert {epoch.epochs for epoch in seen} == {4}
    for epoch, row in zip(seen, history, strict=True):
        assert (epoch.loss, epoch.val_loss, epoch.lr) == (row.loss, row.val_loss, row.lr)
        assert epoch.metrics == row.scores and set(epoch.metrics) == {"f1", "auc"}
    last = [epoch.number for epoch in seen if epoch.best][-1]
    assert history.best is history[last - 1]
    for name, value in one.parameters.items():
        assert value.tobytes() == two.parameters[name].tobytes()
    with pytest.raises(FrozenInstanceError):
        seen[0].loss = 0.0  # type: ignore[misc]


@pytest.mark.parametrize("answer", [True, "stop", np.True_])
def test_one_may_say_stop(answer: object) -> None:
    calls: list[int] = []

    def enough(epoch: Epoch) -> object:
        return epoch.number == 2 and answer

    history = model().fit(X, Y, callbacks=[enough, lambda e: calls.append(e.number)], **GIVEN)
    assert len(history) == 2 and calls == [1, 2]
    assert history.notes[0] == "stopped after epoch 2 of 4 by the callback enough"


def test_what_one_raises_is_passed_on_and_the_model_is_usable() -> None:
    def fails(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyError("mine")

    failed, whole = model(), model()
    with pytest.raises(KeyError, match="mine"):
        failed.fit(X, Y, callbacks=fails, **GIVEN)
    seen: list[Any] = []
    whole.fit(X, Y, callbacks=lambda e: seen.append(whole.parameters), **GIVEN)
    for name, value in seen[1].items():  # the weights of the epoch
        assert np.array_equal(failed.parameters[name], value)
    assert failed.evaluate(X, Y)["accuracy"] > 0
    failed.fit(X, Y, **GIVEN)


def test_they_see_the_weights_that_were_validated() -> None:
    judged = model()
    held = shapes(20, seed=3)
    pairs = []

    def again(epoch: Epoch) -> None:
        pairs.append((epoch.val_loss, judged.evaluate(*held)["loss"]))

    judged.fit(X, Y, callbacks=again, **{**GIVEN, "validation": held, "ema": 0.9})
    assert all(one == two for one, two in pairs) and len(pairs) == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "callbacks=3: must be a list of functions"),
        ([print, "x"], r"callbacks\[1\]='x': must be a function of an Epoch"),
        ([dict], r"callbacks\[0\]=dict: is a class; give an object of it"),
        ([lambda epoch: "halt"], "callbacks: <lambda> returned 'halt': must be None or False"),
        ([lambda epoch: 1], "returned 1: must be None or False to go on, True or"),
    ],
)
def test_what_is_no_callback(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        model().fit(X, Y, callbacks=given, **GIVEN)


def test_they_are_told_of_the_end() -> None:
    class Closes:
        closed = 0

        def __call__(self, epoch: Epoch) -> None:
            if epoch.number == 2:
                raise ValueError

        def close(self) -> None:
            self.closed += 1

    each = Closes()
    with pytest.raises(ValueError):
        model().fit(X, Y, callbacks=[each], **GIVEN)
    assert each.closed == 1
