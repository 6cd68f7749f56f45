"""From an ONNX file to a graph, for given sizes: constants folded, branches chosen, nodes said.

A walk over the nodes in their order. What is known (weights, shapes, whatever follows from these)
is an array and stays one; everything else is a tensor of the graph under construction. What the
graph cannot say is collected, so that one error names all of it.
"""

from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.files import shown
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.graph.foreign import Foreign, Tensor, Unsaid
from faltung.graph.fuse import needed
from faltung.graph.value import Graph, Value
from faltung.onnx.arguments import Arguments, Notes, Unknown
from faltung.onnx.fold import evaluate, foldable, inferred
from faltung.onnx.read import DEEPEST, MOST_NODES, Body, Call, File
from faltung.onnx.schemas import check, default_of
from faltung.onnx.table import INHERENT, TABLE

Array = npt.NDArray[Any]
Known = Tensor | Array


# Operators that could be computed ahead, but whose input is hardly ever a constant.
MISSED = ("Ceil", "Cos", "Floor", "Round", "Sin", "Tan")


# Whole numbers that an input has at most for there to be a program for each value.
MOST_SETTINGS = 4


class _Lost:
    """The result of a node that could not be said."""


LOST = _Lost()
Entry = Tensor | Array | _Lost


@dataclass(frozen=True, slots=True)
class Gap:
    """What a graph cannot say yet: an operator, a node, its attributes, and why."""

    op: str
    node: str
    attributes: str
    reason: str


