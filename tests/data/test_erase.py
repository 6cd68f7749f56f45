"""Boxes at random places, and what replaces them."""

import numpy as np
import pytest

from faltung.data.erase import PARTS, boxes, erase

SPACES = [(60,), (30, 40), (12, 16, 20)]


@pytest.mark.parametrize("space", SPACES)
def test_boxes_have_their_part_where_nothing_is_cut(space: tuple[int, ...]) -> None:
    count, rank = 400, len(space)
    inside = boxes(np.full(count, 0.2), np.ones((count, rank)), space, np.random.default_rng(0))
    parts = inside.reshape(count, -1).mean(1)
    assert inside.shape == (count, 1, *space) and abs(parts.max() - 0.2) < 0.05
    for box in inside[:20, 0]:
        places = np.argwhere(box)
        assert len(places) == (places.max(0) - places.min(0) + 1).prod()  # a box, without holes


def test_no_part_and_all_of_it() -> None:
    one = np.ones((50, 2))
    assert not boxes(np.zeros(50), one, (8, 8), np.random.default_rng(0)).any()
    assert boxes(np.full(50, 4.0), one, (8, 8), np.random.default_rng(0)).all()


@pytest.mark.parametrize("space", SPACES)
def test_erased_with_the_probability_by_noise_of_the_sample(space: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((300, 2, *space)) + 5).astype(np.float32)
    got = erase(x, 0.3, np.random.default_rng(1))
    changed = (got != x).reshape(300, -1).any(1)
    assert 60 < changed.sum() < 120
    gone = (got != x)[changed]
    parts = gone.any(1).reshape(len(gone), -1).mean(1)
    assert parts.max() < 1.2 * PARTS[1] and parts.min() < 0.1
    assert abs(got[got != x].mean() - 5.5) < 0.05 and abs(got[got != x].std() - 0.29) < 0.05
    assert erase(x, 0.0, np.random.default_rng(1)) is x
