"""MobileViT, in three sizes."""

from collections.abc import Sequence
from math import ceil

from faltung.nets.blocks import convolved, inverted, one_of
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import SiLU
from faltung.nn.attention import Attention
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout, LayerNorm
from faltung.nn.pool import GlobalAvgPool
from faltung.nn.resize import Upsample
from faltung.nn.structure import Identity, Parallel, Residual, Sequential
from faltung.nn.tokens import Patches

# Table 4: channels of the stem and of five stages, those of the transformers in the last three, how
# much wider an inverted residual is inside, and the rate of dropout.
SIZES = {
    "xxs": ((16, 16, 24, 48, 64, 80), (64, 80, 96), 2, 0.05),
    "xs": ((16, 32, 48, 64, 80, 96), (96, 120, 144), 4, 0.1),
    "s": ((16, 32, 64, 96, 128, 160), (144, 192, 240), 4, 0.1),
}
BLOCKS = (2, 4, 3)  # of the transformers
LAST = {"xxs": 320, "xs": 384, "s": 640}
HEADS = 4
PATCH = 2


def mobilevit(
    classes: int,
    input_shape: Sequence[int],
    *,
    size: str = "s",
    width: float = 1.0,
    dropout: float | None = None,
    halvings: int | None = None,
) -> Layer:
    """MobileViT: inverted residuals, and transformers that read every fourth position of a map.

    5,578,632 parameters in size s, 2,317,848 in xs, 1,272,024 in xxs. The halvings are those of the
    first convolution and of four stages. Where a patch of 2x2 does not divide a map, the map is
    made larger before a transformer by interpolation, and afterwards smaller again.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"xxs", "xs", "s"}
        Which network of the paper.
    width : float
        A factor on all channels.
    dropout : float, optional
        The rate of dropout instead of that of the size.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    S. Mehta, M. Rastegari, "MobileViT: light-weight, general-purpose, and mobile-friendly vision
    transformer", ICLR 2022, Table 4.
    """
    one_of("size", size, tuple(SIZES))
    channels, wide, expansion, rate = SIZES[size]
    first, second, third, *others = (scaled(c, width) for c in channels)
    halved = kept(input_shape[1:], 5, halvings)
    space = [*input_shape[1:]]
    space = _halved(_halved(space, halved[0]), halved[1])
    layers = list(_conv(first, 3, stride=1 + halved[0], name="stem"))
    layers.append(Sequential(_residual(first, second, expansion, 1, "block1"), name="stage1"))
    made = [_residual(second, third, expansion, 1 + halved[1], "block1")]
    made += [_residual(third, third, expansion, 1, f"block{i}") for i in (2, 3)]
    layers.append(Sequential(*made, name="stage2"))
    before = third
    for i, after in enumerate(others):
        space = _halved(space, halved[2 + i])
        down = _residual(before, after, expansion, 1 + halved[2 + i], "block1")
        inside = scaled(wide[i], width, HEADS)
        reads = _transformer(after, inside, BLOCKS[i], space)
        layers.append(Sequential(down, *reads, name=f"stage{3 + i}"))
        before = after
    layers += _conv(scaled(LAST[size], width), 1, name="last")
    drop = Dropout(rate if dropout is None else dropout)
    return Sequential(*layers, GlobalAvgPool(), drop, Linear(classes))


def _halved(space: Sequence[int], halves: bool) -> list[int]:
    return [-(-n // 2) if halves else n for n in space]


def _residual(before: int, after: int, expansion: int, stride: int, name: str) -> Layer:
    parts = inverted((before, before * expansion, after), 3, stride, SiLU())
    body = Sequential(*parts, name=name)
    return Residual(body, name=f"residual_{name}") if (stride, before) == (1, after) else body


def _transformer(channels: int, inside: int, count: int, space: Sequence[int]) -> tuple[Layer, ...]:
    """Figure 1b: what is near by a convolution, what is far by transformers of patches."""
    blocks = [_block(inside, f"block{i + 1}") for i in range(count)]
    far: tuple[Layer, ...] = (Patches(Sequential(*blocks, LayerNorm()), size=PATCH),)
    fitting = tuple(PATCH * ceil(n / PATCH) for n in space)
    if fitting != tuple(space):
        resized = (Upsample(size=size, mode="linear") for size in (fitting, tuple(space)))
        larger, smaller = resized
        far = (larger, *far, smaller)
    body = (
        *_conv(channels, 3, name="near"),
        Conv(inside, 1, bias=False, name="in"),
        *far,
        *_conv(channels, 1, name="out"),
    )
    both = Parallel(Identity(), Sequential(*body, name="body"), name="transformer")
    return (both, *_conv(channels, 3, name="joins"))


def _block(channels: int, name: str) -> Layer:
    reads = (LayerNorm(), Attention(HEADS, name="attention"))
    thinks = (LayerNorm(), Conv(2 * channels, 1), SiLU(), Conv(channels, 1))
    return Sequential(
        Residual(Sequential(*reads, name="body"), name="reads"),
        Residual(Sequential(*thinks, name="body"), name="thinks"),
        name=name,
    )


def _conv(channels: int, kernel: int, *, stride: int = 1, name: str) -> tuple[Layer, ...]:
    return convolved(
        channels,
        kernel,
        "batch",
        activation=SiLU(),
        stride=stride,
        padding=kernel // 2,
        name=name,
    )
