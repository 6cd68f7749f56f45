"""Intervals against their definitions, by counting and by simulation."""

from math import comb

import numpy as np
import pytest

from faltung import Model, nn
from faltung.compress.quality import Quality, paired, quality, wilson
from faltung.data.source import ArraySource
from faltung.geometry.errors import FaltungArithmeticError


@pytest.mark.parametrize("right", [0, 1, 170, 179, 180])
def test_wilson_is_where_the_score_test_turns(right: int) -> None:
    """Its ends are the probabilities p with |share - p| = z sqrt(p (1 - p) / n)."""
    n, z = 180, 1.959963984540054
    for end in wilson(right / n, n):
        away = abs(right / n - end)
        assert away == pytest.approx(z * np.sqrt(end * (1 - end) / n), abs=1e-12)


def test_wilson_holds_the_truth_in_95_of_100_cases() -> None:
    """Exactly, over all outcomes, for a share as trained networks have."""
    n, p = 180, 0.98
    chance = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    held = sum(c for k, c in enumerate(chance) if wilson(k / n, n)[0] <= p <= wilson(k / n, n)[1])
    assert 0.93 < held < 0.98


def test_the_interval_of_a_difference_holds_the_truth() -> None:
    rng = np.random.default_rng(0)
    chances = [0.02, 0.01, 0.97]  # only the first right, only the second, both or none
    held = 0
    for _ in range(1000):
        worse, better, _ = rng.multinomial(180, chances)
        lost = np.repeat([1.0, -1.0, 0.0], [worse, better, 180 - worse - better])
        low, high = paired(lost)
        held += low <= 0.01 <= high
    assert held >= 940
    assert paired(np.zeros(100))[1] > 0  # nothing lost is not certainty


def test_points_are_hundredths_of_the_difference() -> None:
    losses = np.full(100, 0.1)
    first = Quality(0.9, 0.1, np.repeat([1.0, 0.0], [90, 10]), losses)
    less = Quality(0.85, 0.1, np.repeat([1.0, 0.0], [85, 15]), losses)
    points, low, high = less.lost(first)
    assert points == pytest.approx(5)
    assert low < 5 < high
    assert first.lost(less)[0] == pytest.approx(-5)


def test_points_lost_by_loss() -> None:
    """Samples that became guesses among ten cost what as many lost samples cost, less the error."""
    losses = np.full(400, 0.05)
    worse = losses.copy()
    worse[:20] = np.log(10)
    first = Quality(0.99, 0.05, np.ones(400), losses, classes=10)
    less = Quality(0.99, 0.16, np.ones(400), worse, classes=10)
    grown = (np.log(10) - 0.05) / np.log(10) * np.repeat([1.0, 0.0], [20, 380])
    error = grown.std() / 20
    assert less.lost_by_loss(first) == pytest.approx(100 * (grown.mean() - error))
    assert less.lost(first)[0] == 0.0  # accuracy saw nothing
    assert first.lost_by_loss(less) < 0 and first.lost_by_loss(first) == 0.0


def test_numbers_are_explained_as_scikit_learn_says() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)).astype(np.float32)
    y = np.stack([x.sum(1), x[:, 0] + 0.5 * rng.standard_normal(200)], 1).astype(np.float32)
    model = Model(nn.Linear(2), (3,))
    model.fit(x, y, loss="mse", epochs=30, lr=0.05, show=False)
    found = quality(model, ArraySource(x, y, kind="table"))
    assert found.value == pytest.approx(model.evaluate(x, y, metric="r2")["r2"], abs=1e-6)
    low, high = found.interval()
    assert low < found.value < high
    assert found.lost(found) == (0.0, 0.0, 0.0)
    assert found.interval() == (low, high)  # the same samples are drawn again


def test_positions_of_a_picture_count_as_one_trial() -> None:
    x = np.random.default_rng(0).standard_normal((20, 1, 4, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    y[:, 0, 0] = -1  # does not count
    model = Model(nn.Conv(2, 1), (1, 4, 4), classes=["no", "yes"])
    found = quality(model, ArraySource(x, y, kind="picture", classes=["no", "yes"]))
    assert found.samples == 20
    said = model.predict(x).argmax(1)
    counted = y >= 0
    assert found.value == pytest.approx((said == y)[counted].mean())
    assert found.interval() == wilson(found.value, 20)


def test_answers_must_be_finite() -> None:
    model = Model(nn.Linear(2), (3,), classes=["a", "b"])
    name = next(iter(model.parameters))
    model.set_parameters({name: np.full(model.parameters[name].shape, np.nan)})
    with pytest.raises(FaltungArithmeticError, match="model: its answers are not finite"):
        quality(model, ArraySource(np.ones((4, 3)), [0, 1, 1, 0], kind="table"))
