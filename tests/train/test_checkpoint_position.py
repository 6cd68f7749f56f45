"""Positions: what is believed of one in a checkpoint, and which epoch is the best."""

import json
import re
from typing import Any

import pytest

from faltung.train.checkpoint_position import Position

BATCHES = 10
GOOD = Position(25, 2, 5, 1.5, 40.0, 30, 40, 40, 0.75, 0.5, 1)


def test_json_gives_it_back() -> None:
    for position in (Position(), GOOD, Position(3, 0, 3, 0.1 + 0.2)):
        text = json.dumps(position.as_dict())
        assert Position.from_dict(json.loads(text), BATCHES) == position


def test_the_next_epoch_begins_with_nothing() -> None:
    position = Position(**vars(GOOD))
    position.next_epoch()
    assert position == Position(25, 3, 0, 0.0, 0.0, 0, 0, 0, 0.75, 0.5, 1)


@pytest.mark.parametrize(
    ("best", "loss", "merit", "new", "improves"),
    [
        (None, None, 0.0, 9.0, True),
        (0.5, 1.0, 0.6, 9.0, True),
        (0.5, 1.0, 0.5, 0.9, True),
        (0.5, 1.0, 0.5, 1.0, False),
        (0.5, 1.0, 0.4, 0.1, False),
        (3.0, None, 4.0, None, True),
        (3.0, None, 3.0, None, False),
    ],
)
def test_the_best(
    best: float | None, loss: float | None, merit: float, new: float | None, improves: bool
) -> None:
    assert Position(best=best, best_loss=loss).improves(merit, new) is improves


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": None}, "position.step=None: must be a number"),
        ({"step": -1}, "position.step=-1: must be a number"),
        ({"batch": 5.0}, "position.batch=5.0"),
        ({"batch": True}, "position.batch=True"),
        ({"loss": "much"}, "position.loss='much'"),
        ({"best": float("inf")}, "position.best=inf"),
        ({"more": 1}, "position.more: is not known"),
        ({"step": 26}, "step 26, epoch 2, batch 5: does not fit 10 batches"),
        ({"batch": 11, "step": 31}, "does not fit 10 batches"),
        ({"best_epoch": 2}, "position.best_epoch=2: is not an epoch of the run"),
        ({"best_epoch": -1}, "position.best_epoch=-1"),
        ({"best": None}, "position.best_epoch=1"),
    ],
)
def test_what_is_no_position(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Position.from_dict({**GOOD.as_dict(), **change}, BATCHES)
