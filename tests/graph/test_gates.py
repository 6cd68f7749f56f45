"""Gates moved from maps to the weights of the convolutions that read them."""

from typing import Any

import numpy as np
import pytest
from graph import interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from program.programs import poison, threads

from faltung import nn
from faltung.geometry.conv import conv_spec
from faltung.geometry.expr import operand
from faltung.graph.expand import expanded
from faltung.graph.fold import folded
from faltung.graph.fuse import fused
from faltung.graph.gates import POSITIONS, gated
from faltung.graph.initial import parameters
from faltung.graph.ops import Contract, Convolve, Elementwise
from faltung.graph.value import Graph, Node, Value
from faltung.program.inference import Inference
from faltung.program.state import State


def block(
    inside: int, outside: int, *more: nn.Layer, bias: bool = True, stride: int = 1
) -> nn.Layer:
    """What stands around a gate in a network of the field."""
    return nn.Sequential(
        nn.Conv(inside, 3, padding=1, groups=inside),
        nn.SiLU(),
        nn.SqueezeExcite(3),
        nn.Conv(outside, 1, stride=stride, bias=bias, name="project"),
        *more,
    )


def nodes_of(graph: Graph) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Before, and after."""
    plain, _ = folded(expanded(graph)[0])
    kept = {plain.output.name}
    before = fused(plain.nodes, kept)
    return before, gated(before, kept)


def products(nodes: tuple[Node, ...]) -> int:
    return sum(isinstance(node.op, Contract) for node in nodes)


@settings(max_examples=25)
@given(
    st.integers(1, 20),
    st.integers(1, 9),
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([(), (nn.HardSwish(),), (nn.Sigmoid(), nn.Conv(2, 1))]),
    st.integers(1, 3),
)
def test_the_meaning_is_the_same(
    inside: int, outside: int, space: list[int], bias: bool, more: Any, batch: int
) -> None:
    graph = nn.build(block(inside, outside, *more, bias=bias), (inside, *space), dtype="float64")
    before, after = nodes_of(graph)
    assert products(after) == (np.prod(space) >= POSITIONS * outside)
    rng = np.random.default_rng(0)
    drawn = {p.name: rng.normal(size=p.shape) for p in graph.parameters}
    x = rng.normal(size=(batch, inside, *space))
    found = []
    for nodes in (before, after):
        known = {**drawn, graph.input.name: x}
        interpreter.compute(nodes, known, batch)
        found.append(known[graph.output.name])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "net",
    [
        block(6, 2, stride=2),
        nn.Sequential(nn.Conv(6, 1), nn.SqueezeExcite(2), nn.Conv(2, 1, padding=1)),
        nn.Sequential(nn.Conv(6, 1), nn.SqueezeExcite(2), nn.Conv(2, 1, groups=2)),
        nn.Sequential(nn.Conv(6, 1), nn.SqueezeExcite(2), nn.Conv(2, 3, padding=1)),
        # The gated map is read twice, or is the result.
        nn.Sequential(
            nn.Conv(6, 1), nn.SqueezeExcite(2), nn.Parallel(nn.Conv(2, 1), nn.Conv(1, 1))
        ),
        nn.Sequential(nn.Conv(6, 1), nn.SqueezeExcite(2)),
        # So many outputs that the map is the smaller one.
        block(6, 30),
    ],
)
def test_others_stay_as_they_are(net: nn.Layer) -> None:
    before, after = nodes_of(nn.build(net, (6, 7, 7)))
    assert after == before and any(isinstance(node.op, Convolve) for node in after)


def test_a_residual_block_is_one_product_with_its_addition() -> None:
    body = block(6, 4, nn.BatchNorm())
    net = nn.Sequential(nn.Conv(4, 1), nn.Residual(nn.Sequential(nn.Conv(6, 1), body)), nn.ReLU())
    _, after = nodes_of(nn.build(net, (3, 8, 9)))
    last = after[-1]
    assert isinstance(last.op, Contract) and last.op.epilogue is not None
    assert len(last.inputs) == 4  # map, weight, bias, shortcut


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_gates_of_imported_networks(wide: bool, turned: bool) -> None:
    """They may have an axis for each of the map, and stand before it."""
    x, g = Value("x", (4, 5, 3)), Value("g", (4, 1, 1) if wide else (4,))
    m, y, w = Value("m", x.shape), Value("y", (2, 5, 3)), Value("w", (2, 4, 1, 1), batched=False)
    spec = conv_spec((1, *x.shape), w.shape, dtype="float64")
    operands = (g, x) if turned else (x, g)
    nodes = (
        Node(Elementwise(x.shape, (operand(0) * operand(1),)), operands, (m,), "gate"),
        Node(Convolve(spec), (m, w), (y,), "conv"),
    )
    after = gated(nodes, {"y"})
    assert products(after) == 1 and gated(nodes, {"y", "m"}) == nodes
    rng = np.random.default_rng(1)
    known = {v.name: rng.normal(size=(2, *v.shape)) for v in (x, g)}
    known["w"] = rng.normal(size=w.shape)
    both = [dict(known), dict(known)]
    interpreter.compute(nodes, both[0], 2)
    interpreter.compute(after, both[1], 2)
    np.testing.assert_allclose(both[0]["y"], both[1]["y"], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 9, 8), (17, 40), (33, 4, 5, 6)])
def test_programs(dtype: Any, shape: tuple[int, ...]) -> None:
    """Values, and the same bits for any number of threads and in any batch."""
    body = block(shape[0], 3, nn.BatchNorm(), nn.SiLU())
    graph = nn.build(nn.Sequential(body, nn.Conv(2, 1)), shape, dtype=dtype)
    drawn = parameters(graph, 1)
    state = State(graph.parameters, dtype)
    state.update(drawn)
    x = np.random.default_rng(3).normal(size=(3, *shape)).astype(dtype)
    want = interpreter.run(graph, drawn, x)
    found = []
    for number in (1, 2, 3):
        with threads(number):
            program = Inference(graph, state, 3)
            poison(program)
            found.append(program(x))
    assert any(isinstance(node.op, Contract) for node in program.nodes)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found[0], want, rtol=tolerance, atol=tolerance)
    assert len({array.tobytes() for array in found}) == 1
    alone = Inference(graph, state, 1)
    assert np.concatenate([alone(x[i : i + 1]) for i in range(3)]).tobytes() == found[0].tobytes()
