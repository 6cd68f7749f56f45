"""DenseNet-121, DenseNet-169 and DenseNet-201."""

from collections.abc import Sequence

from faltung.geometry.check import whole
from faltung.nets.blocks import one_of
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm
from faltung.nn.pool import AvgPool, GlobalAvgPool, MaxPool
from faltung.nn.structure import Identity, Parallel, Sequential

# Table 1: the layers of each dense block.
BLOCKS = {"121": (6, 12, 24, 16), "169": (6, 12, 32, 32), "201": (6, 12, 48, 32)}


def densenet(
    classes: int,
    input_shape: Sequence[int],
    *,
    size: str = "121",
    growth: int = 32,
    width: float = 1.0,
    halvings: int | None = None,
) -> Layer:
    """DenseNet-BC: every layer of a block reads the maps of all layers before it.

    7,978,856 parameters in size 121, 14,149,480 in 169, 20,013,928 in 201. A layer adds ``growth``
    channels to a map that all of them share, so nothing is copied. The halvings are those of the
    first convolution, the pooling and three transitions.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"121", "169", "201"}
        How many layers.
    growth : int
        Channels that each layer adds.
    width : float
        A factor on all channels.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely connected convolutional
    networks", CVPR 2017, Table 1.
    """
    one_of("size", size, tuple(BLOCKS))
    growth = scaled(whole("growth", growth, 1), width, 4)
    halved = kept(input_shape[1:], 5, halvings)
    channels = 2 * growth
    first = Conv(channels, 7, stride=2, padding=3, bias=False, name="stem")
    if not halved[0]:
        first = Conv(channels, 3, padding=1, bias=False, name="stem")
    layers = [first, BatchNorm(name="stem_norm"), ReLU()]
    if halved[1]:
        layers.append(MaxPool(3, stride=2, padding=1))
    for number, count in enumerate(BLOCKS[size], 1):
        made = [_dense(growth, f"layer{i + 1}") for i in range(count)]
        layers.append(Sequential(*made, name=f"block{number}"))
        channels += count * growth
        if number < len(BLOCKS[size]):
            channels //= 2
            layers.append(_transition(channels, halved[number + 1], f"transition{number}"))
    return Sequential(*layers, BatchNorm(name="norm"), ReLU(), GlobalAvgPool(), Linear(classes))


def _dense(growth: int, name: str) -> Layer:
    """What a layer reads, and after it what the layer makes of that."""
    body = (
        *(BatchNorm(), ReLU(), Conv(4 * growth, 1, bias=False)),
        *(BatchNorm(), ReLU(), Conv(growth, 3, padding=1, bias=False)),
    )
    return Parallel(Identity(), Sequential(*body, name="body"), name=name)


def _transition(channels: int, halves: bool, name: str) -> Layer:
    pool = (AvgPool(2),) if halves else ()
    return Sequential(BatchNorm(), ReLU(), Conv(channels, 1, bias=False), *pool, name=name)
