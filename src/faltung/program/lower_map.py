"""All other operations as steps: formulas, losses, poolings, embeddings, copies."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from faltung.geometry.expr import operand
from faltung.graph.ops import (
    CrossEntropy,
    Elementwise,
    EmbedGrad,
    GroupMean,
    Permute,
    Pool,
    PoolGrad,
    Reduction,
    Softmax,
)
from faltung.graph.value import Node, Value
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Operand, Work
from faltung.methods.copies.stage import rearrange
from faltung.methods.copies.whole import whole_numbers
from faltung.methods.elementwise import elementwise
from faltung.methods.elementwise.group_sum import group_sum
from faltung.methods.pool import pool
from faltung.methods.rows import embedding, softmax
from faltung.program.lowering import Lowering, broadcast_strides

# Formulas ----------------------------------------------------------------------------------------


def elementwise_map(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, Elementwise)
    channels, positions = op.shape[0] if op.shape else 1, prod(op.shape[1:])
    maps, sums = node.outputs[: len(op.outputs)], node.outputs[len(op.outputs) :]
    axes = (low.batch if op.batched else 1, max(v.samples for v in (*node.inputs, *maps)))
    samples = prod(axes)
    inputs = []
    for value in node.inputs:
        kind = kind_of(value, op, axes[1])
        strides = broadcast_strides(low, value, op.shape) if kind == "spread" else ()
        inputs.append(elementwise.Input(kind, low.where(value), low.pitch(value), strides))
    elementwise.formulas(
        work,
        low.dtype,
        low.machine,
        samples=samples,
        positions=positions,
        channels=channels,
        inputs=inputs,
        outputs=[
            elementwise.Output(expr, low.where(value), low.pitch(value))
            for expr, value in zip(op.outputs, maps, strict=True)
        ],
        sums=[
            elementwise.Sum(
                total.expr,
                total.kind,
                low.where(value),
                low.pitch(value),
                scale=_scale(total, samples, positions, channels),
            )
            for total, value in zip(op.reductions, sums, strict=True)
        ],
        title="formula" if op.outputs else "sums",
        sample_axes=axes,
        axes=op.shape[1:],
    )


def kind_of(value: Value, op: Elementwise, samples: int) -> str:
    """How an operand is broadcast over the map of a formula; ``samples``: those of the map."""
    if value.kind == "key":
        return "key"
    if value.kind == "rows" or (value.size == 1 and not value.batched):
        return "scalar"
    if value.batched == op.batched and value.samples == samples:
        if value.shape == op.shape:
            return "full"
        if value.shape[:1] == op.shape[:1] and value.positions == 1:
            return "sample"
    if value.shape[:1] == op.shape[:1] and value.size == value.channels and not value.batched:
        return "channel"
    return "spread"


def _scale(total: Reduction, samples: int, positions: int, channels: int) -> float:
    """What turns a sum into a mean."""
    if not total.mean:
        return 1.0
    counts = {"sample": positions, "channel": samples * positions}
    return 1 / max(1, counts.get(total.kind, samples * positions * channels))


def group_mean(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, GroupMean)
    group_sum(
        work,
        low.dtype,
        low.machine,
        rows=low.samples(x) * x.positions,
        channels=x.channels,
        groups=op.groups,
        source=low.matrix(x),
        target=low.matrix(node.output),
        scale=op.groups / x.channels,
        title="group means",
    )


def softmax_map(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Softmax)
    softmax.softmax(
        work,
        low.matrix(x),
        low.matrix(node.output),
        rows=low.samples(x) * x.positions,
        channels=x.channels,
        dtype=low.dtype,
        machine=low.machine,
        log=op.log,
    )


def cross_entropy(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, CrossEntropy)
    if op.soft:
        _soft_cross_entropy(low, node, work)
        return
    logits, labels, scale, smoothing, *weights = node.inputs
    losses, correct, grad = node.outputs
    softmax.cross_entropy(
        work,
        low.matrix(logits),
        low.where(labels),
        low.where(scale),
        low.where(smoothing),
        low.where(losses),
        low.where(correct),
        low.matrix(grad),
        rows=low.samples(logits) * logits.positions,
        channels=logits.channels,
        dtype=low.dtype,
        machine=low.machine,
        weights=low.where(weights[0]) if weights else None,
    )


def _soft_cross_entropy(low: Lowering, node: Node, work: Work) -> None:
    logits, targets, scale = node.inputs
    losses, grad = node.outputs
    softmax.soft_cross_entropy(
        work,
        low.matrix(logits),
        low.matrix(targets),
        low.where(scale),
        low.where(losses),
        low.matrix(grad),
        rows=low.samples(logits) * logits.positions,
        channels=logits.channels,
        dtype=low.dtype,
        machine=low.machine,
    )


# Poolings, embeddings, copies ---------------------------------------------------------------------


def pool_map(low: Lowering, node: Node, work: Work, rings: tuple[int, int] = (0, 0)) -> None:
    op, x = node.op, low.matrix(node.inputs[0])
    assert isinstance(op, Pool)
    spec, out = replace(op.spec, batch=low.samples(node.output)), low.matrix(node.output)
    if spec.kind == "max":
        index = low.where(node.outputs[1]) if op.indexed else None
        pool.max_pool(spec, work, x, out, index, machine=low.machine, rings=rings)
    else:
        pool.average_pool(spec, work, x, out, machine=low.machine, rings=rings)


def pool_grad(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, PoolGrad)
    spec = replace(op.spec, batch=low.samples(node.output))
    grad, *index = node.inputs
    source, target = low.matrix(grad), low.matrix(node.output)
    if spec.kind == "max":
        pool.max_pool_grad(spec, work, source, low.where(index[0]), target, machine=low.machine)
    else:
        pool.average_pool_grad(spec, work, source, target, machine=low.machine)


def embed(low: Lowering, node: Node, work: Work) -> None:
    tokens, weight = node.inputs
    embedding.embed(
        work,
        low.where(tokens),
        low.where(weight),
        low.matrix(node.output),
        rows=low.batch * tokens.size,
        features=node.output.channels,
        vocabulary=weight.shape[0],
        dtype=low.dtype,
    )


def embed_grad(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, EmbedGrad)
    tokens, grad = node.inputs
    embedding.embed_grad(
        work,
        low.where(tokens),
        low.matrix(grad),
        low.where(node.output),
        rows=low.batch * tokens.size,
        vocabulary=op.vocabulary,
        features=grad.channels,
        padding_index=op.padding_index,
        dtype=low.dtype,
        machine=low.machine,
    )


def reshape(low: Lowering, node: Node, work: Work) -> None:
    """The same numbers in channels-first order, in another shape."""
    a, b = node.inputs[0], node.output
    if low.places.root(a) == low.places.root(b):
        return
    # One of the two is a vector, whose channels stand for (channel, position) of the other.
    shape = (low.samples(a), *(a.shape if a.space else b.shape))
    space = shape[2:]
    whole, flat = (a, b) if a.space else (b, a)
    strided = low.strides(whole, space)
    steps = [prod(shape[i + 1 :]) for i in range(1, len(shape))]
    contiguous = (low.pitch(flat), *steps)
    source, target = (strided, contiguous) if a.space else (contiguous, strided)
    work.steps.append(
        rearrange(low.dtype, shape, low.where(a), source, low.where(b), target, "reshape")
    )


def permute(low: Lowering, node: Node, work: Work) -> None:
    """The same numbers with axes in another order."""
    op, a, b = node.op, node.inputs[0], node.output
    assert isinstance(op, Permute)
    moved = _split(low, b, [op.dims[axis] for axis in op.axes])
    target = [moved[0], *(moved[1 + op.axes.index(axis)] for axis in range(len(op.dims)))]
    shape = (low.batch if a.batched else 1, *op.dims)
    source = _split(low, a, op.dims)
    work.steps.append(
        rearrange(low.dtype, shape, low.where(a), source, low.where(b), tuple(target), "permute")
    )


def _split(low: Lowering, value: Value, dims: Sequence[int]) -> Strides:
    """Strides of the batch and of axes that split samples, positions and channels."""
    pitch, steps, step = low.pitch(value), [], 1
    for size in reversed(dims):
        rows, rest = divmod(step, value.channels)
        assert not rest or step < value.channels or pitch == value.channels
        steps.append(rows * pitch if not rest else step)
        step *= size
    return (value.samples * value.positions * pitch, *reversed(steps))


def view(low: Lowering, node: Node, work: Work) -> None:
    """A copy of what is not contiguous; otherwise nothing to compute."""
    if not any(other is node for other, _ in low.places.copied):
        return
    x, out = node.inputs[0], node.output
    _copy(low, work, x, low.where(out), x.channels, "copy to see it otherwise")


def to_float(low: Lowering, node: Node, work: Work) -> None:
    x = node.inputs[0]
    whole_numbers(
        work,
        low.dtype,
        low.machine,
        x=low.where(x),
        out=low.matrix(node.output),
        rows=low.samples(x),
        length=x.channels,
    )


def to_channels_last(low: Lowering, node: Node, work: Work) -> None:
    a, b = node.inputs[0], node.output
    source, target = low.strides(a, a.space), low.strides(b, b.space)
    shape = (low.samples(a), *a.shape)
    work.steps.append(
        rearrange(low.dtype, shape, low.where(a), source, low.where(b), target, "channels last")
    )


def concat(low: Lowering, node: Node, work: Work) -> None:
    """Copies of the operands that could not be written in place."""
    start = 0
    copied = {number for other, number in low.places.copied if other is node}
    for number, value in enumerate(node.inputs):
        if number in copied:
            out = low.where(node.output)
            target = Operand(out.name, out.offset + start * low.itemsize)
            _copy(low, work, value, target, low.pitch(node.output), "copy into concatenation")
        start += value.channels


def _copy(low: Lowering, work: Work, value: Value, target: Operand, pitch: int, title: str) -> None:
    """A map, copied to rows ``pitch`` apart."""
    elementwise.formulas(
        work,
        low.dtype,
        low.machine,
        samples=low.samples(value),
        positions=value.positions,
        channels=value.channels,
        inputs=[elementwise.Input("full", low.where(value), low.pitch(value))],
        outputs=[elementwise.Output(operand(0), target, pitch)],
        sums=[],
        title=title,
    )


def nothing(low: Lowering, node: Node, work: Work) -> None:
    """Nothing to compute."""
