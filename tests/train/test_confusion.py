"""Confusion matrices of few classes whole, of many in part."""

import numpy as np
import pytest

from faltung.train.confusion import MOST_CLASSES, SHADES, Cell, confusion


def test_few_classes_are_shown_whole() -> None:
    found = confusion([[8, 2, 0], [0, 10, 0], [0, 0, 0]], ["a", "b", "c"])
    assert found.labels == ("a", "b", "c") and not found.others
    assert found.rows[0] == (Cell(8, 9, True), Cell(2, 5, False), Cell(0, 0, False))
    assert found.rows[1][1] == Cell(10, SHADES, True)
    assert found.recall == (0.8, 1.0, None)
    assert (found.classes, found.samples, found.right) == (3, 20, 18)
    (pair,) = found.pairs
    assert (pair.true, pair.predicted, pair.count, pair.share) == ("a", "b", 2, 0.2)


@pytest.mark.parametrize("classes", [1, 2, MOST_CLASSES, MOST_CLASSES + 1, 1000])
def test_any_number_of_classes(classes: int) -> None:
    rng = np.random.default_rng(classes)
    counts = rng.integers(0, 3, (classes, classes)) + np.diag(rng.integers(20, 30, classes))
    found = confusion(counts, [str(n) for n in range(classes)])
    shown = [int(label) for label in found.labels]
    assert len(shown) == min(classes, MOST_CLASSES) and shown == sorted(shown)
    assert bool(found.others) == (classes > MOST_CLASSES)
    for n, i in enumerate(shown):
        row = [cell.count for cell in found.rows[n]]
        assert row == counts[i, shown].tolist()
        assert sum(row) + (found.others[n] if found.others else 0) == counts[i].sum()
        assert [cell.right for cell in found.rows[n]] == [j == n for j in range(len(shown))]
        assert all(0 <= cell.shade <= SHADES for cell in found.rows[n])
    assert found.samples == counts.sum() and found.right == np.trace(counts)


def test_the_most_confused_are_chosen() -> None:
    counts = np.diag(np.full(100, 50))
    counts[70, 3] = 9
    counts[5, 90] = 4
    found = confusion(counts, [str(n) for n in range(100)])
    assert {"3", "70", "5", "90"} <= set(found.labels)
    assert [(p.true, p.predicted, p.count) for p in found.pairs] == [("70", "3", 9), ("5", "90", 4)]


@pytest.mark.parametrize(
    ("counts", "classes", "says"),
    [
        ([[1, 2]], ["a"], r"shape=\(1, 2\): must be classes by classes, 1"),
        ([[1]], ["a", "b"], r"shape=\(1, 1\)"),
        (np.zeros((0, 0), int), [], r"shape=\(0, 0\)"),
        ([[-1]], ["a"], "must be counts"),
        ([[0.5]], ["a"], "must be counts"),
    ],
)
def test_what_is_none(counts: object, classes: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        confusion(counts, classes)  # type: ignore[arg-type]
