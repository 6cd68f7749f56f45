"""The shape of the algebra; that its numbers are gradients is proved in laws/test_oracle.py."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from grid import examples, grid
from hypothesis import given

from cases import CASES, Case, random_specs
from faltung.geometry import (
    Axis,
    ConvSpec,
    Phase,
    conv_spec,
    input_grad,
    parse,
    transposed,
    unpadded,
    weight_grad,
)


def check_phases(spec: ConvSpec) -> None:
    written = np.zeros(spec.size, dtype=int)
    for phase in input_grad(spec):
        check_phase(phase, spec)
        steps = (slice(p.start, p.start + p.step * p.count, p.step) for p in phase.axes)
        written[tuple(steps)] += 1
        assert all(p.start + p.step * (p.count - 1) < n for p, n in zip(phase.axes, spec.size))  # noqa: B905
    assert (written == 1).all()  # disjoint, and nothing is left out


def check_phase(phase: Phase, spec: ConvSpec) -> None:
    if phase.spec is None:
        assert any(part.axis is None for part in phase.axes)
        return
    assert phase.spec.axes == tuple(part.axis for part in phase.axes)
    assert phase.spec.output == tuple(part.count for part in phase.axes)
    assert phase.spec.input_shape == spec.output_shape
    assert phase.spec.channels_out == spec.channels_in
    assert (phase.spec.groups, phase.spec.dtype) == (spec.groups, spec.dtype)
    assert not phase.spec.flip
    for part, forward in zip(phase.axes, spec.axes, strict=True):
        assert part.axis is not None
        assert part.axis.stride == 1
        assert len(part.taps) == part.axis.kernel
        assert sorted(part.taps, reverse=not spec.flip) == list(part.taps)
        assert set(part.taps) <= set(range(forward.kernel))
        # Nothing is wasted: the first and the last tap read at least one real gradient.
        first, stop = part.axis.input_range(0, part.count)
        span = part.axis.extent - 1
        assert first + part.count > 0  # tap 0 reads first .. first + count - 1
        assert first + span < part.axis.size
        assert first < part.axis.size
        assert stop > 0


@grid(case=CASES, every=1)
def test_phases_cover_the_input_once(case: Case) -> None:
    check_phases(unpadded(case.spec))


@given(random_specs())
@examples(4)
def test_phases_of_random_specs(spec: ConvSpec) -> None:
    check_phases(unpadded(spec))


def test_the_gradient_of_a_plain_convolution() -> None:
    (phase,) = input_grad(parse("n2 c3>5 9x8 k3x4 p1x2"))
    assert str(phase.spec) == "n2 c5>3 9x9 k3x4 p1"  # "full" less the padding: k - 1 - p
    assert [part.taps for part in phase.axes] == [(2, 1, 0), (3, 2, 1, 0)]
    (phase,) = input_grad(parse("n2 c3>5 9x8 k3x4 p1x2 flip"))
    assert [part.taps for part in phase.axes] == [(0, 1, 2), (0, 1, 2, 3)]


def test_the_phases_of_stride_two() -> None:
    even, odd = input_grad(parse("n1 c3>5 8 k3 s2 p1"))
    assert (even.axes[0].taps, odd.axes[0].taps) == ((1,), (2, 0))
    assert (even.axes[0].start, odd.axes[0].start, odd.axes[0].step) == (0, 1, 2)
    assert str(even.spec) == "n1 c5>3 4 k1"
    assert str(odd.spec) == "n1 c5>3 4 k2 p(0,1)"


def test_padding_beyond_the_kernel_becomes_a_crop() -> None:
    (phase,) = input_grad(parse("n1 c1>1 4 k2 p5"))
    assert phase.axes[0].axis == Axis(13, 2, lo=-4, hi=-4)


def test_taps_that_never_land_are_left_out() -> None:
    (phase,) = input_grad(parse("n1 c1>1 3 k3 d5 p5"))
    assert phase.axes[0].taps == (1,)


def test_strides_that_no_tap_reaches() -> None:
    phases = input_grad(parse("n1 c1>1 7 k2 s4"))
    assert [phase.spec is None for phase in phases] == [False, False, True, True]


def test_a_great_stride_makes_few_phases() -> None:
    phases = input_grad(parse("n1 c1>1 1000x1000x1000 k2 s500"))
    assert len(phases) == 498 + 2 * (498 + 2 * 500)
    assert sum(phase.spec is not None for phase in phases) == 8
    written = sum(np.prod([part.count for part in phase.axes]) for phase in phases)
    assert written == 1000**3


def check_weight_grad(spec: ConvSpec) -> None:
    grad = weight_grad(spec)
    per_in, per_out = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    assert grad.input_shape == (per_in, spec.batch, *spec.size)
    assert grad.weight_shape == (per_out, spec.batch, *spec.output)
    assert grad.output_shape == (per_in, per_out, *spec.kernel)
    assert (grad.stride, grad.dilation) == (spec.dilation, spec.stride)
    assert grad.macs * spec.groups == spec.macs
    assert grad.dtype == spec.dtype
    assert not grad.flip


@given(random_specs())
@examples(4)
def test_weight_grad_exchanges(spec: ConvSpec) -> None:
    check_weight_grad(unpadded(replace(spec, batch=max(1, spec.batch))))


def test_weight_grad_by_hand() -> None:
    # The stride leaves the last entry unread: it is cropped, or the kernel would have four taps.
    assert weight_grad(parse("n2 c3>5 8 k3 s2")).axes == (Axis(8, 3, 1, 2, 0, -1),)


def test_unpadded() -> None:
    spec = parse("n1 c2>3 9x8x7 k3 p1 m:zeros,circular,replicate")
    assert unpadded(spec).axes == (Axis(9, 3, lo=1, hi=1), Axis(10, 3), Axis(9, 3))
    assert unpadded(spec).output_shape == spec.output_shape
    plain = parse("n1 c2>3 9 k3 p1")
    assert unpadded(plain) == plain


@pytest.mark.parametrize("adjoint", [input_grad, weight_grad])
def test_adjoints_want_zeros(adjoint: Any) -> None:
    with pytest.raises(ValueError, match=r"^padding_mode=\('zeros', 'circular'\): .*unpadded"):
        adjoint(parse("n1 c2>3 9x8 k3 p1 m:zeros,circular"))


def test_the_weight_gradient_of_nothing() -> None:
    with pytest.raises(ValueError, match="batch=0"):
        weight_grad(parse("n0 c2>3 9 k3"))


def test_transposed_sizes() -> None:
    spec = transposed((2, 6, 5, 7), (6, 4, 3, 3), stride=2, padding=1, output_padding=(1, 0))
    assert spec.input_shape == (2, 4, 10, 13)
    assert spec.output_shape == (2, 6, 5, 7)
    assert spec.weight_shape == (6, 4, 3, 3)


def test_transposed_names_of_padding() -> None:
    def size(padding: Any, kernel: int = 3, stride: int = 2, **rest: Any) -> tuple[int, ...]:
        return transposed((1, 1, 5), (1, 1, kernel), stride=stride, padding=padding, **rest).size

    assert size("valid") == size(0) == (11,)
    assert size("same") == (9,)
    assert size("same", output_padding=1) == (10,)
    assert size("same_upper") == size("same_lower") == (10,)
    assert size("same_upper", kernel=1) == (9,)  # no tap reaches the tenth
    assert size("causal") == (9,)
    assert transposed((1, 1, 5), (1, 1, 3), stride=2, padding="same_upper").padding == ((0, 1),)
    assert transposed((1, 1, 5), (1, 1, 3), stride=2, padding="same_lower").padding == ((1, 0),)


def test_output_padding_beyond_the_stride() -> None:
    # PyTorch allows it below the dilation; then the forward spec must crop to give back H.
    spec = transposed((1, 1, 5), (1, 1, 3), stride=1, dilation=4, output_padding=3)
    assert spec.size == (16,)
    assert spec.output == (5,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"output_padding": 2}, ValueError, "output_padding=2: must be below the stride (2, 2) or "
         "the dilation (1, 1)"),
        ({"output_padding": -1}, ValueError, "output_padding=-1: every output_padding must be at "
         "least 0"),
        ({"output_padding": 0.5}, TypeError, "output_padding=0.5: must be an int or a sequence of "
         "2 ints"),
        ({"padding": 6}, ValueError, "padding=6: leaves no output; its sizes would be (-1, 3)"),
        ({"stride": 0}, ValueError, "stride=0: every stride must be at least 1"),
        ({"groups": 4}, ValueError, "groups=4: must divide the input channels, 6"),
        ({"weight_shape": (5, 4, 3, 3)}, ValueError, "weight_shape=(5, 4, 3, 3): its first entry "
         "must be the input channels, 6"),
        ({"weight_shape": (6, 4, 3)}, ValueError, "weight_shape=(6, 4, 3): must have 4 dimensions, "
         "as the input (2, 6, 5, 7) has"),
        ({"padding_mode": "wrap"}, ValueError, "padding_mode='wrap': must be one of zeros, reflect,"
         " symmetric, replicate, circular; say padding_mode='circular'"),
    ],
)  # fmt: skip
def test_bad_transposed_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    good = {"input_shape": (2, 6, 5, 7), "weight_shape": (6, 4, 3, 3), "stride": 2}
    with pytest.raises(error) as caught:
        transposed(**(good | arguments))
    assert str(caught.value) == message


def test_transposed_is_the_transpose_of_conv_spec() -> None:
    for mode in ("zeros", "circular", "reflect"):
        spec = conv_spec((2, 4, 11, 12), (6, 2, 3, 5), stride=(2, 3), padding=((1, 2), (0, 1)),
                         groups=2, padding_mode=mode)  # fmt: skip
        back = transposed(spec.output_shape, spec.weight_shape, stride=(2, 3),
                          padding=((1, 2), (0, 1)), groups=2, padding_mode=mode,
                          output_padding=[axis.unread for axis in spec.axes])  # fmt: skip
        assert back == spec
