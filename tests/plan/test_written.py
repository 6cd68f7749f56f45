"""Plans as data: what is read is what was written, and nothing else is a plan."""

import json

import numpy as np
import pytest
from grid import MACHINES, grid

from cases import CASES, Case
from faltung import parse, plan_forward, plan_input_grad, plan_weight_grad
from faltung.geometry.errors import FaltungError
from faltung.machine.table import Machine
from faltung.plan.plan import Plan
from faltung.plan.written import Unreadable, Written, written

PLANNERS = {"forward": plan_forward, "input": plan_input_grad, "weight": plan_weight_grad}


def same(a: Plan, b: Plan) -> None:
    """Every field, recipe, number and table."""
    assert str(a) == str(b)
    for name in ("spec", "direction", "machine", "reasons", "cycles", "aux"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("kept", "scratch", "packs"):
        assert getattr(a.work, name) == getattr(b.work, name)
        assert repr(getattr(a.work, name)) == repr(getattr(b.work, name))
    for name in ("prepare", "steps"):
        for one, other in zip(getattr(a.work, name), getattr(b.work, name), strict=True):
            assert repr(one.recipe) == repr(other.recipe)
            assert one.recipe == other.recipe
            assert (one.items, one.title, one.barrier) == (other.items, other.title, other.barrier)
            for x, y in zip(one.arguments, other.arguments, strict=True):
                assert type(x) is type(y)
                if isinstance(x, np.ndarray):
                    assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())
                    assert y.flags.c_contiguous
                    assert y.ctypes.data % 8 == 0
                else:
                    assert x == y


@grid(case=CASES, name=PLANNERS, last=[False, True], machine=MACHINES, every=12)
def test_every_plan_comes_back(case: Case, name: str, last: bool, machine: Machine) -> None:
    plan = PLANNERS[name](case.spec, channels_last=last, machine=machine)
    same(plan, Written(written({"asked": plan})).plan("asked", machine))


def test_several_plans_share_their_tables() -> None:
    specs = {text: parse(text) for text in ("c8>8 12x12 k3 p1", "n2 c8>8 12x12 k3 p1")}
    plans = {text: plan_forward(spec) for text, spec in specs.items()}
    data = written(plans)
    found = Written(data)
    for text, plan in plans.items():
        same(plan, found.plan(text, plan.machine))
    assert "another" not in found
    assert len(data) < sum(len(written({text: plan})) for text, plan in plans.items())


def test_zeros_keep_their_signs() -> None:
    """As JSON has them: 0 and False, 0.0 and -0.0, and what is not finite."""
    plan = plan_forward(parse("c8>8 12x12 k3 p1"))
    for number in (0.0, -0.0, float("inf"), 1, True):
        plan.cycles = number
        found = Written(written({"": plan})).plan("", plan.machine)
        assert repr(found.cycles) == repr(number)


def test_what_is_no_plan() -> None:
    plan = plan_forward(parse("c8>8 12x12 k3 p1"))
    data = written({"asked": plan})
    for broken in (b"", data[:-8], data[:100], data[8:], bytes(len(data)), b"\xff" * len(data)):
        with pytest.raises(Unreadable):
            Written(broken).plan("asked", plan.machine)


def test_mutations_are_read_or_refused() -> None:
    """Whatever the bytes: a plan, or none, and no other error."""
    plan = plan_forward(parse("c8>8 12x12 k3 p1"))
    data = written({"asked": plan})
    rng = np.random.default_rng(0)
    size = int.from_bytes(data[:8], "little")
    read = 0
    for _ in range(400):
        made = bytearray(data)
        for at in rng.integers(8, 8 + size, rng.integers(1, 4)):
            made[at] = rng.integers(32, 127)
        try:
            Written(bytes(made)).plan("asked", plan.machine)
            read += 1
        except (Unreadable, FaltungError):
            pass
    assert read < 400


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "faltung.plan.shelf:Shelf",
        "faltung.plan.build:build_forward",
        "faltung.plan.written:json",
        "faltung.methods.base.kernel:Kernel",
        "faltung.methods.base.step:nothing",
        "faltung.nowhere:Kind",
    ],
)
def test_only_parts_of_plans_are_made(name: str) -> None:
    """A file names classes: those that are frozen dataclasses of the stages that plan."""
    text = json.dumps([{"asked": ["s", 0]}, [["o", name, "true"]]]).encode()
    text += b" " * (-len(text) % 8)
    made = Written(len(text).to_bytes(8, "little") + text)
    with pytest.raises(Unreadable):
        made.plan("asked", plan_forward(parse("c1>1 5 k3")).machine)
