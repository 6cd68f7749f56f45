"""The policy: which method it chooses, and that only what may affects the bits of a result."""

import math
from dataclasses import replace

import numpy as np
import pytest
from grid import grid

import faltung
from cases import CASES, Case
from faltung import nn
from faltung.geometry import parse
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.method import Method
from faltung.methods.plain import direct, weight_grad
from faltung.plan import Plan, plan_forward, plan_input_grad, plan_weight_grad
from faltung.plan.choose import AUTO, FORWARD, WEIGHT_GRAD, Policy, policy_of
from faltung.plan.plan import duration
from faltung.program.inference import Inference
from faltung.program.state import State

TEXT = "c64>64 14x14 k3 p1"


def _transform(method: Method, times: float) -> Method:
    """A transform that is a sum in disguise: ``times`` the price of ``method``."""

    class Disguised(type(method)):  # type: ignore[misc]
        transform = True

        def cost(self, c: Correlation, machine: Machine) -> float:
            return math.inf if self.why_not(c, machine) else times * method.cost(c, machine)

        def why_not(self, c: Correlation, machine: Machine) -> str | None:
            return None if c.windows[-1].axis.stride == 1 and c.taps > 1 else "a stride or one tap"

    return Disguised()  # type: ignore[no-any-return]


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> str:
    """A transform at half the price of `direct`, alone among its kind."""
    before = [(table, dict(table)) for table in (FORWARD, WEIGHT_GRAD)]
    for table, method in ((FORWARD, direct.DIRECT), (WEIGHT_GRAD, weight_grad.DIRECT_WEIGHT_GRAD)):
        for name in [name for name, row in table.items() if row.transform]:
            monkeypatch.delitem(table, name)  # type: ignore[arg-type]
        monkeypatch.setitem(table, "half", _transform(method, 0.5))  # type: ignore[arg-type]
    yield "half"
    for table, rows in before:  # in their order, which decides between equals
        table.clear()  # type: ignore[attr-defined]
        table.update(rows)  # type: ignore[attr-defined]


def names(plan: Plan) -> set[str]:
    return {candidates[0].name for _, candidates in plan.reasons}


def why(plan: Plan, name: str) -> str | None:
    return next(c.why_not for _, candidates in plan.reasons for c in candidates if c.name == name)


@pytest.mark.parametrize(
    "text", [TEXT, "c3>5 9x8 k3 p1", "c1>1 50 k9", "c8>8 6x5x4 k3", "c4>4 3x3 k3", "c16>2 1x9 k1x3"]
)
def test_a_transform_is_taken_for_every_batch_and_layout_or_for_none(cheap: str, text: str) -> None:
    for planner in (plan_forward, plan_input_grad):
        found = {
            cheap in names(planner(replace(parse(text), batch=batch), channels_last=last))
            for batch in (1, 2, 7, 64)
            for last in (False, True)
        }
        assert len(found) == 1, (text, planner)
    batch = replace(parse(text), batch=4)
    found = {cheap in names(plan_weight_grad(batch, channels_last=last)) for last in (False, True)}
    assert len(found) == 1


@grid(case=CASES[::4], every=1)
def test_real_transforms_look_at_a_sample_alone(case: Case) -> None:
    for planner in (plan_forward, plan_input_grad):
        found = {
            tuple(
                best.name if FORWARD[best.name].transform else "sum"
                for _, (best, *_) in planner(
                    replace(case.spec, batch=batch), channels_last=last
                ).reasons
            )
            for batch in (1, 3, 16)
            for last in (False, True)
        }
        assert len(found) == 1, found


def test_a_transform_has_to_win(monkeypatch: pytest.MonkeyPatch, cheap: str) -> None:
    assert names(plan_forward(parse(TEXT), channels_last=True)) == {cheap}
    monkeypatch.setitem(FORWARD, cheap, _transform(direct.DIRECT, 0.97))
    plan = plan_forward(parse(TEXT), channels_last=True)
    assert names(plan) == {"direct"}
    assert why(plan, cheap) == "0.97 times the best sum, for one sample"
    assert why(plan_forward(parse("c8>8 9x9 k1")), cheap) == "a stride or one tap"


def test_strict_leaves_transforms_out(cheap: str) -> None:
    for planner in (plan_forward, plan_input_grad, plan_weight_grad):
        assert names(planner(parse(TEXT), channels_last=True)) == {cheap}
        plan = planner(parse(TEXT), channels_last=True, precision="strict")
        assert cheap not in names(plan)
        assert why(plan, cheap) == "precision='strict'"
        assert "precision='strict'" in str(plan)
    with pytest.raises(ValueError, match=r"^method='half': must be a plain sum where precision='s"):
        Policy("strict", cheap)


