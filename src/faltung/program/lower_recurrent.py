"""Recurrences as steps."""

from math import prod

from faltung.graph.ops import Recurrence, RecurrenceGrad
from faltung.graph.recurrent import Part, inputs_of, outputs_of
from faltung.graph.value import Node, Value
from faltung.methods.base.step import Work
from faltung.methods.recurrent.recurrent import (
    Direction,
    Lengths,
    Rows,
    Weight,
    recurrence,
    recurrence_grad,
)
from faltung.program.lowering import Lowering

# What the kernels call the inputs that are vectors of units.
VECTORS = {"recurrent bias": "bias", "peepholes": "peepholes"}


def walk(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, Recurrence)
    parts, shared = inputs_of(op, node.inputs)
    made = outputs_of(op, node.outputs)
    directions = [_direction(low, part, ["x"], out) for part, out in zip(parts, made, strict=True)]
    recurrence(
        op.layer,
        work,
        directions,
        samples=low.samples(parts[0]["x"]),
        lengths=_lengths(low, shared.get("lengths")),
        kept=op.kept,
        dtype=low.dtype,
        machine=low.machine,
    )


def walk_back(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, RecurrenceGrad)
    parts, shared = inputs_of(op, node.inputs)
    made = outputs_of(op, node.outputs)
    directions = []
    for part, out in zip(parts, made, strict=True):
        reads = [name for name in part.named if name not in VECTORS]
        directions.append(_direction(low, part, reads, out))
    recurrence_grad(
        op.layer,
        work,
        directions,
        given=op.given,
        samples=low.samples(parts[0]["before"]),
        lengths=_lengths(low, shared.get("lengths")),
        dtype=low.dtype,
        machine=low.machine,
    )


def _direction(low: Lowering, part: Part, reads: list[str], out: Part) -> Direction:
    matrices = {name.replace(" ", "_"): low.matrix(part[name]) for name in reads}
    matrices |= {name: low.matrix(value) for name, value in out.named.items()}
    return Direction(
        [_weight(low, value) for value in part.recurrent],
        matrices,
        {to: low.where(part[name]) for name, to in VECTORS.items() if name in part.named},
        {
            name: Rows(low.matrix(part[name]), low.samples(part[name]))
            for name in ("h", "c")
            if name in part.named
        },
    )


def _weight(low: Lowering, value: Value) -> Weight:
    row, column = low.weights[value.name][:2]
    return Weight(low.where(value), row, column)


def _lengths(low: Lowering, value: Value | None) -> Lengths | None:
    if value is None:
        return None
    return Lengths(low.where(value), value.kind, low.samples(value) * prod(value.shape))
