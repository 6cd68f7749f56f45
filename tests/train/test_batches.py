"""How many samples go into a batch: few sizes, all samples, the same bits."""

import numpy as np
import pytest

from faltung import Model, nn
from faltung.train.batches import batches


@pytest.mark.parametrize(
    ("count", "most", "wanted"),
    [
        (0, 256, []),
        (1, 256, [1]),
        (3, 256, [2, 1]),
        (4, 256, [4]),
        (5, 256, [4, 1]),
        (7, 256, [8]),
        (9, 256, [8, 1]),
        (17, 256, [16, 1]),
        (33, 256, [32, 1]),
        (100, 256, [64, 8, 8, 8, 8, 8]),
        (256, 256, [256]),
        (600, 256, [256, 256, 64, 8, 8, 8]),
        (20, 7, [7, 7, 4, 2]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_cuts(count: int, most: int, wanted: list[int]) -> None:
    assert batches(count, most) == wanted


def test_all_samples_in_few_sizes() -> None:
    seen: set[int] = set()
    for most in (1, 5, 64, 256):
        for count in range(700):
            cut = batches(count, most)
            assert max(cut, default=0) <= most
            assert sum(cut[:-1]) < max(count, 1) <= max(sum(cut), 1)
            assert len(set(cut) - {most}) <= 2
            # Never more work than in one batch that is filled up to a power of two.
            assert sum(cut) <= max(-(-count // most) * most, 1)
            seen |= set(cut) if most == 256 else set()
    assert seen <= {1 << bits for bits in range(9)}


def test_no_cut_shows() -> None:
    model = Model(nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3)), (2, 7, 7))
    x = np.random.default_rng(0).standard_normal((13, 2, 7, 7)).astype(np.float32)
    alone = np.concatenate([model.predict(sample[np.newaxis]) for sample in x])
    for count in (3, 5, 6, 7, 13):
        assert model.predict(x[:count]).tobytes() == alone[:count].tobytes()
