"""Packed weights: folded a group at a time, and shared by the programs of constants."""

import gc

import numpy as np
import pytest
from graph.networks import anything, build, inputs
from grid import grid

from faltung import nn
from faltung.graph.value import Graph
from faltung.program import packing
from faltung.program.constants import SMALL_BYTES, Constants
from faltung.program.inference import Inference
from faltung.program.state import State

NETS = [
    *("resnet", "googlenet", "unet", "norm of a transpose", "norm of a linear layer"),
    *("embedding", "response norm"),
]


def constants(graph: Graph, *earlier: Constants, seed: int = 0) -> Constants:
    arrays = {n: np.asarray(a, graph.dtype) for n, a in anything(graph, seed).items()}
    return Constants(graph.parameters, graph.dtype, arrays, earlier)


def packed(program: Inference) -> dict[str, np.ndarray]:
    memories = program.assembly.memories
    return {name: memories[name] for name in memories if name.startswith("packed")}


@grid(name=NETS, every=2)
def test_constants_give_what_a_state_gives(name: str) -> None:
    graph = build(name, training=False)
    state = State(graph.parameters, graph.dtype)
    state.update(anything(graph, 0))
    x = inputs(graph, 3)
    assert (
        Inference(graph, constants(graph), 3)(x).tobytes()
        == Inference(graph, state, 3)(x).tobytes()
    )


@grid(name=NETS, every=2)
def test_groups_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every folded weight in a group of its own, in memory that the next one takes."""
    graph = build(name, training=False)
    x = inputs(graph, 2)
    want = Inference(graph, constants(graph), 2)(x).tobytes()
    monkeypatch.setattr(packing, "PASSING_BYTES", 0)
    program = Inference(graph, constants(graph), 2)
    assert program(x).tobytes() == want
    state = State(graph.parameters, graph.dtype)
    state.update(anything(graph, 0))
    program = Inference(graph, state, 2)
    packed(program)["packed"][:] = 0xFF
    program.refresh()
    assert program(x).tobytes() == want


def large() -> Graph:
    """Weights large enough to be told apart by their addresses, normalisation among them."""
    net = nn.Sequential(nn.Conv(48, 3), nn.BatchNorm(), nn.ReLU(), nn.Conv(64, 3), nn.Flatten())
    return nn.build(nn.Sequential(net, nn.Linear(16)), (16, 9, 9))


def test_another_batch_packs_nothing_again() -> None:
    graph = large()
    first = constants(graph)
    one = Inference(graph, first, 1)
    two = Inference(graph, constants(graph, first), 2)  # equal numbers in other arrays
    names = packed(one).keys() & packed(two).keys()
    assert any(np.shares_memory(packed(one)[n], packed(two)[n]) for n in names)
    assert sum(memory.nbytes for memory in packed(two).values()) <= packed(one)["packed"].nbytes
    x = inputs(graph, 2).astype(np.float32)
    assert two(x)[1:].tobytes() == one(x[1:]).tobytes()


def test_other_numbers_are_packed_for_themselves() -> None:
    graph = large()
    first = constants(graph)
    programs = [Inference(graph, first, 2), Inference(graph, constants(graph, first, seed=1), 2)]
    x = inputs(graph, 2).astype(np.float32)
    alone = [Inference(graph, constants(graph, seed=seed), 2)(x) for seed in (0, 1)]
    assert [p(x).tobytes() for p in programs] == [y.tobytes() for y in alone]
    assert (alone[0] != alone[1]).any()


def test_one_number_more_is_noticed() -> None:
    """In a large array and in a small one."""
    graph = large()
    first = constants(graph)
    one = Inference(graph, first, 2)
    x = inputs(graph, 2).astype(np.float32)
    sizes = {p.name: 4 * p.size for p in graph.parameters}
    assert min(sizes.values()) < SMALL_BYTES < max(sizes.values())
    for name in (min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)):
        arrays = {n: np.asarray(a, np.float32).copy() for n, a in anything(graph, 0).items()}
        arrays[name].ravel()[-1] += 1
        other = Constants(graph.parameters, graph.dtype, arrays, [first])
        alone = Constants(graph.parameters, graph.dtype, arrays)
        want = Inference(graph, alone, 2)(x)
        assert Inference(graph, other, 2)(x).tobytes() == want.tobytes()
        assert (want != one(x)).any()


def test_what_no_program_uses_is_let_go() -> None:
    graph = large()
    first = constants(graph)
    program = Inference(graph, first, 1)
    assert len(first.pool._found) > 0
    del program
    gc.collect()
    assert len(first.pool._found) == 0
