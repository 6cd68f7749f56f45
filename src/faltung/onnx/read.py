"""An ONNX file as data: read, checked, and nothing in it executed.

A file is hostile until it is checked. Sizes in it are claims; names are looked up before anything
is built; nesting and the number of nodes are limited, since models may call functions that call
functions.
"""

import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.formats.files import opened_checked, shown
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError, UnsupportedError
from faltung.geometry.record import dataclass
from faltung.onnx.tensors import MOST_AXES, TYPES, array, checked, text, type_name
from faltung.onnx.wire import Odd, parted

Array = npt.NDArray[Any]

# Of the standard operators; older versions defined some of them otherwise.
OLDEST_OPSET = 6
MOST_NODES = 200_000
DEEPEST = 16  # graphs within graphs
KEPT_BYTES = 1 << 12  # of an initialiser, when large ones are let go
DOMAINS = ("", "ai.onnx")
_STANDARD = "standard operators"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model. shape: numbers, or names for sizes that are free; None where
    the file says nothing. dtype: NumPy's name.
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Call:
    """A node. attributes: numbers, words, lists of them, arrays, or graphs (``Body``). opset: that
    of its graph or function.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    references: Mapping[str, str] = field(default_factory=dict)
    opset: int = 0


@dataclass(frozen=True, slots=True)
class Body:
    """A graph: of the model, of a branch, or of a function, whose ports are names alone. told: what
    the file says of its outputs, a type and a shape, in which 0 is a size that it does not say.
    """

    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    name: str = ""
    told: Mapping[str, tuple[str, tuple[int, ...] | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A model. functions: by domain and name, with the opset of each. replaceable: inputs that have
    numbers in the file, which a call may replace.
    """

    where: str
    body: Body
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int
    functions: Mapping[tuple[str, str], tuple[Body, int, Mapping[str, Any]]]
    about: Mapping[str, Any]
    replaceable: tuple[Port, ...] = ()

    def release(self) -> None:
        """Let go of the numbers of large initialisers: their shapes remain, and nothing else."""
        released(self.body)


def read(model: str | os.PathLike[str] | bytes) -> File:
    """A model from its path or its bytes. FaltungError, OSError: it cannot be read."""
    try:
        import onnx
    except ImportError as error:
        raise missing("onnx", "onnx") from error
    if isinstance(model, bytes | bytearray | memoryview):
        data, where, folder = bytes(model), "model", None
        data, apart = _parted(io.BytesIO(data), len(data))
    elif isinstance(model, str | os.PathLike):
        where = shown(model)
        with opened_checked(model, buffer=1 << 13) as (file, size):
            data, apart = _parted(file, size)
        folder = Path(os.path.realpath(model)).parent
    else:
        raise FaltungTypeError(f"model={show(model)}: must be a path or the bytes of a file")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # of protobuf, which has classes of its own
        raise FaltungError(f"{where}: not an ONNX model, {_line(error)}") from None
    del data
    try:
        return _Reader(where, folder, apart).file(proto)
    except FaltungError as error:
        if str(error).startswith(f"{where}: "):
            raise
        raise FaltungError(f"{where}: {error}") from None
    except RecursionError:
        raise FaltungError(f"{where}: its graphs are nested too deeply") from None


def function_body(proto: Any, opset: int) -> Body:
    """A FunctionProto of ONNX itself. opset: of what it is in, where it does not say its own."""
    reader = _Reader("model", None, {})
    reader.opset = reader.opsets(proto.opset_import).get("", opset)
    return Body(reader.calls(proto.node, 0), _texts(proto.input), _texts(proto.output), {})


def _same_as_oldest(version: int) -> Callable[[Any], bool]:
    """Whether a node of an older opset has the definition that the oldest one here has."""
    from onnx import defs

    def same(node: Any) -> bool:
        if not 1 <= version < OLDEST_OPSET or any(a.type in (5, 10) for a in node.attribute):
            return False
        try:
            since = [
                defs.get_schema(text(node.op_type), v, "").since_version
                for v in (version, OLDEST_OPSET)
            ]
        except Exception:  # onnx raises its own class, which has moved between versions
            return False
        return since[0] == since[1]

    return same


def _told(proto: Any) -> tuple[str, tuple[int, ...] | None]:
    """Type and shape of an output of a body, as far as the file says them."""
    tensor = proto.type.tensor_type
    dtype = TYPES.get(tensor.elem_type, ("", "float32"))[1]
    if not tensor.HasField("shape"):
        return dtype, None
    sizes = tuple(max(0, int(dim.dim_value)) for dim in tensor.shape.dim)
    return dtype, sizes if len(sizes) <= MOST_AXES else None


