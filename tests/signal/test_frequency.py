"""Convolutions along chosen axes against SciPy's."""

import numpy as np
import pytest
from signals import drawn, same

from faltung import FaltungError, signal

scipy_signal = pytest.importorskip("scipy.signal")
DTYPES = ["int16", "float32", "float64", "complex64", "complex128"]


@pytest.mark.parametrize("seed", range(30))
def test_random_axes_and_broadcasting(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    axes = rng.permutation(rank)[: int(rng.integers(1, rank + 1))]
    first, second = rng.integers(1, 9, rank), rng.integers(1, 9, rank)
    mode = str(rng.choice(["full", "same", "valid"]))
    for axis in range(rank):
        if axis not in axes:
            second[axis] = first[axis] if rng.random() < 0.5 else 1
            if rng.random() < 0.3 and mode != "same":
                first[axis] = 1
        elif mode == "valid":
            second[axis] = min(first[axis], second[axis])
    a = drawn(rng, tuple(first), str(rng.choice(DTYPES)))
    b = drawn(rng, tuple(second), str(rng.choice(DTYPES)))
    given = axes.tolist() if len(axes) > 1 else int(axes[0]) - rank
    for name in ("fftconvolve", "oaconvolve"):
        ours = getattr(signal, name)(a, b, mode, given)
        single = any(x.dtype.char in "fF" for x in (a, b))
        same(ours, getattr(scipy_signal, name)(a, b, mode, given), single)


@pytest.mark.parametrize(("shape", "taps"), [((300, 200), (31, 17)), ((40_000,), (1001,))])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_long_kernels(shape, taps, dtype):
    rng = np.random.default_rng(0)
    a, b = drawn(rng, shape, dtype), drawn(rng, taps, dtype)
    same(signal.oaconvolve(a, b, "same"), scipy_signal.oaconvolve(a, b, "same"))


def test_kernels_of_very_many_taps_are_one_transform():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 190)), rng.standard_normal((180, 170))
    same(signal.fftconvolve(a, b), scipy_signal.fftconvolve(a, b))


def test_axes_are_checked():
    with pytest.raises(FaltungError, match="axes exceeds dimensionality"):
        signal.fftconvolve([1], [2], axes=1)
    with pytest.raises(FaltungError, match="unique"):
        signal.oaconvolve([[1]], [[2]], axes=(0, -2))
    assert signal.fftconvolve([], [1.0]).shape == (0,)
