"""The laws of the oracle, and the oracle against others: SciPy, and PyTorch where it is installed.

All on integers, in float64, where every sum is exact: equal means equal.
"""

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from grid import examples, grid
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cases import CASES, Case, integers, random_specs
from faltung import reference
from faltung.geometry import (
    ConvSpec,
    conv_spec,
    input_grad,
    parse,
    transposed,
    unpadded,
    weight_grad,
)

Array = NDArray[Any]
WALK = grid(case=CASES)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def doubles(spec: ConvSpec) -> tuple[Array, ...]:
    return tuple(array.astype(np.float64) for array in integers(spec))


# ---- adjointness


def check_adjoint(spec: ConvSpec) -> None:
    x, w, _, g = doubles(spec)
    product = (reference.conv(x, w, None, spec) * g).sum()
    assert product == (x * reference.conv_input_grad(g, w, spec)).sum()
    assert product == (w * reference.conv_weight_grad(x, g, spec)).sum()


@WALK
def test_the_gradients_are_adjoint(case: Case) -> None:
    check_adjoint(case.spec)


@examples(4)
@given(random_specs())
def test_the_gradients_of_random_specs_are_adjoint(spec: ConvSpec) -> None:
    check_adjoint(spec)


# ---- the adjoint specs compute the gradients, by forward convolutions alone


def phase_weight(w: Array, spec: ConvSpec, taps: list[tuple[int, ...]]) -> Array:
    """Channels exchanged within each group, taps picked axis by axis."""
    per_in, per_out = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    grouped = w.reshape(spec.groups, per_out, per_in, *spec.kernel).swapaxes(1, 2)
    picked = grouped.reshape(spec.channels_in, per_out, *spec.kernel)
    for dim, chosen in enumerate(taps, start=2):
        picked = np.take(picked, chosen, axis=dim)
    return picked


def input_grad_by_phases(g: Array, w: Array, spec: ConvSpec) -> Array:
    flat = unpadded(spec)
    grad = np.full(flat.input_shape, np.nan)
    for phase in input_grad(flat):
        block = tuple(slice(p.start, p.start + p.step * p.count, p.step) for p in phase.axes)
        if phase.spec is None:
            grad[(..., *block)] = 0
        else:
            picked = phase_weight(w, spec, [part.taps for part in phase.axes])
            grad[(..., *block)] = reference.conv(g, picked, None, phase.spec)
    for dim, axis in enumerate(spec.axes, start=2):
        if axis.mode != "zeros":  # such an axis was taken with its padding: fold that back
            sources = [axis.source(j - axis.lo) for j in range(axis.padded)]
            folded = np.zeros((*grad.shape[:dim], axis.size, *grad.shape[dim + 1 :]))
            np.add.at(np.moveaxis(folded, dim, 0), sources, np.moveaxis(grad, dim, 0))
            grad = folded
    return grad


def weight_grad_by_spec(x: Array, g: Array, spec: ConvSpec) -> Array:
    flat = unpadded(spec)
    adjoint = weight_grad(flat)
    crop = tuple(
        slice(a.lo, a.lo + a.size) if a.mode == "zeros" else slice(None) for a in spec.axes
    )
    padded = reference.pad(x, spec)[(..., *crop)]
    parts = []
    for group in range(spec.groups):
        per_in, per_out = spec.channels_in // spec.groups, spec.channels_out // spec.groups
        read = padded[:, group * per_in : (group + 1) * per_in].swapaxes(0, 1)
        kernel = g[:, group * per_out : (group + 1) * per_out].swapaxes(0, 1)
        parts.append(reference.conv(read, kernel, None, adjoint).swapaxes(0, 1))
    grad = np.concatenate(parts)
    return np.flip(grad, range(2, grad.ndim)) if spec.flip else grad


def check_adjoint_specs(spec: ConvSpec) -> None:
    x, w, _, g = doubles(spec)
    want = reference.conv_input_grad(g, w, spec)
    np.testing.assert_array_equal(input_grad_by_phases(g, w, spec), want)
    if spec.batch:
        want = reference.conv_weight_grad(x, g, spec)
        np.testing.assert_array_equal(weight_grad_by_spec(x, g, spec), want)


@WALK
def test_adjoint_specs_give_the_gradients(case: Case) -> None:
    check_adjoint_specs(case.spec)


@examples(8)
@given(random_specs(max_macs=100_000))
def test_adjoint_specs_of_random_specs(spec: ConvSpec) -> None:
    check_adjoint_specs(spec)


