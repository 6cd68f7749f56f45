"""Where a network needs grids: which values layers in whole numbers read, and what makes these.

A layer with weights reads a value on a grid. So does what stands between two such layers, if it
computes entry by entry or takes means: the sums of residuals, concatenations, pools. A value is put
on its grid once, behind the last layer of a chain of activations; what only moves entries keeps the
grid of what it reads, and the maps that are joined need one grid together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from faltung.geometry.record import dataclass
from faltung.graph.ops import (
    Concat,
    Convolve,
    ConvolveInput,
    Elementwise,
    Normalise,
    Pool,
    Resample,
)
from faltung.graph.value import Graph, Node, Value, consumers
from faltung.nn import Conv, ConvTranspose, Layer, Linear, SqueezeExcite
from faltung.nn.quantise import moves

TAKEN = (Conv, ConvTranspose, Linear)
# Sums of so many products of 8 bits fit into 31 bits, with room for a bias.
MOST_PRODUCTS = (1 << 30) // (255 * 127)
# Why layers stay as they are, by the names of their classes.
WHY = {
    "Attention": "it multiplies values that are both computed",
    "LSTM": "its state is kept in float32 from step to step",
    "GRU": "its state is kept in float32 from step to step",
    "RNN": "its state is kept in float32 from step to step",
    "Embedding": "it picks rows of a table and computes nothing",
    "Local": "each of its weights is read once",
    "OnnxNet": "it is a network from elsewhere, whose layers cannot be replaced",
    "GraphNet": "it is a network from elsewhere, whose layers cannot be replaced",
    "BatchNorm": "no layer beside it can take it over",
}
FLOAT = "its formula is computed in float32"


@dataclass(slots=True)
class Group:
    """Values that are joined with each other, directly or in turn. joins: for each joined map the
    layer that makes it, "" if nothing can be put behind that, and the names of its parts.
    """

    values: list[str]
    joins: list[tuple[str, list[str]]]


@dataclass(slots=True)
class Places:
    """What is to be quantised. layers: names of layers with weights that are taken. values: those
    that get a grid, by name, with the path behind which it is put; "" is the input. groups: of
    values whose maps are joined. left: names of layers that stay, and why.
    """

    layers: list[str] = field(default_factory=list)
    values: dict[str, tuple[Value, str]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def places(graph: Graph, known: Mapping[str, Layer], skipped: Mapping[str, str]) -> Places:
    """Where grids are needed in a graph for inference. known: its layers by name. skipped: names of
    layers that are left out, and why.
    """
    return _Walk(graph, known, skipped).found()


class _Walk:
    def __init__(
        self, graph: Graph, known: Mapping[str, Layer], skipped: Mapping[str, str]
    ) -> None:
        self.graph, self.known = graph, known
        self.readers = consumers(graph.nodes)
        self.makers = {value.name: node for node in graph.nodes for value in node.outputs}
        self.ends = {value.name for value in graph.outputs}
        self.places = Places()
        self._take(skipped)
        self._wanted: set[str] = set()
        for node in reversed(graph.nodes):
            self._wanted.update(value.name for value in node.inputs if self._takes(value, node))

    def _take(self, skipped: Mapping[str, str]) -> None:
        """Which layers with weights are taken, and why others are not."""
        made = self.places
        for path, layer in self.known.items():
            why = next((skipped[p] for p in _upwards(path) if p in skipped), "")
            inner = f"{path}.reduce" if isinstance(layer, SqueezeExcite) else path
            nodes = [node for node in self.graph.nodes if node.layer == inner]
            sums = [node for node in nodes if isinstance(node.op, Convolve | ConvolveInput)]
            owns = any(p.name.rpartition(".")[0] == path for p in self.graph.parameters)
            if isinstance(layer, (*TAKEN, SqueezeExcite)) and sums:
                why = why or _too_large(sums[0])
                if why:
                    made.left[path] = why
                else:
                    made.layers.append(path)
            elif owns or (type(layer).__name__ in WHY and nodes):
                made.left[path] = why or WHY.get(type(layer).__name__, FLOAT)
        own = {name for path in made.layers for name in (path, f"{path}.reduce", f"{path}.expand")}
        self.own = own

    # Which values -------------------------------------------------------------------------------

    def found(self) -> Places:
        made = self.places
        values = [self.graph.input, *(v for node in self.graph.nodes for v in node.outputs)]
        for value in values:
            if value.batched and value.kind == "float" and self._is_put(value):
                node = self.makers.get(value.name)
                made.values[value.name] = value, "" if node is None else node.layer
        made.groups = self._groups()
        return made

    def wanted(self, value: Value) -> bool:
        """Whether a layer reads a value in whole numbers, now or after others that keep them."""
        return value.name in self._wanted

    def _takes(self, value: Value, node: Node) -> bool:
        if isinstance(node.op, Convolve | ConvolveInput):
            return node.layer in self.own and value == node.inputs[0]
        maker = self.makers.get(value.name)
        if maker is not None and maker.layer.startswith(f"{node.layer}."):
            gate = isinstance(self.known.get(node.layer), SqueezeExcite)
            if gate:  # a factor of each channel, which nothing else reads
                return False
        return (keeps(node) or _computes(node)) and self.wanted(node.output)

    def _is_put(self, value: Value) -> bool:
        """Whether a value is put on a grid right behind what made it."""
        node = self.makers.get(value.name)
        if not self.wanted(value) or (node is not None and keeps(node)):
            return False
        if node is not None and not self._is_end(node, value):
            return False
        readers = self.readers[value.name]
        if len(readers) > 1 or value.name in self.ends or node is None:
            return True
        # It goes on to an activation, or another formula of it alone.
        (reader,) = readers
        maps = [v for v in reader.inputs if v.batched]
        follows = isinstance(reader.op, Elementwise | Normalise) and len(maps) == 1
        pointwise = follows and reader.output.shape == value.shape
        return not (pointwise and self._is_end(reader, reader.output))

    def _is_end(self, node: Node, value: Value) -> bool:
        """Whether a value is what a layer gives that something can be put behind: one of the
        network, or the mean or the activation of a gate.
        """
        if node.layer not in self.known:
            return node.layer.removesuffix(".mean") in self.places.layers
        inside = f"{node.layer}."
        later = self.readers.get(value.name, ())
        return not any(r.layer == node.layer or r.layer.startswith(inside) for r in later)

    # Which of them together ---------------------------------------------------------------------

    def _groups(self) -> list[Group]:
        """Values whose maps are joined, with those that they share joined maps with."""
        made: list[Group] = []
        for node in self.graph.nodes:
            if not isinstance(node.op, Concat) or not self.wanted(node.output):
                continue
            roots = [n for n in dict.fromkeys(self._roots(node.output)) if n in self.places.values]
            whole = node.layer in self.known and self._is_end(node, node.output)
            one = Group(roots, [(node.layer if whole else "", roots)])
            for other in [group for group in made if not set(roots).isdisjoint(group.values)]:
                made.remove(other)
                names = dict.fromkeys((*other.values, *one.values))
                one = Group(list(names), [*other.joins, *one.joins])
            made.append(one)
        return made

    def _roots(self, value: Value) -> Iterator[str]:
        """The values on whose grids the numbers of a value lie."""
        node = self.makers.get(value.name)
        if node is None or not keeps(node):
            yield value.name
            return
        for part in node.inputs:
            yield from self._roots(part)


def keeps(node: Node) -> bool:
    """Whether the numbers that a node gives are numbers that it reads."""
    return isinstance(node.op, Concat) or moves(node.op)


def _computes(node: Node) -> bool:
    """Whether a node reads levels and gives numbers that are put on a grid again."""
    op = node.op
    if isinstance(op, Elementwise):
        sums = all(each.kind == "sample" for each in op.reductions)
        return op.batched and len(op.outputs) + len(op.reductions) == 1 and sums
    if isinstance(op, Normalise):
        return op.over == "batch"
    return isinstance(op, Pool | Resample)


def _too_large(node: Node) -> str:
    weight = node.inputs[1].shape
    products = 1
    for size in weight[1:]:
        products *= size
    return "" if products <= MOST_PRODUCTS else f"sums of {products:,} products need over 32 bits"


def _upwards(path: str) -> Iterator[str]:
    """A name, and those of the layers that hold it."""
    words = path.split(".")
    for count in range(len(words), 0, -1):
        yield ".".join(words[:count])
