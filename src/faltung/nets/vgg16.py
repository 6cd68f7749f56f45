"""VGG-16."""

from collections.abc import Sequence

from faltung.nets.blocks import convolved
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.pool import MaxPool
from faltung.nn.structure import Flatten, Sequential

# Channels and convolutions of each stage; a pooling ends it.
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(
    classes: int,
    input_shape: Sequence[int],
    *,
    normalisation: str | None = None,
    width: float = 1.0,
    hidden: int | None = None,
    dropout: float = 0.5,
    halvings: int | None = None,
) -> Layer:
    """VGG-16: thirteen 3x3 convolutions in five stages, three linear layers.

    138,357,544 parameters.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    normalisation : {"none", "batch"}, optional
        "none" as in the paper, or "batch"; by default "batch" if a halving is left out.
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
    K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015, configuration D of Table 1.
    """
    halved = kept(input_shape[1:], 5, halvings)
    full = all(halved)
    chosen = normalisation or ("none" if full else "batch")
    layers: list[Layer] = []
    for stage, ((channels, count), pooled) in enumerate(zip(STAGES, halved, strict=True), 1):
        for i in range(1, count + 1):
            name = f"conv{stage}_{i}"
            layers += convolved(scaled(channels, width), 3, chosen, padding="same", name=name)
        layers += [MaxPool(2)] * pooled
    layers.append(Flatten())
    for name in ("fc6", "fc7"):
        features = hidden or scaled(4096 if full else 512, width)
        layers += [Linear(features, name=name), ReLU(), Dropout(dropout)]
    return Sequential(*layers, Linear(classes, name="fc8"))
