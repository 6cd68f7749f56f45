"""Dense, local, convolution: one map in three forms, there and back."""

import re
from math import prod

import numpy as np
import pytest
from laws.layouts import options

import faltung
from faltung import reference
from faltung.geometry import ConvSpec, parse

SPECS = [
    parse(text)
    for text in [
        "c3>5 6x7 k3 p1",
        "c2>4 9 k3 s2 p2 f64",
        "c4>6 5x6 k2x3 d2x1 p(1,0)x(0,2) g2",
        "c1>2 4x3x5 k2 p1 flip",
        "c3>3 8 k3 p1 m:reflect g3",
        "c2>3 5x6 k3 p1 m:circular flip",
        "c1>1 3 k3 p(4,5)",
    ]
]


def weights(spec: ConvSpec) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(1, 9, spec.weight_shape).astype(spec.dtype)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_down_as_the_reference(spec: ConvSpec) -> None:
    w, shape, given = weights(spec), spec.input_shape[1:], options(spec)
    local = faltung.conv_to_local(w, shape, **given)
    np.testing.assert_array_equal(local, reference.local_from_conv(w, spec.output))
    matrix = faltung.local_to_dense(local, spec.input_shape, **given)
    np.testing.assert_array_equal(matrix, reference.dense_from_local(local, spec))
    np.testing.assert_array_equal(matrix, faltung.conv_to_dense(w, shape, **given))
    assert local.dtype == matrix.dtype == w.dtype
    x = np.random.default_rng(1).integers(-4, 5, spec.input_shape).astype(spec.dtype)
    want = (matrix @ x.ravel()).reshape(spec.output_shape)
    np.testing.assert_array_equal(faltung.conv(x, w, **given), want)
    np.testing.assert_array_equal(faltung.conv_local(x, local, **given), want)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_and_up_again(spec: ConvSpec) -> None:
    w, shape, given = weights(spec), spec.input_shape[1:], options(spec)
    local = faltung.conv_to_local(w, shape, **given)
    np.testing.assert_array_equal(
        faltung.local_to_conv(local, shape, **given), np.where(reads(spec), w, 0)
    )
    matrix = faltung.local_to_dense(local, shape, **given)
    again = faltung.dense_to_local(matrix, shape, spec.channels_out, spec.kernel, **given)
    np.testing.assert_array_equal(faltung.local_to_dense(again, shape, **given), matrix)
    if "reflect" in spec.padding_mode:
        with pytest.raises(ValueError, match="two taps of a window read the same input"):
            faltung.dense_to_conv(matrix, shape, spec.channels_out, spec.kernel, **given)
        return
    got = faltung.dense_to_conv(matrix, shape, spec.channels_out, spec.kernel, **given)
    np.testing.assert_array_equal(got, np.where(reads(spec), w, 0))


def reads(spec: ConvSpec) -> np.ndarray:
    """Which taps read an input at one position at least."""
    ones = np.ones(spec.output_shape, spec.dtype)
    x = np.ones(spec.input_shape, spec.dtype)
    return reference.conv_weight_grad(x, ones, spec) != 0


def test_the_first_entry_that_is_not_local() -> None:
    spec = parse("c2>2 4x5 k3 p1")
    matrix = faltung.conv_to_dense(weights(spec), spec.input_shape, padding=1)
    matrix[6, 13] = 0.5
    text = (
        "matrix[6, 13]=0.5: must be 0, the output at (1, 1) of channel 0 does not see the input at "
        "(2, 3) of channel 0"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        faltung.dense_to_local(matrix, (2, 4, 5), 2, (3, 3), padding=1)


def test_the_first_weight_that_is_not_shared() -> None:
    spec = parse("c2>2 4x5 k3 p1")
    local = faltung.conv_to_local(weights(spec), spec.input_shape, padding=1)
    local[0, 0, 1, 1, 0, 0] = np.nan  # reads zeros of the padding: it says nothing
    faltung.local_to_conv(local, (2, 4, 5), padding=1)
    local[2, 3, 1, 0, 1, 2] = 77
    want = float(local[0, 0, 1, 0, 1, 2])
    text = (
        f"weight[2, 3, 1, 0, 1, 2]=77.0: must be {want}, that of weight[0, 0, 1, 0, 1, 2], as a "
        "convolution shares its kernel"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        faltung.local_to_conv(local, (2, 4, 5), padding=1)


def test_what_they_refuse() -> None:
    w = np.ones((2, 2, 3, 3), np.float32)
    with pytest.raises(ValueError, match=re.escape("matrix.shape=(3, 4): must be (24, 40)")):
        faltung.dense_to_local(np.ones((3, 4), np.float32), (2, 4, 5), 2, (3, 3), padding=(1, 0))
    with pytest.raises(ValueError, match="must begin with the output sizes, "):
        faltung.local_to_dense(np.ones((3, 3, *w.shape), np.float32), (2, 4, 5))
    with pytest.raises(TypeError, match="strides"):
        faltung.conv_to_local(w, (2, 4, 5), strides=1)


def test_the_ladder_counts_what_the_arrays_hold() -> None:
    spec = parse("c3>4 6x5 k3 p1")
    w, shape = weights(spec), spec.input_shape[1:]
    ladder = spec.ladder()
    assert ladder.conv == w.size
    assert ladder.local == faltung.conv_to_local(w, shape, padding=1).size
    assert ladder.dense == faltung.conv_to_dense(w, shape, padding=1).size
    assert prod(spec.output) == ladder.local // ladder.conv
