"""A network on paper: the output, receptive field, parameters and cost of each layer. Nothing is
computed, and no weight is made.

>>> from faltung import nets
>>> from faltung.graph.summary import summary
>>> print(summary(nets.graph("lenet5")))  # doctest: +SKIP
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from faltung.geometry import html
from faltung.geometry.conv import ITEMSIZE
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.cost import macs
from faltung.graph.summary_row import LayerRow, Spec
from faltung.graph.summary_table import MOST_LINES, RIGHT, cells, short, table
from faltung.graph.value import Graph, Node, Value, consumers


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """A network on paper. ``str`` of it is a table of at most 100 columns.

    live: the most bytes of values that are needed at the same time at inference, if nothing is
    fused and no layer works in place. activations: bytes of all values together. bits: of the
    parameters of each layer in a file, by its name, and ``stored``: bytes of that file; None of a
    network without one.
    """

    input: tuple[int, ...]
    output: tuple[int, ...]
    dtype: str
    training: bool
    rows: tuple[LayerRow, ...] = field(repr=False)
    live: int
    bits: Mapping[str, float] | None = field(default=None, repr=False)
    stored: int | None = None

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(row.parameters for row in self.rows)

    @property
    def kept(self) -> int:
        """Numbers that are kept but not trained: running statistics."""
        return sum(row.kept for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers."""
        return sum(row.macs for row in self.rows)

    @property
    def activations(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        return (self.parameters + self.kept) * ITEMSIZE[self.dtype]

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "input": list(self.input),
            "output": list(self.output),
            "dtype": self.dtype,
            "training": self.training,
            "layers": [
                row.as_dict() | ({} if self.bits is None else {"bits": self.bits.get(row.name, 0)})
                for row in self.rows
            ],
            "parameters": self.parameters,
            "statistics": self.kept,
            "parameter_bytes": self.parameter_bytes,
            "macs": self.macs,
            "activation_bytes": self.activations,
            "live_bytes": self.live,
            **({} if self.stored is None else {"file_bytes": self.stored}),
        }

    def table(self, depth: int | None = None, *, width: int = 100, methods: bool = True) -> str:
        """The table. depth: levels of names; what is deeper is one line. By default as many levels
        as fit in 64 lines. methods: whether the method of each convolution is shown.
        """
        lines = table(self.rows, depth, width, methods, self.bits)
        return "\n".join([*lines, *self._totals()])

    def _totals(self) -> Iterator[str]:
        """The lines below the table."""
        shapes = ("x".join(map(str, shape)) for shape in (self.input, self.output))
        mode = "training" if self.training else "inference"
        yield f"{' -> '.join(shapes)}, {self.dtype}, {mode}"
        kept = f" and {self.kept:,} running statistics" if self.kept else ""
        yield f"{self.parameters:,} parameters{kept}, {short(self.parameter_bytes, 'B') or '0 B'}"
        if self.bits is not None and self.stored is not None:
            bits = sum(self.bits.values())
            rest = self.stored - bits / 8
            yield (
                f"{self.stored:,} bytes on disk: {bits / max(1, self.parameters + self.kept):.2f} "
                f"bits a number; names, tables and the net take {rest:,.0f} bytes of them"
            )
        yield (
            f"for one sample: {short(self.macs) or '0'} multiply-adds, activations "
            f"{short(self.activations, 'B')}, at most {short(self.live, 'B')} at once"
        )

    def __repr__(self) -> str:
        return self.table()

    def html(self, *, methods: bool = True, most: int = MOST_LINES) -> str:
        """The table as HTML, of as many levels of names as fit in ``most`` lines."""
        head, *rows = cells(self.rows, None, methods, self.bits, most)
        return html.table(head, rows, right=RIGHT)

    def _repr_html_(self) -> str:
        """For notebooks."""
        first, *rest = self._totals()
        return html.box(first, self.html(), note="; ".join(rest))


def summary(graph: Graph) -> Summary:
    """The summary of a graph that layers have built."""
    return Summary(
        graph.input.shape,
        graph.output.shape,
        graph.dtype,
        graph.training,
        tuple(_rows(graph)),
        _live(graph),
    )


def with_bits(found: Summary, bits: Mapping[str, float], stored: int) -> Summary:
    """A summary with what parameters take in a file. bits: by their names; stored: its bytes."""
    layers: dict[str, float] = {}
    for name, each in bits.items():
        layer = name.rpartition(".")[0]
        layers[layer] = layers.get(layer, 0.0) + each
    return replace(found, bits=layers, stored=stored)


def _rows(graph: Graph) -> Iterator[LayerRow]:
    size = ITEMSIZE[graph.dtype]
    owned: dict[str, list[tuple[int, bool]]] = {}
    for p in graph.parameters:
        owned.setdefault(p.name.rpartition(".")[0], []).append((p.size, p.trained))
    for name, nodes in graph.layers():
        last = nodes[-1].output
        fields = graph.fields.get(last.name)
        numbers = owned.get(name, [])
        yield LayerRow(
            name,
            _kind(nodes),
            last.shape,
            next((spec for node in nodes if (spec := _spec(node)) is not None), None),
            None if fields is None else tuple(axis.size for axis in fields),
            sum(count for count, trained in numbers if trained),
            sum(count for count, trained in numbers if not trained),
            sum(map(macs, nodes)),
            last.size * size,
            _follows(nodes),
        )


def _spec(node: Node) -> Spec | None:
    """The spec of a convolution or a pooling; a linear layer counts as neither."""
    spec: Spec | None = getattr(node.op, "spec", None)
    return None if node.kind is not None and node.kind.name == "Linear" else spec


def _kind(nodes: Sequence[Node]) -> str:
    """What made the nodes of a layer: the first kind that is not just flattening."""
    names = [node.kind.name if node.kind else type(node.op).__name__ for node in nodes]
    return next((name for name in names if name != "Flatten"), names[-1])


def _follows(nodes: Sequence[Node]) -> bool:
    """Whether a layer reads one map and puts out as many numbers without combining positions or
    maps: an activation, a normalisation, dropout, flattening.
    """
    made = {value for node in nodes for value in node.outputs}
    first = nodes[0].inputs[0]
    for node in nodes:
        outside = [value for value in node.inputs if value.batched and value not in made]
        sums = isinstance(node.op, ops.Elementwise) and node.op.reductions
        if outside not in ([], [first]) or _mixes(node) or sums:
            return False
    return first.kind == "float" and first.size == nodes[-1].output.size


def _mixes(node: Node) -> bool:
    """Whether a node combines positions."""
    return hasattr(node.op, "spec") or isinstance(
        node.op, ops.Recurrent | ops.Resample | ops.Permute
    )


def _live(graph: Graph) -> int:
    """The most bytes of values that are alive at once; a value lives from the node that makes it to
    the last that reads it.
    """
    readers = consumers(graph.nodes)
    last = {name: nodes[-1] for name, nodes in readers.items()}
    ends = [*graph.outputs, *(auxiliary.output for auxiliary in graph.auxiliaries)]
    stays = {value.name for value in ends}
    alive: dict[str, Value] = {value.name: value for value in graph.inputs}
    most = 0
    for node in graph.nodes:
        alive.update((value.name, value) for value in node.outputs)
        most = max(most, sum(value.size for value in alive.values() if value.batched))
        for name in [name for name in alive if name not in stays]:
            if name not in last or last[name] is node:
                del alive[name]
    return most * ITEMSIZE[graph.dtype]
