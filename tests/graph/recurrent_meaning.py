"""What recurrent layers mean, for the interpreter."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faltung.graph import ops
from faltung.graph.recurrent import Part, inputs_of, kept
from faltung.graph.value import Node
from faltung.reference.recurrent import Walked, recurrence, recurrence_grad

Array = NDArray[Any]


def _parts(node: Node, arrays: list[Array]) -> tuple[list[Part], dict[str, Array]]:
    """The inputs by direction, and all arrays by the names of their values."""
    known = {value.name: array for value, array in zip(node.inputs, arrays, strict=True)}
    parts, shared = inputs_of(node.op, node.inputs)
    return parts, {**known, **{name: known[value.name] for name, value in shared.items()}}


def recurrent(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    spec = node.op.layer
    parts, known = _parts(node, arrays)
    x, size = known["x"], spec.hidden
    found = []
    for d, part in enumerate(parts):
        gates = np.einsum("gc,nct->ngt", known[part["w"].name], x)
        if spec.bias:
            gates += known[part["bias"].name][:, None]
        given = {
            name: known[name].reshape(-1, spec.directions, size)[:, d]
            for name in ("h", "c")
            if name in known
        }
        found.append(_walk(spec, d, gates, part, known, given))
    made = zip(*(each[: len(node.outputs)] for each in found), strict=True)
    return [np.concatenate(each, axis=1) for each in made]


def _walk(
    spec: Any, d: int, gates: Array, part: Part, known: dict[str, Array], given: dict[str, Array]
) -> Walked:
    more = {"recurrent bias": "bias", "peepholes": "peepholes"}
    given |= {to: known[part[name].name] for name, to in more.items() if name in part.named}
    weights = [known[value.name] for value in part.recurrent]
    return recurrence(spec, d, gates, weights, lengths=known.get("lengths"), **given)


def recurrent_alone(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.Recurrence = node.op
    parts, known = _parts(node, arrays)
    made: list[Array] = []
    for d, part in enumerate(parts):
        given = {name: known[part[name].name] for name in ("h", "c") if name in part.named}
        walked = _walk(op.layer, d, known[part["x"].name], part, known, given)
        every = walked if op.kept else walked[:3]
        made += [array for array in every if array is not None]
    return made


def recurrent_grad(node: Node, arrays: list[Array], batch: int) -> list[Array]:
    op: ops.RecurrenceGrad = node.op
    parts, known = _parts(node, arrays)
    made: list[Array] = []
    for d, part in enumerate(parts):
        saved = {name: known[part[name].name] for name in kept(op.layer)}
        none = np.zeros(0)
        walked = Walked(none, none, None, saved["sums"], saved["before"], saved.get("cells"))
        given = {name: known[part[f"grad {name}"].name] for name in op.given}
        if "peepholes" in part.named:
            given["peepholes"] = known[part["peepholes"].name]
        weights = [known[value.name] for value in part.recurrent]
        lengths = known.get("lengths")
        found = recurrence_grad(op.layer, d, walked, weights, lengths=lengths, **given)
        apart = op.layer.cell(d).apart is not None
        made += [found.x, *[found.products] * apart, found.h]
        made += [found.c] if found.c is not None else []
    return made
