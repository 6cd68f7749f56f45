"""Sizes at the edge of what numbers can say, and memory that cannot be had."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from grid import grid
from limits import limit

import faltung

F4 = np.float32
X = np.arange(2 * 3 * 8 * 9, dtype=F4).reshape(2, 3, 8, 9) % 11
W = np.arange(4 * 3 * 3 * 3, dtype=F4).reshape(4, 3, 3, 3) % 5
G = np.ones((2, 4, 1, 1), F4)
POWERS = (20, 31, 32, 53, 59, 61, 62, 63, 64, 100)


@grid(last=[False, True], power=POWERS, every=4)
def test_a_stride_beyond_everything(power: int, last: bool) -> None:
    x, g = (np.moveaxis(a, 1, -1) if last else a for a in (X, G))
    given = {"channels_last": last}
    far, near = {"stride": 2**power, **given}, {"stride": 9, **given}
    np.testing.assert_array_equal(faltung.conv(x, W, **far), faltung.conv(x, W, **near))
    np.testing.assert_array_equal(faltung.Conv(W, **far)(x), faltung.conv(x, W, **near))
    np.testing.assert_array_equal(
        faltung.conv_input_grad(g, W, x.shape, **far),
        faltung.conv_input_grad(g, W, x.shape, **near),
    )
    np.testing.assert_array_equal(
        faltung.conv_weight_grad(x, g, W.shape, **far),
        faltung.conv_weight_grad(x, g, W.shape, **near),
    )
    np.testing.assert_array_equal(
        faltung.conv_transpose(g, W, **far), faltung.conv_transpose(g, W, **near)
    )


@pytest.mark.parametrize("power", POWERS)
def test_a_dilation_beyond_everything(power: int) -> None:
    # One tap has no distance to another.
    w, far = W[..., :1, :1], {"dilation": 2**power}
    y = faltung.conv(X, w)
    np.testing.assert_array_equal(faltung.conv(X, w, **far), y)
    np.testing.assert_array_equal(
        faltung.conv_input_grad(y, w, X.shape, **far), faltung.conv_input_grad(y, w, X.shape)
    )
    np.testing.assert_array_equal(
        faltung.conv_weight_grad(X, y, w.shape, **far), faltung.conv_weight_grad(X, y, w.shape)
    )
    # Two taps, of which every output has one inside at the most.
    if power < 60:
        x, w = np.arange(1, 6, dtype=F4).reshape(1, 1, 5), np.array([[[10, 1]]], F4)
        got = faltung.conv(x, w, padding=((2**power, 0),), **far).ravel()
        np.testing.assert_array_equal(got, x.ravel())


@pytest.mark.parametrize("power", (20, 31, 40, 59))
def test_an_axis_that_no_memory_holds(power: int) -> None:
    n = 2**power
    x, w = np.broadcast_to(F4(2), (1, 1, n)), np.array([[[1, 3, 5]]], F4)
    start = time.perf_counter()
    np.testing.assert_array_equal(faltung.conv(x, w, stride=n // 3), [[[18, 18, 18]]])
    np.testing.assert_array_equal(faltung.conv(x, w, stride=n, dilation=n // 3), [[[18]]])
    grad = faltung.conv_weight_grad(x, np.ones((1, 1, 2), F4), w.shape, dilation=n // 2 - 1)
    np.testing.assert_array_equal(grad, [[[4, 4, 4]]])
    # Most outputs, and with this stride all but one, lie in the padding.
    got = faltung.conv(x[..., :5], w[..., :2], stride=n, padding=n)
    np.testing.assert_array_equal(got, [[[0, 8, 0]]])
    assert time.perf_counter() - start < limit(5), "planning counts entries one by one"


@pytest.mark.parametrize(
    "given",
    [
        {"padding": 2**30},
        {"padding": 2**59},
        {"padding": 2**62},
        {"padding": 2**70},
        {"padding": 2**40, "padding_mode": "replicate"},
    ],
    ids=str,
)
def test_a_result_that_no_memory_holds(given: dict) -> None:
    with pytest.raises(MemoryError):
        faltung.conv(X, W, **given)
    with pytest.raises(MemoryError):
        faltung.Conv(W, **given)(X)
    assert faltung.conv(X, W).shape == (2, 4, 6, 7)


@pytest.mark.parametrize("stride", [2**36, 2**50, 2**61, 2**64])
def test_a_transpose_that_no_memory_holds(stride: int) -> None:
    with pytest.raises(MemoryError):
        faltung.conv_transpose(X, W[:3], stride=stride)
    with pytest.raises(MemoryError):
        faltung.conv_input_grad(G, W, (2, 3, 2 + stride, 9), stride=(stride, 9))


def test_scratch_that_no_memory_holds() -> None:
    # The result is small; the padded copy of the input is not.
    x = np.broadcast_to(F4(1), (1, 1, 2**44))
    with pytest.raises(MemoryError):
        faltung.conv(x, np.ones((1, 1, 3), F4), stride=2**40, padding=1, padding_mode="circular")
    np.testing.assert_array_equal(
        faltung.conv(X, W, padding=1)[:, :, 1:-1, 1:-1], faltung.conv(X, W)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory")
def test_memory_that_runs_out_is_an_error_and_no_end() -> None:
    """Under a limit, sizes around it: every call either succeeds or says MemoryError."""
    code = """
