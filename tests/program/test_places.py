"""Where values lie: concatenation and slices that copy nothing, and what cannot do without."""

from dataclasses import replace

import numpy as np
from graph import networks
from graph.networks import build, problem
from grid import grid

from faltung import nn
from faltung.geometry.conv import conv_spec
from faltung.graph.builder import Builder
from faltung.graph.fuse import fused, needed
from faltung.graph.ops import Concat, Convolve, FirstPosition, Pool, Reshape, Slice, View
from faltung.graph.value import Graph, Node, Value
from faltung.program.inputs import input_layouts
from faltung.program.places import Place, Places

Nodes = tuple[Node, ...]


def placed(graph: Graph, nodes: Nodes, outside: list[str]) -> tuple[Nodes, Places]:
    nodes, first = input_layouts(graph.inputs, nodes)
    return nodes, Places(nodes, [graph.input.name, *outside], first)


def programs(name: str) -> list[tuple[Nodes, Places]]:
    """The nodes of a row for inference and for training, fused and as they were."""
    found = []
    graph = build(name, training=False)
    for nodes in (graph.nodes, fused(graph.nodes, {graph.output.name})):
        found.append(placed(graph, nodes, []))
    training = problem(name).training
    grads = [value.name for value in training.gradients.values()]
    for make in (needed, fused):
        kept = {*grads, *(value.name for value in training.losses)}
        found.append(placed(training.graph, make(training.nodes, kept), grads))
    return found


@grid(name=networks.TABLE, every=4)
def test_parts_lie_in_the_whole(name: str) -> None:
    """What is concatenated where the result has it, unless it is copied there; slices always."""
    for nodes, places in programs(name):
        copied = {(id(node), number) for node, number in places.copied}
        for node in nodes:
            if isinstance(node.op, Concat):
                whole, start = places.place(node.output), 0
                for number, value in enumerate(node.inputs):
                    part = places.place(value)
                    here = replace(whole, channel=whole.channel + start)
                    assert (part == here) == ((id(node), number) not in copied)
                    start += value.channels
            elif isinstance(node.op, Slice):
                whole, part = places.place(node.inputs[0]), places.place(node.output)
                assert part == replace(whole, channel=whole.channel + node.op.start)


@grid(name=networks.TABLE, every=4)
def test_no_two_values_share_a_place(name: str) -> None:
    """But for those that are parts of one another."""
    for nodes, places in programs(name):
        views = (Concat, FirstPosition, Slice, Reshape, View)
        there: dict[str, list[tuple[int, int, str]]] = {}
        for node in nodes:
            for value in node.outputs:
                if isinstance(node.op, views):
                    continue
                place = places.place(value)
                channels = (place.channel, place.channel + value.channels)
                for low, high, other in there.get(place.buffer, []):
                    assert channels[1] <= low or high <= channels[0], (value.name, other)
                there.setdefault(place.buffer, []).append((*channels, value.name))
                root = places.root(value)
                assert channels[1] <= root.channels == place.pitch
                assert root.positions == value.positions


@grid(name=networks.TABLE, every=4)
def test_strides_are_those_of_the_place(name: str) -> None:
    for nodes, places in programs(name):
        for node in nodes:
            for value in node.outputs:
                if value.batched and value.space == places.root(value).space != ():
                    root, place = places.root(value), places.place(value)
                    whole = np.zeros((2, *root.space, root.channels), np.int8)
                    part = np.moveaxis(whole[..., place.channel :], -1, 1)
                    assert places.strides(value, value.space) == part.strides


def test_inception_copies_nothing() -> None:
    for name in ("inception", "googlenet", "concat of concats", "unet of two levels"):
        for _, places in programs(name):
            copied = {value.name for node, i in places.copied for value in (node.inputs[i],)}
            assert copied <= {"input.last"}


def test_what_has_a_place_already_is_copied() -> None:
    """The second time, and in a second concatenation."""
    graph = build("the same value in two concats", training=False)
    _, places = placed(graph, graph.nodes, [])
    assert len(places.copied) == 1
    twice = nn.build(
        nn.Sequential(nn.Conv(2, 1), nn.Parallel(nn.Identity(), nn.Identity(), nn.Identity())),
        (2, 3),
    )
    _, places = placed(twice, twice.nodes, [])
    assert [number for _, number in places.copied] == [1, 2]


def test_the_input_is_copied() -> None:
    """Its memory is where the caller writes."""
    x, y = Value("x", (2, 3)), Value("y", (4, 3))
    places = Places([Node(Concat(), (x, x), (y,))], ["x"])
    assert [number for _, number in places.copied] == [0, 1]
    assert places.place(x) == Place("x", 0, 2)


def test_the_input_may_lie_channels_first() -> None:
    x = Value("x", (3, 4, 5))
    places = Places([], ["x"], {"x"})
    assert places.place(x) == Place("x", 0, 1, first=True)
    assert places.strides(x, x.space) == (60, 20, 5, 1)


def test_a_slice_of_what_is_concatenated_is_copied() -> None:
    """It cannot lie in two wholes."""
    x, part, other = Value("x", (4, 3)), Value("part", (2, 3)), Value("other", (1, 3))
    y = Value("y", (3, 3))
    nodes = [Node(Slice(1), (x,), (part,)), Node(Concat(), (part, other), (y,))]
    places = Places(nodes, [])
    assert [number for _, number in places.copied] == [0]
    assert places.place(part) == Place("x", 1, 4)
    assert places.place(other) == Place("y", 2, 3)


def test_maps_of_one_position_are_vectors() -> None:
    graph = nn.build(nn.Sequential(nn.Conv(4, 3), nn.Flatten(), nn.ReLU()), (2, 3, 3))
    for nodes, places in (placed(graph, graph.nodes, []),):
        reshape = next(node for node in nodes if isinstance(node.op, Reshape))
        assert places.root(reshape.output) == places.root(reshape.inputs[0])


def test_where_maxima_came_from_has_a_buffer_of_its_own() -> None:
    for nodes, places in programs("pools beside each other"):
        for node in nodes:
            if isinstance(node.op, Pool) and node.op.indexed:
                assert places.place(node.outputs[1]).buffer == node.outputs[1].name


def test_what_a_dense_block_reads_is_part_of_its_last_map() -> None:
    """Each layer reads all maps before it, as one list: nothing is copied."""
    b = Builder((3, 4, 4))
    maps = [
        b.node(
            Convolve(conv_spec((1, 3, 4, 4), (2, 3, 1, 1))), (b.input, weight(b, 2, 3)), (2, 4, 4)
        )
    ]
    joined = maps[0]
    for number in range(3):
        if number:
            joined = b.node(Concat(), maps, (sum(m.channels for m in maps), 4, 4))
        c = joined.channels
        spec = conv_spec((1, c, 4, 4), (2, c, 1, 1))
        maps.append(b.node(Convolve(spec), (joined, weight(b, 2, c)), (2, 4, 4)))
    graph = b.graph(b.node(Concat(), maps, (8, 4, 4)))
    places = Places(graph.nodes, ["input"])
    assert not places.copied
    joins = [node.output for node in graph.nodes if isinstance(node.op, Concat)]
    assert {places.place(value).buffer for value in (*joins, *maps)} == {joins[-1].name}
    assert [places.place(value).channel for value in maps] == [0, 2, 4, 6]


def weight(b: Builder, out: int, channels: int) -> Value:
    with b.layer("Part", None):
        return b.parameter("weight", (out, channels, 1, 1))