def test_strict_reaches_programs_and_models(cheap: str) -> None:
    net = nn.Sequential(nn.Conv(64, 3), nn.Conv(64, 3), nn.GlobalAvgPool(), nn.Linear(3))
    model = faltung.Model(net, (64, 14, 14), precision="strict")
    graph = model.graph
    state = State(graph.parameters, "float32")

    def methods(program: Inference) -> set[str]:
        plans = [made.plan for made in program.assembly.lowered if made.plan is not None]
        return set().union(*map(names, plans))

    assert cheap in methods(Inference(graph, state, 2))
    assert cheap not in methods(Inference(graph, state, 2, precision="strict"))
    assert cheap not in methods(model.program(2))
    again = faltung.Model.from_about(model.about())
    assert again.precision == "strict"
    assert "precision" not in faltung.Model(net, (64, 14, 14)).about()
    with pytest.raises(ValueError, match=r"^precision='exact': must be one of fast, strict$"):
        faltung.Model(net, (64, 14, 14), precision="exact")


@pytest.mark.parametrize("text", ["n2 c5>7 9x8 k3 p1", "n2 c6>6 9x8 k3 s2 p1 g6"])
def test_every_method_by_name(text: str) -> None:
    """All plain sums are exact on small integers, or say why they do not apply."""
    spec = parse(text)
    rng = np.random.default_rng(0)
    x, w, g = (
        rng.integers(-3, 4, shape).astype(np.float32)
        for shape in (spec.input_shape, spec.weight_shape, spec.output_shape)
    )
    options = {"padding": 1, "stride": spec.stride, "groups": spec.groups}
    calls = (
        (FORWARD, lambda **how: faltung.conv(x, w, **options, **how)),
        (FORWARD, lambda **how: faltung.conv_input_grad(g, w, x.shape, **options, **how)),
        (WEIGHT_GRAD, lambda **how: faltung.conv_weight_grad(x, g, w.shape, **options, **how)),
    )
    for table, call in calls:
        want, done = call(precision="strict"), 0
        for name, row in table.items():
            if row.transform:
                continue
            try:
                np.testing.assert_array_equal(call(method=name), want)
                done += 1
            except ValueError as error:
                assert str(error).startswith(f"method={name!r}: must be one of ")
                assert "direct" in str(error) and f"for this problem; {name}: " in str(error)
        assert done


def test_refusals_are_one_line() -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    every = ", ".join(("auto", *dict.fromkeys((*FORWARD, *WEIGHT_GRAD))))
    cases = (
        ("precision", "exact", "precision='exact': must be one of fast, strict"),
        ("precision", None, "precision=None: must be one of fast, strict"),
        ("method", "im2col", f"method='im2col': must be one of {every}"),
        ("method", ["direct"], f"method=['direct']: must be one of {every}"),
    )
    for argument, value, text in cases:
        for call in (faltung.conv, lambda x, w, **how: faltung.Conv(w, **how)):
            with pytest.raises(ValueError) as caught:
                call(x, w, **{argument: value})
            assert str(caught.value) == text
    with pytest.raises(ValueError) as caught:
        faltung.conv(x, w, method="depthwise")
    assert " for this problem; depthwise: " in str(caught.value)


def test_a_layer_keeps_its_policy() -> None:
    layer = faltung.Conv(np.ones((3, 2, 3), np.float32), precision="strict", method="spatial")
    x = np.ones((2, 2, 9), np.float32)
    for one in (layer, layer.__reduce__()[0](*layer.__reduce__()[1])):
        assert names(one.plan(x)) == {"spatial"}
        assert one(x)[0, 0, 0] == 6


def test_the_usual_policy_is_one_object() -> None:
    assert policy_of("fast", "auto") is AUTO
    assert policy_of("strict") == Policy("strict")


def test_prices_are_nanoseconds_of_the_row() -> None:
    machine, slow = current(), replace(current().speed, ghz=current().speed.ghz / 2)
    spec = parse("c64>64 28x28 k3 p1")
    one = plan_forward(spec, machine=machine)
    two = plan_forward(spec, machine=replace(machine, speed=slow))
    assert two.reasons[0][1][0].ns == pytest.approx(2 * one.reasons[0][1][0].ns)
    # A map that is only copied waits for memory, whatever the clock rate.
    moved = parse("n1 c1>1 4000x4000 k1")
    by_memory = plan_forward(moved, machine=replace(machine, speed=replace(slow, ghz=1e6)))
    assert by_memory.reasons[0][1][0].ns >= 2 * 4 * 16e6 / machine.speed.rates[3]


def test_durations_for_people() -> None:
    assert [duration(ns) for ns in (3.2, 1234, 5.678e6, 9e9)] == [
        "3 ns",
        "1.23 us",
        "5.68 ms",
        "9 s",
    ]
