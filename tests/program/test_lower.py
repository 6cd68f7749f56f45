"""Nodes as steps: every operation has some, views have none, plans are made once."""

from typing import get_args

import numpy as np
from graph import networks
from graph.networks import build, problem
from grid import grid

from faltung import nn
from faltung.geometry.expr import Expr, constant, operand
from faltung.graph.fuse import fused, needed
from faltung.graph.ops import (
    ChannelConv,
    Concat,
    Convolve,
    Dropout,
    FirstPosition,
    Op,
    Recurrent,
    Reshape,
    Slice,
)
from faltung.graph.value import Graph
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Operand
from faltung.plan.build import build_forward
from faltung.program.inputs import input_layouts
from faltung.program.lower import _LOWER, lower
from faltung.program.lowering import Lowered, Lowering, renamed
from faltung.program.places import Places
from faltung.program.state import State, strides


def lowering_of(
    name: str, batch: int = 2, machine: Machine | None = None
) -> tuple[Lowering, list[Lowered | None]]:
    """The training step of a row, node by node; nothing is compiled."""
    training = problem(name).training
    graph = training.graph
    grads = {value.name: p for p, value in training.gradients.items()}
    kept = {*grads, *(value.name for value in training.losses)}
    nodes, first = input_layouts(graph.inputs, fused(training.nodes, kept))
    weights = {p.name: strides(p) for p in graph.parameters}
    weights |= {grad: weights[name] for grad, name in grads.items()}
    places = Places(nodes, [graph.input.name, *grads], first)
    low = Lowering(places, weights, batch, graph.dtype, machine or current())
    return low, [lower(low, node) for node in nodes]


def test_every_operation_is_lowered() -> None:
    """But for those that `expand` takes apart."""
    assert set(get_args(Op)) - set(_LOWER) == {Dropout, Recurrent}


@grid(name=networks.TABLE, every=4)
def test_steps_name_buffers_that_are_there(name: str) -> None:
    """Those of the values of their node, and their own, which no other node has."""
    low, lowered = lowering_of(name)
    own: set[str] = set()
    for made in lowered:
        if made is None:
            continue
        mine = {*made.kept, *made.scratch}
        assert not mine & own
        own |= mine
        roots = {low.places.root(v).name for v in (*made.node.inputs, *made.node.outputs)}
        for step in (*made.prepare, *made.steps):
            for word in step.arguments:
                if isinstance(word, Operand):
                    assert word.name in roots | mine | set(low.constants), word
        for step in made.prepare:
            outputs = {low.places.root(v).name for v in made.node.outputs}
            named = {word.name for word in step.arguments if isinstance(word, Operand)}
            assert not named & outputs


@grid(name=networks.TABLE, every=4)
def test_only_views_have_no_steps(name: str) -> None:
    low, lowered = lowering_of(name)
    nodes = [made.node for made in lowered if made is not None]
    copied = [node for node, _ in low.places.copied]
    for made in lowered:
        if made is not None:
            assert made.steps
            assert not isinstance(made.node.op, Slice | FirstPosition)
            assert not isinstance(made.node.op, Concat) or made.node in copied
    assert len({id(node) for node in nodes}) == len(nodes)


def test_views_have_no_steps() -> None:
    graph = build("inception", training=False)
    nodes = needed(graph.nodes, {graph.output.name})
    low = plain(graph)
    made = [lower(low, node) for node in nodes]
    assert [isinstance(node.op, Concat) for node in nodes] == [one is None for one in made]


def plain(graph: Graph, batch: int = 2) -> Lowering:
    weights = {p.name: strides(p) for p in graph.parameters}
    nodes, first = input_layouts(graph.inputs, graph.nodes)
    places = Places(nodes, [graph.input.name], first)
    return Lowering(places, weights, batch, graph.dtype, current())


