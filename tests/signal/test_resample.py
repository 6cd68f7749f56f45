"""Other rates against SciPy's, and the taps of its windows."""

import numpy as np
import pytest
from signals import drawn, same

from faltung import FaltungError, signal
from faltung.signal import windows
from faltung.signal.phases import EXTENSIONS

scipy_signal = pytest.importorskip("scipy.signal")
DTYPES = ["int16", "float32", "float64", "complex64", "complex128"]
WINDOWS = [
    *("hann", "hamming", "blackman", "nuttall", "blackmanharris", "flattop", "boxcar", "bartlett"),
    *("cosine", "triang", ("kaiser", 5.0), ("gaussian", 7.0), ("general_hamming", 0.6), 8.6),
]


@pytest.mark.parametrize("seed", range(60))
def test_upfirdn(seed):
    rng = np.random.default_rng(seed)
    up, down = (int(n) for n in rng.integers(1, 9, 2))
    # SciPy divides by zero where one sample is mirrored.
    shape = tuple(int(n) for n in rng.integers(2, 12, int(rng.integers(1, 4))))
    axis = int(rng.integers(-len(shape), len(shape)))
    one, two = (str(rng.choice(DTYPES)) for _ in range(2))
    h, x = drawn(rng, (int(rng.integers(1, 25)),), one), drawn(rng, shape, two)
    mode = str(rng.choice(EXTENSIONS))
    if x.dtype.kind == "c" and mode != "constant":
        mode = "wrap"
    theirs = scipy_signal.upfirdn(h, x, up, down, axis, mode, 0.5 * (mode == "constant"))
    same(signal.upfirdn(h, x, up, down, axis, mode, 0.5 * (mode == "constant")), theirs)


@pytest.mark.parametrize("seed", range(40))
def test_resample_poly(seed):
    rng = np.random.default_rng(seed)
    up, down = (int(n) for n in rng.integers(1, 9, 2))
    x = drawn(rng, (int(rng.integers(2, 50)), 3), str(rng.choice(DTYPES)))
    padtype = str(rng.choice(["constant", "mean", "minimum", "line", "median", "edge"]))
    if x.dtype.kind == "c" and padtype != "constant":
        padtype = "mean"
    window = rng.standard_normal(12) if seed % 3 == 0 else WINDOWS[seed % len(WINDOWS)]
    ours = signal.resample_poly(x, up, down, window=window, padtype=padtype)
    same(ours, scipy_signal.resample_poly(x, up, down, window=window, padtype=padtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero_phase", [True, False])
@pytest.mark.parametrize(("q", "n"), [(2, None), (5, 30), (7, 11)])
def test_decimate(dtype, zero_phase, q, n):
    x = drawn(np.random.default_rng(q), (3, 400), dtype)
    theirs = scipy_signal.decimate(x, q, n, "fir", zero_phase=zero_phase)
    same(signal.decimate(x, q, n, "fir", zero_phase=zero_phase), theirs)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("taps", "cutoff"), [(1, 0.5), (21, 0.3), (64, 0.9), (3201, 1 / 160)])
def test_taps_are_those_of_firwin(window, taps, cutoff):
    theirs = scipy_signal.firwin(taps, cutoff, window=window)
    ours = windows.low_pass(taps, cutoff, window)
    assert np.abs(ours - theirs).max() <= 1e-15


def test_systems_of_scipy():
    x = np.random.default_rng(0).standard_normal(100)
    system = scipy_signal.dlti(np.ones(4) / 4, [1.0])
    same(signal.decimate(x, 2, ftype=system), scipy_signal.decimate(x, 2, ftype=system))
    with pytest.raises(FaltungError, match="poles"):
        signal.decimate(x, 2, ftype=scipy_signal.dlti([1.0], [1.0, 0.5]))


def test_refusals_name_the_remedy():
    with pytest.raises(FaltungError, match="ftype='fir'"):
        signal.decimate(np.ones(30), 3)
    with pytest.raises(FaltungError, match=r"scipy\.signal\.firwin"):
        signal.resample_poly(np.ones(30), 2, 3, window=("chebwin", 50))
    with pytest.raises(FaltungError, match=r"mode='nearest'.*'edge' is meant"):
        signal.upfirdn([1.0], [1.0], mode="nearest")
    with pytest.raises(FaltungError, match="up must be an integer"):
        signal.resample_poly(np.ones(3), 1.5, 2)
    with pytest.raises(TypeError, match="q='2'"):
        signal.decimate(np.ones(3), "2", ftype="fir")


def test_numbers_wider_than_kernels():
    x = np.arange(20, dtype=np.longdouble) / 3
    h = np.arange(1, 8, dtype=np.longdouble) / 7
    for up, down in ((1, 1), (3, 2), (2, 5)):
        wide = np.zeros((x.size - 1) * up + 1, np.longdouble)
        wide[::up] = x
        made = signal.upfirdn(h, x, up, down)
        np.testing.assert_allclose(made, np.convolve(wide, h)[::down], rtol=1e-18)
