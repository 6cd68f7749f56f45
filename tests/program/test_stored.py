"""Programs of 16 bits: every layer, against the interpreter with a rounding after each node."""

import numpy as np
import pytest
from graph import interpreter, networks
from graph.networks import Array, anything, build, inputs
from grid import MACHINES, grid
from program.programs import poison, threads
from program.schedules import backwards, by_threads, in_pieces, shuffled

from faltung import nn
from faltung.geometry.conv import NARROW
from faltung.geometry.errors import FaltungError
from faltung.graph.value import Graph
from faltung.machine.table import Machine
from faltung.program.half_state import HalfState
from faltung.program.inference import Inference
from faltung.program.inferring import simplified
from faltung.program.state import State
from faltung.runtime.halves import UNIT, rounded


def compiled(graph: Graph, stored: str, batch: int = 3, **more: object) -> Inference:
    state = HalfState(graph.parameters, stored)
    state.update(anything(graph))
    return Inference(graph, state, batch, **more)


def meant(program: Inference, x: Array) -> Array:
    """The interpreter's result, each value rounded that the program keeps in 16 bits."""
    graph, state, stored = program.graph, program.state, program.state.stored
    parameters = {name: np.asarray(a, np.float64) for name, a in state.all().items()}
    known = dict(parameters)
    for d in simplified(graph)[2]:
        made = d.compute(parameters)
        known[d.value.name] = (
            rounded(made.astype(np.float32), stored) if d.kind == "weight" else made
        )
    known[graph.input.name] = interpreter.given(graph.input, x)
    places, halves = program.assembly.lowering.places, program.assembly.halves
    for node in program.nodes:
        interpreter.compute([node], known, program.batch)
        for value in node.outputs:
            root = places.root(value).name
            if root in halves and value.kind == "float":
                known[value.name] = rounded(known[value.name], stored).astype(np.float64)
    return known[program.outputs[0].name]


def given(x: Array) -> Array:
    return x if x.dtype == np.int64 else x.astype(np.float32)


@grid(name=networks.TABLE, stored=NARROW, machine=MACHINES, every=24)
def test_values_are_those_of_the_interpreter(name: str, stored: str, machine: Machine) -> None:
    """And the same bits from memory full of NaN, by any number of threads, and by threads that are
    as far apart as barriers let them.

    A float32 sum that is a little off may round to the number beside, and layers add this up.
    """
    graph = build(name, training=False, dtype="float32")
    program, x = compiled(graph, stored, machine=machine), given(inputs(graph, 3))
    found = program(x)
    want = meant(program, x)
    assert np.abs(found - want).max() <= 8 * UNIT[stored] * np.abs(want).max()
    program.assembly.memories["packed"][:] = 0xFF
    program.refresh()
    for number in (1, 2, 3):
        with threads(number):
            poison(program)
            assert program(x).tobytes() == found.tobytes()
    for order in ([1, 0], shuffled(7)):
        by_threads(program, order)
        poison(program)
        assert program(x).tobytes() == found.tobytes()
    in_pieces(program, 0)
    poison(program)
    assert program(x).tobytes() == found.tobytes()
    backwards(program)
    poison(program)
    assert program(x).tobytes() == found.tobytes()


@grid(name=networks.SHAPES, stored=NARROW, every=16)
def test_a_sample_alone_and_in_batches(name: str, stored: str) -> None:
    graph = build(name, training=False, dtype="float32")
    programs = [compiled(graph, stored, batch) for batch in (1, 2, 5)]
    x = given(inputs(graph, 5))
    *others, together = (program(x[: program.batch]) for program in programs)
    for some in others:
        assert some.tobytes() == together[: len(some)].tobytes()
    assert programs[0](x[4:]).tobytes() == together[4:].tobytes()


@pytest.mark.parametrize("stored", NARROW)
def test_memory_is_half(stored: str) -> None:
    """Of weights, packed or not, and of values; results are float32."""
    net = nn.Sequential(
        nn.Conv(32, 3, padding=1), nn.ReLU(), nn.Conv(32, 1), nn.Flatten(), nn.Linear(64)
    )
    graph = nn.build(net, (4, 12, 12))
    full = State(graph.parameters, "float32")
    full.update(anything(graph))
    wide, half = Inference(graph, full, 3, bands=False), compiled(graph, stored)
    assert half.state.memory.nbytes < 0.51 * wide.state.memory.nbytes
    # Values that are multiplied often may be rounded, and kept in float32.
    for name, most in {"packed": 0.51, "arena": 1.0}.items():
        assert half.assembly.memories[name].nbytes <= most * wide.assembly.memories[name].nbytes
    assert half(inputs(graph, 3).astype(np.float32)).dtype == np.float32


def test_what_keeps_16_bits() -> None:
    """Matrices and filters; vectors do not."""
    graph = build("lenet", training=False, dtype="float32")
    state = HalfState(graph.parameters, "bfloat16")
    state.update(anything(graph))
    for name, p in state.parameters.items():
        assert (name in state.halves) == (len(p.shape) > 1)
        want = np.asarray(anything(graph)[name], np.float32)
        if name in state.halves:
            want = rounded(want, "bfloat16")
        assert state.get(name).tobytes() == want.tobytes()
        assert state.words(name).dtype == (np.uint16 if name in state.halves else np.float32)
    with pytest.raises(FaltungError, match="stored='float8': must be one of"):
        HalfState(graph.parameters, "float8")
