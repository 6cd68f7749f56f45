"""Batch normalisation folded away: the same values, where it may go and where it may not."""

import numpy as np
import pytest
from graph import interpreter, networks
from graph.networks import Array, anything, build, inputs
from grid import grid

from faltung import nn
from faltung.graph.expand import expanded
from faltung.graph.fold import Derived, folded
from faltung.graph.ops import Convolve, ConvolveInput, Elementwise, Normalise
from faltung.graph.value import Graph, Value


def values(graph: Graph, given: dict[str, Array], x: Array) -> tuple[Array, tuple[Derived, ...]]:
    """The output of the folded graph, and what took the place of normalisation."""
    made, derived = folded(expanded(graph)[0])
    kept = [node.op.over for node in made.nodes if isinstance(node.op, Normalise)]
    assert "batch" not in kept
    more = {d.value.name: d.compute(given) for d in derived}
    for d in derived:
        assert more[d.value.name].size == d.value.size
        assert more[d.value.name].dtype == np.float64
    known = {**given, **more, graph.input.name: x}
    interpreter.compute(made.nodes, known, len(x))
    return known[made.output.name], derived


@grid(name=networks.TABLE, every=2)
def test_the_same_values(name: str) -> None:
    graph = build(name, training=False)
    given, x = anything(graph), inputs(graph, 3)
    got, _ = values(graph, given, x)
    want = interpreter.run(graph, given, x)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-11 * np.abs(want).max())


# Network, what is left of it, the kinds of what follows from parameters.
WHERE: dict[str, tuple[nn.Layer, list[type], str]] = {
    "after a convolution": (
        nn.Sequential(nn.Conv(4, 3), nn.BatchNorm()),
        [Convolve],
        "weight bias",
    ),
    "after one without bias": (
        nn.Sequential(nn.Conv(4, 3, bias=False), nn.BatchNorm()),
        [Convolve],
        "weight bias",
    ),
    "after one of groups": (
        nn.Sequential(nn.Conv(6, 3, groups=3), nn.BatchNorm()),
        [Convolve],
        "weight bias",
    ),
    "after a transpose": (
        nn.Sequential(nn.ConvTranspose(4, 3, stride=2), nn.BatchNorm()),
        [ConvolveInput],
        "weight bias",
    ),
    "after a transpose of groups": (
        nn.Sequential(nn.ConvTranspose(6, 3, groups=3, bias=False), nn.BatchNorm()),
        [ConvolveInput],
        "weight bias",
    ),
    "after a linear layer": (
        nn.Sequential(nn.Flatten(), nn.Linear(3), nn.BatchNorm()),
        [Convolve],
        "weight bias",
    ),
    "before a convolution": (
        nn.Sequential(nn.BatchNorm(), nn.Conv(4, 3)),
        [Elementwise, Convolve],
        "scale shift",
    ),
    "after an activation": (
        nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.BatchNorm()),
        [Convolve, Elementwise, Elementwise],
        "scale shift",
    ),
    "after an unshared layer": (
        nn.Sequential(nn.Local(2, 3), nn.BatchNorm(), nn.Flatten(), nn.Linear(2)),
        [],
        "scale shift",
    ),
    "twice": (
        nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.BatchNorm()),
        [Convolve, Elementwise],
        "weight bias scale shift",
    ),
    "alone": (nn.BatchNorm(), [Elementwise], "scale shift"),
}


@pytest.mark.parametrize("where", WHERE)
def test_where_it_goes(where: str) -> None:
    net, left, kinds = WHERE[where]
    graph = nn.build(net, (3, 6, 5), dtype="float64")
    given, x = anything(graph), inputs(graph, 2)
    made, derived = folded(expanded(graph)[0])
    assert [d.kind for d in derived] == kinds.split()
    if left:
        assert [type(node.op) for node in made.nodes] == left
    got, _ = values(graph, given, x)
    np.testing.assert_allclose(got, interpreter.run(graph, given, x), rtol=1e-10, atol=1e-11)


def test_a_sum_that_others_read_stays() -> None:
    """Each of two readers sees its own."""
    graph = build("norm of what others read", training=False)
    made, derived = folded(graph)
    assert [d.kind for d in derived] == ["scale", "shift"]
    assert len(made.nodes) == len(graph.nodes)


def test_two_normalisations_of_one_sum_stay_apart() -> None:
    net = nn.Sequential(nn.Conv(3, 1), nn.Parallel(nn.BatchNorm(), nn.BatchNorm()))
    graph = nn.build(net, (2, 4), dtype="float64")
    given, x = anything(graph), inputs(graph, 2)
    got, derived = values(graph, given, x)
    assert [d.kind for d in derived] == ["scale", "shift"] * 2
    np.testing.assert_allclose(got, interpreter.run(graph, given, x), rtol=1e-11, atol=1e-12)


def test_training_is_left_alone() -> None:
    """There the statistics are those of the batch: `expand` takes it apart."""
    graph = expanded(build("resnet"))[0]
    assert folded(graph) == (graph, ())


def test_the_smallest_and_the_largest_variance() -> None:
    graph = build("norm of groups", training=False)
    given, x = anything(graph), inputs(graph, 2)
    for variance in (0.0, 1e-12, 1e12):
        given["batchnorm1.running_var"] = np.full(8, variance)
        got, _ = values(graph, given, x)
        want = interpreter.run(graph, given, x)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10 * np.abs(want).max())


def test_names_are_of_the_layer_that_went() -> None:
    """Two layers, each with a normalisation, do not share what follows from them."""
    derived = folded(build("norm of a linear layer", training=False))[1]
    assert [d.value for d in derived] == [
        Value("linear1.weight*batchnorm1", (8, 24), batched=False),
        Value("linear1.weight+batchnorm1", (8,), batched=False),
        Value("linear2.weight*batchnorm2", (4, 8), batched=False),
        Value("linear2.weight+batchnorm2", (4,), batched=False),
    ]
