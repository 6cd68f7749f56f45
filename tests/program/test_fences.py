"""Programs between pages that cannot be read: every buffer, weight, table and argument."""

import numpy as np
from graph import interpreter
from graph.networks import TABLE, anything, build, problem
from laws.fences import beside, between_fences
from program import test_integers as integers
from program.programs import close, ran, step_of, threads, wanted

from faltung.program.inference import Inference
from faltung.program.state import State


@between_fences(name=TABLE, dtype=["float32", "float64"], every=60)
def test_training_and_inference(name: str, dtype: str, side: str, machine: object) -> None:
    found, tolerance = problem(name, dtype=dtype), 1e-9 if dtype == "float64" else 2e-3
    with threads(2):
        step = step_of(found)
        close(ran(step, found), wanted(step, found), tolerance)
        graph = build(name, training=False, dtype=dtype)
        state, given = State(graph.parameters, dtype), anything(graph)
        state.update(given)
        x = found.x.astype(np.int64 if graph.input.kind == "int" else dtype)
        x = beside(x, side == "after", write=False)
        got = Inference(graph, state, len(x))(x)
    want = interpreter.run(graph, given, found.x)
    close({"output": got}, {"output": want}, tolerance)


@between_fences(name=list(integers.NETS), every=4)
def test_integers(name: str, side: str, machine: object) -> None:
    """Values of one byte each; the arrays of the caller may not be written."""
    x = beside(integers.inputs(name), side == "after", write=False)
    with threads(2):
        found = integers.program(name)(x)
        np.testing.assert_array_equal(found, integers.program(name, integers=False)(x))
