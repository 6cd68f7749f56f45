"""What ONNX itself says of its operators: which inputs and attributes they have, and of what else
they can be made.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.formats.files import shown
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
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


def check(call: Call) -> None:
    """FaltungError: a node that is none by the definition of its operator. Unsaid: no operator."""
    if call.domain:
        return
    rules = _rules(call.op, call.opset)
    if rules is None:
        raise Unsaid(f"no operator of opset {call.opset}")
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


def default_of(call: Call, name: str) -> Any:
    """What an attribute is where the file does not say it; None where it has no such value."""
    from onnx import defs, helper

    wanted = defs.get_schema(call.op, call.opset, call.domain).attributes.get(name)
    if wanted is None or not wanted.default_value.type:
        return None
    found = helper.get_attribute_value(wanted.default_value)
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found


def defaults(call: Call) -> dict[str, Any]:
    """The attributes that the file does not say, where the operator's definition does."""
    from onnx import defs

    names = defs.get_schema(call.op, call.opset, call.domain).attributes
    made = {name: default_of(call, name) for name in names if name not in call.attributes}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in made.items()
        if value is not None
    }


def definition(call: Call, types: Sequence[Any]) -> Any | None:
    """The function (a FunctionProto) that defines an operator by others; None where there is none.
    types: TypeProtos of its inputs.
    """
    from onnx import FunctionProto, defs

    if call.domain:
        return None
    try:
        schema: Any = defs.get_schema(call.op, call.opset, "")
        if schema.has_context_dependent_function:
            versions = schema.context_dependent_function_opset_versions
        elif schema.has_function:
            versions = schema.function_opset_versions
        else:
            return None
        fitting = [version for version in versions if version <= call.opset]
        if not fitting:
            return None
        if schema.has_context_dependent_function:
            data = schema.get_context_dependent_function_with_opset_version(
                max(fitting),
                node_of(call).SerializeToString(),
                [kind.SerializeToString() for kind in types],
            )
        else:
            data = schema.get_function_with_opset_version(max(fitting))
    except Exception:  # of onnx, whatever its class: then there is none
        return None
    made = FunctionProto()
    made.ParseFromString(data)
    return made if made.node else None


def node_of(call: Call) -> Any:
    """A node as the format has it. Graphs among its attributes are left out."""
    from onnx import helper

    made = helper.make_node(call.op, list(call.inputs), list(call.outputs), domain=call.domain)
    for name, value in call.attributes.items():
        if value is None or isinstance(value, Body) or _graphs(value):
            continue
        kind = None
        if isinstance(value, tuple) and not value:
            kind = _list_kind(call, name)
        made.attribute.append(helper.make_attribute(name, given(value), attr_type=kind))
    return made


def _list_kind(call: Call, name: str) -> Any:
    """Of which type an empty list is, which does not say it itself."""
    from onnx import AttributeProto, defs

    try:
        wanted = defs.get_schema(call.op, call.opset, call.domain).attributes[name].type
        return AttributeProto.AttributeType.Value(str(wanted).rpartition(".")[2])
    except Exception:  # of onnx: no such attribute
        return AttributeProto.INTS


def given(value: Any) -> Any:
    """An attribute's value as onnx takes it."""
    from onnx import numpy_helper

    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value


def _graphs(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, Body) for each in value)
