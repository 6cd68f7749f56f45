"""Differentiation: from a graph to a graph that also computes a loss and every gradient.

Reverse accumulation (Linnainmaa, 1970): nodes are visited from the last to the first, and each adds
to the gradients of what it reads. One rule for each operation; the gradients of convolutions are
convolutions (`geometry/adjoint.py`), those of formulas are formulas (`geometry/expr.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from faltung.geometry.check import show
from faltung.geometry.expr import Expr, constant, derivative, operand
from faltung.graph.activations import slope_by_output
from faltung.graph.expand import Nodes, Statistics, expanded
from faltung.graph.ops import (
    Across,
    Concat,
    Convolve,
    ConvolveInput,
    ConvolveWeight,
    CrossEntropy,
    Embed,
    EmbedGrad,
    GroupMean,
    Local,
    LocalBias,
    LocalInput,
    LocalWeight,
    Pointwise,
    Pool,
    PoolGrad,
    Reshape,
    Slice,
    Softmax,
    Total,
)
from faltung.graph.value import Graph, Node, Value

A, B, C, D, E, F, G = map(operand, range(7))
LOSSES = ("cross_entropy", "mse")


@dataclass(frozen=True, slots=True)
class Training:
    """A graph that computes a loss and its gradients.

    target: labels (*space), or numbers of the output's shape. scales: (value, weight) of the
    numbers that the losses are multiplied with: weight / rows (mse: / rows / channels). smoothing:
    a number, for cross-entropy. losses: their sums over the batch, the main one first. correct:
    rows whose largest output is the label; None for mse. gradients: by the name of the parameter.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    target: Value
    scales: tuple[tuple[Value, float], ...]
    smoothing: Value
    losses: tuple[Value, ...]
    correct: Value | None
    gradients: dict[str, Value]


