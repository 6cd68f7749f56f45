"""Reductions as programs against the interpreter: any axes, any operands, the same bits."""

import numpy as np
import pytest
from graph import interpreter
from graph.networks import Problem, anything
from hypothesis import given, settings
from hypothesis import strategies as st
from program.programs import close, poison, ran, step_of, threads, wanted

from faltung import nn
from faltung.geometry.expr import operand, unary
from faltung.graph.builder import Builder
from faltung.graph.differentiate import differentiate
from faltung.graph.ops import (
    SAMPLES,
    Arg,
    Cumulative,
    Elementwise,
    Normalise,
    Op,
    Reduce,
    Softmax,
    ToFloat,
    TopK,
    TopKGrad,
)
from faltung.graph.value import Graph, Node, Value
from faltung.program.inference import Inference
from faltung.program.state import State

A, B, C, D = map(operand, range(4))


def graph_of(
    op: Op, shapes: list[tuple[int, ...]], *outs: tuple[int, ...], dtype: str = "float32"
) -> Graph:
    """An operation on inputs of these shapes."""
    inputs = tuple(Value(f"x{i}", shape) for i, shape in enumerate(shapes))
    made = tuple(Value(f"y{i}", shape) for i, shape in enumerate(outs))
    return Graph(inputs, made, (Node(op, inputs, made, "op"),), (), dtype)


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
    graph = graph_of(op, shapes, out, dtype=dtype)
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


Shapes = st.lists(st.sampled_from([1, 2, 3, 5, 8, 17, 40]), min_size=1, max_size=4)


