"""Grouped and depthwise layers with vectors across the groups: exact, in every shape and place."""

import math

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from methods.fused import check as check_fused
from methods.test_every_method import check, only

from cases import random_axes
from faltung import Conv, get_threads, set_threads
from faltung.geometry import MODES, ConvSpec, parse
from faltung.geometry.axis import Axis
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import Correlation, contiguous, forward
from faltung.methods.base.step import Arrays, Operand, Step, Work
from faltung.methods.grouped import grouped
from faltung.methods.grouped.choice import Blocks, groups_per_vector
from faltung.methods.grouped.tables import pairs_of
from faltung.plan import plan_forward, plan_input_grad

DEPTHWISE = [
    "n2 c40 9x31 k5x3 s2x1 p2x1",
    "n2 c16 3x70 k1x7 p0x3",
    "n2 c9 30 k29 p14",
    "n1 c33 60 k4 s3 d5 p(9,2)",
    "n2 c24 9x9 k3 d2 p2",
    "n1 c8 13x12 k3 s2x1 d3x2 p3x2",
    "n2 c8 4x5x6 k3 p1",
    "n1 c19 5x4x7 k3x2x5 s1x2x1 p1x0x2",
    "n2 c20 7x8 k3 p2 m:reflect",
    "n1 c20 7x8 k3 p2 m:circular,zeros",
    "n1 c20 7x8 k3 p2 m:zeros,circular",
    "n1 c9 9x41 k3x31 p1x15",
    "n1 c7 3 k2 p60",
    "n2 c256 40 k31 p15",
    "n1 c256 11x9 k5 p2",
    "n1 c264 7x9 k7 s2x1 d1x2 p3x6",
    "n1 c256 5x9x4 k3 p1 m:circular,reflect,zeros",
    "n1 c256 13x6 k5x3 d3x1 p2x0 m:reflect,zeros",
    "n1 c40 20x50 k11x21 p5x10",
    "n1 c5 1x9 k3 p1",
    "n2 c18 7x8 k3 p(1,0)x(0,2) flip",
    "n1 c17 12x13 k3 p1",
    "n2 c24 11x15 k3 s2 p1",
    "n1 c16 15x10 k5 p2",
    "n1 c8 17x16 k7 s2x1 p3",
    "n1 c9 13x14 k3x4 d2 p2x3",
]
GROUPED = [
    "n2 c32>32 9x8 k3 p1 g8",
    "n1 c36>36 7x9 k3 p1 g9",
    "n1 c64>64 6x7 k3 p1 g8",
    "n1 c24>24 9x9 k3 s2 p1 g12",
    "n1 c9>9 8x8 k3 p1 g3",
    "n1 c16>48 7x6 k3 p1 g16",
    "n1 c10>50 7x6 k3 p1 g10",
    "n1 c48>16 7x6 k3 d2 p2 g8",
    "n1 c40>20 9 k5 p2 g5",
    "n1 c12>24 4x5x6 k3 p1 g6",
    "n1 c16>16 7x8 k3 p2 g4 m:reflect,circular",
    "n1 c20>20 6x40 k3x31 p1x15 g5",
    "n1 c28>14 7x8 k4x3 s3x2 p1 g7 flip",
    "n1 c12>12 5x6 k1 g6",
    "n1 c256>256 6x7 k3 p1 g32",
    "n1 c256>256 9x8 k7 p3 g64",
    "n1 c8>24 11x9 k3 p1 g8",
    "n1 c256>256 6x7 k3x4 s2x1 p1 g64",
    "n1 c256>512 5x6 k5 p2 g256",
    "n1 c512>256 5x6 k3 p1 g256",
    "n1 c30>30 9x40 k3x31 p1x15 g10",
]


def spec_of(text: str) -> ConvSpec:
    """A depthwise spec where the text has the channels once."""
    if ">" in text:
        return parse(text)
    batch, channels, *rest = text.split()
    return parse(f"{batch} {channels}>{channels[1:]} {' '.join(rest)} g{channels[1:]}")


@grid(text=DEPTHWISE + GROUPED, machine=MACHINES)
def test_exact(text: str, machine: Machine) -> None:
    method = "grouped" if ">" in text else "depthwise"
    check(spec_of(text), method, machine, always=True)
    if text in DEPTHWISE[::3] + GROUPED[::3]:
        check(spec_of(f"{text} f64"), method, machine, always=True)


def test_random_problems(machine: Machine) -> None:
    @given(st.data())
    def walk(data: st.DataObject) -> None:
        rank = data.draw(st.integers(1, 3))
        axes = tuple(data.draw(random_axes(rank, MODES)) for _ in range(rank))
        groups = data.draw(st.sampled_from((2, 3, 8, 9)))
        inputs = groups * data.draw(st.integers(1, 5))
        outputs = groups * data.draw(st.integers(1, 9))
        batch, flip = data.draw(st.integers(1, 3)), data.draw(st.booleans())
        spec = ConvSpec(axes, inputs, outputs, batch, groups, "float32", flip)
        check(spec, "depthwise" if inputs == outputs == groups else "grouped", machine)

    walk()


