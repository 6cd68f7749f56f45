"""A network as people say it.

>>> from faltung import nn
>>> net = nn.Sequential(
...     nn.Conv(16, 3, padding="same"), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Linear(10)
... )

Layers are frozen descriptions. Each use of one has parameters of its own, also where the same
object stands in a network twice.
"""

from collections.abc import Sequence

from faltung.graph.builder import Builder
from faltung.graph.value import Graph
from faltung.nn.activation import (
    ELU,
    GELU,
    Activation,
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
from faltung.nn.conv import Conv, ConvTranspose, Linear, Local
from faltung.nn.layer import Layer, checked
from faltung.nn.norm import BatchNorm, Dropout, GroupNorm, LayerNorm, LocalResponseNorm
from faltung.nn.pool import AvgPool, GlobalAvgPool, MaxPool
from faltung.nn.structure import (
    Auxiliary,
    Embedding,
    Flatten,
    Identity,
    Parallel,
    Residual,
    Sequential,
)

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Auxiliary",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Local",
    "LocalResponseNorm",
    "MaxPool",
    "Parallel",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "build",
]


def build(
    net: Layer,
    input_shape: Sequence[int],
    *,
    dtype: str = "float32",
    training: bool = False,
    tokens: bool = False,
) -> Graph:
    """The graph of a network for samples of this shape, (C, *space) or (length,) with ``tokens``.

    ValueError: a layer that does not fit what it gets; the message names it, and what came before.
    """
    b = Builder(input_shape, dtype=dtype, training=training, tokens=tokens)
    checked(net)
    x = net.build(b, b.input) if isinstance(net, Sequential) else net(b, b.input)
    return b.graph(x)
