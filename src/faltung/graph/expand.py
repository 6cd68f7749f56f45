"""Composite operations taken apart into simpler ones: normalisation, dropout, max pooling,
recurrent layers.

What a backward pass needs of a normalisation is kept as ``Statistics``.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from faltung.geometry.conv import Float, conv_spec
from faltung.geometry.expr import Expr, at_least, maximum, operand, random, select, unary
from faltung.geometry.record import dataclass
from faltung.graph.absorb import absorbed
from faltung.graph.attended import attended
from faltung.graph.ops import (
    Attention,
    Concat,
    Contract,
    Convolve,
    Dropout,
    Elementwise,
    FirstPosition,
    GroupMean,
    Normalise,
    Op,
    Pool,
    Recurrence,
    Recurrent,
    Reduce,
    Reduction,
    Slice,
    Softmax,
)
from faltung.graph.recurrent import Part, alike, inputs_of, only, shapes
from faltung.graph.value import Graph, Node, Value, samples_of
from faltung.methods.rows.normalise import fits

A, B, C, D, E, F, G, H = map(operand, range(8))
# The largest finite numbers.
LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


@dataclass(frozen=True, slots=True)
class Statistics:
    """What ``node``, a normalisation, found: the mean, unless it leaves that as it is, 1 / standard
    deviation, and for batches gain * rstd.
    """

    node: Node
    mean: Value | None
    rstd: Value
    scale: Value | None = None


class Nodes:
    """A list of nodes under construction, layer by layer."""

    def __init__(self, stem: str) -> None:
        self.made: list[Node] = []
        self.layer = ""
        self._stem = stem

    def add(
        self,
        op: Op,
        inputs: Sequence[Value],
        *shapes: tuple[int, ...],
        batched: bool = True,
        samples: int | None = None,
    ) -> tuple[Value, ...]:
        """A new node; a value for each shape. samples: where they are not those of the inputs."""
        number = len(self.made)
        count = samples_of(inputs, batched) if samples is None else samples
        values = tuple(
            Value(f"{self.layer}{self._stem}{number}{'_' * i}", shape, batched, samples=count)
            for i, shape in enumerate(shapes)
        )
        self.made.append(Node(op, tuple(inputs), values, self.layer))
        return values

    def reduce(
        self, shape: tuple[int, ...], inputs: Sequence[Value], *reductions: Reduction
    ) -> list[Value]:
        """Sums of formulas over a map."""
        channels = shape[:1]
        shapes = {"channel": channels, "sample": channels, "scalar": ()}
        names = self.add(
            Elementwise(shape, (), reductions), inputs, *(shapes[each.kind] for each in reductions)
        )
        made = [
            value if each.kind == "sample" else replace(value, batched=False, samples=1)
            for value, each in zip(names, reductions, strict=True)
        ]
        self.made[-1] = replace(self.made[-1], outputs=tuple(made))
        return made

    def vectors(self, inputs: Sequence[Value], *formulas: object) -> tuple[Value, ...]:
        """Formulas of vectors of channels that have no batch."""
        shape = next(value.shape for value in inputs if value.kind == "float" and value.shape)
        op = Elementwise(shape, formulas, batched=False)  # type: ignore[arg-type]
        return self.add(op, inputs, *(shape for _ in formulas), batched=False)


def expanded(
    graph: Graph, frozen: Collection[str] = ()
) -> tuple[Graph, dict[str, Statistics | Node]]:
    """The graph in simpler operations, and by the names of their results what was taken apart but
    has a gradient of its own: normalisations as their statistics, others as the node. Paddings are
    absorbed first.

    Batch normalisation at inference stays: it is folded into the convolution before it. In training
    it uses its running statistics where it is said to, or one of its parameters is frozen.
    """
    graph = absorbed(graph)
    nodes = Nodes("~")
    found: dict[str, Statistics | Node] = {}
    updates: list[tuple[Value, Value]] = list(graph.updates)
    for node in graph.nodes:
        nodes.layer = node.layer
        op = node.op
        if graph.training and (is_frozen(node, frozen) or _is_settled(node)):
            _frozen(nodes, node)
        elif isinstance(op, Normalise) and op.over in ("position", "axes"):
            if not by_rows(op, node.inputs, graph.dtype):
                found[node.output.name] = _axes(nodes, node, op)
            elif graph.training:
                found[node.output.name] = _rows(nodes, node, op)
            else:
                nodes.made.append(node)
        elif isinstance(op, Normalise) and not _is_settled(node):
            found[node.output.name] = _NORMALISE[op.over](nodes, node, op, updates)
        elif isinstance(op, Softmax) and set(op.axes) != {0}:
            _softmax(nodes, node, op)
            found[node.output.name] = node
        elif isinstance(op, Reduce) and op.kind == "log_sum_exp":
            parts = _log_sum_exp(nodes, node, op, graph.dtype)
            found |= {part.output.name: part for part in parts}
        elif isinstance(op, Dropout):
            keep = at_least(random(B), op.rate)
            formula = select(keep, A * (1 / (1 - op.rate)), 0)
            nodes.made.append(replace(node, op=Elementwise(node.output.shape, (formula,))))
        elif isinstance(op, Attention) and not op.weights and graph.training:
            _attention(nodes, node, op)
        elif isinstance(op, Pool) and op.spec.kind == "max" and graph.training:
            index = replace(node.output, name=f"{node.output.name}.index", kind="index")
            indexed = replace(op, indexed=True)
            nodes.made.append(replace(node, op=indexed, outputs=(node.output, index)))
        elif isinstance(op, Recurrent):
            _recurrent(nodes, node, op, graph.dtype, graph.training)
        else:
            nodes.made.append(node)
    return replace(graph, nodes=tuple(nodes.made), updates=tuple(updates)), found


def is_frozen(node: Node, frozen: Collection[str]) -> bool:
    """Whether a node is a batch normalisation with a parameter among these names."""
    op = node.op
    if not isinstance(op, Normalise) or op.over != "batch":
        return False
    return any(value.name in frozen for value in node.inputs[1:])


def _is_settled(node: Node) -> bool:
    """Whether a node is a batch normalisation by its running statistics."""
    op = node.op
    return isinstance(op, Normalise) and op.over == "batch" and not op.training


def _frozen(nodes: Nodes, node: Node) -> None:
    """Batch normalisation as at inference: a scale and a shift of each channel."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Normalise)
    scale = A / unary("sqrt", D + op.eps)
    factors = nodes.vectors(node.inputs[1:], scale, B - C * scale)
    formula = Elementwise(x.shape, (A * B + C,))
    nodes.made.append(replace(node, op=formula, inputs=(x, *factors)))


