"""Products of two values, and attention, as ONNX nodes."""

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from faltung.formats.onnx_expr import formula
from faltung.formats.onnx_writer import Writer
from faltung.graph.attended import attended
from faltung.graph.contracted import labelled
from faltung.graph.value import Node, Value


def contract(writer: Writer, node: Node) -> str:
    """An Einsum between what orders the axes as our memory does, and back."""
    op: Any = node.op
    operands, out = node.inputs[:2], node.output
    found = labelled(op, operands, out)
    sizes = dict(found.sizes)
    (batch, *_) = (letter for letter in ascii_letters if letter not in sizes)
    values = (*operands, out)
    labels = [batch * v.batched + own for v, own in zip(values, found.labels, strict=True)]
    read = [
        in_memory(writer, value, [sizes[label] for label in own])
        for value, own in zip(operands, found.labels, strict=False)
    ]
    made = writer.node("Einsum", *read, equation=f"{labels[0]},{labels[1]}->{labels[2]}")
    made = from_memory(writer, made, out)
    if op.epilogue is None:
        return made
    others = []
    for value in node.inputs[2:]:
        ones = (1,) * (len(out.shape) - len(value.shape))
        others.append(
            writer.tensor(writer.array(value).reshape(*value.shape, *ones), value.name)
            if writer.is_parameter(value)
            else writer.name(value)
        )
    return formula(writer, op.epilogue, [made, *others])


def in_memory(writer: Writer, value: Value, dims: Sequence[int]) -> str:
    """The numbers of a value in the order (samples, *space, C), as axes ``dims``; the batch, where
    it has one, in front.
    """
    lead = (-1,) * value.batched
    if writer.is_parameter(value):
        array = writer.array(value)
        array = np.moveaxis(array, 0, -1) if array.ndim else array
        return writer.tensor(array.reshape(tuple(dims)), value.name)
    name = writer.name(value)
    if value.space:
        rank = len(value.shape) + 1
        name = writer.node("Transpose", name, perm=[0, *range(2, rank), 1])
    return writer.node("Reshape", name, writer.whole(*lead, *dims))


def from_memory(writer: Writer, name: str, value: Value) -> str:
    """The reverse."""
    name = writer.node("Reshape", name, writer.whole(-1, *value.space, *value.shape[:1]))
    if not value.space:
        return name
    rank = len(value.shape) + 1
    return writer.node("Transpose", name, perm=[0, rank - 1, *range(1, rank - 1)])


def attention(writer: Writer, node: Node) -> str:
    """Scores, their softmax and the weighted values, one node after the other."""
    op: Any = node.op
    found = attended(op, node.inputs)
    q, k, *rest = node.inputs
    v = None if op.weights else rest.pop(0)
    shared = op.heads // op.kv_heads
    batch = ["b" * value.batched for value in (q, k)]
    heads = op.kv_heads, shared
    queries = in_memory(writer, q, (found.samples, found.queries, *heads, found.length))
    keys = in_memory(writer, k, (found.samples, found.keys, op.kv_heads, found.length))
    both = "b" * ("b" in batch[0] + batch[1])
    equation = f"{batch[0]}slgrd,{batch[1]}smgd->{both}sgrlm"
    scores = writer.node("Einsum", queries, keys, equation=equation)
    scores = writer.node("Mul", scores, writer.tensor(np.float64(op.scale)))
    if op.softcap:
        cap = writer.tensor(np.float64(op.softcap))
        inside = writer.node("Tanh", writer.node("Div", scores, cap))
        scores = writer.node("Mul", inside, cap)
    for mask in rest:
        spread = heads if mask.shape[1] > 1 else (1, 1)
        dims = (mask.samples, *spread, mask.shape[2], mask.shape[0])
        read = in_memory(writer, mask, dims)
        if found.samples > mask.samples > 1:
            times = [1] * (len(dims) + mask.batched)
            times[mask.batched] = found.samples // mask.samples
            read = writer.node("Tile", read, writer.whole(*times))
        scores = writer.node("Add", scores, read)
    if op.causal:
        rows, columns = np.ogrid[: found.queries, : found.keys]
        hidden = np.where(columns <= rows + op.offset, 0.0, -np.inf)
        scores = writer.node("Add", scores, writer.tensor(hidden))
    made = writer.node("Softmax", scores, axis=-1)
    if v is not None:
        values = in_memory(writer, v, (found.samples, found.keys, op.kv_heads, found.channels))
        equation = f"{both}sgrlm,{'b' * v.batched}smge->{'b' * node.output.batched}slgre"
        made = writer.node("Einsum", made, values, equation=equation)
    return from_memory(writer, made, node.output)
