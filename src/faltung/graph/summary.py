"""A network on paper: what each layer puts out, sees, holds and costs. Nothing is computed, and no
weight is made.

>>> from faltung import nets
>>> from faltung.graph.summary import summary
>>> print(summary(nets.graph("lenet5")))  # doctest: +SKIP
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from faltung.geometry.conv import ITEMSIZE, ConvSpec
from faltung.geometry.expr import Expr
from faltung.geometry.pool import PoolSpec
from faltung.graph import activations, ops
from faltung.graph.value import Graph, Node, Value, consumers

Spec = ConvSpec | PoolSpec

# Formulas by which an activation is known again, where it has no numbers of its own.
FORMULAS = {
    activations.relu(): "ReLU",
    activations.relu6(): "ReLU6",
    activations.sigmoid(): "Sigmoid",
    activations.tanh(): "Tanh",
    activations.silu(): "SiLU",
    activations.gelu(): "GELU",
    activations.gelu_tanh(): "GELU",
    activations.softplus(): "Softplus",
    activations.hard_sigmoid(): "HardSigmoid",
    activations.hard_swish(): "HardSwish",
}
NORMS = {"batch": "BatchNorm", "group": "GroupNorm", "position": "LayerNorm"}
KINDS: dict[type, str] = {
    ops.LocallyConnected: "Local",
    ops.ConvolveInput: "ConvTranspose",
    ops.ChannelConv: "LocalResponseNorm",
    ops.Dropout: "Dropout",
    ops.Concat: "Concat",
    ops.Reshape: "Flatten",
    ops.Embed: "Embedding",
    ops.Softmax: "Softmax",
}


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer. Shapes without the batch, costs for one sample.

    kind: as `faltung.nn` calls it; "Add" is the sum of a `Residual`, "Concat" that of a `Parallel`.
    spec: of a convolution or a pooling, with the padding that is used. field: the entries of the
    input that a unit sees along each axis; None once positions are gone. parameters: trained ones.
    kept: others, running statistics. bytes: of what the layer puts out.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    spec: Spec | None
    field: tuple[int, ...] | None
    parameters: int
    kept: int
    macs: int
    bytes: int

    @property
    def method(self) -> str | None:
        """How the engine would compute a convolution, on this machine, for one sample."""
        if not isinstance(self.spec, ConvSpec):
            return None
        return "local" if self.kind == "Local" else method(self.spec, self.kind == "ConvTranspose")

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON; of a convolution or a pooling every number per axis."""
        made: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "output": list(self.output),
            "receptive_field": None if self.field is None else list(self.field),
            "parameters": self.parameters,
            "statistics": self.kept,
            "macs": self.macs,
            "bytes": self.bytes,
        }
        if self.spec is not None:
            for name in ("kernel", "stride", "dilation"):
                made[name] = list(getattr(self.spec, name))
            made["padding"] = [list(pair) for pair in self.spec.padding]
        if isinstance(self.spec, ConvSpec):
            made["padding_mode"] = list(self.spec.padding_mode)
            made["groups"] = self.spec.groups
            made["method"] = self.method
        return made


@dataclass(frozen=True, slots=True)
class Summary:
    """A network on paper. ``str`` of it is a table of at most 100 columns.

    live: bytes of the values that have to be there at the same time at inference, at most, if
    nothing is fused and each layer writes beside what it reads. activations: bytes of all of them.
    """

    input: tuple[int, ...]
    output: tuple[int, ...]
    dtype: str
    training: bool
    rows: tuple[LayerRow, ...] = field(repr=False)
    live: int

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(row.parameters for row in self.rows)

    @property
    def kept(self) -> int:
        """Numbers that are kept beside them: running statistics."""
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
            "layers": [row.as_dict() for row in self.rows],
            "parameters": self.parameters,
            "statistics": self.kept,
            "parameter_bytes": self.parameter_bytes,
            "macs": self.macs,
            "activation_bytes": self.activations,
            "live_bytes": self.live,
        }

    def table(self, depth: int | None = None, *, width: int = 100, methods: bool = True) -> str:
        """The table. depth: how many names deep; what lies deeper is one line. By default as deep
        as 64 lines allow. methods: with how each convolution would be computed.
        """
        from faltung.graph.summary_table import table

        return table(self, depth, width, methods)

    def __str__(self) -> str:
        return self.table()


def summary(graph: Graph) -> Summary:
    """The network of a graph, as layers build it, on paper."""
    return Summary(
        graph.input.shape,
        graph.output.shape,
        graph.dtype,
        graph.training,
        tuple(_rows(graph)),
        _live(graph),
    )


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
            sum(_macs(node) for node in nodes),
            last.size * size,
        )


def _spec(node: Node) -> Spec | None:
    """What is asked of a convolution or a pooling; a linear layer is neither to its readers."""
    spec: Spec | None = getattr(node.op, "spec", None)
    return None if _linear(node) else spec


def _linear(node: Node) -> bool:
    return isinstance(node.op, ops.Convolve) and not node.output.space


def _macs(node: Node) -> int:
    spec = getattr(node.op, "spec", None)
    return spec.macs if isinstance(spec, ConvSpec) else 0


def _kind(nodes: Sequence[Node]) -> str:
    """What people call the nodes of a layer; the one that says most decides."""
    names = [_name(node) for node in nodes]
    return next((name for name in names if name not in ("Formula", "Flatten")), names[-1])


def _name(node: Node) -> str:
    op = node.op
    match op:
        case ops.Convolve():
            return "Linear" if _linear(node) else "Conv"
        case ops.Normalise():
            return NORMS[op.over]
        case ops.Pool():
            return "MaxPool" if op.spec.kind == "max" else "AvgPool"
        case ops.Elementwise():
            return _formula(op)
        case _:
            return KINDS.get(type(op), type(op).__name__)


def _formula(op: ops.Elementwise) -> str:
    if not op.outputs:
        return "GlobalAvgPool"
    expr: Expr = op.outputs[0]
    if expr in FORMULAS:
        return FORMULAS[expr]
    if expr.op == "add" and all(term.op == "operand" for term in expr.terms):
        return "Add"
    if expr.op == "select" and len(expr.operands()) == 1:
        return "ELU" if expr.uses("exp") else "LeakyReLU"
    return "Formula"


def _live(graph: Graph) -> int:
    """Bytes of the values that are alive at once, at most: from the node that makes one to the last
    that reads it.
    """
    readers = consumers(graph.nodes)
    last = {name: nodes[-1] for name, nodes in readers.items()}
    ends = [graph.output, *(auxiliary.output for auxiliary in graph.auxiliaries)]
    stays = {value.name for value in ends}
    alive: dict[str, Value] = {graph.input.name: graph.input}
    most = 0
    for node in graph.nodes:
        alive.update((value.name, value) for value in node.outputs)
        most = max(most, sum(value.size for value in alive.values() if value.batched))
        for name in [name for name in alive if name not in stays]:
            if name not in last or last[name] is node:
                del alive[name]
    return most * ITEMSIZE[graph.dtype]


@lru_cache(maxsize=4096)
def method(spec: ConvSpec, transposed: bool = False) -> str:
    """The method that the policy chooses, for arrays with channels last, as in a program."""
    # Planning needs the machine: it is asked for only where somebody wants to know.
    from faltung.plan import plan_forward, plan_input_grad

    plan = (
        plan_input_grad(spec, channels_last=True, packs=False)
        if transposed
        else plan_forward(spec, channels_last=True)
    )
    names = dict.fromkeys(candidates[0].name for _, candidates in plan.reasons)
    return ", ".join(names)
