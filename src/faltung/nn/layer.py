"""What every layer is: a frozen description that adds itself to a graph."""

from dataclasses import dataclass, field

from faltung.graph.builder import Builder
from faltung.graph.value import Value


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as data: ``Conv(64, 3, padding="same")``. It says what it makes of its input, not
    what the input is: channels and sizes follow when a network meets an input shape.

    name: what it is called in summaries, parameters and errors; by default its kind and a number.
    """

    name: str | None = field(default=None, kw_only=True)

    def __call__(self, b: Builder, x: Value) -> Value:
        """Add the layer to a graph; ``x`` is what it reads."""
        with b.layer(type(self).__name__, self.name):
            return self.build(b, x)

    def build(self, b: Builder, x: Value) -> Value:
        """The nodes of the layer, within its name."""
        raise TypeError(f"layer={type(self).__name__}: has no build")
