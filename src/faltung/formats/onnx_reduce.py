"""Reductions, extremes, running sums, sorting, and what is made of them, as ONNX nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from faltung.formats.onnx_expr import formula, spread
from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.graph import ops
from faltung.graph.broadcast import joint
from faltung.graph.value import Node

KINDS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "product": "ReduceProd",
    "log_sum_exp": "ReduceLogSumExp",
}


def _refused(node: Node, what: str) -> FaltungError:
    return FaltungError(f"graph: {what} of layer {node.layer!r} cannot be expressed in ONNX")


def _over(writer: Writer, kind: str, name: str, axes: Sequence[int]) -> str:
    """A reduction; ``axes``: of the map without its batch."""
    return writer.node(KINDS[kind], name, writer.whole(*(axis + 1 for axis in axes)))


def reduce(writer: Writer, node: Node) -> str:
    op: Any = node.op
    whole = joint(node.inputs)
    if op.batch or ops.SAMPLES in op.axes or whole.samples > 1:
        raise _refused(node, "the reduction over samples")
    operands = [spread(writer, value, whole.shape) for value in node.inputs]
    for expr, value in zip(op.exprs, node.outputs, strict=True):
        made = _over(writer, op.kind, formula(writer, expr, operands), op.axes)
        made = formula(writer, op.finish, [made])
        writer.made(value, made)
    return writer.name(node.output)


def arg(writer: Writer, node: Node) -> str:
    op: Any = node.op
    kind = {"max": "ArgMax", "min": "ArgMin"}[op.kind]
    given = {"axis": op.axis + 1, "select_last_index": int(op.last)}
    return _float(writer, writer.node(kind, writer.name(node.inputs[0]), **given))


def to_float(writer: Writer, node: Node) -> str:
    return _float(writer, writer.name(node.inputs[0]))


def _float(writer: Writer, name: str) -> str:
    """Whole numbers in the dtype of the network."""
    kind = writer.onnx.helper.np_dtype_to_tensor_dtype(writer.dtype)
    return writer.node("Cast", name, to=kind)


def cumulative(writer: Writer, node: Node) -> str:
    op: Any = node.op
    if op.kind != "sum":
        raise _refused(node, "the running product")
    axis = writer.tensor(np.array(op.axis + 1, np.int64))
    given = {"exclusive": int(op.exclusive), "reverse": int(op.reverse)}
    return writer.node("CumSum", writer.name(node.inputs[0]), axis, **given)


def top_k(writer: Writer, node: Node) -> str:
    op: Any = node.op
    given = {"axis": op.axis + 1, "largest": int(op.largest)}
    name, count = writer.name(node.inputs[0]), writer.whole(op.k)
    values, numbers = writer.nodes("TopK", name, count, count=2, **given)
    for value in node.outputs[1:]:
        writer.made(value, _float(writer, numbers))
    return values


def softmax(writer: Writer, node: Node) -> str:
    op: Any = node.op
    name = writer.name(node.inputs[0])
    if len(op.axes) == 1:
        return writer.node("LogSoftmax" if op.log else "Softmax", name, axis=op.axes[0] + 1)
    log = writer.node("Sub", name, _over(writer, "log_sum_exp", name, op.axes))
    return log if op.log else writer.node("Exp", log)


def normalise(writer: Writer, node: Node) -> str:
    """Over axes, in single steps."""
    op: Any = node.op
    x, *affine = node.inputs
    away = writer.name(x)
    if op.centred:
        away = writer.node("Sub", away, _over(writer, "mean", away, op.axes))
    square = writer.node("Mul", away, away)
    variance = _over(writer, "mean", square, op.axes)
    eps = writer.tensor(np.array(op.eps, writer.dtype))
    deviation = writer.node("Sqrt", writer.node("Add", variance, eps))
    made = writer.node("Div", away, deviation)
    for kind, value in zip(("Mul", "Add"), affine, strict=False):
        made = writer.node(kind, made, spread(writer, value, x.shape))
    return made


EMIT: dict[type, Callable[[Writer, Node], str]] = {
    ops.Reduce: reduce,
    ops.Arg: arg,
    ops.Cumulative: cumulative,
    ops.TopK: top_k,
    ops.Softmax: softmax,
    ops.ToFloat: to_float,
}