def differentiate(graph: Graph, loss: str = "cross_entropy") -> Training:
    """The training step of a graph that was built with ``training``.

    loss: "cross_entropy" (of softmax, over the channels) or "mse". ValueError: another loss, a
    graph for inference, parameters on which nothing depends.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss={show(loss)}: must be one of {', '.join(LOSSES)}")
    if not graph.training:
        raise ValueError("graph: must be built for training, not for inference")
    plain, statistics = expanded(graph)
    backward = _Backward(plain, statistics)
    heads = [(graph.output, 1.0), *((a.output, a.weight) for a in graph.auxiliaries)]
    output = graph.output
    labels = loss == "cross_entropy"
    shape = output.space if labels else output.shape
    target = Value("target", shape, kind="int" if labels else "float")
    smoothing = Value("smoothing", (), batched=False)
    scales, losses, correct = [], [], None
    for number, (head, weight) in enumerate(heads):
        if head.shape != output.shape:
            raise ValueError(
                f"auxiliary output of shape {head.shape}: must be that of the output, "
                f"{output.shape}"
            )
        backward.nodes.layer = f"loss{number or ''}"
        scale = Value(f"loss{number or ''}.scale", (), batched=False)
        total, right, grad = _LOSS[loss](backward.nodes, head, target, scale, smoothing)
        backward.give(head, grad)
        scales.append((scale, weight))
        losses.append(total)
        correct = correct or right
    backward.run()
    found = {p.name: backward.gradient(p.value) for p in graph.parameters if p.trained}
    unused = [name for name, value in found.items() if value is None]
    if unused:
        raise ValueError(f"net: nothing of the output depends on {', '.join(unused)}")
    gradients = {name: value for name, value in found.items() if value is not None}
    return Training(
        plain,
        (*plain.nodes, *backward.nodes.made),
        target,
        tuple(scales),
        smoothing,
        tuple(losses),
        correct,
        gradients,
    )


def sensitivity(graph: Graph, of: Value, to: Value) -> tuple[tuple[Node, ...], Value, Value]:
    """How a sum over the value ``of`` changes with the value ``to``, at inference.

    Returns the nodes of the graph and those that are added; the weights of the sum, a value of the
    shape of ``of`` that is given from outside; and the gradient. ValueError: ``of`` does not depend
    on ``to``.
    """
    backward = _Backward(graph, {})
    backward.require(to)
    weights = Value("weights of the sum", of.shape)
    backward.give(of, weights)
    backward.run()
    grad = backward.gradient(to)
    if grad is None:
        raise ValueError(f"to={to.name!r}: nothing of {of.name!r} depends on it")
    return (*graph.nodes, *backward.nodes.made), weights, grad


# Losses ------------------------------------------------------------------------------------------

Made = tuple[Value, Value | None, Value]


def _cross_entropy(
    nodes: Nodes, head: Value, target: Value, scale: Value, smoothing: Value
) -> Made:
    rows = (1, *head.space)
    losses, correct, grad = nodes.add(
        CrossEntropy(), (head, target, scale, smoothing), rows, rows, head.shape
    )
    total, right = nodes.totals(rows, (losses, correct), Total(A, "scalar"), Total(B, "scalar"))
    return total, right, grad


def _mse(nodes: Nodes, head: Value, target: Value, scale: Value, smoothing: Value) -> Made:
    away = A - B
    op = Pointwise(head.shape, (2 * C * away,), (Total(away * away, "scalar"),))
    grad, total = nodes.add(op, (head, target, scale), head.shape, ())
    total = replace(total, batched=False)
    nodes.made[-1] = replace(nodes.made[-1], outputs=(grad, total))
    return total, None, grad


_LOSS: dict[str, Callable[..., Made]] = {"cross_entropy": _cross_entropy, "mse": _mse}


# The pass ----------------------------------------------------------------------------------------


class _Backward:
    """Gradients in the making: for each value what its readers have given."""

    def __init__(self, graph: Graph, statistics: dict[str, Statistics]) -> None:
        self.nodes = Nodes("'")
        self.graph = graph
        self.statistics = statistics
        self._given: dict[str, list[Value]] = {}
        self._needed: set[str] = set()
        self.require(*(p.value for p in graph.parameters if p.trained))

    def require(self, *values: Value) -> None:
        """Gradients for these, and for all that depends on them, and for nothing else."""
        self._needed = {value.name for value in values}
        for node in self.graph.nodes:
            if any(value.name in self._needed for value in node.inputs):
                self._needed.update(value.name for value in node.outputs)

    def needs(self, value: Value) -> bool:
        return value.name in self._needed

    def give(self, value: Value, grad: Value) -> None:
        """Add to the gradient of ``value``."""
        self._given.setdefault(value.name, []).append(grad)

    def gradient(self, value: Value) -> Value | None:
        """The gradient, what was given summed; None where nobody gave any."""
        given = self._given.get(value.name)
        if not given:
            return None
        if len(given) > 1:
            total: Expr = A
            for number in range(1, len(given)):
                total = total + operand(number)
            batched = given[0].batched
            op = Pointwise(given[0].shape, (total,), batched=batched)
            given[:] = self.nodes.add(op, tuple(given), given[0].shape, batched=batched)
        return given[0]

    def run(self) -> None:
        for node in reversed(self.graph.nodes):
            if not any(map(self.needs, node.outputs)):
                continue
            self.nodes.layer = node.layer
            grads = [self.gradient(value) for value in node.outputs]
            if all(grad is None for grad in grads):
                continue  # also the inside of a normalisation, which has one rule for all of it
            if node.output.name in self.statistics:
                _normalise(self, node, grads[0])
                continue
            _RULES[type(node.op)](self, node, grads)

    def bias(self, value: Value, grad: Value) -> None:
        """The gradient of what was added to every position of a channel."""
        if self.needs(value):
            (total,) = self.nodes.totals(grad.shape, (grad,), Total(A, "channel"))
            self.give(value, total)

    def weight(self, op: ConvolveWeight, value: Value, x: Value, grad: Value) -> None:
        if self.needs(value):
            (made,) = self.nodes.add(op, (x, grad), value.shape, batched=False)
            self.give(value, made)


Grads = Sequence[Value | None]


def _only(grads: Grads) -> Value:
    assert grads[0] is not None
    return grads[0]


def _convolve(b: _Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, Convolve)
    x, w, *bias = node.inputs
    for value in bias:
        b.bias(value, g)
    b.weight(ConvolveWeight(op.spec), w, x, g)
    if b.needs(x):
        b.give(x, *b.nodes.add(ConvolveInput(op.spec), (g, w), x.shape))


def _convolve_input(b: _Backward, node: Node, grads: Grads) -> None:
    """The transpose of a convolution reads with the convolution itself."""
    op, g = node.op, _only(grads)
    assert isinstance(op, ConvolveInput)
    x, w, *bias = node.inputs
    for value in bias:
        b.bias(value, g)
    b.weight(ConvolveWeight(op.spec), w, g, x)
    if b.needs(x):
        b.give(x, *b.nodes.add(Convolve(op.spec), (g, w), x.shape))


def _local(b: _Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, Local)
    x, w, *bias = node.inputs
    for value in bias:
        (total,) = b.nodes.add(LocalBias(op.spec), (g,), value.shape, batched=False)
        b.give(value, total)
    (made,) = b.nodes.add(LocalWeight(op.spec), (x, g), w.shape, batched=False)
    b.give(w, made)
    if b.needs(x):
        b.give(x, *b.nodes.add(LocalInput(op.spec), (g, w), x.shape))


def _across(b: _Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, Across)
    turned = Across(op.weight[::-1], len(op.weight) - 1 - op.lo)
    b.give(node.inputs[0], *b.nodes.add(turned, (g,), g.shape))


def _pointwise(b: _Backward, node: Node, grads: Grads) -> None:
    """d of an operand: the sum over outputs of their gradient times the derivative of the formula;
    for an operand that was broadcast, summed over where it went.
    """
    op = node.op
    assert isinstance(op, Pointwise)
    inputs = node.inputs
    slope = slope_by_output(op.outputs[0]) if len(op.outputs) == 1 and not op.totals else None
    if slope is not None and len(inputs) == 1:
        g = _only(grads)
        made = Pointwise(op.shape, (A * slope.replaced([B]),), batched=op.batched)
        outputs = b.nodes.add(made, (g, node.output), op.shape, batched=op.batched)
        b.give(inputs[0], *outputs)
        return
    for number, value in enumerate(inputs):
        if not b.needs(value):
            continue
        formula, extra = _chain(op, number, len(inputs), grads)
        if formula.value == 0:
            continue  # the formula does not read it
        formula, operands = trimmed(formula, [*inputs, *extra])
        if value.shape == op.shape and value.batched == op.batched:
            if formula.op == "operand":
                b.give(value, operands[0])
                continue
            made = Pointwise(op.shape, (formula,), batched=op.batched)
            b.give(value, *b.nodes.add(made, operands, op.shape, batched=op.batched))
            continue
        kind = "sample" if value.batched else "channel" if value.shape else "scalar"
        (total,) = b.nodes.totals(op.shape, operands, Total(formula, kind))
        b.give(value, total)


def trimmed(formula: Expr, operands: Sequence[Value]) -> tuple[Expr, list[Value]]:
    """The same formula over only those operands that it reads, each once."""
    names = [value.name for value in operands]
    first = [names.index(name) for name in names]
    read = sorted({first[i] for i in formula.operands()})
    places = [operand(read.index(i)) if i in read else A for i in first]
    return formula.replaced(places), [operands[i] for i in read]


def _chain(op: Pointwise, number: int, count: int, grads: Grads) -> tuple[Expr, list[Value]]:
    """The chain rule for one operand, and the gradients that it reads after the operands."""
    total: Expr = constant(0)
    extra: list[Value] = []
    for expr, grad in zip(op.outputs, grads, strict=False):
        if grad is not None:
            total = total + operand(count + len(extra)) * derivative(expr, number)
            extra.append(grad)
    positions = 1
    for size in op.shape[1:]:
        positions *= size
    for t, grad in zip(op.totals, grads[len(op.outputs) :], strict=True):
        if grad is None:
            continue
        if t.kind != "sample" and t.mean:
            raise ValueError(f"total={t}: a mean over the batch has no rule of its own")
        part = operand(count + len(extra)) * derivative(t.expr, number)
        total = total + (part * (1 / positions) if t.mean else part)
        extra.append(grad)
    return total, extra


def _normalise(b: _Backward, node: Node, g: Value | None) -> None:
    """With h = (x - mean) rstd and v = g gain: dx = rstd (v - mean(v) - h mean(v h)), the means
    over what the statistics were taken of.
    """
    assert g is not None
    found = b.statistics[node.output.name]
    if found.scale is not None:
        _normalise_batch(b, node, g, found, found.scale)
        return
    x, mean, rstd, gain, shift = node.inputs
    h = (B - C) * D
    shift_grad, gain_grad = b.nodes.totals(
        x.shape, (g, x, mean, rstd), Total(A, "channel"), Total(A * h, "channel")
    )
    b.give(shift, shift_grad)
    b.give(gain, gain_grad)
    if not b.needs(x):
        return
    v = A * E
    op = _group_op(b, mean)
    if mean.shape == x.shape and x.space:
        shapes = (x.shape, x.shape)
        parts = b.nodes.add(Pointwise(x.shape, (v, v * h)), (g, x, mean, rstd, gain), *shapes)
    else:
        parts = tuple(
            b.nodes.totals(
                x.shape,
                (g, x, mean, rstd, gain),
                Total(v, "sample", mean=True),
                Total(v * h, "sample", mean=True),
            )
        )
    means = [b.nodes.add(op, (part,), part.shape)[0] for part in parts]
    formula = D * (v - F - h * G)
    made = Pointwise(x.shape, (formula,))
    b.give(x, *b.nodes.add(made, (g, x, mean, rstd, gain, *means), x.shape))


def _group_op(b: _Backward, mean: Value) -> GroupMean:
    """The operation that made a mean."""
    for node in b.graph.nodes:
        if node.output == mean:
            assert isinstance(node.op, GroupMean)
            return node.op
    raise ValueError(f"mean={mean.name}: is not in the graph")


def _normalise_batch(b: _Backward, node: Node, g: Value, found: Statistics, scale: Value) -> None:
    x = node.inputs[0]
    names = {n.output.name: n for n in b.graph.nodes}
    gain, shift = names[found.mean.name].inputs[3:5]
    shift_grad, gain_grad = b.nodes.totals(
        x.shape,
        (g, x, found.mean, found.rstd),
        Total(A, "channel"),
        Total(A * ((B - C) * D), "channel"),
    )
    b.give(shift, shift_grad)
    b.give(gain, gain_grad)
    if not b.needs(x):
        return
    rows = Value(f"rows*{x.positions}", (x.positions,), batched=False, kind="rows")
    along, constant_part = b.nodes.vectors(
        (scale, found.rstd, gain_grad, shift_grad, rows), -(A * B * C / E), -(A * D / E)
    )
    formula = A * B + C * (D - E) + F
    operands = (g, scale, along, x, found.mean, constant_part)
    b.give(x, *b.nodes.add(Pointwise(x.shape, (formula,)), operands, x.shape))


def _pool(b: _Backward, node: Node, grads: Grads) -> None:
    op, g = node.op, _only(grads)
    assert isinstance(op, Pool)
    operands = (g, *node.outputs[1:])
    b.give(node.inputs[0], *b.nodes.add(PoolGrad(op.spec), operands, node.inputs[0].shape))


def _concat(b: _Backward, node: Node, grads: Grads) -> None:
    start, g = 0, _only(grads)
    for value in node.inputs:
        if b.needs(value):
            b.give(value, *b.nodes.add(Slice(start), (g,), value.shape))
        start += value.channels


def _reshape(b: _Backward, node: Node, grads: Grads) -> None:
    b.give(node.inputs[0], *b.nodes.add(Reshape(), (_only(grads),), node.inputs[0].shape))


def _embed(b: _Backward, node: Node, grads: Grads) -> None:
    op, (tokens, table) = node.op, node.inputs
    assert isinstance(op, Embed)
    made = EmbedGrad(table.shape[0], op.padding_index)
    b.give(table, *b.nodes.add(made, (tokens, _only(grads)), table.shape, batched=False))


def _softmax(b: _Backward, node: Node, grads: Grads) -> None:
    """dx = y (g - sum over the channels of g y)."""
    g, y = _only(grads), node.output
    (product,) = b.nodes.add(Pointwise(y.shape, (A * B,)), (g, y), y.shape)
    (mean,) = b.nodes.add(GroupMean(1), (product,), y.shape)
    formula = B * (A - C * float(y.channels))
    b.give(node.inputs[0], *b.nodes.add(Pointwise(y.shape, (formula,)), (g, y, mean), y.shape))


_RULES: dict[type, Callable[[_Backward, Node, Grads], None]] = {
    Convolve: _convolve,
    ConvolveInput: _convolve_input,
    Local: _local,
    Across: _across,
    Pointwise: _pointwise,
    Pool: _pool,
    Concat: _concat,
    Reshape: _reshape,
    Embed: _embed,
    Softmax: _softmax,
}
