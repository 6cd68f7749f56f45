"""Resamplings that disappear into each other and into what reads them: the same values."""

from math import inf

import numpy as np
import pytest
from graph import interpreter
from hypothesis import given
from hypothesis import strategies as st

from faltung import nn
from faltung.geometry.interpolate import interpolated
from faltung.geometry.resample import Table, averaged, flipped, padded, selected, table
from faltung.graph.absorb import absorbed
from faltung.graph.builder import Builder
from faltung.graph.initial import parameters
from faltung.graph.ops import Convolve, Pool, Resample
from faltung.graph.value import Graph

MODES = ("zeros", "reflect", "symmetric", "replicate", "circular")


def left(net: nn.Layer, shape: tuple[int, ...]) -> Graph:
    """The graph after the pass, whose values have not changed."""
    graph = nn.build(net, shape, dtype="float64")
    made = absorbed(graph)
    drawn = parameters(graph, 1)
    x = np.random.default_rng(0).normal(size=(2, *shape))
    want, got = (interpreter.run(g, drawn, x) for g in (graph, made))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    return made


def count(graph: Graph) -> int:
    return sum(isinstance(node.op, Resample) for node in graph.nodes)


@pytest.mark.parametrize("mode", MODES)
def test_paddings_before_a_convolution(mode: str) -> None:
    made = left(
        nn.Sequential(nn.Pad(((2, 1), (0, 3)), mode=mode), nn.Conv(3, 3, stride=2)), (2, 5, 6)
    )
    (node,) = made.nodes
    assert isinstance(node.op, Convolve)
    assert node.op.spec.padding == ((2, 1), (0, 3))
    assert node.op.spec.axes[0].mode == mode


def test_paddings_that_add_up() -> None:
    same = nn.Sequential(nn.Pad(2), nn.Conv(3, 3, padding=1))
    assert left(same, (2, 5, 6)).nodes[0].op.spec.padding == ((3, 3), (3, 3))
    edges = nn.Sequential(
        nn.Pad(2, mode="replicate"), nn.Conv(3, 3, padding=1, padding_mode="replicate")
    )
    assert left(edges, (2, 5, 6)).nodes[0].op.spec.padding == ((3, 3), (3, 3))


STAY: dict[str, tuple[nn.Layer, tuple[int, ...]]] = {
    "a mirror and zeros": (
        nn.Sequential(nn.Pad(2, mode="reflect"), nn.Conv(3, 3, padding=1)),
        (2, 5, 6),
    ),
    "zeros and a mirror": (
        nn.Sequential(nn.Pad(2), nn.Conv(3, 3, padding=1, padding_mode="reflect")),
        (2, 5, 6),
    ),
    "ones": (nn.Sequential(nn.Pad(1, value=1.0), nn.Conv(3, 3)), (2, 5, 6)),
    "further than the mode goes": (
        nn.Sequential(nn.Pad(7, mode="reflect"), nn.Conv(3, 3)),
        (2, 5, 6),
    ),
    "a crop": (nn.Sequential(nn.Pad(-1), nn.Conv(3, 3)), (2, 5, 6)),
    "zeros before a maximum": (nn.Sequential(nn.Pad(1), nn.MaxPool(2)), (2, 5, 6)),
    "a mirror before a mean": (nn.Sequential(nn.Pad(1, mode="reflect"), nn.AvgPool(2)), (2, 5, 6)),
    "zeros before a mean of what is inside": (
        nn.Sequential(nn.Pad(1), nn.AvgPool(3, padding=1, count_padding=False)),
        (2, 5, 6),
    ),
    "windows of nothing else": (nn.Sequential(nn.Pad(4, value=-1e300), nn.MaxPool(2)), (2, 5, 6)),
    "before a formula": (nn.Sequential(nn.Pad(1), nn.Sigmoid()), (2, 5, 6)),
    "two interpolations": (
        nn.Sequential(nn.Upsample(scale=2, mode="linear"), nn.Upsample(scale=2, mode="linear")),
        (2, 5, 6),
    ),
}


@pytest.mark.parametrize("name", STAY)
def test_what_stays(name: str) -> None:
    net, shape = STAY[name]
    assert count(left(net, shape)) == count(nn.build(net, shape)) > 0


