"""EfficientNet, in eight sizes."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.nets.blocks import convolved, inverted, one_of
from faltung.nets.mobilenetv2 import divisible
from faltung.nets.small_inputs import check_width, kept
from faltung.nn.activation import SiLU
from faltung.nn.channels import SqueezeExcite
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm, Dropout, StochasticDepth
from faltung.nn.pool import GlobalAvgPool
from faltung.nn.structure import Residual, Sequential

# Table 1: expansion, kernel, channels, blocks, and whether the first of them halves.
STAGES = (
    (1, 3, 16, 1, False),
    (6, 3, 24, 2, True),
    (6, 5, 40, 2, True),
    (6, 3, 80, 3, True),
    (6, 5, 112, 3, False),
    (6, 5, 192, 4, True),
    (6, 3, 320, 1, False),
)
# Compound scaling: factors on the channels and on the blocks of each stage, and the dropout. With
# the sizes of pictures in ``nets/rows.py`` they are those of the authors' code.
SIZES = {
    "b0": (1.0, 1.0, 0.2),
    "b1": (1.0, 1.1, 0.2),
    "b2": (1.1, 1.2, 0.3),
    "b3": (1.2, 1.4, 0.3),
    "b4": (1.4, 1.8, 0.4),
    "b5": (1.6, 2.2, 0.4),
    "b6": (1.8, 2.6, 0.5),
    "b7": (2.0, 3.1, 0.5),
}
# The larger sizes have the numbers of the authors' code, as in torchvision.
NORMS = {size: BatchNorm(eps=1e-3, momentum=0.01) for size in ("b5", "b6", "b7")}
MOST_DEPTH = 10  # three times that of b7


def efficientnet(
    classes: int,
    input_shape: Sequence[int],
    *,
    size: str = "b0",
    width: float | None = None,
    depth: float | None = None,
    dropout: float | None = None,
    depth_dropout: float = 0.2,
    halvings: int | None = None,
) -> Layer:
    """EfficientNet: inverted residuals with squeeze-and-excitation, as wide as they are deep.

    5,288,548 parameters in size b0, 66,347,960 in size b7. The halvings are those of the first
    convolution and of four stages. Paddings are symmetric; the authors' code pads as TensorFlow
    does.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"}
        Which step of the compound scaling of width, depth and dropout.
    width : float, optional
        A factor on all channels instead of that of the size.
    depth : float, optional
        A factor on the number of blocks instead of that of the size.
    dropout : float, optional
        The rate of dropout instead of that of the size.
    depth_dropout : float
        The rate at which blocks are left out in training: of the last one, and in proportion less
        before it.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    M. Tan, Q. V. Le, "EfficientNet: rethinking model scaling for convolutional neural networks",
    ICML 2019, Table 1.
    """
    one_of("size", size, tuple(SIZES))
    own = (width, depth, dropout)
    wide, deep, rate = (a if b is None else b for a, b in zip(SIZES[size], own, strict=True))
    check_width(wide)
    check_width(deep, "depth")
    if deep > MOST_DEPTH:
        raise FaltungError(f"depth={show(deep)}: must be at most {MOST_DEPTH}")
    norm = NORMS.get(size, BatchNorm())
    given: dict[str, Any] = {"activation": SiLU(), "batch_norm": norm}
    halved = list(kept(input_shape[1:], 5, halvings))
    before = divisible(32 * wide)
    stride = 2 if halved.pop(0) else 1
    layers = list(convolved(before, 3, "batch", stride=stride, padding=1, name="stem", **given))
    done, every = 0, sum(ceil(count * deep) for *_, count, _ in STAGES)
    for stage, (expansion, kernel, channels, count, halves) in enumerate(STAGES, 1):
        after = divisible(channels * wide)
        for i in range(ceil(count * deep)):
            stride = 2 if i == 0 and halves and halved.pop(0) else 1
            inside = divisible(before * expansion)
            body = inverted(
                (before, inside, after),
                kernel,
                stride,
                SiLU(),
                gate=SqueezeExcite(max(1, before // 4), activation=SiLU(), name="gate"),
                batch_norm=norm,
            )
            name = f"block{stage}_{i + 1}"
            if stride == 1 and before == after:
                block = Sequential(*body, StochasticDepth(depth_dropout * done / every), name=name)
                layers.append(Residual(block, name=f"residual{stage}_{i + 1}"))
            else:
                layers.append(Sequential(*body, name=name))
            before, done = after, done + 1
    layers += convolved(4 * before, 1, "batch", name="last", **given)
    return Sequential(*layers, GlobalAvgPool(), Dropout(rate), Linear(classes))
