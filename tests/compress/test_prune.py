"""Pruned models: smaller by as much as asked, still models, and the same at every time; the ranks
against losses that were computed without the channels.
"""

from typing import Any

import numpy as np
import pytest
import runs

from faltung import Model, nets, nn
from faltung.compress.costs import Ledger
from faltung.compress.dependencies import dependencies
from faltung.compress.importance import by_gradients, by_scales
from faltung.compress.means import Task
from faltung.compress.prune import apply, prune, prune_in_rounds
from faltung.geometry.errors import FaltungError
from faltung.graph.cost import macs
from faltung.nn.text import parse


def block(body: int, *, norm: bool = True) -> nn.Layer:
    norms = [nn.BatchNorm()] if norm else []
    inside = nn.Sequential(
        nn.Conv(body, 3, padding=1, groups=1), *norms, nn.ReLU(), nn.Conv(8, 1), *norms
    )
    return nn.Sequential(
        *(nn.Conv(8, 3, padding=1), *norms, nn.ReLU()),
        *(nn.Residual(inside), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(2)),
    )


@pytest.fixture(scope="module")
def trained() -> Model:
    model = Model(block(12), (1, 8, 8), seed=1)
    model.fit(*runs.shapes(64), epochs=2, show=False)
    return model


def cost(model: Model, by: str) -> int:
    if by == "macs":
        return sum(map(macs, model.graph.nodes))
    return sum(4 * p.size for p in model.graph.parameters)


@pytest.mark.parametrize("by", ["macs", "bytes"])
def test_as_much_goes_as_was_asked_for(trained: Model, by: Any) -> None:
    x, y = runs.shapes(64)
    before = trained.parameters
    made = prune(trained, x, y, part=0.6, by=by)
    left = cost(made.model, by) / cost(trained, by)
    assert 0.25 < left <= 0.4
    assert f"{1 - left:.1%} of the {by}" in made.said
    assert all((trained.parameters[name] == value).all() for name, value in before.items())
    again = prune(trained, x, y, part=0.6, by=by).model
    assert again.net == made.model.net == parse(repr(made.model.net))
    for name, value in made.model.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], value)
    assert made.model.classes == trained.classes and made.model.loss == trained.loss
    assert made.model.predict(x).shape == (64, 2)
    assert [left.layer for left in made.left] == ["linear1"]


