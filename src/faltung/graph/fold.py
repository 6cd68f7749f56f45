"""What follows from parameters alone at inference: folded normalisation, and weights on a grid.

Batch normalisation is an affine map of each channel, which is folded into the weights. With s =
gain / sqrt(variance + eps): s (w * x + b - mean) + shift = (s w) * x + (s (b - mean) + shift).
Where there is no convolution right before it, the vectors s and shift - s mean remain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import operand
from faltung.graph.ops import Convolve, ConvolveInput, Elementwise, Normalise, View
from faltung.graph.value import Graph, Node, Value, consumers

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Derived:
    """A value that follows from parameters: "weight", "bias", "scale" or "shift" of a folded
    normalisation. sources: names of gain, shift, mean and variance; ``weight``, ``bias``: of the
    convolution.

    Or the ``weight`` on a grid: the only source times ``factor`` is its scale, one for each entry
    of its ``axis``, and the levels go from ``low`` to ``high``: "levels" are these, "numbers" what
    they stand for.
    """

    value: Value
    kind: str
    sources: tuple[str, ...]
    eps: float = 0.0
    weight: str = ""
    bias: str = ""
    transposed: bool = False
    groups: int = 1
    low: int = 0
    high: int = 0
    axis: int = 0
    factor: float = 1.0

    @property
    def shaped(self) -> bool:
        """Whether it has the shape, and the order in memory, of the weight."""
        return self.kind in ("weight", "levels", "numbers")

    @property
    def key(self) -> tuple[object, ...]:
        """What it is, but for the numbers that it follows from."""
        grid = self.low, self.high, self.axis, self.factor
        return self.kind, self.eps, self.transposed, self.groups, *grid

    def compute(self, parameters: Mapping[str, Array]) -> Array:
        """The numbers, in float64, from parameters in the shape that users see."""
        made = np.empty(self._shape(parameters), np.float64)
        self.into(made, parameters.__getitem__)
        return made

    def _shape(self, parameters: Mapping[str, Array]) -> tuple[int, ...]:
        return np.shape(parameters[self.weight if self.shaped else self.sources[0]])

    def into(self, out: Array, view: Callable[[str], Array]) -> None:
        """Write the numbers, computed in float64 and rounded once. view: a parameter by its name; a
        weight in the shape of ``out``, in which output channels (``transposed``: input channels)
        come first.
        """
        if self.kind in ("levels", "numbers"):
            self._on_grid(out, view)
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

    def _on_grid(self, out: Array, view: Callable[[str], Array]) -> None:
        """As the formula in a program has it, each operation rounded to float32."""
        w = np.asarray(view(self.weight), np.float32)
        scale = np.asarray(view(self.sources[0]), np.float32) * np.float32(self.factor)
        scale = scale.reshape(*(1,) * self.axis, -1, *(1,) * (w.ndim - 1 - self.axis))
        levels = np.clip(np.rint(w / scale), self.low, self.high) + np.float32(0)
        out[...] = levels if self.kind == "levels" else levels * scale


def _each(d: Derived, shape: tuple[int, ...], scale: Array) -> Array:
    """The factors of the entries of a weight of this shape."""
    if not d.transposed:
        return scale.reshape(-1, *(1,) * (len(shape) - 1))
    # (C_in, C_out / groups, *kernel): rows of a group belong to the outputs of that group.
    each = scale.reshape(d.groups, 1, shape[1])
    each = np.broadcast_to(each, (d.groups, shape[0] // d.groups, shape[1]))
    return each.reshape(*shape[:2], *(1,) * (len(shape) - 2))


def folded(graph: Graph) -> tuple[Graph, tuple[Derived, ...]]:
    """The graph without batch normalisation, and the values that replace it."""
    nodes: list[Node | None] = list(graph.nodes)
    made_at = {node.output.name: number for number, node in enumerate(graph.nodes)}
    weights = {p.name for p in graph.parameters}
    readers = consumers(graph.nodes)
    derived: list[Derived] = []
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