def _batch(
    nodes: Nodes, node: Node, op: Normalise, updates: list[tuple[Value, Value]]
) -> Statistics:
    """One pass over x for both moments, after subtracting its first position: what is squared is
    then of the size of the deviations, so that nothing cancels.
    """
    x, gain, shift, *running = node.inputs
    (first,) = nodes.add(FirstPosition(), (x,), (x.channels,), batched=False)
    away = A - B
    m1, m2 = nodes.reduce(
        x.shape,
        (x, first),
        Reduction(away, "channel", mean=True),
        Reduction(away * away, "channel", mean=True),
    )
    variance = maximum(B - A * A, 0)
    rstd = 1 / unary("sqrt", variance + op.eps)
    mean = A + C
    formulas = [mean, rstd, rstd * D, E - mean * (rstd * D)]
    if running:
        unbiased = variance * (F / maximum(F - 1, 1))
        formulas += [G + op.momentum * (mean - G), H + op.momentum * (unbiased - H)]
    read = (m1, m2, first, gain, shift, *((rows_of(x), *running) if running else ()))
    mean_of, rstd_of, scale, offset, *new = nodes.vectors(read, *formulas)
    if len(node.outputs) > 1:  # those who asked for the statistics look after the running ones
        _, mean_of, rstd_of, *new = node.outputs
        values = (mean_of, rstd_of, scale, offset, *new)
        nodes.made[-1] = replace(nodes.made[-1], outputs=values)
    else:
        updates += zip(running, new, strict=True)
    made = Elementwise(x.shape, (A * B + C,))
    nodes.made.append(replace(node, op=made, inputs=(x, scale, offset), outputs=(node.output,)))
    return Statistics(node, mean_of, rstd_of, scale)


def rows_of(x: Value) -> Value:
    """The number of positions of all samples of a map."""
    count = x.samples * x.positions
    return Value(f"rows*{count}", (count,), batched=False, kind="rows")


def _group(
    nodes: Nodes, node: Node, op: Normalise, updates: list[tuple[Value, Value]]
) -> Statistics:
    x = node.inputs[0]
    channels = (x.channels,)
    (sums,) = nodes.reduce(x.shape, (x,), Reduction(A, "sample", mean=True))
    (mean,) = nodes.add(GroupMean(op.groups), (sums,), channels)
    (squares,) = nodes.reduce(x.shape, (x, mean), Reduction((A - B) * (A - B), "sample", mean=True))
    (variance,) = nodes.add(GroupMean(op.groups), (squares,), channels)
    return _apply(nodes, node, op, mean, variance, channels)