def pool_after(fill: float, net: nn.Layer) -> Graph:
    """A padding with ``fill``, then a pooling."""
    b = Builder((2, 5, 6), dtype="float64")
    tables = (None, padded(5, 1, 2), padded(6, 0, 1))
    op = Resample(tables, fill)
    x = b.node(op, (b.input,), op.made(b.input.shape))
    graph = b.graph(net(b, x))
    made = absorbed(graph)
    x = np.random.default_rng(0).normal(size=(2, 2, 5, 6))
    np.testing.assert_allclose(interpreter.run(made, {}, x), interpreter.run(graph, {}, x))
    return made


def test_paddings_before_a_pooling() -> None:
    for net in (
        nn.MaxPool(3, stride=1),
        nn.MaxPool(4, stride=2, ceil=True),
        nn.MaxPool(4, stride=2, padding=1),
    ):
        (node,) = pool_after(-inf, net).nodes
        assert isinstance(node.op, Pool)
    for net in (
        nn.AvgPool(3, stride=1),
        nn.AvgPool(2, stride=2, ceil=True),
        nn.AvgPool(3, stride=2, padding=1),
        nn.AvgPool(3, stride=1, count_padding=False),
    ):
        (node,) = pool_after(0.0, net).nodes
        assert isinstance(node.op, Pool) and node.op.spec.count_padding
    assert count(pool_after(0.0, nn.MaxPool(3, stride=1))) == 1
    assert count(pool_after(-inf, nn.MaxPool(1))) == 1  # windows of nothing but padding


def test_what_others_read_stays_for_them() -> None:
    net = nn.Sequential(nn.Pad(1), nn.Parallel(nn.Conv(3, 1), nn.Identity(), nn.Tanh()))
    made = left(net, (2, 5, 6))
    assert count(made) == 1
    assert (
        next(n for n in made.nodes if isinstance(n.op, Convolve)).op.spec.padding == ((1, 1),) * 2
    )
    net = nn.Sequential(nn.Upsample(scale=2, mode="linear"), nn.Parallel(nn.Pad(1), nn.Pad(1)))
    assert count(left(net, (2, 5, 6))) == 3
    net = nn.Sequential(nn.Upsample(scale=2), nn.Parallel(nn.Pad(1), nn.Pad((1, 1))))
    assert count(left(net, (2, 5, 6))) == 2


def test_one_after_another() -> None:
    net = nn.Sequential(
        nn.Upsample(scale=2),
        nn.Pad(1, mode="reflect"),
        nn.Pad(-2),
        nn.Upsample(scale=3, mode="cubic"),
    )
    assert count(left(net, (2, 5, 6))) == 1
    net = nn.Sequential(nn.Upsample(scale=2, mode="linear"), nn.Pad(1), nn.Conv(2, 3))
    assert count(left(net, (2, 5, 6))) == 1


ONES: tuple[Table, ...] = (
    padded(4, 1, 2),
    padded(4, -1, 1),
    flipped(4),
    averaged(4, 3),
    interpolated("linear", 4, 7),
    selected(4, [0, None, 3, 3]),
    table(4, [[(0, 2.0)], [], [(1, -1.0), (2, 0.5)]]),
)


@given(
    st.tuples(*[st.sampled_from([None, *ONES])] * 2),
    st.tuples(*[st.sampled_from([None, *range(len(ONES))])] * 2),
    st.sampled_from([0.0, 1.5]),
    st.sampled_from([0.0, 1.5]),
)
def test_two_are_one_exactly_where_they_may_be(
    first: tuple[Table | None, ...], second: tuple[int | None, ...], one: float, other: float
) -> None:
    """The reference of the two, one after the other: what is filled is summed up like the rest."""
    b = Builder((2, 4, 4), dtype="float64")
    x = b.input
    a = Resample((None, *first), one)
    x = b.node(a, (x,), a.made(x.shape))
    kinds = (padded, lambda n, *_: flipped(n), lambda n, *_: averaged(n, 2))
    tables = [
        None if k is None else kinds[k % 3](n, k % 2, 1)
        for k, n in zip(second, x.space, strict=True)
    ]
    c = Resample((None, *tables), other)
    graph = b.graph(b.node(c, (x,), c.made(x.shape)))
    made = absorbed(graph)
    given = np.random.default_rng(0).normal(size=(1, 2, 4, 4))
    want, got = (interpreter.run(g, {}, given) for g in (graph, made))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
