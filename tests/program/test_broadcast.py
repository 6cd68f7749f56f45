"""Operands of formulas that are broadcast along any axes, in programs: as in the interpreter."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from graph import interpreter
from hypothesis import given
from hypothesis import strategies as st
from program.programs import poison, threads

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.expr import operand
from faltung.graph.ops import Convolve, Elementwise
from faltung.graph.value import Graph, Node, Parameter, Value
from faltung.program.inference import Inference
from faltung.program.state import State

A, B, C, D = map(operand, range(4))
Shape = tuple[int, ...]


def constant_map(name: str, shape: Shape) -> Parameter:
    """A parameter that lies as maps do, channels last."""
    order = (*range(1, len(shape)), 0) if shape else ()
    return Parameter(Value(name, shape, batched=False), shape, shape, order)


def network(
    shape: Shape,
    given: Sequence[tuple[Shape, bool]],
    dtype: str,
    conv: bool,
    kernel: int = 1,
    samples: int = 1,
) -> Graph:
    """A formula of a map (a convolution's with ``conv``) and of operands: (shape, batched)."""
    x = Value("x", shape, samples=samples)
    nodes: list[Node] = []
    parameters: list[Parameter] = []
    inputs = [x]
    y = x
    if conv:
        pad = kernel // 2
        axes = tuple(Axis(n, kernel, 1, 1, pad, kernel - 1 - pad) for n in shape[1:])
        spec = ConvSpec(axes, shape[0], shape[0], dtype=dtype)
        order = (*range(2, 2 + len(axes)), 1, 0)
        weight = Value("w", spec.weight_shape, batched=False)
        parameters.append(Parameter(weight, weight.shape, weight.shape, order))
        y = Value("y", shape, samples=samples)
        nodes.append(Node(Convolve(spec), (x, weight), (y,)))
    operands = []
    for number, (own, batched) in enumerate(given):
        value = Value(f"v{number}", own, batched)
        operands.append(value)
        if batched:
            inputs.append(value)
        else:
            parameters.append(constant_map(value.name, own))
    expr = A
    for number in range(len(operands)):
        expr = expr * operand(number + 1) + 0.5 if number % 2 else expr + operand(number + 1)
    out = Value("out", shape, samples=samples)
    nodes.append(Node(Elementwise(shape, (expr,)), (y, *operands), (out,)))
    return Graph(tuple(inputs), (out,), tuple(nodes), tuple(parameters), dtype)


def check(graph: Graph, batch: int, fused: bool = False) -> bytes:
    """The program gives what the interpreter gives, with any number of threads."""
    rng = np.random.default_rng(prod(graph.input.shape))
    given = {p.name: rng.integers(-3, 4, p.shape).astype(graph.dtype) for p in graph.parameters}
    state = State(graph.parameters, graph.dtype)
    state.update(given)
    program = Inference(graph, state, batch, precision="strict")
    xs = [
        rng.integers(-3, 4, (batch * v.samples, *v.shape)).astype(graph.dtype) for v in graph.inputs
    ]
    found = program(*xs)
    known = {p: np.asarray(array, np.float64) for p, array in given.items()}
    known |= {v.name: np.asarray(x, np.float64) for v, x in zip(graph.inputs, xs, strict=True)}
    interpreter.compute(graph.nodes, known, batch)
    np.testing.assert_array_equal(found, known[graph.output.name])
    if fused:
        assert not any(isinstance(node.op, Elementwise) for node in program.nodes)
    for number in (1, 2, 3):
        with threads(number):
            poison(program)
            assert program(*xs).tobytes() == found.tobytes()
    return found.tobytes()


SHAPES: list[tuple[Shape, list[Shape]]] = [
    ((5, 4, 6), [(1, 4, 6), (5, 1, 6), (5, 4, 1), (1, 1, 1), (5, 1, 1), (5,), (), (1, 1, 6)]),
    ((1, 9, 7), [(1, 1, 7), (1, 9, 1), (1, 1, 1), (1,)]),
    ((3, 40, 30), [(1, 40, 30), (3, 1, 1), (3, 1, 30), (1, 40, 1)]),
    ((24, 10), [(1, 10), (24, 1)]),
    ((7,), [(1,), (7,)]),
    ((4, 3, 2, 5), [(1, 3, 2, 5), (4, 1, 2, 1), (1, 3, 1, 5)]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("shape", "others"), SHAPES, ids=str)
def test_each_operand(shape: Shape, others: list[Shape], batch: int, dtype: str) -> None:
    for own in (*others, shape):
        for batched in (False, True):
            if batched and not own:
                continue
            check(network(shape, [(own, batched)], dtype, False), batch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("shape", "others"), SHAPES, ids=str)
def test_each_operand_of_an_epilogue(
    shape: Shape, others: list[Shape], kernel: int, dtype: str
) -> None:
    if len(shape) < 2:
        return
    for own in (*others, shape):
        for batched in (False, True):
            if not batched or own:
                check(network(shape, [(own, batched)], dtype, True, kernel), 2, True)


@st.composite
def some(draw: st.DrawFn) -> tuple[Shape, list[tuple[Shape, bool]], bool]:
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.sampled_from([1, 2, 3, 5, 8, 11])) for _ in range(rank))
    given = []
    for _ in range(draw(st.integers(1, 4))):
        own = tuple(n if draw(st.booleans()) else 1 for n in shape)
        given.append((own, draw(st.booleans())))
    return shape, given, rank > 1 and draw(st.booleans())


@given(some(), st.integers(1, 3))
def test_any_operands(made: tuple[Shape, list[tuple[Shape, bool]], bool], batch: int) -> None:
    check(network(made[0], made[1], "float64", made[2]), batch)


def test_maps_of_several_samples() -> None:
    """An operand with as many maps for each sample of the batch, or with one; also where a
    convolution makes the map.
    """
    for shape in ((5, 3), (5, 1), (1, 3), (5,), (1, 1)):
        for samples in (1, 4):
            for batched in (False, True):
                for conv in (False, True):
                    graph = network((5, 3), [(shape, batched)], "float32", conv, samples=4)
                    check(_with_samples(graph, "v0", samples), 2)


def _with_samples(graph: Graph, name: str, samples: int) -> Graph:
    """The same graph where one value has so many samples."""

    def changed(value: Value) -> Value:
        return replace(value, samples=samples) if value.name == name else value

    if any(p.name == name for p in graph.parameters) and samples > 1:
        return graph  # parameters have one
    nodes = tuple(replace(node, inputs=tuple(map(changed, node.inputs))) for node in graph.nodes)
    return replace(graph, inputs=tuple(map(changed, graph.inputs)), nodes=nodes)


def test_a_parameter_that_lies_otherwise_is_refused() -> None:
    graph = network((5, 4, 6), [((5, 4, 1), False)], "float32", False)
    (p,) = graph.parameters
    other = Parameter(p.value, p.shape, p.shape, (0, 1, 2))
    turned = Graph(graph.inputs, graph.outputs, graph.nodes, (other,), "float32")
    with pytest.raises(ValueError, match="channels last"):
        Inference(turned, State(turned.parameters, "float32"), 1)
