"""The gradients of products of two values: products with the labels exchanged."""

from collections.abc import Sequence
from dataclasses import replace

from faltung.geometry.errors import FaltungError
from faltung.graph.backward import Backward
from faltung.graph.contracted import labelled
from faltung.graph.ops import Contract
from faltung.graph.value import Node, Value


def contract(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """The gradient for one operand is the product of that for the result and the other operand.

    An operand without a batch has the sum over the batch, as its product has no batch either.
    ValueError: a label that only this operand has, or has twice.
    """
    op, g = node.op, grads[0]
    assert isinstance(op, Contract) and g is not None
    x, y = node.inputs[:2]
    sizes = labelled(op, (x, y), node.output).sizes
    for value, other, own, rest in ((x, y, op.a, op.b), (y, x, op.b, op.a)):
        if not b.needs(value):
            continue
        if len(set(own)) < len(own) or not set(own) <= {*op.out, *rest}:
            raise FaltungError(
                f"labels={own!r}: one that only one operand has, or has twice, has no gradient; "
                "sum over it first"
            )
        made = product(b, Contract(op.out, rest, own, sizes), (g, other), value)
        b.give(value, made)


def product(b: Backward, op: Contract, operands: Sequence[Value], like: Value) -> Value:
    """A product in the form of the value ``like``."""
    (made,) = b.nodes.add(op, operands, like.shape, batched=like.batched)
    made = replace(made, samples=like.samples)
    b.nodes.made[-1] = replace(b.nodes.made[-1], outputs=(made,))
    return made
