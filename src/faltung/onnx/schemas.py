"""What onnx's definitions of operators say of a node: how many inputs, which attributes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.formats.files import shown
from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Unsaid
from faltung.onnx.read import Body, Call

_KINDS: dict[str, type] = {
    "FLOAT": float,
    "INT": int,
    "STRING": str,
    "TENSOR": np.ndarray,
    "GRAPH": Body,
    "FLOATS": tuple,
    "INTS": tuple,
    "STRINGS": tuple,
    "GRAPHS": tuple,
}


def check(call: Call, opset: int) -> None:
    """FaltungError: a node that is none by the definition of its operator. Unsaid: no operator."""
    if call.domain:
        return
    rules = _rules(call.op, opset)
    if rules is None:
        raise Unsaid(f"no operator of opset {opset}")
    if not rules.inputs[0] <= len(call.inputs) <= rules.inputs[1]:
        raise FaltungError(f"{len(call.inputs)} inputs: the operator takes others")
    if not rules.outputs[0] <= len(call.outputs) <= rules.outputs[1]:
        raise FaltungError(f"{len(call.outputs)} outputs: the operator gives others")
    for name, formal in zip(call.inputs, rules.single, strict=False):
        if not name and formal:
            raise FaltungError(f"input {formal} is missing")
    for name, value in call.attributes.items():
        kind = rules.kinds.get(name)
        if kind is not None and not isinstance(value, kind):
            raise FaltungError(f"attribute {shown(name)}: must be {kind.__name__}")
    for name in rules.required:
        if name not in call.attributes:
            raise FaltungError(f"attribute {name} is missing")


@dataclass(frozen=True, slots=True)
class _Rules:
    """An operator's definition. single: for each formal input its name, "" where it may be missing.
    kinds: of attributes that are checked.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    single: tuple[str, ...]
    kinds: Mapping[str, type]
    required: tuple[str, ...]


@lru_cache(1024)
def _rules(op: str, opset: int) -> _Rules | None:
    """The definition of an operator; None: there is none. Reading it from onnx takes long."""
    from onnx import defs

    try:
        schema = defs.get_schema(op, opset, "")
    except Exception:  # onnx raises its own class, which has moved between versions
        return None
    single = defs.OpSchema.FormalParameterOption.Single
    kinds = {name: str(a.type).rpartition(".")[2] for name, a in schema.attributes.items()}
    return _Rules(
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        tuple(formal.name if formal.option == single else "" for formal in schema.inputs),
        {name: _KINDS[kind] for name, kind in kinds.items() if kind in _KINDS},
        tuple(name for name, a in schema.attributes.items() if a.required),
    )


def default_of(call: Call, opset: int, name: str) -> Any:
    """What an attribute is where the file does not say it; None where it has no such value."""
    from onnx import defs, helper

    wanted = defs.get_schema(call.op, opset, "").attributes.get(name)
    if wanted is None or not wanted.default_value.type:
        return None
    found = helper.get_attribute_value(wanted.default_value)
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found
