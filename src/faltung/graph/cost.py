"""How much a node of a graph computes: multiplications with an addition each, and numbers moved."""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.graph import ops
from faltung.graph.attended import attended
from faltung.graph.contracted import labelled
from faltung.graph.value import Node


def macs(node: Node) -> int:
    """Multiply-accumulates for one sample of the batch; 0 for what is not a sum of products."""
    op = node.op
    if isinstance(op, ops.Recurrent):
        return op.layer.macs(node.inputs[0].channels)
    if isinstance(op, ops.Recurrence):  # the products with the inputs are convolutions
        return op.layer.macs(0)
    if isinstance(op, ops.Contract):
        a, b = node.inputs[:2]
        return prod(size for _, size in labelled(op, (a, b), node.output).sizes)
    if isinstance(op, ops.Attention):
        found = attended(op, node.inputs)
        pairs = found.samples * op.heads * found.queries * found.keys
        return pairs * (found.length + found.channels)
    spec = getattr(op, "spec", None)
    if isinstance(spec, ConvSpec):
        return spec.macs * max(value.samples for value in (*node.inputs, *node.outputs))
    return 0


def numbers(node: Node) -> tuple[int, int]:
    """Numbers that are read and written: for each sample of the batch, and once for all of them."""
    values = {value.name: value for value in (*node.inputs, *node.outputs)}.values()
    each = sum(value.size for value in values if value.batched)
    return each, sum(value.size for value in values if not value.batched)
