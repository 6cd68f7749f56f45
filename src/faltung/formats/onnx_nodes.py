"""The operations of a network as ONNX nodes, one function each; ``EMIT`` is their table."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from faltung.formats import onnx_grids, onnx_reduce
from faltung.formats.onnx_expr import formula, spread
from faltung.formats.onnx_products import attention, contract
from faltung.formats.onnx_recurrent import recurrent
from faltung.formats.onnx_resample import grid_sample, resample
from faltung.formats.onnx_writer import Writer
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand
from faltung.geometry.pool import PoolSpec
from faltung.graph import ops
from faltung.graph.value import Node, Value
from faltung.nn import activation
from faltung.nn.norm import LocalResponseNorm
from faltung.reference.pool import counts

PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def emit(writer: Writer, node: Node) -> None:
    """Add a node of the network. ValueError: one that inference does not have."""
    writer.layer = node.layer
    found = EMIT.get(type(node.op))
    if found is None or (isinstance(node.op, ops.Normalise) and node.op.training):
        raise FaltungError(
            f"graph: {type(node.op).__name__} of layer {node.layer!r} cannot be expressed in ONNX"
        )
    writer.made(node.output, found(writer, node))


# Convolutions -------------------------------------------------------------------------------------


def _convolve(writer: Writer, node: Node) -> str:
    op: Any = node.op
    x, w = node.inputs[:2]
    bias = [_bias(writer, node.inputs[2])] if op.bias else []
    if not node.output.space:  # a linear layer: a vector times the weight (out, in)
        vector = writer.name(x) if not x.space else writer.node("Flatten", writer.name(x), axis=1)
        made = writer.node("Gemm", vector, _matrix(writer, w, op.spec), *bias, transB=1)
    else:
        spec: ConvSpec = op.spec
        read = _padded(writer, writer.name(x), list(spec.axes), zeros=False)
        outside = [axis if axis.mode == "zeros" else Axis(1, 1) for axis in spec.axes]
        attributes = _attributes(spec) | {"pads": _pads(outside), "group": spec.groups}
        made = writer.node("Conv", read, _weight(writer, w, spec), *bias, **attributes)
    return _epilogue(writer, node, made)


def _matrix(writer: Writer, w: Value, spec: ConvSpec) -> str:
    """The weight (out, in) of a layer that reads the whole input."""
    return _weight(writer, w, spec, (spec.channels_out, -1))


def _weight(writer: Writer, w: Value, spec: ConvSpec, shape: tuple[int, ...] | None = None) -> str:
    """The weight of a convolution; a flipped kernel is stored flipped. shape: not its own."""
    given = onnx_grids.stored(writer, w)
    array = writer.array(w) if given is None else given.levels
    array = _flipped(array.reshape(spec.weight_shape), spec).reshape(shape or spec.weight_shape)
    if given is None:
        return writer.tensor(array, w.name)
    return onnx_grids.parameter(writer, f"{writer.layer}.weight", given, array)


def _bias(writer: Writer, bias: Value) -> str:
    given = onnx_grids.stored(writer, bias)
    if given is None:
        return writer.name(bias)
    return onnx_grids.parameter(writer, f"{writer.layer}.bias", given, given.levels)


def _flipped(array: Any, spec: ConvSpec) -> Any:
    return np.flip(array, tuple(range(-spec.rank, 0))) if spec.flip else array


def _attributes(spec: ConvSpec | PoolSpec) -> dict[str, Any]:
    return {
        "kernel_shape": list(spec.kernel),
        "strides": list(spec.stride),
        "dilations": list(spec.dilation),
    }


def _pads(axes: list[Axis] | tuple[Axis, ...]) -> list[int]:
    """As ONNX orders them: before for all axes, then after for all axes."""
    return [axis.lo for axis in axes] + [axis.hi for axis in axes]


def _padded(
    writer: Writer, x: str, axes: list[Axis], *, zeros: bool, value: float | None = None
) -> str:
    """``x``, padded axis by axis; with zeros only on request. value: what replaces the zeros."""
    for number, axis in enumerate(axes, 2):
        if not (axis.lo or axis.hi) or (axis.mode == "zeros" and not zeros):
            continue
        if axis.mode == "symmetric":  # ONNX has no name for it
            places = [axis.source(i) for i in range(-axis.lo, axis.size + axis.hi)]
            x = writer.node("Gather", x, writer.tensor(np.array(places)), axis=number)
            continue
        pads = [0] * (2 * (len(axes) + 2))
        pads[number], pads[number + len(axes) + 2] = axis.lo, axis.hi
        if axis.mode == "zeros":
            fill = [writer.tensor(np.float64(value or 0))]
            x = writer.node("Pad", x, writer.whole(*pads), *fill, mode="constant")
        else:
            x = writer.node("Pad", x, writer.whole(*pads), mode=PAD_MODES[axis.mode])
    return x


def _convolve_input(writer: Writer, node: Node) -> str:
    op: Any = node.op
    spec: ConvSpec = op.spec
    x, w = node.inputs[:2]
    bias = [writer.name(node.inputs[2])] if op.bias else []
    if any(axis.mode != "zeros" for axis in spec.axes):
        raise FaltungError(
            f"graph: padding_mode={spec.padding_mode} of layer {node.layer!r}: a transposed "
            "convolution in ONNX supports zeros only"
        )
    # Output padding is what the forward convolution does not read, and negative padding adds to it.
    extra = [axis.unread - min(axis.hi, 0) for axis in spec.axes]
    pads = [axis.lo for axis in spec.axes] + [max(axis.hi, 0) for axis in spec.axes]
    made = writer.node(
        "ConvTranspose",
        writer.name(x),
        _weight(writer, w, spec),
        *bias,
        **_attributes(spec),
        group=spec.groups,
        pads=pads,
        output_padding=extra,
    )
    return _epilogue(writer, node, made)


def _epilogue(writer: Writer, node: Node, made: str) -> str:
    """The formula of a fused convolution."""
    op: Any = node.op
    if op.epilogue is None:
        return made
    rest = node.inputs[3 if op.bias else 2 :]
    others = [spread(writer, value, node.output.shape) for value in rest]
    return formula(writer, op.epilogue, [made, *others])


def _local(writer: Writer, node: Node) -> str:
    """All windows gathered, each multiplied by the weight of its position."""
    op: Any = node.op
    spec: ConvSpec = op.spec
    x, w = node.inputs[:2]
    read = _padded(writer, writer.name(x), list(spec.axes), zeros=True)
    positions, taps, channels = prod(spec.output), spec.taps, spec.channels_in
    flat = writer.node("Reshape", read, writer.whole(0, channels, -1))
    windows = writer.node("Gather", flat, writer.tensor(_windows(spec)), axis=2)
    first = writer.node("Transpose", windows, perm=[2, 0, 1, 3])  # position, sample, channel, tap
    rows = writer.node("Reshape", first, writer.whole(0, 0, channels * taps))
    array = writer.array(w).reshape(positions, *spec.weight_shape)
    array = _flipped(array, spec).reshape(positions, spec.channels_out, -1)
    made = writer.node("MatMul", rows, writer.tensor(array.transpose(0, 2, 1), w.name))
    made = writer.node("Transpose", made, perm=[1, 2, 0])
    if op.bias:
        bias = writer.array(node.inputs[2]).reshape(positions, spec.channels_out).T
        made = writer.node("Add", made, writer.tensor(bias, node.inputs[2].name))
    return writer.node("Reshape", made, writer.whole(0, *node.output.shape))


def _windows(spec: ConvSpec) -> Any:
    """(positions, taps): the index into the padded map that each tap reads."""
    found: Any = np.zeros((1, 1), np.int64)
    for axis in spec.axes:
        starts = np.arange(axis.output) * axis.stride
        places = starts[:, None] + np.arange(axis.kernel) * axis.dilation
        wide = found[:, None, :, None] * axis.padded + places[None, :, None, :]
        found = wide.reshape(found.shape[0] * axis.output, found.shape[1] * axis.kernel)
    return found


# Formulas -----------------------------------------------------------------------------------------


def _elementwise(writer: Writer, node: Node) -> str:
    op: Any = node.op
    if onnx_grids.stored(writer, node.output) is not None:
        return ""  # whoever reads it writes it as whole numbers
    if (found := onnx_grids.activation(writer, node)) is not None:
        return found
    # By the exact class: a subclass may compute something else.
    layer = None if node.kind is None else node.kind.layer
    if type(layer) in ACTIVATIONS and writer.dtype == np.float32:
        name, attributes = ACTIVATIONS[type(layer)](layer)
        return writer.node(name, writer.name(node.inputs[0]), **attributes)
    if type(layer) is LocalResponseNorm and (numbers := _response_norm(writer, node, layer)):
        return writer.node("LRN", writer.name(node.inputs[0]), **numbers)
    operands = [spread(writer, value, op.shape) for value in node.inputs]
    if len(op.outputs) + len(op.reductions) != 1 or not op.batched:
        raise FaltungError(
            f"graph: the formulas of layer {node.layer!r} cannot be expressed in ONNX"
        )
    if op.outputs:
        made = formula(writer, op.outputs[0], operands)
        return made if _reaches(node) else _spread(writer, made, node.output)
    (total,) = op.reductions
    if total.kind != "sample" or not total.mean:
        raise FaltungError(f"graph: the sum of layer {node.layer!r} cannot be expressed in ONNX")
    read = operands[0] if total.expr == operand(0) else formula(writer, total.expr, operands)
    return writer.node("Flatten", writer.node("GlobalAveragePool", read), axis=1)


def _reaches(node: Node) -> bool:
    """Whether operands of a formula that are broadcast together have the shape of the result."""
    op: Any = node.op
    if not any(value.batched for value in node.inputs):
        return False
    shapes = [value.shape + (1,) * (len(op.shape) - len(value.shape)) for value in node.inputs]
    return bool(tuple(map(max, *shapes, (1,) * len(op.shape))) == op.shape)


def _spread(writer: Writer, made: str, value: Value) -> str:
    """A tensor repeated over the samples, and where it has 1 of something."""
    first = writer.name(writer.graph.input)
    count = writer.node("Shape", first, start=0, end=1)
    if value.samples > 1:
        count = writer.node("Mul", count, writer.whole(value.samples))
    return writer.node(
        "Expand", made, writer.node("Concat", count, writer.whole(*value.shape), axis=0)
    )


# Activations that are one node in ONNX: by the layer, the node and its attributes. In float64 they
# are formulas, because readers have these nodes in float32 only. Elu is a formula always, because
# readers subtract 1 from an exponential, which leaves nothing of small numbers.
ACTIVATIONS: dict[type, Callable[[Any], tuple[str, dict[str, float]]]] = {
    activation.ReLU: lambda layer: ("Relu", {}),
    activation.LeakyReLU: lambda layer: ("LeakyRelu", {"alpha": float(layer.slope)}),
    activation.Softplus: lambda layer: ("Softplus", {}),
    activation.HardSigmoid: lambda layer: ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    activation.HardSwish: lambda layer: ("HardSwish", {}),
}


def _response_norm(writer: Writer, node: Node, layer: LocalResponseNorm) -> dict[str, float] | None:
    """The attributes of LRN for the last node of the layer. Only for pictures and a centred window
    of an odd number of channels: readers support no others.
    """
    maker = writer.makers.get(node.inputs[-1].name)
    if maker is None or not isinstance(maker.op, ops.ChannelConv) or len(node.output.shape) != 3:
        return None
    size = len(maker.op.weight)
    if size % 2 == 0 or maker.op.lo != size // 2:
        return None
    alpha = maker.op.weight[0] * size
    return {"size": size, "alpha": alpha, "beta": float(layer.beta), "bias": float(layer.k)}


def _channel_conv(writer: Writer, node: Node) -> str:
    """A convolution along the channels, which become an axis of space."""
    op: Any = node.op
    (x,) = node.inputs
    size = len(op.weight)
    planes = writer.node("Reshape", writer.name(x), writer.whole(0, 1, x.channels, -1))
    weight = writer.tensor(np.array(op.weight).reshape(1, 1, size, 1))
    pads = [op.lo, 0, size - 1 - op.lo, 0]
    made = writer.node("Conv", planes, weight, kernel_shape=[size, 1], pads=pads)
    return writer.node("Reshape", made, writer.whole(0, *x.shape))


def _normalise(writer: Writer, node: Node) -> str:
    op: Any = node.op
    if op.over == "axes":
        return onnx_reduce.normalise(writer, node)
    x, gain, shift, *running = node.inputs
    name = writer.name(x)
    affine = [writer.name(gain), writer.name(shift)]
    if op.over == "batch":
        statistics = map(writer.name, running)
        return writer.node("BatchNormalization", name, *affine, *statistics, epsilon=op.eps)
    if op.over == "position":
        last = list(range(len(x.shape) + 1))
        last.append(last.pop(1))
        name = writer.node("Transpose", name, perm=last) if x.space else name
        made = writer.node("LayerNormalization", name, *affine, axis=-1, epsilon=op.eps)
        back = [0, len(x.shape), *range(1, len(x.shape))]
        return writer.node("Transpose", made, perm=back) if x.space else made
    # Groups become channels of a normalisation of each sample and channel; then gain and shift.
    groups = writer.node("Reshape", name, writer.whole(0, op.groups, -1))
    plain = writer.tensor(np.ones(op.groups)), writer.tensor(np.zeros(op.groups))
    made = writer.node("InstanceNormalization", groups, *plain, epsilon=op.eps)
    made = writer.node("Reshape", made, writer.whole(0, *x.shape))
    made = writer.node("Mul", made, spread(writer, gain, x.shape))
    return writer.node("Add", made, spread(writer, shift, x.shape))


def _permute(writer: Writer, node: Node) -> str:
    op: Any = node.op
    split = writer.node("Reshape", _to_memory(writer, node.inputs[0]), writer.whole(-1, *op.dims))
    moved = writer.node("Transpose", split, perm=[0, *(axis + 1 for axis in op.axes)])
    return _from_memory(writer, moved, node.output)


def _view(writer: Writer, node: Node) -> str:
    if not node.output.batched and writer.is_parameter(node.inputs[0]):
        return ""  # scales, which are written with what they scale
    return _from_memory(writer, _to_memory(writer, node.inputs[0]), node.output)


def _to_memory(writer: Writer, x: Value) -> str:
    """A map with its channels last."""
    name, rank = writer.name(x), len(x.shape)
    return writer.node("Transpose", name, perm=[0, *range(2, rank + 1), 1]) if rank > 1 else name


def _from_memory(writer: Writer, name: str, value: Value) -> str:
    """Numbers in the order of memory as (samples, C, *space)."""
    made = writer.node("Reshape", name, writer.whole(-1, *value.space, value.channels))
    rank = len(value.shape)
    if rank == 1:
        return made
    return writer.node("Transpose", made, perm=[0, rank, *range(1, rank)])


# Pooling, copies, embedding -----------------------------------------------------------------------


def _pool(writer: Writer, node: Node) -> str:
    op: Any = node.op
    spec: PoolSpec = op.spec
    x = writer.name(node.inputs[0])
    attributes = _attributes(spec)
    within = all(max(axis.lo, axis.hi) < axis.kernel for axis in spec.axes)
    if spec.kind == "max":
        if within:
            return writer.node("MaxPool", x, **attributes, pads=_pads(spec.axes))
        # Readers refuse a padding as large as the kernel, which a dilation allows.
        x = _padded(writer, x, list(spec.axes), zeros=True, value=-np.inf)
        return writer.node("MaxPool", x, **attributes)
    del attributes["dilations"]
    if within and not any(spec.overhang):
        counted = {"pads": _pads(spec.axes), "count_include_pad": int(spec.count_padding)}
        return writer.node("AveragePool", x, **attributes, **counted)
    # A mean leaves out what its last window reaches beyond the padding: readers differ about that.
    x = _padded(writer, x, list(spec.axes), zeros=True)
    mean = writer.node("AveragePool", x, **attributes)
    return writer.node("Mul", mean, writer.tensor(spec.taps / counts(spec)))


def _concat(writer: Writer, node: Node) -> str:
    return writer.node("Concat", *map(writer.name, node.inputs), axis=1)


def _slice(writer: Writer, node: Node) -> str:
    op: Any = node.op
    start = op.start
    ends = (start, start + node.output.channels, 1)
    return writer.node("Slice", writer.name(node.inputs[0]), *(writer.whole(n) for n in ends))


def _reshape(writer: Writer, node: Node) -> str:
    name = writer.name(node.inputs[0])
    if not node.output.space:
        return writer.node("Flatten", name, axis=1)
    return writer.node("Reshape", name, writer.whole(0, *node.output.shape))


def _embed(writer: Writer, node: Node) -> str:
    tokens, table = map(writer.name, node.inputs)
    rows = writer.node("Gather", table, tokens, axis=0)
    return writer.node("Transpose", rows, perm=[0, 2, 1])


EMIT: dict[type, Callable[[Writer, Node], str]] = {
    ops.Convolve: _convolve,
    ops.ConvolveInput: _convolve_input,
    ops.LocallyConnected: _local,
    ops.Attention: attention,
    ops.Contract: contract,
    ops.Elementwise: _elementwise,
    ops.ChannelConv: _channel_conv,
    ops.Normalise: _normalise,
    ops.Pool: _pool,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Reshape: _reshape,
    ops.View: _view,
    ops.Permute: _permute,
    ops.Resample: resample,
    ops.GridSample: grid_sample,
    ops.Embed: _embed,
    ops.Recurrent: recurrent,
    **onnx_reduce.EMIT,
}
