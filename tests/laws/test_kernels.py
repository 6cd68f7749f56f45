"""Compiled code against the float64 reference: the whole table, every machine, exact.

The data are small integers, so that every sum is exact in float32 whatever its order.
"""

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from laws.layouts import back, one_if_narrow, options, to

import faltung
from cases import CASES, Case, integers, random_specs
from faltung import reference
from faltung.geometry import ConvSpec


def check(spec: ConvSpec, channels_last: bool) -> None:
    x, w, bias, g = integers(spec)
    given = {**options(spec), "channels_last": channels_last, "precision": "strict"}
    x_in, g_in = to(x, channels_last), to(g, channels_last)
    forward = reference.conv(x, w, bias, spec)
    np.testing.assert_array_equal(
        back(faltung.conv(x_in, w, bias, **given), channels_last), forward
    )
    layer = faltung.Conv(w, bias, **given)
    np.testing.assert_array_equal(back(layer(x_in), channels_last), forward)
    np.testing.assert_array_equal(
        back(faltung.conv_input_grad(g_in, w, x_in.shape, **given), channels_last),
        reference.conv_input_grad(g, w, spec),
    )
    np.testing.assert_array_equal(
        faltung.conv_weight_grad(x_in, g_in, w.shape, **given),
        reference.conv_weight_grad(x, g, spec),
    )


@grid(case=CASES, last=[False, True], machine=MACHINES, where=one_if_narrow)
def test_table(case: Case, last: bool, machine: object) -> None:
    check(case.spec, last)


@given(random_specs(max_macs=100_000))
def test_random_problems(spec: ConvSpec) -> None:
    check(spec, False)
    check(spec, True)


TRANSPOSED = [
    ((2, 4, 5, 6), (4, 3, 3, 2), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((1, 6, 7), (6, 2, 5), {"stride": 3, "groups": 2, "dilation": 2, "output_padding": 2}),
    ((2, 3, 4, 4, 3), (3, 17, 2, 3, 1), {"stride": (1, 2, 3), "padding": (0, 1, 0)}),
    ((3, 8, 9), (8, 8, 1), {"stride": 4, "output_padding": 3}),
]


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize(("x_shape", "w_shape", "given"), TRANSPOSED)
def test_transposed_agrees_with_pytorch(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], given: dict, channels_last: bool
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x = rng.integers(-4, 5, x_shape).astype(np.float64)
    w = rng.integers(-4, 5, w_shape).astype(np.float64)
    channels = w_shape[1] * given.get("groups", 1)
    bias = rng.integers(-4, 5, channels).astype(np.float64)
    rank = len(x_shape) - 2
    want = getattr(torch.nn.functional, f"conv_transpose{rank}d")(
        *map(torch.from_numpy, (x, w, bias)), **given
    ).numpy()
    got = faltung.conv_transpose(
        to(x, channels_last), w, bias, channels_last=channels_last, **given
    )
    np.testing.assert_array_equal(back(got, channels_last), want)


@pytest.mark.parametrize("mode", ["reflect", "circular", "replicate", "symmetric"])
def test_transposed_with_a_mode_is_the_transpose(mode: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-4, 5, (2, 3, 6, 5)).astype(np.float32)
    w = rng.integers(-4, 5, (3, 4, 3, 3)).astype(np.float32)
    bias = rng.integers(-4, 5, 4).astype(np.float32)
    given = {"padding": 1, "padding_mode": mode}
    got = faltung.conv_transpose(x, w, bias, **given)
    want = faltung.conv_input_grad(x, w, (2, 4, 6, 5), **given) + bias[:, None, None]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_scipy(dtype: str) -> None:
    from scipy import ndimage, signal

    rng = np.random.default_rng(3)
    x = rng.integers(-8, 9, (40, 33)).astype(dtype)
    w = rng.integers(-8, 9, (5, 3)).astype(dtype)
    got = faltung.conv(x[None], w[None, None])[0]
    np.testing.assert_array_equal(got, signal.correlate(x, w, "valid", method="direct"))
    got = faltung.conv(x[None], w[None, None], padding="same", padding_mode="symmetric")[0]
    np.testing.assert_array_equal(got, ndimage.correlate(x, w, mode="reflect"))
    got = faltung.conv(x[None], w[None, None], padding=(4, 2), flip=True)[0]
    np.testing.assert_array_equal(got, signal.convolve2d(x, w, "full"))
