"""Folding of normalisations: the same function, and nothing left that could go."""

from typing import Any

import numpy as np
import pytest
from graph import interpreter
from grid import grid, rows
from nets.test_table import SMALL

from faltung import Model, nets, nn
from faltung.compress.fold import fold
from faltung.graph.ops import Normalise


def drawn(model: Model, seed: int = 0) -> Model:
    """The model with parameters as training might leave them: nothing is 0 or 1."""
    rng = np.random.default_rng(seed)
    for p in model.training_graph.parameters:
        last = p.name.rpartition(".")[2]
        if last == "running_var":
            made = rng.uniform(0.5, 2, p.shape)
        elif last == "weight" and len(p.shape) == 1:
            made = rng.uniform(0.5, 1.5, p.shape)
        elif len(p.shape) == 1:
            made = rng.normal(0, 0.3, p.shape)
        else:
            made = rng.normal(0, (2 / p.fan_in) ** 0.5, p.shape)
        model.set_parameters({p.name: made})
    return model


def same(model: Model, other: Model, tokens: int = 11) -> None:
    """Both compute the same, by the meaning of their graphs in float64."""
    rng = np.random.default_rng(1)
    shape = (2, *model.input_shape)
    x = rng.integers(0, tokens, shape) if model.tokens else rng.normal(size=shape)
    wanted = interpreter.run(model.graph, model.parameters, x)
    made = interpreter.run(other.graph, other.parameters, x)
    assert np.ptp(wanted) > 1e-3
    np.testing.assert_allclose(made, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def norms(model: Model) -> list[str]:
    kinds = (nn.BatchNorm, nn.LayerScale)
    graph = model.training_graph
    found = (n.layer for n in graph.nodes if n.kind and isinstance(n.kind.layer, kinds))
    return list(dict.fromkeys(found))


# Every way to fold --------------------------------------------------------------------------------

N = nn.BatchNorm()
FOLDED: dict[str, tuple[nn.Layer, tuple[int, ...]]] = {
    "conv": (nn.Sequential(nn.Conv(4, 3, bias=False), N, nn.ReLU()), (3, 7, 8)),
    "conv with bias": (nn.Sequential(nn.Conv(4, 3, padding=1), N), (3, 7, 8)),
    "conv of groups": (nn.Sequential(nn.Conv(6, 3, groups=3, padding=1), N), (6, 9)),
    "transposed": (nn.Sequential(nn.ConvTranspose(6, 3, stride=2, groups=2), N), (4, 5, 4)),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(5), N, nn.ReLU(), nn.Linear(2)), (3, 4)),
    "local": (nn.Sequential(nn.Local(4, 3), N), (3, 7, 8)),
    "local without bias": (nn.Sequential(nn.Local(4, 3, bias=False), N), (3, 9)),
    "two": (nn.Sequential(nn.Conv(4, 3), N, nn.LayerScale(), nn.BatchNorm()), (3, 7, 8)),
    "branches": (
        nn.Sequential(nn.Parallel(nn.Conv(2, 1), nn.Conv(3, 3, padding=1, bias=False)), N),
        (3, 7, 8),
    ),
    "residual": (
        nn.Residual(nn.Sequential(nn.Conv(3, 1), N), shortcut=nn.Sequential(nn.Conv(3, 1), N)),
        (3, 7, 8),
    ),
    "before conv": (nn.Sequential(N, nn.Conv(4, 3, bias=False), nn.ReLU()), (3, 7, 8)),
    "before groups": (nn.Sequential(N, nn.Conv(6, 3, groups=2, stride=2)), (4, 7, 8)),
    "before other padding": (
        nn.Sequential(N, nn.Conv(4, 3, padding=1, padding_mode="reflect")),
        (3, 7, 8),
    ),
    "before linear": (nn.Sequential(N, nn.Flatten(), nn.Linear(4)), (3, 2, 5)),
    "before local": (nn.Sequential(N, nn.Local(4, 3, bias=False)), (3, 7, 6)),
    "scale before padding": (nn.Sequential(nn.LayerScale(), nn.Conv(4, 3, padding=1)), (3, 7, 8)),
    "before two": (nn.Sequential(N, nn.Parallel(nn.Conv(2, 1), nn.Conv(3, 1))), (3, 7)),
    "between": (nn.Sequential(N, nn.Conv(2, 1), nn.BatchNorm()), (3, 7)),
    "between, with padding": (
        nn.Sequential(nn.Conv(3, 1), nn.BatchNorm(), nn.Conv(2, 3, padding=1), nn.BatchNorm()),
        (3, 7),
    ),
}
STAYS: dict[str, tuple[nn.Layer, tuple[int, ...], str]] = {
    "activation": (
        nn.Sequential(nn.ReLU(), N, nn.ReLU(), nn.Conv(2, 1)),
        (3, 7),
        "ReLU 'relu1' cannot take it, and ReLU 'relu2' cannot take it",
    ),
    "zeros": (nn.Sequential(N, nn.Conv(4, 3, padding=1)), (3, 7), "pads with zeros"),
    "two readers": (
        nn.Sequential(nn.Conv(3, 1), nn.Parallel(nn.Identity(), nn.Sequential(N, nn.ReLU()))),
        (3, 7),
        "others read 'conv1' before it too",
    ),
    "auxiliary": (
        nn.Sequential(
            nn.Conv(3, 1),
            nn.Auxiliary(nn.Sequential(nn.Flatten(), nn.Linear(21))),
            *(N, nn.ReLU(), nn.Flatten(), nn.Linear(21)),
        ),
        (3, 7),
        "others read 'conv1' before it too",
    ),
    "output": (nn.Sequential(nn.ReLU(), N), (3, 7), "it is an output"),
    "transposed": (
        nn.Sequential(N, nn.ConvTranspose(4, 3, stride=2)),
        (3, 7),
        "it reads the input, and 'convtranspose1' after it gives borders fewer terms",
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folded(name: str) -> None:
    net, shape = FOLDED[name]
    model = drawn(Model(net, shape, dtype="float64"))
    before = model.parameters
    outcome = fold(model)
    assert outcome.changed and not outcome.left and not norms(outcome.model)
    assert outcome.said == f"{len(norms(model))} layer{'s' * (len(norms(model)) > 1)} folded"
    same(model, outcome.model)
    for key, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_says_why(name: str) -> None:
    net, shape, why = STAYS[name]
    outcome = fold(drawn(Model(net, shape)))
    assert not outcome.changed and not outcome.said and outcome.model.net == net
    (left,) = outcome.left
    assert left.layer.endswith("batchnorm1") and why in left.why


def test_a_scale_alone_passes_zeros() -> None:
    """A normalisation that shifts nothing goes through padding; one that shifts does not."""
    model = drawn(Model(nn.Sequential(N, nn.Conv(4, 3, padding=1)), (3, 7), dtype="float64"))
    model.set_parameters({"batchnorm1.bias": np.zeros(3), "batchnorm1.running_mean": np.zeros(3)})
    outcome = fold(model)
    assert not norms(outcome.model)
    same(model, outcome.model)


# Networks -----------------------------------------------------------------------------------------

# Normalisations before an activation that nothing precedes but a join.
KEEPS = ("densenet",)


@grid(name_shape_options=rows("name shape options", SMALL), every=6)
def test_networks(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    net = nets.get(name, classes=4, input_shape=shape, **options)
    tokens = nets.row(name).kind == "text"
    model = drawn(Model(net, shape, dtype="float64", tokens=tokens))
    outcome = fold(model)
    assert outcome.changed == bool(norms(model))
    assert {left.layer for left in outcome.left} == set(norms(outcome.model))
    assert bool(outcome.left) == name.startswith(KEEPS), outcome.left
    same(model, outcome.model)


def test_the_bits_are_those_of_a_compiled_network() -> None:
    """A compiled network folds by itself, with the same numbers: nothing changes but the text."""
    net = nets.get("resnet18", classes=4, input_shape=(3, 16, 16), width=0.1)
    model = drawn(Model(net, (3, 16, 16), classes=tuple("abcd")))
    x = np.random.default_rng(1).standard_normal((5, 3, 16, 16), np.float32)
    made = fold(model).model
    assert made.classes == model.classes and "BatchNorm" not in repr(made.net)
    np.testing.assert_array_equal(made.predict(x), model.predict(x))


def test_auxiliary_classifiers_are_folded_too() -> None:
    net = nets.get("googlenet", classes=4, input_shape=(3, 32, 32), width=0.1, auxiliary=True)
    made = fold(Model(net, (3, 32, 32))).model
    assert made.training_graph.auxiliaries and not norms(made)


def test_a_network_from_elsewhere_is_left_as_it_is() -> None:
    """Its layers are text of another kind, in which nothing is replaced."""
    pytest.importorskip("onnx")
    from faltung.formats.onnx_export import export_onnx

    source = drawn(Model(nn.Sequential(nn.ReLU(), N, nn.ReLU()), (3, 7)))
    model = Model.from_onnx(export_onnx(source.graph, source.parameters))
    assert any(isinstance(node.op, Normalise) for node in model.graph.nodes)
    outcome = fold(model)
    assert not outcome.changed and outcome.model is model
    assert [left.why for left in outcome.left] == ["it is part of a network from elsewhere"]
