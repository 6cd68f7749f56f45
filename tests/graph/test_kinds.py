"""The kinds of work of the nodes of a network."""

from faltung import nn
from faltung.graph.kinds import (
    COPIES,
    DEPTHWISE,
    GROUPED,
    MAPS,
    OTHER,
    POINTWISE,
    PRODUCTS,
    RECURRENT,
    kinds,
)
from faltung.graph.ops import Contract
from faltung.program.inferring import simplified


def found(*layers: nn.Layer, shape: tuple[int, ...] = (4, 9, 9)) -> list[str]:
    """The kinds of the nodes of a program, without copies, in order."""
    nodes = simplified(nn.build(nn.Sequential(*layers), shape))[0]
    return [one for one in kinds(nodes) if one != COPIES]


def test_convolutions_by_groups_and_taps() -> None:
    layers = nn.Conv(8, 3), nn.Conv(8, 3, groups=8), nn.Conv(8, 3, groups=2), nn.Conv(8, 1)
    assert found(*layers) == [OTHER, DEPTHWISE, GROUPED, POINTWISE]
    assert found(nn.ConvTranspose(6, 2, stride=2)) == [OTHER]
    assert found(nn.MaxPool(2), nn.Flatten(), nn.Linear(5)) == [MAPS, POINTWISE]


def test_attention_and_recurrence() -> None:
    assert PRODUCTS in found(nn.Attention(2), shape=(8, 12))
    assert RECURRENT in found(nn.LSTM(3), shape=(8, 12))


def test_a_gated_projection_is_a_convolution() -> None:
    layers = nn.Conv(8, 3, groups=4), nn.SqueezeExcite(3), nn.Conv(2, 1)
    nodes = simplified(nn.build(nn.Sequential(*layers), (4, 20, 20)))[0]
    each = dict(zip((type(node.op) for node in nodes), kinds(nodes), strict=True))
    assert each[Contract] == POINTWISE  # though both its operands are there for each sample
