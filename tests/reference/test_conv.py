"""The oracle by hand and by the formula, one output at a time."""

import itertools

import numpy as np
import pytest
from grid import grid

from cases import CASES, Case, integers
from faltung import reference
from faltung.geometry import Axis, ConvSpec, parse, transposed

NUMPY_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


def by_definition(x: np.ndarray, w: np.ndarray, spec: ConvSpec, n: int, c: int, o: tuple) -> float:  # type: ignore[type-arg]
    """One output: the sum over input channels and taps, straight from the definition."""
    per_in, per_out = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    total = 0.0
    for a, tap in itertools.product(range(per_in), np.ndindex(spec.kernel)):
        where = [
            axis.source(at * axis.stride + k * axis.dilation - axis.lo)
            for axis, at, k in zip(spec.axes, o, tap, strict=True)
        ]
        if None in where:
            continue
        weight = tuple(h - 1 - k for h, k in zip(spec.kernel, tap, strict=True))
        total += (
            x[(n, c // per_out * per_in + a, *where)] * w[(c, a, *(weight if spec.flip else tap))]
        )
    return total


@grid(case=[case for case in CASES if case.spec.batch], every=1)
def test_some_outputs_by_definition(case: Case) -> None:
    spec = case.spec
    x, w, bias, _ = integers(case)
    y = reference.conv(x, w, bias, spec)
    assert y.shape == spec.output_shape
    assert y.dtype == np.float64
    rng = np.random.default_rng(1)
    corners = [(0,) * y.ndim, tuple(size - 1 for size in y.shape)]
    for n, c, *o in [*corners, *(tuple(rng.integers(y.shape)) for _ in range(3))]:
        assert y[(n, c, *o)] == by_definition(x, w, spec, n, c, tuple(o)) + bias[c]


@grid(case=CASES, every=1)
def test_pad_is_numpy_pad_axis_by_axis(case: Case) -> None:
    x, *_ = integers(case)
    padded = np.asarray(x, dtype=np.float64)
    if case.spec.batch:  # np.pad refuses empty arrays in some modes
        for dim, axis in enumerate(case.spec.axes, start=2):
            widths = [(0, 0)] * x.ndim
            widths[dim] = (axis.lo, axis.hi)
            padded = np.pad(padded, widths, NUMPY_MODES[axis.mode])  # type: ignore[call-overload]
        np.testing.assert_array_equal(reference.pad(x, case.spec), padded)


@grid(case=CASES, every=1)
def test_fold_is_the_transpose_of_pad(case: Case) -> None:
    x, *_ = integers(case)
    padded = reference.pad(x, case.spec)
    other = np.random.default_rng(2).integers(-4, 5, padded.shape)
    assert (padded * other).sum() == (x * reference.fold(other, case.spec)).sum()


def test_by_hand() -> None:
    x = np.array([[[1.0, 2, 3, 4]]])
    w = np.array([[[1.0, 10, 100]]])

    def row(text: str) -> list[float]:
        return list(reference.conv(x, w, None, parse(text)).ravel())

    assert row("c1>1 4 k3") == [321, 432]
    assert row("c1>1 4 k3 flip") == [123, 234]
    assert row("c1>1 4 k3 p1") == [210, 321, 432, 43]
    assert row("c1>1 4 k3 p1 s2") == [210, 432]
    assert row("c1>1 4 k3 p1 d2 s2") == [420]
    assert row("c1>1 4 k3 pcausal") == [100, 210, 321, 432]
    assert row("c1>1 4 k3 p1 m:circular") == [214, 321, 432, 143]
    assert row("c1>1 4 k3 p1 m:reflect") == [212, 321, 432, 343]
    assert row("c1>1 4 k3 p1 m:symmetric") == [211, 321, 432, 443]
    assert list(reference.conv(x, w, [0.5], parse("c1>1 4 k3")).ravel()) == [321.5, 432.5]


def test_a_crop() -> None:
    x = np.arange(1.0, 6.0).reshape(1, 1, 5)
    spec = ConvSpec((Axis(5, 2, lo=-1, hi=-1),), 1, 1)
    assert list(reference.pad(x, spec).ravel()) == [2, 3, 4]
    assert list(reference.conv(x, np.ones((1, 1, 2)), None, spec).ravel()) == [5, 7]
    grad = reference.conv_input_grad(np.ones((1, 1, 2)), np.ones((1, 1, 2)), spec)
    assert list(grad.ravel()) == [0, 1, 2, 1, 0]


def test_gradients_by_finite_differences() -> None:
    # The map is linear in x and in w, so a difference is exact up to rounding.
    spec = parse("n2 c4>6 7x6 k3x2 s2x1 p(1,0)x1 d1x2 g2 m:reflect,circular flip")
    x, w, bias, g = (array.astype(np.float64) for array in integers(spec))
    by_x, by_w = reference.conv_input_grad(g, w, spec), reference.conv_weight_grad(x, g, spec)
    before = (reference.conv(x, w, bias, spec) * g).sum()
    rng = np.random.default_rng(3)
    for array, grad in ((x, by_x), (w, by_w)):
        for _ in range(20):
            at = tuple(rng.integers(array.shape))
            array[at] += 1
            assert (reference.conv(x, w, bias, spec) * g).sum() - before == grad[at]
            array[at] -= 1


def test_transpose_by_hand() -> None:
    spec = transposed((1, 1, 3), (1, 1, 2), stride=2, output_padding=1)
    y = reference.conv_transpose([[[1, 2, 3]]], [[[1, 10]]], [0.5], spec)
    assert list(y.ravel()) == [1.5, 10.5, 2.5, 20.5, 3.5, 30.5, 0.5]


def test_inputs_are_left_alone() -> None:
    spec = parse("n2 c4>6 7x6 k3 p1 g2")
    arrays = integers(spec)
    for array in arrays:
        array.flags.writeable = False
    x, w, bias, g = arrays
    reference.conv(x, w, bias, spec)
    reference.conv_input_grad(g, w, spec)
    reference.conv_weight_grad(x, g, spec)
    assert not np.shares_memory(reference.pad(x, spec), x)


def test_shapes_are_checked() -> None:
    spec = parse("n2 c4>6 7 k3")
    x, w, bias, g = integers(spec)
    with pytest.raises(ValueError, match=r"^x: has shape \(2, 4, 6\), must have \(2, 4, 7\)$"):
        reference.conv(x[..., 1:], w, bias, spec)
    with pytest.raises(ValueError, match=r"^w: has shape"):
        reference.conv(x, w[1:], bias, spec)
    with pytest.raises(ValueError, match=r"^bias: has shape"):
        reference.conv(x, w, bias[1:], spec)
    with pytest.raises(ValueError, match=r"^g: has shape"):
        reference.conv_weight_grad(x, g[1:], spec)
