"""An ONNX model without the numbers of its weights, as text: what a layer of ours keeps of it.

Large initialisers, and large constants made by nodes, become inputs of the file. Where the network
is built again they are numbers of the right shape, which the weights of the model replace.
"""

import base64
import binascii
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.onnx.knowledge import Knowledge
from faltung.onnx.read import Call, File, Port, read
from faltung.onnx.tensors import FLOATS, dtype_of
from faltung.runtime.memory import require

Array = npt.NDArray[Any]

# Numbers of a constant from which on it counts as a weight.
LARGE = 256
# Bytes of a structure without its compression at most.
MOST_BYTES = 1 << 26
# What says in the file which of its inputs is none of the weights.
KEY = "faltung.input"
# Operators after the last product that keep its outputs apart.
AFTER = ("Softmax", "LogSoftmax", "Identity", "Flatten", "Reshape", "Squeeze", "Cast", "Dropout")


@dataclass(frozen=True)
class Structure:
    """A file whose weights are placeholders. port: the input that the network reads."""

    file: File
    port: Port


def written(model: str | os.PathLike[str] | bytes, name: str) -> str:
    """The structure of a model with this input, as text."""
    import onnx

    raw = model if isinstance(model, bytes) else None
    proto = onnx.load_from_string(raw) if raw is not None else onnx.load(
        os.fspath(model), load_external_data=False  # type: ignore[arg-type]
    )  # fmt: skip
    graph = proto.graph
    there = {value.name for value in graph.input}
    kept = []
    for tensor in graph.initializer:
        if _is_weight(tensor):
            _as_input(graph, there, tensor.name, tensor)
        else:
            kept.append(tensor)
    nodes = []
    for node in graph.node:
        tensors = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
        if node.op_type == "Constant" and tensors and _is_weight(tensors[0]):
            _as_input(graph, there, node.output[0], tensors[0])
        else:
            nodes.append(node)
    nodes, kept = [_copy(n) for n in nodes], [_copy(t) for t in kept]
    for field, items in (("node", nodes), ("initializer", kept)):
        graph.ClearField(field)
        getattr(graph, field).extend(items)
    for field in ("doc_string", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    for field in ("metadata_props", "training_info", "doc_string"):
        proto.ClearField(field)
    proto.metadata_props.add(key=KEY, value=name)
    return base64.b85encode(zlib.compress(proto.SerializeToString(), 9)).decode("ascii")


def _copy(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made


def _is_weight(tensor: Any) -> bool:
    return tensor.data_type in (1, 10, 11, 16) and prod(tensor.dims) >= LARGE


def _as_input(graph: Any, there: set[str], name: str, tensor: Any) -> None:
    from onnx import helper

    if name not in there:
        graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        there.add(name)


@lru_cache(8)
def structure(text: str) -> Structure:
    """What ``written`` wrote. FaltungError: anything else."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b85decode(text), MOST_BYTES)
    except (ValueError, binascii.Error, zlib.error):
        raise FaltungError("structure: is not the text of a network from an ONNX file") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise FaltungError(f"structure: must not have more than {MOST_BYTES:,} bytes")
    file = read(data)
    name = file.about.get("custom_metadata_map", {}).get(KEY)
    names = {port.name for port in file.inputs}
    if name not in names:
        raise FaltungError("structure: does not say which input the network reads")
    constants: dict[str, Array] = dict(file.body.constants)
    for port in file.inputs:
        if port.name == name:
            continue
        shape = port.shape or ()
        sizes = tuple(n for n in shape if isinstance(n, int))
        if len(sizes) < len(shape) or port.dtype not in FLOATS:
            raise FaltungError(f"structure: {port.name!r} is no weight")
        require(prod(sizes) * 4, "structure: one of its weights")
        constants[port.name] = placeholder(sizes, port.dtype)
    body = replace(file.body, constants=constants)
    return Structure(replace(file, body=body), next(p for p in file.inputs if p.name == name))


def placeholder(shape: tuple[int, ...], dtype: str) -> Array:
    """Numbers in the place of weights, not all of them the same; they take no memory."""
    if not shape:
        return np.ones((), dtype_of(dtype))
    axis = shape.index(max(shape))
    counted = np.arange(shape[axis]).astype(dtype_of(dtype))
    along = [-1 if i == axis else 1 for i in range(len(shape))]
    return np.broadcast_to(counted.reshape(along), shape)


def with_classes(knowledge: Knowledge, classes: int) -> Mapping[str, Array]:
    """The constants of a model whose last product has so many outputs. FaltungError: it does not
    end in one.
    """
    body = knowledge.body
    constants = dict(body.constants)
    makers = {name: call for call in body.calls for name in call.outputs}
    name = body.outputs[0]
    while (call := makers.get(name)) is not None:
        if call.op in AFTER:
            name = call.inputs[0]
        elif call.op == "Add" and len(set(call.inputs) & constants.keys()) == 1:
            (bias,) = set(call.inputs) & constants.keys()
            _resize(constants, bias, -1, classes)
            name = next(n for n in call.inputs if n != bias)
        elif call.op in ("Gemm", "MatMul", "Conv") and call.inputs[1] in constants:
            _resize(constants, call.inputs[1], _outputs_axis(call), classes)
            if len(call.inputs) > 2 and call.inputs[2] in constants:
                _resize(constants, call.inputs[2], -1, classes)
            return constants
        else:
            break
    raise FaltungError("classes: the file does not end in a layer whose outputs can be changed")


def _outputs_axis(call: Call) -> int:
    """The axis of the weight that counts outputs."""
    return 0 if call.op == "Conv" or (call.op == "Gemm" and call.attributes.get("transB")) else 1


def _resize(constants: dict[str, Array], name: str, axis: int, size: int) -> None:
    held = constants[name]
    shape = list(held.shape)
    shape[axis] = size
    constants[name] = placeholder(tuple(shape), str(held.dtype))
