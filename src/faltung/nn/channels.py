"""Layers that weigh, pick and mix channels."""

from __future__ import annotations

from dataclasses import KW_ONLY

from faltung.geometry.check import real, whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder
from faltung.graph.ops import Permute, Slice
from faltung.graph.value import Value
from faltung.nn.activation import ReLU, Sigmoid
from faltung.nn.conv import Linear, spatial
from faltung.nn.layer import Layer, numbers
from faltung.nn.pool import GlobalAvgPool


@dataclass(frozen=True, slots=True, repr=False)
class SqueezeExcite(Layer):
    """A gate for each channel of each sample: the map times a small network of its own means.

    The means of the channels, a linear layer to ``reduced`` numbers, an activation, a linear layer
    back to the channels, and ``gate`` of it. Its parameters are those of ``reduce`` and
    ``expand``.

    Parameters
    ----------
    reduced : int
        How many numbers stand between the two linear layers.
    activation : Layer
        Between them.
    gate : Layer
        After them.
    bits : int from 2 to 8, optional
        Of the weights of both linear layers, as for ``Linear``.
    grid : Quantise, optional
        On which the means are put.

    References
    ----------
    J. Hu, L. Shen, G. Sun, *Squeeze-and-excitation networks*, CVPR 2018.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.SqueezeExcite(4), (16, 32, 32)).output.shape
    (16, 32, 32)
    """

    reduced: int
    _: KW_ONLY
    activation: Layer = ReLU()
    gate: Layer = Sigmoid()
    bits: int | None = None
    grid: Layer | None = None

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "SqueezeExcite")
        reduced = whole("reduced", self.reduced, 1)
        weights = GlobalAvgPool(name="mean")(b, x)
        for layer in (
            *(() if self.grid is None else (self.grid,)),
            Linear(reduced, bits=self.bits, name="reduce"),
            self.activation,
            Linear(x.channels, bits=self.bits, name="expand"),
            self.gate,
        ):
            weights = layer(b, weights)
        if weights.shape != (x.channels,):
            raise FaltungError(
                f"SqueezeExcite {b.current!r}: the gate must have the shape {(x.channels,)} of the "
                f"channels, got {weights.shape} {b.after(weights)}"
            )
        return b.elementwise(operand(0) * operand(1), x, weights)


@dataclass(frozen=True, slots=True, repr=False)
class LayerScale(Layer):
    """A trained factor for each channel, ``weight`` ``(C,)``.

    It starts small, so that a block of a deep network starts close to the identity.

    Parameters
    ----------
    initial : float
        What all factors are at the start.

    References
    ----------
    H. Touvron, M. Cord, A. Sablayrolles, G. Synnaeve, H. Jégou, *Going deeper with image
    transformers*, ICCV 2021.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.LayerScale(), (16, 32, 32)).output.shape
    (16, 32, 32)
    """

    _: KW_ONLY
    initial: float = 1e-6

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        numbers(b, x)
        initial = real("initial", self.initial)
        weight = b.parameter("weight", (x.channels,), initial=initial, decay=False)
        return b.elementwise(operand(0) * operand(1), x, weight)


@dataclass(frozen=True, slots=True, repr=False)
class Channels(Layer):
    """``count`` channels of the input, from ``start`` on. Nothing is copied.

    Parameters
    ----------
    start : int
        The first of them.
    count : int, optional
        By default all that follow.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Channels(4, count=8), (16, 32, 32)).output.shape
    (8, 32, 32)
    """

    start: int
    _: KW_ONLY
    count: int | None = None

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        numbers(b, x)
        start = whole("start", self.start, 0)
        count = x.channels - start if self.count is None else whole("count", self.count, 1)
        if count < 1 or start + count > x.channels:
            raise FaltungError(
                f"start={start}, count={self.count}: must be within the {x.channels} channels that "
                f"Channels gets {b.after(x)}"
            )
        if count == x.channels:
            return x
        return b.node(Slice(start), (x,), (count, *x.space), fields=b.fields(x))


@dataclass(frozen=True, slots=True, repr=False)
class ChannelShuffle(Layer):
    """The channels, ``groups`` by ``C // groups``, in the order of the transposed matrix.

    What was one group is spread over all groups that follow.

    Parameters
    ----------
    groups : int
        Must divide the channels.

    References
    ----------
    X. Zhang, X. Zhou, M. Lin, J. Sun, *ShuffleNet: an extremely efficient convolutional neural
    network for mobile devices*, CVPR 2018.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.ChannelShuffle(2), (6,)).predict([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
    array([[0., 3., 1., 4., 2., 5.]], dtype=float32)
    """

    groups: int

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        numbers(b, x)
        groups = whole("groups", self.groups, 1)
        if x.channels % groups:
            raise FaltungError(
                f"groups={groups}: must divide the {x.channels} channels that ChannelShuffle gets "
                f"{b.after(x)}"
            )
        if groups in (1, x.channels):
            return x
        op = Permute((x.samples * x.positions, groups, x.channels // groups), (0, 2, 1))
        return b.node(op, (x,), x.shape, fields=b.fields(x))