def test_the_ledger_counts_what_the_smaller_network_costs() -> None:
    """Of networks with groups, depthwise layers, gates, branches and transposes."""
    for name in ("shufflenetv2", "mobilenetv3small", "unet"):
        net = nets.get(name, classes=3, input_shape=(1, 16, 16), width=0.25)
        found = dependencies(net, (1, 16, 16))
        graph = nn.build(net, (1, 16, 16))
        rng = np.random.default_rng(0)
        ledgers = [Ledger(graph, found, by, 0.0) for by in ("macs", "bytes", "channels")]
        one = found.groups[int(rng.integers(len(found.groups)))]
        saved = [ledger.saved(one) for ledger in ledgers]
        for number in rng.permutation(len(found.groups))[: len(found.groups) // 2]:
            assert len({ledger.remove(found.groups[number]) for ledger in ledgers}) == 1
        smaller = nn.build(found.without(ledgers[0].gone), (1, 16, 16))
        assert ledgers[0].total == pytest.approx(sum(map(macs, smaller.nodes)))
        assert ledgers[1].total == pytest.approx(sum(4 * p.size for p in smaller.parameters))
        alone = nn.build(found.without([one]), (1, 16, 16))
        want = sum(map(macs, graph.nodes)) - sum(map(macs, alone.nodes))
        assert saved[0] == pytest.approx(want)
        want = 4 * sum(p.size for p in graph.parameters)
        assert saved[1] == pytest.approx(want - 4 * sum(p.size for p in alone.parameters))


def test_a_multiple_of_the_vector_stays(trained: Model) -> None:
    """Of layers that are wide enough; of others any number."""
    model = Model(block(40), (1, 8, 8), seed=1)
    x, y = runs.shapes(32)
    for multiple, part in ((None, 0.3), (None, 0.6), (4, 0.5), (3, 0.5)):
        made = prune(model, x, y, part=part, multiple=multiple).model
        inside = len(made.parameters["residual1.sequential1.conv1.bias"])
        assert inside < 40 and inside % (multiple or 8) == 0
    made = prune(model, x, y, part=0.4, by="bytes").model
    assert len(made.parameters["residual1.sequential1.conv1.bias"]) % 8


def test_importance_is_the_slope_of_the_loss() -> None:
    """Without a little of what reads a group, the loss changes by as much of its first order."""
    x, y = runs.shapes(32)
    model = Model(block(6), (1, 8, 8), dtype="float64", seed=3)
    model.fit(x, y, epochs=2, show=False)
    task = Task(runs.source(32))
    found = dependencies(model.net, (1, 8, 8))
    ranks = by_gradients(model, found, task.train, "cross_entropy", batch=32, smoothing=0.0)
    assert ranks.keys() == {group.label for group in found.groups}
    values, step = model.parameters, 1e-5
    for group in found.groups[:: len(found.groups) // 5]:
        losses = []
        for sign in (1, -1):
            moved = {name: np.array(value) for name, value in values.items()}
            for name, axis in found.reads & group.slices.keys():
                np.moveaxis(moved[name], axis, 0)[group.slices[name, axis]] *= 1 + sign * step
            model.set_parameters(moved)
            losses.append(model.evaluate(x, y)["loss"])
        slope = (losses[0] - losses[1]) / (2 * step)
        assert ranks[group.label] == pytest.approx(slope**2, rel=1e-4, abs=1e-12)


def test_channels_without_a_scale_go_first(trained: Model) -> None:
    values = trained.parameters
    name = "residual1.sequential1.batchnorm1.weight"
    values[name][[1, 4, 5]] = 1e-4
    model = Model(trained.net, trained.input_shape)
    model.set_parameters(values)
    found = dependencies(model.net, model.input_shape)
    ranks = by_scales(model, found)
    least = sorted(found.groups, key=lambda group: ranks[group.label])[:3]
    assert sorted(int(group.slices[name, 0][0]) for group in least) == [1, 4, 5]
    x, y = runs.shapes(16)
    made = prune(model, x, y, part=0.1, by="channels", importance="scales").model
    kept = made.parameters[name]
    assert 1e-4 not in kept.astype(np.float32) and len(kept) < 12


def test_rounds_with_fine_tuning() -> None:
    x, y = runs.shapes(64)
    model = Model(block(12, norm=False), (1, 8, 8), seed=1)
    model.fit(x, y, epochs=15, show=False)
    made, history = prune_in_rounds(model, x, y, part=0.7, rounds=3, epochs=6, lr=0.003)
    assert cost(made, "macs") <= 0.3 * cost(model, "macs") * 1.01
    assert len(history) == 6
    assert made.evaluate(x, y)["accuracy"] >= model.evaluate(x, y)["accuracy"] - 0.05


TARGETS: dict[str, tuple[nn.Layer, tuple[int, ...], Any, Any]] = {
    "tokens": (
        nn.Sequential(nn.Embedding(9, 6), nn.Conv(5, 3), nn.GlobalAvgPool(), nn.Linear(2)),
        (7,),
        np.random.default_rng(0).integers(0, 9, (24, 7)),
        np.arange(24) % 2,
    ),
    "maps": (
        nn.Sequential(nn.Conv(8, 3, padding=1), nn.ReLU(), nn.Conv(2, 1)),
        (1, 8, 8),
        *runs.maps(24),
    ),
    "numbers": (
        nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3)),
        (1, 8, 8),
        runs.shapes(24)[0],
        np.random.default_rng(0).normal(size=(24, 3)),
    ),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_all_kinds_of_samples_and_targets(kind: str) -> None:
    net, shape, x, y = TARGETS[kind]
    model = Model(net, shape, tokens=kind == "tokens", seed=2)
    model.loss = "mse" if kind == "numbers" else "cross_entropy"
    made = prune(model, x, y, part=0.3, by="bytes").model
    assert cost(made, "bytes") <= 0.7 * cost(model, "bytes")
    assert made.predict(x).shape == model.predict(x).shape


def test_what_cannot_be_done(trained: Model) -> None:
    x, y = runs.shapes(16)
    with pytest.raises(FaltungError, match=r"part=1\.5: must be above 0"):
        prune(trained, x, y, part=1.5)
    with pytest.raises(FaltungError, match=r"part=0\.99: at most 0\.\d+ of the macs can go"):
        prune(trained, x, y, part=0.99)
    with pytest.raises(FaltungError, match="importance='scales': the network has no batch"):
        prune(Model(block(4, norm=False), (1, 8, 8)), x, y, importance="scales")
    with pytest.raises(FaltungError, match="by='size': must be"):
        prune(trained, x, y, by="size")  # type: ignore[arg-type]
    with pytest.raises(FaltungError, match="gradients are of float32 or float64; prune first"):
        prune(trained.astype("bfloat16"), x, y)
    # As a means it takes what can go, and says so.
    task = Task(runs.source(16), by="macs")
    assert apply(trained, task, 0.99).changed
    stays = apply(Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 8, 8)), task, 0.5)
    assert not stays.changed and stays.left[0].why == "what the network gives"
