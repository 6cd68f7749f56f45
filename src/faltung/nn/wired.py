"""Layers that read several others by their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from faltung.geometry.check import one_of, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder, joined, sizes
from faltung.graph.ops import Concat, View
from faltung.graph.value import Value
from faltung.nn.layer import Layer
from faltung.nn.structure import given, layers_of

Along = Literal["channels", "positions"]
INPUT = "input"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Read(Layer):
    """Within ``Wired``: a layer that reads others by their names, not the one before it.

    Parameters
    ----------
    layer : Layer
        What is done with them; ``Identity()`` for nothing more.
    *sources : str
        The names of earlier layers, or "input"; several are joined.
    along : {"channels", "positions"}
        How. With "positions" those of one follow those of another, in the order of memory, and the
        result has one axis of space.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.Read(nn.Conv(8, 1), "up", "skip", name="merged")
    Read(Conv(8, 1), 'up', 'skip', name='merged')
    """

    layer: Layer
    sources: tuple[str, ...]
    along: Along

    def __init__(
        self, layer: Layer, *sources: str, along: Along = "channels", name: str | None = None
    ) -> None:
        if not isinstance(layer, Layer):
            raise FaltungTypeError(f"layer={show(layer)}: must be a layer")
        for source in sources:
            if not isinstance(source, str):
                raise FaltungTypeError(f"sources={show(source)}: must be names of layers")
        if not sources:
            raise FaltungError("sources=(): must be at least one name")
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "along", along)
        object.__setattr__(self, "name", name)

    def _words(self) -> Iterator[str]:
        yield repr(self.layer)
        yield from map(repr, self.sources)
        if self.along != "channels":
            yield f"along={self.along!r}"

    def build(self, b: Builder, x: Value) -> Value:
        one_of("along", self.along, ("channels", "positions"))
        return self.layer(b, x)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Wired(Layer):
    """One layer after the other, but each ``Read`` reads layers before it by their names.

    For what is neither a sequence nor branches side by side: feature pyramids, several skips.

    Parameters
    ----------
    *layers : Layer
        At least one; the last gives the result.

    References
    ----------
    T.-Y. Lin, P. Dollár, R. Girshick, K. He, B. Hariharan, S. Belongie, *Feature pyramid networks
    for object detection*, CVPR 2017.

    Examples
    --------
    >>> from faltung import nn
    >>> net = nn.Wired(
    ...     nn.Conv(8, 3, padding=1, name="fine"),
    ...     nn.MaxPool(2, name="coarse"),
    ...     nn.Upsample(scale=2, name="up"),
    ...     nn.Read(nn.Conv(4, 1), "up", "fine"),
    ... )
    >>> nn.build(net, (3, 32, 32)).output.shape
    (4, 32, 32)
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer | Sequence[Layer], name: str | None = None) -> None:
        given(self, "layers", layers_of("layers", layers), name)

    def _words(self) -> Iterator[str]:
        return map(repr, self.layers)

    def build(self, b: Builder, x: Value) -> Value:
        known = {INPUT: x}
        for layer in self.layers:
            if isinstance(layer, Read):
                x = self._joined(b, layer, known)
            x = layer(b, x)
            if layer.name is not None:
                known[layer.name] = x
        return x

    def _joined(self, b: Builder, layer: Read, known: dict[str, Value]) -> Value:
        for name in layer.sources:
            if name not in known:
                raise FaltungError(
                    f"sources={show(name)}: must be an earlier layer of Wired {b.current!r}, one "
                    f"of {', '.join(known)}"
                )
        if len(layer.sources) == 1:
            return known[layer.sources[0]]
        values = [b.settled(known[name]) for name in layer.sources]
        return beside(b, values) if layer.along == "channels" else behind(b, values)


def beside(b: Builder, values: Sequence[Value]) -> Value:
    """Maps of one size, their channels one after the other."""
    if len({value.space for value in values}) > 1:
        found = ", ".join(f"{sizes(value.space)} {b.after(value)}" for value in values)
        raise FaltungError(f"{b.current!r}: must read maps of one size, got {found}")
    shape = (sum(value.channels for value in values), *values[0].space)
    fields = joined([b.fields(value) for value in values])
    return b.node(Concat(), values, shape, fields=fields, kind="Concat")


def behind(b: Builder, values: Sequence[Value]) -> Value:
    """Maps of as many channels, their positions one after the other. In memory those of a sample
    follow each other, so they are channels of a single one.
    """
    channels = values[0].channels
    if len({value.channels for value in values}) > 1:
        found = ", ".join(f"{value.channels} {b.after(value)}" for value in values)
        raise FaltungError(f"{b.current!r}: must read maps of as many channels, got {found}")
    long = [
        b.node(View(), (value,), (channels * value.positions,), kind="Concat") for value in values
    ]
    whole = b.node(Concat(), long, (sum(v.channels for v in long),), kind="Concat")
    shape = (channels, whole.channels // channels)
    return b.node(View(), (whole,), shape, kind="Concat")
