"""What a network consists of: values, nodes, parameters, and the graph that they form."""

from collections.abc import Iterator, Sequence
from dataclasses import field
from math import prod

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.geometry.field import Field
from faltung.geometry.record import dataclass
from faltung.graph.ops import Op


@dataclass(frozen=True, slots=True)
class Value:
    """One array of a network, written once.

    shape: without the batch. (C, *space) is a map, (C,) with ``batched`` a vector for each sample,
    without it one for each channel, () a single number. Names identify values.
    kind: "float"; "int" for tokens and labels; "index" for where maxima came from; "key" for the
    key of random numbers; "rows" for the number of samples times ``shape[0]``, which is known when
    the batch is.
    samples: how many of this shape there are for each sample of the batch, or without ``batched``
    in all: where an axis counts as samples, such as the windows of a picture. In memory a map is
    (batch, samples, *space, C).
    """

    name: str
    shape: tuple[int, ...]
    batched: bool = True
    kind: str = "float"
    samples: int = 1

    @property
    def channels(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def space(self) -> tuple[int, ...]:
        return self.shape[1:]

    @property
    def positions(self) -> int:
        """Positions of one sample."""
        return prod(self.shape[1:])

    @property
    def size(self) -> int:
        """Numbers for one sample of the batch, or in all of a value without a batch."""
        return self.samples * prod(self.shape)


@dataclass(frozen=True, slots=True)
class Follows:
    """Of a kept parameter, a scale for each output channel of a weight: how it follows from that.

    weight: the weight's name; axis: of its output channels; bits: of its levels. bias: the name of
    the bias that is kept in the unit ``scale * input_scale``, or nothing.
    """

    weight: str
    axis: int
    bits: int
    bias: str = ""
    input_scale: float = 0.0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that is trained, or (``trained`` False) only kept: running statistics.

    shape: what users see, (channels_out, channels_in // groups, *kernel) for a convolution.
    inner: the same with a flattened axis unfolded, (out, C, *space) for a layer that reads a map.
    order: axes of ``inner`` from the slowest to the fastest in memory. fan_in: numbers that one
    output reads. initial: "normal" (variance gain / fan_in), "uniform" (up to the root of it) or a
    constant. decay: takes part in weight decay. follows: of one that is kept, how it follows from
    others.
    """

    value: Value
    shape: tuple[int, ...]
    inner: tuple[int, ...]
    order: tuple[int, ...]
    fan_in: int = 1
    gain: float = 2.0
    initial: str | float = "normal"
    decay: bool = True
    trained: bool = True
    follows: Follows | None = None

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Kind:
    """What made a node. name: the layer's class in ``faltung.nn``, or for what a layer adds to its
    parts "Add", "Concat", "Flatten". layer: the layer itself; exporters read its numbers.
    """

    name: str
    layer: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. layer: the name of the layer of the network that it belongs to. kind: what
    made it; None where no layer alone did, as after fusion.
    """

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    layer: str = ""
    kind: Kind | None = None

    @property
    def output(self) -> Value:
        return self.outputs[0]


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """An auxiliary classifier, which exists only in training; its loss has this weight."""

    output: Value
    weight: float


@dataclass(frozen=True, slots=True)
class Graph:
    """A network: nodes in an order in which they can be computed.

    Layers make one input and one output; imported networks may have several of both. updates:
    (parameter, value) pairs: the new running statistics after a step. fields: for the outputs of
    layers what a unit sees of each axis of the input; None once positions are gone.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    dtype: Float = "float32"
    training: bool = False
    auxiliaries: tuple[Auxiliary, ...] = ()
    updates: tuple[tuple[Value, Value], ...] = ()
    fields: dict[str, tuple[Field, ...] | None] = field(default_factory=dict, compare=False)

    @property
    def input(self) -> Value:
        """The first input, and of a network of layers the only one."""
        return self.inputs[0]

    @property
    def output(self) -> Value:
        """The first output, and of a network of layers the only one."""
        return self.outputs[0]

    def parameter(self, name: str) -> Parameter:
        for found in self.parameters:
            if found.name == name:
                return found
        raise FaltungError(f"name={name!r}: no parameter of this network has this name")

    def layers(self) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """The nodes of each layer together, in the order of their first nodes."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.layer, []).append(node)
        for name, nodes in found.items():
            yield name, tuple(nodes)


def samples_of(values: Sequence[Value], batched: bool = True) -> int:
    """The samples of what is made of these values: those of the maps among them."""
    return max((value.samples for value in values if value.batched == batched), default=1)


def consumers(nodes: tuple[Node, ...]) -> dict[str, list[Node]]:
    """For each value the nodes that read it, by its name."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        for value in node.inputs:
            found.setdefault(value.name, []).append(node)
    return found
