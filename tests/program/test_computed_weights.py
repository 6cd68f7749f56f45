"""Convolutions whose weights are computed: packed in every run, by whatever method is chosen."""

from typing import Any

import numpy as np
import pytest
from graph.interpreter import compute, given
from program.programs import poison, threads

from faltung.geometry.conv import ConvSpec, conv_spec
from faltung.geometry.errors import UnsupportedError
from faltung.geometry.expr import operand
from faltung.graph.ops import Convolve, ConvolveInput, Elementwise
from faltung.graph.value import Graph, Node, Value
from faltung.program.inference import Inference
from faltung.program.state import State

Shape = tuple[int, ...]
CASES: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "plane": ((3, 8, 9), (5, 3, 3, 3), {"padding": 1}),
    "minimal filtering": ((64, 28, 28), (64, 64, 3, 3), {"padding": 1}),
    "groups": ((6, 20), (6, 2, 3), {"groups": 3, "stride": 2}),
    "depthwise": ((8, 12, 11), (8, 1, 3, 3), {"groups": 8, "padding": 1}),
    "pointwise": ((4, 9, 9), (5, 4, 1, 1), {}),
    "volume": ((2, 4, 5, 6), (3, 2, 2, 3, 1), {}),
}


def graph_of(spec: ConvSpec, transposed: bool, bias: bool, dtype: str) -> Graph:
    """A map, a weight that is doubled first, and a bias, all of them inputs."""
    reads, writes = spec.input_shape[1:], spec.output_shape[1:]
    if transposed:
        reads, writes = writes, reads
    x, w, b = Value("x", reads), Value("w", spec.weight_shape), Value("b", (writes[0],))
    twice, y = Value("twice", w.shape), Value("y", writes)
    inputs = (x, w, b) if bias else (x, w)
    op = ConvolveInput(spec, bias) if transposed else Convolve(spec, bias)
    nodes = (
        Node(Elementwise(w.shape, (operand(0) * 2.0,)), (w,), (twice,), "twice"),
        Node(op, (x, twice, *inputs[2:]), (y,), "conv"),
    )
    return Graph(inputs, (y,), nodes, (), dtype)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [False, True])
def test_values_are_those_of_the_interpreter(name: str, dtype: str, transposed: bool) -> None:
    """Run after run with other weights, and for any number of threads."""
    shape, weight, more = CASES[name]
    spec = conv_spec((1, *shape), weight, dtype=dtype, **more)
    graph = graph_of(spec, transposed, name != "depthwise", dtype)
    program = Inference(graph, State((), dtype), 1)
    rng = np.random.default_rng(0)
    for _ in range(2):
        arrays = [rng.normal(size=(1, *v.shape)).astype(dtype) for v in graph.inputs]
        got = program(*arrays)
        known = {v.name: given(v, a) for v, a in zip(graph.inputs, arrays, strict=True)}
        compute(graph.nodes, known, 1)
        want = known["y"]
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max())
        for number in (1, 3):
            with threads(number):
                poison(program)
                assert program(*arrays).tobytes() == got.tobytes()


def test_one_weight_for_each_sample_is_refused() -> None:
    spec = conv_spec((1, 3, 8), (4, 3, 3))
    with pytest.raises(UnsupportedError, match="2 weights, one for each sample"):
        Inference(graph_of(spec, False, False, "float32"), State((), "float32"), 2)