def test_plans_are_made_once_for_each_question() -> None:
    net = nn.Sequential(nn.Conv(4, 1), *(nn.Conv(4, 3, padding=1) for _ in range(5)))
    graph = nn.build(net, (3, 6, 6))
    low = plain(graph)
    made = [lower(low, node) for node in graph.nodes]
    plans = [one.plan for one in made if one is not None]
    assert len(plans) == 6
    assert len({id(plan) for plan in plans}) == 2
    kept = [name for one in made if one is not None for name in one.kept]
    assert len(set(kept)) == len(kept)


def test_other_questions_have_other_plans() -> None:
    graph = nn.build(nn.Conv(4, 3, padding=1), (3, 6, 6))
    low = plain(graph)
    spec = graph.nodes[0].op.spec
    first = low.plan(build_forward, spec, (1, 2, 3, 4), (1,) * 4, (4, 3, 2, 1), bias=False)
    again = low.plan(build_forward, spec, (1, 2, 3, 4), (1,) * 4, (4, 3, 2, 1), bias=False)
    other = low.plan(build_forward, spec, (1, 2, 3, 4), (1,) * 4, (4, 3, 2, 1), bias=True)
    assert first is again
    assert other is not first


def test_equal_formulas_that_differ_in_bits_have_other_plans() -> None:
    """0.0 == -0.0, and what is made of them is not alike; nor is it shared with another program."""
    graph = nn.build(nn.Conv(4, 3, padding=1), (3, 6, 6))
    spec = graph.nodes[0].op.spec
    strides = (1, 2, 3, 4), (1,) * 4, (4, 3, 2, 1)
    made = [
        plain(graph).plan(
            build_forward,
            spec,
            *strides,
            bias=True,
            epilogue=Epilogue(Expr("max", (operand(0), constant(zero)))),
        )
        for zero in (0.0, -0.0, 0.0)
    ]
    assert made[0] is made[2]
    texts = [repr(plan.work.steps[0].recipe) for plan in made]
    assert texts[0] == texts[2] != texts[1]


def test_response_normalisation_reads_a_constant() -> None:
    graph = build("response norm", training=False)
    low = plain(graph)
    across = next(node for node in graph.nodes if isinstance(node.op, ChannelConv))
    made = lower(low, across)
    assert made is not None
    ((name, values),) = low.constants.items()
    np.testing.assert_array_equal(values, across.op.weight)
    named = {
        w.name for s in (*made.prepare, *made.steps) for w in s.arguments if type(w) is Operand
    }
    assert name in named


def test_the_batch_is_no_part_of_a_spec() -> None:
    """One graph serves all batches."""
    graph = build("lenet", training=False)
    for batch in (1, 7):
        low = plain(graph, batch)
        for node in graph.nodes:
            made = lower(low, node)
            if made is not None and isinstance(node.op, Convolve):
                assert node.op.spec.batch == 1
                assert made.plan is not None
                assert made.plan.spec.batch == batch


def test_cycles_are_those_of_the_plan() -> None:
    _, lowered = lowering_of("wide")
    for made in lowered:
        if made is not None and made.plan is not None:
            assert made.cycles == made.plan.cycles > 0


def test_a_step_keeps_what_is_not_renamed() -> None:
    _, lowered = lowering_of("lenet")
    made = next(one for one in lowered if one is not None and one.scratch)
    (name, *_) = made.scratch
    step = next(
        s for s in made.steps if name in {w.name for w in s.arguments if isinstance(w, Operand)}
    )
    other = renamed(step, {name: Operand("elsewhere", 64)})
    for before, after in zip(step.arguments, other.arguments, strict=True):
        if isinstance(before, Operand) and before.name == name:
            assert after == Operand("elsewhere", 64 + before.offset)
        else:
            assert after is before or after == before


def test_flattening_moves_nothing_before_a_linear_layer() -> None:
    """The weights follow the map instead."""
    graph = build("lenet", training=False)
    assert not [node for node in graph.nodes if isinstance(node.op, Reshape)]
    state = State(graph.parameters, "float64")
    assert state.view("linear1.weight").shape == (12, 6, 2, 2)
