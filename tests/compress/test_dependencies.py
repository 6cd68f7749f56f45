"""Channels that go together, on every network: some groups are removed at random, and the smaller
network computes what the larger one does if nothing reads their channels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from graph import interpreter
from grid import grid, rows
from nets.small import SMALL
from nn.networks import NETWORKS, TOKENS

from faltung import nets, nn
from faltung.compress.costs import Ledger
from faltung.compress.dependencies import Dependencies, Group, dependencies
from faltung.compress.rewritten import REWRITES, SILENT, STAY
from faltung.formats.onnx_export import export_onnx
from faltung.graph.differentiate import differentiate
from faltung.graph.initial import parameters
from faltung.graph.value import Graph
from faltung.nn.edit import paths
from faltung.nn.layer import Layer
from faltung.nn.text import parse

Array = Any
MOST_VALUES = 150_000  # of one sample in networks that the interpreter runs


def drawn(graph: Graph, rng: np.random.Generator) -> dict[str, Array]:
    """Numbers of which none is so small that it makes no difference."""
    made = {name: np.asarray(value) for name, value in parameters(graph).items()}
    constants = [p for p in graph.parameters if p.initial != "normal"]
    return made | {p.name: rng.uniform(0.5, 1, p.shape) for p in constants}


def chosen(found: Dependencies, rng: np.random.Generator, part: float = 0.5) -> list[Group]:
    """Some of the groups, so that a channel stays everywhere."""
    ledger = Ledger(found.graph, found, "channels", 0.0)
    for number in rng.permutation(len(found.groups))[: int(part * len(found.groups))]:
        ledger.remove(found.groups[number])
    assert found.empties(ledger.gone) is None
    return ledger.gone


def sample(graph: Graph, rng: np.random.Generator) -> Array:
    shape = (2, *graph.input.shape)
    return rng.integers(0, 11, shape) if graph.input.kind == "int" else rng.normal(size=shape)


def check(net: Layer, shape: Sequence[int], tokens: bool) -> Dependencies:
    """A network without some of its groups, against itself with nothing that reads them."""
    rng = np.random.default_rng(0)
    found = dependencies(net, shape, tokens=tokens)
    gone = chosen(found, rng)
    assert gone
    smaller = parse(repr(found.without(gone)))
    trained = nn.build(smaller, shape, tokens=tokens, training=True)
    values = drawn(found.graph, rng)
    kept = found.parameters(values, gone)
    assert {p.name: p.shape for p in trained.parameters} == {n: v.shape for n, v in kept.items()}
    if not trained.auxiliaries or trained.auxiliaries[0].output.shape == trained.output.shape:
        assert differentiate(trained).gradients.keys() <= kept.keys()
    exact = [group for group in gone if not group.approximate]
    before = nn.build(net, shape, tokens=tokens, dtype="float64")
    after = nn.build(found.without(exact), shape, tokens=tokens, dtype="float64")
    if sum(value.size for node in before.nodes for value in node.outputs) > MOST_VALUES:
        return found
    x = sample(before, rng)
    want = interpreter.run(before, found.unread(values, exact), x)
    got = interpreter.run(after, found.parameters(values, exact), x)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10 * np.abs(want).max())
    if exact:  # what is removed is no nothing
        assert np.abs(interpreter.run(before, values, x) - want).max() > 1e-10
    return found


@grid(name_shape_options=rows("name shape options", SMALL), every=4)
def test_networks_of_the_literature(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    net = nets.get(name, classes=4, input_shape=shape, **options)
    check(net, shape, nets.row(name).kind == "text")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer(name: str) -> None:
    """Between a layer before it whose channels may go, and one that reads all that it makes."""
    net, shape = NETWORKS[name]
    tokens = name in TOKENS
    first: list[nn.Layer] = []
    if not tokens:
        first = [nn.Conv(shape[0], 1) if len(shape) > 1 else nn.Linear(shape[0])]
    whole = nn.Sequential(*first, net, nn.Flatten(), nn.Linear(3))
    if any(isinstance(layer, nn.Attention) for layer in paths(whole).values()):
        found = dependencies(whole, shape)
        assert "its heads divide the channels" in found.pinned.values()
    elif shape[0] == 1:
        found = dependencies(whole, shape)
        assert found.groups and found.empties(found.groups)
    elif any(getattr(layer, "bits", None) for layer in paths(whole).values()):
        assert "its weight is computed" in dependencies(whole, shape).pinned.values()
    elif any(isinstance(layer, nn.Softmax) for layer in paths(whole).values()):
        found = dependencies(whole, shape)
        assert not found.groups and found.pinned["conv1"] == "Softmax over channels"
    else:
        check(whole, shape, tokens)


def test_every_layer_of_nn_is_known() -> None:
    """In one of the tables, and no more."""
    for name in nn.__all__:
        kind = getattr(nn, name)
        if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer:
            homes = [kind in REWRITES, kind in STAY, issubclass(kind, SILENT)]
            assert sum(homes) == 1, name


@pytest.mark.parametrize("name", ["shufflenetv2", "mobilenetv3small", "unet"])
def test_exported_it_computes_the_same_elsewhere(name: str) -> None:
    """In ONNX Runtime, which shares nothing with us but the file."""
    runtime = pytest.importorskip("onnxruntime")
    shape, rng = (1, 16, 16), np.random.default_rng(1)
    found = dependencies(nets.get(name, classes=4, input_shape=shape, width=0.25), shape)
    gone = chosen(found, rng)
    graph = nn.build(found.without(gone), shape)
    values = found.parameters(drawn(nn.build(found.net, shape), rng), gone)
    session = runtime.InferenceSession(
        export_onnx(graph, values), providers=["CPUExecutionProvider"]
    )
    x = rng.normal(size=(2, *shape)).astype(np.float32)
    (got,) = session.run(None, {session.get_inputs()[0].name: x})
    want = interpreter.run(graph, values, x)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
