"""Products of two values, and attention, in programs: what the interpreter says, the same bits."""

from dataclasses import replace

import numpy as np
import pytest
from graph.interpreter import compute, given, run
from graph.products import ATTENTION, MASKED, TABLE, graph_of, numbers, one_input
from optional import optional
from program.programs import poison, threads

from faltung.formats.onnx_export import export_onnx
from faltung.geometry.errors import FaltungError
from faltung.graph.contracted import labelled
from faltung.graph.differentiate import differentiate
from faltung.graph.ops import Contract
from faltung.graph.value import Value
from faltung.program.inference import Inference
from faltung.program.optimizer import SGD
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

EXPORTED = [
    name
    for name, row in (TABLE | ATTENTION | MASKED).items()
    if row.inputs[0].batched and row.out.samples == 1 and "nothing" not in name
]
EVERY = TABLE | ATTENTION | MASKED
NAMES = pytest.mark.parametrize("name", EVERY)


@NAMES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_the_interpreter(name: str, dtype: str) -> None:
    graph = graph_of(EVERY[name], dtype)
    for batch in (1, 3):
        parameters, arrays = numbers(graph, batch)
        state = State(graph.parameters, dtype)
        state.update(parameters)
        program = Inference(graph, state, batch)
        x = [array.astype(dtype) for array in arrays]
        known = dict(parameters)
        known |= {v.name: given(v, a) for v, a in zip(graph.inputs, x, strict=True)}
        compute(graph.nodes, known, batch)
        got, want = program(*x), known[graph.output.name]
        want = want.reshape(got.shape)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(got, want, atol=tolerance * np.abs(want).max() + 1e-30)
        for number in (1, 3):
            with threads(number):
                poison(program)
                assert program(*x).tobytes() == got.tobytes()
        alone = Inference(graph, state, 1)
        last = [a[-v.samples :] for v, a in zip(graph.inputs, x, strict=True)]
        assert alone(*last).tobytes() == got[-graph.output.samples :].tobytes()


@pytest.mark.parametrize("name", TABLE | ATTENTION)
def test_training_steps(name: str) -> None:
    """The gradients of the program are those that the interpreter finds."""
    graph = one_input(EVERY[name])
    training = differentiate(graph, "mse")
    parameters, (x,) = numbers(graph, 3)
    state = State(graph.parameters, "float64")
    state.update(parameters)
    step = TrainingStep(training, state, Slots(state, SGD(momentum=0.0)), 3)
    target = np.random.default_rng(1).normal(size=(3, *graph.output.shape))
    step(x, target, lr=0.0)
    scale = 1 / (3 * graph.output.size)
    known = {**parameters, training.smoothing.name: np.zeros(()), graph.input.name: x}
    known |= {value.name: np.asarray(scale) for value, _ in training.scales}
    known[training.target.name] = target
    compute(training.nodes, known, 3)
    for parameter, value in training.gradients.items():
        got, want = state.get(parameter, step.slots.gradients), known[value.name]
        np.testing.assert_allclose(got, want, atol=1e-11 * np.abs(want).max(), err_msg=parameter)


@pytest.mark.parametrize(
    ("op", "says"),
    [
        (Contract("sik", "skj", "sii"), "each of its labels once"),
        (Contract("sik", "skj", "six"), "each of its labels once"),
        (Contract("si", "skj", "sij"), "must be 3 for the axes"),
        (Contract("sik", "sij", "sij"), "i is 5 elsewhere"),
        (Contract("s1k", "skj", "sij"), "must be letters"),
        (Contract("sik", "skj", "sij", (("s", 1), ("i", 5), ("k", 3))), "must have the size of j"),
        (Contract("sik", "skj", "sij", (("s", 1), ("i", 4), ("k", 3), ("j", 7))), "15 numbers"),
    ],
)
def test_labels_that_do_not_fit(op: Contract, says: str) -> None:
    a, b, c = Value("a", (3, 5)), Value("b", (7, 3)), Value("c", (7, 5))
    with pytest.raises(FaltungError, match=says):
        labelled(op, (a, b), c)


def own(value: Value) -> Value:
    """The same without a batch."""
    return replace(value, batched=False)


@pytest.mark.parametrize("name", EXPORTED)
def test_products_are_exported(name: str) -> None:
    """To an Einsum, which ONNX Runtime computes."""
    runtime = optional("onnxruntime")
    first, *others = EVERY[name].inputs  # the file has one input, the others are parameters
    row = replace(EVERY[name], inputs=(first, *map(own, others)))
    graph = graph_of(row, "float32")
    parameters, (x,) = numbers(graph, 3)
    session = runtime.InferenceSession(
        export_onnx(graph, parameters), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {"input": x.astype("float32")})
    want = run(graph, parameters, x)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
