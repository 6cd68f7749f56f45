"""The gradient for the weight of depthwise layers: exact, whatever rank, edges and bands."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.layouts import real
from methods.fused import ORDERS, Array, elements, laid, ordered, plain

from cases import CASES, integers, random_axes
from faltung import reference
from faltung.geometry import MODES, ConvSpec, parse
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import contiguous
from faltung.methods.grouped import weight_grad
from faltung.plan import plan_forward, plan_input_grad, plan_weight_grad
from faltung.plan.binding import layout
from faltung.plan.build import build_weight_grad
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan

DEPTHWISE = [
    case.spec
    for case in CASES
    if case.spec.groups > 1 and case.spec.groups == case.spec.channels_in == case.spec.channels_out
]
TEXTS = [
    "n3 c17 5x6 k3 p1",
    "n2 c40 9x31 k5x3 s2x1 p2x1",
    "n2 c16 3x70 k1x7 p0x3",
    "n2 c16 70x3 k7x1 p3x0",
    "n2 c5 400 k3 p1",
    "n2 c9 30 k29 p14",
    "n1 c9 200 k150 p149",
    "n1 c33 60 k4 s3 d5 p(9,2)",
    "n2 c8 4x5x6 k3 p1",
    "n2 c8 4x5x6 k2 s2 d2 p(0,3)x(1,1)x(2,0)",
    "n2 c20 7x8 k3 p2 m:reflect",
    "n2 c20 7x8 k3 p2 m:circular,zeros",
    "n0 c20 7x8 k3 p2 m:zeros,circular",
    "n0 c20 7x8 k3 p2",
    "n6 c12 2x2 k3 p1",
    "n6 c12 4x3 k4x3",
    "n6 c12 1 k1",
    "n2 c7 3 k2 p60",
    "n2 c24 9x9 k3 s9 p1",
    "n2 c18 7x8 k3 p(1,0)x(0,2) flip",
    "n2 c5 9x37 k3 s2 p1",
    "n1 c3 71 k7 s2 p3",
    "n2 c4 12x20 k5x4 s1x2 d1x2 p2x3",
]


def spec_of(text: str) -> ConvSpec:
    """A depthwise spec; the text has the channels once."""
    batch, channels, *rest = text.split()
    return parse(f"{batch} {channels}>{channels[1:]} {' '.join(rest)} g{channels[1:]}")


def run(plan: Plan, x: Array, w: Array, grad: Array, threads: int) -> None:
    scratch = plain(layout(plan.work.scratch)[1])
    addresses = [int(a.ctypes.data) for a in (x, w, grad)]
    plan.region("all").run([*addresses, 0, 0, int(scratch.ctypes.data)], threads)


def check(
    spec: ConvSpec, machine: Machine, order: str = "plain", room: int = 0, last: bool = True
) -> None:
    """Channels ``last`` or first, ``room`` elements between the lines of memory; the sums of all
    entries are exact.
    """
    given_x, _, _, given_g = integers(spec)
    want = reference.conv_weight_grad(given_x, given_g, spec)
    x, g = (laid(a.shape, spec.dtype, last, room, plain) for a in (given_x, given_g))
    x[...], g[...] = given_x, given_g
    w = ordered(np.full(spec.weight_shape, np.nan, spec.dtype), order)
    policy = Policy(precision="strict", method="auto" if last else "depthwise")
    strides = elements(x), elements(g), elements(w)
    plan = build_weight_grad(spec, *strides, machine=machine, policy=policy)
    assert "depthwise" in str(plan)
    for threads in (1, 3):
        w[...] = np.nan
        run(plan, x, w, g, threads)
        np.testing.assert_array_equal(w, want)


@grid(text=TEXTS, order=ORDERS, machine=MACHINES)
def test_exact(text: str, order: str, machine: Machine) -> None:
    check(spec_of(text), machine, order)
    check(spec_of(f"{text} f64"), machine, order, room=3)


def applies_to_planes(spec: ConvSpec) -> bool:
    return spec.axes[-1].stride <= 2 and spec.axes[-1].output >= 4


@grid(text=[t for t in TEXTS if applies_to_planes(spec_of(t))], order=ORDERS, machine=MACHINES)
def test_channels_first(text: str, order: str, machine: Machine) -> None:
    """Lanes are positions; what lies between rows, or behind the last, is not read."""
    check(spec_of(text), machine, order, last=False)
    check(spec_of(f"{text} f64"), machine, order, room=3, last=False)


@grid(
    text=["n2 c3 9x21 k3 p1", "n1 c2 40 k7 p2", "n1 c9 20x20 k5x12", "n2 c3 9x21 k3 s2 p1"],
    value=[np.nan, np.inf],
    machine=MACHINES,
)
def test_what_is_not_read_is_not_multiplied(value: float, text: str, machine: Machine) -> None:
    """An infinity at the end of a row reaches the taps that meet it, and no others."""
    spec = spec_of(text)
    x, _, _, g = integers(spec)
    x, g = (np.where(a == 0, 1, a) for a in (x, g))
    w = np.full(spec.weight_shape, np.nan, np.float32)
    strides = elements(x), elements(g), elements(w)
    policy = Policy(method="depthwise")
    plan = build_weight_grad(spec, *strides, machine=machine, policy=policy)
    for array in (x, g):
        for place in (0, -1):
            kept = array[..., place].copy()
            array[..., place] = value
            run(plan, x, w, g, 2)
            if array is x:
                np.testing.assert_array_equal(w, reference.conv_weight_grad(x, g, spec))
            elif spec.axes[-1].lo:
                # The reference multiplies zeros of the padding too.
                assert np.isfinite(w[..., place]).all()
            array[..., place] = kept


@grid(spec=DEPTHWISE, machine=MACHINES)
def test_table(spec: ConvSpec, machine: Machine) -> None:
    check(spec, machine, "taps first", room=5)


def test_random_problems(machine: Machine) -> None:
    @given(st.data())
    def walk(data: st.DataObject) -> None:
        rank = data.draw(st.integers(1, 3))
        axes = tuple(data.draw(random_axes(rank, MODES)) for _ in range(rank))
        channels = data.draw(st.sampled_from((2, 5, 8, 16, 17, 33)))
        batch, flip = data.draw(st.integers(0, 5)), data.draw(st.booleans())
        check(ConvSpec(axes, channels, channels, batch, channels, "float32", flip), machine)

    walk()


def test_bands_and_segments(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short bands cut rows into segments, long ones take several rows; threads change no bit."""
    for longest in (8, 40, 100_000):
        monkeypatch.setattr(weight_grad, "_band", lambda c, machine, n=longest: n)
        for text in ("n3 c19 7x61 k3 p1", "n2 c8 300 k9 p4", "n1 c8 5x6x7 k3 s2 p1"):
            check(spec_of(text), machine)
            check(spec_of(text), machine, last="s2" in text)
            spec = spec_of(text)
            given_x, _, _, given_g = real(spec)
            x, g = (np.moveaxis(a, 1, -1).copy() for a in (given_x, given_g))
            found = set()
            for threads in (1, 2, 3, 5):
                w = np.full(spec.weight_shape, np.nan, spec.dtype)
                x_, g_ = (np.moveaxis(a, -1, 1) for a in (x, g))
                plan = build_weight_grad(spec, *map(elements, (x_, g_, w)), machine=machine)
                run(plan, x, w, g, threads)
                found.add(w.tobytes())
            assert len(found) == 1


