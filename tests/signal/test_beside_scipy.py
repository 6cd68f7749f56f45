"""A thousand random calls beside SciPy's."""

import numpy as np
import pytest
from grid import CHOSEN, EXHAUSTIVE
from signals import DTYPES, drawn, same

from faltung import signal

pytest.importorskip("scipy", minversion="1.17")
scipy_signal = pytest.importorskip("scipy.signal")

BLOCK = 50  # calls of one test
FLOATS = DTYPES[-4:]


def random_call(number: int) -> tuple[str, list[object]]:
    """A function and its arguments."""
    rng = np.random.default_rng(number)
    name = str(rng.choice(list(MADE)))
    return name, MADE[name](rng)


def _mode(rng: np.random.Generator) -> str:
    return str(rng.choice(["full", "same", "valid"]))


def _pair(rng: np.random.Generator, rank: int, most: int, dtypes: list[str]) -> list[object]:
    first = rng.integers(1, most, rank)
    second = np.minimum(first, rng.integers(1, most, rank))
    dtype = str(rng.choice(dtypes))
    other = dtype if rank > 1 and dtype not in FLOATS else str(rng.choice(dtypes))
    if other not in FLOATS and dtype not in FLOATS:
        other = dtype  # SciPy sums in the dtype of the first
    return [drawn(rng, tuple(first), dtype), drawn(rng, tuple(second), other)]


def _arrays(rng: np.random.Generator) -> list[object]:
    rank = int(rng.integers(1, 4))
    return [*_pair(rng, rank, 400 if rank == 1 else 12, DTYPES[1:]), _mode(rng), "direct"]


def _along(rng: np.random.Generator) -> list[object]:
    return [*_pair(rng, int(rng.integers(1, 4)), 14, FLOATS), _mode(rng)]


def _planar(rng: np.random.Generator) -> list[object]:
    boundary = str(rng.choice(["fill", "wrap", "symm"]))
    return [*_pair(rng, 2, 12, DTYPES[1:]), _mode(rng), boundary, int(rng.integers(0, 9))]


def _rates(rng: np.random.Generator) -> list[object]:
    h = drawn(rng, (int(rng.integers(1, 60)),), str(rng.choice(FLOATS)))
    x = drawn(rng, tuple(rng.integers(2, 40, int(rng.integers(1, 3)))), str(rng.choice(FLOATS)))
    return [h, x, *(int(n) for n in rng.integers(1, 12, 2)), int(rng.integers(0, x.ndim))]


def _resampled(rng: np.random.Generator) -> list[object]:
    x = drawn(rng, tuple(rng.integers(2, 90, int(rng.integers(1, 3)))), str(rng.choice(DTYPES[1:])))
    return [x, *(int(n) for n in rng.integers(1, 20, 2)), int(rng.integers(0, x.ndim))]


def _filtered(rng: np.random.Generator) -> list[object]:
    dtype = str(rng.choice(FLOATS))
    b, a = drawn(rng, (int(rng.integers(1, 300)),), dtype), np.full(1, 2, dtype)
    return [b, a, drawn(rng, tuple(rng.integers(1, 40, int(rng.integers(1, 3)))), dtype)]


MADE = {
    **{"convolve": _arrays, "correlate": _arrays, "fftconvolve": _along, "oaconvolve": _along},
    **{"convolve2d": _planar, "correlate2d": _planar, "upfirdn": _rates, "lfilter": _filtered},
    "resample_poly": _resampled,
}


@pytest.mark.parametrize("block", range(20))
def test_random_calls(block: int) -> None:
    """All with ``--exhaustive``; else one of ten, another one each day."""
    numbers = range(block * BLOCK, (block + 1) * BLOCK)
    if CHOSEN.tier is not EXHAUSTIVE:
        numbers = numbers[CHOSEN.seed % 10 :: 10]
    for number in numbers:
        name, given = random_call(number)
        single = any(isinstance(x, np.ndarray) and x.dtype.char in "fF" for x in given)
        same(getattr(signal, name)(*given), getattr(scipy_signal, name)(*given), single)
