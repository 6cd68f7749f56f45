"""Normalisation, dropout and pools in simpler operations: the same values, and what is kept."""

import numpy as np
import pytest
from graph import interpreter, networks
from graph.networks import Array, anything, build, inputs
from grid import grid

from faltung import nn
from faltung.geometry.expr import operand
from faltung.graph.expand import Nodes, expanded
from faltung.graph.ops import (
    Dropout,
    Elementwise,
    FirstPosition,
    GroupMean,
    Normalise,
    Pool,
    Reduction,
    Resample,
)
from faltung.graph.value import Graph, Value


def keys(graph: Graph) -> dict[str, Array]:
    return {
        v.name: np.asarray(7 * i)
        for i, node in enumerate(graph.nodes)
        for v in node.inputs
        if v.kind == "key"
    }


@grid(training=[True, False], name=networks.TABLE, every=2)
def test_the_same_values(name: str, training: bool) -> None:
    """Every value of the network keeps its name and its numbers."""
    graph = build(name, training=training)
    given, x = anything(graph), inputs(graph, 3)
    want = interpreter.values(graph, given, x, keys(graph))
    plain, _ = expanded(graph)
    got = interpreter.values(plain, given, x, keys(graph))
    assert not [n for n in plain.nodes if isinstance(n.op, Dropout)]
    for node in graph.nodes:
        name = node.output.name
        if isinstance(node.op, Resample) and name not in got:
            continue  # absorbed by what reads it
        np.testing.assert_allclose(got[name], want[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("rows", [(5, 4, 3), (2, 1, 1), (1, 2, 1)])
def test_running_statistics_follow_as_in_pytorch(rows: tuple[int, int, int]) -> None:
    """The variance that is kept is the unbiased one."""
    torch = pytest.importorskip("torch")
    samples, *space = rows
    graph = nn.build(nn.BatchNorm(momentum=0.3), (3, *space), dtype="float64", training=True)
    given, x = anything(graph), inputs(graph, samples)
    plain, _ = expanded(graph)
    known = interpreter.values(plain, given, x)
    layer = torch.nn.BatchNorm2d(3, momentum=0.3, dtype=torch.float64)
    layer.running_mean[:] = torch.tensor(given["batchnorm1.running_mean"])
    layer.running_var[:] = torch.tensor(given["batchnorm1.running_var"])
    layer(torch.tensor(x))
    found = {p.name: known[value.name] for p, value in plain.updates}
    for name in ("running_mean", "running_var"):
        want = getattr(layer, name).numpy()
        np.testing.assert_allclose(found[f"batchnorm1.{name}"], want, rtol=1e-12)


def test_one_number_for_a_channel() -> None:
    """PyTorch refuses it; the variance is then zero, and nothing is divided by zero."""
    graph = nn.build(nn.BatchNorm(), (3,), dtype="float64", training=True)
    plain, _ = expanded(graph)
    known = interpreter.values(plain, anything(graph), inputs(graph, 1))
    assert all(np.isfinite(known[value.name]).all() for _, value in plain.updates)
    np.testing.assert_allclose(known[plain.output.name][0], anything(graph)["batchnorm1.bias"])


def test_moments_far_from_zero() -> None:
    """Nothing cancels: also in float32 the variance of what is far away is right."""
    graph = nn.build(nn.BatchNorm(), (2, 50), dtype="float64", training=True)
    plain, statistics = expanded(graph)
    (found,) = statistics.values()
    rng = np.random.default_rng(0)
    x = (1e4 + rng.normal(size=(4, 2, 50))).astype(np.float32)
    first = x[0, :, 0]
    away = x - first[None, :, None]  # in float32, as a program has it
    variance = (away * away).mean((0, 2)) - away.mean((0, 2)) ** 2
    np.testing.assert_allclose(variance, x.astype(np.float64).var((0, 2)), rtol=1e-4)
    known = interpreter.values(plain, anything(graph), x)
    np.testing.assert_allclose(known[found.mean.name], x.mean((0, 2), np.float64), rtol=1e-12)
    want = 1 / np.sqrt(x.var((0, 2), np.float64) + 1e-5)
    np.testing.assert_allclose(known[found.rstd.name], want, rtol=1e-9)
    assert [node for node in plain.nodes if isinstance(node.op, FirstPosition)]


def test_what_a_backward_pass_needs_is_kept() -> None:
    """Mean and 1 / standard deviation under the name of what was normalised, and gain * rstd for a
    batch alone.
    """
    for name, scale in (("batch norm", True), ("group norm", False), ("layer norm", False)):
        graph = build(name)
        plain, found = expanded(graph)
        made = {value.name for node in plain.nodes for value in node.outputs}
        ((normalised, statistics),) = found.items()
        assert normalised == graph.output.name
        assert statistics.mean.name in made
        assert statistics.rstd.name in made
        assert (statistics.scale is not None) == scale


def test_inference_keeps_normalisation_of_batches_and_rows() -> None:
    """The former is folded later, and the latter is one pass; that of groups is taken apart."""
    net = nn.Sequential(nn.Conv(4, 1), nn.BatchNorm(), nn.GroupNorm(2), nn.LayerNorm())
    plain, _ = expanded(nn.build(net, (3, 5)))
    kept = [node.op for node in plain.nodes if isinstance(node.op, Normalise)]
    assert [op.over for op in kept] == ["batch", "position"]
    assert sum(isinstance(node.op, GroupMean) for node in plain.nodes) == 2


def test_maxima_say_where_they_come_from_in_training_alone() -> None:
    for training in (True, False):
        pools = [
            node
            for node in expanded(build("googlenet", training=training))[0].nodes
            if isinstance(node.op, Pool)
        ]
        for node in pools:
            indexed = training and node.op.spec.kind == "max"
            assert node.op.indexed == indexed
            assert [value.kind for value in node.outputs] == ["float", "index"][: 1 + indexed]


def test_names_are_new() -> None:
    for name in networks.TABLE:
        for training in (True, False):
            plain, _ = expanded(build(name, training=training))
            made = [value.name for node in plain.nodes for value in node.outputs]
            assert len(set(made)) == len(made)


def test_sums_have_the_shape_of_what_they_are_for() -> None:
    nodes = Nodes("~")
    x = Value("x", (3, 4))
    made = nodes.reduce(
        (3, 4), (x,), *(Reduction(operand(0), kind) for kind in ("channel", "sample", "scalar"))
    )
    assert [(value.shape, value.batched) for value in made] == [
        ((3,), False),
        ((3,), True),
        ((), False),
    ]
    assert nodes.made[0].outputs == tuple(made)
    assert isinstance(nodes.made[0].op, Elementwise)
