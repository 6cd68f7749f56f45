"""Confusion matrices of few classes whole, of many in part."""

import numpy as np
import pytest

from faltung.train.confusion import MOST_CLASSES, SHADES, Cell, by_class, confusion


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


def test_scores_by_class_are_those_of_scikit_learn() -> None:
    of = pytest.importorskip("sklearn.metrics").precision_recall_fscore_support
    rng = np.random.default_rng(0)
    true, said = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    matrix = np.zeros((6, 6), int)
    np.add.at(matrix, (true, said), 1)
    found = by_class(matrix, tuple("abcdef"))
    assert [one.name for one in found] == list("abcde")  # of f there is nothing
    wanted = of(true, said, labels=range(5), zero_division=0)
    got = np.array([(one.precision, one.recall, one.f1, one.samples) for one in found]).T
    np.testing.assert_allclose(got, wanted)


def test_of_many_classes_those_that_are_worst() -> None:
    matrix = np.diag(np.full(50, 10))
    matrix[7, 8], matrix[40, 41] = 5, 9
    found = by_class(matrix, tuple(map(str, range(50))))
    assert len(found) == MOST_CLASSES and {"7", "8", "40", "41"} <= {one.name for one in found}
