"""Reductions as programs against the interpreter: any axes, any operands, the same bits."""

import numpy as np
from graph import interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from program.programs import poison, threads

from faltung.geometry.expr import operand, unary
from faltung.graph.ops import Elementwise, Op, Reduce
from faltung.graph.value import Graph, Node, Value
from faltung.program.inference import Inference
from faltung.program.state import State

A, B, C = map(operand, range(3))


def graph_of(
    op: Op, shapes: list[tuple[int, ...]], out: tuple[int, ...], dtype: str = "float32"
) -> Graph:
    """An operation on inputs of these shapes, and formulas around it that cannot join it."""
    inputs = tuple(Value(f"x{i}", shape) for i, shape in enumerate(shapes))
    made = Value("y", out)
    return Graph(inputs, (made,), (Node(op, inputs, (made,), "op"),), (), dtype)


def program(graph: Graph, batch: int) -> Inference:
    return Inference(graph, State((), graph.dtype), batch)


def fed(graph: Graph, batch: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = [(batch, *value.shape) for value in graph.inputs]
    return [rng.normal(size=shape).astype(graph.dtype) for shape in shapes]


def meant(graph: Graph, x: list[np.ndarray]) -> list[np.ndarray]:
    known = {v.name: np.asarray(a, np.float64) for v, a in zip(graph.inputs, x, strict=True)}
    interpreter.compute(graph.nodes, known, len(x[0]))
    return [known[value.name] for value in graph.outputs]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_axes_and_operands(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))
    shape = tuple(data.draw(st.sampled_from([1, 2, 3, 5, 8, 17])) for _ in range(rank))
    axes = tuple(i for i in range(rank) if data.draw(st.booleans())) or (rank - 1,)
    shapes = [shape]
    for _ in range(2):
        kind = data.draw(st.sampled_from(["full", "spread", "vector"]))
        spread = tuple(n if data.draw(st.booleans()) else 1 for n in shape)
        shapes.append({"full": shape, "spread": spread, "vector": shape[:1]}[kind])
    kind = data.draw(st.sampled_from(["sum", "mean", "max", "min", "product"]))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    op = Reduce(axes, kind, (A * B * 0.1 + C,), finish=unary("tanh", A))
    out = tuple(1 if i in axes else n for i, n in enumerate(shape))
    graph = graph_of(op, shapes, out, dtype)
    batch = data.draw(st.integers(1, 3))
    x = fed(graph, batch)
    made = program(graph, batch)
    poison(made)
    got = made(*x)
    (want,) = meant(graph, x)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    alone = program(graph, 1)
    for i in range(batch):
        assert alone(*(a[i : i + 1] for a in x)).tobytes() == got[i : i + 1].tobytes()


def test_the_same_bits_for_any_threads() -> None:
    """With bands, and with formulas between two reductions."""
    shape = (24, 60, 70)
    x, m, v, y = (Value("x", shape), *(Value(n, (24, 1, 70)) for n in "mvy"))
    nodes = (
        Node(Reduce((1,), "mean"), (x,), (m,)),
        Node(Reduce((1,), "mean", ((A - B) * (A - B),)), (x, m), (v,)),
        Node(Elementwise(m.shape, (A + B,)), (m, v), (y,)),
    )
    graph = Graph((x,), (y,), nodes, (), "float32")
    found = set()
    (given,) = fed(graph, 2)
    for count in (1, 2, 3):
        with threads(count):
            made = program(graph, 2)
            poison(made)
            found.add(made(given).tobytes())
    assert len(found) == 1
    want = given.mean(2, keepdims=True) + given.var(2, keepdims=True)
    np.testing.assert_allclose(made(given), want, rtol=1e-4, atol=1e-6)
