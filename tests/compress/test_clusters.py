"""Few values for many numbers: against all partitions of a line, and with a price on bits."""

import numpy as np
import pytest

from faltung.compress import clusters
from faltung.compress.clusters import Line, clustered


def best(ordered: np.ndarray, most: int) -> float:
    """The least sum of squared distances of all partitions, by dynamic programming."""
    n = len(ordered)
    sums, squares = (np.concatenate([[0], np.cumsum(ordered**p)]) for p in (1, 2))

    def cost(i: int, j: int) -> float:
        return squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / (j - i)

    row = [0.0] + [np.inf] * n
    for _ in range(most):
        row = [0.0] + [min(row[i] + cost(i, j) for i in range(j)) for j in range(1, n + 1)]
    return float(row[n])


def distortion(line: Line, most: int, penalty: float = 0.0, zero: bool = False) -> float:
    found = clustered(line, most, penalty, zero)
    return float(((line.ordered - found.values[found.index(line.ordered)]) ** 2).sum())


@pytest.mark.parametrize("seed", range(4))
def test_few_numbers_are_the_best_of_all_partitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    line = Line.of(rng.laplace(size=60) if seed % 2 else rng.standard_normal(60))
    for most in (1, 2, 5, 9):
        least = best(line.ordered, most)
        assert distortion(line, most) == pytest.approx(least)


def test_many_numbers_are_close_to_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line.of(np.random.default_rng(5).standard_normal(350))
    for most in (2, 5, 16):
        least = distortion(line, most)
        with monkeypatch.context() as patched:
            patched.setattr(clusters, "EXACT", 0)
            assert least <= distortion(line, most) <= 1.15 * least


def test_each_number_goes_where_it_is_cheapest() -> None:
    rng = np.random.default_rng(0)
    line, penalty = Line.of(rng.standard_normal(3000)), 0.05
    found = clustered(line, 64, penalty, zero=False)
    prices = penalty * np.log2(found.counts.sum() / found.counts)
    table = (line.ordered[:, None] - found.values) ** 2 + prices
    chosen = table[np.arange(len(table)), found.index(line.ordered)]
    assert (chosen <= table.min(1) + 0.02).all()  # the last round moved values a little


def test_a_price_on_bits_saves_bits_and_no_other_way_is_cheaper() -> None:
    line = Line.of(np.random.default_rng(1).laplace(size=20_000))
    before = np.inf
    for penalty in (0.01, 0.1, 1.0):
        found = clustered(line, 64, penalty)
        assert found.bits < before
        before = found.bits
        paid = distortion(line, 64, penalty, True) + penalty * found.bits
        for other in (4, 16, 64):
            plain = clustered(line, other)
            assert paid <= distortion(line, other, 0.0, True) + penalty * plain.bits


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_zero_is_a_value(penalty: float) -> None:
    rng = np.random.default_rng(2)
    line = Line.of(np.where(rng.random(500) < 0.5, 0, rng.standard_normal(500) + 0.3))
    found = clustered(line, 8, penalty)
    assert (found.values[found.index(np.zeros(3))] == 0).all()
    assert (np.diff(found.values) > 0).all() and found.counts.sum() == 500


def test_one_value_only() -> None:
    for penalty in (0.0, 1.0):
        found = clustered(Line.of(np.full(7, 2.5)), 16, penalty)
        assert found.values.tolist() == [2.5] and found.bits == 0