class Needed(Exception):
    """Inputs of the model whose values must be known when the program is made."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(*names)
        self.names = names


@dataclass(slots=True)
class Imported:
    """What came of a file. graph: None where nothing has to be computed. outputs: for each of the
    model's, its numbers or how to look at a value. values: the graph's outputs. inputs: of the
    graph, in its order, the model's names with how the arrays are laid out for it.
    """

    graph: Graph | None
    batch: int
    weights: dict[str, Array]
    inputs: list[tuple[str, Tensor]]
    outputs: list[Known]
    values: list[Value]
    tokens: dict[str, int]
    gaps: list[Gap] = field(default_factory=list)


def unsupported(where: str, gaps: Sequence[Gap]) -> UnsupportedError:
    """One line that names all gaps, and how often each occurs."""
    count: Counter[tuple[str, str]] = Counter((gap.op, gap.reason) for gap in gaps)
    first = {(gap.op, gap.reason): gap for gap in reversed(gaps)}
    rows = [
        f"{op}, {times} time{'s' * (times > 1)} (node {first[op, reason].node}"
        f"{first[op, reason].attributes}): {reason}"
        for (op, reason), times in count.most_common()
    ]
    return UnsupportedError(
        f"{where}: not supported yet, so nothing was run: {'; '.join(rows)}; "
        "docs/onnx.md lists what is"
    )


def import_file(
    file: File,
    shapes: Mapping[str, tuple[int, ...]],
    fixed: Mapping[str, Array],
    batch: int,
    dtype: Float,
) -> Imported:
    """The graph for inputs of these shapes. fixed: inputs whose values are known. FaltungError: the
    file contradicts itself. Needed: more inputs must be known.
    """
    return _Importer(file, batch, dtype).run(shapes, fixed)


class _Importer:
    def __init__(self, file: File, batch: int, dtype: Float) -> None:
        self.file = file
        self.f = Foreign(dtype)
        self.notes = Notes()
        self.gaps: list[Gap] = []
        self.steps = 0
        # How many whole numbers or conditions an input of the model has.
        self.sizes: dict[str, int] = {}
        # For each value the inputs of the model that it was made of.
        self.origin: dict[str, frozenset[str]] = {}

    def run(self, shapes: Mapping[str, tuple[int, ...]], fixed: Mapping[str, Array]) -> Imported:
        env: dict[str, Entry] = dict(self.file.body.constants)
        inputs: list[tuple[str, Tensor]] = []
        maps = _maps(self.file.body)
        for port in self.file.inputs:
            if port.name in fixed:
                env[port.name] = fixed[port.name]
                continue
            shape = shapes[port.name]
            memory = None
            if port.name in maps and len(shape) > 2:
                memory = (0, *range(2, len(shape)), 1)
            if port.dtype == "bfloat16":
                self.gaps.append(Gap("input", shown(port.name), "", "bfloat16 inputs"))
            try:
                x = self.f.input(shape, port.dtype, memory)
            except Unsaid as error:
                self.gaps.append(Gap("input", shown(port.name), "", str(error)))
                env[port.name] = LOST
                continue
            self.notes.inputs[x.value.name] = port.name
            if not port.dtype.startswith("float"):
                self.sizes[port.name] = x.size
            self.origin[x.value.name] = frozenset([port.name])
            env[port.name] = x
            inputs.append((port.name, x))
        self.body(self.file.body, env, self.file.opset, {}, 0)
        outputs = [env.get(port.name, LOST) for port in self.file.outputs]
        for port in self.file.outputs:
            if port.dtype == "bfloat16":
                self.gaps.append(Gap("output", shown(port.name), "", "bfloat16 outputs"))
        made = Imported(None, 1, {}, inputs, [], [], self.notes.tokens, self.gaps)
        if self.gaps:
            return made
        made.outputs = [found for found in outputs if not isinstance(found, _Lost)]
        self.finish(made)
        return made

    def finish(self, made: Imported) -> None:
        """The graph of what the outputs need."""
        known = {x.value.name for _, x in made.inputs}
        for found in made.outputs:
            if isinstance(found, Tensor) and found.value.name not in known | {
                v.name for v in made.values
            }:
                made.values.append(found.value)
        if not made.values:
            return
        graph = self.f.graph(made.values)
        nodes = needed(graph.nodes, {value.name for value in made.values})
        read = {value.name for node in nodes for value in node.inputs}
        parameters = tuple(p for p in graph.parameters if p.name in read)
        made.graph = replace(graph, nodes=nodes, parameters=parameters)
        made.weights = {p.name: self.f.weights[p.name] for p in parameters}

    # The walk ------------------------------------------------------------------------------------

    def body(
        self,
        body: Body,
        env: MutableMapping[str, Entry],
        opset: int,
        bound: Mapping[str, Any],
        depth: int,
    ) -> None:
        if depth > DEEPEST:
            raise self.error(f"functions and branches are nested more than {DEEPEST} deep")
        for call in body.calls:
            self.steps += 1
            if self.steps > MOST_NODES:
                raise self.error(f"more than {MOST_NODES} nodes")
            if call.references:
                given = {
                    name: bound[other] for name, other in call.references.items() if other in bound
                }
                call = replace(call, attributes={**call.attributes, **given}, references={})
            self.call(call, env, opset, bound, depth)

    def call(
        self,
        call: Call,
        env: MutableMapping[str, Entry],
        opset: int,
        bound: Mapping[str, Any],
        depth: int,
    ) -> None:
        inputs: list[Entry | None] = []
        for name in call.inputs:
            if name and name not in env:
                raise self.wrong(call, f"reads {shown(name)}, which is made nowhere")
            inputs.append(env[name] if name else None)
        try:
            made = self.results(call, inputs, env, opset, bound, depth)
        except Unsaid as error:
            self.settings(inputs)
            self.gaps.append(Gap(_title(call), _node(call), _attributes(call), str(error)))
            made = self.instead(call, inputs, opset)
        except Unknown as error:
            made = self.unknown(call, inputs[error.number])
        except Needed:
            raise
        except MemoryError:
            raise
        except FaltungError as error:
            if str(error).startswith(f"{self.file.where}: "):
                raise
            raise self.wrong(call, str(error)) from None
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
            # Numbers of the file that nothing above expected: NumPy's word for it.
            raise self.wrong(call, " ".join(str(error).split()) or type(error).__name__) from error
        origin = frozenset().union(
            *(self.origin.get(x.value.name, frozenset()) for x in inputs if isinstance(x, Tensor))
        )
        for name, found in zip(call.outputs, made, strict=False):
            if name:
                env[name] = found
                if isinstance(found, Tensor):
                    self.origin.setdefault(found.value.name, origin)
        for name in call.outputs[len(made) :]:
            if name:
                raise self.wrong(call, f"output {shown(name)}: the operator has no such output")

    def unknown(self, call: Call, x: Entry | None) -> list[Entry]:
        """An input must be known: those of the model that it follows from are asked for."""
        assert isinstance(x, Tensor)
        names = self.origin.get(x.value.name, frozenset())
        if x.value.name in self.notes.inputs and names:
            raise Needed(names)
        reason = "an input that must be constant is computed"
        self.gaps.append(Gap(_title(call), _node(call), _attributes(call), reason))
        return [LOST] * len(call.outputs)

    def settings(self, inputs: Sequence[Entry | None]) -> None:
        """Needed: a node failed because of whole numbers that follow from inputs of a few alone,
        such as a sampling rate. They are settings: there is a program for each.
        """
        for x in inputs:
            if not isinstance(x, Tensor) or not x.dtype.startswith(("int", "uint", "bool")):
                continue
            names = self.origin.get(x.value.name, frozenset())
            if names and all(self.sizes.get(n, MOST_SETTINGS + 1) <= MOST_SETTINGS for n in names):
                raise Needed(names)

    def instead(self, call: Call, inputs: Sequence[Entry | None], opset: int) -> list[Entry]:
        """After a gap: inputs of the shapes that the results have, so that what else is missing
        behind it is found too. The graph is of no further use.
        """
        lost: list[Entry] = [LOST] * len(call.outputs)
        if call.domain or any(isinstance(x, _Lost) for x in inputs):
            return lost
        given = [x for x in inputs if not isinstance(x, _Lost)]
        shapes = inferred(call, given, opset)
        try:
            return [
                LOST if shape is None else self.f.input(shape, dtype) for shape, dtype in shapes
            ]
        except (Unsaid, MemoryError):
            return lost

    def results(
        self,
        call: Call,
        inputs: Sequence[Entry | None],
        env: MutableMapping[str, Entry],
        opset: int,
        bound: Mapping[str, Any],
        depth: int,
    ) -> list[Entry]:
        function = self.file.functions.get((call.domain, call.op))
        if function is not None:
            return self.function(function, call, inputs, depth)
        check(call, opset)
        if not call.domain and call.op == "If":
            return self.branch(call, inputs, env, opset, bound, depth)
        if any(isinstance(x, _Lost) for x in inputs):
            here = call.op in TABLE or call.op in INHERENT or foldable(call)
            if call.domain or not here or call.op in MISSED:
                raise Unsaid("no such operator here")
            return [LOST] * len(call.outputs)
        given = [x for x in inputs if not isinstance(x, _Lost)]
        if not call.domain and call.op in ("Shape", "Size") and isinstance(given[0], Tensor):
            return [_shape(call, given[0])]
        if foldable(call) and not any(isinstance(x, Tensor) for x in given):
            arrays = [x for x in given if not isinstance(x, Tensor)]
            return list(evaluate(call, arrays, opset))
        handler = None if call.domain else TABLE.get(call.op)
        if handler is None:
            raise Unsaid("no such operator here")
        with self.f.b.layer(call.op, self.f.name(call.name or f"{call.op}{self.steps}")):
            arguments = Arguments(self.f, self.notes, call, given, opset)
            made = handler(arguments)
        for name in arguments.unread():
            if call.attributes[name] != default_of(call, opset, name):
                raise Unsaid(f"the attribute {shown(name)}")
        return list(made) if isinstance(made, list) else [made]

    def function(
        self,
        function: tuple[Body, int, Mapping[str, Any]],
        call: Call,
        inputs: Sequence[Entry | None],
        depth: int,
    ) -> list[Entry]:
        body, opset, defaults = function
        if len(inputs) > len(body.inputs):
            raise FaltungError(f"function {call.op}: takes {len(body.inputs)} inputs")
        inner: dict[str, Entry] = {}
        for name, given in zip(body.inputs, inputs, strict=False):
            if given is not None:
                inner[name] = given
        self.body(body, inner, opset, {**defaults, **call.attributes}, depth + 1)
        return [inner.get(name, LOST) for name in body.outputs]

    def branch(
        self,
        call: Call,
        inputs: Sequence[Entry | None],
        env: MutableMapping[str, Entry],
        opset: int,
        bound: Mapping[str, Any],
        depth: int,
    ) -> list[Entry]:
        """The branch that is taken, where that is known."""
        condition = inputs[0]
        if isinstance(condition, _Lost):
            return [LOST] * len(call.outputs)
        if isinstance(condition, Tensor):
            if condition.value.name in self.notes.inputs:
                raise Unknown(0)
            raise Unsaid("a condition that is computed (needs control flow)")
        if condition is None or condition.size != 1:
            raise FaltungError("the condition must be one number")
        word = "then_branch" if bool(condition.ravel()[0]) else "else_branch"
        chosen = call.attributes.get(word)
        if not isinstance(chosen, Body):
            raise FaltungError(f"{word} is missing")
        inner: MutableMapping[str, Entry] = ChainMap({}, env)
        inner.update(chosen.constants)
        self.body(chosen, inner, opset, bound, depth + 1)
        missing = [name for name in chosen.outputs if name not in inner]
        if missing:
            raise FaltungError(f"output {shown(missing[0])} of its branch: is made by no node")
        return [inner[name] for name in chosen.outputs]

    def error(self, message: str) -> FaltungError:
        return FaltungError(f"{self.file.where}: {message}")

    def wrong(self, call: Call, message: str) -> FaltungError:
        return self.error(f"node {_node(call)} ({_title(call)}): {message}")


def _title(call: Call) -> str:
    return shown(f"{call.domain}.{call.op}" if call.domain else call.op)[:80]


def _node(call: Call) -> str:
    name = call.name or next((f"of {name}" for name in call.outputs if name), "without a name")
    return shown(name)[:120]


def _attributes(call: Call) -> str:
    words = [
        f"{name}={value if not isinstance(value, tuple) else list(value[:8])}"
        for name, value in call.attributes.items()
        if isinstance(value, int | float | str | tuple) and not _graphs(value)
    ]
    return shown(f", {', '.join(words)}"[:200]) if words else ""


def _graphs(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, Body) for each in value)


def _shape(call: Call, x: Tensor) -> Array:
    if call.op == "Size":
        return np.array(x.size, np.int64)
    start, end = call.attributes.get("start", 0), call.attributes.get("end")
    return np.array(x.shape[slice(start, end)], np.int64)


# Operators that read (samples, C, *space), and those that leave the axes as they are.
SPATIAL = frozenset(
    """
    Conv ConvTranspose MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool
    BatchNormalization InstanceNormalization GroupNormalization LRN DepthToSpace SpaceToDepth
    Resize Upsample PRelu GridSample DeformConv ConvInteger QLinearConv
    """.split()
)
POINTWISE = frozenset(
    """
    Add Sub Mul Div Cast Identity Clip Relu LeakyRelu Sigmoid Tanh Pad Concat Dropout Neg Abs
    QuantizeLinear DequantizeLinear Max Min Sqrt Exp Log Pow
    """.split()
)


def _maps(body: Body) -> set[str]:
    """Inputs that are read as (samples, C, *space), at once or after formulas."""
    of = {name: name for name in body.inputs}
    found: set[str] = set()
    for call in body.calls:
        read = [of[name] for name in call.inputs[:2] if name in of]
        if call.op in SPATIAL and call.inputs and call.inputs[0] in of:
            found.add(of[call.inputs[0]])
        elif call.op in POINTWISE and read:
            of |= dict.fromkeys(call.outputs, read[0])
    return found


def float_of(file: File) -> Float:
    """What the graph computes in: float64 where the file has any."""
    doubles = [port.dtype for port in (*file.inputs, *file.outputs)]
    doubles += [str(array.dtype) for array in file.body.constants.values() if array.size > 1]
    return "float64" if "float64" in doubles else "float32"