import resource, numpy as np, faltung
f4 = np.float32
w = np.ones((8, 8, 3, 3), f4)
small = np.ones((1, 8, 9, 9), f4)
layer = faltung.Conv(w, padding=1, padding_mode="reflect")
want = layer(small)
faltung.conv_weight_grad(small, want, w.shape, padding=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000,) * 2)
refused = done = 0
for side in (200, 600, 1000, 1400, 1800, 2600, 4000):
    x = np.broadcast_to(f4(1), (1, 8, side, side))
    g = np.broadcast_to(f4(1), (1, 8, side, side))
    calls = [
        lambda: layer(x),
        lambda: faltung.conv(x, w, padding=1, padding_mode="circular"),
        lambda: faltung.conv_input_grad(g, w, x.shape, padding=1, padding_mode="reflect"),
        lambda: faltung.conv_weight_grad(x, g, w.shape, padding=1, padding_mode="reflect"),
    ]
    for call in calls:
        try:
            call()
            done += 1
        except MemoryError:
            refused += 1
        assert (layer(small) == want).all()
assert done >= 4 and refused >= 4, (done, refused)
print("fine")
"""
    paths = os.pathsep.join(
        path for path in [str(Path(faltung.__file__).parents[1]), *sys.path] if path
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=limit(120),
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stdout == "fine\n", done.stdout + done.stderr


def test_many_axes() -> None:
    for rank in (4, 6, 9, 30):
        x = np.ones((1, 1, *[1] * (rank - 3), 4, 3, 5), F4)
        w = np.ones((2, 1, *[1] * (rank - 3), 2, 2, 2), F4)
        assert (faltung.conv(x, w) == 8).all()
        y = faltung.conv(x, w)
        assert y.shape == (1, 2, *[1] * (rank - 3), 3, 2, 4)
        assert faltung.conv_input_grad(y, w, x.shape).shape == x.shape
        assert faltung.conv_weight_grad(x, y, w.shape).shape == w.shape
    assert faltung.conv(np.ones((1,) * 64, F4), np.ones((1,) * 64, F4)).shape == (1,) * 64


@pytest.mark.parametrize("mode", ["replicate", "zeros"])
def test_padding_far_beyond_the_array(mode: str) -> None:
    x, w = np.array([[[1, 2, 3]]], F4), np.array([[[1, 10, 100]]], F4)
    n = 200_000
    start = time.perf_counter()
    got = faltung.conv(x, w, padding=n, padding_mode=mode).ravel()
    assert time.perf_counter() - start < limit(5)
    ends = {"replicate": (111, 333), "zeros": (0, 0)}[mode]
    assert got.size == 2 * n + 1
    assert (got[: n - 2] == ends[0]).all()
    assert (got[n + 3 :] == ends[1]).all()
    assert got[n] == 321
