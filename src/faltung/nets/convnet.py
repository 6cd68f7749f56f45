"""A small normalised network for pictures, series and volumes: what few samples can train."""

from collections.abc import Sequence
from math import prod

from faltung.geometry.errors import FaltungError
from faltung.nets.small_inputs import scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm, Dropout
from faltung.nn.pool import GlobalAvgPool, MaxPool
from faltung.nn.structure import Flatten, Sequential

# Channels of the convolutions, from the first on.
CHANNELS = (16, 32, 64, 128, 128)
SMALL = 32  # samples up to here are not halved after the first convolution, and later more often
LEFT = {True: 2, False: 4}  # positions along an axis that are left: of small samples, of others
FLAT = 4  # positions up to which the linear layer reads each by itself


def convnet(
    classes: int,
    input_shape: Sequence[int],
    *,
    width: float = 1.0,
    dropout: float = 0.0,
) -> Layer:
    """Up to five convolutions of width 3, each with batch normalisation, ReLU and a maximum of two
    positions along each axis, until few positions are left.

    The default for pictures. What it takes from whom: convolutions of width 3 and twice the
    channels after each halving (VGG), batch normalisation, the mean over all positions at the end
    (network in network), where they are more than four.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``, of any rank.
    width : float
        A factor for all channels.
    dropout : float
        The rate of dropout before the last layer.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2014. S. Ioffe, C. Szegedy, "Batch normalization", 2015. M. Lin, Q. Chen, S. Yan, "Network in
    network", 2013.
    """
    space, layers = list(input_shape[1:]), list[Layer]()
    if not space:
        raise FaltungError(
            f"input_shape={tuple(input_shape)}: must be (channels, *space); for tables use mlp"
        )
    small = max(space) <= SMALL
    least = 2 * LEFT[small]
    for number, channels in enumerate(CHANNELS):
        made = scaled(channels, width)
        layers += [Conv(made, 3, padding="same", bias=False), BatchNorm(), ReLU()]
        if number == 0 and small:
            continue
        halved = [2 if size >= least else 1 for size in space]
        if max(halved) == 1:
            break
        layers.append(MaxPool(tuple(halved)))
        space = [size // by for size, by in zip(space, halved, strict=True)]
        if max(space) < least:
            break
    layers.append(Flatten() if prod(space) <= FLAT else GlobalAvgPool())
    if dropout:
        layers.append(Dropout(dropout))
    return Sequential(*layers, Linear(classes))
