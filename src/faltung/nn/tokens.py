"""What turns maps into sequences for transformers: tokens, their places, patches."""

from __future__ import annotations

from dataclasses import KW_ONLY

from faltung.geometry.check import PerAxis, per_axis, whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder
from faltung.graph.ops import Concat, Elementwise, Permute, Slice, View
from faltung.graph.value import Value
from faltung.nn.conv import spatial
from faltung.nn.layer import Layer


@dataclass(frozen=True, slots=True, repr=False)
class ClassToken(Layer):
    """A trained vector as one more position, before all others: ``(C, *space)`` -> ``(C, 1 + n)``.

    Its parameter is ``weight`` ``(C,)``. The ``n`` positions stand in the order of memory, the last
    axis fastest.

    References
    ----------
    J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, *BERT: pre-training of deep bidirectional
    transformers for language understanding*, NAACL 2019.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.ClassToken(), (16, 14, 14)).output.shape
    (16, 197)
    """

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "ClassToken")
        token = b.parameter("weight", (x.channels,), gain=SMALL, decay=False)
        # In memory the positions of a sample follow each other, so they are channels of one.
        long = b.node(View(), (x,), (x.channels * x.positions,))
        first = b.node(Elementwise((x.channels,), (operand(0),)), (token,), (x.channels,))
        both = b.node(Concat(), (first, long), (first.channels + long.channels,))
        return b.node(View(), (both,), (x.channels, 1 + x.positions))


@dataclass(frozen=True, slots=True, repr=False)
class PositionEmbedding(Layer):
    """A trained map added to the input: what tells a transformer where each position is.

    Its parameter is ``weight`` ``(C, *space)``.

    References
    ----------
    A. Dosovitskiy et al., *An image is worth 16x16 words: transformers for image recognition at
    scale*, ICLR 2021.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.PositionEmbedding(), (16, 197)).output.shape
    (16, 197)
    """

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "PositionEmbedding")
        order = (*range(1, len(x.shape)), 0)
        places = b.parameter("weight", x.shape, order=order, gain=SMALL, decay=False)
        return b.elementwise(operand(0) + operand(1), x, places)


@dataclass(frozen=True, slots=True, repr=False)
class Position(Layer):
    """The channels at one position, in the order of memory: ``(C, *space)`` -> ``(C,)``.

    Parameters
    ----------
    index : int
        0 is the first, and what ``ClassToken`` added.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Position(0), (16, 197)).output.shape
    (16,)
    """

    index: int

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Position")
        index = whole("index", self.index, 0)
        if index >= x.positions:
            raise FaltungError(
                f"index={index}: must be one of the {x.positions} positions that Position gets "
                f"{b.after(x)}"
            )
        long = b.node(View(), (x,), (x.channels * x.positions,))
        return b.node(Slice(index * x.channels), (long,), (x.channels,))


@dataclass(frozen=True, slots=True, repr=False)
class Patches(Layer):
    """``body`` on maps of what stands at the same place of every patch, then all put back.

    A map of patches of 2x2 positions makes four maps of half its size; ``body`` works on each of
    them alone, with the same parameters, and may change the channels but not the sizes.

    Parameters
    ----------
    body : Layer
    size : int, or one int for each spatial axis
        Of a patch; divides the map.

    References
    ----------
    S. Mehta, M. Rastegari, *MobileViT: light-weight, general-purpose, and mobile-friendly vision
    transformer*, ICLR 2022, section 3.1.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Patches(nn.Attention(4), size=2), (16, 8, 8)).output.shape
    (16, 8, 8)
    """

    body: Layer
    _: KW_ONLY
    size: PerAxis = 2

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Patches")
        rank = len(x.space)
        size = per_axis("size", self.size, rank, 1)
        if any(n % p for n, p in zip(x.space, size, strict=True)):
            raise FaltungError(f"size={self.size}: must divide the sizes {x.space}")
        within = [2 + 2 * i for i in range(rank)]
        across = [1 + 2 * i for i in range(rank)]
        space = tuple(n // p for n, p in zip(x.space, size, strict=True))
        pairs = [part for both in zip(space, size, strict=True) for part in both]
        axes = (0, *within, *across, 2 * rank + 1)
        count = x.samples
        for part in size:
            count *= part
        split = Permute((x.samples, *pairs, x.channels), axes)
        parted = b.node(split, (x,), (x.channels, *space), samples=count)
        made = b.settled(self.body(b, parted))
        if made.space != space or made.samples != count:
            raise FaltungError(
                f"Patches {b.current!r}: the body must keep the size {space}, got {made.shape} "
                f"{b.after(made)}"
            )
        back = tuple(axes.index(axis) for axis in range(len(axes)))
        join = Permute((x.samples, *size, *space, made.channels), back)
        return b.node(join, (made,), (made.channels, *x.space), samples=x.samples)


# Of initial values: a deviation of 0.02.
SMALL = 0.0004
