"""The gradients of products of two values, which are products with the labels exchanged, and of
attention.
"""

from collections.abc import Sequence
from dataclasses import replace

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, operand, unary
from faltung.graph.attended import attended
from faltung.graph.backward import Backward
from faltung.graph.broadcast import spread_over
from faltung.graph.contracted import labelled
from faltung.graph.ops import Attention, Contract, Elementwise, GroupMean, Op, View
from faltung.graph.value import Node, Value

A, B, C = map(operand, range(3))


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


def attention(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """With the weights p = softmax(s) and their gradient g: ds = p (g - sum over the keys of g p),
    and s = scale q k^T, or c tanh(scale q k^T / c). Attention that weighs values has been expanded.
    """
    op, g, p = node.op, grads[0], node.output
    assert isinstance(op, Attention) and op.weights and g is not None
    q, k, *masks = node.inputs
    found = attended(op, node.inputs)
    sizes = (
        *(("s", found.samples), ("g", op.kv_heads), ("r", op.heads // op.kv_heads)),
        *(("l", found.queries), ("m", found.keys), ("d", found.length)),
    )
    terms = formula(b, A * B, (g, p), p)
    mean = product(b, GroupMean(1), (terms,), p)
    slope = B * (A - C * float(found.keys))
    along = formula(b, slope, (g, p, mean), p)
    for mask in masks:
        if b.needs(mask):
            b.give(mask, _of_mask(b, mask, along))
    if not (b.needs(q) or b.needs(k)):
        return
    factor = A * op.scale
    operands = [along]
    if op.softcap:
        scores = product(b, Contract("slgrd", "smgd", "sgrlm", sizes), (q, k), p)
        capped = unary("tanh", B * (op.scale / op.softcap))
        factor, operands = factor * (1 - capped * capped), [along, scores]
    along = formula(b, factor, operands, p)
    if b.needs(q):
        b.give(q, product(b, Contract("sgrlm", "smgd", "slgrd", sizes), (along, k), q))
    if b.needs(k):
        b.give(k, product(b, Contract("sgrlm", "slgrd", "smgd", sizes), (along, q), k))


def _of_mask(b: Backward, mask: Value, grad: Value) -> Value:
    """The sum of what a mask was added to; ``grad`` is of the form of the weights."""
    if (mask.shape, mask.samples, mask.batched) == (grad.shape, grad.samples, grad.batched):
        return grad
    if mask.samples in (1, grad.samples):
        op = spread_over(mask, grad)
        assert op is not None
        return product(b, op, (grad,), mask)
    # The samples of a mask that begins again are an axis of their own.
    again = replace(mask, shape=(mask.shape[0], mask.samples, *mask.shape[1:]), samples=1)
    keys, heads, queries = grad.shape
    whole = replace(
        grad,
        shape=(keys, mask.samples, heads, queries),
        samples=grad.samples // mask.samples,
    )
    seen = product(b, View(), (grad,), whole)
    op = spread_over(again, seen)
    return product(b, View(), (seen if op is None else product(b, op, (seen,), again),), mask)


def formula(b: Backward, expr: Expr, operands: Sequence[Value], like: Value) -> Value:
    """A formula of values of one form."""
    return product(b, Elementwise(like.shape, (expr,), batched=like.batched), operands, like)


def product(b: Backward, op: Op, operands: Sequence[Value], like: Value) -> Value:
    """What an operation makes, in the form of the value ``like``."""
    form = like.batched, like.samples
    return b.nodes.add(op, operands, like.shape, batched=form[0], samples=form[1])[0]
