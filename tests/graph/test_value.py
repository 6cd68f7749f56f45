"""Values, nodes and graphs as data."""

from dataclasses import FrozenInstanceError

import pytest
from graph.networks import build

from faltung import nn
from faltung.graph.value import Node, Value, consumers


@pytest.mark.parametrize(
    ("shape", "channels", "space", "positions", "size"),
    [
        ((3, 4, 5), 3, (4, 5), 20, 60),
        ((3, 7), 3, (7,), 7, 21),
        ((3,), 3, (), 1, 3),
        ((), 1, (), 1, 1),
        ((2, 1, 1, 1), 2, (1, 1, 1), 1, 2),
    ],
)
def test_shapes(
    shape: tuple[int, ...], channels: int, space: tuple[int, ...], positions: int, size: int
) -> None:
    value = Value("x", shape)
    assert (value.channels, value.space) == (channels, space)
    assert (value.positions, value.size) == (positions, size)


def test_nouns_are_frozen_and_compare() -> None:
    one, two = build("resnet"), build("resnet")
    assert one == two
    assert one != build("resnet", training=False)
    assert len({node for node in one.nodes}) == len(one.nodes)
    with pytest.raises(FrozenInstanceError):
        one.nodes[0].op.bias = True  # type: ignore[union-attr, misc]
    with pytest.raises(FrozenInstanceError):
        one.output.name = "other"  # type: ignore[misc]


def test_parameters_by_name() -> None:
    graph = build("lenet")
    assert graph.parameter("conv1.weight").shape == (4, 1, 5, 5)
    assert graph.parameter("linear1.weight").size == 12 * 24
    with pytest.raises(ValueError) as error:
        graph.parameter("conv3.weight")
    assert str(error.value) == "name='conv3.weight': no parameter of this network has this name"


def test_layers_in_the_order_of_their_first_nodes() -> None:
    """Each with all of its nodes: a residual adds after what is within it."""
    net = nn.Sequential(nn.Residual(nn.Conv(2, 1)), nn.LocalResponseNorm())
    found = list(nn.build(net, (2, 4)).layers())
    assert [name for name, _ in found] == [
        "residual1.conv1",
        "residual1",
        "localresponsenorm1",
    ]
    assert [len(nodes) for _, nodes in found] == [1, 1, 3]


def test_consumers_are_named_as_often_as_they_read() -> None:
    x, y = Value("x", (2,)), Value("y", (2,))
    op = build("residual of itself", training=False).nodes[-1].op
    node = Node(op, (x, x), (y,))
    assert consumers((node,)) == {"x": [node, node]}
    assert node.output == y
