"""Many kernels, many channels."""

import numpy as np
import pytest

from faltung import FaltungError, signal


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("axis", [0, -1])
def test_every_channel_meets_every_kernel(dtype, mode, axis):
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, (2, 3, 50)).astype(dtype)
    bank = rng.integers(-9, 9, (4, 7)).astype(dtype)
    made = signal.filter_bank(np.moveaxis(x, -1, axis), bank, axis=axis, mode=mode)
    made = np.moveaxis(made, axis + 1 if axis >= 0 else axis, -1)
    for k, kernel in enumerate(bank):
        for i in range(2):
            for j in range(3):
                np.testing.assert_allclose(made[k, i, j], np.convolve(x[i, j], kernel, mode))
    single = signal.filter_bank(x, bank[1], mode=mode, strict=True)
    np.testing.assert_allclose(single, made[1])


def test_shapes_are_checked():
    with pytest.raises(FaltungError, match=r"kernels\.shape"):
        signal.filter_bank(np.ones(4), np.ones((1, 1, 3)))
    with pytest.raises(IndexError, match="axis=3"):
        signal.filter_bank(np.ones(4), np.ones(3), axis=3)
    with pytest.raises(FaltungError, match="valid"):
        signal.filter_bank(np.ones(4), np.ones(5), mode="valid")
