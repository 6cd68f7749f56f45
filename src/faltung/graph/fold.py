"""Batch normalisation at inference, an affine map of each channel, folded into the weights.

With s = gain / sqrt(variance + eps): s (w * x + b - mean) + shift = (s w) * x + (s (b - mean) +
shift). Where there is no convolution right before it, the vectors s and shift - s mean remain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import operand
from faltung.graph.ops import Convolve, ConvolveInput, Elementwise, Normalise
from faltung.graph.value import Graph, Node, Value, consumers

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Derived:
    """A value that follows from parameters: "weight", "bias", "scale" or "shift" of a folded
    normalisation. sources: names of gain, shift, mean and variance; ``weight``, ``bias``: of the
    convolution.
    """

    value: Value
    kind: str
    sources: tuple[str, str, str, str]
    eps: float
    weight: str = ""
    bias: str = ""
    transposed: bool = False
    groups: int = 1

    def compute(self, parameters: Mapping[str, Array]) -> Array:
        """The numbers, in float64, in the shape that users see."""
        gain, shift, mean, variance = (
            np.asarray(parameters[name], np.float64) for name in self.sources
        )
        scale = gain / np.sqrt(variance + self.eps)
        return _KINDS[self.kind](self, parameters, scale, shift - scale * mean)


def _weight(d: Derived, parameters: Mapping[str, Array], scale: Array, offset: Array) -> Array:
    w = np.asarray(parameters[d.weight], np.float64)
    if not d.transposed:
        return np.asarray(w * scale.reshape(-1, *(1,) * (w.ndim - 1)))
    # (C_in, C_out / groups, *kernel): rows of a group belong to the outputs of that group.
    each = scale.reshape(d.groups, 1, w.shape[1])
    each = np.broadcast_to(each, (d.groups, w.shape[0] // d.groups, w.shape[1]))
    return np.asarray(w * each.reshape(*w.shape[:2], *(1,) * (w.ndim - 2)))


def _bias(d: Derived, parameters: Mapping[str, Array], scale: Array, offset: Array) -> Array:
    if not d.bias:
        return offset
    return np.asarray(np.asarray(parameters[d.bias], np.float64) * scale + offset)


_KINDS: dict[str, Callable[[Derived, Mapping[str, Array], Array, Array], Array]] = {
    "weight": _weight,
    "bias": _bias,
    "scale": lambda d, parameters, scale, offset: scale,
    "shift": lambda d, parameters, scale, offset: offset,
}


def folded(graph: Graph) -> tuple[Graph, tuple[Derived, ...]]:
    """The graph without batch normalisation, and the values that replace it."""
    nodes = list(graph.nodes)
    weights = {p.name for p in graph.parameters}
    readers = consumers(graph.nodes)
    derived: list[Derived] = []
    for node in graph.nodes:
        if not (isinstance(node.op, Normalise) and node.op.over == "batch"):
            continue
        here = nodes.index(node)
        x = node.inputs[0]
        before = next((i for i, n in enumerate(nodes) if n.output == x), None)
        alone = len(readers[x.name]) == 1 and x not in graph.outputs
        # Only once: folded weights are not a parameter, so nothing more can be folded into them.
        if (
            before is not None
            and alone
            and isinstance(nodes[before].op, Convolve | ConvolveInput)
            and nodes[before].inputs[1].name in weights
        ):
            nodes[here], made = _into(nodes[before], node, node.op)
            del nodes[before]
        else:
            nodes[here], made = _apart(node, node.op)
        derived += made
    return replace(graph, nodes=tuple(nodes)), tuple(derived)


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
