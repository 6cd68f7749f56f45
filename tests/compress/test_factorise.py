"""Networks in factors: the budget, what measurement decides, and networks that still work."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from compress.test_fold import drawn
from graph import interpreter

from faltung import Model, nets, nn
from faltung.compress import factorise as module
from faltung.compress.factorise import Factorised, Times, factorise
from faltung.compress.means import Task
from faltung.data.source import ArraySource
from faltung.formats.onnx_export import export_onnx
from faltung.graph.summary import summary

NET = nn.Sequential(
    nn.Conv(12, 3, padding=1),
    nn.ReLU(),
    nn.Residual(nn.Sequential(nn.Conv(12, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU())),
    nn.MaxPool(2),
    nn.Flatten(),
    nn.Linear(24),
    nn.ReLU(),
    nn.Linear(3),
)
SHAPE = (3, 8, 8)


def task(shape: tuple[int, ...] = SHAPE, count: int = 20, **more: Any) -> Task:
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((shape[0], shape[0]))  # channels are not independent
    x = np.tensordot(rng.standard_normal((count, *shape)), mixed, (1, 0))
    x = np.moveaxis(x, -1, 1).astype(np.float32)
    y = np.arange(count) % 3
    kind = {1: "table", 2: "series", 3: "picture", 4: "volume"}[len(shape)]
    return Task(ArraySource(x, y, kind=kind), **more)  # type: ignore[arg-type]


def model(net: nn.Layer = NET, shape: tuple[int, ...] = SHAPE, **more: Any) -> Model:
    return drawn(Model(net, shape, **more))


def always(before: Model, after: Model) -> Times:
    return 1.0, 0.5


def never(before: Model, after: Model) -> Times:
    return 1.0, 1.0


def bytes_of(model: Model) -> int:
    return summary(model.graph).parameter_bytes


# The budget ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["bytes", "macs"])
def test_a_larger_budget_saves_more_and_loses_more(by: Any) -> None:
    one, given = model(), task(by=by)
    before = {name: value.tobytes() for name, value in one.parameters.items()}
    x = np.random.default_rng(1).standard_normal((6, *SHAPE)).astype(np.float32)
    saved, away = [], []
    for strength in (0.01, 0.2, 1.0):
        made = factorise(one, given, strength, measure=always)
        assert made.changed and 0 < sum(made.lost.values()) <= strength
        assert {left.layer for left in made.left}.isdisjoint(made.lost)
        assert all(left.why == "nothing smaller is within the budget" for left in made.left)
        cost = summary(made.model.graph)
        saved.append(cost.macs if by == "macs" else cost.parameter_bytes)
        away.append(np.square(made.model.outputs(x) - one.outputs(x)).mean())
    assert saved[0] > saved[1] > saved[2] and away[0] < away[1] < away[2]
    assert before == {name: value.tobytes() for name, value in one.parameters.items()}


def test_the_budget_is_spent_where_it_saves_most() -> None:
    """Nearly as good as the best of all combinations."""
    one = model(
        nn.Sequential(nn.Linear(20), nn.ReLU(), nn.Linear(16), nn.ReLU(), nn.Linear(3)), (9,)
    )
    found, _ = module.sites(one)
    ways = {site.name: module._ways(site, one, None, "bytes", 0.5) for site in found}
    choices = [[None, *ways[site.name]] for site in found]
    whole = sum(site.cost((site.whole(),))[0] for site in found)
    best = 0
    for chosen in product(*choices):
        some = [way for way in chosen if way is not None]
        saved = sum(way.site.cost((way.site.whole(),))[0] - way.bytes for way in some)
        if sum(way.lost for way in some) <= 0.5:
            best = max(best, saved)
    made = factorise(one, task((9,)), 0.5, measure=always, seen=False)
    saved = bytes_of(one) - bytes_of(made.model)
    assert 0.8 * best < saved <= best < whole


def test_all_of_the_energy_may_go() -> None:
    made = factorise(model(), task(), 100.0, measure=always)
    assert len(made.lost) > 1 and made.model.predict(np.zeros((1, *SHAPE))).shape == (1, 3)


@pytest.mark.parametrize("strength", [0, -1, float("nan"), float("inf"), "much"])
def test_a_strength_is_above_zero(strength: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="strength="):
        factorise(model(), task(), strength, measure=always)


def test_what_is_not_finite_is_an_error() -> None:
    one = model()
    weight = one.parameters["linear1.weight"]
    weight[3, 4] = np.nan
    one.set_parameters({"linear1.weight": weight})
    with pytest.raises(ValueError, match="the weight of 'linear1' is not finite"):
        factorise(one, task(), 0.1, measure=always, seen=False)
    one = model()
    one.set_parameters({"conv1.weight": np.full((12, 3, 3, 3), 3e38)})
    with pytest.raises(ValueError, match="reads numbers that are not finite from some"):
        factorise(one, task(), 0.1, measure=always)


# What is measured ---------------------------------------------------------------------------------


def test_what_is_not_faster_stays() -> None:
    one = model()
    made = factorise(one, task(), 0.5, measure=never)
    assert not made.changed and made.model is one and not made.lost
    said = {left.layer: left.why for left in made.left}
    assert any(why.startswith("not faster: 1 ms as ") for why in said.values())
    assert set(said) >= {"conv1", "linear1", "residual1.sequential1.conv1"}


def test_a_layer_that_is_slower_frees_the_budget_for_others() -> None:
    one, given = model(), task()

    def slow(before: Model, after: Model) -> Times:
        return (1.0, 0.5) if before.input_shape == (12, 4, 4) else (1.0, 2.0)

    free = factorise(one, given, 0.3, measure=always)
    made = factorise(one, given, 0.3, measure=slow)
    assert set(made.lost) == {"linear1"} and len(free.lost) > 1
    assert made.lost["linear1"] >= free.lost["linear1"]


def test_what_was_measured_once_decides_again() -> None:
    """With the times of the first call the second gives the same bits, and measures nothing."""
    one, given, asked = model(), task(), []

    def by_chance(before: Model, after: Model) -> Times:
        asked.append(repr(after.net))
        return 1.0, 0.4 + 0.8 * (len(asked) % 2)

    first = factorise(one, given, 0.4, measure=by_chance)

    def nothing(before: Model, after: Model) -> Times:
        raise AssertionError("measured again")

    again = factorise(one, given, 0.4, measure=nothing, measured=first.measured)
    assert len(asked) == len(first.measured) > 1 and first.measured == again.measured
    assert repr(first.model.net) == repr(again.model.net) and first.left == again.left
    for name, value in first.model.parameters.items():
        np.testing.assert_array_equal(value, again.model.parameters[name])


def test_this_computer_measures() -> None:
    """A layer that is much smaller in factors is faster; both times are milliseconds."""
    one = drawn(Model(nn.Sequential(nn.Linear(512), nn.ReLU(), nn.Linear(2)), (512,)))
    low = np.random.default_rng(0).standard_normal((2, 512, 4))
    one.set_parameters({"linear1.weight": low[0] @ low[1].T})
    made = factorise(one, task((512,)), 1e-6, seen=False)
    (times,) = made.measured.values()
    assert 0 < times[1] < times[0] < 100
    assert made.said == "linear1: svd, rank 4"
    x = np.random.default_rng(1).standard_normal((3, 512))
    np.testing.assert_allclose(made.model.predict(x), one.predict(x), rtol=1e-3, atol=1e-2)


# What is seen -------------------------------------------------------------------------------------


def test_outputs_count_where_inputs_are_alike() -> None:
    """Inputs that lie in a plane: a linear layer of two directions loses nothing that is seen."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((64, 2)) @ rng.standard_normal((2, 16))).astype(np.float32)
    given = Task(ArraySource(x, np.arange(64) % 3, kind="table"))
    one = drawn(Model(nn.Sequential(nn.Linear(12), nn.ReLU(), nn.Linear(3)), (16,)))
    made = factorise(one, given, 0.01, measure=always)
    assert made.lost["linear1"] < 0.01 and "linear1: svd, rank 2" in made.said
    away = np.abs(made.model.predict(x) - one.predict(x)).max()
    blind = factorise(one, given, 0.01, measure=always, seen=False)
    assert "linear1" not in blind.lost
    assert away < 0.1 * np.abs(one.predict(x)).max()


