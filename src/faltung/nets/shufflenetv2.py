"""ShuffleNetV2."""

from collections.abc import Sequence

from faltung.nets.blocks import convolved
from faltung.nets.small_inputs import check_width, kept
from faltung.nn.channels import Channels, ChannelShuffle
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.pool import GlobalAvgPool, MaxPool
from faltung.nn.structure import Parallel, Sequential

# Table 5: the channels of the three stages and of the last convolution, by width.
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
UNITS = (4, 8, 4)


def shufflenetv2(
    classes: int, input_shape: Sequence[int], *, width: float = 1.0, halvings: int | None = None
) -> Layer:
    """ShuffleNetV2: half of the channels pass by, and a shuffle mixes the halves.

    2,278,604 parameters at width 1. The halvings are those of the first convolution, the pooling
    and three stages.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    width : float
        0.5, 1, 1.5 or 2 are the networks of the paper; in between channels follow in proportion.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    N. Ma, X. Zhang, H.-T. Zheng, J. Sun, "ShuffleNet V2: practical guidelines for efficient CNN
    architecture design", ECCV 2018, Table 5.
    """
    check_width(width)
    stages, last = _channels(width)
    halved = kept(input_shape[1:], 5, halvings)
    first = max(2, 2 * round(12 * min(1.0, 2 * width)))
    stride = 2 if halved[0] else 1
    layers = list(convolved(first, 3, "batch", stride=stride, padding=1, name="stem"))
    if halved[1]:
        layers.append(MaxPool(3, stride=2, padding=1))
    for stage, (channels, count) in enumerate(zip(stages, UNITS, strict=True)):
        made = [_first(first, channels, 2 if halved[stage + 2] else 1)]
        made += [_unit(channels, f"unit{i + 1}") for i in range(1, count)]
        layers.append(Sequential(*made, name=f"stage{stage + 2}"))
        first = channels
    layers += convolved(last, 1, "batch", name="last")
    return Sequential(*layers, GlobalAvgPool(), Linear(classes))


def _channels(width: float) -> tuple[tuple[int, ...], int]:
    if (found := CHANNELS.get(float(width))) is not None:
        return found[:3], found[3]
    made = tuple(max(2, 2 * round(c * width / 2)) for c in CHANNELS[1.0][:3])
    return made, max(8, round(1024 * min(1.0, width) if width <= 1.5 else 2048))


def _unit(channels: int, name: str) -> Layer:
    """Figure 3c: one half passes by."""
    half = channels // 2
    branch = Sequential(Channels(half), *_branch(half, half, 1, True), name="branch")
    return Sequential(Parallel(Channels(0, count=half), branch), ChannelShuffle(2), name=name)


def _first(before: int, channels: int, stride: int) -> Layer:
    """Figure 3d: both halves come from all channels, at half the size."""
    half = channels // 2
    left = Sequential(*_branch(before, half, stride, False), name="left")
    right = Sequential(*_branch(half, half, stride, True), name="right")
    return Sequential(Parallel(left, right), ChannelShuffle(2), name="unit1")


def _branch(inside: int, channels: int, stride: int, expands: bool) -> tuple[Layer, ...]:
    return (
        *(convolved(inside, 1, "batch") if expands else ()),
        *convolved(inside, 3, "batch", stride=stride, padding=1, groups=inside, activation=None),
        *convolved(channels, 1, "batch"),
    )
