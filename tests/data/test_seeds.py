"""Draws are named by seed and place."""

import numpy as np
import pytest

from faltung.data.seeds import AUGMENT, DRAW, ORDER, SPLIT, generator, permutation, uniform


def test_a_permutation_of_each_place() -> None:
    places = [(SPLIT,), (ORDER, 0), (ORDER, 1), (AUGMENT, 0, 1), (AUGMENT, 1, 0)]
    orders = [permutation(100, seed, *place).tolist() for seed in (0, 1) for place in places]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)
    assert permutation(100, 0, *places[0]).tolist() == orders[0]


def test_it_is_the_same_for_ever() -> None:
    assert permutation(8, 42, ORDER, 3).tolist() == [6, 0, 5, 1, 7, 2, 3, 4]
    assert permutation(0, 0).tolist() == []


def test_every_order_is_as_likely() -> None:
    firsts = np.bincount([permutation(4, seed)[0] for seed in range(2000)])
    assert firsts.min() > 430


def test_generators() -> None:
    one, same, other = (generator(5, AUGMENT, *place) for place in [(1, 2), (1, 2), (2, 1)])
    first = one.random(4).tolist()
    assert same.random(4).tolist() == first and other.random(4).tolist() != first


@pytest.mark.parametrize("seed", [-1, 0.5, "1", None])
def test_seeds_are_whole(seed: object) -> None:
    with pytest.raises((TypeError, ValueError), match="seed="):
        generator(seed)  # type: ignore[arg-type]


def test_uniform_numbers() -> None:
    found = uniform(4000, 3, DRAW, 1)
    assert found.min() >= 0 and found.max() < 1 and abs(found.mean() - 0.5) < 0.02
    assert ((found * 2.0**53) % 1 == 0).all()
    assert uniform(3, 42, DRAW, 0).tolist() == [
        0.2942101723065611,
        0.9722928961750463,
        0.663458652745392,
    ]
    assert uniform(4, 3, DRAW, 1).tolist() == found[:4].tolist() != uniform(4, 3, DRAW, 2).tolist()