def rounded(graph: Graph, batch: int, seed: int) -> np.ndarray:
    """Numbers of which many are equal, with some NaN and zeros of both signs."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, (batch, *graph.input.shape)) * rng.choice([1.0, -1.0])
    x = np.where(rng.random(x.shape) < 0.05, np.nan, x)
    return x.astype(graph.dtype)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_extremes_and_sorting(data: st.DataObject) -> None:
    """Equal entries, NaN, and any axis."""
    shape = tuple(data.draw(Shapes))
    axis = data.draw(st.integers(0, len(shape) - 1))
    kind, last = data.draw(st.sampled_from(["max", "min"])), data.draw(st.booleans())
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    batch = data.draw(st.integers(1, 3))

    def along(n: int) -> tuple[int, ...]:
        return (*shape[:axis], n, *shape[axis + 1 :])

    graph = graph_of(Arg(axis, kind, last), [shape], along(1), dtype=dtype)
    x = rounded(graph, batch, data.draw(st.integers(0, 99)))
    np.testing.assert_array_equal(program(graph, batch)(x), meant(graph, [x])[0])
    k = data.draw(st.sampled_from([n for n in (1, 2, 16, 17, shape[axis]) if n <= shape[axis]]))
    graph = graph_of(TopK(axis, k, kind == "max"), [shape], along(k), along(k), dtype=dtype)
    made = program(graph, batch)
    poison(made)
    values, places = made(x)
    for got, want in zip((values, places), meant(graph, [x]), strict=True):
        np.testing.assert_array_equal(got, want)
    back = graph_of(TopKGrad(axis, shape[axis]), [along(k), along(k)], shape, dtype=dtype)
    made = program(back, batch)
    poison(made)
    np.testing.assert_array_equal(made(values, places), meant(back, [values, places])[0])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_running_sums(data: st.DataObject) -> None:
    shape = tuple(data.draw(Shapes))
    axis = data.draw(st.integers(0, len(shape) - 1))
    op = Cumulative(axis, *(data.draw(st.sampled_from(n)) for n in (["sum", "product"], *FLAGS)))
    graph = graph_of(op, [shape], shape, dtype=data.draw(st.sampled_from(["float32", "float64"])))
    (x,) = fed(graph, 3)
    got, (want,) = program(graph, 3)(x), meant(graph, [x])
    tolerance = 1e-6 if graph.dtype == "float32" else 1e-13
    np.testing.assert_allclose(got, want, rtol=tolerance * 5, atol=tolerance)
    assert program(graph, 1)(x[1:2]).tobytes() == got[1:2].tobytes()


FLAGS = ([False, True], [False, True])


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000,), (3, 100_000)])
def test_long_sums_are_as_good_at_the_end(shape: tuple[int, ...]) -> None:
    graph = graph_of(Cumulative(len(shape) - 1), [shape], shape)
    x = np.random.default_rng(0).random((1, *shape)).astype(np.float32)
    want = np.cumsum(x, -1, np.float64)
    np.testing.assert_allclose(program(graph, 1)(x), want, rtol=2e-7)


def test_infinity_in_a_running_sum() -> None:
    graph = graph_of(Cumulative(0), [(5,)], (5,))
    x = np.array([[1, np.inf, 2, -np.inf, 1]], np.float32)
    np.testing.assert_array_equal(program(graph, 1)(x), [[1, np.inf, np.inf, np.nan, np.nan]])


@pytest.mark.parametrize("length", [1000, 1024, 1025, 5000])
@pytest.mark.parametrize("axis", [0, 1])
def test_sorting_long_lines(axis: int, length: int) -> None:
    shape = (length, 3) if axis == 0 else (3, length)
    graph = graph_of(TopK(axis, length, largest=False), [shape], shape, shape)
    x = np.random.default_rng(1).integers(0, 200, (2, *shape)).astype(np.float32)
    values, numbers = program(graph, 2)(x)
    order = np.argsort(x, axis + 1, kind="stable")
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, axis + 1))


def test_axes_that_float32_cannot_number() -> None:
    graph = graph_of(Arg(0, "max"), [((1 << 24) + 1,)], (1,))
    with pytest.raises(ValueError, match=r"axis=0: of 16,777,217 entries; in float32 at most"):
        program(graph, 1)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_softmax_sums_of_powers_and_normalisation(data: st.DataObject) -> None:
    """Over any axes: in one pass over rows of channels, or taken apart."""
    shape = tuple(data.draw(Shapes))
    axes = tuple(i for i in range(len(shape)) if data.draw(st.booleans())) or (0,)
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    flag = data.draw(st.booleans())
    out = tuple(1 if i in axes else n for i, n in enumerate(shape))
    gains = [shape[:1], out if data.draw(st.booleans()) else shape][: data.draw(st.integers(0, 2))]
    cases: list[tuple[Op, list[tuple[int, ...]], tuple[int, ...]]] = [
        (Softmax(axes, flag), [shape], shape),
        (Reduce(axes, "log_sum_exp", (A * 2,)), [shape], out),
        (Normalise("axes", 1e-3, axes=axes, centred=flag), [shape, *gains], shape),
    ]
    op, shapes, out = data.draw(st.sampled_from(cases))
    graph = graph_of(op, shapes, out, dtype=dtype)
    x = fed(graph, 3)
    made = program(graph, 3)
    poison(made)
    got, (want,) = made(*x), meant(graph, x)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    alone = program(graph, 1)(*(array[2:3] for array in x))
    assert alone.tobytes() == got[2:3].tobytes()


def test_training_through_all_of_them() -> None:
    """The whole step, against the interpreter."""

    class Many(nn.Layer):
        def build(self, b: Builder, x: Value) -> Value:
            vector = b.parameter("gain", (4,), initial=1.0)
            x = b.node(Normalise("axes", 1e-3, axes=(0,), centred=False), (x, vector), x.shape)
            x = b.node(Normalise("axes", 1e-3, axes=(0, 2)), (x, vector, vector), x.shape)
            x = b.node(Softmax((1, 2), log=True), (x,), x.shape)
            x = b.node(Cumulative(1, reverse=True), (x,), x.shape)
            top = b.node(Reduce((1,), "max"), (x,), (4, 1, 5))
            power = b.node(Reduce((0,), "log_sum_exp"), (x,), (1, 6, 5))
            mean = b.node(Reduce((0, 2), "mean", (A * A,)), (x,), (1, 6, 1))
            product = b.node(Reduce((2,), "product", (A * 0.1,)), (x,), (4, 6, 1))
            operands = (x, top, power, mean, product)
            formula = A * B * 0.1 + C * D + operand(4)
            return b.node(Elementwise(x.shape, (formula,)), operands, x.shape)

    layers = (nn.Conv(4, 3, padding=1), nn.LayerNorm(), Many(), nn.Conv(2, 1))
    graph = nn.build(nn.Sequential(*layers), (3, 6, 5), training=True, dtype="float64")
    training = differentiate(graph, "mse")
    rng = np.random.default_rng(0)
    numbers = anything(graph)
    x, target = rng.normal(size=(3, 3, 6, 5)), rng.normal(size=(3, 2, 6, 5))
    outside = {training.smoothing.name: np.zeros(())}
    outside |= {v.name: np.asarray(weight / target.size) for v, weight in training.scales}
    made = Problem("", graph, training, numbers, x, target, 0.0, outside)
    found = set()
    for count in (1, 2, 3):
        with threads(count):
            step = step_of(made)
            poison(step)
            got = ran(step, made)
            found.add(b"".join(value.tobytes() for value in got.values()))
    close(got, wanted(step, made), 1e-9)
    assert len(found) == 1


@pytest.mark.parametrize("length", [1, 5, 8, 8192, 20_001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_numbers_become_real(length: int, dtype: str) -> None:
    """Rounded once, as NumPy does it."""
    x = Value("x0", (length,), kind="int")
    y = Value("y0", (length,))
    graph = Graph((x,), (y,), (Node(ToFloat(), (x,), (y,), "op"),), (), dtype)
    rng = np.random.default_rng(length)
    numbers = rng.integers(-(1 << 62), 1 << 62, (3, length)) >> rng.integers(0, 60, (3, length))
    got = program(graph, 3)(numbers)
    np.testing.assert_array_equal(got, numbers.astype(dtype))


@pytest.mark.parametrize("axes", [(SAMPLES,), (SAMPLES, 0), (SAMPLES, 1, 2), (1,), (0, 2)])
def test_samples_of_a_sample(axes: tuple[int, ...]) -> None:
    """Of maps of which each sample of the batch has several, and one that all of these share."""
    shape, several = (5, 4, 3), 6
    x, shared = Value("x0", shape, samples=several), Value("x1", (5, 1, 3))
    out = tuple(1 if i in axes else n for i, n in enumerate(shape))
    y = Value("y0", out, samples=1 if SAMPLES in axes else several)
    op = Reduce(axes, "mean", (A * B + A,))
    graph = Graph((x, shared), (y,), (Node(op, (x, shared), (y,), "op"),), (), "float32")
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(3 * several, *shape)), rng.normal(size=(3, 5, 1, 3))]
    given = [array.astype(np.float32) for array in given]
    known = {"x0": given[0].astype(np.float64), "x1": given[1].astype(np.float64)}
    interpreter.compute(graph.nodes, known, 3)
    made = program(graph, 3)
    poison(made)
    np.testing.assert_allclose(made(*given), known["y0"], rtol=1e-5, atol=1e-6)
