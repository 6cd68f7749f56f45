"""The rules of differentiation: for each operation the gradients of its inputs from those of its
outputs. The gradients of convolutions are convolutions, those of formulas are formulas.
"""

from collections.abc import Callable, Sequence

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, constant, derivative, operand
from faltung.graph.activations import slope_by_output
from faltung.graph.backward import Backward, trimmed
from faltung.graph.gradient_contract import attention, contract
from faltung.graph.gradient_recurrent import recurrence
from faltung.graph.gradient_reduce import arg, cumulative, give, reduce, softmax, top_k
from faltung.graph.gradient_resample import grid_sample, resample
from faltung.graph.ops import (
    Arg,
    Attention,
    ChannelConv,
    Concat,
    Contract,
    Convolve,
    ConvolveInput,
    ConvolveWeight,
    Cumulative,
    Elementwise,
    Embed,
    EmbedGrad,
    GridSample,
    LocallyConnected,
    LocallyConnectedBias,
    LocallyConnectedInput,
    LocallyConnectedWeight,
    Permute,
    Pool,
    PoolGrad,
    Recurrence,
    Reduce,
    Reduction,
    Resample,
    Reshape,
    Slice,
    Softmax,
    TopK,
    View,
)
from faltung.graph.value import Node, Value

A, B, C, D, E, F, G = map(operand, range(7))
Grads = Sequence[Value | None]


def _only(grads: Grads) -> Value:
    assert grads[0] is not None
    return grads[0]


def _convolve(b: Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, Convolve)
    x, w, *bias = node.inputs
    for value in bias:
        b.bias(value, g)
    b.weight(ConvolveWeight(op.spec), w, x, g)
    if b.needs(x):
        b.give(x, *b.nodes.add(ConvolveInput(op.spec), (g, w), x.shape))


def _convolve_input(b: Backward, node: Node, grads: Grads) -> None:
    """The gradient of a transposed convolution is the convolution itself."""
    op, g = node.op, _only(grads)
    assert isinstance(op, ConvolveInput)
    x, w, *bias = node.inputs
    for value in bias:
        b.bias(value, g)
    b.weight(ConvolveWeight(op.spec), w, g, x)
    if b.needs(x):
        b.give(x, *b.nodes.add(Convolve(op.spec), (g, w), x.shape))


def _local(b: Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, LocallyConnected)
    x, w, *bias = node.inputs
    for value in bias:
        (total,) = b.nodes.add(LocallyConnectedBias(op.spec), (g,), value.shape, batched=False)
        b.give(value, total)
    (made,) = b.nodes.add(LocallyConnectedWeight(op.spec), (x, g), w.shape, batched=False)
    b.give(w, made)
    if b.needs(x):
        b.give(x, *b.nodes.add(LocallyConnectedInput(op.spec), (g, w), x.shape))


def _channel_conv(b: Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, ChannelConv)
    adjoint = ChannelConv(op.weight[::-1], len(op.weight) - 1 - op.lo)
    b.give(node.inputs[0], *b.nodes.add(adjoint, (g,), g.shape))


def _elementwise(b: Backward, node: Node, grads: Grads) -> None:
    """For each operand the sum over outputs of gradient times derivative, and for an operand that
    was broadcast the sum over all places that it was broadcast to.
    """
    op = node.op
    assert isinstance(op, Elementwise)
    inputs = node.inputs
    made_of = (*inputs, *node.outputs[: len(op.outputs)])
    whole = Value("", op.shape, op.batched, samples=max(value.samples for value in made_of))
    samples = whole.samples
    slope = slope_by_output(op.outputs[0]) if len(op.outputs) == 1 and not op.reductions else None
    if slope is not None and len(inputs) == 1 and _alike(inputs[0], whole):
        g = _only(grads)
        made = Elementwise(op.shape, (A * slope.replaced([B]),), batched=op.batched)
        read = (g, node.output)
        grad = b.nodes.add(made, read, op.shape, batched=op.batched, samples=samples)
        b.give(inputs[0], *grad)
        return
    for number, value in enumerate(inputs):
        if not b.needs(value):
            continue
        formula, extra = _chain(op, number, len(inputs), grads)
        if formula.value == 0:
            continue  # the formula does not read it
        formula, operands = trimmed(formula, [*inputs, *extra])
        if _alike(value, whole):
            if formula.op == "operand" and _alike(operands[0], whole):
                b.give(value, operands[0])
                continue
            made = Elementwise(op.shape, (formula,), batched=op.batched)
            grad = b.nodes.add(made, operands, op.shape, batched=op.batched, samples=samples)
            b.give(value, *grad)
            continue
        kind = _sum_kind(value, whole)
        if kind is None:
            give(b, value, whole, formula, operands)
            continue
        (total,) = b.nodes.reduce(op.shape, operands, Reduction(formula, kind))
        b.give(value, total)


