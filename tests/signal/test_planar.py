"""Pictures with boundaries against SciPy's."""

import numpy as np
import pytest
from signals import DTYPES, drawn, same

from faltung import FaltungError, signal

scipy_signal = pytest.importorskip("scipy.signal")


@pytest.mark.parametrize("seed", range(40))
def test_random_calls(seed):
    rng = np.random.default_rng(seed)
    first, second = (tuple(int(n) for n in rng.integers(1, 9, 2)) for _ in range(2))
    mode = str(rng.choice(["full", "same", "valid"]))
    if mode == "valid":
        second = tuple(min(m, n) for m, n in zip(first, second, strict=True))
        if rng.random() < 0.5:
            first, second = second, first
    boundary = str(rng.choice(["fill", "wrap", "symm"]))
    one, two = (str(rng.choice(DTYPES[1:])) for _ in range(2))
    a, b = drawn(rng, first, one), drawn(rng, second, two)
    fill = int(rng.integers(0, 100))
    for name in ("convolve2d", "correlate2d"):
        ours = getattr(signal, name)(a, b, mode, boundary, fill)
        same(ours, getattr(scipy_signal, name)(a, b, mode, boundary, fill))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "int32"])
def test_separable(dtype):
    rng = np.random.default_rng(0)
    x = drawn(rng, (20, 31), dtype) if dtype != "int32" else rng.integers(-9, 9, (20, 31))
    kernels = {"int32": "float64"}.get(dtype, dtype)
    rows, columns = (rng.standard_normal(n).astype(kernels) for n in (5, 9))
    theirs = scipy_signal.sepfir2d(x, rows, columns)
    same(signal.sepfir2d(x, rows, columns), theirs)


def test_separable_beyond_the_picture():
    """Where SciPy reads memory that is not the picture's."""
    x = np.arange(6.0).reshape(2, 3)
    wide = np.pad(x, 5, "symmetric")
    expected = np.array([[wide[i : i + 11, j : j + 11].sum() for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(signal.sepfir2d(x, np.ones(11), np.ones(11)), expected)


def test_refusals():
    with pytest.raises(FaltungError, match=r"boundary='reflect'.*'symm' is the nearest"):
        signal.convolve2d([[1]], [[1]], boundary="reflect")
    with pytest.raises(FaltungError, match="odd length"):
        signal.sepfir2d(np.ones((4, 4)), [1.0, 1.0], [1.0])
    with pytest.raises(TypeError, match=r"hrow\.astype\('float32'\)"):
        signal.sepfir2d(np.ones((4, 4), np.float32), [0.1], [0.2])
    with pytest.raises(FaltungError, match="not available"):
        signal.convolve2d(np.ones((2, 2), bool), np.ones((2, 2), bool))
