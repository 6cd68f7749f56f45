"""The gradients of reductions, running sums and softmax: what was reduced is spread again."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, at_least, constant, derivative, operand, select, unary
from faltung.graph.backward import Backward, trimmed
from faltung.graph.broadcast import joint, spread_over
from faltung.graph.ops import SAMPLES, Cumulative, Elementwise, Op, Reduce, Softmax, TopK, TopKGrad
from faltung.graph.value import Node, Value

A, B, C = map(operand, range(3))
Grads = Sequence[Value | None]


def give(b: Backward, value: Value, whole: Value, formula: Expr, operands: Sequence[Value]) -> None:
    """Add the formula, of operands that make an array like ``whole``, to the gradient of ``value``:
    summed where the value was broadcast.
    """
    formula, read = trimmed(formula, operands)
    if formula.value == 0:
        return
    total = spread_over(value, whole)
    made = joint(read)
    if total is None:
        b.give(value, _spread(b, whole, formula, read))
        return
    if (made.shape, made.batched, made.samples) != (whole.shape, whole.batched, whole.samples):
        formula, read = A, [_spread(b, whole, formula, read)]
    b.give(value, _like(b, replace(total, exprs=(formula,)), read, value))


def _spread(b: Backward, whole: Value, formula: Expr, read: Sequence[Value]) -> Value:
    """The formula at every element of an array like ``whole``."""
    op = Elementwise(whole.shape, (formula,), batched=whole.batched)
    return _like(b, op, read, whole)


def _like(b: Backward, op: Op, inputs: Sequence[Value], like: Value) -> Value:
    """The result of a new node, an array like another."""
    (made,) = b.nodes.add(op, inputs, like.shape, batched=like.batched)
    made = replace(made, samples=like.samples)
    b.nodes.made[-1] = replace(b.nodes.made[-1], outputs=(made,))
    return made


# Reductions ---------------------------------------------------------------------------------------


def reduce(b: Backward, node: Node, grads: Grads) -> None:
    op = node.op
    assert isinstance(op, Reduce)
    whole = joint(node.inputs)
    for expr, result, grad in zip(op.exprs, node.outputs, grads, strict=True):
        if grad is None:
            continue
        if op.finish != A:
            result, grad = _unfinished(b, op, node.inputs, expr, result, grad)
        plain = replace(op, finish=A)
        slope, extra = _SLOPES[op.kind](b, plain, node.inputs, expr, result, grad)
        for number, value in enumerate(node.inputs):
            if b.needs(value):
                formula = slope * derivative(expr, number)
                give(b, value, whole, formula, [*node.inputs, *extra])


def _unfinished(
    b: Backward, op: Reduce, inputs: Sequence[Value], expr: Expr, result: Value, grad: Value
) -> tuple[Value, Value]:
    """The result before the last formula, and the gradient for it."""
    plain = _like(b, replace(op, exprs=(expr,), finish=A), inputs, result)
    return plain, _spread(b, result, B * derivative(op.finish, 0), (plain, grad))


def _sum(
    b: Backward, op: Reduce, inputs: Sequence[Value], expr: Expr, result: Value, grad: Value
) -> tuple[Expr, list[Value]]:
    """The gradient, as a formula of ``inputs`` and of what is returned with it."""
    return operand(len(inputs)), [grad]


def _mean(
    b: Backward, op: Reduce, inputs: Sequence[Value], expr: Expr, result: Value, grad: Value
) -> tuple[Expr, list[Value]]:
    whole, g = joint(inputs), len(inputs)
    count = prod(whole.shape[axis] for axis in op.axes if axis != SAMPLES)
    if op.batch or SAMPLES in op.axes:
        count *= whole.samples
    if op.batch and whole.batched:
        rows = Value(f"rows*{count}", (count,), batched=False, kind="rows")
        return operand(g) / operand(g + 1), [grad, rows]
    return operand(g) * (1 / count), [grad]


def _extreme(
    b: Backward, op: Reduce, inputs: Sequence[Value], expr: Expr, result: Value, grad: Value
) -> tuple[Expr, list[Value]]:
    """All entries that are as large get an equal share, as in PyTorch's ``amax``."""
    term, top = expr, operand(len(inputs))
    reached = at_least(term, top) if op.kind == "max" else at_least(top, term)
    here = select(reached, constant(1), constant(0))
    count = replace(op, kind="sum", exprs=(here,))
    number = _like(b, count, (*inputs, result), result)
    share = _spread(b, result, A / B, (grad, number))
    return select(reached, operand(len(inputs) + 1), 0), [result, share]


