"""Learning rates: their values against PyTorch's, their ends, their refusals."""

import re
from typing import Any

import numpy as np
import pytest

from faltung.train.schedule import SCHEDULES, Schedule


def values(name: str, steps: int, warmup: float = 0.0, lr: float = 1.0) -> list[float]:
    return [Schedule(name, lr, steps, warmup)(step) for step in range(steps)]


def test_constant() -> None:
    assert values("constant", 5, lr=0.25) == [0.25] * 5


def test_cosine_falls_from_the_rate_to_near_nothing() -> None:
    found = values("cosine", 100, lr=2.0)
    assert found[0] == 2.0 and found[50] == pytest.approx(1.0)
    assert found == sorted(found, reverse=True) and 0 < found[-1] < 0.001


def test_warm_up_is_a_straight_line_before_the_schedule() -> None:
    found = values("cosine", 100, warmup=0.2)
    np.testing.assert_allclose(found[:20], np.arange(1, 21) / 21)
    np.testing.assert_allclose(found[20:], values("cosine", 80))
    assert values("constant", 4, warmup=0.5) == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_one_cycle_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    steps = 200
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # PyTorch reaches its top and its end at whole steps; ours at parts of the run.
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        0.5,
        total_steps=steps + 1,
        cycle_momentum=False,
        pct_start=(0.3 * steps + 1) / (steps + 1),
    )
    found = []
    for _ in range(steps):
        found.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose(values("one_cycle", steps, lr=0.5), found, rtol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_rate_is_above_the_highest(name: str) -> None:
    for steps in (1, 2, 3, 7, 1000):
        found = values(name, steps, warmup=0.1, lr=3.0)
        assert min(found) > 0 and max(found) <= 3.0
    # A run that goes on longer than it said keeps the last rate.
    assert Schedule(name, 1.0, 10)(99) == pytest.approx(Schedule(name, 1.0, 10)(10), abs=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("step", 1.0, 5), "schedule='step': must be one of"),
        (("cosine", 0.0, 5), "lr=0.0: must be above 0"),
        (("cosine", 1.0, 0), "steps=0: must be at least 1"),
        (("cosine", 1.0, 5, 1.0), "warmup=1.0: must be at least 0 and below 1"),
    ],
)
def test_refusals(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Schedule(*given)
