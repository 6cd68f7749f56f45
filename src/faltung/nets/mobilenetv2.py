"""MobileNetV2."""

from collections.abc import Sequence

from faltung.nets.blocks import convolved, inverted
from faltung.nets.small_inputs import check_width, kept
from faltung.nn.activation import ReLU6
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.pool import GlobalAvgPool
from faltung.nn.structure import Residual, Sequential

# Table 2: expansion t, channels c, blocks n, and whether the first of them halves.
STAGES = (
    (1, 16, 1, False),
    (6, 24, 2, True),
    (6, 32, 3, True),
    (6, 64, 4, True),
    (6, 96, 3, False),
    (6, 160, 3, True),
    (6, 320, 1, False),
)


def mobilenetv2(
    classes: int,
    input_shape: Sequence[int],
    *,
    width: float = 1.0,
    dropout: float = 0.2,
    halvings: int | None = None,
) -> Layer:
    """MobileNetV2: seventeen inverted residuals, wide and depthwise inside, narrow outside.

    3,504,872 parameters. The halvings are those of the first convolution and of four stages.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    width : float
        The paper's multiplier of all channels.
    dropout : float
        The rate of dropout.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: inverted residuals and
    linear bottlenecks", CVPR 2018, Table 2.
    """
    check_width(width)
    halved = list(kept(input_shape[1:], 5, halvings))
    before = divisible(32 * width)
    stride = 2 if halved.pop(0) else 1
    layers = [*_conv(before, 3, stride=stride, padding=1, name="stem")]
    for stage, (expansion, c, count, halves) in enumerate(STAGES, 1):
        channels = divisible(c * width)
        for i in range(count):
            stride = 2 if i == 0 and halves and halved.pop(0) else 1
            name = f"block{stage}_{i + 1}"
            body = Sequential(
                *inverted((before, before * expansion, channels), 3, stride, ReLU6()), name=name
            )
            plain = stride == 1 and before == channels
            layers.append(Residual(body, name=f"residual{stage}_{i + 1}") if plain else body)
            before = channels
    layers += _conv(divisible(1280 * max(1.0, width)), 1, name="last")
    return Sequential(*layers, GlobalAvgPool(), Dropout(dropout), Linear(classes))


def _conv(channels: int, kernel: int, **options: int | str) -> tuple[Layer, ...]:
    return convolved(channels, kernel, "batch", activation=ReLU6(), **options)  # type: ignore[arg-type]


def divisible(channels: float) -> int:
    """The nearest multiple of 8, but never less than nine tenths of it."""
    made = max(8, int(channels + 4) // 8 * 8)
    return made + 8 if made < 0.9 * channels else made
