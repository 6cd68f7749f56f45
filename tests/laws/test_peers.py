"""Real numbers, as PyTorch and SciPy have them (the exact agreement is the oracle's business)."""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from grid import MACHINES, grid
from laws.layouts import back, options, real, to

import faltung
from faltung.geometry import parse

BOUND = {"float32": 3e-6, "float64": 1e-14}  # of the largest number in the result

LAYERS = [
    "n2 c3>16 33x35 k7 s2 p3",
    "n2 c16>24 14x15 k3 p1",
    "n1 c32>64 10x10 k1",
    "n2 c24>24 12x13 k5 s2 p2 g24",
    "n1 c20>12 9x11 k3 p2 d2 g4",
    "n2 c1>1 500 k31 p15",
    "n3 c4>8 60 k5 s3 p1 d2",
    "n1 c3>5 7x8x9 k3 s2x1x2 p1",
]


def close(got: np.ndarray, want: np.ndarray, dtype: str) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=BOUND[dtype] * np.abs(want).max())


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@grid(text=LAYERS, dtype=["float32", "float64"], last=[False, True])
def test_torch(torch: Any, text: str, dtype: str, last: bool) -> None:
    spec = parse(f"{text} {'f64' if dtype == 'float64' else 'f32'}")
    x, w, bias, g = real(spec)
    tx, tw, tb, tg = (torch.from_numpy(a) for a in (x, w, bias, g))
    tx.requires_grad_()
    tw.requires_grad_()
    y = getattr(torch.nn.functional, f"conv{spec.rank}d")(
        tx,
        tw,
        tb,
        stride=spec.stride,
        dilation=spec.dilation,
        groups=spec.groups,
        padding=tuple(lo for lo, _ in spec.padding),
    )
    by_x, by_w = torch.autograd.grad(y, (tx, tw), tg)
    given = {**options(spec), "channels_last": last}
    x, g = to(x, last), to(g, last)
    close(back(faltung.conv(x, w, bias, **given), last), y.detach().numpy(), dtype)
    got = faltung.conv_input_grad(g, w, x.shape, **given)
    close(back(got, last), by_x.numpy(), dtype)
    close(faltung.conv_weight_grad(x, g, w.shape, **given), by_w.numpy(), dtype)


def test_a_tensor_is_an_array(torch: Any) -> None:
    x, w = torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3)
    np.testing.assert_array_equal(faltung.conv2d(x, w), np.full((1, 3, 3, 3), 18))


MODES = {
    "zeros": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
    "circular": "grid-wrap",
}


@grid(
    shapes=[((60,), (7,)), ((21, 30), (5, 3)), ((9, 8, 7), (3,) * 3)],
    mode=MODES,
    flip=[False, True],
    machine=MACHINES,
)
def test_scipy_ndimage(
    shapes: tuple[tuple[int, ...], ...], mode: str, flip: bool, machine: object
) -> None:
    size, kernel = shapes
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(size), rng.standard_normal(kernel)
    theirs = scipy.ndimage.convolve if flip else scipy.ndimage.correlate
    want = theirs(x, w, mode=MODES[mode], cval=0.0)
    given = {"padding": "same", "padding_mode": mode, "flip": flip}
    close(faltung.conv(x[None], w[None, None], **given)[0], want, "float64")


@pytest.mark.parametrize("size", [1, 100, 10_000])
@pytest.mark.parametrize("taps", [1, 2, 101])
def test_scipy_signal(size: int, taps: int) -> None:
    rng = np.random.default_rng(size + taps)
    x, w = rng.standard_normal(size), rng.standard_normal(taps)
    got = faltung.conv1d(x[None], w[None, None], padding=taps - 1, flip=True)[0]
    close(got, scipy.signal.convolve(x, w, "full", "direct"), "float64")