def _apply(
    nodes: Nodes, node: Node, op: Normalise, mean: Value, variance: Value, shape: tuple[int, ...]
) -> Statistics:
    x, gain, shift = node.inputs
    rstd_of = 1 / unary("sqrt", A + op.eps)
    (rstd,) = nodes.add(Elementwise(shape, (rstd_of,)), (variance,), shape)
    formula = (A - B) * C * D + E
    nodes.made.append(
        replace(node, op=Elementwise(x.shape, (formula,)), inputs=(x, mean, rstd, gain, shift))
    )
    return Statistics(node, mean, rstd)


def over_axes(op: Normalise) -> tuple[int, ...]:
    """The axes of a normalisation at each position, or over axes."""
    return (0,) if op.over == "position" else op.axes


def by_rows(op: Normalise, inputs: Sequence[Value], dtype: str) -> bool:
    """Whether a normalisation is one pass over rows of channels."""
    x, *affine = inputs
    if op.over not in ("position", "axes") or set(over_axes(op)) != {0}:
        return False
    vectors = all(v.shape == (x.channels,) and not v.batched for v in affine)
    return vectors and fits(x.channels, dtype)


def _kept_shape(x: Value, axes: Collection[int]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))


def _rows(nodes: Nodes, node: Node, op: Normalise) -> Statistics:
    """It stays as it is, but keeps mean and 1 / deviation."""
    x = node.inputs[0]
    mean, rstd = (
        Value(f"{node.output.name}.{name}", _kept_shape(x, (0,)), samples=x.samples)
        for name in ("mean", "rstd")
    )
    kept = (mean, rstd)[not op.centred :]
    nodes.made.append(replace(node, outputs=(node.output, *kept)))
    return Statistics(node, mean if op.centred else None, rstd)


def _axes(nodes: Nodes, node: Node, op: Normalise) -> Statistics:
    """The mean, then the mean of the squares of what is away from it: nothing cancels."""
    x, *affine = node.inputs
    axes = over_axes(op)
    shape = _kept_shape(x, axes)
    rstd_of = 1 / unary("sqrt", A + op.eps)
    mean, away = None, A
    read: tuple[Value, ...] = (x,)
    if op.centred:
        (mean,) = nodes.add(Reduce(axes, "mean"), (x,), shape)
        read, away = (x, mean), A - B
    (rstd,) = nodes.add(Reduce(axes, "mean", (away * away,), finish=rstd_of), read, shape)
    formula = away * operand(len(read))
    inputs = (*read, rstd, *affine)
    if affine:
        formula = formula * operand(len(read) + 1)
    if len(affine) > 1:
        formula = formula + operand(len(read) + 2)
    nodes.made.append(replace(node, op=Elementwise(x.shape, (formula,)), inputs=inputs))
    return Statistics(node, mean, rstd)


# Softmax over other axes than the channels, and sums of powers ------------------------------------


def _softmax(nodes: Nodes, node: Node, op: Softmax) -> None:
    (x,), shape = node.inputs, _kept_shape(node.inputs[0], op.axes)
    (top,) = nodes.add(Reduce(op.axes, "max"), (x,), shape)
    power = unary("exp", A - B)
    finish = unary("log", A) if op.log else A
    total = Reduce(op.axes, "sum", (power,), finish=finish)
    (sum_of,) = nodes.add(total, (x, top), shape)
    formula = A - B - C if op.log else power / C
    made = Elementwise(x.shape, (formula,))
    nodes.made.append(replace(node, op=made, inputs=(x, top, sum_of)))