def _alike(value: Value, whole: Value) -> bool:
    """Whether a value is a map like ``whole``, not one that is broadcast to it."""
    return (value.shape, value.batched, value.samples) == (
        whole.shape,
        whole.batched,
        whole.samples,
    )


def _sum_kind(value: Value, whole: Value) -> str | None:
    """Which sum of a map like ``whole`` an operand like ``value`` gets; None: one of no kind."""
    if value.batched:
        same = value.shape == whole.shape[:1] and value.samples == whole.samples
        return "sample" if same else None
    if value.samples > 1 or value.shape not in ((), whole.shape[:1]):
        return None
    return "channel" if value.shape else "scalar"


def _chain(op: Elementwise, number: int, count: int, grads: Grads) -> tuple[Expr, list[Value]]:
    """The chain rule for one operand, and the gradients to append to the operands."""
    total: Expr = constant(0)
    extra: list[Value] = []
    for expr, grad in zip(op.outputs, grads, strict=False):
        if grad is not None:
            total = total + operand(count + len(extra)) * derivative(expr, number)
            extra.append(grad)
    positions = 1
    for size in op.shape[1:]:
        positions *= size
    for t, grad in zip(op.reductions, grads[len(op.outputs) :], strict=True):
        if grad is None:
            continue
        if t.kind != "sample" and t.mean:
            raise FaltungError(f"total={t}: a mean over the batch has no rule of its own")
        part = operand(count + len(extra)) * derivative(t.expr, number)
        total = total + (part * (1 / positions) if t.mean else part)
        extra.append(grad)
    return total, extra


def _pool(b: Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, Pool)
    operands = (g, *node.outputs[1:])
    b.give(node.inputs[0], *b.nodes.add(PoolGrad(op.spec), operands, node.inputs[0].shape))


def _concat(b: Backward, node: Node, grads: Grads) -> None:
    start, g = 0, _only(grads)
    for value in node.inputs:
        if b.needs(value):
            b.give(value, *b.nodes.add(Slice(start), (g,), value.shape))
        start += value.channels


def _slice(b: Backward, node: Node, grads: Grads) -> None:
    op = node.op
    assert isinstance(op, Slice)
    b.give_part(node.inputs[0], op.start, _only(grads))


def _reshape(b: Backward, node: Node, grads: Grads) -> None:
    b.give(node.inputs[0], *b.nodes.add(Reshape(), (_only(grads),), node.inputs[0].shape))


def _view(b: Backward, node: Node, grads: Grads) -> None:
    x = node.inputs[0]
    b.give(x, *b.nodes.add(View(), (_only(grads),), x.shape, samples=x.samples))


def _permute(b: Backward, node: Node, grads: Grads) -> None:
    op = node.op
    assert isinstance(op, Permute)
    back = Permute(
        tuple(op.dims[axis] for axis in op.axes),
        tuple(op.axes.index(axis) for axis in range(len(op.axes))),
    )
    x = node.inputs[0]
    b.give(x, *b.nodes.add(back, (_only(grads),), x.shape, samples=x.samples))


def _embed(b: Backward, node: Node, grads: Grads) -> None:
    op, (tokens, table) = node.op, node.inputs
    assert isinstance(op, Embed)
    made = EmbedGrad(table.shape[0], op.padding_index)
    b.give(table, *b.nodes.add(made, (tokens, _only(grads)), table.shape, batched=False))


RULES: dict[type, Callable[[Backward, Node, Grads], None]] = {
    Convolve: _convolve,
    ConvolveInput: _convolve_input,
    LocallyConnected: _local,
    ChannelConv: _channel_conv,
    Attention: attention,
    Contract: contract,
    Elementwise: _elementwise,
    Reduce: reduce,
    Cumulative: cumulative,
    TopK: top_k,
    Arg: arg,
    Pool: _pool,
    Concat: _concat,
    Slice: _slice,
    Reshape: _reshape,
    View: _view,
    Permute: _permute,
    Resample: resample,
    GridSample: grid_sample,
    Embed: _embed,
    Softmax: softmax,
    Recurrence: recurrence,
}
