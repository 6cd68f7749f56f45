"""What a graph means: each operation in turn, in float64 NumPy. The oracle of compiled programs.

It knows every operation of `graph/ops.py`, those of the backward pass too, and nothing of how they
are computed. Arrays are (batch, channels, *space), values without a batch have their own shape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from graph.product_meaning import attended_to, contracted, from_memory, in_memory
from graph.recurrent_meaning import recurrent, recurrent_alone, recurrent_grad
from graph.single import dequantised, single
from numpy.typing import ArrayLike, NDArray

from faltung import reference
from faltung.geometry.conv import ConvSpec
from faltung.graph import ops
from faltung.graph.value import Graph, Node, Value
from faltung.reference.expr import evaluate, uniform
from faltung.reference.grid import grid_sample, grid_sample_grid_grad, grid_sample_input_grad
from faltung.reference.local import local, local_bias_grad, local_input_grad, local_weight_grad
from faltung.reference.pool import average_pool, average_pool_grad, max_pool, max_pool_grad
from faltung.reference.reduce import arg, cumulative, reduced, top_k, top_k_grad
from faltung.reference.resample import resample

Array = NDArray[Any]


def run(graph: Graph, parameters: Mapping[str, ArrayLike], x: ArrayLike, **more: Any) -> Array:
    """The output of the network for a batch ``x``; the rest as for `values`."""
    return values(graph, parameters, x, **more)[graph.output.name]


def values(
    graph: Graph,
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    outside: Mapping[str, ArrayLike] | None = None,
) -> dict[str, Array]:
    """Every value of the network by its name, for a batch ``x``: (batch, *input shape).

    outside: what no node makes, keys, labels and learning rates for example, by name.
    """
    known = {name: np.asarray(array, np.float64) for name, array in parameters.items()}
    for parameter in graph.parameters:
        assert known[parameter.name].shape == parameter.shape, parameter.name
    known |= {name: np.asarray(array) for name, array in (outside or {}).items()}
    known[graph.input.name] = given(graph.input, x)
    compute(graph.nodes, known, len(known[graph.input.name]) // graph.input.samples)
    return known


def compute(nodes: Sequence[Node], known: dict[str, Array], batch: int) -> None:
    """Run nodes in order over the values that are known, and add what they make."""
    for node in nodes:
        for value in node.inputs:
            if value.kind == "rows":
                known[value.name] = np.asarray(float(batch * value.shape[0]))
        arrays = [known[value.name] for value in node.inputs]
        samples = max(value.samples for value in (*node.inputs, *node.outputs))
        alone = isinstance(node.op, ops.Contract | ops.Attention | ops.View)
        count = batch if alone else batch * samples
        made = MEANING[type(node.op)](node, arrays, count)
        assert len(made) == len(node.outputs), node
        for value, array in zip(node.outputs, made, strict=True):
            several = (value.samples,) if value.samples > 1 else ()
            lead = (batch * value.samples,) if value.batched else several
            shape = (*lead, *value.shape)
            assert np.size(array) == prod(shape), (value, np.shape(array))
            known[value.name] = np.asarray(array).reshape(shape)


def given(value: Value, array: ArrayLike) -> Array:
    found = np.asarray(array, np.float64 if value.kind == "float" else np.int64)
    assert found.shape[1:] == value.shape, (value, found.shape)
    return found


# Convolutions -------------------------------------------------------------------------------------


def _convolve(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Convolve = node.op
    spec = replace(op.spec, batch=batch)
    x, w = arrays[0].reshape(spec.input_shape), arrays[1].reshape(spec.weight_shape)
    bias = arrays[2].reshape(-1) if op.bias else None
    return [_stored(node, arrays, reference.conv(x, w, bias, spec))]


def _convolve_integer(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.ConvolveInteger = node.op  # in whole numbers, then each operation in float32
    spec = replace(op.spec, batch=batch)
    x, w = arrays[0].reshape(spec.input_shape), arrays[1].reshape(spec.weight_shape)
    bias = arrays[2].reshape(-1) if op.bias else None
    total = reference.conv(x - op.x.zero, w, bias, replace(spec, dtype="float64"))
    first = 3 if op.bias else 2
    grids = op.grids or (None,) * len(arrays[first:])
    read = [*arrays[:first], *map(dequantised, arrays[first:], grids)]
    made = _stored(node, read, total.astype(np.float32), single).astype(np.float32)
    if op.result is None:
        return [made]
    level = np.rint(made / np.float32(op.result.scale)) + np.float32(op.result.zero)
    return [np.clip(level, op.result.low, op.result.high)]


def _convolve_input(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.ConvolveInput = node.op
    spec = replace(op.spec, batch=batch)
    g, w = arrays[0].reshape(spec.output_shape), arrays[1].reshape(spec.weight_shape)
    bias = arrays[2].reshape(-1) if op.bias else None
    return [_stored(node, arrays, reference.conv_transpose(g, w, bias, spec))]


def _stored(
    node: Node, arrays: list[Array], total: Array, value: Callable[..., Any] = evaluate
) -> Array:
    """The epilogue, of the sum and of what follows weight and bias among the inputs."""
    op: Any = node.op
    if op.epilogue is None:
        return total
    samples, shape = node.output.samples, node.output.shape
    first = 3 if op.bias else 2
    aux = [
        _by_sample(value, array, len(shape))
        for value, array in zip(node.inputs[first:], arrays[first:], strict=True)
    ]
    return np.asarray(value(op.epilogue, [total.reshape(-1, samples, *shape), *aux]))


def _convolve_weight(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    spec: ConvSpec = replace(node.op.spec, batch=batch)
    x, g = arrays[0].reshape(spec.input_shape), arrays[1].reshape(spec.output_shape)
    return [reference.conv_weight_grad(x, g, spec)]


def _local(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    bias = arrays[2] if node.op.bias else None
    return [local(arrays[0], arrays[1], bias, replace(node.op.spec, batch=batch))]


def _local_input(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    return [local_input_grad(*arrays, replace(node.op.spec, batch=batch))]


def _local_weight(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    return [local_weight_grad(*arrays, replace(node.op.spec, batch=batch))]


def _local_bias(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    return [local_bias_grad(arrays[0], replace(node.op.spec, batch=batch))]


def _channel_conv(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op, (x,) = node.op, arrays
    made = np.zeros_like(x)
    channels = x.shape[1]
    for k, weight in enumerate(op.weight):
        shift = k - op.lo
        first, stop = max(0, -shift), min(channels, channels - shift)
        if first < stop:
            made[:, first:stop] += weight * x[:, first + shift : stop + shift]
    return [made]


# Formulas -----------------------------------------------------------------------------------------


def spread(value: Value, array: Array, rank: int) -> Array:
    """An operand so that it meets a map of (batch, *rank axes): vectors stand at the channels."""
    lead = array.shape if value.batched else (1, *array.shape)  # "rows" are a number
    return array.reshape(*lead, *(1,) * (rank + 1 - len(lead)))


def numbers(shape: tuple[int, ...]) -> Array:
    """The number of each element of (batch, channels, *space), as it lies channels last."""
    batch, channels, *space = shape
    made = np.arange(prod(shape)).reshape(batch, *space, channels)
    return np.moveaxis(made, -1, 1)


def _elementwise(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Elementwise = node.op
    samples = max(v.samples for v in (*node.inputs, *node.outputs[: len(op.outputs)]))
    lead = (batch // samples if op.batched else 1), samples
    shape = prod(lead), *op.shape
    operands = [_by_sample(v, a, len(op.shape)) for v, a in zip(node.inputs, arrays, strict=True)]
    counted = (numbers(shape) if op.shape else np.arange(shape[0])).reshape(*lead, *op.shape)
    exprs = [*op.outputs, *(total.expr for total in op.reductions)]
    made = [evaluate(expr, operands, counted).reshape(shape) for expr in exprs]
    count = len(op.outputs)
    return made[:count] + [
        _total(total, array) for total, array in zip(op.reductions, made[count:], strict=True)
    ]


def _total(total: ops.Reduction, array: Array) -> Array:
    space = tuple(range(2, array.ndim))
    over = {"channel": (0, *space), "sample": space, "scalar": tuple(range(array.ndim))}[total.kind]
    return array.mean(over) if total.mean else array.sum(over)


def _reduce(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Reduce = node.op
    rank = max(len(value.shape) for value in node.inputs)
    operands = [_by_sample(v, a, rank) for v, a in zip(node.inputs, arrays, strict=True)]
    axes = [2 + axis for axis in op.axes if axis != ops.SAMPLES]
    axes += [0, 1] if op.batch else [1] * (ops.SAMPLES in op.axes)
    made = (reduced(evaluate(expr, operands), axes, op.kind) for expr in op.exprs)
    return [evaluate(op.finish, [array]) for array in made]


def _by_sample(value: Value, array: Array, rank: int) -> Array:
    """An operand as (batch or 1, samples, *rank axes): vectors stand at the channels."""
    shape = (1,) if value.kind == "rows" else value.shape
    return array.reshape(-1, value.samples, *shape, *(1,) * (rank - len(shape)))


def _arg(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Arg = node.op
    return [arg(arrays[0], op.axis + 1, op.kind, op.last)]


def _cumulative(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Cumulative = node.op
    return [cumulative(arrays[0], op.axis + 1, op.kind, op.exclusive, op.reverse)]


def _top_k(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.TopK = node.op
    return list(top_k(arrays[0], op.axis + 1, op.k, op.largest))[: len(node.outputs)]


def _top_k_grad(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.TopKGrad = node.op
    return [top_k_grad(*arrays, op.axis + 1, op.size)]


def _dropout(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    x, key = arrays
    rate = node.op.rate
    return [np.where(uniform(key, numbers(x.shape)) < rate, 0.0, x / (1 - rate))]


# Normalisation ------------------------------------------------------------------------------------


def _group_mean(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    (x,) = arrays
    groups = node.op.groups
    mean = x.reshape(batch, groups, -1, *x.shape[2:]).mean(axis=2)
    return [np.repeat(mean, x.shape[1] // groups, axis=1)]


def _normalise(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Normalise = node.op
    x, *affine = arrays
    running = affine[2:]
    rank = len(node.inputs[0].shape)
    if op.over == "batch" and not op.training:
        mean, variance = (spread(node.inputs[3], array, rank) for array in running)
    else:
        mean, variance = _moments(op, x)
    rstd = 1 / np.sqrt(variance + op.eps)
    y = (x - mean) * rstd
    if affine:
        y = y * spread(node.inputs[1], affine[0], rank)
    if len(affine) > 1:
        y = y + spread(node.inputs[2], affine[1], rank)
    kept = zip((mean, rstd)[not op.centred :], node.outputs[1:], strict=False)
    made = [y, *(_kept(array, node, value) for array, value in kept)]
    if len(node.outputs) > 3:  # the new running statistics, with the unbiased variance
        count = x.size // x.shape[1]
        now = mean.reshape(-1), variance.reshape(-1) * count / max(count - 1, 1)
        made += [r + op.momentum * (n - r) for r, n in zip(running, now, strict=True)]
    return made


def _moments(op: ops.Normalise, x: Array) -> tuple[Array, Array]:
    """Mean and (biased) variance, as they meet ``x``."""
    space = tuple(range(2, x.ndim))
    if op.over == "batch":
        over: tuple[int, ...] = (0, *space)
    elif op.over == "position":
        over = (1,)
    elif op.over == "axes":
        over = tuple(axis + 1 for axis in op.axes)
    else:
        grouped = x.reshape(len(x), op.groups, -1)
        shape = (len(x), x.shape[1], *(1,) * len(space))
        per = x.shape[1] // op.groups
        mean, variance = (
            np.repeat(made, per, axis=1).reshape(shape)
            for made in (grouped.mean(axis=2), grouped.var(axis=2))
        )
        return mean, variance
    if not op.centred:
        return np.zeros(()), (x * x).mean(over, keepdims=True)
    return x.mean(over, keepdims=True), x.var(over, keepdims=True)


def _kept(array: Array, node: Node, value: Value) -> Array:
    """A statistic in the shape of the value that keeps it."""
    op: ops.Normalise = node.op
    if op.over == "batch":
        return array.reshape(-1)
    if op.over == "group" and value.shape[0] == op.groups:
        return array[:, :: array.shape[1] // op.groups]
    return array


# Pooling, moving, embedding -----------------------------------------------------------------------


def _pool(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    spec = replace(node.op.spec, batch=batch)
    if spec.kind == "average":
        return [average_pool(arrays[0], spec)]
    return list(max_pool(arrays[0], spec))[: len(node.outputs)]


def _pool_grad(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    spec = replace(node.op.spec, batch=batch)
    if spec.kind == "average":
        return [average_pool_grad(arrays[0], spec)]
    return [max_pool_grad(arrays[0], arrays[1], spec)]


def _concat(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    return [np.concatenate(arrays, axis=int(node.output.batched))]


def _slice(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    start = node.op.start
    return [
        np.take(arrays[0], range(start, start + node.output.channels), int(node.output.batched))
    ]


def _first(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    x = arrays[0]
    return [x.reshape(*x.shape[:2], -1)[0, :, 0]]


def _reshape(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    return [arrays[0]]  # `compute` gives every array the shape of its value


def _permute(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Permute = node.op
    axes = [0, *(axis + 1 for axis in op.axes)]
    memory = np.moveaxis(arrays[0], 1, -1).reshape(-1, *op.dims).transpose(axes)
    return [_from_memory(memory, node.output)]


def _view(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    if node.output.batched:  # ``batch`` counts all samples here
        return [_from_memory(np.moveaxis(arrays[0], 1, -1), node.output)]
    return [from_memory(node.output, in_memory(node.inputs[0], arrays[0], 1), 1)]


def _from_memory(array: Array, value: Value) -> Array:
    """Numbers in the order of memory, (samples, *space, C), as (samples, C, *space)."""
    return np.moveaxis(array.reshape(-1, *value.space, value.channels), -1, 1)


def _resample(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Resample = node.op
    x = arrays[0].reshape(-1, *node.inputs[0].shape)
    made = resample(x, op.tables, op.fill)
    if op.epilogue is None:
        return [made]
    samples, shape = node.output.samples, node.output.shape
    given = zip(node.inputs[1:], arrays[1:], strict=True)
    aux = [_by_sample(value, array, len(shape)) for value, array in given]
    return [evaluate(op.epilogue, [made.reshape(-1, samples, *shape), *aux])]


def _grid_sample(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    x, grid = _each_its_own(node, arrays)
    return [grid_sample(x, grid, node.op.how)]


def _grid_sample_input(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    g, grid = _each_its_own(node, arrays)
    return [grid_sample_input_grad(g, grid, node.op.how, node.output.space)]


def _grid_sample_grid(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    x, grid, g = _each_its_own(node, arrays)
    return [grid_sample_grid_grad(x, grid, g, node.op.how)]


def _each_its_own(node: Node, arrays: list[Array]) -> list[Array]:
    """(samples, *shape) each: what there is once is there for all."""
    made = [a.reshape(-1, *v.shape) for v, a in zip(node.inputs, arrays, strict=True)]
    most = max(map(len, made))
    return [np.broadcast_to(a, (most, *a.shape[1:])) for a in made]


def _embed(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    tokens, table = arrays
    return [np.moveaxis(table[tokens], -1, 1)]


def _embed_grad(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.EmbedGrad = node.op
    tokens, grad = arrays
    made = np.zeros((op.vocabulary, grad.shape[1]))
    np.add.at(made, tokens, np.moveaxis(grad, 1, -1))
    if op.padding_index is not None:
        made[op.padding_index] = 0
    return [made]


def _to_float(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    return [arrays[0].astype(np.float64)]


# Classes ------------------------------------------------------------------------------------------


def softmax(logits: Array, axes: tuple[int, ...] = (1,)) -> Array:
    made = np.exp(logits - logits.max(axis=axes, keepdims=True))
    return made / made.sum(axis=axes, keepdims=True)


def _softmax(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op, (x,) = node.op, arrays
    axes = tuple(axis + 1 for axis in op.axes)
    return [x - reduced(x, axes, "log_sum_exp") if op.log else softmax(x, axes)]


def _cross_entropy(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    if node.op.soft:
        logits, target, scale = arrays
        losses, gradient = reference.soft_cross_entropy(logits, target, scale=float(scale))
        return [losses[:, None], gradient]
    logits, labels, scale, smoothing, *weights = arrays
    channels = logits.shape[1]
    labels = labels.reshape(batch, 1, *logits.shape[2:])
    chosen = np.arange(channels).reshape(1, channels, *(1,) * (logits.ndim - 2)) == labels
    counts = labels != -1
    target = np.where(chosen, 1 - smoothing, 0.0) + smoothing / channels
    if weights:
        target = target * weights[0].reshape(1, channels, *(1,) * (logits.ndim - 2))
    probability = softmax(logits) * target.sum(axis=1, keepdims=True)
    top = logits.max(axis=1, keepdims=True)
    log = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    losses = np.where(counts, -(target * log).sum(axis=1, keepdims=True), 0.0)
    correct = counts & (logits.argmax(axis=1)[:, None] == labels)
    gradient = np.where(counts, scale * (probability - target), 0.0)
    return [losses, correct.astype(np.float64), gradient][: len(node.outputs)]


MEANING: dict[type, Callable[[Any, list[Array], int], list[Array]]] = {
    ops.Convolve: _convolve,
    ops.ConvolveInput: _convolve_input,
    ops.ConvolveInteger: _convolve_integer,
    ops.ConvolveWeight: _convolve_weight,
    ops.LocallyConnected: _local,
    ops.LocallyConnectedInput: _local_input,
    ops.LocallyConnectedWeight: _local_weight,
    ops.LocallyConnectedBias: _local_bias,
    ops.Contract: contracted,
    ops.Attention: attended_to,
    ops.ChannelConv: _channel_conv,
    ops.Elementwise: _elementwise,
    ops.Reduce: _reduce,
    ops.Arg: _arg,
    ops.Cumulative: _cumulative,
    ops.TopK: _top_k,
    ops.TopKGrad: _top_k_grad,
    ops.GroupMean: _group_mean,
    ops.Normalise: _normalise,
    ops.Dropout: _dropout,
    ops.Pool: _pool,
    ops.PoolGrad: _pool_grad,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.FirstPosition: _first,
    ops.ToChannelsLast: _reshape,  # here all maps are channels first
    ops.Reshape: _reshape,
    ops.View: _view,
    ops.Permute: _permute,
    ops.Resample: _resample,
    ops.GridSample: _grid_sample,
    ops.GridSampleInput: _grid_sample_input,
    ops.GridSampleGrid: _grid_sample_grid,
    ops.Embed: _embed,
    ops.EmbedGrad: _embed_grad,
    ops.ToFloat: _to_float,
    ops.CrossEntropy: _cross_entropy,
    ops.Softmax: _softmax,
    ops.Recurrent: recurrent,
    ops.Recurrence: recurrent_alone,
    ops.RecurrenceGrad: recurrent_grad,
}