@grid(
    caches=[(0, 0), (4 << 10, 8 << 10), (1 << 20, 1 << 20)],
    conflicts=[False, True],
    machine=MACHINES,
)
def test_copies(
    caches: tuple[int, int], conflicts: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the input are copied or not, and keep their places for a long time or a short one."""
    monkeypatch.setattr(weight_grad, "_set_conflicts", lambda c, machine: conflicts)
    small = replace(machine, l1=caches[0], l2=caches[1])
    for text in (*TEXTS[:2], *TEXTS[7:10], "n3 c83 9x7 k3 p1", "n1 c8 9x5 k7x2 p3x1"):
        check(spec_of(text), small, room=1)


def test_columns_that_share_lines_are_copied() -> None:
    assert current().l1 <= 64 << 10
    for channels, copied in ((256, True), (240, False)):
        spec = spec_of(f"n1 c{channels} 28x28 k3 p1")
        work = plan_weight_grad(spec, channels_last=True).work
        assert any(size for name, size in work.scratch.items() if name.startswith("x")) == copied


def test_long_sums_keep_their_digits(machine: Machine) -> None:
    rng = np.random.default_rng(0)
    spec = spec_of("n1 c16 300000 k3 p1")
    x, g = (rng.standard_normal((1, 300_000, 16)).astype(np.float32) for _ in range(2))
    w = np.full(spec.weight_shape, np.nan, np.float32)
    strides = 300_000 * 16, 1, 16
    run(build_weight_grad(spec, strides, strides, (3, 3, 1), machine=machine), x, w, g, 2)
    wide, other = (np.pad(a[0], ((1, 1), (0, 0))).astype(np.float64) for a in (x, g))
    for k in range(3):
        want = (wide[k : k + 300_000] * other[1:-1]).sum(axis=0)
        size = np.linalg.norm(wide, axis=0) * np.linalg.norm(other, axis=0)
        assert (np.abs(w[:, 0, k] - want) < 2e-7 * size).all()


@pytest.mark.parametrize("text", ["n2 c96 14x14 k3 s2 p1", "n8 c32 28x28 k5 p2", "n2 c16 99 k9"])
def test_a_depthwise_layer_is_depthwise_in_all_directions(text: str) -> None:
    spec = spec_of(text)
    assert plan_forward(spec, channels_last=True).reasons[0][1][0].name == "depthwise"
    for _, candidates in plan_input_grad(spec, channels_last=True).reasons:
        assert candidates[0].name == "depthwise"
    back = plan_weight_grad(spec, channels_last=True)
    assert back.reasons[0][1][0].name == "depthwise"
    # The sums are little memory beside the input, and there is work for two threads.
    item = spec.itemsize
    sums = sum(size for name, size in back.work.scratch.items() if name.startswith("sums"))
    assert sums <= np.prod(spec.input_shape) * item / 4 + 4096
    assert back.work.steps[0].items >= 2
    positions = plan_weight_grad(spec).reasons[0][1][0].name == "depthwise"
    assert positions


@pytest.mark.parametrize("name", ["avx512", "neon"])
@pytest.mark.parametrize("text", TEXTS[:4] + TEXTS[8:11])
def test_code_for_other_machines(text: str, name: str) -> None:
    for tail in ("", " f64"):
        spec, machine = spec_of(text + tail), row(name)
        shapes = spec.input_shape, spec.output_shape
        x, g = (contiguous(shape, True) for shape in shapes)
        plan = build_weight_grad(spec, x, g, contiguous(spec.weight_shape, False), machine=machine)
        for step in plan.work.steps:
            assert object_code(step.recipe, machine).startswith(b"\x7fELF")


def test_sums_stay_in_registers() -> None:
    if current().registers < 16:
        pytest.skip("as many registers as the tile was made for")
    spec = spec_of("n8 c32 28x28 k3 p1")
    x, g = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    plan = build_weight_grad(spec, x, g, contiguous(spec.weight_shape, False), machine=current())
    text = plan.region("all").kernels[0].assembly()
    body = text[text.index("sums0:") : text.index("copy_x:")]
    stores = [line for line in body.splitlines() if "(%rsp)" in line and "mm" in line]
    assert len(stores) < 8, stores
