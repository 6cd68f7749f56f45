"""Gates before 1x1 convolutions: the weight times the gate, not the map.

A gate of squeeze-and-excitation multiplies each channel of a map by a number of its own sample, and
a 1x1 convolution follows: sum over c of w[o, c] (g[c] x[c, p]) = sum over c of (w[o, c] g[c])
x[c, p]. Where there are many more positions than output channels, it is far less to multiply the
weight, once for each sample, than to read and write the whole map. The convolution becomes a
product of the map and a weight of its own for each sample.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from faltung.geometry.expr import operand
from faltung.graph.ops import Contract, Convolve, Elementwise, View
from faltung.graph.value import Node, Value, consumers

# A map with so many positions for each output channel is not multiplied. Measured: from 2.5 on it
# pays on every map of EfficientNet and MobileNetV3, more so the more samples there are.
POSITIONS = 2
PRODUCT = operand(0) * operand(1)
LETTERS = "hwdefg"


def gated(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The nodes, with gates moved to weights where that is less work.

    nodes: for inference, after fusion. kept: names of values that are read elsewhere.
    """
    makers = {node.output.name: node for node in nodes}
    readers = consumers(tuple(nodes))
    made: dict[str, list[Node]] = {}
    for node in nodes:
        gate = makers.get(node.inputs[0].name) if _pointwise(node) else None
        if gate is None or gate.output.name in kept or len(readers[gate.output.name]) > 1:
            continue
        found = _operands(gate)
        if found and gate.output.positions >= POSITIONS * node.output.channels:
            made[gate.output.name] = []
            made[node.output.name] = _weighted(*found, node)
    return tuple(new for node in nodes for new in made.get(node.output.name, [node]))


def _pointwise(node: Node) -> bool:
    """Whether a node is a convolution of each position alone, by a weight that has no batch."""
    op = node.op
    if not isinstance(op, Convolve) or op.spec.groups > 1 or not node.output.space:
        return False
    plain = all(
        axis.kernel == axis.stride == 1 and not (axis.lo or axis.hi) for axis in op.spec.axes
    )
    return plain and not node.inputs[1].batched and len(node.output.space) <= len(LETTERS)


def _operands(node: Node) -> tuple[Value, Value] | None:
    """The map and the vector for each sample whose product a node is; None of others."""
    op, whole = node.op, node.output
    if not isinstance(op, Elementwise) or op.outputs != (PRODUCT,) or op.reductions:
        return None
    for x, factors in (node.inputs, node.inputs[::-1]):
        several = (x.batched, factors.batched, x.samples, factors.samples)
        if several != (True, True, whole.samples, whole.samples):
            continue
        ones = (1,) * len(whole.space)
        if x.shape == whole.shape and factors.shape in (whole.shape[:1], whole.shape[:1] + ones):
            return x, factors
    return None


def _weighted(x: Value, factors: Value, node: Node) -> list[Node]:
    """The product that a gated map and a convolution become."""
    op, (_, weight, *rest) = node.op, node.inputs
    assert isinstance(op, Convolve)
    # The weight as a map: its channels are the outputs, its positions the inputs.
    wide = (1, *weight.shape[1:])
    row = Value(f"{node.output.name}.gate", wide, samples=x.samples)
    scaled = Value(f"{node.output.name}.weight", weight.shape, samples=x.samples)
    letters = LETTERS[: len(x.space)]
    ones = letters.upper()[: len(weight.shape) - 2]  # of a linear layer the weight has none
    formula = operand(0)
    others = [operand(1 + i) for i in range(len(rest))]
    if op.bias:
        formula = formula + others.pop(0)
    if op.epilogue is not None:
        formula = op.epilogue.replaced([formula, *others])
    product = Contract(
        f"s{letters}c",
        f"sc{ones}o",
        f"s{letters}o",
        epilogue=formula if rest or op.epilogue is not None else None,
    )
    return [
        Node(View(), (factors,), (row,), node.layer),
        Node(Elementwise(weight.shape, (PRODUCT,)), (weight, row), (scaled,), node.layer),
        replace(node, op=product, inputs=(x, scaled, *rest), kind=None),
    ]
