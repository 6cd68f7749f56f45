"""Depthwise layers with channels first: vectors along a row, at its ends masked."""

import numpy as np
import pytest
from grid import MACHINES, grid
from methods.test_every_method import check

from faltung import conv, get_threads, set_threads
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Functions
from faltung.geometry import parse
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation, contiguous, forward
from faltung.methods.grouped import planes
from faltung.methods.grouped.lanes import lane_order
from faltung.methods.grouped.planes_kernel import needed
from faltung.plan import plan_forward, plan_input_grad

TEXTS = [
    "n2 c5>5 13x30 k3 p1 g5",
    "n1 c3>3 14x14 k3 s2 p1 g3",
    "n2 c3>3 7x7 k5 p2 g3",
    "n1 c2>2 9x70 k7 s2 p3 g2",
    "n1 c2>2 8x41 k3x4 s1x2 d1x2 p1x3 g2",
    "n1 c3>3 11x33 k3x5 d2x3 p2x6 g3",
    "n2 c2>2 3x4x21 k3 s1x1x2 p1 g2",
    "n1 c4>4 67 k9 s2 p4 g4",
    "n1 c2>2 1x1 k3 p1 g2",
    "n1 c2>2 6x5 k2 s2 p(0,3)x(4,1) g2",
]


def problem(text: str) -> Correlation:
    spec = parse(text)
    x, out = contiguous(spec.input_shape, False), contiguous(spec.output_shape, False)
    return forward(spec, x, contiguous(spec.weight_shape, False), out)


@grid(text=TEXTS, machine=MACHINES)
def test_exact(text: str, machine: Machine) -> None:
    assert planes.why_not(problem(text), machine) is None
    check(parse(text), "depthwise", machine, always=True)
    check(parse(f"{text} f64"), "depthwise", machine, always=True)


@pytest.mark.parametrize("text", TEXTS)
def test_bits(text: str) -> None:
    """Those of ``direct``, for any number of threads, and for a sample alone."""
    spec, rng = parse(text), np.random.default_rng(0)
    x = rng.standard_normal(spec.input_shape).astype(np.float32)
    w = rng.standard_normal(spec.weight_shape).astype(np.float32)
    given = {
        "stride": spec.stride,
        "dilation": spec.dilation,
        "padding": tuple((axis.lo, axis.hi) for axis in spec.axes),
        "groups": spec.groups,
    }
    found, before = set(), get_threads()
    for threads in (1, 3):
        set_threads(threads)
        try:
            found.add(conv(x, w, method="depthwise", **given).tobytes())
            alone = [conv(one[None], w, method="depthwise", **given) for one in x]
            found.add(np.concatenate(alone).tobytes())
        finally:
            set_threads(before)
    assert found == {conv(x, w, method="direct", **given).tobytes()}


def test_the_policy_takes_it() -> None:
    for text in ("c96>96 112x112 k3 s2 p1 g96", "c240>240 28x28 k5 p2 g240"):
        assert plan_forward(parse(text)).reasons[0][1][0].name == "depthwise"
    assert plan_input_grad(parse("c32>32 56x56 k3 p1 g32")).reasons[0][1][0].name == "depthwise"


def test_why_not() -> None:
    def why(text: str) -> str | None:
        return planes.why_not(problem(text), current())

    assert why("c4>4 9x30 k3 s2x3 g4") == "a stride of more than two along the last axis"
    assert why("c4>4 9x30 k3 p1 g4 m:circular") == "borders along the last axis are not zeros"
    assert why("c4>4 900 k700 p99 g4") == "rows of taps are too long for the code"


def test_every_second_element(machine: Machine) -> None:
    """Each lane once, and half of the lanes of 128 bits from either vector, so one shuffle does."""
    v = Functions(Module(), machine, "float32").open("f", [])
    order = lane_order(v)
    assert sorted(order) == list(range(v.lanes))
    assert needed(2, 1, 2, 1, v.lanes) == (2 * v.lanes + 2, 3 * v.lanes + 2)
    assert needed(3, 1, 2, 1, v.lanes) == needed(2, 1, 2, 1, v.lanes)
    assert needed(3, 1, 1, 2, v.lanes) == (v.lanes + 6,)
