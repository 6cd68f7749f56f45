"""Layers with weights, norms and pools as modules of ``torch.nn``, functions where it has none."""

import operator
from collections.abc import Callable, Sequence
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.graph import ops
from faltung.graph.recurrent import inputs_of
from faltung.graph.value import Node, Value
from faltung.reference.pool import counts
from faltung.torch.emit_formulas import epilogue, over, spread
from faltung.torch.emitter import Emitter

F = nn.functional
CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSE: dict[int, Any] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORM: dict[int, Any] = {
    0: nn.BatchNorm1d,
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
MAX_POOL: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
# Padding modes that modules have, for all axes alike.
MODES = {"zeros", "reflect", "replicate", "circular"}


# Convolutions -------------------------------------------------------------------------------------


def convolve(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    spec: ConvSpec = op.spec
    x, w = node.inputs[:2]
    bias = node.inputs[2] if op.bias else None
    others = node.inputs[2 + op.bias :]
    if not node.output.space and spec.groups == 1 and not spec.flip:
        return epilogue(e, node, _linear(e, node, x, w, bias), others)
    read = e.of(x) if x.space == spec.size else e.shaped(e.of(x), (x.channels, *spec.size))
    made = _convolved(e, node, read, w, bias)
    if node.output.space != spec.output:
        made = e.shaped(made, node.output.shape)
    return epilogue(e, node, made, others)


def _linear(e: Emitter, node: Node, x: Value, w: Value, bias: Value | None) -> fx.Node:
    """A layer that reads all of its input."""
    features, inputs = node.output.channels, prod(x.shape)
    named = {"weight": w, "bias": bias}
    layer = e.owner(node, named)
    if layer is not None:
        module = _empty(e, nn.Linear, inputs, features, bias=bias is not None)
        return e.owned(layer, module, named, e.flat(x))
    weight = e.method("reshape", e.of(w), (features, inputs))
    return e.call(F.linear, e.flat(x), weight, None if bias is None else e.of(bias))


def _empty(e: Emitter, kind: Any, *args: Any, **kwargs: Any) -> Any:
    """A module whose numbers come later."""
    return nn.utils.skip_init(kind, *args, dtype=e.dtype, **kwargs)


def _convolved(e: Emitter, node: Node, x: fx.Node, w: Value, bias: Value | None) -> fx.Node:
    op: Any = node.op
    spec: ConvSpec = op.spec
    named = {"weight": w, "bias": bias}
    layer = e.owner(node, named) if spec.rank <= 3 and not spec.flip else None
    modes = {axis.mode for axis in spec.axes}
    plain = len(modes) == 1 and modes <= MODES and all(0 <= lo == hi for lo, hi in spec.padding)
    if layer is None or not plain:
        x = padded(e, x, spec.axes)
    if layer is None:
        return _by_function(e, node, x, w, bias)
    module = _empty(
        e,
        CONV[spec.rank],
        spec.channels_in,
        spec.channels_out,
        spec.kernel,
        stride=spec.stride,
        padding=tuple(lo for lo, _ in spec.padding) if plain else 0,
        dilation=spec.dilation,
        groups=spec.groups,
        bias=bias is not None,
        padding_mode=spec.padding_mode[0] if plain else "zeros",
    )
    return e.owned(layer, module, named, x)


def _by_function(e: Emitter, node: Node, x: fx.Node, w: Value, bias: Value | None) -> fx.Node:
    """A convolution of what is padded already, by a weight in any order of its taps."""
    op: Any = node.op
    spec: ConvSpec = op.spec
    weight = e.of(w)
    if w.shape != spec.weight_shape:
        weight = e.method("reshape", weight, spec.weight_shape)
    if spec.flip:
        weight = e.call(torch.flip, weight, tuple(range(2, spec.rank + 2)))
    if spec.rank <= 3:
        function = (F.conv1d, F.conv2d, F.conv3d)[spec.rank - 1]
        b = None if bias is None else e.of(bias)
        return e.call(function, x, weight, b, spec.stride, 0, spec.dilation, spec.groups)
    made = _contracted(e, x, weight, spec, shared=True)
    return made if bias is None else e.call(operator.add, made, _column(e, bias, spec.rank))


def _column(e: Emitter, bias: Value, rank: int) -> fx.Node:
    return e.method("reshape", e.of(bias), (-1, *(1,) * rank))


def _contracted(
    e: Emitter, x: fx.Node, weight: fx.Node, spec: ConvSpec, *, shared: bool
) -> fx.Node:
    """All windows, each times the weight, or the one of its position (``shared`` False)."""
    groups, rank = spec.groups, spec.rank
    x = _windows(e, x, spec.axes)
    x = e.method("unflatten", x, 1, (groups, spec.channels_in // groups))
    at, taps = ascii_letters[:rank], ascii_letters[rank : 2 * rank]
    weight = e.method("unflatten", weight, 0 if shared else rank, (groups, -1))
    lead = "" if shared else at
    made = e.call(torch.einsum, f"NGI{at}{taps},{lead}GOI{taps}->NGO{at}", x, weight)
    return e.call(torch.flatten, made, 1, 2)


def padded(e: Emitter, x: fx.Node, axes: Sequence[Axis], fill: float = 0.0) -> fx.Node:
    """``x`` with what its axes add: zeros, or entries of it."""
    ends = [end for axis in reversed(axes) for end in (axis.lo, axis.hi) * (axis.mode == "zeros")
            or (0, 0)]  # fmt: skip
    if any(ends):
        x = e.call(F.pad, x, ends, value=fill)
    for dim, axis in enumerate(axes, 2):
        if axis.mode != "zeros" and (axis.lo or axis.hi):
            places = [axis.source(i) for i in range(-axis.lo, axis.size + axis.hi)]
            x = e.call(torch.index_select, x, dim, e.constant(np.array(places)))
    return x


def _windows(e: Emitter, x: fx.Node, axes: Sequence[Axis]) -> fx.Node:
    """(N, C, *padded) as (N, C, *output, *kernel)."""
    for dim, axis in enumerate(axes, 2):
        x = e.method("unfold", x, dim, axis.extent, axis.stride)
        if axis.dilation > 1:
            x = e.call(operator.getitem, x, (..., slice(None, None, axis.dilation)))
    return x


def local(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    spec: ConvSpec = op.spec
    x, w = node.inputs[:2]
    weight = e.of(w)
    if spec.flip:
        weight = e.call(torch.flip, weight, tuple(range(-spec.rank, 0)))
    made = _contracted(e, padded(e, e.of(x), spec.axes), weight, spec, shared=False)
    if op.bias:
        made = e.call(operator.add, made, e.moved(e.of(node.inputs[2]), -1, 0))
    return made


def convolve_input(e: Emitter, node: Node) -> fx.Node:
    """A transposed convolution: its padding cuts, and its output padding adds at the ends."""
    op: Any = node.op
    spec: ConvSpec = op.spec
    x, w = node.inputs[:2]
    bias = node.inputs[2] if op.bias else None
    others = node.inputs[2 + op.bias :]
    if set(spec.padding_mode) != {"zeros"}:
        raise e.refused(f"the transpose of padding_mode={spec.padding_mode}")
    if spec.rank > 3:
        raise e.refused(f"a transposed convolution along {spec.rank} axes")
    read = e.of(x) if x.space == spec.output else e.shaped(e.of(x), (x.channels, *spec.output))
    extra = tuple(axis.unread for axis in spec.axes)
    named = {"weight": w, "bias": bias}
    layer = None if spec.flip else e.owner(node, named)
    given: dict[str, Any] = {"groups": spec.groups, "dilation": spec.dilation}
    if all(0 <= lo == hi for lo, hi in spec.padding):
        given |= {"padding": tuple(lo for lo, _ in spec.padding), "output_padding": extra}
        cut: list[int] = []
    else:
        ends = [(-axis.lo, axis.unread - axis.hi) for axis in reversed(spec.axes)]
        cut = [end for pair in ends for end in pair]
    after = bias is not None and bool(cut)  # what is cut has no bias yet
    if layer is not None and not after:
        sizes = spec.channels_out, spec.channels_in, spec.kernel, spec.stride
        module = _empty(e, TRANSPOSE[spec.rank], *sizes, bias=bias is not None, **given)
        made = e.owned(layer, module, named, read)
    else:
        weight = e.method("reshape", e.of(w), spec.weight_shape)
        weight = e.call(torch.flip, weight, tuple(range(2, spec.rank + 2))) if spec.flip else weight
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[spec.rank - 1]
        b = None if bias is None or after else e.of(bias)
        made = e.call(function, read, weight, b, spec.stride, **given)
    if cut:
        made = e.call(F.pad, made, cut)
    if after:
        assert bias is not None
        made = e.call(operator.add, made, _column(e, bias, spec.rank))
    if node.output.space != spec.size:
        made = e.shaped(made, node.output.shape)
    return epilogue(e, node, made, others)


# Norms --------------------------------------------------------------------------------------------


def normalise(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    return NORMS[op.over](e, node)


def _batch(e: Emitter, node: Node) -> fx.Node:
    """By the statistics of the batch where the module is in training, else by running ones."""
    op: Any = node.op
    x, *rest = node.inputs
    named = dict(zip(("weight", "bias", "running_mean", "running_var"), rest, strict=True))
    if not op.training:  # always by what is kept
        mean, var, gain, shift = (
            e.of(named[n]) for n in ("running_mean", "running_var", "weight", "bias")
        )
        return e.call(F.batch_norm, e.of(x), mean, var, gain, shift, False, 0.0, op.eps)
    kind = BATCH_NORM.get(len(x.space), nn.BatchNorm3d)
    layer = e.owner(node, named) or node.layer
    module = kind(x.channels, eps=op.eps, momentum=op.momentum, dtype=e.dtype)
    read = e.of(x)
    if len(x.space) > 3:
        read = e.shaped(read, (x.channels, prod(x.space), 1, 1))
    made = e.owned(layer, module, named, read)
    return e.shaped(made, x.shape) if len(x.space) > 3 else made


def _group(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    x, gain, shift = node.inputs
    named = {"weight": gain, "bias": shift}
    layer = e.owner(node, named)
    if layer is None:
        return e.call(F.group_norm, e.of(x), op.groups, e.of(gain), e.of(shift), op.eps)
    module = nn.GroupNorm(op.groups, x.channels, eps=op.eps, dtype=e.dtype)
    return e.owned(layer, module, named, e.of(x))


def _position(e: Emitter, node: Node) -> fx.Node:
    """Over the channels, which come last for it."""
    op: Any = node.op
    x, gain, shift = node.inputs
    read = e.moved(e.of(x), 1, -1) if x.space else e.of(x)
    named = {"weight": gain, "bias": shift}
    layer = e.owner(node, named)
    if layer is None:
        made = e.call(F.layer_norm, read, (x.channels,), e.of(gain), e.of(shift), op.eps)
    else:
        module = nn.LayerNorm(x.channels, eps=op.eps, dtype=e.dtype)
        made = e.owned(layer, module, named, read)
    return e.moved(made, -1, 1) if x.space else made


def _axes(e: Emitter, node: Node) -> fx.Node:
    """Over any axes, in single steps."""
    op: Any = node.op
    x, *affine = node.inputs
    dims = [axis + 1 for axis in op.axes]
    away = e.of(x)
    if op.centred:
        away = e.call(operator.sub, away, over(e, "mean", away, dims))
    variance = over(e, "mean", e.call(torch.square, away), dims)
    scale = e.call(torch.rsqrt, e.call(operator.add, variance, op.eps))
    made = e.call(operator.mul, away, scale)
    for function, value in zip((operator.mul, operator.add), affine, strict=False):
        ((_, other), split) = spread(e, (x, value), x.shape)
        if split:
            raise e.refused("a gain for each of several samples")
        made = e.call(function, made, other)
    return made


NORMS = {"batch": _batch, "group": _group, "position": _position, "axes": _axes}


def dropout(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    return e.module(node.layer, nn.Dropout(op.rate), e.of(node.inputs[0]))


def channel_conv(e: Emitter, node: Node) -> fx.Node:
    """Windows of channels times the weights."""
    op: Any = node.op
    (x,) = node.inputs
    last = e.moved(e.of(x), 1, -1)
    wide = e.call(F.pad, last, (op.lo, len(op.weight) - 1 - op.lo))
    windows = e.method("unfold", wide, -1, len(op.weight), 1)
    made = e.call(torch.matmul, windows, e.constant(np.array(op.weight)))
    return e.moved(made, -1, 1)


# Pooling, embedding -------------------------------------------------------------------------------


def pool(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    if len(node.outputs) > 1:
        raise e.refused("the places of maxima")
    return (_max_pool if op.spec.kind == "max" else _average)(e, node)


def _halves(spec: PoolSpec) -> bool:
    """Whether the padding is one that modules take: the same at both ends, up to half a kernel."""
    return all(0 <= axis.lo == axis.hi <= axis.kernel // 2 for axis in spec.axes)


def _max_pool(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    spec: PoolSpec = op.spec
    x, pads = e.of(node.inputs[0]), tuple(lo for lo, _ in spec.padding)
    if not _halves(spec):
        x, pads = padded(e, x, spec.axes, -np.inf), (0,) * spec.rank
    if spec.rank > 3:
        x = padded(e, x, spec.axes, -np.inf) if any(pads) else x
        return e.call(torch.amax, _windows(e, x, spec.axes), tuple(range(-spec.rank, 0)))
    module = MAX_POOL[spec.rank](spec.kernel, spec.stride, pads, spec.dilation)
    return e.module(node.layer, module, x)


def _average(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    spec: PoolSpec = op.spec
    x = e.of(node.inputs[0])
    dense = all(axis.dilation == 1 for axis in spec.axes)
    if _halves(spec) and not any(spec.overhang) and spec.rank <= 3 and dense:
        given = {"padding": tuple(lo for lo, _ in spec.padding)}
        counted = {"count_include_pad": spec.count_padding}
        module = AVERAGE[spec.rank](spec.kernel, spec.stride, **given, **counted)
        return e.module(node.layer, module, x)
    # The sum of each window, divided by what counts of it.
    windows = _windows(e, padded(e, x, spec.axes), spec.axes)
    total = e.call(torch.sum, windows, tuple(range(-spec.rank, 0)))
    return e.call(operator.truediv, total, e.constant(counts(spec)))


def embed(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    tokens, table = node.inputs
    layer = e.owner(node, {"weight": table})
    if layer is None:
        rows = e.call(F.embedding, e.of(tokens), e.of(table), op.padding_index)
    else:
        module = _empty(e, nn.Embedding, *table.shape, padding_idx=op.padding_index)
        rows = e.owned(layer, module, {"weight": table}, e.of(tokens))
    return e.moved(rows, -1, 1)


# Recurrence ---------------------------------------------------------------------------------------

RECURRENT: dict[str, Any] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}


def recurrent(e: Emitter, node: Node) -> fx.Node:
    """By the functions behind ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``."""
    op: Any = node.op
    spec = op.layer
    squashes = {tuple(s.name for s in each) for each in spec.activations}
    kind = f"rnn_{spec.activations[0][0].name}" if spec.kind == "rnn" else spec.kind
    usual = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh")}
    own = (kind.removeprefix("rnn_"),) if spec.kind == "rnn" else usual[spec.kind]
    before = spec.kind == "gru" and not spec.linear_before_reset
    others = spec.peepholes or spec.lengths or spec.clip is not None or spec.input_forget
    turned = spec.reverse not in ((False,), (True,), (False, True))
    if squashes != {own} or kind not in RECURRENT or before or others or turned:
        raise e.refused(f"a recurrence of kind {spec.kind!r} unlike PyTorch's own")
    parts, shared = inputs_of(op, node.inputs)
    order = [spec.gates.index(letter) for letter in GATES[spec.kind]]
    biased = spec.bias or spec.recurrent_bias
    weights = []
    for part in parts:
        held = [part["w"], *part.recurrent]
        rows = len(order) * spec.hidden
        weights += [_gates(e, e.method("reshape", e.of(v), (rows, -1)), spec, order) for v in held]
        for name in ("bias", "recurrent bias") if biased else ():
            found = part.get(name)
            bias = e.constant(np.zeros(rows)) if found is None else e.of(found)
            weights.append(_gates(e, bias, spec, order))
    x = e.moved(e.of(shared["x"]), 1, -1)
    alone = spec.reverse == (True,)
    x = e.call(torch.flip, x, (1,)) if alone else x
    states = [_first(e, node, shared.get(name)) for name in ("h", "c")[: 1 + spec.is_lstm]]
    first = states if spec.is_lstm else states[0]
    both = spec.directions == 2
    made = e.call(RECURRENT[kind], x, first, weights, biased, 1, 0.0, False, both, True)
    for number, value in enumerate(node.outputs[1:], 1):
        state = e.call(torch.movedim, e.call(operator.getitem, made, number), 0, 1)
        e.made[value.name] = e.call(torch.flatten, state, 1)
    y = e.call(operator.getitem, made, 0)
    y = e.call(torch.flip, y, (1,)) if alone else y
    return e.moved(y, -1, 1)


# The order of gates in PyTorch.
GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}


def _gates(e: Emitter, weight: fx.Node, spec: Any, order: list[int]) -> fx.Node:
    if order == sorted(order):
        return weight
    rows = np.concatenate([np.arange(spec.hidden) + g * spec.hidden for g in order])
    return e.call(torch.index_select, weight, 0, e.constant(rows))


def _first(e: Emitter, node: Node, value: Value | None) -> fx.Node:
    """An initial state as (directions, batch, H)."""
    op: Any = node.op
    spec = op.layer
    shape = spec.directions, e.count(node.output.samples), spec.hidden
    if value is None:
        weight = e.made[node.inputs[0].name] if not e.is_parameter(node.inputs[0]) else None
        assert weight is not None
        return e.method("new_zeros", weight, shape)
    found = e.of(value)
    split = e.method("unflatten", found, -1, (spec.directions, spec.hidden))
    if value.batched:
        return e.method("contiguous", e.moved(split, -2, 0))
    return e.method("contiguous", e.method("expand", e.method("unsqueeze", split, 1), shape))


EMIT: dict[type, Callable[[Emitter, Node], fx.Node]] = {
    ops.Convolve: convolve,
    ops.ConvolveInput: convolve_input,
    ops.LocallyConnected: local,
    ops.Normalise: normalise,
    ops.Dropout: dropout,
    ops.ChannelConv: channel_conv,
    ops.Pool: pool,
    ops.Embed: embed,
    ops.Recurrent: recurrent,
}
