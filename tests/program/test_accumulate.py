"""Gradients of several batches added up, against one large batch."""

from typing import Any

import numpy as np
import pytest

from faltung import Model, nn
from faltung.graph.differentiate import differentiate
from faltung.program.accumulate import Accumulated
from faltung.program.optimizer import SGD, AdamW, Averaged, Rule
from faltung.program.training import Slots, TrainingStep

Array = np.ndarray[Any, Any]
BATCHES = (0, 4), (4, 8), (8, 10)


def trained(rule: Rule, weights: tuple[float, ...] | None, batches: bool) -> dict[str, Array]:
    """Parameters and slots after three steps on ten samples, of which one does not count."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 1, 6, 6)).astype(np.float32)
    y = rng.integers(0, 2, 10)
    y[3] = -1
    net = nn.Sequential(nn.Conv(8, 3, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    model = Model(net, (1, 6, 6))
    training = differentiate(model.training_graph, weighted=weights is not None)
    slots = Slots(model.state, rule)
    given: dict[str, Any] = {"class_weight": weights}
    if not batches:
        whole = TrainingStep(training, model.state, slots, 10, **given)
        for step in range(3):
            whole(x, y, lr=0.01, step=step)
        return model.state.all() | slots.all()
    steps = {n: TrainingStep(training, model.state, slots, n, over=4, **given) for n in (4, 2)}
    total = Accumulated(slots, 4)
    for step in range(3):
        before = model.state.memory.copy()
        for start, end in BATCHES:
            one = steps[end - start]
            one(x[start:end], y[start:end], lr=1.0)
            total.add(one)
            assert np.array_equal(before, model.state.memory)
        total.run(lr=0.01, step=step)
    return model.state.all() | slots.all()


@pytest.mark.parametrize("weights", [None, (1.0, 3.0)])
@pytest.mark.parametrize(
    "rule",
    [SGD(0.9, True, decay=0.01), AdamW(decay=0.1, clip=0.01), Averaged(AdamW(clip=100.0), 0.9)],
)
def test_it_is_one_large_batch_up_to_rounding(
    rule: Rule, weights: tuple[float, ...] | None
) -> None:
    one, several = trained(rule, weights, False), trained(rule, weights, True)
    assert one.keys() == several.keys()
    for name, value in one.items():
        assert np.allclose(value, several[name], rtol=1e-4, atol=2e-6), name


def test_labels_that_do_not_count_change_nothing() -> None:
    model = Model(nn.Linear(2), (3,))
    slots = Slots(model.state, SGD(0.9))
    step = TrainingStep(differentiate(model.training_graph), model.state, slots, 2, over=2)
    total, before = Accumulated(slots, 2), model.state.memory.copy()
    step(np.ones((2, 3), np.float32), np.array([-1, -1]), lr=1.0)
    total.add(step)
    total.run(lr=1.0, step=0)
    assert np.array_equal(before, model.state.memory)


def test_weights_of_samples_count_as_in_a_large_batch() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((24, 1, 6, 6)).astype(np.float32)
    y, weight = rng.integers(0, 2, 24), rng.uniform(0.1, 3, 24)
    net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    found = []
    for sizes in ({"batch": 12}, {"batch": 4, "accumulate": 3}):
        model = Model(net, (1, 6, 6))
        given: dict[str, Any] = {"sample_weight": weight, "epochs": 2, "show": False, **sizes}
        model.fit(x, y, class_weight="balanced", optimizer="sgd", **given)
        found.append(model.parameters)
    for name, value in found[0].items():
        assert np.allclose(value, found[1][name], rtol=1e-3, atol=1e-5), name
