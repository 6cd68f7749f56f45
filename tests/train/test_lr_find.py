"""The range test of the learning rate: what it suggests, what it leaves as it was."""

import math
from typing import Any

import numpy as np
import pytest
from runs import net, shapes

from faltung import Model
from faltung.train import lr_find
from faltung.train.lr_find import from_csv, range_test, rates, to_csv

X, Y = shapes(48)
GIVEN: dict[str, Any] = {"epochs": 2, "batch": 12, "validation": 0.25, "show": False}


def bowl(rate: float) -> float:
    """A loss that is least at 0.1 and then explodes."""
    return 1.0 + (math.log10(rate) + 1) ** 2 if rate < 1 else 1e9


def test_a_tenth_of_the_rate_of_the_least_loss() -> None:
    found = range_test(bowl)
    least = min(found.points, key=lambda point: point[1])[0]
    assert least / 13 < found.lr < least / 8 and 0.005 < found.lr < 0.05
    assert found.points[0][0] == lr_find.LOW and found.points[-1][0] < 1.2
    assert rates()[-1] == lr_find.HIGH and sorted(rates()) == rates()


def test_it_ends_where_the_loss_is_not_finite() -> None:
    found = range_test(lambda rate: bowl(rate) if rate < 0.5 else math.nan)
    assert all(rate < 0.5 for rate, _ in found.points)
    with pytest.raises(ValueError, match="lr='find': the loss is not finite even at"):
        range_test(lambda rate: math.inf)


def test_training_goes_on_as_with_the_rate_that_was_found() -> None:
    one, two = Model(net(), (1, 8, 8)), Model(net(), (1, 8, 8))
    history = one.fit(X, Y, lr="find", ema=0.9, accumulate=2, **GIVEN)
    rate = range_rate(history.lr_test)
    again = two.fit(X, Y, lr=rate, ema=0.9, accumulate=2, **GIVEN)
    assert [row.loss for row in history] == [row.loss for row in again] and not again.lr_test
    for name, value in one.parameters.items():
        assert value.tobytes() == two.parameters[name].tobytes()


def range_rate(points: tuple[tuple[float, float], ...]) -> float:
    """What is suggested for these losses, which are smooth already."""
    target = min(points, key=lambda point: point[1])[0] / lr_find.BELOW_LEAST
    near = min((rate for rate, _ in points), key=lambda rate: abs(math.log(rate / target)))
    return float(f"{near:.2g}")


def test_there_and_back() -> None:
    points = range_test(bowl).points
    assert from_csv(to_csv(points), "x") == points and from_csv("lr,loss\n", "x") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x: must be a range test"),
        ("lr;loss\n", "x: must be a range test"),
        ("lr,loss\n" + "0.1,1\n" * 999, "x: must be a range test: lr,loss and at most"),
        ("lr,loss\n0.1,1\n0.2\n", "x: line 3: must be a learning rate and a loss"),
        ("lr,loss\n0,1\n", "x: line 2"),
        ("lr,loss\n1,nan\n", "x: line 2"),
        ("lr,loss\n1,=1+1\n", "x: line 2"),
    ],
)
def test_files_that_hold_something_else(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_csv(text, "x")


def test_it_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model(net(), (1, 8, 8))
    model.fit(X, Y, lr="find", **{**GIVEN, "show": True})
    assert ": found by a range test of " in capsys.readouterr().out
    assert np.isfinite(model.predict(X)).all()
