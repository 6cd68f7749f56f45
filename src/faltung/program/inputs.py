"""How the input of a network lies: as people have it where convolutions can read it so."""

from collections.abc import Sequence
from dataclasses import replace

from faltung.graph.ops import Convolve, ConvolveWeight, Reorder
from faltung.graph.value import Node, Value


def arrival(value: Value, nodes: Sequence[Node]) -> tuple[tuple[Node, ...], str]:
    """The nodes, and the name of the input if it lies channels first.

    Convolutions read any order; for others a first node brings the channels to the end.
    """
    if value.kind != "float" or value.positions == 1 or value.channels == 1:
        return tuple(nodes), ""
    if all(_reads_any(node, value) for node in nodes if value in node.inputs):
        return tuple(nodes), value.name
    last = Value(f"{value.name}.last", value.shape)
    moved = [
        replace(node, inputs=tuple(last if v == value else v for v in node.inputs))
        for node in nodes
    ]
    return (Node(Reorder(), (value,), (last,), "input"), *moved), value.name


def _reads_any(node: Node, value: Value) -> bool:
    """Whether the value is the input of a convolution, and nothing else, in this node."""
    if not isinstance(node.op, Convolve | ConvolveWeight):
        return False
    return node.inputs[0] == value and value not in node.inputs[1:]
