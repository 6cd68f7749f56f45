"""Limits: what keeps them, which of several is chosen, and what is told where none is."""

from dataclasses import dataclass
from typing import Any

import pytest

from faltung.compress.budget import DROP, Budget, as_bytes


@dataclass(frozen=True)
class Found:
    bytes: int
    lost: float
    speed: float = 1.0
    loss: float = 0.5
    error: float = 0.05


FOUND = [
    Found(1000, 0.0),
    Found(500, 0.2, 2.0, 0.4),
    Found(400, 0.2, 1.5),
    Found(100, 3.0, 4.0),
]


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({}, 2),  # as --drop 0.5: the smallest
        ({"drop": 0.0}, 0),
        ({"drop": 3.0}, 3),
        ({"drop": 0.5, "speed": 1.8}, 1),  # together
        ({"bytes": 2000}, 0),  # the most accurate
        ({"bytes": 500}, 1),  # of equally accurate ones that with the least loss
        ({"speed": 2.0}, 1),
        ({"drop": 0.5, "bytes": 100}, None),
        ({"bytes": 99}, None),
        ({"speed": 5.0}, None),
    ],
)
def test_the_choice(limits: dict[str, Any], chosen: int | None) -> None:
    assert Budget(**limits).choose(FOUND) == chosen


@pytest.mark.parametrize(
    ("limits", "nearest"),
    [({"bytes": 99}, 3), ({"speed": 5.0}, 3), ({"drop": 0.1, "bytes": 450}, 2)],
)
def test_the_nearest(limits: dict[str, Any], nearest: int) -> None:
    assert Budget(**limits).choose(FOUND) is None
    assert Budget(**limits).nearest(FOUND) == nearest


def test_without_a_limit_there_is_one() -> None:
    assert Budget().drop == DROP
    assert Budget(bytes=5).drop is None
    assert str(Budget(0.5, 20000, 2.0)) == (
        "at most 0.5 points lost, at most 20,000 bytes, at least 2 times as fast"
    )


def test_a_limit_that_is_met_exactly_is_kept() -> None:
    """Whatever the last bit of a difference of accuracies is."""
    lost = 100 * (0.9 - 0.895)
    assert lost != 0.5 and Budget(drop=0.5).within(Found(1, lost))


@pytest.mark.parametrize(
    ("text", "number"),
    [("20k", 20_000), ("1M", 1_000_000), ("1.5M", 1_500_000), ("4999", 4999), ("2G", 2 * 10**9)],
)
def test_bytes(text: str, number: int) -> None:
    assert as_bytes(text) == number


@pytest.mark.parametrize("text", ["", "k", "-1", "0", "0.5", "20K", "20kB", "many", "nan", "inf"])
def test_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes"):
        as_bytes(text)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"drop": -1}, "drop=-1: must be at least 0"),
        ({"drop": 101}, "drop=101: must be at most 100"),
        ({"drop": float("nan")}, "drop=nan: must be at least 0 and finite"),
        ({"bytes": 0}, "bytes=0: must be above 0"),
        ({"speed": float("inf")}, "speed=inf: must be above 0 and finite"),
        ({"speed": "2"}, "speed='2': must be a number"),
        ({"drop": True}, "drop=True: must be a number"),
    ],
)
def test_no_limit(limits: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Budget(**limits)
