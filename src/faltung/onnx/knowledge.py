"""What is known of a model's nodes whatever the sizes: looked up once, and kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Unsaid
from faltung.onnx import flat, host, qlinear, unroll
from faltung.onnx.read import Body, Call, File, function_body, released
from faltung.onnx.schemas import check, defaults, definition
from faltung.onnx.tensors import number_of

Array = npt.NDArray[Any]
# Nodes that take the place of another, and the constants that they read.
Settled = tuple[list[Call], Mapping[str, Array]]

# Definitions that are kept, each for other types and sizes of the inputs.
MOST_DEFINITIONS = 512


class Knowledge:
    """Of one model. foreign: nodes that another runtime runs, by id, and why. Nodes are compared by
    identity, and all of them are kept.
    """

    def __init__(self, file: File, fallback: bool) -> None:
        self.where = file.where
        self._file = file
        self.fallback = fallback
        self.foreign: dict[int, str] = {}
        self._unfolder = flat.Unfolder(file)
        self.body = self._unfolder.model()
        self._reads: dict[int, tuple[str, ...]] = {}
        self._checked: set[int] = set()
        self._branches: dict[tuple[int, str], Settled] = {}
        self._definitions: dict[Any, Settled | None] = {}
        self._real: dict[int, tuple[Array, Array]] = {}
        self._kept: list[Call] = []

    def error(self, message: str) -> FaltungError:
        return FaltungError(f"{self.where}: {message}")

    def release(self) -> None:
        """Let go of the numbers of large constants."""
        self._file.release()
        released(self.body)
        self._real.clear()

    def reads(self, call: Call) -> tuple[str, ...]:
        """All names that a node reads, those of its graphs included."""
        found = self._reads.get(id(call))
        if found is None:
            found = self._reads[id(call)] = flat.reads(call)
            self._kept.append(call)
        return found

    def check(self, call: Call) -> None:
        """FaltungError, Unsaid: as ``schemas.check``."""
        if id(call) not in self._checked:
            check(call)
            self._checked.add(id(call))
            self._kept.append(call)

    def falls_back(self, call: Call) -> bool:
        """Whether another runtime may run a node that there is no operator for here."""
        return self.fallback and not flat.bodies(call)

    def anywhere(self, call: Call) -> bool:
        """Whether there is such an operator: compiled, on the host, or made of others."""
        if call.domain and qlinear.known(call):
            return True
        if call.domain or host.anywhere(call) or call.op in ("If", "Shape", "Size", "Constant"):
            return not call.domain
        from onnx import defs

        try:
            schema: Any = defs.get_schema(call.op, call.opset, "")
        except Exception:  # onnx raises its own class, which has moved between versions
            return False
        return bool(schema.has_function or schema.has_context_dependent_function)

    def missing(self, body: Body) -> list[Call]:
        """The nodes of a body, and of the bodies in it, that there is no operator for."""
        found = []
        for call in body.calls:
            try:
                self.check(call)
                known = self.anywhere(call)
            except Unsaid:
                known = False
            if not known:
                found.append(call)
            for inner in flat.bodies(call):
                found += self.missing(inner)
        return found

    def branch(self, call: Call, word: str) -> Settled:
        """What takes the place of an ``If``, with one of its branches."""
        key = id(call), word
        if key not in self._branches:
            self._branches[key] = self._unfolder.branch(call.attributes[word], call.outputs)
            self._kept.append(call)
        return self._branches[key]

    def unrolled(self, call: Call, count: int) -> Settled:
        """What takes the place of a loop of so many turns."""
        key = id(call), str(count)
        if key not in self._branches:
            self._branches[key] = unroll.unrolled(call, count, self._unfolder.function)
            self._kept.append(call)
        return self._branches[key]

    def spelled(self, call: Call) -> Settled:
        """What takes the place of an operator on quantised numbers."""
        key = id(call), "between real numbers"
        if key not in self._branches:
            self._branches[key] = qlinear.spelled(call), {}
            self._kept.append(call)
        return self._branches[key]

    def definition(self, call: Call, inputs: Sequence[Any]) -> Settled | None:
        """The nodes by which ONNX defines an operator, for inputs of these shapes and types."""
        from onnx import helper

        try:
            types = [
                helper.make_tensor_type_proto(1, None)
                if x is None
                else helper.make_tensor_type_proto(number_of(str(x.dtype)), x.shape)
                for x in inputs
            ]
        except FaltungError:
            return None
        key = id(call), tuple((str(x.dtype), x.shape) if x is not None else None for x in inputs)
        if key not in self._definitions:
            if len(self._definitions) >= MOST_DEFINITIONS:
                self._definitions.clear()
            self._definitions[key] = self._defined(call, types)
            self._kept.append(call)
        return self._definitions[key]

    def _defined(self, call: Call, types: Sequence[Any]) -> Settled | None:
        found = definition(call, types)
        if found is None:
            return None
        body = function_body(found, call.opset)
        bound = {**defaults(call), **call.attributes}
        return self._unfolder.function(body, call.inputs, call.outputs, bound)

    def real(self, array: Array) -> Array:
        """A constant as the table of operators takes it: bfloat16 as float32, which holds it."""
        if array.dtype != "bfloat16":
            return array
        found = self._real.get(id(array))
        if found is None:
            found = self._real[id(array)] = array, array.astype(np.float32)
        return found[1]
