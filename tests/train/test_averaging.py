"""The moving average of weights: what it is, what is judged and kept, and the statistics."""

from typing import Any

import numpy as np
import pytest
from runs import net, source

from faltung import Model
from faltung.data.source import split
from faltung.program.optimizer import AdamW, Averaged
from faltung.train.evaluate import evaluate
from faltung.train.loop import Loop
from faltung.train.settings import Settings

Array = np.ndarray[Any, Any]


def made(**settings: Any) -> Loop:
    train, held = split(source(), 0.25, seed=1)
    wanted = Settings(**{"epochs": 3, "batch": 10, "ema": 0.9, **settings})
    return Loop(Model(net(), (1, 8, 8)), wanted, train, held, show=False)


def test_it_is_the_average_of_weights_and_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = made(), []
    plain = Loop._batch

    def noted(loop: Loop, *given: Any) -> None:
        plain(loop, *given)
        seen.append(loop.model.parameters)

    monkeypatch.setattr(Loop, "_batch", noted)
    wanted = {name: value.astype(np.float64) for name, value in run.model.parameters.items()}
    run.run()
    assert len(seen) == 12
    for step, weights in enumerate(seen):
        new = 1 - min(0.9, (1 + step) / (10 + step))
        for name, value in weights.items():
            wanted[name] += new * (value - wanted[name])
    made_of = run.model.parameters
    assert any("mean" in name for name in wanted) and any("var" in name for name in wanted)
    for name, value in wanted.items():
        assert np.allclose(made_of[name], value, rtol=1e-4, atol=1e-6), name
        assert not np.allclose(made_of[name], seen[-1][name], rtol=1e-4, atol=1e-6), name


def test_it_changes_what_is_judged_and_not_what_is_trained() -> None:
    one, two = made(), made(ema=None)
    rows, others = one.run(), two.run()
    assert [row.loss for row in rows] == [row.loss for row in others]
    assert [row.val_loss for row in rows] != [row.val_loss for row in others]
    one.restore_best()
    assert one.best is not None and one.held is not None
    assert evaluate(one.model, one.held).metrics()["loss"] == one.best.val_loss


def test_without_a_validation_the_model_has_the_average() -> None:
    train = source()
    given: dict[str, Any] = {"epochs": 2, "batch": 12, "show": False}
    found = []
    for ema in (None, 0.9):
        model = Model(net(), (1, 8, 8))
        model.fit(train, ema=ema, **given)
        found.append(model.parameters["linear1.weight"])
    assert not np.array_equal(found[0], found[1])


def test_it_soon_forgets_where_it_began() -> None:
    rule = Averaged(AdamW(), 0.999)
    left = 1.0
    for step in range(30):
        left *= 1 - rule.new(step)
    assert left < 1e-8 and rule.new(10**6) == pytest.approx(0.001)
    with pytest.raises(ValueError, match="ema=1: must be above 0 and below 1"):
        Averaged(AdamW(), 1)
