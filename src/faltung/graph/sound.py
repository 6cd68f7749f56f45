"""Whether the values of a node fit its operation: for graphs that were read from a file.

Layers and importers make nodes that fit. What comes from elsewhere must be looked at before code is
made of it, since nothing below looks again. There is a rule for each operation of networks; what
only gradients and losses have has none, and no epilogues: passes make those.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.grid import Sampling
from faltung.geometry.pool import PoolSpec
from faltung.geometry.recurrent import RecurrentSpec, Squash
from faltung.geometry.resample import Table
from faltung.graph import ops
from faltung.graph.attended import attended
from faltung.graph.contracted import labelled
from faltung.graph.sound_values import (
    Unsound,
    Values,
    axes_of,
    axis_of,
    broadcast,
    flags,
    formula,
    held,
    maps,
    need,
    number,
    one,
    same,
    whole,
)
from faltung.graph.value import Value

# For the parameters among the values their unfolded shapes, by name.
Inner = Mapping[str, tuple[int, ...]]
REDUCED = ("sum", "mean", "max", "min", "product", "log_sum_exp")


def check_node(op: Any, inputs: Values, outputs: Values, inner: Inner) -> None:
    """Unsound: an operation that networks do not have, or values that do not fit it."""
    rule = RULES.get(type(op))
    if rule is None:
        raise Unsound(f"operation={type(op).__name__}: is none of a network")
    try:
        rule(op, inputs, outputs, inner)
    except Unsound as error:
        raise Unsound(f"{type(op).__name__}: {error}") from None
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        AssertionError,
        StopIteration,
    ) as error:
        raise Unsound(f"{type(op).__name__}: {error or 'values that do not fit it'}") from None


# Formulas -----------------------------------------------------------------------------------------


def _elementwise(op: ops.Elementwise, inputs: Values, outputs: Values, inner: Inner) -> None:
    need(op.batched is True and inputs, "must be a formula of maps")
    need(isinstance(op.shape, tuple) and op.shape, "must have a shape")
    need(len(op.outputs) + len(op.reductions) == len(outputs), "must have so many outputs")
    samples = max(value.samples for value in (*inputs, *outputs))
    broadcast(inputs, op.shape, samples)
    for expr, value in zip(op.outputs, outputs, strict=False):
        formula(expr, len(inputs))
        need(value.shape == op.shape and value.samples == samples, f"must give {op.shape}")
    for total, value in zip(op.reductions, outputs[len(op.outputs) :], strict=True):
        need(isinstance(total, ops.Reduction) and total.kind == "sample", "must sum positions")
        formula(total.expr, len(inputs))
        flags(total, mean=bool)
        need(value.shape == op.shape[:1] and value.samples == samples, "must give channels")


def _reduce(op: ops.Reduce, inputs: Values, outputs: Values, inner: Inner) -> None:
    maps([value for value in inputs if value.batched])
    need(any(value.batched for value in inputs) and op.batch is False, "must reduce maps")
    need(op.kind in REDUCED, f"kind={op.kind!r}: must be one of {REDUCED}")
    rank = max(len(value.shape) for value in inputs)
    wide = [value.shape + (1,) * (rank - len(value.shape)) for value in inputs]
    shape = tuple(max(sizes) for sizes in zip(*wide, strict=True))
    samples = max(value.samples for value in inputs)
    broadcast(inputs, shape, samples)
    axes = axes_of(op.axes, rank, ops.SAMPLES)
    left = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    kept = 1 if ops.SAMPLES in axes else samples
    need(len(op.exprs) == len(outputs), "must have an output for each formula")
    for expr, value in zip(op.exprs, outputs, strict=True):
        formula(expr, len(inputs))
        need(value.shape == left and value.samples == kept, f"must give {kept} of {left}")
    formula(op.finish, 1)


# Convolutions, poolings ---------------------------------------------------------------------------


def _conv_like(op: Any, x: Value, y: Value, *, turned: bool = False) -> ConvSpec:
    """The spec, whose sizes are those of ``x`` and ``y``."""
    spec = op.spec
    need(isinstance(spec, ConvSpec) and spec.batch == 1, "must have a spec of one sample")
    assert isinstance(spec, ConvSpec)
    need(all(isinstance(axis, Axis) for axis in spec.axes), "must have axes")
    maps((x, y))
    flags(op, bias=bool)
    need(getattr(op, "epilogue", None) is None, "must have no epilogue")
    small, large = (y, x) if not turned else (x, y)
    need(large.channels == spec.channels_in and small.channels == spec.channels_out, "channels")
    ones = (1,) * spec.rank
    need(large.space == spec.size or (not large.space and spec.size == ones), f"size {spec.size}")
    fits = small.space == spec.output or (not small.space and spec.output == ones)
    need(fits, f"output {spec.output}")
    need(x.samples == y.samples, "as many samples as are read")
    return spec


def _weights(
    op: Any, given: Values, inner: Inner, weight: Sequence[int], bias: Sequence[int]
) -> None:
    need(len(given) == 1 + op.bias, "must read a weight, and a bias if it has one")
    held(given)
    first = given[0]
    need(inner.get(first.name, first.shape) == tuple(weight), f"a weight of {tuple(weight)}")
    if op.bias:
        need(given[1].shape == tuple(bias), f"a bias of {tuple(bias)}")


def _convolve(op: ops.Convolve, inputs: Values, outputs: Values, inner: Inner) -> None:
    spec = _conv_like(op, inputs[0], one(outputs))
    need(all(min(pair) >= 0 for pair in spec.padding), "padding of at least 0")
    _weights(op, inputs[1:], inner, spec.weight_shape, (spec.channels_out,))


def _convolve_input(op: ops.ConvolveInput, inputs: Values, outputs: Values, inner: Inner) -> None:
    spec = _conv_like(op, inputs[0], one(outputs), turned=True)
    _weights(op, inputs[1:], inner, spec.weight_shape, (spec.channels_in,))


def _local(op: ops.LocallyConnected, inputs: Values, outputs: Values, inner: Inner) -> None:
    spec = _conv_like(op, inputs[0], one(outputs))
    need(all(min(pair) >= 0 for pair in spec.padding), "padding of at least 0")
    shape = (*spec.output, *spec.weight_shape)
    _weights(op, inputs[1:], inner, shape, (*spec.output, spec.channels_out))


def _pool(op: ops.Pool, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    spec = op.spec
    need(isinstance(spec, PoolSpec) and spec.batch == 1, "must have a spec of one sample")
    need(all(isinstance(axis, Axis) for axis in spec.axes), "must have axes")
    need(op.indexed is False, "must give maxima alone")
    need(x.shape == (spec.channels, *spec.size), f"must read {spec.input_shape}")
    need(y.shape == (spec.channels, *spec.output), f"must give {spec.output_shape}")
    need(x.samples == y.samples, "as many samples as are read")


def _channel_conv(op: ops.ChannelConv, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    same(x, y)
    need(isinstance(op.weight, tuple) and op.weight, "must have a weight")
    for weight in op.weight:
        number(weight, "weight")
    last = x.channels - 1
    before = whole(op.lo, 0, min(last, len(op.weight) - 1), "lo")
    whole(len(op.weight) - 1 - before, 0, last, "channels after")


# Products -----------------------------------------------------------------------------------------


def _contract(op: ops.Contract, inputs: Values, outputs: Values, inner: Inner) -> None:
    need(len(inputs) == 2 and op.epilogue is None, "must read two values")
    need(all(value.kind == "float" for value in inputs), "must read numbers")
    flags(op, a=str, b=str, out=str, sizes=tuple)
    for label, size in op.sizes:
        need(isinstance(label, str), "labels")
        whole(size, 1, 1 << 62, "size")
    out = one(outputs)
    labelled(op, inputs, out)
    need(any(value.batched for value in inputs), "must read a map")


def _attention(op: ops.Attention, inputs: Values, outputs: Values, inner: Inner) -> None:
    whole(op.heads, 1, 1 << 31, "heads")
    whole(op.kv_heads, 1, 1 << 31, "kv_heads")
    whole(op.offset, -(1 << 31), 1 << 31, "offset")
    number(op.scale, "scale")
    number(op.softcap, "softcap")
    flags(op, causal=bool, weights=bool)
    need(all(value.kind == "float" and value.shape for value in inputs), "must read numbers")
    own = inputs[: 2 if op.weights else 3]
    maps(own)
    found, y = attended(op, inputs), one(outputs)
    q = inputs[0]
    made = (op.heads * found.channels, *q.space)
    if op.weights:
        made = (found.keys, op.heads, found.queries)
    need(y.shape == made and y.samples == q.samples, f"must give {made}")


# Norms, softmax, sorting --------------------------------------------------------------------------


def _normalise(op: ops.Normalise, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = inputs[0], one(outputs)
    maps((x, y))
    same(x, y)
    need(number(op.eps, "eps") > 0 or op.over == "axes", "eps must be above 0")
    need(0 <= number(op.momentum, "momentum") <= 1, "momentum must be from 0 to 1")
    need(op.training is False and type(op.centred) is bool, "must be for inference")
    rest = inputs[1:]
    if op.over == "axes":
        axes_of(op.axes, len(x.shape))
        need(len(rest) <= 2, "must read a gain and a shift")
        held(rest)
        broadcast(rest, x.shape, x.samples)
        return
    counts = {"batch": 4, "group": 2, "position": 2}
    need(op.over in counts and len(rest) == counts[op.over], f"over={op.over!r}: its values")
    need(op.axes == () and op.centred, "must have no axes")
    held(rest)
    need(all(value.shape == (x.channels,) for value in rest), "vectors of channels")
    groups = whole(op.groups, 1, x.channels, "groups")
    need(x.channels % groups == 0, "groups must divide the channels")


def _softmax(op: ops.Softmax, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    same(x, y)
    axes_of(op.axes, len(x.shape))
    flags(op, log=bool)


def _arg(op: ops.Arg, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    axis = axis_of(op.axis, x)
    need(op.kind in ("max", "min"), f"kind={op.kind!r}")
    flags(op, last=bool)
    left = tuple(1 if i == axis else size for i, size in enumerate(x.shape))
    need(y.shape == left and y.samples == x.samples, f"must give {left}")


def _cumulative(op: ops.Cumulative, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    same(x, y)
    axis_of(op.axis, x)
    need(op.kind in ("sum", "product"), f"kind={op.kind!r}")
    flags(op, exclusive=bool, reverse=bool)


def _top_k(op: ops.TopK, inputs: Values, outputs: Values, inner: Inner) -> None:
    x = one(inputs)
    maps((x, *outputs))
    axis = axis_of(op.axis, x)
    k = whole(op.k, 1, x.shape[axis], "k")
    flags(op, largest=bool)
    left = tuple(k if i == axis else size for i, size in enumerate(x.shape))
    need(len(outputs) in (1, 2), "must give entries, and where they are")
    for y in outputs:
        need(y.shape == left and y.samples == x.samples, f"must give {left}")


def _dropout(op: ops.Dropout, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, key = inputs
    maps((x,))
    need(key.kind == "key", "must read a key")
    same(x, one(outputs))
    need(0 <= number(op.rate, "rate") < 1, "rate must be at least 0 and below 1")


# Moves --------------------------------------------------------------------------------------------


def _concat(op: ops.Concat, inputs: Values, outputs: Values, inner: Inner) -> None:
    y = one(outputs)
    maps((*inputs, y))
    need(inputs and len({(x.space, x.samples) for x in (*inputs, y)}) == 1, "maps of one size")
    need(sum(x.channels for x in inputs) == y.channels, "the sum of their channels")


def _slice(op: ops.Slice, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    whole(op.start, 0, x.channels - y.channels, "start")
    need((x.space, x.samples) == (y.space, y.samples), "a map of the same size")


def _reshape(op: ops.Reshape, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    need(prod(x.shape) == prod(y.shape) and x.samples == y.samples, "the same numbers")


def _view(op: ops.View, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    need(x.size == y.size, "the same numbers")


def _permute(op: ops.Permute, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    need(isinstance(op.dims, tuple) and op.dims, "must have sizes")
    dims = [whole(size, 1, 1 << 62, "size") for size in op.dims]
    need(prod(dims) == x.size == y.size, "the same numbers")
    need(len(op.axes) == len(dims) and sorted(axes_of(op.axes, len(dims))) == [*range(len(dims))],
          "every axis once")  # fmt: skip
    after = [dims[axis] for axis in op.axes]
    for value, sizes in ((x, dims), (y, after)):
        ends = {prod(sizes[i:]) for i in range(len(sizes) + 1)}
        need(value.channels in ends, "sizes that split the channels off")


def _resample(op: ops.Resample, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, y = one(inputs), one(outputs)
    maps((x, y))
    need(op.epilogue is None, "must have no epilogue")
    need(type(op.fill) in (int, float), f"fill={op.fill!r}: must be a number")
    need(len(op.tables) == len(x.shape), "a table for each axis, or None")
    for table, size in zip(op.tables, x.shape, strict=True):
        fits = table is None or (isinstance(table, Table) and table.size == size)
        need(fits and (table is None or table.output), f"a table of {size} entries")
        if table is not None:
            need(all(type(n) is int for n in (*table.starts, *table.indices)), "whole numbers")
            need(all(type(w) in (int, float) for w in table.weights), "weights")
    need(op.made(x.shape) == y.shape and x.samples == y.samples, f"must give {op.made(x.shape)}")


def _grid_sample(op: ops.GridSample, inputs: Values, outputs: Values, inner: Inner) -> None:
    x, grid = inputs
    y = one(outputs)
    need(isinstance(op.how, Sampling), "must say how")
    op.how.check(len(x.space))
    need(x.batched or grid.batched, "must read a map")
    need(x.kind == grid.kind == "float" and x.samples == grid.samples == y.samples, "samples")
    need(grid.channels == len(x.space) and grid.space, "a coordinate for each axis")
    need(y.shape == (x.channels, *grid.space), "must give a map of the size of the grid")


def _embed(op: ops.Embed, inputs: Values, outputs: Values, inner: Inner) -> None:
    tokens, table = inputs
    y = one(outputs)
    need(tokens.kind == "int" and tokens.batched and len(tokens.shape) == 1, "must read tokens")
    held((table,))
    rows, features = inner.get(table.name, table.shape)
    if op.padding_index is not None:
        whole(op.padding_index, 0, rows - 1, "padding_index")
    need(y.shape == (features, *tokens.shape) and y.samples == tokens.samples, "rows of the table")


def _to_float(op: ops.ToFloat, inputs: Values, outputs: Values, inner: Inner) -> None:
    x = one(inputs)
    need(x.kind == "int" and x.batched, "must read whole numbers")
    same(x, one(outputs))


# Recurrence ---------------------------------------------------------------------------------------


def _recurrent(op: ops.Recurrent, inputs: Values, outputs: Values, inner: Inner) -> None:
    spec = op.layer
    need(isinstance(spec, RecurrentSpec), "must say which layer")
    _spec_of_recurrence(spec)
    x, rest = inputs[0], iter(inputs[1:])
    maps((x, *outputs))
    need(len(x.shape) == 2 and x.space == (spec.steps,), "must read a map of steps")
    need(all(y.samples == x.samples for y in outputs), "as many samples as are read")
    size, gates = spec.hidden, len(spec.gates)
    for _ in spec.reverse:
        wanted: list[tuple[int, ...]] = [(gates * size, x.channels)]
        wanted += [(part * size, size) for part in spec.weights]
        wanted += [(gates * size,)] * (spec.bias + spec.recurrent_bias)
        wanted += [(3 * size,)] * spec.peepholes
        for shape in wanted:
            value = next(rest)
            held((value,))
            own = inner.get(value.name, value.shape)
            fits = own == shape or (own == (*shape, 1) and len(shape) == 2)
            need(fits, f"{own}: must be {shape}")
    both = (spec.directions * size,)
    if spec.lengths:
        value = next(rest)
        fits = value.size == x.samples and value.batched and value.kind == "float"
        need(fits, "a length for each sample")
    for _ in range(spec.initial_h + spec.initial_c):
        value = next(rest)
        count = x.samples if value.batched else 1
        fits = value.shape == both and value.samples == count and value.kind == "float"
        need(fits, f"a state of {both}")
    need(next(rest, None) is None, "more values than it reads")
    states = [both] * (1 + spec.is_lstm)
    wanted = [(spec.directions * size, spec.steps), *states]
    need([y.shape for y in outputs] == wanted, f"must give {wanted}")


def _spec_of_recurrence(spec: RecurrentSpec) -> None:
    whole(spec.steps, 1, 1 << 40, "steps")
    whole(spec.hidden, 1, 1 << 31, "hidden")
    need(isinstance(spec.reverse, tuple), "directions")
    need(all(type(way) is bool for way in spec.reverse), "directions")
    names = "input_forget linear_before_reset bias recurrent_bias peepholes lengths initial_h "
    flags(spec, **dict.fromkeys((names + "initial_c").split(), bool))
    for each in spec.activations:
        for squash in each:
            need(isinstance(squash, Squash), "activations")
            number(squash.alpha, "alpha")
            number(squash.beta, "beta")
    need(not spec.peepholes or spec.is_lstm, "peepholes of an LSTM")
    need(not spec.initial_c or spec.is_lstm, "a cell of an LSTM")


RULES: dict[type, Callable[[Any, Values, Values, Inner], None]] = {
    ops.Convolve: _convolve,
    ops.ConvolveInput: _convolve_input,
    ops.LocallyConnected: _local,
    ops.Contract: _contract,
    ops.Attention: _attention,
    ops.ChannelConv: _channel_conv,
    ops.Elementwise: _elementwise,
    ops.Reduce: _reduce,
    ops.Arg: _arg,
    ops.Cumulative: _cumulative,
    ops.TopK: _top_k,
    ops.Normalise: _normalise,
    ops.Dropout: _dropout,
    ops.Pool: _pool,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Reshape: _reshape,
    ops.View: _view,
    ops.Permute: _permute,
    ops.Resample: _resample,
    ops.GridSample: _grid_sample,
    ops.Embed: _embed,
    ops.ToFloat: _to_float,
    ops.Softmax: _softmax,
    ops.Recurrent: _recurrent,
}