@grid(
    text=["n2 c19 7x9 k3 p1", "n2 c20>20 7x6 k3 p1 g5", "n1 c4>12 9 k3 g4"],
    place=["plain", "wide"],
    name=["two", "residual"],
    machine=MACHINES,
)
def test_epilogues(
    text: str, place: str, name: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(text)
    method = "grouped" if ">" in text else "depthwise"
    monkeypatch.setattr("faltung.plan.build.choose", only(method))
    for last in (False, True):
        check_fused(spec, name, last, place, machine, 3)


@pytest.mark.parametrize("text", ["n5 c19 9x11 k3 p1", "n5 c24>24 9x11 k3 p1 g6"])
def test_bits(text: str) -> None:
    """The same for any number of threads, and for a sample alone."""
    spec = spec_of(text)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 9, 11, spec.channels_in)).astype(np.float32)
    w = rng.standard_normal(spec.weight_shape).astype(np.float32)
    layer = Conv(w, padding=1, groups=spec.groups, channels_last=True)
    found, before = set(), get_threads()
    for threads in (1, 2, 3):
        set_threads(threads)
        try:
            found.add(layer(x).tobytes())
            found.add(np.concatenate([layer(sample[None]) for sample in x]).tobytes())
        finally:
            set_threads(before)
    assert len(found) == 1


def test_where_they_apply() -> None:
    lanes = current().lanes("float32")

    def why_not(text: str, last: bool = True) -> tuple[str | None, ...]:
        spec = parse(text)
        x, out = contiguous(spec.input_shape, last), contiguous(spec.output_shape, last)
        c = forward(spec, x, contiguous(spec.weight_shape, False), out)
        return tuple(m.why_not(c, current()) for m in (grouped.DEPTHWISE, grouped.GROUPED))

    assert why_not("c64>64 9x9 k3 g64") == (None, "depthwise")
    assert why_not("c64>64 9x9 k3 g16")[1] is None
    assert why_not("c64>64 9x9 k3")[1] == "one group"
    wide = 4 * lanes
    assert why_not(f"c{wide}>{wide} 9x9 k3 g2")[1] == "a group fills vectors of its own"
    assert why_not("c64>64 9x9 k3 s2 g64", last=False) == (None, "depthwise")
    assert why_not("c64>64 9x9 k3 g32", last=False)[1] == "channels are not contiguous"


@pytest.mark.parametrize("text", ["c128>128 56x56 k3 p1 g32", "c64>128 28x28 k3 p1 g64"])
def test_the_policy_takes_it(text: str) -> None:
    if current().lanes("float32") < 8:
        pytest.skip("groups of four fill a vector here")
    for plan in (
        plan_forward(parse(text), channels_last=True),
        plan_input_grad(parse(text), channels_last=True),
    ):
        assert plan.reasons[0][1][0].name == "grouped"


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
def test_pairs(stride: int, dilation: int) -> None:
    """Every output once, or twice where it is its own pair."""
    axis = Axis(40, 3, stride, dilation)
    pairs = pairs_of(axis)
    assert sorted({o for pair in pairs for o in pair}) == list(range(axis.output))
    assert len([o for pair in pairs for o in set(pair)]) == axis.output
    apart = {b - a for a, b in pairs if a != b}
    assert all(step * stride % dilation == 0 for step in apart)


def test_zeros_of_the_padding_meet_no_infinity() -> None:
    """A tap in the padding is left out: an infinite weight there makes no NaN."""
    x = np.zeros((1, 5, 6, 16), np.float32)
    w = np.ones((16, 1, 3, 3), np.float32)
    w[:, :, 0] = np.inf
    y = Conv(w, padding=(1, 0), groups=16, channels_last=True)(x + 1)
    assert np.isfinite(y[0, 0]).all()
    assert np.isinf(y[0, 1:]).all()


@grid(
    text=DEPTHWISE[:4] + DEPTHWISE[-7:-3] + GROUPED[:3] + GROUPED[5:8] + GROUPED[-5:],
    name=["avx512", "neon"],
)
def test_code_for_other_machines(text: str, name: str) -> None:
    for tail in ("", " f64"):
        spec, machine = spec_of(text + tail), row(name)
        x, out = contiguous(spec.input_shape, True), contiguous(spec.output_shape, True)
        c = forward(spec, x, contiguous(spec.weight_shape, False), out)
        method = grouped.GROUPED if ">" in text else grouped.DEPTHWISE
        if method.why_not(c, machine) is not None:
            continue
        assert math.isfinite(method.cost(c, machine))
        tile = Blocks(c, machine, groups_per_vector(c, machine)).choose()
        assert tile.rows * tile.columns <= 28
        for step in _steps(c, machine):
            assert object_code(step.recipe, machine).startswith(b"\x7fELF")


def _steps(c: Correlation, machine: Machine) -> list[Step]:
    work = Work()
    arrays = Arrays(Operand("x"), Operand("w"), Operand("out"))
    grouped.GROUPED.plan(c, machine, work, arrays, False)
    return work.steps


def test_sums_stay_in_registers() -> None:
    if current().registers < 16:
        pytest.skip("as many registers as the tile was made for")
    plan = plan_forward(parse("c64>64 28x28 k3 p1 g64"), channels_last=True)
    text = plan.kernels()[-1].assembly()
    kept = [line for line in text.splitlines() if "(%rsp)" in line and "mm" in line]
    assert len(kept) <= 2  # a weight may be, which is stored once and read once
