"""ResNet-18, ResNet-50, and ResNet-18 for volumes."""

from collections.abc import Callable, Sequence

from faltung.nets.blocks import convolved
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.pool import GlobalAvgPool, MaxPool
from faltung.nn.structure import Residual, Sequential

Body = Callable[[int, int], Sequence[Layer]]  # (channels, stride) -> layers
CHANNELS = (64, 128, 256, 512)


def resnet18(
    classes: int, input_shape: Sequence[int], *, width: float = 1.0, halvings: int | None = None
) -> Layer:
    """ResNet-18: eight residual blocks of two 3x3 convolutions.

    11,689,512 parameters. The halvings are those of the stem, the pooling and three stages; at
    32x32 and below that leaves the usual 3x3 stem with stride 1 and no pooling.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    width : float
        A factor on all channels.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    Table 1.
    """
    halved = kept(input_shape[1:], 5, halvings)
    first = stem(scaled(64, width), halved)
    return _resnet(classes, first, (2, 2, 2, 2), _basic, 1, width, halved[2:])


def resnet50(
    classes: int,
    input_shape: Sequence[int],
    *,
    paper: bool = False,
    width: float = 1.0,
    halvings: int | None = None,
) -> Layer:
    """ResNet-50: sixteen residual blocks of three convolutions, 1x1, 3x3 and 1x1.

    25,557,032 parameters.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    paper : bool
        Whether the stride of a block stands in its first 1x1 convolution; else in the 3x3, as in
        torchvision ("v1.5").
    width : float
        A factor on all channels.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    Table 1.
    """
    halved = kept(input_shape[1:], 5, halvings)
    first = stem(scaled(64, width), halved)
    body = _bottleneck_1x1 if paper else _bottleneck_3x3
    return _resnet(classes, first, (3, 4, 6, 3), body, 4, width, halved[2:])


def resnet3d18(
    classes: int, input_shape: Sequence[int], *, width: float = 1.0, halvings: int | None = None
) -> Layer:
    """ResNet-18 for videos and volumes (R3D-18): all kernels are 3x3x3.

    33,371,472 parameters. The stem, 3x7x7, does not halve the time, and no pooling follows it.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, time, height, width)``.
    width : float
        A factor on all channels.
    halvings : int, optional
        How many of the four halvings happen in height and width; by default as many as suit the
        input (``nets/small_inputs.py``).

    References
    ----------
    D. Tran, H. Wang, L. Torresani, J. Ray, Y. LeCun, M. Paluri, "A closer look at spatiotemporal
    convolutions for action recognition", CVPR 2018.
    """
    halved = kept(input_shape[2:], 4, halvings)
    kernel, stride = ((3, 7, 7), (1, 2, 2)) if halved[0] else ((3, 3, 3), (1, 1, 1))
    first = convolved(
        scaled(64, width), kernel, "batch", stride=stride, padding="same", name="stem"
    )
    return _resnet(classes, first, (2, 2, 2, 2), _basic, 1, width, halved[1:])


def stem(channels: int, halved: Sequence[bool]) -> tuple[Layer, ...]:
    kernel, stride = (7, 2) if halved[0] else (3, 1)
    made = convolved(channels, kernel, "batch", stride=stride, padding=kernel // 2, name="stem")
    return (*made, MaxPool(3, stride=2, padding=1)) if halved[1] else made


def _resnet(
    classes: int,
    first: Sequence[Layer],
    blocks: Sequence[int],
    body: Body,
    expansion: int,
    width: float,
    halved: Sequence[bool],
) -> Layer:
    """``blocks``: in each stage. ``halved``: whether the stages after the first one do so."""
    layers, before = [*first], scaled(64, width)
    for stage, (count, channels) in enumerate(zip(blocks, CHANNELS, strict=True)):
        channels = scaled(channels, width)
        made: list[Layer] = []
        for i in range(count):
            stride = 2 if i == 0 and stage > 0 and halved[stage - 1] else 1
            made += block(body(channels, stride), before, channels * expansion, stride, i + 1)
            before = channels * expansion
        layers.append(Sequential(*made, name=f"stage{stage + 1}"))
    return Sequential(*layers, GlobalAvgPool(), Linear(classes))


def block(
    body: Sequence[Layer], before: int, after: int, stride: int, number: int
) -> tuple[Layer, Layer]:
    """A body, its input or (option B of the paper) a 1x1 of it added, then the activation."""
    shortcut = None
    if stride > 1 or before != after:
        made = convolved(after, 1, "batch", stride=stride, activation=None)
        shortcut = Sequential(*made, name="shortcut")
    return Residual(
        Sequential(*body, name="body"), shortcut=shortcut, name=f"block{number}"
    ), ReLU()


def _basic(channels: int, stride: int) -> tuple[Layer, ...]:
    return (
        *convolved(channels, 3, "batch", stride=stride, padding=1),
        *convolved(channels, 3, "batch", padding=1, activation=None),
    )


def _bottleneck(channels: int, strides: tuple[int, int]) -> tuple[Layer, ...]:
    return (
        *convolved(channels, 1, "batch", stride=strides[0]),
        *convolved(channels, 3, "batch", stride=strides[1], padding=1),
        *convolved(channels * 4, 1, "batch", activation=None),
    )


def _bottleneck_3x3(channels: int, stride: int) -> tuple[Layer, ...]:
    return _bottleneck(channels, (1, stride))


def _bottleneck_1x1(channels: int, stride: int) -> tuple[Layer, ...]:
    return _bottleneck(channels, (stride, 1))
