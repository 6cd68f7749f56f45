"""The numbers of a network in one stretch of memory."""

import numpy as np
import pytest
from graph import networks
from graph.networks import anything, build, problem
from grid import grid
from program.programs import step_of

from faltung import nn
from faltung.graph.value import Graph
from faltung.program.inference import Inference
from faltung.program.optimizer import SGD
from faltung.program.state import State, strides
from faltung.program.training import Slots, TrainingStep
from faltung.runtime.buffers import ALIGNMENT


@grid(dtype=["float32", "float64"], name=networks.TABLE, every=4)
def test_what_is_written_is_read(name: str, dtype: str) -> None:
    graph = build(name, dtype=dtype)
    state, given = State(graph.parameters, dtype), anything(graph)
    state.update(given)
    assert set(state.all()) == set(given)
    for p in graph.parameters:
        found = state.get(p.name)
        assert found.dtype == dtype
        assert found.tobytes() == given[p.name].astype(dtype).tobytes()
        assert not np.shares_memory(found, state.memory)
        assert np.shares_memory(state.view(p.name), state.memory)


@grid(name=networks.TABLE, every=4)
def test_views_and_strides_agree(name: str) -> None:
    """What kernels are told is what NumPy sees."""
    graph = build(name)
    state = State(graph.parameters, "float64")
    for p in graph.parameters:
        view = state.view(p.name)
        assert view.shape == p.inner
        here = strides(p)
        for axis, size in enumerate(p.inner):
            assert size == 1 or view.strides[axis] == 8 * here[axis]
        start = view.__array_interface__["data"][0] - state.memory.__array_interface__["data"][0]
        assert start == 8 * state.offset(p.name)
        assert start % ALIGNMENT == 0


@grid(dtype=["float32", "float64"], name=networks.TABLE, every=4)
def test_first_what_is_decayed_then_what_is_trained(name: str, dtype: str) -> None:
    """Ranges that hold all of one kind and nothing of another; no two parameters meet."""
    graph = build(name, dtype=dtype)
    state = State(graph.parameters, dtype)
    used = np.zeros(state.size, int)
    for p in graph.parameters:
        first, end = state.offset(p.name), state.offset(p.name) + p.size
        used[first:end] += 1
        assert (end <= state.decayed) == (p.trained and p.decay)
        assert (end <= state.trained) == p.trained
        assert (first >= state.trained) == (not p.trained)
        assert (first >= state.decayed) == (not (p.trained and p.decay))
    assert used.max() == 1
    assert 0 <= state.decayed <= state.trained <= state.size == state.memory.size
    assert state.zeros(trained=True).size == state.trained
    assert not state.zeros().any()


def test_updates_are_whole_or_not_at_all() -> None:
    graph = build("lenet")
    state = State(graph.parameters, "float64")
    given = anything(graph)
    for wrong, words in (
        ({"conv9.weight": np.zeros(3)}, "parameters='conv9.weight': the network has no parameter"),
        ({"linear2.bias": np.zeros(4)}, "linear2.bias.shape=(4,): must be (5,)"),
        ({"conv1.weight": np.zeros((4, 5, 5))}, "conv1.weight.shape=(4, 5, 5): must be (4, 1, 5,"),
    ):
        with pytest.raises(ValueError) as error:
            state.update({**{n: v for n, v in given.items() if n not in wrong}, **wrong})
        assert str(error.value).startswith(words)
        assert not state.memory.any()
    with pytest.raises(ValueError, match=r"linear2.bias.shape=\(1, 5\): must be \(5,\)"):
        state.set("linear2.bias", np.zeros((1, 5)))


def test_other_memory_of_the_same_layout() -> None:
    graph = build("resnet")
    state = State(graph.parameters, "float64")
    other = state.zeros(trained=True)
    for number, p in enumerate(graph.parameters, 1):
        if p.trained:
            state.set(p.name, np.full(p.shape, number), other)
    assert not state.memory.any()
    for number, p in enumerate(graph.parameters, 1):
        if p.trained:
            assert (state.get(p.name, other) == number).all()


# Refusals -----------------------------------------------------------------------------------------


def refused(words: str, graph: Graph, state: State) -> None:
    with pytest.raises(ValueError) as error:
        Inference(graph, state, 2)
    assert str(error.value) == words


def test_programs_refuse_the_parameters_of_another_network() -> None:
    """Its memory would be read as if it were theirs."""
    graph = nn.build(nn.Linear(3), (4,))
    other = nn.build(nn.Linear(3), (5,))
    words = "state: must have the graph's 'linear1.weight' of shape (3, 4)"
    refused(words, graph, State(other.parameters, "float32"))
    words = "state: must have the graph's 'linear1.bias' of shape (3,)"
    bare = nn.build(nn.Linear(3, bias=False), (4,))
    refused(words, graph, State(bare.parameters, "float32"))


def test_programs_refuse_another_dtype() -> None:
    graph = nn.build(nn.Linear(3), (4,))
    words = "state.dtype=float64: must be that of the graph, float32"
    refused(words, graph, State(graph.parameters, "float64"))


def test_a_map_flattened_and_a_vector_are_not_alike() -> None:
    """Their weights have one shape, and another order in memory."""
    flat = nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3)), (2, 2))
    vector = nn.build(nn.Sequential(nn.Identity(), nn.Linear(3)), (4,))
    assert flat.parameters[0].shape == vector.parameters[0].shape
    words = "state: must have the graph's 'linear1.weight' of shape (3, 4)"
    refused(words, vector, State(flat.parameters, "float32"))


def test_slots_are_those_of_the_state() -> None:
    given = problem("lenet")
    step = step_of(given)
    other = Slots(State(given.graph.parameters, "float64"), SGD(0.9))
    with pytest.raises(ValueError) as error:
        TrainingStep(given.training, step.state, other, 3)
    assert str(error.value) == "slots: must be those of the state"


def test_what_training_has_more_does_not_disturb_inference() -> None:
    """The parameters of auxiliary heads."""
    trained, used = build("googlenet"), build("googlenet", training=False)
    assert len(trained.parameters) > len(used.parameters)
    state = State(trained.parameters, "float64")
    state.update(anything(trained))
    alone = State(used.parameters, "float64")
    alone.update({p.name: state.get(p.name) for p in used.parameters})
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    results = [Inference(used, found, 2)(x).tobytes() for found in (state, alone)]
    assert results[0] == results[1]
