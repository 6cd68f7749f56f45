"""Any strides, any form of the arguments, and every refusal in words."""

import numpy as np
import pytest
from grid import grid

import faltung
from faltung import reference
from faltung.geometry import conv_spec


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-6, 7, shape).astype(dtype)


def want(x: np.ndarray, w: np.ndarray, **given: object) -> np.ndarray:
    return reference.conv(x, w, None, conv_spec(x.shape, w.shape, **given))  # type: ignore[arg-type]


VIEWS = {
    "reversed": lambda a: a[:, :, ::-1, ::-1],
    "every other": lambda a: a[:, :, ::2, ::3],
    "every other channel": lambda a: a[:, ::2],
    "transposed": lambda a: a.transpose(0, 1, 3, 2),
    "channels last inside": lambda a: np.moveaxis(
        np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1
    ),
    "fortran": np.asfortranarray,
    "broadcast channel": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "broadcast row": lambda a: np.broadcast_to(a[:, :, :1], a.shape),
    "batch reversed": lambda a: a[::-1],
}


@grid(channels_out=[1, 24], name=VIEWS, every=4)
def test_any_strides(name: str, channels_out: int) -> None:
    x = VIEWS[name](numbers(3, 8, 18, 20))
    x.flags.writeable = False
    w = numbers(channels_out, x.shape[1], 3, 3)[:, :, ::-1]
    g = numbers(*want(x, w, padding=1).shape)
    exact = {"padding": 1, "precision": "strict"}
    np.testing.assert_array_equal(faltung.conv(x, w, **exact), want(x, w, padding=1))
    spec = conv_spec(x.shape, w.shape, padding=1)
    by_w = reference.conv_weight_grad(x, g, spec)
    np.testing.assert_array_equal(faltung.conv_weight_grad(x, g, w.shape, **exact), by_w)
    got = faltung.conv_weight_grad(x, g, w.shape, padding=1)
    np.testing.assert_allclose(got, by_w, rtol=0, atol=1e-5 * np.abs(by_w).max())
    view = VIEWS[name](numbers(3, channels_out * (1 + ("other ch" in name)), 18, 20))
    if view.shape == g.shape:
        np.testing.assert_array_equal(
            faltung.conv_input_grad(view, w, x.shape, **exact),
            reference.conv_input_grad(view, w, spec),
        )


def test_misaligned_and_lists() -> None:
    raw = np.zeros(4 * 60 + 1, np.uint8)
    x = raw[1:].view(np.float32).reshape(1, 3, 20)
    x[...] = numbers(1, 3, 20)
    assert not x.flags.aligned
    w = numbers(2, 3, 3)
    np.testing.assert_array_equal(faltung.conv(x, w), want(x, w))
    got = faltung.conv1d([[[1.0, 2.0, 4.0]]], [[[1.0, 1.0]]])
    np.testing.assert_array_equal(got, [[[3.0, 6.0]]])


def test_without_a_batch_and_empty_ones() -> None:
    x, w = numbers(3, 9, 9), numbers(4, 3, 3, 3)
    np.testing.assert_array_equal(faltung.conv(x, w), want(x[None], w)[0])
    none = faltung.conv(np.zeros((0, 3, 9, 9), np.float32), w)
    assert none.shape == (0, 4, 7, 7)
    assert faltung.conv_input_grad(none, w, (0, 3, 9, 9)).shape == (0, 3, 9, 9)
    grad = faltung.conv_weight_grad(np.zeros((0, 3, 9, 9), np.float32), none, w.shape)
    np.testing.assert_array_equal(grad, np.zeros_like(w))


@pytest.mark.parametrize("channels_last", [False, True])
def test_out(channels_last: bool) -> None:
    x = numbers(2, 9, 10, 5) if channels_last else numbers(2, 5, 9, 10)
    w = numbers(7, 5, 3, 3)
    plain = faltung.conv(x, w, channels_last=channels_last)
    wide = np.full((2, *(2 * n for n in plain.shape[1:])), np.nan, np.float32)
    view = wide[:, ::2, 1::2, ::2]
    assert faltung.conv(x, w, channels_last=channels_last, out=view) is view
    np.testing.assert_array_equal(view, plain)
    assert np.isnan(wide).sum() == wide.size - plain.size  # nothing beside it was written
    back = np.full(x.shape, np.nan, np.float32)[::-1]
    faltung.conv_input_grad(plain, w, x.shape, channels_last=channels_last, out=back)
    want_back = faltung.conv_input_grad(plain, w, x.shape, channels_last=channels_last)
    np.testing.assert_array_equal(back, want_back)


