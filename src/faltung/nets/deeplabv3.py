"""DeepLabV3 on a ResNet-50."""

from collections.abc import Sequence
from typing import Any

from faltung.nets.blocks import convolved
from faltung.nets.resnet import CHANNELS, block, stem
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.conv import Conv
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.resize import AdaptiveAvgPool, Upsample
from faltung.nn.structure import Auxiliary, Parallel, Sequential

BLOCKS = (3, 4, 6, 3)
# Of the first block of each stage and of the others: two stages do not halve, but look wider.
DILATIONS = ((1, 1), (1, 1), (1, 2), (2, 4))
RATES = (12, 24, 36)


def deeplabv3(
    classes: int,
    input_shape: Sequence[int],
    *,
    width: float = 1.0,
    dropout: float = 0.5,
    auxiliary: bool = True,
    halvings: int | None = None,
) -> Layer:
    """DeepLabV3: a class for every position, from a ResNet-50 that halves three times only.

    Convolutions with holes see far without making the map smaller: in the last two stages, and in
    the pyramid that reads it at three rates beside its mean. 39,638,869 parameters, and 42,004,074
    with the auxiliary classifier in training. The result is made as large as the input by linear
    interpolation.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    width : float
        A factor on all channels.
    dropout : float
        The rate of dropout after the pyramid.
    auxiliary : bool
        Whether in training there is a second classifier, after the third stage.
    halvings : int, optional
        How many of the three halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    L.-C. Chen, G. Papandreou, F. Schroff, H. Adam, "Rethinking atrous convolution for semantic
    image segmentation", 2017.
    """
    space = tuple(input_shape[1:])
    halved = kept(space, 3, halvings)
    layers = list(stem(scaled(64, width), halved))
    before = scaled(64, width)
    sizes = [-(-n // 2 ** sum(halved)) for n in space]
    for stage, (count, channels) in enumerate(zip(BLOCKS, CHANNELS, strict=True)):
        channels = scaled(channels, width)
        made: list[Layer] = []
        for i in range(count):
            stride = 2 if (stage, i) == (1, 0) and halved[2] else 1
            body = _bottleneck(channels, stride, DILATIONS[stage][i > 0])
            made += block(body, before, 4 * channels, stride, i + 1)
            before = 4 * channels
        layers.append(Sequential(*made, name=f"stage{stage + 1}"))
        if stage == 2 and auxiliary:
            layers.append(Auxiliary(_head(classes, before, space), weight=0.5, name="auxiliary"))
    inside = scaled(256, width)
    return Sequential(
        *layers,
        _pyramid(inside, sizes),
        *convolved(inside, 1, "batch", name="project"),
        Dropout(dropout),
        *convolved(inside, 3, "batch", padding=1, name="head"),
        Conv(classes, 1, name="classify"),
        Upsample(size=space, mode="linear"),
    )


def _bottleneck(channels: int, stride: int, dilation: int) -> tuple[Layer, ...]:
    wide: dict[str, Any] = {"stride": stride, "padding": dilation, "dilation": dilation}
    return (
        *convolved(channels, 1, "batch"),
        *convolved(channels, 3, "batch", **wide),
        *convolved(4 * channels, 1, "batch", activation=None),
    )


def _pyramid(channels: int, sizes: Sequence[int]) -> Layer:
    """Section 3.3: what is near, what is around at three rates, and the mean of all."""
    mean = (AdaptiveAvgPool(1), *convolved(channels, 1, "batch"), Upsample(size=tuple(sizes)))
    return Parallel(
        Sequential(*convolved(channels, 1, "batch"), name="near"),
        *(
            Sequential(
                *convolved(channels, 3, "batch", padding=rate, dilation=rate), name=f"rate{rate}"
            )
            for rate in RATES
        ),
        Sequential(*mean, name="mean"),
        name="pyramid",
    )


def _head(classes: int, before: int, space: tuple[int, ...]) -> Layer:
    return Sequential(
        *convolved(max(1, before // 4), 3, "batch", padding=1),
        Dropout(0.1),
        Conv(classes, 1),
        Upsample(size=space, mode="linear"),
    )
