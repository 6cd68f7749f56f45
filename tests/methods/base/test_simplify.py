"""What is simplified has the same sums: shapes of the result, exact numbers, the same bits."""

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from laws.layouts import back, options, real, to
from methods.fused import ORDERS, elements, ordered

import faltung
from cases import integers, random_specs
from faltung import reference
from faltung.geometry import ConvSpec, input_grad, parse
from faltung.geometry.axis import Axis
from faltung.jit.target import current
from faltung.methods.base.correlation import Correlation, contiguous, forward, input_grad_phase
from faltung.methods.base.simplify import over_samples, simplified
from faltung.plan import build
from faltung.plan import plan as planning


def made(text: str, order: str, last: bool, back: bool = False) -> Correlation:
    spec = parse(text)
    x, y = (contiguous(shape, last) for shape in (spec.input_shape, spec.output_shape))
    w = elements(ordered(np.empty(spec.weight_shape, np.float32), order))
    if not back:
        return simplified(forward(spec, x, w, y))
    (phase,) = input_grad(spec)
    return simplified(input_grad_phase(spec, phase, y, w, x))


def test_a_kernel_that_covers_its_input_is_pointwise() -> None:
    for order in ORDERS[1:]:
        c = made("n8 c6>20 5x7 k5x7", order, True)
        assert (c.batch, c.channels_in, c.channels_out) == (1, 5 * 7 * 6, 20)
        (only,) = c.windows
        assert (only.axis, only.x, only.out) == (Axis(8, 1), 5 * 7 * 6, 20)
    back = made("n8 c6>20 5x7 k5x7", "taps first", True, back=True)
    assert (back.batch, back.channels_in, back.channels_out) == (1, 20, 5 * 7 * 6)
    assert back.windows[0].axis == Axis(8, 1)
    assert back.out[2] == 1


def test_channels_first_its_gradient_is_pointwise_too() -> None:
    c = made("n8 c6>20 5x7 k5x7", "plain", False, back=True)
    assert (c.channels_in, c.channels_out, c.windows[0].axis) == (20, 5 * 7 * 6, Axis(8, 1))
    assert made("n8 c6>20 5x7 k5x7", "plain", False).windows[-1].axis == Axis(8, 1)


def test_last_axes_alone() -> None:
    c = made("n2 c6>20 9x5x7 k3x5x7", "taps first", True)
    assert (c.channels_in, [w.axis for w in c.windows]) == (5 * 7 * 6, [Axis(9, 3)])
    back = made("n2 c6>20 9x7 k3x7", "taps first", True, back=True)
    assert back.channels_out == 7 * 6
    assert [w.axis for w in back.windows] == [Axis(7, 3, 1, 1, 2, 2)]
    # The first axis alone is no neighbour of the channels.
    assert made("n2 c6>20 3x9 k3x2", "taps first", True).channels_in == 6


def test_patches_are_channels() -> None:
    c = made("n2 c3>16 8x12 k4 s4", "taps first", True)
    assert c.channels_in == 4 * 3
    assert c.windows[-1].axis == Axis(3, 1)
    assert made("n2 c3>16 8x12 k4 s3", "taps first", True).channels_in == 3


def test_padding_around_one_output() -> None:
    c = made("n3 c4>5 1x1 k3 p1", "plain", True)
    assert (c.taps, c.windows[0].axis) == (1, Axis(3, 1))
    every = simplified(
        forward(parse("n3 c4>5 1x1 k3 p1"), (4, 1, 4, 4), (36, 9, 3, 1), (5, 1, 5, 5)),
        every_tap=True,
    )
    assert every.taps == 9


def test_a_bias_stays_with_its_channel() -> None:
    spec = parse("n8 c6>20 5 k5")
    (phase,) = input_grad(spec)
    c = input_grad_phase(spec, phase, (20, 1, 20), (1, 20, 120), (30, 1, 6))
    assert simplified(c).channels_out == 30
    assert simplified(c, bias=True).channels_out == 6


def test_samples_side_by_side() -> None:
    c = made("n7 c4>5 2x2 k3 p1", "plain", True)
    beside = over_samples(c)
    assert beside is not None
    assert beside.batch == 1
    assert [w.axis.size for w in beside.windows] == [2, 2, 7]
    assert beside.macs == c.macs
    assert over_samples(made("n1 c4>5 2x2 k3 p1", "plain", True)) is None