# ---- flip


@WALK
def test_flip_turns_the_kernel_round(case: Case) -> None:
    x, w, bias, _ = doubles(case.spec)
    fields = {name: getattr(case.spec, name) for name in ("stride", "padding", "dilation",
              "groups", "padding_mode")}  # fmt: skip
    other = conv_spec(x.shape, w.shape, flip=not case.spec.flip, dtype="float64", **fields)
    turned = np.flip(w, range(2, w.ndim))
    np.testing.assert_array_equal(
        reference.conv(x, turned, bias, other), reference.conv(x, w, bias, case.spec)
    )


# ---- SciPy

NDIMAGE_MODES = {
    "zeros": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
    "circular": "grid-wrap",
}


@grid(
    mode=NDIMAGE_MODES,
    shape=[("17", "5"), ("9x8", "3x5"), ("5x6x7", "3x1x5")],
    flip=[False, True],
)
def test_scipy_ndimage(mode: str, shape: tuple[str, str], flip: bool) -> None:
    size, kernel = shape
    spec = parse(f"c1>1 {size} k{kernel} psame m:{mode}" + " flip" * flip)
    x, w, *_ = doubles(spec)
    theirs = scipy.ndimage.convolve if flip else scipy.ndimage.correlate
    want = theirs(x[0, 0], w[0, 0], mode=NDIMAGE_MODES[mode], cval=0.0)
    np.testing.assert_array_equal(reference.conv(x, w, None, spec)[0, 0], want)


@grid(
    text=["20 k4", "9x8 k2x5", "5x6x7 k3x2x4", "4x5x4x5 k2x3x1x2"],
    stride=[1, 2, 3],
    flip=[False, True],
)
def test_scipy_signal(text: str, stride: int, flip: bool) -> None:
    rank = parse(f"c3>1 {text}").rank
    kernel = parse(f"c3>1 {text}").kernel
    full = "x".join(str(size - 1) for size in kernel)
    for padding, mode in (("0", "valid"), (full, "full")):
        spec = parse(f"n2 c3>2 {text} p{padding} s{stride}" + " flip" * flip)
        x, w, *_ = doubles(spec)
        theirs: Any = scipy.signal.convolve if flip else scipy.signal.correlate
        every = (slice(None, None, stride),) * rank
        want = np.array([
            [
                sum(theirs(x[n, c], w[o, c], mode=mode, method="direct") for c in range(3))[every]
                for o in range(2)
            ]
            for n in range(2)
        ])  # fmt: skip
        np.testing.assert_array_equal(reference.conv(x, w, None, spec), want)


@pytest.mark.parametrize(("mode", "boundary"), [("symmetric", "symm"), ("circular", "wrap"),
                                                ("zeros", "fill")])  # fmt: skip
def test_scipy_convolve2d(mode: str, boundary: Any) -> None:
    spec = parse(f"c1>1 9x8 k3x5 psame m:{mode} flip")
    x, w, *_ = doubles(spec)
    want = scipy.signal.convolve2d(x[0, 0], w[0, 0], mode="same", boundary=boundary)
    np.testing.assert_array_equal(reference.conv(x, w, None, spec)[0, 0], want)


# ---- PyTorch


def torch_pad(torch: Any, x: Any, spec: ConvSpec) -> Any:
    """Padding axis by axis, with PyTorch's own functions; the axis goes last for it."""
    names = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate",
             "circular": "circular"}  # fmt: skip
    for dim, axis in enumerate(spec.axes, start=2):
        if not (axis.lo or axis.hi):
            continue
        last = x.movedim(dim, -1)
        if axis.mode == "symmetric":
            before, after = last[..., : axis.lo].flip(-1), last[..., axis.size - axis.hi :].flip(-1)
            last = torch.cat([before, last, after], dim=-1)
        else:
            flat = last.reshape(1, -1, axis.size)
            flat = torch.nn.functional.pad(flat, (axis.lo, axis.hi), mode=names[axis.mode])
            last = flat.reshape(*last.shape[:-1], axis.padded)
        x = last.movedim(-1, dim)
    return x


