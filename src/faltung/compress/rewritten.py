"""Layers with fewer channels: which numbers of a layer say how many channels it makes.

A layer that is not in the tables may say such a number in a way that nobody knows here; then all
channels at it stay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung import nn
from faltung.compress.channel_rules import whole_groups
from faltung.compress.labels import Labels
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.value import Node, Value
from faltung.nn import Layer


@dataclass(frozen=True)
class Kept:
    """What stays. of: the labels of the channels of each value; gone: for each label whether it
    goes.
    """

    of: Mapping[str, Labels]
    gone: npt.NDArray[np.bool_]

    def mask(self, labels: Labels) -> npt.NDArray[np.bool_]:
        """Which of the channels stay."""
        return ~self.gone[labels]

    def count(self, value: Value) -> int:
        """Channels of a value that stay."""
        return int(self.mask(self.of[value.name]).sum())


Rewrite = Callable[[Any, Sequence[Node], Kept], Layer]


def _one(nodes: Sequence[Node], *kinds: type) -> Node | None:
    return next((node for node in nodes if isinstance(node.op, kinds)), None)


def _conv(layer: Any, nodes: Sequence[Node], kept: Kept) -> Layer:
    node = _one(nodes, ops.Convolve, ops.ConvolveInput)
    assert node is not None
    spec: Any = node.op.spec  # type: ignore[union-attr]
    groups = spec.groups
    if groups > 1 and whole_groups(node):
        groups = kept.count(node.inputs[0]) * groups // node.inputs[0].channels
    made: Layer = replace(layer, channels=kept.count(node.output), groups=groups)
    return made


def _output(field: str) -> Rewrite:
    """The layer says how many channels its output has."""

    def rewrite(layer: Any, nodes: Sequence[Node], kept: Kept) -> Layer:
        made: Layer = replace(layer, **{field: kept.count(nodes[-1].output)})
        return made

    return rewrite


def _channels(layer: Any, nodes: Sequence[Node], kept: Kept) -> Layer:
    node = _one(nodes, ops.Slice)
    if node is None:  # it takes them all
        return nn.Channels(0, name=layer.name)
    start = int(kept.mask(kept.of[node.inputs[0].name][: layer.start]).sum())
    made: Layer = replace(layer, start=start, count=kept.count(node.output))
    return made


def _squeeze(layer: Any, nodes: Sequence[Node], kept: Kept) -> Layer:
    node = _one(nodes, ops.Convolve)
    assert node is not None
    made: Layer = replace(layer, reduced=kept.count(node.output))
    return made


REWRITES: dict[type[Layer], Rewrite] = {
    nn.Conv: _conv,
    nn.ConvTranspose: _conv,
    nn.Local: _output("channels"),
    nn.Linear: _output("features"),
    nn.Embedding: _output("features"),
    nn.Channels: _channels,
    nn.SqueezeExcite: _squeeze,
}
# These say nothing of channels, or what they say stays true.
SILENT: tuple[type[Layer], ...] = (
    nn.Activation,
    nn.AdaptiveAvgPool,
    nn.AdaptiveMaxPool,
    nn.Auxiliary,
    nn.AvgPool,
    nn.BatchNorm,
    nn.Blur,
    nn.ChannelShuffle,
    nn.ClassToken,
    nn.Dropout,
    nn.Flatten,
    nn.GRU,
    nn.GlobalAvgPool,
    nn.GroupNorm,
    nn.Identity,
    nn.LSTM,
    nn.LayerNorm,
    nn.LayerScale,
    nn.LocalResponseNorm,
    nn.MaxPool,
    nn.Pad,
    nn.Parallel,
    nn.Patches,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.Position,
    nn.PositionEmbedding,
    nn.Quantise,
    nn.RNN,
    nn.Read,
    nn.Residual,
    nn.Sequential,
    nn.Softmax,
    nn.StochasticDepth,
    nn.Upsample,
    nn.Wired,
)
# All channels at these stay, with the reason.
STAY: dict[type[Layer], str] = {
    nn.Attention: "its heads divide the channels",
}


def why_not(layer: Layer | None) -> str | None:
    """Why the channels at a layer stay; None: they may go."""
    if layer is None:
        return "a network from elsewhere says its sizes itself"
    if type(layer) in STAY:
        return STAY[type(layer)]
    if type(layer) in REWRITES or isinstance(layer, SILENT):
        return None
    return f"{type(layer).__name__} is no layer whose channels are known here"
