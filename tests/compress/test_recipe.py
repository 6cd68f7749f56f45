"""Which steps are asked for, against networks that are nothing but numbers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from faltung.compress import recipe
from faltung.compress.budget import Budget
from faltung.compress.journal import Entry, Score, Step
from faltung.compress.recipe import PART, ROUNDS, Leaf, Recipe

SCORE = Score(0.9, 0.8, 1.0, 0.0, -1.0, 1.0, 0.0, 0.1, 100)
FIRST = Entry(Step("as-trained"), "", (), True, "0", 80_000, 10, 10, {"1": (1, 1)}, SCORE, SCORE)


def walked(
    budget: Budget, lost: Callable[[float, Step], float], leaves: tuple[Leaf, ...] = ()
) -> list[Entry]:
    """All entries of a walk in which a network of a part of the bytes loses ``lost`` of it."""
    steps = Recipe(budget, 3, {"prune": 1} | {leaf.means: 1 for leaf in leaves}).steps()
    entries: list[Entry] = []
    step = next(steps)
    while True:
        before = entries[step.parent] if entries else FIRST
        part = 1.0 if not entries else 1 - step.strength if step.means == "prune" else 0.25
        size = round(before.bytes * part)
        score = replace(SCORE, lost=lost(size / FIRST.bytes, step))
        times = {"1": (before.ms["1"][0] * part, 1.0)}
        entries.append(replace(before, step=step, bytes=size, ms=times, choose=score))
        try:
            step = steps.send((len(entries) - 1, entries[-1]))
        except StopIteration:
            return entries


@pytest.fixture(autouse=True)
def no_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "LEAVES", ())


def test_down_until_too_much_is_lost_twice() -> None:
    made = walked(Budget(drop=0.5), lambda part, step: 10.0 if part < 0.5 else 0.0)
    assert [entry.step.means for entry in made] == ["as-trained", "prune", "prune", "prune"]
    assert [entry.step.parent for entry in made] == [-1, 0, 1, 2]
    assert [entry.lost for entry in made] == [0, 0, 10, 10]


def test_a_round_that_is_won_back_goes_on() -> None:
    made = walked(Budget(drop=0.5), lambda part, step: 10.0 if step.parent == 2 else 0.0)
    assert len(made) == 1 + ROUNDS


def test_down_no_further_than_asked_for() -> None:
    made = walked(Budget(bytes=10_000), lambda part, step: 0.0)
    assert made[-1].bytes < 10_000 <= made[-2].bytes
    fast = walked(Budget(speed=2.0), lambda part, step: 0.0)
    assert fast[-1].speed > 1.2 * 2 >= fast[-2].speed
    # Multiply-adds are saved until it is fast enough, then bytes.
    assert [entry.step.by for entry in fast[1:]] == ["macs", "macs", "bytes"]


def test_leaves_are_tried_from_the_smallest_up(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = Leaf("quantise", 8, True, bits=4, faster=True)
    monkeypatch.setattr(recipe, "LEAVES", (leaf,))

    def lost(part: float, step: Step) -> float:
        """Without tuning quantised ones lose a point; what is pruned twice or more loses two."""
        base = 2.0 if part < 0.2 * (1 - PART) else 0.0
        return base + (step.means == "quantise" and not step.epochs) if step.parent >= 0 else 0.0

    made = walked(Budget(drop=0.5), lost, (leaf,))
    tried = [entry.step for entry in made if entry.step.means == "quantise"]
    parents = [step.parent for step in tried]
    assert parents == sorted(parents, reverse=True)
    assert [step.epochs for step in tried] == [0, 3] * (len(tried) // 2)
    assert made[-1].lost <= 0.5 and all(
        entry.lost > 0.5 for entry in made if entry.step in tried[:-1]
    )


def test_with_bytes_alone_the_largest_that_fit_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = Leaf("palettes", 16, True, bits=4)
    monkeypatch.setattr(recipe, "LEAVES", (leaf,))

    def lost(part: float, step: Step) -> float:
        return 1.0 if step.means == "palettes" and not step.epochs else 0.0

    made = walked(Budget(bytes=10_000), lost, (leaf,))
    tuned = [e for e in made if e.step.means == "palettes" and e.step.epochs]
    assert len(tuned) == 2
    assert made[tuned[-1].step.parent].bytes < 28_000  # and no smaller network is made
    assert min(entry.bytes for entry in made if entry.step.means == "prune") > 0.7 * 28_000
    sizes = [entry.bytes for entry in tuned]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] <= 10_000


def test_the_same_is_asked_for_again() -> None:
    def lost(part: float, step: Step) -> float:
        return 4 * (1 - part)

    one, two = (walked(Budget(drop=1), lost) for _ in range(2))
    assert one == two


def test_what_cannot_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A palette takes bytes by the number of weights, and is no faster."""
    leaf = Leaf("palettes", 16, False, bits=4)
    monkeypatch.setattr(recipe, "LEAVES", (leaf,))
    made = walked(Budget(speed=2.0), lambda part, step: 0.0, (leaf,))
    tried = [made[entry.step.parent] for entry in made if entry.step.means == "palettes"]
    assert tried and all(entry.speed >= 2.0 for entry in tried)
    none = walked(Budget(bytes=4), lambda part, step: 0.0, (leaf,))  # there are 10 weights
    assert not [entry for entry in none if entry.step.means == "palettes"]
