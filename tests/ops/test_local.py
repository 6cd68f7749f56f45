"""conv_local and its gradients on NumPy arrays of any layout, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import back, options, to

import faltung
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.reference.local import bias_shape, weight_shape

SPECS = [
    parse(text)
    for text in [
        "n3 c3>5 6x7 k3 p1",
        "n2 c17>18 9 k3 s2 p2",
        "n2 c4>3 5x6 k2x3 d2x1 p(1,0)x(0,2) f64",
        "n1 c2>9 4x3x5 k2 p1",
        "n1 c1>1 1 k1",
        "n0 c3>4 5x5 k3",
        "n4 c1>1 6x1 k3x1",
        "n2 c6>8 6x5 k3 p1 g2",
        "n3 c4>4 9 k3 s2 p2 g4 flip",
        "n2 c3>5 6x7 k3 p2 m:reflect",
        "n1 c2>3 5x6 k3 p2 d2 m:circular,replicate f64",
        "n13 c5>24 4x3 k2 s1x2",
    ]
]


def data(spec: ConvSpec) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    shapes = spec.input_shape, weight_shape(spec), bias_shape(spec), spec.output_shape
    return tuple(rng.integers(-4, 5, shape).astype(spec.dtype) for shape in shapes)


@grid(spec=SPECS, channels_last=[False, True], machine=MACHINES, every=4)
def test_exact(spec: ConvSpec, channels_last: bool, machine: object) -> None:
    x, w, bias, g = data(spec)
    given = {**options(spec), "channels_last": channels_last}
    x_in, g_in = to(x, channels_last), to(g, channels_last)
    got = faltung.conv_local(x_in, w, bias, **given)
    np.testing.assert_array_equal(back(got, channels_last), reference.local(x, w, bias, spec))
    got = faltung.conv_local_input_grad(g_in, w, x_in.shape, **given)
    want = reference.local_input_grad(g, w, spec)
    np.testing.assert_array_equal(back(got, channels_last), want)
    got = faltung.conv_local_weight_grad(x_in, g_in, w.shape, **given)
    np.testing.assert_array_equal(got, reference.local_weight_grad(x, g, spec))


def test_any_strides_and_out() -> None:
    spec = SPECS[0]
    x, w, bias, g = data(spec)
    wide = np.full((3, 8, 7, 8), np.nan, np.float32)
    for view in (wide[:, :6, :, 2:5].transpose(0, 3, 1, 2), wide[::-1, 1:7, ::-1, 5:2:-1].T):
        view = view if view.shape == x.shape else view.T.transpose(0, 3, 1, 2)
        view[...] = x
        want = reference.local(x, w, bias, spec)
        turned = np.asfortranarray(w[..., ::-1, :])[..., ::-1, :]
        given = options(spec)
        np.testing.assert_array_equal(faltung.conv_local(view, turned, bias, **given), want)
        out = np.full((5, 3, 6, 14), np.nan, np.float32)[..., ::2].transpose(1, 0, 2, 3)
        assert faltung.conv_local(view, w, bias, out=out, **given) is out
        np.testing.assert_array_equal(out, want)
        by_x = reference.local_input_grad(g, w, spec)
        faltung.conv_local_input_grad(g, w, x.shape, out=view, **given)
        np.testing.assert_array_equal(view, by_x)
    by_w = np.full(w.shape[::-1], np.nan, np.float32).T
    faltung.conv_local_weight_grad(x, g, w.shape, out=by_w, **options(spec))
    np.testing.assert_array_equal(by_w, reference.local_weight_grad(x, g, spec))


def test_alone_without_a_batch() -> None:
    x, w, bias, g = data(SPECS[0])
    given = options(SPECS[0])
    together = faltung.conv_local(x, w, bias, **given)
    assert faltung.conv_local(x[1], w, bias, **given).tobytes() == together[1].tobytes()
    by_x = faltung.conv_local_input_grad(g[1], w, x.shape[1:], **given)
    assert by_x.shape == x.shape[1:]
    np.testing.assert_array_equal(
        faltung.conv_local_weight_grad(x[1], g[1], w.shape, **given),
        reference.local_weight_grad(x[1:2], g[1:2], parse("c3>5 6x7 k3 p1")),
    )


def test_with_one_kernel_everywhere_it_is_a_convolution() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 8, 9, 7)).astype(np.float32)
    w = rng.standard_normal((20, 8, 3, 3)).astype(np.float32)
    repeated = reference.local_from_conv(w, (9, 7)).astype(np.float32)
    got = faltung.conv_local(x, repeated, padding="same")
    np.testing.assert_allclose(got, faltung.conv(x, w, padding="same"), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_same_bits(threads: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((9, 5, 12, 11)).astype(np.float32)
    w = rng.standard_normal((12, 11, 18, 5, 3, 3)).astype(np.float32)
    before = faltung.get_threads()
    try:
        results = []
        for number in (1, threads):
            faltung.set_threads(number)
            y = faltung.conv_local(x, w, padding=1)
            results.append(
                (
                    y.tobytes(),
                    faltung.conv_local_input_grad(y, w, x.shape, padding=1).tobytes(),
                    faltung.conv_local_weight_grad(x, y, w.shape, padding=1).tobytes(),
                )
            )
        assert results[0] == results[1]
    finally:
        faltung.set_threads(before)


def test_transposed_is_the_gradient_for_the_input(machine: object) -> None:
    spec = parse("n2 c4>6 7x8 k3 s2 p1 g2")  # its transpose has 6 channels in, 4 out
    _, w, _, g = data(spec)
    rng = np.random.default_rng(5)
    bias = rng.integers(-4, 5, (*spec.size, 4)).astype(np.float32)
    want = reference.local_input_grad(g, w, spec) + np.moveaxis(bias, -1, 0)
    given = {"stride": 2, "padding": 1, "output_padding": (0, 1), "groups": 2}
    got = faltung.conv_local_transpose(g, w, bias, **given)
    np.testing.assert_array_equal(got, want)
    last = faltung.conv_local_transpose(to(g, True), w, bias, channels_last=True, **given)
    np.testing.assert_array_equal(back(last, True), want)


def test_packed_weights_are_the_same_and_read_in_place() -> None:
    spec = SPECS[0]
    x, w, bias, g = data(spec)
    packed = faltung.pack_local(w)
    np.testing.assert_array_equal(packed, w)
    assert faltung.pack_local(packed).strides == packed.strides != w.strides
    got = faltung.conv_local(x, packed, bias, **options(spec))
    assert got.tobytes() == faltung.conv_local(x, w, bias, **options(spec)).tobytes()
    assert faltung.conv_local_weight_grad(x, g, w.shape, padding=1).strides == packed.strides


X, W = np.ones((2, 3, 5, 5), np.float32), np.ones((3, 3, 4, 3, 3, 3), np.float32)
FORM = "must be (*output, C_out, C_in // groups, *kernel), an even number of sizes, at least 4"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: faltung.conv_local(X, W[0]), ValueError, f"weight.shape=(3, 4, 3, 3, 3): {FORM}"),
        (
            lambda: faltung.conv_local(X, W[:2]),
            ValueError,
            "weight.shape=(2, 3, 4, 3, 3, 3): must begin with the output sizes, (3, 3)",
        ),
        (
            lambda: faltung.conv_local(X, W[:, :, :, :2]),
            ValueError,
            "weight.shape[2:]=(4, 2, 3, 3): its second entry must be channels_in // groups = "
            "3 // 1",
        ),
        (
            lambda: faltung.conv_local(X, W, np.ones(4, np.float32)),
            ValueError,
            "bias.shape=(4,): must be (3, 3, 4), (*output, C_out)",
        ),
        (
            lambda: faltung.conv_local(X, W.astype(np.float64)),
            TypeError,
            "weight.dtype=float64: must be that of the other arrays, float32; "
            "pass weight.astype('float32')",
        ),
        (
            lambda: faltung.conv_local(X, W, stride=0),
            ValueError,
            "stride=0: every stride must be at least 1",
        ),
        (
            lambda: faltung.conv_local_input_grad(X, W, X.shape),
            ValueError,
            "grad.shape=(2, 3, 5, 5) as (N, C, *space): must be that of the output, (2, 4, 3, 3)",
        ),
        (
            lambda: faltung.conv_local_weight_grad(X, X[:, :, 2:, 2:], W.shape[1:]),
            ValueError,
            f"weight_shape=(3, 4, 3, 3, 3): {FORM}",
        ),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text
