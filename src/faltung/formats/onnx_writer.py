"""An ONNX graph under construction, which the files that emit operations write to."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.graph.value import Graph, Value
from faltung.runtime.halves import halved, rounded

Array = npt.NDArray[Any]

OPSET = 19  # of 2023: the first with wrap-around in Pad
IR_VERSION = 9  # of the same release
MAX_MODEL_BYTES = 2**31 - 1  # bytes that one file can hold


class Writer:
    """An ONNX graph under construction: nodes, constant tensors, and the names of values.

    stored: "float16" or "bfloat16" where matrices and filters of such numbers are kept in 16 bits,
    and converted where they are read.
    """

    def __init__(
        self, graph: Graph, parameters: Mapping[str, npt.ArrayLike], stored: str = ""
    ) -> None:
        try:
            import onnx
        except ImportError as error:
            raise missing("onnx", "onnx") from error
        self.onnx = onnx
        self.graph = graph
        self.dtype = np.dtype(graph.dtype)
        self.stored = stored
        self.layer = ""  # nodes are named after it
        self._arrays = _checked(graph, parameters)
        self._names = {graph.input.name: "input"}
        self._used = {"input", "output"}
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []
        self._known: dict[tuple[Any, ...], str] = {}
        # The node of the network that made a value, by the value's name.
        self.makers = {value.name: node for node in graph.nodes for value in node.outputs}

    # Names and values ----------------------------------------------------------------------------

    def unused(self, stem: str) -> str:
        """A new name."""
        name, number = stem, 1
        while name in self._used:
            name, number = f"{stem}_{number}", number + 1
        self._used.add(name)
        return name

    def name(self, value: Value) -> str:
        """The name of a value that a node made, or of a parameter."""
        if value.name in self._arrays:
            return self.tensor(self._arrays[value.name], value.name)
        return self._names[value.name]

    def is_parameter(self, value: Value) -> bool:
        return value.name in self._arrays

    def array(self, value: Value) -> Array:
        """The numbers of a parameter. ValueError: a value that exists only in training."""
        if value.name not in self._arrays:
            raise FaltungError(
                f"graph: {value.name!r} is not a parameter, and cannot be expressed in ONNX"
            )
        return self._arrays[value.name]

    def made(self, value: Value, name: str) -> None:
        """``value`` is the tensor ``name``."""
        self._names[value.name] = name

    # Nodes and tensors ---------------------------------------------------------------------------

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A new node; the name of its output."""
        return self.nodes(kind, *inputs, count=1, **attributes)[0]

    def nodes(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """A new node with ``count`` outputs; their names."""
        outputs = [self.unused(f"{self.layer or 'net'}/{kind}") for _ in range(count)]
        self._nodes.append(
            self.onnx.helper.make_node(kind, list(inputs), outputs, name=outputs[0], **attributes)
        )
        return outputs

    def cast(self, name: str, dtype: str) -> str:
        """A value in another type."""
        word = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())
        return self.node("Cast", name, to=getattr(self.onnx.TensorProto, word))

    def tensor(self, array: npt.ArrayLike, name: str = "") -> str:
        """Constant numbers, floats in the network's dtype. Equal ones are stored once."""
        made = np.asarray(array)
        if made.dtype.kind == "f":
            made = made.astype(self.dtype)
        # Parameters are identified by name and shape, small constants by their bytes.
        key = (name, made.shape) if name else (made.dtype.str, made.shape, made.tobytes())
        if key not in self._known:
            self._known[key] = self.unused(name or "constant")
            made = np.ascontiguousarray(made).reshape(made.shape)
            if self.stored and made.ndim > 1 and self._is_half(made):
                self._known[key] = self._half(made, self._known[key])
            else:
                tensor = self.onnx.numpy_helper.from_array(made, self._known[key])
                self._tensors.append(tensor)
        return self._known[key]

    def _is_half(self, array: Array) -> bool:
        """Whether all numbers are such as 16 bits can hold."""
        return array.dtype == np.float32 and np.array_equal(rounded(array, self.stored), array)

    def _half(self, array: Array, name: str) -> str:
        """A tensor of 16 bits; the name of the same in float32."""
        kinds = self.onnx.TensorProto
        kind = kinds.FLOAT16 if self.stored == "float16" else kinds.BFLOAT16
        words = halved(array, self.stored)
        little = words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes()
        self._tensors.append(
            self.onnx.helper.make_tensor(name, kind, array.shape, little, raw=True)
        )
        return self.node("Cast", name, to=kinds.FLOAT)

    def whole(self, *numbers: int) -> str:
        """A vector of whole numbers, for shapes, axes and paddings."""
        return self.tensor(np.array(numbers, np.int64))

    # The end -------------------------------------------------------------------------------------

    def finish(
        self,
        batch: int | str,
        classes: Sequence[str] | None,
        metadata: Mapping[str, str],
    ) -> bytes:
        helper = self.onnx.helper
        last = self._names[self.graph.output.name]
        self._nodes.append(helper.make_node("Identity", [last], ["output"], name="output"))
        nodes, read = _needed(_without_identity(self._nodes, last))
        made = helper.make_graph(
            nodes,
            "faltung",
            [self._info("input", self.graph.input, batch)],
            [self._info("output", self.graph.output, batch)],
            [tensor for tensor in self._tensors if tensor.name in read],
        )
        model = helper.make_model(
            made,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="faltung",
            producer_version=str(sys.modules[__name__.partition(".")[0]].__version__),
        )
        props = dict(metadata)
        if classes is not None:
            props["classes"] = json.dumps([str(name) for name in classes], ensure_ascii=False)
        if props:
            helper.set_model_props(model, props)
        if model.ByteSize() > MAX_MODEL_BYTES:
            raise FaltungError(
                f"parameters: {model.ByteSize():,} bytes are more than an ONNX file can hold"
            )
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _info(self, name: str, value: Value, batch: int | str) -> Any:
        kinds = self.onnx.TensorProto
        number = kinds.DOUBLE if self.dtype == np.float64 else kinds.FLOAT
        kind = kinds.INT64 if value.kind == "int" else number
        return self.onnx.helper.make_tensor_value_info(name, kind, [batch, *value.shape])


def _without_identity(nodes: list[Any], last: str) -> list[Any]:
    """Let the node that makes ``last`` make "output" directly, if nothing else reads ``last``."""
    *others, identity = nodes
    makers = [node for node in others if last in node.output]
    if not makers or any(last in node.input for node in others):
        return nodes
    (output,) = identity.output
    makers[0].output[:] = [output if name == last else name for name in makers[0].output]
    return others


def _needed(nodes: list[Any]) -> tuple[list[Any], set[str]]:
    """The nodes that "output" depends on, and the names of all that they read."""
    read, made = {"output"}, []
    for node in reversed(nodes):
        if read.intersection(node.output):
            made.append(node)
            read.update(node.input)
    return made[::-1], read


def _checked(graph: Graph, parameters: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """All parameters of the graph in its dtype. ValueError: one missing, or of another shape."""
    made = {}
    for p in graph.parameters:
        if p.name not in parameters:
            raise FaltungError(f"parameters: {show(p.name)} is missing")
        array = np.asarray(parameters[p.name])
        if array.shape != p.shape:
            raise FaltungError(
                f"parameters: {show(p.name)} has shape {array.shape}, must have {p.shape}"
            )
        made[p.name] = array.astype(graph.dtype)
    return made
