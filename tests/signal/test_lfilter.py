"""FIR filters with SciPy's state."""

import numpy as np
import pytest
from signals import drawn, same

from faltung import FaltungError, signal

scipy_signal = pytest.importorskip("scipy.signal")


@pytest.mark.parametrize("seed", range(40))
def test_random_calls(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 12, int(rng.integers(1, 4))))
    axis = int(rng.integers(-len(shape), len(shape)))
    dtype = str(rng.choice(["float32", "float64", "complex64", "complex128"]))
    taps = int(rng.integers(1, 9)) if seed % 8 else 400
    b, x = drawn(rng, (taps,), dtype), drawn(rng, shape, dtype)
    divisor = np.array([2.0], dtype)
    same(signal.lfilter(b, divisor, x, axis), scipy_signal.lfilter(b, divisor, x, axis))
    state = list(shape)
    state[axis] = taps - 1
    zi = drawn(rng, tuple(state), dtype)
    ours = signal.lfilter(b, divisor, x, axis, zi)
    for made, theirs in zip(ours, scipy_signal.lfilter(b, divisor, x, axis, zi), strict=True):
        same(made, theirs)


def test_state_carries_from_block_to_block():
    rng = np.random.default_rng(0)
    b, x = rng.standard_normal(9), rng.standard_normal((2, 50))
    state, parts = np.zeros((1, 8)), []
    for block in np.split(x, [3, 4, 30], axis=1):
        made, state = signal.lfilter(b, 1, block, zi=state)
        parts.append(made)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), signal.lfilter(b, 1, x), rtol=1e-12)


def test_refusals():
    with pytest.raises(FaltungError, match=r"scipy\.signal\.lfilter"):
        signal.lfilter([1.0], [1.0, -0.5], [1.0])
    with pytest.raises(NotImplementedError, match="int64"):
        signal.lfilter([1], [1], [1])
    with pytest.raises(FaltungError, match=r"expected .2, 2., found .2, 3."):
        signal.lfilter([1.0, 2.0, 3.0], 1.0, np.ones((2, 5)), zi=np.ones((2, 3)))
    assert signal.lfilter([1.0, 2.0], [2.0, 0.0], [2.0, 2.0]).tolist() == [1.0, 3.0]
