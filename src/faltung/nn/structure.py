"""Layers made of layers: in sequence, in parallel, around others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY
from typing import ClassVar, cast

from faltung.geometry.check import real, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder, joined, sizes
from faltung.graph.ops import Concat, Embed
from faltung.graph.value import Value
from faltung.nn.layer import Layer, instead


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Sequential(Layer):
    """One layer after the other.

    Parameters
    ----------
    *layers : Layer
        At least one; a list of layers is taken too.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Sequential(nn.Conv(8, 3), nn.ReLU()), (3, 32, 32)).output.shape
    (8, 30, 30)
    """

    layers: tuple[Layer, ...]
    bare: ClassVar[bool] = True

    def __init__(self, *layers: Layer | Sequence[Layer], name: str | None = None) -> None:
        given(self, "layers", layers_of("layers", layers), name)

    def _words(self) -> Iterator[str]:
        return map(repr, self.layers)

    def build(self, b: Builder, x: Value) -> Value:
        for layer in self.layers:
            x = layer(b, x)
        return x


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Parallel(Layer):
    """All branches on the same input, their channels one after the other.

    An Inception module; with ``Identity`` as a branch, the skip connection of a U-Net. Each branch
    writes into its place: nothing is copied.

    Parameters
    ----------
    *branches : Layer
        At least one, or a list of them; their results have the same spatial sizes.

    References
    ----------
    C. Szegedy et al., *Going deeper with convolutions*, CVPR 2015.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Parallel(nn.Identity(), nn.Conv(8, 1)), (3, 32, 32)).output.shape
    (11, 32, 32)
    """

    branches: tuple[Layer, ...]

    def __init__(self, *branches: Layer | Sequence[Layer], name: str | None = None) -> None:
        given(self, "branches", layers_of("branches", branches), name)

    def _words(self) -> Iterator[str]:
        return map(repr, self.branches)

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        made = [b.settled(branch(b, x)) for branch in self.branches]
        spaces = {value.space for value in made}
        if len(spaces) > 1:
            found = ", ".join(
                f"{sizes(value.space)} {b.after(value)}"
                if value.space
                else f"none {b.after(value)}"
                for value in made
            )
            raise FaltungError(f"Parallel {b.current!r}: branches must have one size, got {found}")
        if len(made) == 1:
            return made[0]
        channels = sum(value.channels for value in made)
        fields = joined([b.fields(value) for value in made])
        shape = (channels, *made[0].space)
        return b.node(Concat(), made, shape, fields=fields, kind="Concat")


@dataclass(frozen=True, slots=True, repr=False)
class Residual(Layer):
    """``body(x) + shortcut(x)``, or ``body(x) + x`` without a shortcut.

    Parameters
    ----------
    body : Layer
    shortcut : Layer, optional
        Both results have the same shape.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, CVPR 2016.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Residual(nn.Conv(3, 3, padding="same")), (3, 32, 32)).output.shape
    (3, 32, 32)
    """

    body: Layer
    _: KW_ONLY
    shortcut: Layer | None = None

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        body = b.settled(self.body(b, x))
        other = x if self.shortcut is None else b.settled(self.shortcut(b, x))
        if body.shape != other.shape:
            raise FaltungError(
                f"Residual {b.current!r}: body and shortcut must have one shape, got {body.shape} "
                f"{b.after(body)} and {other.shape} {b.after(other)}"
            )
        return b.add(body, other)


@dataclass(frozen=True, slots=True, repr=False)
class Identity(Layer):
    """The input itself.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Parallel(nn.Identity(), nn.ReLU()), (3, 32, 32)).output.shape
    (6, 32, 32)
    """

    def build(self, b: Builder, x: Value) -> Value:
        return x


@dataclass(frozen=True, slots=True, repr=False)
class Auxiliary(Layer):
    """A second classifier on the way: in training it adds its loss, at inference it does not exist.

    The input passes through.

    Parameters
    ----------
    head : Layer
        The classifier.
    weight : float, above 0
        Of its loss.

    References
    ----------
    C. Szegedy et al., *Going deeper with convolutions*, CVPR 2015.

    Examples
    --------
    >>> from faltung import nn
    >>> head = nn.Sequential(nn.Flatten(), nn.Linear(10))
    >>> nn.build(nn.Sequential(nn.ReLU(), nn.Auxiliary(head)), (3, 8, 8)).output.shape
    (3, 8, 8)
    """

    head: Layer
    _: KW_ONLY
    weight: float = 0.3

    def build(self, b: Builder, x: Value) -> Value:
        weight = real("weight", self.weight)
        if not weight > 0:
            raise FaltungError(f"weight={show(self.weight)}: must be above 0")
        if b.training:
            b.auxiliary(self.head(b, x), weight)
        return x


@dataclass(frozen=True, slots=True, repr=False)
class Flatten(Layer):
    """A map as a vector, channels first: ``(C, *space)`` -> ``(C * positions,)``.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Flatten(), (16, 5, 5)).output.shape
    (400,)
    """

    def build(self, b: Builder, x: Value) -> Value:
        return b.flatten(x)


@dataclass(frozen=True, slots=True, repr=False)
class Embedding(Layer):
    """A vector of a table for each token: ``(length,)`` -> ``(features, length)``.

    Its parameter is ``weight`` ``(vocabulary, features)``.

    Parameters
    ----------
    vocabulary : int
        Rows of the table: tokens are from 0, below this.
    features : int
        Numbers in each row.
    padding_index : int, optional
        The row that is zero and stays zero.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Embedding(1000, 64), (56,), tokens=True).output.shape
    (64, 56)
    """

    vocabulary: int
    features: int
    _: KW_ONLY
    padding_index: int | None = None

    def build(self, b: Builder, x: Value) -> Value:
        rows, features = (
            whole("vocabulary", self.vocabulary, 1),
            whole("features", self.features, 1),
        )
        if x.kind != "int" or len(x.shape) != 1:
            raise FaltungError(f"Embedding {b.current!r} needs tokens (length,), got {x.shape}")
        if self.padding_index is not None and not 0 <= self.padding_index < rows:
            raise FaltungError(
                f"padding_index={self.padding_index}: must be a row, 0 to {rows - 1}"
            )
        table = b.parameter("weight", (rows, features), fan_in=1, gain=1.0)
        return b.node(
            Embed(self.padding_index), (x, table), (features, *x.shape), fields=b.fields(x)
        )


def layers_of(name: str, given: Sequence[Layer | Sequence[Layer]]) -> tuple[Layer, ...]:
    """Layers, given one by one or in one list. FaltungError, FaltungTypeError: no layers."""
    one = given[0] if len(given) == 1 else None
    layers: Sequence[object] = one if isinstance(one, list | tuple) else given
    if not layers:
        raise FaltungError(f"{name}=(): must be at least one layer")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise FaltungTypeError(f"{name}={show(layer)}: must be layers{instead(layer)}")
    return tuple(cast("Sequence[Layer]", layers))


def given(made: Layer, field: str, layers: tuple[Layer, ...], name: str | None) -> None:
    object.__setattr__(made, field, layers)
    object.__setattr__(made, "name", name)
