"""Recurrent layers with every option in graphs: slopes, programs, directions apart."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from graph import interpreter, networks
from graph.networks import anything, problem
from graph.test_differentiate import check
from hypothesis import given
from hypothesis import strategies as st
from program.programs import close, poison, ran, same, step_of, threads, wanted
from recurrences import specs

from faltung import nn
from faltung.geometry.recurrent import RecurrentSpec
from faltung.graph.builder import Builder
from faltung.graph.ops import Recurrent
from faltung.graph.value import Value
from faltung.program.inference import Inference
from faltung.program.state import State


@dataclass(frozen=True, slots=True, repr=False)
class Layer(nn.Layer):
    """A layer of any spec, all of whose further inputs are trained; it gives its states beside each
    other, or what it shows.
    """

    spec: RecurrentSpec
    states: bool = False

    def build(self, b: Builder, x: Value) -> Value:
        spec = self.spec
        states = [
            self._parameter(b, name, (spec.directions * spec.hidden,))
            for name, there in (("h", spec.initial_h), ("c", spec.initial_c))
            if there
        ]
        y, *made = self.of(b, x, states)
        return self._joined(b, made) if self.states else y

    def of(self, b: Builder, x: Value, more: list[Value]) -> tuple[Value, ...]:
        """All outputs; ``more``: what follows the weights."""
        spec, size = self.spec, self.spec.hidden
        rows = len(spec.gates) * size
        inputs = [x]
        for d in range(spec.directions):
            shapes: dict[str, tuple[int, ...]] = {f"w{d}": (rows, x.channels)}
            for i, count in enumerate(spec.weights):
                shapes[f"r{d}{i}"] = (count * size, size)
            for name, there in (("b", spec.bias), ("rb", spec.recurrent_bias)):
                shapes |= {f"{name}{d}": (rows,)} if there else {}
            shapes |= {f"p{d}": (3 * size,)} if spec.peepholes else {}
            inputs += [self._parameter(b, name, shape) for name, shape in shapes.items()]
        channels = spec.directions * size
        outputs = [(channels,)] * (1 + spec.is_lstm)
        return b.nodes(Recurrent(spec), [*inputs, *more], (channels, spec.steps), *outputs)

    def _joined(self, b: Builder, states: list[Value]) -> Value:
        total = states[0]
        for state in states[1:]:
            total = b.add(total, state)
        return total

    def _parameter(self, b: Builder, name: str, shape: tuple[int, ...]) -> Value:
        matrix = len(shape) == 2
        inner = (*shape, 1) if matrix else shape
        order = (2, 1, 0) if matrix else (0,)
        return b.parameter(name, shape, inner=inner, order=order, fan_in=3, gain=1.0)


CASES = given(specs(smooth=True), st.booleans())


def row(patch: pytest.MonkeyPatch, spec: RecurrentSpec, states: bool) -> str:
    """A row of the table of networks, with something trained before the layer."""
    net = nn.Sequential(nn.Conv(3, 1), Layer(replace(spec, lengths=False), states))
    patch.setitem(networks.TABLE, "recurrent", (net, (2, spec.steps)))
    return "recurrent"


@CASES
def test_gradients_are_slopes(spec: RecurrentSpec, states: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check(problem(row(patch, spec, states)), directions=1)


@CASES
def test_programs_compute_what_graphs_mean(spec: RecurrentSpec, states: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = problem(row(patch, spec, states))
        step = step_of(found)
        poison(step)
        got = ran(step, found)
        close(got, wanted(step, found), 1e-9)
        with threads(3):
            same(ran(step_of(found), found), got)


@given(specs())
def test_states_and_lengths_from_outside(spec: RecurrentSpec) -> None:
    """They are inputs of the network, and the states are outputs."""
    spec = replace(spec, lengths=True, initial_h=True, initial_c=spec.is_lstm)
    b = Builder((2, spec.steps), dtype="float64")
    channels = spec.directions * spec.hidden
    inputs = {"lengths": ((1,), "int"), "h": ((channels,), "float")}
    inputs |= {"c": ((channels,), "float")} if spec.is_lstm else {}
    more = [b.add_input(name, shape, kind) for name, (shape, kind) in inputs.items()]
    made = Layer(spec).of(b, b.input, more)
    graph = b.graph(*made)
    rng, samples = np.random.default_rng(2), 5
    given = [rng.normal(size=(samples, *value.shape)) for value in graph.inputs]
    given[1] = rng.integers(0, spec.steps + 1, (samples, 1))
    state, drawn = State(graph.parameters, graph.dtype), anything(graph)
    state.update(drawn)
    got = Inference(graph, state, samples)(*given)
    outside = {v.name: array for v, array in zip(graph.inputs, given, strict=True)}
    known = interpreter.values(graph, drawn, given[0], outside)
    assert len(got) == len(graph.outputs) == 2 + spec.is_lstm
    for array, value in zip(got, graph.outputs, strict=True):
        np.testing.assert_allclose(array, known[value.name], atol=1e-11)