def released(body: Body) -> None:
    """Let go of the numbers of large constants of a body: their shapes remain, and nothing else."""
    constants = dict(body.constants)
    for name, held in constants.items():
        if held.nbytes > KEPT_BYTES:
            constants[name] = np.broadcast_to(np.zeros((), held.dtype), held.shape)
    object.__setattr__(body, "constants", constants)


def _parted(file: IO[bytes], size: int) -> tuple[bytes, dict[int, Array]]:
    """What protobuf reads, and the bytes of the large initialisers by their places."""
    try:
        return parted(file, size)
    except Odd:
        file.seek(0)
        data = file.read(size + 1)
        if len(data) != size:
            raise OSError("changed size while it was read") from None
        return data, {}


def _texts(values: Iterable[str | bytes]) -> tuple[str, ...]:
    return tuple(map(text, values))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Reader:
    def __init__(self, where: str, folder: Path | None, apart: dict[int, Array]) -> None:
        self.where, self.folder, self.apart = where, folder, apart
        self.nodes = 0
        self.opset = 0
        self.functions: set[tuple[str, str]] = set()

    def error(self, message: str) -> FaltungError:
        return FaltungError(f"{self.where}: {message}")

    def missing(self, message: str) -> UnsupportedError:
        return UnsupportedError(f"{self.where}: {message}, which is not supported yet")

    def file(self, proto: Any) -> File:
        if not proto.HasField("graph"):
            raise self.error("not an ONNX model, it has no graph")
        versions = self.opsets(proto.opset_import)
        if not versions:
            raise self.error("not an ONNX model, it names no opset")
        self.opset = self.checked_opset(versions.get("", 0) or 1, proto.graph.node)
        self.functions = {(text(f.domain), text(f.name)) for f in proto.functions}
        functions = {}
        for f in proto.functions:
            inner = self.opsets(f.opset_import).get("", self.opset)
            calls = tuple(replace(call, opset=inner) for call in self.calls(f.node, 0))
            body = Body(calls, _texts(f.input), _texts(f.output), {}, text(f.name))
            self.sorted(body, frozenset())
            key = text(f.domain), text(f.name)
            if key in functions:
                raise self.error(f"function {shown(f.name)}: is there twice")
            defaults = {text(a.name): self.attribute(a, f, 0) for a in f.attribute_proto}
            functions[key] = body, inner, defaults
        body = self.body(proto.graph, 0, frozenset())
        constants = body.constants
        inputs = tuple(self.port(i) for i in proto.graph.input if text(i.name) not in constants)
        given = tuple(self.port(i) for i in proto.graph.input if text(i.name) in constants)
        for name in [port.name for port in inputs]:
            if not name:
                raise self.error("an input without a name")
        outputs = tuple(self.port(o) for o in proto.graph.output)
        if not outputs:
            raise self.error("it has no outputs")
        about = {
            "producer_name": text(proto.producer_name),
            "graph_name": text(proto.graph.name),
            "domain": text(proto.domain),
            "description": text(proto.doc_string),
            "version": proto.model_version,
            "custom_metadata_map": {text(p.key): text(p.value) for p in proto.metadata_props},
        }
        return File(self.where, body, inputs, outputs, self.opset, functions, about, given)

    def opsets(self, imports: Sequence[Any]) -> dict[str, int]:
        return {"" if o.domain in DOMAINS else text(o.domain): int(o.version) for o in imports}

    def checked_opset(self, version: int, nodes: Sequence[Any]) -> int:
        from onnx.defs import onnx_opset_version

        newest = onnx_opset_version()
        used = [node for node in nodes if node.domain in DOMAINS]
        if all(map(_same_as_oldest(version), used)):
            return version
        if not OLDEST_OPSET <= version <= newest:
            raise UnsupportedError(
                f"{self.where}: opset {version}: must be {OLDEST_OPSET} to {newest}, "
                "what the installed onnx knows"
            )
        return version

    def port(self, proto: Any) -> Port:
        kind = proto.type.WhichOneof("value")
        if kind != "tensor_type":
            what = (kind or "nothing").removesuffix("_type")
            raise self.missing(f"{shown(text(proto.name))}: is no tensor, but of type {what}")
        tensor = proto.type.tensor_type
        try:
            dtype = type_name(tensor.elem_type)
        except FaltungError as error:
            raise self.missing(f"{shown(text(proto.name))}: {error}") from None
        if dtype in ("str", "complex64", "complex128"):
            raise self.missing(f"{shown(text(proto.name))}: is of type {dtype}")
        if not tensor.HasField("shape"):
            return Port(text(proto.name), None, dtype)
        shape: list[int | str | None] = []
        for dim in tensor.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                shape.append(int(dim.dim_value))
            else:
                shape.append(text(dim.dim_param) or None)
        return Port(text(proto.name), tuple(shape), dtype)

    def body(self, graph: Any, depth: int, outer: frozenset[str]) -> Body:
        if depth > DEEPEST:
            raise self.error(f"its graphs are nested more than {DEEPEST} deep")
        if graph.sparse_initializer:
            raise self.missing("sparse initialisers")
        constants: dict[str, Array] = {}
        for place, tensor in enumerate(graph.initializer):
            if not text(tensor.name) or tensor.name in constants:
                raise self.error(f"initialiser {shown(tensor.name)}: must have a name of its own")
            raw = None if depth else self.apart.pop(place, None)
            constants[tensor.name] = self.tensor(tensor, raw)
        names = [n for n in _texts(i.name for i in graph.input) if n not in constants]
        if len(set(names)) < len(names):
            raise self.error("two inputs have one name")
        calls = self.calls(graph.node, depth)
        outputs = _texts(o.name for o in graph.output)
        told = {text(o.name): _told(o) for o in graph.output}
        body = Body(calls, tuple(names), outputs, constants, text(graph.name), told)
        self.sorted(body, outer)
        return body

    def tensor(self, proto: Any, raw: Array | None = None) -> Array:
        what = f"tensor {shown(text(proto.name) or '(no name)')}"
        try:
            return checked(lambda: array(proto, self.folder, raw), what)
        except FaltungError as error:
            raise self.error(str(error)) from None

    def calls(self, nodes: Sequence[Any], depth: int) -> tuple[Call, ...]:
        self.nodes += len(nodes)
        if self.nodes > MOST_NODES:
            raise self.error(f"more than {MOST_NODES} nodes")
        return tuple(self.call(node, depth) for node in nodes)

    def call(self, node: Any, depth: int) -> Call:
        domain = "" if node.domain in DOMAINS else text(node.domain)
        attributes: dict[str, Any] = {}
        references: dict[str, str] = {}
        for a in node.attribute:
            text(a.name)
            if a.name in attributes or a.name in references:
                raise self.error(f"node {_named(node)}: has the attribute {shown(a.name)} twice")
            if a.ref_attr_name:
                references[a.name] = text(a.ref_attr_name)
            else:
                attributes[a.name] = self.attribute(a, node, depth)
        return Call(
            text(node.op_type),
            domain,
            text(node.name),
            _texts(node.input),
            _texts(node.output),
            attributes,
            references,
            self.opset,
        )

    def attribute(self, a: Any, node: Any, depth: int) -> Any:
        kind = a.type
        simple = {1: "f", 2: "i", 6: "floats", 7: "ints"}
        if kind in (1, 2):
            return getattr(a, simple[kind])
        if kind in (6, 7):
            return tuple(getattr(a, simple[kind]))
        if kind == 3:
            return a.s.decode("utf-8", "replace")
        if kind == 8:
            return tuple(s.decode("utf-8", "replace") for s in a.strings)
        if kind == 4:
            return self.tensor(a.t)
        if kind == 5:
            return self.graph(a.g, depth)
        if kind == 10:
            return tuple(self.graph(g, depth) for g in a.graphs)
        return None  # of a type that no operator here reads

    def graph(self, graph: Any, depth: int) -> Body:
        return self.body(graph, depth + 1, _ANY)

    def sorted(self, body: Body, outer: frozenset[str]) -> None:
        """FaltungError: a name that is used before it is made, or made twice."""
        known = {*body.inputs, *body.constants}
        made: set[str] = {*body.inputs, *body.constants}
        every = known | {name for call in body.calls for name in call.outputs if name}
        for call in body.calls:
            for name in call.inputs:
                if name and name not in known and outer is not _ANY:
                    where = "made after it, or by itself" if name in every else "made nowhere"
                    raise self.error(
                        f"node {shown(call.name or call.op)}: reads {shown(name)}, which is {where}"
                    )
            for name in call.outputs:
                if name and name in made:
                    raise self.error(f"{shown(name)}: is made by two nodes")
                known.add(name)
                made.add(name)
        for name in body.outputs:
            if name not in known and outer is not _ANY:
                raise self.error(f"output {shown(name)}: is made by no node")


# What the graph around a branch has is known when the branch is chosen.
_ANY: frozenset[str] = frozenset({""})


def _named(node: Any) -> str:
    return shown(node.name or getattr(node, "op_type", ""))


def constant_of(attributes: Mapping[str, Any]) -> Array | None:
    """What a Constant node holds; None: strings, or a sparse tensor."""
    for name, dtype in (
        ("value_float", np.float32),
        ("value_int", np.int64),
        ("value_floats", np.float32),
        ("value_ints", np.int64),
    ):
        if name in attributes:
            return np.array(attributes[name], dtype)
    found = attributes.get("value")
    return found if isinstance(found, np.ndarray) else None
