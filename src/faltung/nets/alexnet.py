"""AlexNet, of two towers or of one."""

from collections.abc import Sequence

from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout, LocalResponseNorm
from faltung.nn.pool import MaxPool
from faltung.nn.structure import Flatten, Sequential

# Channels of the five convolutions, and their groups: 2012 on two processors, 2014 in one tower.
CHANNELS = {True: (96, 256, 384, 384, 256), False: (64, 192, 384, 256, 256)}
GROUPS = {True: (1, 2, 1, 2, 2), False: (1, 1, 1, 1, 1)}
# Kernel and padding of the first convolution, by its stride.
STEM = {4: (11, 2), 2: (7, 3), 1: (3, 1)}


def alexnet(
    classes: int,
    input_shape: Sequence[int],
    *,
    paper: bool = False,
    width: float = 1.0,
    hidden: int | None = None,
    dropout: float = 0.5,
    halvings: int | None = None,
) -> Layer:
    """AlexNet: five convolutions, three linear layers.

    60,965,224 parameters as in 2012 (``paper``), 61,100,840 in one tower. The stride 4 of the
    first convolution counts as two halvings.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    paper : bool
        Whether it is the network of 2012 [1]_, with two groups and local response normalisation;
        else that of 2014 [2]_, in one tower.
    width : float
        A factor on all channels.
    hidden : int, optional
        Units of both hidden linear layers; by default 4096 as in the paper, 512 if a halving is
        left out.
    dropout : float
        The rate of dropout.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    .. [1] A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional
    neural networks", NIPS 2012.
    .. [2] A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """
    halved = kept(input_shape[1:], 5, halvings)
    full = all(halved)
    stride = 2 ** sum(halved[:2])
    layers: list[Layer] = []
    for i, (channels, groups) in enumerate(zip(CHANNELS[paper], GROUPS[paper], strict=True)):
        name, channels = f"conv{i + 1}", scaled(channels, width)
        if i == 0:
            kernel, padding = STEM[stride]
            layers.append(Conv(channels, kernel, stride=stride, padding=padding, name=name))
        else:
            kernel = 5 if i == 1 else 3
            layers.append(Conv(channels, kernel, padding="same", groups=groups, name=name))
        layers.append(ReLU())
        if paper and i < 2:
            layers.append(LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0))
        if i in (0, 1, 4) and halved[2 + min(i, 2)]:
            layers.append(MaxPool(3, stride=2, padding=0 if full else 1))
    layers.append(Flatten())
    for name in ("fc6", "fc7"):
        features = hidden or scaled(4096 if full else 512, width)
        layers += [Dropout(dropout), Linear(features, name=name), ReLU()]
    return Sequential(*layers, Linear(classes, name="fc8"))
