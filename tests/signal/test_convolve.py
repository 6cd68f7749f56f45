"""Convolutions and correlations against SciPy's, side by side."""

import numpy as np
import pytest
from signals import DTYPES, drawn, same

from faltung import FaltungError, signal
from faltung.signal import like_numpy

scipy_signal = pytest.importorskip("scipy.signal")


@pytest.mark.parametrize("seed", range(30))
def test_random_calls(seed):
    """Ranks 1 to 3, all dtypes and modes; whole numbers exactly, also where they wrap."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    first, second = (tuple(int(n) for n in rng.integers(1, 9, rank)) for _ in range(2))
    mode = str(rng.choice(["full", "same", "valid"]))
    if mode == "valid":
        second = tuple(min(m, n) for m, n in zip(first, second, strict=True))
    one, two = (str(rng.choice(DTYPES[1 if rank > 1 else 0 :])) for _ in range(2))
    a, b = drawn(rng, first, one), drawn(rng, second, two)
    for name in ("convolve", "correlate"):
        if rank > 1 and np.result_type(a, b).kind in "iu" and a.dtype != b.dtype:
            a, b = (x.astype(np.result_type(a, b)) for x in (a, b))
        ours = getattr(signal, name)(a, b, mode)
        same(ours, getattr(scipy_signal, name)(a, b, mode, "direct"))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("m", "n"), [(64, 3), (3, 64), (7, 7), (2000, 300)])
@pytest.mark.parametrize("dtype", ["int64", "float64", "complex128"])
def test_numpy_functions(mode, m, n, dtype):
    rng = np.random.default_rng(m + n)
    a, v = (drawn(rng, (size,), dtype) for size in (m, n))
    same(like_numpy.convolve(a, v, mode), np.convolve(a, v, mode))
    same(like_numpy.correlate(a, v, mode), np.correlate(a, v, mode))


def test_numpy_defaults_and_numbers():
    assert like_numpy.correlate([1, 2, 3], [0, 1, 0.5]).tolist() == [3.5]
    assert like_numpy.convolve(3, [1, 2]).tolist() == [3, 6]
    with pytest.raises(FaltungError, match=r"v\.shape=\(0,\)"):
        like_numpy.convolve([1], [])


def test_large_whole_numbers_are_exact_by_every_method():
    rng = np.random.default_rng(1)
    a, b = rng.integers(-1000, 1000, 5000), rng.integers(-1000, 1000, 700)
    expected = np.convolve(a, b)
    for method in ("auto", "direct", "fft"):
        np.testing.assert_array_equal(signal.convolve(a, b, method=method), expected)
    big = a * 10**12
    np.testing.assert_array_equal(signal.convolve(big, b, method="fft"), np.convolve(big, b))


def test_nan_shows_where_it_is_read_and_nowhere_else():
    a = np.ones(3000)
    a[1000] = np.nan
    b = np.ones(200)
    assert np.flatnonzero(np.isnan(signal.convolve(a, b))).tolist() == list(range(1000, 1200))
    with pytest.warns(RuntimeWarning, match="method='auto'"):
        signal.convolve(a, b, method="fft")


def test_views_and_objects():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((9, 20))[::-2, 3::2].T
    b = rng.standard_normal((3, 2)).T[::-1]
    same(signal.convolve(a, b, "same"), scipy_signal.convolve(a, b, "same"))
    odd = np.array([10**30, 2, 3], object)
    assert signal.convolve(odd, odd, method="direct").tolist() == np.convolve(odd, odd).tolist()
    wide = np.arange(5, dtype=np.longdouble) / 3
    np.testing.assert_allclose(signal.convolve(wide, wide), np.convolve(wide, wide), rtol=1e-18)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("sizes", [(5, 3), (4, 4), (3, 5)])
def test_lags(mode, sizes):
    expected = scipy_signal.correlation_lags(*sizes, mode)
    np.testing.assert_array_equal(signal.correlation_lags(*sizes, mode), expected)


def test_choice_follows_scipys_rule():
    rng = np.random.default_rng(3)
    for _ in range(100):
        rank = int(rng.integers(1, 3))
        first = rng.integers(1, 400, rank)
        second = np.minimum(first, rng.integers(1, 400, rank))
        mode = str(rng.choice(["full", "same", "valid"]))
        a, b = np.ones(first), np.ones(second)
        expected = scipy_signal.choose_conv_method(a, b, mode)
        assert signal.choose_conv_method(a, b, mode) == expected
    chosen, times = signal.choose_conv_method(a[:9], b[:9], measure=True)
    assert chosen == min(times, key=times.get)


def test_refusals_name_argument_value_and_rule():
    with pytest.raises(FaltungError, match=r"mode='SAME'.*'same' is meant"):
        signal.convolve([1], [1], "SAME")
    with pytest.raises(FaltungError, match="method='quick'"):
        signal.correlate([1], [1], method="quick")
    with pytest.raises(FaltungError, match=r"in1\.ndim=1, in2\.ndim=2"):
        signal.convolve([1], [[1]])
    with pytest.raises(FaltungError, match="'valid' mode"):
        signal.convolve(np.ones((2, 3)), np.ones((3, 2)), "valid")
    with pytest.raises(TypeError, match="filled"):
        signal.convolve(np.ma.array([1.0], mask=[1]), [1.0])
    with pytest.raises(FaltungError, match="empty"):
        signal.convolve([], [1])