def check_torch(torch: Any, spec: ConvSpec) -> None:
    x, w, bias, g = (torch.from_numpy(array) for array in doubles(spec))
    x.requires_grad_()
    w.requires_grad_()
    theirs = getattr(torch.nn.functional, f"conv{spec.rank}d")
    turned = w.flip(tuple(range(2, w.ndim))) if spec.flip else w
    options = {"stride": spec.stride, "dilation": spec.dilation, "groups": spec.groups}
    y = theirs(torch_pad(torch, x, spec), turned, bias, **options)
    by_x, by_w = torch.autograd.grad(y, (x, w), g)
    x, w, bias, g = (tensor.detach().numpy() for tensor in (x, w, bias, g))
    np.testing.assert_array_equal(reference.conv(x, w, bias, spec), y.detach().numpy())
    np.testing.assert_array_equal(reference.conv_input_grad(g, w, spec), by_x.numpy())
    np.testing.assert_array_equal(reference.conv_weight_grad(x, g, spec), by_w.numpy())


@grid(case=[case for case in CASES if case.spec.rank <= 3 and case.spec.batch])
def test_torch(torch: Any, case: Case) -> None:
    check_torch(torch, case.spec)


def test_torch_on_random_specs(torch: Any) -> None:
    @examples(4)
    @given(random_specs(max_rank=3, max_macs=100_000).filter(lambda spec: spec.batch > 0))
    def check(spec: ConvSpec) -> None:
        check_torch(torch, spec)

    check()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_torch_says_same_as_we_do(torch: Any) -> None:
    for kernel, dilation in ((3, 1), (4, 1), (2, 3), (5, 2)):
        spec = conv_spec((1, 2, 9, 9), (3, 2, kernel, kernel), padding="same", dilation=dilation)
        x, w, bias, _ = doubles(spec)
        tensors = (torch.from_numpy(array) for array in (x, w, bias))
        want = torch.nn.functional.conv2d(*tensors, padding="same", dilation=dilation)
        np.testing.assert_array_equal(reference.conv(x, w, bias, spec), want.numpy())


@st.composite
def transposes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    number = st.integers
    per_in, per_out = draw(number(1, 3)), draw(number(1, 3))

    def axes(strategy: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(strategy) for _ in range(rank))

    size, kernel = axes(number(1, 5)), axes(number(1, 4))
    stride, dilation = axes(number(1, 4)), axes(number(1, 4))
    extra = tuple(draw(number(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    whole = [
        (n - 1) * s + d * (h - 1) + p + 1
        for n, h, s, d, p in zip(size, kernel, stride, dilation, extra, strict=True)
    ]
    padding = tuple(draw(number(0, min(4, (length - 1) // 2))) for length in whole)
    x_shape = (draw(number(1, 2)), per_in * groups, *size)
    options = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups,
               "dilation": dilation}  # fmt: skip
    return x_shape, (per_in * groups, per_out, *kernel), options


def test_torch_conv_transpose(torch: Any) -> None:
    @examples(8)
    @given(transposes())
    def check(drawn: tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]) -> None:
        x_shape, w_shape, options = drawn
        spec = transposed(x_shape, w_shape, dtype="float64", **options)
        _, w, _, x = integers(spec)  # what goes in is shaped as an output gradient
        bias = np.arange(1.0, spec.channels_in + 1)
        theirs = getattr(torch.nn.functional, f"conv_transpose{spec.rank}d")
        want = theirs(*(torch.from_numpy(array) for array in (x, w, bias)), **options)
        got = reference.conv_transpose(x, w, bias, spec)
        assert got.shape == spec.input_shape == want.shape
        np.testing.assert_array_equal(got, want.numpy())
        want = theirs(*(torch.from_numpy(array) for array in (x, w)), **options)
        by_phases = input_grad_by_phases(x, w, spec)
        np.testing.assert_array_equal(by_phases, want.numpy())

    check()


# ---- the transposed convolution is the transpose


@examples(4)
@given(random_specs(max_macs=100_000))
def test_transposed_is_adjoint_to_conv(spec: ConvSpec) -> None:
    x, w, _, g = doubles(spec)
    back = transposed(
        spec.output_shape,
        spec.weight_shape,
        stride=spec.stride,
        padding=spec.padding,
        output_padding=[axis.unread for axis in spec.axes],
        dilation=spec.dilation,
        groups=spec.groups,
        padding_mode=spec.padding_mode,
        flip=spec.flip,
        dtype=spec.dtype,
    )
    assert back == spec
    product = (reference.conv(x, w, None, spec) * g).sum()
    assert product == (x * reference.conv_transpose(g, w, None, back)).sum()
