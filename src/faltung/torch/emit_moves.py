"""What moves numbers, samples maps, and multiplies two values, as functions of PyTorch."""

import operator
from collections.abc import Callable, Sequence
from string import ascii_letters
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from faltung.geometry.resample import Table
from faltung.graph import ops
from faltung.graph.attended import attended
from faltung.graph.contracted import labelled
from faltung.graph.value import Node, Value
from faltung.torch.emit_formulas import epilogue
from faltung.torch.emitter import Emitter

F = nn.functional
# Taps up to which entries are gathered, each with its weight; with more there is a matrix.
MOST_GATHERED = 4


def concat(e: Emitter, node: Node) -> fx.Node:
    return e.call(torch.cat, [e.of(x) for x in node.inputs], dim=int(node.output.batched))


def slice_(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    dim = int(node.output.batched)
    return e.call(torch.narrow, e.of(node.inputs[0]), dim, op.start, node.output.channels)


def reshape(e: Emitter, node: Node) -> fx.Node:
    return e.shaped(e.of(node.inputs[0]), node.output.shape)


def view(e: Emitter, node: Node) -> fx.Node:
    x, out = node.inputs[0], node.output
    dims = (x.samples, *x.space, x.channels)
    return from_memory(e, in_memory(e, x, dims), out)


def permute(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    x = node.inputs[0]
    split = in_memory(e, x, op.dims)
    lead = int(x.batched)
    axes = (*range(lead), *(axis + lead for axis in op.axes))
    return from_memory(e, e.call(torch.permute, split, axes), node.output)


def in_memory(e: Emitter, value: Value, dims: Sequence[int]) -> fx.Node:
    """The numbers of a value in the order (samples, *space, C), as axes ``dims``; the batch, where
    it has one, in front.
    """
    x = e.of(value)
    if value.space:
        x = e.moved(x, int(value.batched or value.samples > 1), -1)
    lead = (e.count(),) if value.batched else ()
    return e.method("reshape", x, (*lead, *dims))


def from_memory(e: Emitter, x: fx.Node, value: Value) -> fx.Node:
    """The reverse."""
    several = (value.samples,) if value.samples > 1 else ()
    lead = (e.count(value.samples),) if value.batched else several
    x = e.method("reshape", x, (*lead, *value.space, *value.shape[:1]))
    return e.moved(x, -1, len(lead)) if value.space else x


# Products -----------------------------------------------------------------------------------------


def contract(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    operands, out = node.inputs[:2], node.output
    found = labelled(op, operands, out)
    sizes = dict(found.sizes)
    (batch, *_) = (letter for letter in ascii_letters if letter not in sizes)
    values = (*operands, out)
    labels = [batch * v.batched + own for v, own in zip(values, found.labels, strict=True)]
    read = [
        in_memory(e, value, [sizes[label] for label in own])
        for value, own in zip(operands, found.labels, strict=False)
    ]
    made = e.call(torch.einsum, f"{labels[0]},{labels[1]}->{labels[2]}", *read)
    return epilogue(e, node, from_memory(e, made, out), node.inputs[2:])


def attention(e: Emitter, node: Node) -> fx.Node:
    """By PyTorch's own where it has the same; else scores, their softmax, the weighted values."""
    op: Any = node.op
    found = attended(op, node.inputs)
    q, k, *rest = node.inputs
    v = None if op.weights else rest.pop(0)
    alike = all(x is not None and x.batched for x in (q, k, v)) and op.heads == op.kv_heads
    if alike and not rest and not op.softcap and (not op.causal or _square(op, found)):
        return _whole(e, node)
    heads = op.kv_heads, op.heads // op.kv_heads
    both = "b" * (q.batched or k.batched)
    queries = in_memory(e, q, (found.samples, found.queries, *heads, found.length))
    keys = in_memory(e, k, (found.samples, found.keys, op.kv_heads, found.length))
    equation = f"{'b' * q.batched}slgrd,{'b' * k.batched}smgd->{both}sgrlm"
    scores = e.call(operator.mul, e.call(torch.einsum, equation, queries, keys), op.scale)
    if op.softcap:
        inside = e.call(torch.tanh, e.call(operator.truediv, scores, op.softcap))
        scores = e.call(operator.mul, inside, op.softcap)
    for mask in rest:
        spread = heads if mask.shape[1] > 1 else (1, 1)
        read = in_memory(e, mask, (mask.samples, *spread, mask.shape[2], mask.shape[0]))
        if found.samples > mask.samples > 1:
            times = [1] * (5 + mask.batched)
            times[int(mask.batched)] = found.samples // mask.samples
            read = e.call(torch.tile, read, tuple(times))
        scores = e.call(operator.add, scores, read)
    if op.causal:
        rows, columns = np.ogrid[: found.queries, : found.keys]
        hidden = np.where(columns <= rows + op.offset, 0.0, -np.inf)
        scores = e.call(operator.add, scores, e.constant(hidden))
    made = _weights(e, scores) if rest or op.causal else e.call(torch.softmax, scores, -1)
    if v is not None:
        values = in_memory(e, v, (found.samples, found.keys, op.kv_heads, found.channels))
        equation = f"{both}sgrlm,{'b' * v.batched}smge->{'b' * node.output.batched}slgre"
        made = e.call(torch.einsum, equation, made, values)
    return from_memory(e, made, node.output)


def _weights(e: Emitter, scores: fx.Node) -> fx.Node:
    """The softmax, of zeros where a query sees no key."""
    none = e.call(operator.eq, e.call(torch.amax, scores, -1, keepdim=True), -np.inf)
    safe = e.call(torch.masked_fill, scores, none, 0.0)
    return e.call(torch.masked_fill, e.call(torch.softmax, safe, -1), none, 0.0)


def _square(op: Any, found: Any) -> bool:
    return bool(op.offset == 0 and found.queries == found.keys)


def _whole(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    found = attended(op, node.inputs)
    q, k, v = node.inputs
    sizes = ((q, found.queries, found.length), (k, found.keys, found.length))
    read = [
        e.call(
            torch.transpose,
            in_memory(e, x, (x.samples, count, op.heads, each)),
            2,
            3,
        )
        for x, count, each in (*sizes, (v, found.keys, found.channels))
    ]
    made = e.call(F.scaled_dot_product_attention, *read, is_causal=op.causal, scale=float(op.scale))
    return from_memory(e, e.call(torch.transpose, made, 2, 3), node.output)


# Resampling ---------------------------------------------------------------------------------------


def resample(e: Emitter, node: Node) -> fx.Node:
    """Axis by axis; rows without taps are filled at the end."""
    op: Any = node.op
    x = node.inputs[0]
    made, rank = e.of(x), len(x.shape) + 1
    lead = int(x.batched or x.samples > 1)
    for dim, table in enumerate(op.tables, lead):
        if table is not None and not table.identity:
            made = _along(e, made, table, dim, rank - (1 - lead))
    for dim, table in enumerate(op.tables, lead):
        if table is not None and table.empty and op.fill:
            holes = np.array([not count for count in table.counts])
            wide = holes.reshape(-1, *(1,) * (rank - 2 + lead - dim))
            made = e.call(torch.masked_fill, made, e.constant(wide), float(op.fill))
    return epilogue(e, node, made, node.inputs[1:])


def _along(e: Emitter, x: fx.Node, table: Table, dim: int, rank: int) -> fx.Node:
    """One axis: entries in another order, or sums of them."""
    if table.copies and not table.empty:
        return e.call(torch.index_select, x, dim, e.constant(np.array(table.indices)))
    if table.taps > MOST_GATHERED:
        matrix = np.zeros((table.size, table.output))
        for o, row in enumerate(table.rows()):
            for index, weight in row:
                matrix[index, o] = weight
        made = e.call(torch.matmul, e.moved(x, dim, -1), e.constant(matrix))
        return e.moved(made, -1, dim)
    rows = [row or [(0, 0.0)] for row in table.rows()]
    total: fx.Node | None = None
    for k in range(max(1, table.taps)):
        taps = [row[k] if k < len(row) else (row[0][0], 0.0) for row in rows]
        places = e.constant(np.array([index for index, _ in taps], np.int64))
        part = e.call(torch.index_select, x, dim, places)
        weights = np.array([weight for _, weight in taps], np.float64)
        if not weights.all():  # what is not read may be infinite
            holes = e.constant((weights == 0).reshape(-1, *(1,) * (rank - 1 - dim)))
            part = e.call(torch.masked_fill, part, holes, 0.0)
        if (weights != 1).any():
            wide = e.constant(weights.reshape(-1, *(1,) * (rank - 1 - dim)))
            part = e.call(operator.mul, part, wide)
        total = part if total is None else e.call(operator.add, total, part)
    assert total is not None
    return total


def grid_sample(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    x, grid = node.inputs
    how = op.how
    if len(x.space) not in (2, 3) or how.positions:
        raise e.refused("sampling at places along one axis, or by the numbers of entries")
    modes = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
    maps = [e.of(value) for value in (x, grid)]
    samples = max(x.samples, grid.samples)
    if not all(value.batched and value.samples == samples for value in (x, grid)):
        count = e.count(samples)
        maps = [
            m if v.batched and v.samples == samples else e.method("expand", m, (count, *v.shape))
            for m, v in zip(maps, (x, grid), strict=True)
        ]
    given = {"mode": modes[how.mode], "padding_mode": how.padding}
    places = e.moved(maps[1], 1, -1)
    return e.call(F.grid_sample, maps[0], places, **given, align_corners=how.align_corners)


def first_position(e: Emitter, node: Node) -> fx.Node:
    x = node.inputs[0]
    return e.call(operator.getitem, e.of(x), (0, slice(None), *(0,) * len(x.space)))


EMIT: dict[type, Callable[[Emitter, Node], fx.Node]] = {
    ops.Concat: concat,
    ops.Slice: slice_,
    ops.Reshape: reshape,
    ops.View: view,
    ops.Permute: permute,
    ops.Contract: contract,
    ops.Attention: attention,
    ops.Resample: resample,
    ops.GridSample: grid_sample,
    ops.FirstPosition: first_position,
}
