"""Convolutions and locally connected layers as steps."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.graph.ops import (
    ChannelConv,
    Convolve,
    ConvolveInput,
    ConvolveWeight,
    LocallyConnected,
    LocallyConnectedBias,
    LocallyConnectedInput,
    LocallyConnectedWeight,
)
from faltung.graph.value import Node, Value
from faltung.methods.base.correlation import Strides
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Operand, Work
from faltung.methods.local import local
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad
from faltung.plan.plan import Plan
from faltung.program.lowering import Lowered, Lowering, broadcast_strides

# Convolutions ------------------------------------------------------------------------------------


def convolve(low: Lowering, node: Node, work: Work) -> Plan:
    op = node.op
    assert isinstance(op, Convolve)
    return _planned(low, node, op, build_forward, op.spec.size, op.spec.output)


def in_rings(low: Lowering, node: Node, rings: tuple[int, int]) -> Lowered:
    """A convolution whose input, or output, has memory for some rows only (0: for all of them)."""
    op = node.op
    assert isinstance(op, Convolve)
    plan = _planned(low, node, op, build_forward, op.spec.size, op.spec.output, rings)
    return low.planned(node, plan)


def convolve_input(low: Lowering, node: Node, work: Work) -> Plan:
    op = node.op
    assert isinstance(op, ConvolveInput)
    return _planned(low, node, op, build_input_grad, op.spec.output, op.spec.size)


def _planned(
    low: Lowering,
    node: Node,
    op: Convolve | ConvolveInput,
    build: Callable[..., Plan],
    reads: Sequence[int],
    writes: Sequence[int],
    rings: tuple[int, int] = (0, 0),
) -> Plan:
    """The plan of a node that reads a map with the space ``reads`` and writes ``writes``."""
    x, w, *rest = node.inputs
    aux = rest[1:] if op.bias else rest
    lie = low.strides(x, reads), low.strides(node.output, writes)
    # All samples have the same ring.
    maps = [(0, *m[1:]) if ring else m for m, ring in zip(lie, rings, strict=True)]
    given: dict[str, Any] = {"rings": rings} if any(rings) else {}
    return low.plan(
        build,
        replace(op.spec, batch=low.samples(node.inputs[0])),
        maps[0],
        weight_strides(low, op.spec, w),
        maps[1],
        bias=op.bias,
        epilogue=None if op.epilogue is None else Epilogue(op.epilogue, len(aux)),
        aux=tuple(aux_strides(low, value, node.output, writes) for value in aux),
        packs=low.packs(node),
        **given,
    )


def weight_strides(low: Lowering, spec: ConvSpec, w: Value) -> Strides:
    """Strides of (C_out, C_in // groups, *kernel): of a parameter, or of any map of that shape, of
    which the first axis is the channels.

    UnsupportedError: a weight for each sample of the batch.
    """
    if w.name in low.weights:
        return low.weights[w.name]
    if low.samples(w) != 1:
        raise UnsupportedError(
            f"{w.name}: {low.samples(w)} weights, one for each sample; a convolution has one weight"
        )
    if w.shape == (spec.channels_out, prod(spec.weight_shape[1:])):  # of a layer that reads a map
        return low.strides(w, spec.weight_shape[1:])[1:]
    if w.shape != spec.weight_shape:
        raise FaltungError(f"{w.name}.shape={w.shape}: must be {spec.weight_shape}")
    return low.strides(w, w.space)[1:]


def aux_strides(low: Lowering, value: Value, out: Value, space: Sequence[int]) -> Strides:
    """Strides of (N, C, *space) of what an epilogue reads beside the sum: 0 where it is broadcast.

    space: that of the output as its convolution has it, which may have more axes of size 1.
    """
    if value.shape == out.shape and value.batched == out.batched and value.samples == out.samples:
        return low.strides(value, space)
    batch, samples, *along, channel = broadcast_strides(low, value, out.shape)
    if len(along) != len(space):
        along = [0] * len(space)  # a vector
    return (samples if value.samples > 1 else batch, channel, *along)


def convolve_weight(low: Lowering, node: Node, work: Work) -> Plan:
    op = node.op
    assert isinstance(op, ConvolveWeight)
    spec = replace(op.spec, batch=low.samples(node.inputs[0]))
    x, grad = node.inputs
    updated = low.updates.get(node.output.name)
    update: dict[str, Any] = {} if updated is None else {"update": updated.update}
    return low.plan(
        build_weight_grad,
        spec,
        low.strides(x, spec.size),
        low.strides(grad, spec.output),
        weight_strides(low, op.spec, node.output),
        **update,
    )


def updates(low: Lowering, node: Node) -> bool:
    """Whether the gradient of a weight is used for its update at once, if ``low`` says how."""
    steps = convolve_weight(low, node, Work()).work.steps
    operands = (word for step in steps for word in step.arguments)
    return any(isinstance(word, Operand) and word.name == "parameter" for word in operands)


def channel_conv(low: Lowering, node: Node, work: Work) -> Plan:
    """A convolution with the positions as the batch and the channels as the only axis."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, ChannelConv)
    taps = len(op.weight)
    axis = Axis(x.channels, taps, 1, 1, op.lo, taps - 1 - op.lo)
    spec = ConvSpec((axis,), 1, 1, low.samples(x) * x.positions, dtype=low.dtype)
    strides = [(low.pitch(value), 1, 1) for value in (x, node.output)]
    return low.plan(build_forward, spec, strides[0], (taps, taps, 1), strides[1], bias=False)


# Local layers ------------------------------------------------------------------------------------


def local_layer(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, LocallyConnected)
    x, w, *bias = node.inputs
    local.local_forward(
        replace(op.spec, batch=low.samples(node.inputs[0])),
        work,
        low.matrix(x),
        low.where(w),
        low.where(bias[0]) if bias else None,
        low.matrix(node.output),
        machine=low.machine,
    )


def local_input(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, LocallyConnectedInput)
    grad, w = node.inputs
    local.local_input_grad(
        replace(op.spec, batch=low.samples(node.inputs[0])),
        work,
        low.matrix(grad),
        low.where(w),
        low.matrix(node.output),
        machine=low.machine,
    )


def local_weight(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, LocallyConnectedWeight)
    x, grad = node.inputs
    local.local_weight_grad(
        replace(op.spec, batch=low.samples(node.inputs[0])),
        work,
        low.matrix(x),
        low.matrix(grad),
        low.where(node.output),
        machine=low.machine,
    )


def local_bias(low: Lowering, node: Node, work: Work) -> None:
    op, grad = node.op, node.inputs[0]
    assert isinstance(op, LocallyConnectedBias)
    local.local_bias_grad(
        replace(op.spec, batch=low.samples(node.inputs[0])),
        work,
        low.matrix(grad),
        low.where(node.output),
        machine=low.machine,
    )
