"""MobileNetV3, large and small."""

from collections.abc import Sequence

from faltung.nets.blocks import convolved, inverted, one_of
from faltung.nets.mobilenetv2 import divisible
from faltung.nets.small_inputs import check_width, kept
from faltung.nn.activation import HardSigmoid, HardSwish, ReLU
from faltung.nn.channels import SqueezeExcite
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm, Dropout
from faltung.nn.pool import GlobalAvgPool
from faltung.nn.structure import Residual, Sequential

# Tables 1 and 2: kernel, channels inside, channels after, gate, hard swish, whether it halves.
BLOCKS = {
    "large": (
        (3, 16, 16, False, False, False),
        (3, 64, 24, False, False, True),
        (3, 72, 24, False, False, False),
        (5, 72, 40, True, False, True),
        (5, 120, 40, True, False, False),
        (5, 120, 40, True, False, False),
        (3, 240, 80, False, True, True),
        (3, 200, 80, False, True, False),
        (3, 184, 80, False, True, False),
        (3, 184, 80, False, True, False),
        (3, 480, 112, True, True, False),
        (3, 672, 112, True, True, False),
        (5, 672, 160, True, True, True),
        (5, 960, 160, True, True, False),
        (5, 960, 160, True, True, False),
    ),
    "small": (
        (3, 16, 16, True, False, True),
        (3, 72, 24, False, False, True),
        (3, 88, 24, False, False, False),
        (5, 96, 40, True, True, True),
        (5, 240, 40, True, True, False),
        (5, 240, 40, True, True, False),
        (5, 120, 48, True, True, False),
        (5, 144, 48, True, True, False),
        (5, 288, 96, True, True, True),
        (5, 576, 96, True, True, False),
        (5, 576, 96, True, True, False),
    ),
}
HIDDEN = {"large": 1280, "small": 1024}  # of the classifier
NORM = BatchNorm(eps=1e-3, momentum=0.01)


def mobilenetv3(
    classes: int,
    input_shape: Sequence[int],
    *,
    size: str = "large",
    width: float = 1.0,
    dropout: float = 0.2,
    halvings: int | None = None,
) -> Layer:
    """MobileNetV3: inverted residuals found by search, some gated, and hard swish for deep layers.

    5,483,032 parameters in size large, 2,542,856 in size small. The halvings are those of the
    first convolution and of four blocks.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"large", "small"}
        Which of the two networks of the paper.
    width : float
        A factor on all channels.
    dropout : float
        The rate of dropout.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", ICCV 2019, Tables 1 and 2.
    """
    one_of("size", size, tuple(BLOCKS))
    check_width(width)
    halved = list(kept(input_shape[1:], 5, halvings))
    before = divisible(16 * width)
    stride = 2 if halved.pop(0) else 1
    layers = list(_conv(before, 3, stride=stride, padding=1, name="stem"))
    for number, (kernel, inside, after, gated, hard, halves) in enumerate(BLOCKS[size], 1):
        stride = 2 if halves and halved.pop(0) else 1
        inside, after = divisible(inside * width), divisible(after * width)
        gate = SqueezeExcite(
            divisible(inside // 4), activation=ReLU(), gate=HardSigmoid(), name="gate"
        )
        body = inverted(
            (before, inside, after),
            kernel,
            stride,
            HardSwish() if hard else ReLU(),
            gate=gate if gated else None,
            batch_norm=NORM,
        )
        block = Sequential(*body, name=f"block{number}")
        plain = stride == 1 and before == after
        layers.append(Residual(block, name=f"residual{number}") if plain else block)
        before = after
    layers += _conv(6 * before, 1, name="last")
    hidden = Linear(divisible(HIDDEN[size] * max(1.0, width)))
    head = (GlobalAvgPool(), hidden, HardSwish(), Dropout(dropout), Linear(classes))
    return Sequential(*layers, *head)


def _conv(channels: int, kernel: int, **options: int | str) -> tuple[Layer, ...]:
    made = {"activation": HardSwish(), "batch_norm": NORM, **options}
    return convolved(channels, kernel, "batch", **made)  # type: ignore[arg-type]
