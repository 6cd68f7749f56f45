"""Recurrent layers as the operators LSTM, GRU and RNN of ONNX."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.geometry.recurrent import NUMBERS, ONNX_GATES, ONNX_NAMES, RecurrentSpec
from faltung.graph.recurrent import Part, inputs_of
from faltung.graph.value import Node, Value

Array = npt.NDArray[Any]


def recurrent(writer: Writer, node: Node) -> str:
    """The name of the map that the layer makes; those of its states are kept in the writer."""
    op: Any = node.op
    spec: RecurrentSpec = op.layer
    if spec.reverse not in ((False,), (True,), (False, True)):
        raise FaltungError(
            f"graph: the directions of layer {writer.layer!r} cannot be expressed in ONNX"
        )
    parts, shared = inputs_of(op, node.inputs)
    order = [spec.gates.index(letter) for letter in ONNX_GATES[spec.kind]]
    weights = [[writer.array(part["w"])] for part in parts]
    again = [[writer.array(value) for value in part.recurrent] for part in parts]
    inputs = [
        writer.node("Transpose", writer.name(shared["x"]), perm=[2, 0, 1]),
        writer.tensor(_ordered(spec, weights, order), parts[0]["w"].name),
        writer.tensor(_ordered(spec, again, order), parts[0].recurrent[0].name),
        _biases(writer, spec, parts, order),
        _lengths(writer, shared.get("lengths")),
        *(_first(writer, spec, shared.get(name)) for name in ("h", "c")[: 1 + spec.is_lstm]),
    ]
    if spec.peepholes:
        seen = [writer.array(part["peepholes"]) for part in parts]
        inputs.append(writer.tensor(np.stack(seen), parts[0]["peepholes"].name))
    while not inputs[-1]:
        inputs.pop()
    made = writer.nodes(spec.kind.upper(), *inputs, count=len(node.outputs), **_attributes(spec))
    for value, name in zip(node.outputs[1:], made[1:], strict=True):
        state = writer.node("Transpose", name, perm=[1, 0, 2])
        writer.made(value, writer.node("Flatten", state, axis=1))
    y = writer.node("Transpose", made[0], perm=[2, 1, 3, 0])
    return writer.node("Reshape", y, writer.whole(0, *node.output.shape))


def _ordered(spec: RecurrentSpec, arrays: list[list[Array]], order: list[int]) -> Array:
    """The weights of all directions, whose gates follow each other as in ONNX."""
    made = []
    for parts in arrays:
        whole = np.concatenate([part.reshape(part.shape[0], -1) for part in parts])
        gates = whole.reshape(len(order), spec.hidden, -1)
        made.append(gates[order].reshape(whole.shape))
    return np.stack(made)


def _biases(writer: Writer, spec: RecurrentSpec, parts: list[Part], order: list[int]) -> str:
    """Those of the inputs, then those of the states; "" without any."""
    if not (spec.bias or spec.recurrent_bias):
        return ""
    name, rows = "", []
    for part in parts:
        for which in ("bias", "recurrent bias"):
            value = part.get(which)
            array = np.zeros(len(order) * spec.hidden) if value is None else writer.array(value)
            name = name or ("" if value is None else value.name)
            rows.append(array.reshape(len(order), spec.hidden)[order].ravel())
    return writer.tensor(np.stack(rows).reshape(len(parts), -1), name)


def _lengths(writer: Writer, value: Value | None) -> str:
    if value is None:
        return ""
    flat = writer.node("Reshape", writer.name(value), writer.whole(-1))
    return writer.node("Cast", flat, to=writer.onnx.TensorProto.INT32)


def _first(writer: Writer, spec: RecurrentSpec, value: Value | None) -> str:
    """An initial state as (directions, batch, H); "" without one."""
    if value is None:
        return ""
    if not value.batched:
        raise FaltungError(
            f"graph: a first state of layer {writer.layer!r} that all samples share cannot be "
            "expressed in ONNX"
        )
    split = writer.node(
        "Reshape", writer.name(value), writer.whole(0, spec.directions, spec.hidden)
    )
    return writer.node("Transpose", split, perm=[1, 0, 2])


def _attributes(spec: RecurrentSpec) -> dict[str, Any]:
    """What the operator is told, numbers of activations only where they have some."""
    turned = "reverse" if spec.reverse[0] else "forward"
    squashes = [each for direction in spec.activations for each in direction]
    made: dict[str, Any] = {
        "hidden_size": spec.hidden,
        "direction": "bidirectional" if spec.directions == 2 else turned,
        "activations": [ONNX_NAMES[each.name] for each in squashes],
    }
    alphas = [each.alpha for each in squashes if NUMBERS.get(each.name, 0) > 0]
    betas = [each.beta for each in squashes if NUMBERS.get(each.name, 0) > 1]
    made |= {"activation_alpha": alphas} if alphas else {}
    made |= {"activation_beta": betas} if betas else {}
    made |= {} if spec.clip is None else {"clip": spec.clip}
    made |= {"input_forget": 1} if spec.input_forget else {}
    made |= {"linear_before_reset": 1} if spec.linear_before_reset else {}
    return made
