"""16-bit floats in NumPy: every number, and every rounding."""

import numpy as np
import pytest

from faltung.geometry.conv import NARROW
from faltung.runtime.halves import HELD, UNIT, halved, rounded, whole


@pytest.mark.parametrize("stored", NARROW)
def test_there_and_back(stored: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(HELD[stored])
    numbers = whole(every, stored)
    same = ~np.isnan(numbers)
    assert np.isnan(whole(halved(numbers[~same], stored), stored)).all()
    assert halved(numbers[same], stored).tobytes() == every[same].tobytes()


@pytest.mark.parametrize("stored", NARROW)
def test_the_nearest_and_ties_to_even(stored: str) -> None:
    least = {"float16": 2.0**-14, "bfloat16": 2.0**-126}[stored]
    x = np.random.default_rng(0).uniform(1, 2, 4096).astype(np.float32)
    assert (np.abs(rounded(x, stored) - x) <= UNIT[stored] * x).all()
    assert (np.abs(rounded(least * x, stored) - least * x) <= UNIT[stored] * least * x).all()
    last = 2 * UNIT[stored]
    ties = np.float32([1 + last / 2, 1 + 3 * last / 2, 1 + last / 2 + 2.0**-23])
    assert rounded(ties, stored).tolist() == [1, 1 + 2 * last, 1 + last]
    assert rounded(np.float32([70000, -np.inf]), stored)[1] == -np.inf
    assert np.isinf(rounded(70000, "float16"))
    assert rounded(np.zeros((2, 0, 3)), stored).shape == (2, 0, 3)
