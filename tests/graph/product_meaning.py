"""What products of two values and attention mean, for the interpreter."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faltung.graph import ops
from faltung.graph.attended import attended
from faltung.graph.contracted import BATCH, labelled
from faltung.graph.value import Node, Value
from faltung.reference.attention import attention, weights
from faltung.reference.contract import contract
from faltung.reference.expr import evaluate

Array = NDArray[Any]


def in_memory(value: Value, array: Array, batch: int) -> Array:
    """(batch, samples, *space, C), as programs keep a value; without a batch where it has none."""
    lead = (batch, value.samples) if value.batched else (value.samples,)
    found = np.asarray(array).reshape(*lead, *value.shape)
    return np.moveaxis(found, len(lead), -1) if value.shape else found


def from_memory(value: Value, array: Array, batch: int) -> Array:
    lead = (batch, value.samples) if value.batched else (value.samples,)
    found = array.reshape(*lead, *value.space, *value.shape[:1])
    return np.moveaxis(found, -1, len(lead)) if value.shape else found


def contracted(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Contract = node.op
    a, b, *aux = node.inputs
    found = labelled(op, (a, b), node.output)
    labels = [
        BATCH * value.batched + own
        for value, own in zip((a, b, node.output), found.labels, strict=True)
    ]
    x, y = (in_memory(v, array, batch) for v, array in zip((a, b), arrays, strict=False))
    made = contract(tuple(labels), x, y, dict(found.sizes) | {BATCH: batch})
    out = from_memory(node.output, made, batch)
    if op.epilogue is not None:
        lead = (batch if node.output.batched else 1, node.output.samples)
        out = out.reshape(*lead, *node.output.shape)
        others = []
        for value, array in zip(aux, arrays[2:], strict=True):
            own = (batch if value.batched else 1, value.samples)
            wide = value.shape + (1,) * (len(node.output.shape) - len(value.shape))
            others.append(np.asarray(array).reshape(*own, *wide))
        out = evaluate(op.epilogue, [out, *others], np.arange(out.size).reshape(out.shape))
    return [out]


def attended_to(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Attention = node.op
    sizes = attended(op, node.inputs)
    heads = [op.heads] + [op.kv_heads] * (1 if op.weights else 2)
    found = []
    for value, array, count in zip(node.inputs, arrays, heads, strict=False):
        own = in_memory(value, array, batch)
        lead = own.shape[: 1 + value.batched]
        found.append(own.reshape(*lead, value.positions, count, -1))
    given = {name: getattr(op, name) for name in ("scale", "causal", "offset", "softcap")}
    for value, array in zip(node.inputs[len(heads) :], arrays[len(heads) :], strict=True):
        mask = in_memory(value, array, batch)
        repeats = [1] * mask.ndim
        repeats[value.batched] = sizes.samples // value.samples
        given["mask"] = given.get("mask", 0) + np.tile(mask, repeats)
    made = weights(*found, **given) if op.weights else attention(*found, **given)
    shape = *(batch,) * node.output.batched, sizes.samples, *made.shape[-3:]
    return [from_memory(node.output, np.broadcast_to(made, shape), batch)]
