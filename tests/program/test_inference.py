"""Networks compiled for inference: values, folding, the same bits, what they refuse."""

import numpy as np
import pytest
from graph import interpreter, networks
from graph.networks import Array, anything, build, inputs
from program.programs import poison, threads
from program.schedules import backwards, by_threads, shuffled

from faltung.graph.value import Graph
from faltung.program.inference import Inference
from faltung.program.state import State

NAMES = pytest.mark.parametrize("name", networks.TABLE)
SHAPES = pytest.mark.parametrize("name", networks.SHAPES)


def state_of(graph: Graph) -> State:
    state = State(graph.parameters, graph.dtype)
    state.update(anything(graph))
    return state


def compiled(graph: Graph, batch: int = 3, **more: object) -> Inference:
    return Inference(graph, state_of(graph), batch, **more)


def given(program: Inference, x: Array) -> Array:
    """``x`` in the dtype of a program's input."""
    return x if x.dtype == np.int64 else x.astype(program.state.dtype)


def near(got: Array, want: Array, tolerance: float) -> None:
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


@NAMES
def test_values_are_those_of_the_interpreter(name: str) -> None:
    """Also where normalisation is folded; and the same bits from memory full of NaN, by any number
    of threads, and by threads that are as far apart as barriers let them.
    """
    graph = build(name, training=False)
    program, x = compiled(graph), inputs(graph, 3)
    found = program(x)
    near(found, interpreter.run(graph, anything(graph), x), 1e-11)
    program.assembly.prepare.run(1)
    for number in (1, 2, 3, 7):
        with threads(number):
            poison(program)
            assert program(x).tobytes() == found.tobytes()
    for order in ([1, 0], shuffled(7)):
        by_threads(program, order)
        poison(program)
        assert program(x).tobytes() == found.tobytes()
    backwards(program)
    poison(program)
    assert program(x).tobytes() == found.tobytes()


@SHAPES
def test_a_sample_alone_and_in_batches(name: str) -> None:
    graph = build(name, training=False, dtype="float32")
    state = state_of(graph)
    programs = [Inference(graph, state, batch) for batch in (1, 2, 5, 64)]
    x = given(programs[0], inputs(graph, 64))
    *others, together = (program(x[: program.batch]) for program in programs)
    for some in others:
        assert some.tobytes() == together[: len(some)].tobytes()
    for i in (1, 7, 63):
        assert programs[0](x[i : i + 1]).tobytes() == together[i : i + 1].tobytes()
    near(together, interpreter.run(graph, anything(graph), x), 1e-5)
