"""Samples mixed with others, and their targets by the same share."""

import numpy as np
import pytest

from faltung.data.mixing import mix, soft

X = (np.arange(16, dtype=np.float32)[:, None, None, None] + np.zeros((16, 1, 10, 12))).astype("f4")


def test_labels_as_probabilities() -> None:
    np.testing.assert_array_equal(soft(np.array([1, -1, 0]), 2), [[0, 1], [0, 0], [1, 0]])
    numbers = np.array([[0.5], [2.0]], np.float32)
    assert soft(numbers, 0) is numbers


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0), (0, 1.0), (0.4, 1.0)])
@pytest.mark.parametrize("seed", range(4))
def test_targets_are_mixed_by_what_is_seen(mixup: float, cutmix: float, seed: int) -> None:
    y = soft(np.arange(16), 16)
    x, targets = mix(X, y, mixup, cutmix, np.random.default_rng(seed))
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    # Sample i is i everywhere, so the mean tells the share of its partner.
    np.testing.assert_allclose(x.mean((1, 2, 3)), targets @ np.arange(16), atol=1e-4)
    whole = (x == np.rint(x)).all()
    assert whole if not mixup else (cutmix > 0 or not whole)


def test_both_take_turns() -> None:
    y = soft(np.arange(16), 16)
    made = [mix(X, y, 0.4, 1.0, np.random.default_rng(seed))[0] for seed in range(20)]
    boxed = [bool((x == np.rint(x)).all()) for x in made]
    assert 3 < sum(boxed) < 17
