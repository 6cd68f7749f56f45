"""Padding with a constant, against arrays that hold their border."""

from typing import Any

import numpy as np
import pytest

import faltung

DTYPES = ["float32", "float64", "float16", "int32", "int64", "complex64", "complex128"]


def some(dtype: str, *shape: int) -> Any:
    rng = np.random.default_rng(3)
    made = rng.integers(-5, 6, shape) + (1j * rng.integers(-5, 6, shape) if dtype[0] == "c" else 0)
    return made.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str) -> None:
    x, w, b = some(dtype, 2, 4, 6, 7), some(dtype, 6, 2, 3, 2), some(dtype, 6)
    value = 2 - 3j if dtype[0] == "c" else 3
    whole = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)), constant_values=value)
    how: dict[str, Any] = {"groups": 2, "stride": (2, 1)}
    border: dict[str, Any] = {"padding": (1, 2), "padding_mode": "constant", "padding_value": value}
    y = faltung.conv(x, w, b, **how, **border)
    for _ in range(2):  # also where the call is remembered
        assert np.array_equal(y, faltung.conv(whole, w, b, **how))
    assert np.array_equal(
        faltung.conv_weight_grad(x, y, w.shape, **how, **border),
        faltung.conv_weight_grad(whole, y, w.shape, **how),
    )
    assert np.array_equal(
        faltung.conv_input_grad(y, w, x.shape, **how, **border),
        faltung.conv_input_grad(y, w, x.shape, **how, padding=(1, 2)),
    )


def test_local_layers() -> None:
    x, w, b = some("float64", 2, 3, 6), some("float64", 6, 4, 3, 3), some("float64", 6, 4)
    whole = np.pad(x, ((0, 0), (0, 0), (1, 1)), constant_values=-2.5)
    border: dict[str, Any] = {"padding": 1, "padding_mode": "constant", "padding_value": -2.5}
    y = faltung.conv_local(x, w, b, **border)
    assert np.array_equal(y, faltung.conv_local(whole, w, b))
    assert np.array_equal(
        faltung.conv_local_weight_grad(x, y, w.shape, **border),
        faltung.conv_local_weight_grad(whole, y, w.shape),
    )
    assert np.array_equal(
        faltung.conv_local_input_grad(y, w, x.shape, **border),
        faltung.conv_local_input_grad(y, w, x.shape, padding=1),
    )


def test_axes_of_their_own_and_channels_last() -> None:
    x, w = some("float64", 2, 5, 6, 3), some("float64", 4, 3, 3, 3)
    first = np.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), constant_values=0.5)
    whole = np.pad(first, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="wrap")
    made = faltung.conv2d(
        x,
        w,
        padding=((1, 2), 2),
        padding_mode=("constant", "circular"),
        padding_value=0.5,
        channels_last=True,
    )
    assert np.allclose(made, faltung.conv2d(whole, w, channels_last=True), rtol=1e-13)


def test_a_call_after_another() -> None:
    x, w = some("float32", 1, 1, 9), some("float32", 1, 1, 3)
    for value in (1, 2.5, 0, -1.0, 1):
        whole = np.pad(x, ((0, 0), (0, 0), (1, 1)), constant_values=value)
        made = faltung.conv(x, w, padding=1, padding_mode="constant", padding_value=value)
        assert np.array_equal(made, faltung.conv(whole, w))
        x = x + 1


@pytest.mark.parametrize(
    ("dtype", "how", "kind", "message"),
    [
        (
            "float32",
            {"padding_mode": "zeros", "padding_value": 1.0},
            ValueError,
            "padding_value=1.0: needs padding_mode=",
        ),
        ("float32", {"padding_value": "a"}, TypeError, "padding_value='a': must be a number"),
        ("float32", {"padding_value": [1, 2]}, TypeError, "padding_value=[1, 2]: must be a number"),
        ("float32", {"padding_value": None}, TypeError, "padding_value=None: must be a number"),
        ("float32", {"padding_value": 1j}, TypeError, "padding_value=1j: must be re"),
        ("int32", {"padding_value": 0.5}, ValueError, "padding_value=0.5: must be a"),
        ("int32", {"padding_value": 2**31}, ValueError, "padding_value=2147483648: "),
        ("int64", {"padding_value": np.nan}, ValueError, "padding_value=nan: must "),
    ],
)
def test_mistakes(dtype: str, how: dict[str, Any], kind: type[Exception], message: str) -> None:
    x, w = some(dtype, 1, 1, 9), some(dtype, 1, 1, 3)
    how = {"padding_mode": "constant", **how}
    with pytest.raises(kind) as error:
        faltung.conv(x, w, padding=1, **how)
    assert str(error.value).startswith(message) and isinstance(error.value, faltung.FaltungError)