X, W = numbers(2, 4, 9, 9), numbers(6, 4, 3, 3)
OUT = np.zeros((2, 6, 7, 7), np.float32)
LOCKED = OUT.copy()
LOCKED.flags.writeable = False
BAD = {
    "rank of x": (lambda: faltung.conv(X[0, 0], W), "x.shape=(9, 9)"),
    "rank of weight": (lambda: faltung.conv(X, W[0, 0]), "weight.shape=(3, 3)"),
    "channels": (lambda: faltung.conv(X[:, :3], W), "weight.shape=(6, 4, 3, 3)"),
    "dtype of x": (lambda: faltung.conv(X.astype(np.int16), W), "x.dtype=int16"),
    "half": (lambda: faltung.conv(X.astype(np.float16), W), "weight.dtype=float32"),
    "half local": (lambda: faltung.conv_local(X.astype(np.float16), W), "x.dtype=float16"),
    "byte order": (lambda: faltung.conv(X.astype(">f4"), W), "x.dtype=>f4"),
    "masked": (lambda: faltung.conv(np.ma.masked_equal(X, 0), W), "x: must not be a masked"),
    "dtypes differ": (lambda: faltung.conv(X, W.astype(np.float64)), "weight.dtype=float64"),
    "bias dtype": (lambda: faltung.conv(X, W, np.zeros(6)), "bias.dtype=float64"),
    "bias shape": (lambda: faltung.conv(X, W, np.zeros(5, np.float32)), "bias.shape=(5,)"),
    "groups": (lambda: faltung.conv(X, W, groups=3), "groups=3"),
    "groups 0": (lambda: faltung.conv(X, W, groups=0), "groups=0"),
    "stride 0": (lambda: faltung.conv(X, W, stride=0), "stride=0"),
    "stride negative": (lambda: faltung.conv(X, W, stride=(1, -2)), "stride=(1, -2)"),
    "stride float": (lambda: faltung.conv(X, W, stride=1.0), "stride=1.0"),
    "stride bool": (lambda: faltung.conv(X, W, stride=True), "stride=True"),
    "strides": (lambda: faltung.conv(X, W, stride=(1, 1, 1)), "stride=(1, 1, 1)"),
    "dilation": (lambda: faltung.conv(X, W, dilation=-1), "dilation=-1"),
    "kernel too large": (lambda: faltung.conv(X, W, dilation=5), "kernel=3"),
    "padding": (lambda: faltung.conv(X, W, padding=-1), "padding=-1"),
    "padding name": (lambda: faltung.conv(X, W, padding="full"), "padding='full'"),
    "reflect": (lambda: faltung.conv(X, W, padding=9, padding_mode="reflect"), "reflect padding"),
    "mode": (lambda: faltung.conv(X, W, padding_mode="mirror"), "padding_mode='mirror'"),
    "modes": (lambda: faltung.conv(X, W, padding_mode=("zeros",) * 3), "padding_mode="),
    "out shape": (lambda: faltung.conv(X, W, out=OUT[:1]), "out.shape=(1, 6, 7, 7)"),
    "out dtype": (lambda: faltung.conv(X, W, out=OUT.astype(float)), "out.dtype=float64"),
    "out type": (lambda: faltung.conv(X, W, out=[1]), "out=list"),
    "out locked": (lambda: faltung.conv(X, W, out=LOCKED), "out: must be writable"),
    "out is x": (lambda: faltung.conv(X, W[:4, :, :1, :1], out=X), "out: must not overlap x"),
    "out in x": (lambda: faltung.conv(X, W[:3, :, :1, :1], out=X[:, 1:]), "must not overlap x"),
    "out on itself": (
        lambda: faltung.conv(X, W, out=np.lib.stride_tricks.as_strided(OUT, OUT.shape, (4,) * 4)),
        "out.strides=(4, 4, 4, 4)",
    ),
    "conv1d": (lambda: faltung.conv1d(X, W), "weight.shape=("),
    "conv3d": (lambda: faltung.conv3d(X, W), "weight.shape=("),
    "grad shape": (lambda: faltung.conv_input_grad(OUT, W, (2, 4, 8, 9)), "grad.shape="),
    "input_shape": (lambda: faltung.conv_input_grad(OUT, W, (9, 9)), "input_shape=(9, 9)"),
    "weight_shape": (lambda: faltung.conv_weight_grad(X, OUT, (6, 4)), "weight_shape=(6, 4)"),
    "no batch": (lambda: faltung.conv_weight_grad(X, OUT[0], W.shape), "grad.shape="),
    "output_padding": (
        lambda: faltung.conv_transpose(OUT, W, output_padding=1),
        "output_padding=1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str) -> None:
    call, text = BAD[name]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    message = str(error.value)
    assert text in message
    assert "\n" not in message


def test_what_cannot_be_allocated() -> None:
    x = np.broadcast_to(np.float32(1), (1, 1, 2**40))
    with pytest.raises(MemoryError):
        faltung.conv(x, np.ones((8, 1, 1), np.float32))
    np.testing.assert_array_equal(faltung.conv(X, W), want(X, W))  # and all still works


def test_interleaved_out_does_not_count_as_overlap() -> None:
    both = np.zeros((2, 1, 4, 9), np.float32)
    both[0] = numbers(1, 4, 9)
    wide = np.zeros((1, 4, 18), np.float32)
    x, out = wide[:, :, ::2], wide[:, :, 1::2]
    x[...] = numbers(1, 4, 9)
    w = numbers(4, 4, 1)
    faltung.conv(x, w, out=out)
    np.testing.assert_array_equal(out, want(x.copy(), w))
