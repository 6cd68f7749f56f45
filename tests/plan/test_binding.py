"""Regions: arrays in any number of memories, with addresses for each call or fixed ones."""

from dataclasses import replace

import numpy as np
import pytest

import faltung
from faltung.geometry import parse
from faltung.jit.target import current
from faltung.methods.base.correlation import contiguous
from faltung.methods.base.step import Operand, Step, Work, relocated
from faltung.plan.binding import SLOTS, Region, layout, places
from faltung.plan.build import build_forward
from faltung.plan.plan import Plan

PARAMETERS, ARENA, PACKED, INPUT, OUTPUT = range(5)


def forward(text: str) -> Plan:
    spec = parse(text)
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    return build_forward(
        spec, *(contiguous(shape, False) for shape in shapes), bias=True, machine=current()
    )


def named(steps: list[Step], own: str, **operands: Operand) -> list[Step]:
    """The steps of one layer, with its own arrays named after it."""
    words = (word for step in steps for word in step.arguments)
    names = {word.name for word in words if isinstance(word, Operand)} - set(SLOTS)
    mine = {name: Operand(f"{own}.{name}") for name in names}
    return [relocated(step, mine | operands) for step in steps]


def test_a_program_of_two_layers_in_five_memories() -> None:
    plans = [forward("n2 c3>5 9x8 k3 p1"), forward("n2 c5>4 9x8 k3 s2 p1 m:reflect")]
    rng = np.random.default_rng(0)
    x, *params = (
        rng.integers(-4, 5, shape).astype(np.float32)
        for shape in ((2, 3, 9, 8), (5, 3, 3, 3), (5,), (4, 5, 3, 3), (4,))
    )
    where, kept, scratch = {}, 0, 0
    steps: list[Step] = []
    for number, plan in enumerate(plans):
        offsets, size = layout(plan.work.kept)
        where |= {f"{number}.{name}": (PACKED, kept + at) for name, at in offsets.items()}
        kept += size
        offsets, size = layout(plan.work.scratch)
        where |= {f"{number}.{name}": (ARENA, scratch + at) for name, at in offsets.items()}
        scratch += size
    middle = scratch
    flat = np.concatenate([param.ravel() for param in params])
    starts = np.cumsum([0, *(param.nbytes for param in params)])
    where |= {"x": (INPUT, 0), "params": (PARAMETERS, 0), "arena": (ARENA, 0), "y": (OUTPUT, 0)}
    for number, plan in enumerate(plans):
        work = plan.work
        made = named(
            [*work.prepare, *(replace(step, barrier=True) for step in work.steps)],
            str(number),
            x=Operand("arena", middle) if number else Operand("x"),
            out=Operand("y") if number else Operand("arena", middle),
            w=Operand("params", int(starts[2 * number])),
            bias=Operand("params", int(starts[2 * number + 1])),
        )
        steps += [replace(made[0], barrier=number > 0), *made[1:]]
    region = Region(steps, where, current(), 5)
    y = np.full((2, 4, 5, 4), np.nan, np.float32)
    memories = flat, np.empty(middle + 2 * 5 * 9 * 8 * 4, np.uint8), np.empty(kept, np.uint8), x, y
    bound = region.bind([memory.ctypes.data for memory in memories])
    for threads in (1, 2, 3):
        for _ in range(2):
            y[:] = np.nan
            assert 1 <= bound.run(threads) <= threads
            want = faltung.conv(x, params[0], params[1], padding=1)
            given = {"stride": 2, "padding": 1, "padding_mode": "reflect"}
            np.testing.assert_array_equal(y, faltung.conv(want, params[2], params[3], **given))
            x += 1


def test_binding_and_calling_do_the_same() -> None:
    plan = forward("n1 c4>7 6x7 k3")
    rng = np.random.default_rng(1)
    x, w, bias = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((1, 4, 6, 7), (7, 4, 3, 3), (7,))
    )
    outs = [np.full((1, 7, 4, 5), np.nan, np.float32) for _ in range(2)]
    packed = np.empty(layout(plan.work.kept)[1], np.uint8)
    region = plan.region("all")
    for out, run in zip(outs, (region.run, lambda a, t: region.bind(a).run(t)), strict=True):
        run([*(a.ctypes.data for a in (x, w, out, bias, packed)), 0], 2)
    assert outs[0].tobytes() == outs[1].tobytes()


def test_what_has_no_place_is_named() -> None:
    step = forward("c1>1 5 k3").work.steps[-1]
    with pytest.raises(ValueError, match=r"'weights\.0'"):
        Region([step], places(Work()), current())
    with pytest.raises(ValueError, match="2 slots"):
        Region([step], places(Work()), current(), 2)
    with pytest.raises(ValueError, match=r"must have 'weights\.0', for direct"):
        relocated(step, {"x": Operand("a"), "out": Operand("b")})
    region = forward("c1>1 5 k3").region("all")
    with pytest.raises(ValueError, match="must be 6"):
        region.bind([0, 0])


def test_relocating_adds_offsets() -> None:
    step = Step(forward("c1>1 5 k3").work.steps[-1].recipe, 3, (Operand("x", 8), 5), "t", True)
    moved = relocated(step, {"x": Operand("arena", 100)})
    assert moved.arguments == (Operand("arena", 108), 5)
    assert (moved.recipe, moved.items, moved.barrier) == (step.recipe, 3, True)


def test_a_step_of_no_items_keeps_its_barrier() -> None:
    first, *_, last = forward("c1>1 5 k3").work.prepare + forward("c1>1 5 k3").work.steps
    nothing = replace(last, items=0, barrier=True)
    region = Region(
        [first, nothing, replace(last, barrier=False)],
        places(forward("c1>1 5 k3").work),
        current(),
    )
    heads = region._template[: 4 * 2].reshape(2, 4)
    assert heads[:, 3].tolist() == [1, 0]


def test_nothing_to_do_is_done_at_once() -> None:
    bound = Region([], places(Work()), current()).bind([0] * 6)
    assert bound.run(1) == 1
    assert bound.run(2) >= 1
