"""Vision transformers."""

from collections.abc import Sequence

from faltung.geometry.check import show, whole
from faltung.geometry.errors import FaltungError
from faltung.nets.blocks import one_of
from faltung.nets.small_inputs import scaled
from faltung.nn.activation import GELU
from faltung.nn.attention import Attention
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout, LayerNorm, StochasticDepth
from faltung.nn.structure import Residual, Sequential
from faltung.nn.tokens import ClassToken, Position, PositionEmbedding

# Channels, blocks, heads: "base" of the paper, the others of Touvron et al., 2021, Table 1.
SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
EPS = 1e-6
MOST_BLOCKS = 100
LARGEST_PATCH = 16
FEWEST = 7  # patches along the shorter side


def vit(
    classes: int,
    input_shape: Sequence[int],
    *,
    size: str = "base",
    patch: int | None = None,
    blocks: int | None = None,
    width: float = 1.0,
    dropout: float = 0.0,
    depth_dropout: float = 0.0,
) -> Layer:
    """ViT: a picture as a sequence of patches, and a transformer that reads it.

    86,567,656 parameters in size base, 22,050,664 in small, 5,717,416 in tiny. Patches are those of
    a strided convolution; what a picture has beyond whole patches is not read.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    size : {"tiny", "small", "base"}
        How many channels and heads.
    patch : int, optional
        The side of a patch; by default 16, and for small inputs the largest power of two that makes
        at least seven of a side.
    blocks : int, optional
        How many blocks; by default 12.
    width : float
        A factor on all channels.
    dropout : float
        The rate of dropout after the positions and in each block.
    depth_dropout : float
        The rate at which whole blocks are left out in training: of the last one, and in proportion
        less before it.

    References
    ----------
    A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at
    scale", ICLR 2021; the smaller sizes: H. Touvron et al., "Training data-efficient image
    transformers and distillation through attention", ICML 2021.
    """
    one_of("size", size, tuple(SIZES))
    channels, usual, heads = SIZES[size]
    channels = scaled(channels, width, heads)
    count = usual if blocks is None else whole("blocks", blocks, 1)
    if count > MOST_BLOCKS:
        raise FaltungError(f"blocks={show(blocks)}: must be at most {MOST_BLOCKS}")
    step = _patch(input_shape[1:]) if patch is None else whole("patch", patch, 1)
    made = [
        _block(channels, heads, dropout, depth_dropout * i / max(1, count - 1), f"block{i + 1}")
        for i in range(count)
    ]
    return Sequential(
        Conv(channels, step, stride=step, name="patches"),
        ClassToken(),
        PositionEmbedding(),
        Dropout(dropout),
        *made,
        LayerNorm(eps=EPS, name="norm"),
        Position(0),
        Linear(classes),
    )


def _patch(space: Sequence[int]) -> int:
    if not space:
        raise FaltungError("input_shape: must have at least one axis of space")
    step = LARGEST_PATCH
    while step > 1 and min(space) < FEWEST * step:
        step //= 2
    return step


def _block(channels: int, heads: int, dropout: float, left_out: float, name: str) -> Layer:
    """Figure 1: attention, then two linear layers at each position, both beside their input."""
    drop = (Dropout(dropout), StochasticDepth(left_out))
    attention = (LayerNorm(eps=EPS), Attention(heads, name="attention"), *drop)
    wide = (Conv(4 * channels, 1), GELU(), Dropout(dropout), Conv(channels, 1))
    return Sequential(
        Residual(Sequential(*attention, name="body"), name="reads"),
        Residual(Sequential(LayerNorm(eps=EPS), *wide, *drop, name="body"), name="thinks"),
        name=name,
    )
