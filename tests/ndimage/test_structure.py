"""Structuring elements that are not flat, beside SciPy's."""

from typing import Any

import numpy as np
import pytest

from faltung import ndimage

scipy_ndimage = pytest.importorskip("scipy.ndimage")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "mirror", "wrap"])
@pytest.mark.parametrize("name", ["grey_dilation", "grey_erosion"])
def test_as_scipy(name: str, mode: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(20, 90, (11, 13)).astype(dtype)
    structure = rng.integers(-5, 9, (4, 3))
    footprint = rng.random((4, 3)) < 0.7
    for more in ({}, {"footprint": footprint}, {"origin": (1, -1)}):
        named = {"structure": structure, "mode": mode, "cval": 40, **more}
        want = getattr(scipy_ndimage, name)(x, **named)
        np.testing.assert_array_equal(getattr(ndimage, name)(x, **named), want)


def test_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((50, 20))
    structure = np.ones((5, 3))
    want = ndimage.grey_dilation(x, structure=structure)
    monkeypatch.setattr("faltung.ndimage.structure.BLOCK", 70)
    np.testing.assert_array_equal(ndimage.grey_dilation(x, structure=structure), want)


def test_an_array_without_axes() -> None:
    assert ndimage.grey_dilation(3.0, structure=2.0) == 5.0
