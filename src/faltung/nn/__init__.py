"""A network as people say it.

>>> from faltung import nn
>>> net = nn.Sequential(
...     nn.Conv(16, 3, padding="same"), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Linear(10)
... )

Layers are frozen descriptions. Each use of one has parameters of its own, also where the same
object stands in a network twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from faltung.geometry.calls import explained
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.graph.builder import Builder
from faltung.graph.value import Graph
from faltung.nn.activation import (
    ELU,
    GELU,
    Activation,
    Formula,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from faltung.nn.attention import Attention
from faltung.nn.channels import Channels, ChannelShuffle, LayerScale, SqueezeExcite
from faltung.nn.conv import Conv, ConvTranspose, Linear, Local
from faltung.nn.layer import Layer, checked
from faltung.nn.norm import (
    BatchNorm,
    Dropout,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
    StochasticDepth,
)
from faltung.nn.pool import AvgPool, GlobalAvgPool, MaxPool
from faltung.nn.quantise import Quantise
from faltung.nn.recurrent import GRU, LSTM, RNN
from faltung.nn.resize import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Blur,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Upsample,
)
from faltung.nn.structure import (
    Auxiliary,
    Embedding,
    Flatten,
    Identity,
    Parallel,
    Residual,
    Sequential,
)
from faltung.nn.tokens import ClassToken, Patches, Position, PositionEmbedding
from faltung.nn.wired import Read, Wired

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Attention",
    "Auxiliary",
    "AvgPool",
    "BatchNorm",
    "Blur",
    "ChannelShuffle",
    "Channels",
    "ClassToken",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Embedding",
    "Flatten",
    "Formula",
    "GlobalAvgPool",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "LeakyReLU",
    "Linear",
    "Local",
    "LocalResponseNorm",
    "MaxPool",
    "Pad",
    "Parallel",
    "Patches",
    "PixelShuffle",
    "PixelUnshuffle",
    "Position",
    "PositionEmbedding",
    "Quantise",
    "ReLU",
    "ReLU6",
    "Read",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SqueezeExcite",
    "StochasticDepth",
    "Tanh",
    "Upsample",
    "Wired",
    "build",
]


@explained
def build(
    net: Layer,
    input_shape: Sequence[int],
    *,
    dtype: Float = "float32",
    training: bool = False,
    tokens: bool = False,
) -> Graph:
    """The graph of a network for samples of one shape.

    Parameters
    ----------
    net : Layer
    input_shape : sequence of int
        ``(C, *space)``, or ``(length,)`` with ``tokens``.
    dtype : {"float32", "float64"}
    training : bool
        With what takes part in training only: dropout, batch statistics, auxiliary classifiers.
    tokens : bool
        Samples are whole numbers, for ``Embedding``.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError, ValueError
        A layer that does not fit its input; the message names it, and the layer before it.

    Examples
    --------
    >>> from faltung import nn
    >>> graph = nn.build(nn.Sequential(nn.Conv(8, 3), nn.ReLU()), (3, 32, 32))
    >>> graph.output.shape
    (8, 30, 30)
    """
    b = Builder(input_shape, dtype=dtype, training=training, tokens=tokens)
    checked(net)
    try:
        x = net.build(b, b.input) if net.bare else net(b, b.input)
    except FaltungError as error:
        if len(b.input.shape) != 4:
            raise
        shape = b.input.shape  # of volumes, or of a batch of pictures
        raise type(error)(
            f"{error}; input_shape={shape} is a volume (C, D, H, W), and a picture without the "
            f"batch is {shape[1:]}"
        ) from error
    return b.graph(x)


if not TYPE_CHECKING:  # for type checkers there are the names above, and no other

    def __getattr__(name: str) -> object:
        from faltung.geometry import words
        from faltung.geometry.errors import FaltungAttributeError

        known = {each: globals()[each] for each in __all__}
        raise FaltungAttributeError(f"faltung.nn has no {name}{words.layer_meant(name, known)}")


def __dir__() -> list[str]:
    return __all__
