"""ConvNeXt, in four sizes."""

from collections.abc import Sequence

from faltung.nets.blocks import one_of
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import GELU
from faltung.nn.channels import LayerScale
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import LayerNorm, StochasticDepth
from faltung.nn.pool import GlobalAvgPool
from faltung.nn.structure import Residual, Sequential

# Section 3: the channels and the blocks of the four stages; Table 5: the rate at which the last
# block is left out.
SIZES = {
    "tiny": ((96, 192, 384, 768), (3, 3, 9, 3), 0.1),
    "small": ((96, 192, 384, 768), (3, 3, 27, 3), 0.4),
    "base": ((128, 256, 512, 1024), (3, 3, 27, 3), 0.5),
    "large": ((192, 384, 768, 1536), (3, 3, 27, 3), 0.5),
}
EPS = 1e-6


def convnext(
    classes: int,
    input_shape: Sequence[int],
    *,
    size: str = "tiny",
    width: float = 1.0,
    depth_dropout: float | None = None,
    halvings: int | None = None,
) -> Layer:
    """ConvNeXt: wide depthwise convolutions, layer normalisation at each position, few activations.

    28,589,128 parameters in size tiny. The first convolution stands for two of the five halvings,
    three more are convolutions between stages.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"tiny", "small", "base", "large"}
        Which network of the paper.
    width : float
        A factor on all channels.
    depth_dropout : float, optional
        The rate at which blocks are left out in training, instead of that of the size: of the last
        one, and in proportion less before it.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    Z. Liu, H. Mao, C.-Y. Wu, C. Feichtenhofer, T. Darrell, S. Xie, "A ConvNet for the 2020s", CVPR
    2022.
    """
    one_of("size", size, tuple(SIZES))
    halved = kept(input_shape[1:], 5, halvings)
    step = 2 ** sum(halved[:2])
    layers: list[Layer] = []
    *stages, usual = SIZES[size]
    rate = usual if depth_dropout is None else depth_dropout
    done, last = 0, sum(stages[1]) - 1
    for stage, (channels, count) in enumerate(zip(*stages, strict=True)):
        channels = scaled(channels, width)
        if stage == 0:
            first = Conv(channels, step, stride=step) if step > 1 else Conv(channels, 3, padding=1)
            layers.append(Sequential(first, LayerNorm(eps=EPS), name="stem"))
        else:
            step = 2 if halved[stage + 1] else 1
            made = (LayerNorm(eps=EPS), Conv(channels, step, stride=step))
            layers.append(Sequential(*made, name=f"down{stage}"))
        blocks = [_block(channels, rate * (done + i) / last, f"block{i + 1}") for i in range(count)]
        done += count
        layers.append(Sequential(*blocks, name=f"stage{stage + 1}"))
    return Sequential(*layers, GlobalAvgPool(), LayerNorm(eps=EPS), Linear(classes))


def _block(channels: int, left_out: float, name: str) -> Layer:
    """Figure 4."""
    body = Sequential(
        Conv(channels, 7, padding=3, groups=channels, name="depthwise"),
        LayerNorm(eps=EPS),
        Conv(4 * channels, 1, name="expand"),
        GELU(),
        Conv(channels, 1, name="project"),
        LayerScale(initial=1e-6),
        StochasticDepth(left_out),
        name="body",
    )
    return Residual(body, name=name)
