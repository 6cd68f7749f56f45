"""The rules that nodes from a file must meet: those of layers do, and nothing beside them."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from graph.interpreter import run
from nn.networks import GRIDS, NETWORKS, TOKENS

from faltung import nn
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, operand
from faltung.graph import ops
from faltung.graph.sound import RULES, check_node
from faltung.graph.sound_values import Unsound, formula
from faltung.graph.text import described, network_of, written
from faltung.graph.value import Graph, Node, Value
from faltung.nn.graphnet import GraphNet
from faltung.nn.text import parse


def graph_of(name: str) -> Graph:
    net, shape = NETWORKS[name]
    return nn.build(net, shape, dtype="float64", tokens=name in TOKENS)


def text_of(graph: Graph) -> str:
    names = {p.name: p.name for p in graph.parameters}
    return written(
        described(graph, names, {n.layer: (n.layer or "end", "Kind") for n in graph.nodes})
    )


def fits(graph: Graph, node: Node) -> bool:
    inner = {p.name: p.inner for p in graph.parameters}
    try:
        check_node(node.op, node.inputs, node.outputs, inner)
    except Unsound:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in GRIDS])
def test_nodes_of_layers_are_sound_and_others_are_not(name: str) -> None:
    graph = graph_of(name)
    for node in graph.nodes:
        assert fits(graph, node), node
        for i, value in enumerate(node.outputs):
            for axis in range(len(value.shape)):
                shape = tuple(n + (k == axis) for k, n in enumerate(value.shape))
                wrong = [
                    replace(v, shape=shape) if k == i else v for k, v in enumerate(node.outputs)
                ]
                if isinstance(node.op, ops.Slice) and axis == 0:
                    continue  # one channel more may be there
                assert not fits(graph, replace(node, outputs=tuple(wrong))), (node, shape)
            more = replace(value, samples=value.samples + 1)
            spread = isinstance(node.op, ops.Elementwise)  # one sample may stand for several
            assert spread or not fits(graph, replace(node, outputs=(more, *node.outputs[1:])))
        assert not fits(graph, replace(node, inputs=node.inputs[:-1]))
        assert not fits(graph, replace(node, outputs=(*node.outputs, node.outputs[0])))
        larger = [
            replace(v, shape=tuple(2 * n for n in v.shape), name=f"{v.name}'") for v in node.inputs
        ]
        for i, value in enumerate(node.inputs):
            if value.kind != "key" and prod(value.shape) > 0 and not _may_grow(node, i):
                swapped = (*node.inputs[:i], larger[i], *node.inputs[i + 1 :])
                assert not fits(graph, replace(node, inputs=swapped)), (node, i)


def _may_grow(node: Node, number: int) -> bool:
    """Where a larger value is right too: a part of more channels, more rows of a table."""
    op = node.op
    return isinstance(op, ops.Slice) or (isinstance(op, ops.Embed) and number == 1)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in GRIDS])
def test_a_network_of_text_is_the_same_network(name: str) -> None:
    graph = graph_of(name)
    text = text_of(graph)
    assert text == written(network_of(text))
    layer = parse(repr(GraphNet(text)))
    again = nn.build(layer, graph.input.shape, dtype="float64", tokens=name in TOKENS)
    assert [type(node.op) for node in again.nodes] == [type(node.op) for node in graph.nodes]
    assert [p.name for p in again.parameters] == [p.name for p in graph.parameters]
    rng = np.random.default_rng(1)
    numbers = {p.name: rng.uniform(0.5, 1, p.shape) for p in graph.parameters}
    shape = (2, *graph.input.shape)
    x = rng.integers(0, 11, shape) if name in TOKENS else rng.standard_normal(shape)
    np.testing.assert_array_equal(run(again, numbers, x), run(graph, numbers, x))


@pytest.mark.parametrize(
    "wrong",
    [
        Expr("operand", (2,)),
        Expr("operand", (-1,)),
        Expr("operand", ("0",)),  # type: ignore[arg-type]
        Expr("constant", ("x",)),  # type: ignore[arg-type]
        Expr("add", (operand(0),)),
        Expr("system", (operand(0),)),
        Expr("random", (operand(0),)),
        Expr("gt", (operand(0), operand(1))),
        Expr("select", (operand(0), operand(0), operand(1))),
        Expr("not", (operand(0),)),
        "max",
    ],
)
def test_what_is_no_formula(wrong: object) -> None:
    with pytest.raises(Unsound):
        formula(wrong, 2)


def test_operations_of_the_backward_pass_are_refused() -> None:
    x = Value("x", (2, 3))
    with pytest.raises(FaltungError, match="operation=ToChannelsLast: is none of a network"):
        check_node(ops.ToChannelsLast(), (x,), (x,), {})
    assert ops.ConvolveWeight not in RULES