def _log_sum_exp(nodes: Nodes, node: Node, op: Reduce, dtype: str) -> list[Node]:
    """The largest is subtracted first, so that the largest power is 1. Returns what has been taken
    apart: a node for each result, without its last formula.
    """
    count, largest = len(node.inputs), LARGEST[dtype]
    shape, batched = node.output.shape, node.output.batched

    def subtracted(top: Expr) -> Expr:
        """Of what is infinite nothing can be subtracted."""
        return select(at_least(largest, unary("abs", top)), top, 0)

    found = []
    for expr, output in zip(op.exprs, node.outputs, strict=True):
        one = replace(op, kind="max", exprs=(expr,), finish=A)
        (top,) = nodes.add(one, node.inputs, shape, batched=batched, samples=output.samples)
        power = unary("exp", expr - subtracted(operand(count)))
        total = replace(one, kind="sum", exprs=(power,), finish=unary("log", A))
        operands = (*node.inputs, top)
        (sum_of,) = nodes.add(total, operands, shape, batched=batched, samples=output.samples)
        made = Elementwise(shape, (A + subtracted(B),), batched=batched)
        result = output
        if op.finish != A:
            result = replace(output, name=f"{output.name}.plain")
        nodes.made.append(replace(node, op=made, inputs=(sum_of, top), outputs=(result,)))
        if op.finish != A:
            last = Elementwise(shape, (op.finish,), batched=batched)
            nodes.made.append(replace(node, op=last, inputs=(result,), outputs=(output,)))
        plain = replace(op, exprs=(expr,), finish=A)
        found.append(replace(node, op=plain, outputs=(result,)))
    return found


def _attention(nodes: Nodes, node: Node, op: Attention) -> None:
    """The weights of the keys, which the backward pass reads, and their product with the values."""
    q, k, v, *masks = node.inputs
    found = attended(op, node.inputs)
    shape = (found.keys, op.heads, found.queries)
    (made,) = nodes.add(
        replace(op, weights=True), (q, k, *masks), shape, batched=node.output.batched
    )
    made = replace(made, samples=found.samples)
    nodes.made[-1] = replace(nodes.made[-1], outputs=(made,))
    sizes = (
        *(("s", found.samples), ("g", op.kv_heads), ("r", op.heads // op.kv_heads)),
        *(("l", found.queries), ("m", found.keys), ("e", found.channels)),
    )
    product = Contract("sgrlm", "smge", "slgre", sizes)
    nodes.made.append(replace(node, op=product, inputs=(made, v)))


def _recurrent(nodes: Nodes, node: Node, op: Recurrent, dtype: Float, kept: bool) -> None:
    """The products of the inputs are convolutions; directions with the same formulas walk together,
    and what they make lies side by side.
    """
    spec, count = op.layer, len(node.outputs)
    parts, shared = inputs_of(op, node.inputs)
    found: dict[int, tuple[Value, ...]] = {}
    for numbers in alike(spec.activations):
        inputs: list[Value] = []
        for d in numbers:
            inputs += _direction(nodes, op, parts[d], shared, d, dtype)
        inputs += [shared[name] for name in ("lengths",) if name in shared]
        made = Recurrence(replace(only(spec, numbers), bias=False), kept)
        each = shapes(made)
        values = nodes.add(made, inputs, *each * len(numbers))
        values = tuple(replace(value, samples=shared["x"].samples) for value in values)
        for place, d in enumerate(numbers):
            found[d] = values[place * len(each) : (place + 1) * len(each)]
        if spec.directions == 1:
            values = found[0] = (*node.outputs, *values[count:])
        nodes.made[-1] = replace(nodes.made[-1], outputs=values)
    if spec.directions > 1:
        for number, output in enumerate(node.outputs):
            whole = tuple(found[d][number] for d in range(spec.directions))
            nodes.made.append(replace(node, op=Concat(), inputs=whole, outputs=(output,)))


def _direction(
    nodes: Nodes, op: Recurrent, part: Part, shared: dict[str, Value], d: int, dtype: Float
) -> list[Value]:
    """What the recurrence reads for direction ``d``."""
    spec, x = op.layer, shared["x"]
    rows = len(spec.gates) * spec.hidden
    conv = conv_spec((1, x.channels, spec.steps), (rows, x.channels, 1), dtype=dtype)
    read = (x, part["w"], *part.some("bias"))
    (gates,) = nodes.add(Convolve(conv, spec.bias), read, (rows, spec.steps))
    gates = replace(gates, samples=x.samples)
    nodes.made[-1] = replace(nodes.made[-1], outputs=(gates,))
    made = [gates, *part.recurrent, *part.some("recurrent bias", "peepholes")]
    for name in ("h", "c"):
        if name in shared and spec.directions == 1:
            made.append(shared[name])
        elif name in shared:
            value = shared[name]
            (own,) = nodes.add(
                Slice(d * spec.hidden), (value,), (spec.hidden,), batched=value.batched
            )
            made.append(replace(own, samples=value.samples))
            nodes.made[-1] = replace(nodes.made[-1], outputs=(made[-1],))
    return made


_NORMALISE: dict[str, Callable[..., Statistics]] = {
    "batch": _batch,
    "group": _group,
}
