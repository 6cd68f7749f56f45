"""Fourier transforms, against NumPy's."""

from typing import Any

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError
from faltung.onnx import load

onnx = optional("onnx")


def pairs(z: Any) -> Any:
    return np.stack([z.real, z.imag], -1)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("length", [5, 7, 8, 12])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_of_an_axis(axis: int, length: int, opset: int) -> None:
    """Shorter, as long and longer than the axis; of real numbers and of pairs, and back."""
    x, z = numbers(6, 7, 8, 1), numbers(6, 7, 8, 2)
    told: dict[str, Any] = {"axis": axis} if opset < 20 else {}
    more = "n" if opset < 20 else "n at"
    nodes = [
        node("DFT", f"x {more}", "a", **told),
        node("DFT", f"x {more}", "b", onesided=1, **told),
        node("DFT", f"z {more}", "c", **told),
        node("DFT", f"z {more}", "d", inverse=1, **told),
    ]
    constants = {"n": np.array(length), "at": np.array(axis)}
    shapes = {"x": (6, 7, 8, 1), "z": (6, 7, 8, 2)}
    got = load(made(nodes, shapes, ["a", "b", "c", "d"], constants, opset=opset))(x, z)
    real, both = x[..., 0].astype(float), z[..., 0] + 1j * z[..., 1].astype(float)
    want = [
        np.fft.fft(real, length, axis),
        np.fft.rfft(real, length, axis),
        np.fft.fft(both, length, axis),
        np.fft.ifft(both, length, axis),
    ]
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, pairs(theirs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [8, 9])
def test_back_from_half_a_spectrum(length: int) -> None:
    x = numbers(2, length).astype(float)
    half = pairs(np.fft.rfft(x)).astype(np.float32)
    nodes = [node("DFT", "h n", "y", axis=1, inverse=1, onesided=1)]
    data = made(nodes, {"h": half.shape}, ["y"], {"n": np.array(length)}, opset=19)
    np.testing.assert_allclose(load(data)(half)[..., 0], x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("parts", [1, 2])
def test_of_frames(parts: int, onesided: int) -> None:
    if parts == 2 and onesided:
        pytest.skip("half a spectrum of pairs says not all of it")
    x, window = numbers(3, 50, parts), np.hanning(16).astype(np.float32)
    nodes = [node("STFT", "x step window", "y", onesided=onesided)]
    constants = {"step": np.array(5), "window": window}
    got = load(made(nodes, {"x": ("N", 50, parts)}, ["y"], constants))(x)
    signal = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
    frames = np.stack([signal[:, i : i + 16] * window for i in range(0, 35, 5)], 1)
    want = np.fft.fft(frames)[..., : 9 if onesided else 16]
    np.testing.assert_allclose(got, pairs(want), rtol=1e-5, atol=1e-5)


def test_mistakes() -> None:
    data = made([node("DFT", "x", "y", axis=2)], {"x": (2, 3, 1)}, ["y"])
    with pytest.raises(FaltungError, match="axis=2: must not be the last one"):
        load(data)
    huge = made([node("DFT", "x n", "y")], {"x": (1, 4, 1)}, ["y"], {"n": np.array(1 << 40)})
    with pytest.raises(FaltungError, match="a transform of 1099511627776 entries"):
        load(huge)
