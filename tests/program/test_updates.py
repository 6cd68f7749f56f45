"""Weights that change as soon as their gradient is complete: the bits are those of afterwards."""

import numpy as np
import pytest
from graph.networks import TABLE, problem
from program.programs import poison, step_of, threads

from faltung import nn
from faltung.graph.ops import Convolve, ConvolveInput, ConvolveWeight
from faltung.program import updates
from faltung.program.optimizer import SGD, AdamW, Optimizer
from faltung.program.training import TrainingStep

NETS = list(TABLE)[::6]
OPTIMIZERS = [SGD(0.9, decay=1e-3), SGD(0.9, nesterov=True), AdamW(decay=1e-2)]


def _trained(step: TrainingStep, found: object, steps: int = 3) -> list[bytes]:
    """The bits of parameters and slots after some steps."""
    x = found.x.astype(np.int64 if found.graph.input.kind == "int" else step.state.dtype)
    for number in range(steps):
        poison(step)
        step(x, found.target, lr=0.01, step=number, seed=1)
    return [array.tobytes() for array in (step.state.memory, *step.slots.arrays.values())]


def _at_once(step: TrainingStep) -> int:
    return sum("optimizer" in s.title and "weight_grad" in s.title for s in step.assembly.steps)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of any size."""
    monkeypatch.setattr(updates, "MIN_ELEMENTS", 1)


@pytest.mark.parametrize("name", NETS)
def test_same_bits_as_afterwards(name: str) -> None:
    found = problem(name, dtype="float32")
    later = step_of(found, OPTIMIZERS[0])
    assert not _at_once(later)
    want = _trained(later, found)
    with threads(3):
        step = step_of(found, OPTIMIZERS[0], keep_gradients=False)
        assert _trained(step, found) == want


def test_a_matrix_of_several_bands_and_a_rest() -> None:
    """37 and 45 outputs fill no vectors; 1,000 rows are several bands."""
    net = nn.Sequential(nn.Conv(45, 1), nn.ReLU(), nn.Conv(37, 1), nn.GlobalAvgPool(), nn.Linear(5))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 29, 10, 10), dtype=np.float32)
    for optimizer in OPTIMIZERS:
        found = []
        for keep in (True, False):
            step = _step(net, x.shape, optimizer, keep)
            assert _at_once(step) == (0 if keep else 2)
            for number in range(3):
                step(x, np.arange(10) % 5, lr=0.1, step=number)
            found.append([a.tobytes() for a in (step.state.memory, *step.slots.arrays.values())])
        assert found[0] == found[1]


def _step(net: nn.Layer, shape: tuple[int, ...], optimizer: Optimizer, keep: bool) -> TrainingStep:
    from faltung.graph.differentiate import differentiate
    from faltung.graph.initial import parameters
    from faltung.program.state import State
    from faltung.program.training import Slots

    graph = nn.build(net, shape[1:], training=True)
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph))
    slots = Slots(state, optimizer)
    return TrainingStep(differentiate(graph), state, slots, shape[0], keep_gradients=keep)


def test_not_where_all_gradients_are_clipped() -> None:
    net = nn.Sequential(nn.Conv(64, 1), nn.GlobalAvgPool(), nn.Linear(5))
    assert _at_once(_step(net, (4, 20, 6, 6), SGD(0.9), keep=False))
    assert not _at_once(_step(net, (4, 20, 6, 6), SGD(0.9, clip=1.0), keep=False))


def test_the_gradient_is_not_stored() -> None:
    """Of a single band nothing is written where the gradient would be."""
    net = nn.Sequential(nn.Linear(40), nn.ReLU(), nn.Linear(5))
    step = _step(net, (4, 30), SGD(0.9), keep=False)
    step(np.ones((4, 30), np.float32), np.arange(4), lr=0.1)
    assert not step.state.get("linear1.weight", step.slots.gradients).any()
    assert step.state.get("linear1.weight", step.slots.arrays["momentum"]).any()
    assert step.state.get("linear2.weight", step.slots.gradients).any()  # too narrow for panels


def test_who_reads_the_weight_comes_before() -> None:
    net = nn.Sequential(nn.Conv(24, 1), nn.ReLU(), nn.Conv(30, 1), nn.GlobalAvgPool())
    step = _step(net, (4, 20, 6, 6), SGD(0.9), keep=False)
    nodes = step.nodes
    gradients = {grad.name: name for name, grad in step.training.gradients.items()}
    for number, node in enumerate(nodes):
        if isinstance(node.op, ConvolveWeight):
            name = gradients[node.output.name]
            rest = [n for n in nodes[number:] if isinstance(n.op, Convolve | ConvolveInput)]
            assert name not in {value.name for other in rest for value in other.inputs}
