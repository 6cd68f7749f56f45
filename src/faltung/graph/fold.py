"""What follows from parameters alone, and is computed once for many runs: weights.

Batch normalisation at inference, an affine map of each channel, is folded into the weights before
it.

With s = gain / sqrt(variance + eps): s (w * x + b - mean) + shift = (s w) * x + (s (b - mean) +
shift). Where there is no convolution right before it, the vectors s and shift - s mean remain. And
weights on a grid are no work of a run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import Expr, operand
from faltung.geometry.record import dataclass
from faltung.graph.ops import Convolve, ConvolveInput, Elementwise, Normalise, Op, View
from faltung.graph.value import Graph, Node, Value, consumers
from faltung.reference.expr import evaluate

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Derived:
    """A value that follows from parameters: "weight", "bias", "scale" or "shift" of a folded
    normalisation, or a "formula". sources: names of gain, shift, mean and variance, or of the
    operands; ``weight``, ``bias``: of the convolution. expr, shapes: of a formula, with the shapes
    in which it reads its operands; ``weight`` is the parameter that it is like.
    """

    value: Value
    kind: str
    sources: tuple[str, ...]
    eps: float = 0.0
    weight: str = ""
    bias: str = ""
    transposed: bool = False
    groups: int = 1
    expr: Expr | None = None
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def like(self) -> str:
        """The parameter whose shape and order in memory the value has; "" for a vector."""
        return self.weight if self.kind in ("weight", "formula") else ""

    def compute(self, parameters: Mapping[str, Array]) -> Array:
        """The numbers, in float64, from parameters in the shape that users see."""
        made = np.empty(self._shape(parameters), np.float64)
        self.into(made, parameters.__getitem__)
        return made

    def _shape(self, parameters: Mapping[str, Array]) -> tuple[int, ...]:
        return np.shape(parameters[self.like or self.sources[0]])

    def into(self, out: Array, view: Callable[[str], Array]) -> None:
        """Write the numbers, computed in float64 and rounded once. view: a parameter by its name; a
        weight in the shape of ``out``, in which output channels (``transposed``: input channels)
        come first.
        """
        if self.expr is not None:
            self._formula(self.expr, out, view)
            return
        gain, shift, mean, variance = (np.asarray(view(name), np.float64) for name in self.sources)
        scale = gain / np.sqrt(variance + self.eps)
        if self.kind == "weight":
            w = view(self.weight)
            factor = _each(self, w.shape, scale)
            np.multiply(w, factor, out=out, dtype=np.float64, casting="same_kind")
            return
        found = scale if self.kind == "scale" else shift - scale * mean
        if self.kind == "bias" and self.bias:
            found = np.asarray(view(self.bias), np.float64) * scale + found
        out[...] = found

    def _formula(self, expr: Expr, out: Array, view: Callable[[str], Array]) -> None:
        """Each operation rounded to the dtype of ``out``, as a program would."""
        operands = []
        for name, shape in zip(self.sources, self.shapes, strict=True):
            given = view(name)
            if (
                given.ndim < out.ndim or given.size < out.size
            ):  # a vector of channels, or of an axis
                wide = shape + (1,) * (out.ndim - len(shape))
                given = given.reshape(wide)
            operands.append(given)
        out[...] = evaluate(expr, operands, dtype=out.dtype)


def _each(d: Derived, shape: tuple[int, ...], scale: Array) -> Array:
    """The factors of the entries of a weight of this shape."""
    if not d.transposed:
        return scale.reshape(-1, *(1,) * (len(shape) - 1))
    # (C_in, C_out / groups, *kernel): rows of a group belong to the outputs of that group.
    each = scale.reshape(d.groups, 1, shape[1])
    each = np.broadcast_to(each, (d.groups, shape[0] // d.groups, shape[1]))
    return each.reshape(*shape[:2], *(1,) * (len(shape) - 2))


def computed_ahead(graph: Graph) -> tuple[Graph, list[Derived]]:
    """The graph without formulas that put parameters on grids, and what these compute."""
    parameters = {p.name: p for p in graph.parameters}
    # By the name of a value that is a parameter seen otherwise: the parameter, and the shape.
    seen = {name: (name, p.value.shape) for name, p in parameters.items()}
    nodes: list[Node] = []
    derived: list[Derived] = []
    for node in graph.nodes:
        known = bool(node.inputs) and all(value.name in seen for value in node.inputs)
        op = node.op
        if known and isinstance(op, View):
            seen[node.output.name] = seen[node.inputs[0].name][0], node.output.shape
        elif known and _on_grid(op):
            assert isinstance(op, Elementwise)
            sources = [seen[value.name] for value in node.inputs]
            whole = next((name for name, shape in sources if shape == op.shape), "")
            if not whole or node.output in graph.outputs:
                nodes.append(node)
                continue
            names, shapes = zip(*sources, strict=True)
            made = Derived(
                node.output, "formula", names, weight=whole, expr=op.outputs[0], shapes=shapes
            )
            derived.append(made)
        else:
            nodes.append(node)
    read = {value.name for node in nodes for value in node.inputs}
    read.update(value.name for value in graph.outputs)
    views = [
        node
        for node in graph.nodes
        if isinstance(node.op, View) and node.output.name in seen and node.output.name in read
    ]
    return replace(graph, nodes=(*views, *nodes)), derived


def _on_grid(op: Op) -> bool:
    plain = isinstance(op, Elementwise) and len(op.outputs) == 1 and not op.reductions
    return plain and op.outputs[0].uses("snap")  # type: ignore[union-attr]


def folded(graph: Graph) -> tuple[Graph, tuple[Derived, ...]]:
    """The graph without batch normalisation, and the values that replace it."""
    graph, derived = computed_ahead(graph)
    nodes: list[Node | None] = list(graph.nodes)
    made_at = {node.output.name: number for number, node in enumerate(graph.nodes)}
    weights = {p.name for p in graph.parameters}
    readers = consumers(graph.nodes)
    for here, node in enumerate(graph.nodes):
        if not (isinstance(node.op, Normalise) and node.op.over == "batch"):
            continue
        x, number, alone = node.inputs[0], None, True
        seen: list[int] = []  # views between, which keep the channels
        while True:
            number = made_at.get(x.name)
            before = None if number is None else nodes[number]
            alone = alone and len(readers[x.name]) == 1 and x not in graph.outputs
            if before is None or not _keeps_channels(before):
                break
            assert number is not None
            seen.append(number)
            x = before.inputs[0]
        # Only once: folded weights are not a parameter, so nothing more can be folded into them.
        if (
            before is not None
            and alone
            and isinstance(before.op, Convolve | ConvolveInput)
            and before.inputs[1].name in weights
        ):
            assert number is not None
            conv, made = _into(before, node, node.op)
            if seen:  # the views stay, and the last of them makes what the normalisation made
                nodes[number] = replace(conv, outputs=before.outputs)
                last = nodes[seen[0]]
                assert last is not None
                nodes[here], nodes[seen[0]] = replace(last, outputs=node.outputs), None
            else:
                nodes[here], nodes[number] = conv, None
        else:
            nodes[here], made = _apart(node, node.op)
        derived += made
    left = tuple(node for node in nodes if node is not None)
    return replace(graph, nodes=left), tuple(derived)


def _keeps_channels(node: Node) -> bool:
    """Whether a node only counts samples and positions otherwise: a sample alone is seen as it is,
    several of them are not, and the bits of both must be the same.
    """
    return isinstance(node.op, View) and node.inputs[0].channels == node.output.channels


def _names(node: Node) -> tuple[str, str, str, str]:
    a, b, c, d = (value.name for value in node.inputs[1:5])
    return a, b, c, d


def _into(conv: Node, node: Node, norm: Normalise) -> tuple[Node, list[Derived]]:
    op = conv.op
    assert isinstance(op, Convolve | ConvolveInput)
    x, w, *bias = conv.inputs
    base = Derived(
        Value(f"{w.name}*{node.layer}", w.shape, batched=False),
        "weight",
        _names(node),
        norm.eps,
        w.name,
        bias[0].name if bias else "",
        isinstance(op, ConvolveInput),
        op.spec.groups,
    )
    channels = (node.output.channels,)
    other = replace(base, kind="bias", value=Value(f"{w.name}+{node.layer}", channels, False))
    made = Node(replace(op, bias=True), (x, base.value, other.value), node.outputs, conv.layer)
    return made, [base, other]


def _apart(node: Node, norm: Normalise) -> tuple[Node, list[Derived]]:
    x = node.inputs[0]
    made = [
        Derived(Value(f"{node.layer}.{kind}", (x.channels,), False), kind, _names(node), norm.eps)
        for kind in ("scale", "shift")
    ]
    op = Elementwise(x.shape, (operand(0) * operand(1) + operand(2),))
    return replace(node, op=op, inputs=(x, made[0].value, made[1].value)), made