def test_few_samples_are_enough() -> None:
    for count in (1, 3):
        made = factorise(model(), task(count=count + 1), 0.2, measure=always)
        assert all(np.isfinite(v).all() for v in made.model.parameters.values())


def test_dead_channels_are_no_trouble() -> None:
    """A layer that reads zeros only, and one whose weight is zero."""
    one = model()
    one.set_parameters({"conv1.weight": np.zeros((12, 3, 3, 3)), "conv1.bias": -np.ones(12)})
    made = factorise(one, task(), 0.2, measure=always)
    assert all(np.isfinite(v).all() for v in made.model.parameters.values())


# Networks -----------------------------------------------------------------------------------------


NETWORKS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("resnet18", (2, 40), {"width": 0.1}),
    ("unet", (2, 9, 22), {"width": 0.1, "padding_mode": ("replicate", "circular")}),
    ("shufflenetv2", (1, 8, 8), {"width": 0.1}),
    ("textcnn", (19,), {"vocabulary": 12, "features": 16, "maps": 8}),
    ("vittiny", (1, 8, 8), {"width": 0.1, "blocks": 1}),
]
SEEN = ("unet", "textcnn", "vittiny")  # the others by their weights, which compiles nothing


@pytest.mark.parametrize(("name", "shape", "options"), NETWORKS, ids=[n for n, _, _ in NETWORKS])
def test_networks(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    """Every network: smaller, close to what it was, and still one that trains and is text."""
    net = nets.get(name, classes=3, input_shape=shape, **options)
    tokens = nets.row(name).kind == "text"
    one = drawn(Model(net, shape, tokens=tokens))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 12, (8, *shape)) if tokens else rng.normal(size=(8, *shape))
    labels = np.zeros((8, *one.graph.output.space), np.int64)
    source = ArraySource(x, labels, kind=_kind(shape, tokens))
    made = factorise(one, Task(source), 0.3, measure=always, seen=name in SEEN)
    assert made.changed and bytes_of(made.model) < bytes_of(one)
    wanted = interpreter.run(one.graph, one.parameters, x[:2])
    found = interpreter.run(made.model.graph, made.model.parameters, x[:2])
    assert found.shape == wanted.shape and np.isfinite(found).all()
    again = Model.from_about(made.model.about())
    again.take(made.model.parameters, "again")
    assert len(made.model.training_graph.auxiliaries) == len(one.training_graph.auxiliaries)