def _product(
    b: Backward, op: Reduce, inputs: Sequence[Value], expr: Expr, result: Value, grad: Value
) -> tuple[Expr, list[Value]]:
    """The gradient times the product of all others, also where some are zero: of those before and
    those after, axis by axis.
    """
    if op.batch or SAMPLES in op.axes:
        raise FaltungError("kind='product': over samples has no gradient")
    whole = joint(inputs)
    factors = [_spread(b, whole, expr, inputs)]
    for axis in op.axes[:-1]:
        x = factors[-1]
        shape = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
        factors.append(_like(b, Reduce((axis,), "product"), (x,), replace(x, shape=shape)))
    for axis, x in zip(reversed(op.axes), reversed(factors), strict=True):
        before, after = (
            _like(b, Cumulative(axis, "product", exclusive=True, reverse=reverse), (x,), x)
            for reverse in (False, True)
        )
        grad = _spread(b, x, A * (B * C), (grad, before, after))
    return operand(len(inputs)), [grad]


def _log_sum_exp(
    b: Backward, op: Reduce, inputs: Sequence[Value], expr: Expr, result: Value, grad: Value
) -> tuple[Expr, list[Value]]:
    """The gradient times the probabilities."""
    count = len(inputs)
    return operand(count) * unary("exp", expr - operand(count + 1)), [grad, result]


_SLOPES = {
    "sum": _sum,
    "mean": _mean,
    "max": _extreme,
    "min": _extreme,
    "product": _product,
    "log_sum_exp": _log_sum_exp,
}


def top_k(b: Backward, node: Node, grads: Grads) -> None:
    """The gradients of the values go to where these came from; places have none."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, TopK)
    if grads[0] is not None:
        given = (grads[0], node.outputs[1])
        b.give(x, _like(b, TopKGrad(op.axis, x.shape[op.axis]), given, x))


def arg(b: Backward, node: Node, grads: Grads) -> None:
    """Where the largest is does not change by a little."""


def softmax(b: Backward, node: Node, grads: Grads) -> None:
    """dx = y (g - sum of g y), and with the logarithm g - e**y sum of g."""
    op, y, (g,) = node.op, node.output, grads
    assert isinstance(op, Softmax)
    assert g is not None
    shape = tuple(1 if axis in op.axes else size for axis, size in enumerate(y.shape))
    term, formula = (A, A - unary("exp", B) * C) if op.log else (A * B, B * (A - C))
    term, read = trimmed(term, [g, y])
    (total,) = b.nodes.add(Reduce(op.axes, "sum", (term,)), read, shape)
    b.give(node.inputs[0], *b.nodes.add(Elementwise(y.shape, (formula,)), (g, y, total), y.shape))


# Running sums -------------------------------------------------------------------------------------


def cumulative(b: Backward, node: Node, grads: Grads) -> None:
    """Every entry has a part in all that come after it: a running sum from the other end."""
    op, (g,) = node.op, grads
    assert isinstance(op, Cumulative)
    assert g is not None
    if op.kind != "sum":
        raise FaltungError(
            f"kind={op.kind!r}: of running sums and products only sums have a gradient"
        )
    x = node.inputs[0]
    b.give(x, _like(b, replace(op, reverse=not op.reverse), (g,), x))
