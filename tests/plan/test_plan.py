"""Plans: choices and reasons, what they print, and their cost before anything is compiled."""

from collections.abc import Callable
from math import prod

import numpy as np
import pytest
from grid import grid

from cases import CASES, Case
from faltung.geometry import ConvSpec, parse
from faltung.jit.compile import counts, object_code
from faltung.machine.detect import describe
from faltung.ops.arguments import elements
from faltung.ops.run import planned
from faltung.plan import Plan, plan_forward, plan_input_grad, plan_weight_grad
from faltung.plan.binding import layout
from faltung.plan.build import build_input_grad
from faltung.plan.choose import AUTO

PLANNERS = plan_forward, plan_input_grad, plan_weight_grad


def method(plan: Plan) -> str:
    return plan.reasons[0][1][0].name


def strict(planner: Callable[..., Plan], spec: ConvSpec, **options: bool) -> str:
    """The method that is chosen without transforms."""
    return method(planner(spec, precision="strict", **options))


def test_one_channel_runs_along_space() -> None:
    assert strict(plan_forward, parse("c1>1 1000000 k101")) in ("signal", "spatial")
    assert strict(plan_forward, parse("c3>2 200x200 k3 p1")) == "spatial"
    assert strict(plan_forward, parse("c64>64 56x56 k3 p1"), channels_last=True) == "direct"


def test_contiguous_groups_are_lanes() -> None:
    depthwise = parse("c96>96 56x56 k7 p3 g96")
    assert strict(plan_forward, depthwise, channels_last=True) == "depthwise"
    assert strict(plan_input_grad, depthwise, channels_last=True) == "depthwise"
    assert strict(plan_forward, depthwise) == "depthwise"
    two = parse("c96>192 56x56 k3 p1 g96")
    assert strict(plan_forward, two, channels_last=True) != "depthwise"


def test_padding_with_zeros_needs_no_copy() -> None:
    for text in ("c64>64 56x56 k3 p1", "c3>64 224x224 k7 s2 p3", "c8>16 9x9x9 k3 p1"):
        for channels_last in (False, True):
            plan = plan_forward(parse(text), channels_last=channels_last, precision="strict")
            assert plan.work.scratch == {}


@grid(case=CASES, every=1)
def test_scratch_is_no_more_than_the_padded_input(case: Case) -> None:
    spec = case.spec
    padded = spec.batch * spec.channels_in * prod(axis.padded for axis in spec.axes)
    for channels_last in (False, True):
        plan = plan_forward(spec, channels_last=channels_last, precision="strict")
        # Signals are computed in a few segments, each with its own scratch.
        own = 2048 * plan.machine.vector_bytes if plan.reasons and method(plan) == "signal" else 64
        assert layout(plan.work.scratch)[1] <= padded * spec.itemsize + own


def test_phases_of_a_gradient_share_one_copy() -> None:
    plan = plan_input_grad(parse("c3>64 56x56 k7 s2 p3"), channels_last=True)
    assert len(plan.reasons) == 4
    assert len(plan.work.scratch) == 1


@pytest.mark.parametrize("text", ["c4>4 1000000000 k5 p2", "c2>2 30000x30000 k3 p1 d2"])
def test_a_billion_elements_are_planned_at_once(text: str) -> None:
    before = counts()
    plan = plan_forward(parse(text))
    assert counts() == before
    assert sum(step.items for step in plan.work.steps) > 1


@pytest.mark.parametrize("planner", PLANNERS)
def test_prints_as_a_tree(planner: object) -> None:
    plan = planner(parse("n2 c8>32 20x20 k3 s2 p1 m:reflect"))  # type: ignore[operator]
    text = str(plan)
    assert text.startswith("n2 c8>32 20x20 k3 s2 p1 m:reflect")
    assert "└─ run" in text
    kernels = plan.kernels()
    assert len({id(kernel) for kernel in kernels}) == len(kernels)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize(
    ("text", "triple", "magic"),  # how object files of each system begin
    [
        ("c20>20 30x30 k3 s2 p1 m:reflect", "aarch64-unknown-linux-gnu", b"\x7fELF"),
        ("c1>1 999 k11 f64", "arm64-apple-darwin23.1.0", b"\xcf\xfa\xed\xfe"),
        ("c3>40 9 k1", "aarch64-pc-windows-msvc", b"\x64\xaa"),
    ],
)
def test_neon_code_is_accepted(planner: object, text: str, triple: str, magic: bytes) -> None:
    machine = describe(triple, "apple-m1", "")
    for channels_last in (False, True):
        plan = planner(parse(text), channels_last=channels_last, machine=machine)  # type: ignore[operator]
        for step in [*plan.work.prepare, *plan.work.steps]:
            assert object_code(step.recipe, machine).startswith(magic)


@pytest.mark.parametrize("last", [False, True])
def test_a_gradient_is_planned_as_the_function_computes_it(last: bool) -> None:
    """Its price includes transforming the weights, which the function does at every call."""
    spec = parse("c512>512 7x7 k3 p1")
    grad = np.ones(spec.output_shape, np.float32)
    w = np.ones(spec.weight_shape, np.float32)
    out = np.empty(spec.input_shape, np.float32)
    if last:
        grad, out = (np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) for a in (grad, out))
    plan = planned(build_input_grad, spec, tuple(map(elements, (grad, w, out))), AUTO, bias=False)
    assert str(plan_input_grad(spec, channels_last=last)) == str(plan)
    once = plan_input_grad(spec, channels_last=last, packs=False)
    assert any("transform weights" in step.title for step in once.work.prepare)
    assert not any("transform weights" in step.title for step in plan.work.prepare)