COVERED = [
    "n3 c5>17 4x3 k4x3",
    "n64 c16>33 5x5 k5",
    "n1 c7>10 6 k6",
    "n2 c1>9 5x4 k5x4",
    "n2 c9>1 5x4 k5x4",
    "n5 c6>20 3x9 k3x2",
    "n5 c6>20 9x3 k2x3",
    "n3 c4>18 2x5x4 k2x5x4",
    "n3 c4>18 7x5x4 k3x5x4 p1x0x0",
    "n2 c6>4 4x5 k4x5 g2",
    "n3 c20>20 4x5 k4x5 g20",
    "n3 c10>20 4x5 k4x5 g10",
    "n4 c3>16 8x12 k4 s4",
    "n4 c3>16 9x14 k4x2 s4x5",
    "n4 c1>16 12x12 k4 s4",
    "n4 c5>6 7x7 k3 s9",
    "n4 c5>6 7x7 k3 d3",
    "n4 c5>6 1x1 k3 p1",
    "n9 c5>6 2x2 k3 p1",
    "n9 c5>6 2x2 k3 s2 p1",
    "n9 c20>35 3x3 k3 p1",
    "n9 c5>6 2x2 k3 p1 m:replicate",
    "n9 c18>18 2x2 k3 p1 g18",
    "n3 c5>17 4x3 k4x3 flip",
    "n64 c100>10 1 k1",
    "n1 c100>33 1 k1",
    "n6 c5>7 3 k1 s9 p(0,4)",
    "n6 c5>7 3 k2 s9 p(2,0)",
]


def check(spec: ConvSpec, order: str, last: bool) -> None:
    """Forward and both gradients, exact, with weights in any order."""
    x, w, bias, g = integers(spec)
    given = {**options(spec), "channels_last": last}
    w = ordered(w, order)
    x_in, g_in = to(x, last), to(g, last)
    np.testing.assert_array_equal(
        back(faltung.conv(x_in, w, bias, **given), last), reference.conv(x, w, bias, spec)
    )
    np.testing.assert_array_equal(
        back(faltung.conv_input_grad(g_in, w, x_in.shape, **given), last),
        reference.conv_input_grad(g, w, spec),
    )
    out = ordered(np.full_like(w, np.nan), order)
    faltung.conv_weight_grad(x_in, g_in, w.shape, out=out, **given)
    np.testing.assert_array_equal(out, reference.conv_weight_grad(x, g, spec))


@grid(text=COVERED, order=ORDERS, last=[False, True], machine=MACHINES)
def test_exact(text: str, order: str, last: bool, machine: object) -> None:
    check(parse(text), order, last)
    check(parse(f"{text} f64"), order, last)


@given(random_specs(max_macs=50_000))
def test_random_problems(spec: ConvSpec) -> None:
    for order in ORDERS[1:]:
        check(spec, order, True)


@grid(text=COVERED, machine=MACHINES)
def test_the_same_bits_in_any_order(
    text: str, machine: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = parse(text)
    x, w, bias, g = real(spec)
    found = set()
    before = faltung.get_threads()
    monkeypatch.setattr(planning, "MIN_PARALLEL_CYCLES", 0.0)
    for threads in (1, 3):
        faltung.set_threads(threads)
        for last in (False, True):
            given = {**options(spec), "channels_last": last}
            x_in, g_in = to(x, last), to(g, last)
            for order in ORDERS:
                turned = ordered(w, order)
                y = back(faltung.conv(x_in, turned, bias, **given), last)
                one = back(faltung.conv(x_in[:1], turned, bias, **given), last)
                by_x = back(faltung.conv_input_grad(g_in, turned, x_in.shape, **given), last)
                assert y[:1].tobytes() == one.tobytes()
                found.add((y.tobytes(), by_x.tobytes()))
    faltung.set_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_linear_layers_are_shared_by_their_channels(batch: int) -> None:
    """Blocks of channels are the items, also for one vector; no array is copied, but bands of both
    into panels in the gradient for the weight.
    """
    spec = parse(f"n{batch} c4096>1000 1 k1")
    x, y, w = (4096, 1, 1), (1000, 1, 1), (1, 1000, 1)
    given = {"machine": current()}
    plans = (
        build.build_forward(spec, x, w, y, bias=True, **given),
        build.build_input_grad(spec, y, w, x, bias=False, **given),
    )
    for plan in plans:
        assert sum(step.items for step in plan.work.steps) >= 1000 // 128
        assert plan.work.scratch == {}
    back = build.build_weight_grad(spec, x, y, w, **given)
    (step,) = back.work.steps
    assert step.items >= 8
    assert sum(back.work.scratch.values()) <= 8 << 20