def _kind(shape: tuple[int, ...], tokens: bool) -> Any:
    return "text" if tokens else {1: "table", 2: "series", 3: "picture", 4: "volume"}[len(shape)]


def test_three_axes() -> None:
    net = nn.Sequential(nn.Conv(8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3))
    one = model(net, (6, 3, 4, 3))
    made = factorise(one, task((6, 3, 4, 3)), 0.8, measure=always, seen=False)
    assert "conv1" in made.lost and summary(made.model.graph).macs < summary(one.graph).macs


def test_branches_and_auxiliary_classifiers() -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(20), nn.ReLU(), nn.Linear(3))
    branches = nn.Parallel(nn.Conv(12, 1), nn.Conv(12, 3, padding=1), nn.Identity())
    net = nn.Sequential(
        nn.Conv(12, 1), branches, nn.Auxiliary(head), nn.GlobalAvgPool(), nn.Linear(3)
    )
    made = factorise(model(net), task(), 1.0, measure=always)
    assert {"auxiliary1.sequential1.linear1", "parallel1.conv2"} <= set(made.lost)
    made.model.fit(task().train, epochs=1, show=False)


def test_it_trains_and_is_factorised_again() -> None:
    one = model(classes=("a", "b", "c"))
    given = task(count=40)
    made: Factorised = factorise(one, given, 0.5, measure=always)
    made.model.fit(given.train, epochs=2, show=False)
    pytest.importorskip("onnx")
    exported = Model.from_onnx(export_onnx(made.model.graph, made.model.parameters))
    x = given.train.read(np.arange(3))
    x = made.model.standardised(x)
    np.testing.assert_allclose(
        exported.predict(x, softmax=False), made.model.program(3)(x), rtol=1e-4, atol=1e-4
    )
    again = factorise(made.model, given, 0.5, measure=always)
    assert again.model.classes == one.classes and bytes_of(again.model) <= bytes_of(made.model)


def test_names_that_are_taken() -> None:
    net = nn.Sequential(
        nn.Conv(12, 3, name="conv"), nn.ReLU(name="conv_1"), nn.Flatten(), nn.Linear(3)
    )
    made = factorise(model(net), task(), 1.0, measure=always)
    assert "conv" in made.lost and "name='conv__1'" in repr(made.model.net)


def test_a_quantised_layer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights lie on a grid, where no product of factors would."""
    one = Model(nn.Sequential(nn.Linear(20, bits=8), nn.Linear(20)), (20,))
    made = factorise(one, task((20,)), 0.5, measure=always)
    assert "its weights lie on a grid" in {left.why for left in made.left}
