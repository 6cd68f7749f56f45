"""A part of an ONNX model as a graph, for given sizes: constants folded, branches chosen, the rest
said in operations.

A walk over the nodes in their order. What is known (weights, shapes, whatever follows from these)
is an array and stays one. What the part is given when it runs, and all that follows from it, are
tensors of the graph under construction. What must run on the host, and all that follows from it,
is for later. What the graph cannot say although it should is collected, so that one error names all
of it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.files import shown
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.graph.foreign import Foreign, Tensor, Unsaid
from faltung.graph.fuse import needed
from faltung.onnx import host, qlinear, quantised, unroll
from faltung.onnx.arguments import Arguments, Given, Lazy, Notes, Unknown
from faltung.onnx.fold import evaluate, foldable, inferred
from faltung.onnx.gaps import Gap, attributes, node, title, unsupported
from faltung.onnx.knowledge import Knowledge, Settled
from faltung.onnx.part import Entry, Held, Later, Needed, Part, Shape
from faltung.onnx.read import MOST_NODES, Body, Call
from faltung.onnx.schemas import default_of
from faltung.onnx.table import TABLE
from faltung.onnx.tensors import dtype_of

Array = npt.NDArray[Any]


def import_part(
    knowledge: Knowledge,
    calls: Sequence[Call],
    known: Mapping[str, Array],
    held: Mapping[str, Held | Later],
    wanted: frozenset[str],
    dtype: Float,
) -> Part:
    """The part that begins with these nodes. wanted: names that the caller reads. FaltungError: the
    file contradicts itself. Needed: more must be known.
    """
    return _Importer(knowledge, Foreign(dtype), wanted).run(calls, known, held)


def import_layer(
    knowledge: Knowledge,
    calls: Sequence[Call],
    known: Mapping[str, Array],
    inputs: Mapping[str, Tensor],
    f: Foreign,
    output: str,
) -> Tensor:
    """The output that these nodes make of tensors, as part of another network. UnsupportedError:
    nodes that a graph cannot say; FaltungError: the file contradicts itself.
    """
    importer = _Importer(knowledge, f, frozenset([output]))
    found = importer.inside(calls, known, inputs).get(output)
    part = importer.part
    if part.gaps:
        raise unsupported(knowledge.where, part.gaps)
    if part.later:
        names = ", ".join(sorted({title(call) for call in part.later}))
        raise UnsupportedError(
            f"{knowledge.where}: {names}: run on the host, so the model cannot be a layer"
        )
    if not isinstance(found, Tensor):
        raise FaltungError(f"{knowledge.where}: output {shown(output)}: is no result of its input")
    return found


class _Importer:
    def __init__(self, knowledge: Knowledge, f: Foreign, wanted: frozenset[str]) -> None:
        self.k, self.f, self.wanted = knowledge, f, wanted
        self.notes = Notes()
        self.part = Part(None)
        self.env: dict[str, Entry] = {}
        self.held: Mapping[str, Held | Later] = {}
        self.fed: dict[str, Tensor] = {}
        # Whole numbers that are fed as real ones.
        self.cast: dict[str, Tensor] = {}
        self.maps: set[str] = set()
        self.queue: deque[Call] = deque()
        self.steps = 0

    def run(
        self, calls: Sequence[Call], known: Mapping[str, Array], held: Mapping[str, Held | Later]
    ) -> Part:
        self.walk(calls, known, held)
        if not self.part.gaps:
            self.finish()
        return self.part

    def inside(
        self, calls: Sequence[Call], known: Mapping[str, Array], inputs: Mapping[str, Tensor]
    ) -> Mapping[str, Entry]:
        """What the nodes make of tensors of a graph that is under construction."""
        self.fed = dict(inputs)
        self.notes.inputs = {x.value.name: name for name, x in inputs.items()}
        self.walk(calls, known, {name: Held(x.shape, x.dtype) for name, x in inputs.items()})
        return self.env

    def walk(
        self, calls: Sequence[Call], known: Mapping[str, Array], held: Mapping[str, Held | Later]
    ) -> None:
        self.env = {**known, **held}
        self.held = held
        self.maps = _maps(calls, held)
        self.queue = deque(calls)
        while self.queue:
            self.steps += 1
            if self.steps > MOST_NODES:
                raise self.k.error(f"more than {MOST_NODES} nodes")
            self.call(self.queue.popleft())

    def finish(self) -> None:
        """The graph of what the outputs need."""
        made = self.part
        names = set(self.wanted)
        for call in made.later:
            names.update(self.k.reads(call))
        for name, entry in self.env.items():
            if isinstance(entry, np.ndarray):
                if name in (names | self.fed.keys()) and name not in self.held:
                    made.known[name] = entry
            elif isinstance(entry, Tensor) and name in names:
                made.outputs[name] = entry
            elif isinstance(entry, Later):
                made.shapes[name] = entry
        fed = {x.value.name for x in (*self.fed.values(), *self.cast.values())}
        for x in made.outputs.values():
            if x.value.name not in fed | {v.name for v in made.values}:
                made.values.append(x.value)
        made.inputs = [*self.fed.items(), *self.cast.items()]
        made.tokens = self.notes.tokens
        if not made.values:
            made.inputs = [(n, x) for n, x in made.inputs if _is_read(x, made.outputs)]
            return
        graph = self.f.graph(made.values)
        nodes = needed(graph.nodes, {value.name for value in made.values})
        read = {value.name for node in nodes for value in node.inputs}
        parameters = tuple(p for p in graph.parameters if p.name in read)
        inputs = tuple(value for value in graph.inputs if value.name in read)
        made.graph = replace(graph, nodes=nodes, parameters=parameters, inputs=inputs)
        made.inputs = [
            (n, x) for n, x in made.inputs if x.value.name in read or _is_read(x, made.outputs)
        ]
        made.weights = {p.name: self.f.weights[p.name] for p in parameters}

    # The walk ------------------------------------------------------------------------------------

    def call(self, call: Call) -> None:
        entries: list[Entry] = []
        for name in self.k.reads(call):
            if name not in self.env:
                raise self.wrong(call, f"reads {shown(name)}, which is made nowhere")
            entries.append(self.env[name])
        inputs = [self.env[name] if name else None for name in call.inputs]
        try:
            try:
                made = self.results(call, inputs, entries)
            except Unsaid as error:
                made = self.unsaid(call, inputs, str(error))
            except Unknown as error:
                made = self.unknown(call, inputs, error.number)
        except (Needed, MemoryError):
            raise
        except FaltungError as error:
            if str(error).startswith(f"{self.k.where}: "):
                raise
            raise self.wrong(call, str(error)) from None
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
            # Numbers of the file that nothing above expected: NumPy's word for it.
            raise self.wrong(call, " ".join(str(error).split()) or type(error).__name__) from error
        if made is None:
            return
        for name, found in zip(call.outputs, made, strict=False):
            if name:
                self.env[name] = found
        for name in call.outputs[len(made) :]:
            if name:
                raise self.wrong(call, f"output {shown(name)}: the operator has no such output")

    def results(
        self, call: Call, inputs: Sequence[Entry | None], entries: Sequence[Entry]
    ) -> Sequence[Entry] | None:
        """What a node makes; None: other nodes have taken its place in the queue."""
        self.k.check(call)
        if not call.domain and call.op == "If":
            return self.branch(call, inputs)
        if any(isinstance(x, Later) for x in entries):
            if not self.k.anywhere(call):
                raise Unsaid("no such operator here")
            return self.later(call, inputs)
        if qlinear.known(call) and (call.domain or _is_level(inputs[0])):
            self.insert(self.k.spelled(call))
            return None
        settled = self.by_shape(call, inputs)
        if settled is not None:
            return settled
        if call.op in host.LOOPS and (count := self.turns(call)) is not None:
            self.insert(self.k.unrolled(call, count))
            return None
        if id(call) in self.k.foreign:
            return self.later(call, inputs)
        few = _quantised(call, inputs)
        if few is not None:  # which real numbers hold
            real = [replace(x, dtype="float32") if isinstance(x, Tensor) else x for x in inputs]
            return [_as(x, few) for x in self.said(call, real)]
        if call.op in host.CASTS and (whole := self.from_whole(call, inputs)) is not None:
            return [whole]
        dtypes = [None if x is None else str(x.dtype) for x in inputs]
        reason = host.eager(call, dtypes)
        known = all(isinstance(x, np.ndarray | None) for x in inputs)
        if known and call.op not in host.LOOPS and (reason is not None or foldable(call)):
            return self.folded(call, [x if isinstance(x, np.ndarray) else None for x in inputs])
        if reason is not None:
            self.part.forced[id(call)] = reason
            return self.later(call, inputs)
        return self.said(call, inputs)

    def turns(self, call: Call) -> int | None:
        """How often a loop runs that becomes nodes."""

        def known(name: str) -> Array | None:
            found = self.env[name]
            return found if isinstance(found, np.ndarray) else None

        return unroll.turns(call, known, lambda name: self.env[name].shape)

    def by_shape(self, call: Call, inputs: Sequence[Entry | None]) -> list[Array] | None:
        """What follows from the shapes and types of the inputs alone."""
        first = inputs[0] if inputs else None
        if call.domain or first is None:
            return None
        if call.op in ("Shape", "Size") and not isinstance(first, np.ndarray):
            return [_shape(call, first)]
        if call.op == "EyeLike" and not isinstance(first, np.ndarray) and first.shape is not None:
            return self.folded(
                call, [np.broadcast_to(np.zeros(1, dtype_of(str(first.dtype))), first.shape)]
            )
        like = inputs[1] if len(inputs) > 1 else None
        if call.op == "CastLike" and isinstance(first, np.ndarray) and like is not None:
            return self.folded(call, [first, np.zeros((), dtype_of(str(like.dtype)))])
        return None

    def folded(self, call: Call, inputs: Sequence[Array | None]) -> list[Array]:
        self.part.said.append(call)
        made = list(evaluate(call, inputs))
        if call.op == "DequantizeLinear":
            quantised.note(self.f, call.attributes, inputs, made[0])
        return made

    def said(self, call: Call, inputs: Sequence[Entry | None]) -> Sequence[Entry]:
        handler = None if call.domain else TABLE.get(call.op)
        if handler is None:
            raise Unsaid("no such operator here")
        if call.op != "Concat" and any(_is_empty(call, i, x) for i, x in enumerate(inputs)):
            raise Unsaid("a tensor without elements")
        given = [self.given(x, n) for x, n in zip(inputs, call.inputs, strict=True)]
        if not any(isinstance(x, Tensor | Lazy) for x in given):
            self.feed_first(call, inputs, given)
        arguments = Arguments(self.f, self.notes, call, given, call.opset)
        self.ready(given)
        with self.f.b.layer(call.op, self.f.name(call.name or f"{call.op}{self.steps}")):
            made = handler(arguments)
        for name in arguments.unread():
            if call.attributes[name] != default_of(call, name):
                raise Unsaid(f"the attribute {shown(name)}")
        self.part.said.append(call)
        return list(made) if isinstance(made, list) else [made]

    def given(self, x: Entry | None, name: str) -> Given:
        """An input as the table takes it."""
        if isinstance(x, Held):
            return Lazy(x.shape, x.dtype, lambda: self.feed(name, x))
        if isinstance(x, np.ndarray):
            return self.k.real(x)
        assert not isinstance(x, Later)
        return x

    def feed(self, name: str, x: Held | Array) -> Tensor:
        """Numbers that are there when the part begins, as an input of the graph."""
        found = self.fed.get(name)
        if found is None:
            found = self.fed[name] = self.input(name, x.shape, str(x.dtype))
            self.notes.inputs[found.value.name] = name
        return found

    def input(self, name: str, shape: Shape, dtype: str) -> Tensor:
        memory = (0, *range(2, len(shape)), 1) if name in self.maps and len(shape) > 2 else None
        return self.f.input(shape, dtype, memory)

    def from_whole(self, call: Call, inputs: Sequence[Entry | None]) -> Tensor | None:
        """Whole numbers that are cast to what the graph computes in: they are fed so."""
        x, name = inputs[0], call.inputs[0]
        wanted = host.target_of(call, [None if x is None else str(x.dtype) for x in inputs])
        if not isinstance(x, Held) or x.dtype not in host.INTEGERS or 0 in x.shape:
            return None
        if wanted != self.f.dtype:
            return None
        found = self.cast.get(name)
        if found is None:
            found = self.cast[name] = self.input(name, x.shape, self.f.dtype)
        self.part.said.append(call)
        return found

    def feed_first(self, call: Call, inputs: Sequence[Entry | None], given: list[Given]) -> None:
        """Constants alone, of an operator that is not folded: the first one becomes an input."""
        for i, (x, name) in enumerate(zip(inputs, call.inputs, strict=True)):
            if isinstance(x, np.ndarray) and x.size and str(x.dtype).startswith(("float", "bf")):
                given[i] = self.feed(name, x)
                self.part.fixed[name] = x
                return
        raise Unsaid("constants alone")

    def ready(self, given: Sequence[Given]) -> None:
        """A graph has an input; which one is first does not matter."""
        lazy = [x for x in given if isinstance(x, Lazy)]
        if not (self.fed or self.cast):
            real = [x for x in lazy if not x.dtype.startswith(("int", "uint"))]
            (real or lazy)[0].made()

    # What does not become part of the graph ------------------------------------------------------

    def unsaid(
        self, call: Call, inputs: Sequence[Entry | None], reason: str
    ) -> Sequence[Entry] | None:
        """A node that the graph could not say: for the host, made of others, or a gap."""
        if any(isinstance(x, Later) for x in inputs):
            self.gap(call, reason)
            return self.later(call, inputs, queue=self.k.falls_back(call))
        dtypes = [None if x is None else str(x.dtype) for x in inputs]
        shapes = [None if x is None else x.shape for x in inputs]
        computed = [x is not None and not isinstance(x, np.ndarray) for x in inputs]
        results = inferred(call, [_typed(x) for x in inputs])
        why = host.nature(call, dtypes, shapes, computed, results)
        if why is not None and (foldable(call) or call.op in host.LOOPS):
            if any(computed) or call.op in host.LOOPS:
                self.part.forced[id(call)] = why
                return self.later(call, inputs)
            try:
                return self.folded(call, [x if isinstance(x, np.ndarray) else None for x in inputs])
            except Unsaid as error:
                reason = str(error)
        if call.op not in TABLE:
            made = self.k.definition(call, [_typed(x) for x in inputs])
            if made is not None:
                self.insert(made)
                return None
        self.gap(call, reason)
        return self.later(call, inputs, queue=self.k.falls_back(call))

    def gap(self, call: Call, reason: str) -> None:
        if self.k.falls_back(call):
            self.k.foreign[id(call)] = reason
            return
        self.part.gaps.append(Gap(title(call), node(call), attributes(call), reason, call))

    def later(self, call: Call, inputs: Sequence[Entry | None], queue: bool = True) -> list[Entry]:
        """Leave a node for after the part. Its results have shapes, as far as they are known, so
        that what else is missing behind it is found too.
        """
        if queue:
            self.part.later.append(call)
        if any(isinstance(x, Later) and x.shape is None for x in inputs) or call.domain:
            return [Later(None, "float32")] * len(call.outputs)
        if call.op in host.LOOPS:
            return [Later(None, "float32")] * len(call.outputs)
        results = inferred(call, [_typed(x) for x in inputs])
        return [Later(shape, dtype) for shape, dtype in results]

    def unknown(
        self, call: Call, inputs: Sequence[Entry | None], number: int
    ) -> Sequence[Entry] | None:
        """An input must be known when the part is made."""
        x = inputs[number]
        if number in host.SELECTIONS.get(call.op, ()):
            return self.unsaid(call, inputs, "a selection by values")
        if isinstance(x, np.ndarray):  # which was to be an input of the graph
            return self.unsaid(call, inputs, "constants alone")
        if isinstance(x, Held) and x.array is not None:
            raise Needed(call.inputs[number])
        return self.later(call, inputs)

    def branch(self, call: Call, inputs: Sequence[Entry | None]) -> Sequence[Entry] | None:
        """The branch that is taken is put in the place of the node."""
        condition = inputs[0]
        for word in ("then_branch", "else_branch"):
            if not isinstance(call.attributes.get(word), Body):
                raise FaltungError(f"{word} is missing")
        if isinstance(condition, Held) and condition.array is not None:
            raise Needed(call.inputs[0])
        if not isinstance(condition, np.ndarray):
            for word in ("then_branch", "else_branch"):
                for gap in self.k.missing(call.attributes[word]):
                    self.gap(gap, "no such operator here")
            self.part.later.append(call)
            return [Later(None, "float32")] * len(call.outputs)
        if condition.size != 1:
            raise FaltungError("the condition must be one number")
        word = "then_branch" if bool(condition.ravel()[0]) else "else_branch"
        self.insert(self.k.branch(call, word))
        return None

    def insert(self, made: Settled) -> None:
        """Nodes that are to be visited next, and the constants that they read."""
        calls, constants = made
        self.env.update(constants)
        self.queue.extendleft(reversed(calls))

    def wrong(self, call: Call, message: str) -> FaltungError:
        return self.k.error(f"node {node(call)} ({title(call)}): {message}")


def _quantised(call: Call, inputs: Sequence[Entry | None]) -> str | None:
    """The type of whole numbers that the graph has made itself, where the node keeps them."""
    if call.domain or call.op not in host.KEEPING or any(call.outputs[1:]) != (call.op == "Split"):
        return None
    data = inputs if call.op == "Concat" else inputs[:1]
    kinds = {x.dtype if isinstance(x, Tensor) and x.value.kind == "float" else "" for x in data}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return kind if kind in host.SMALL else None


def _is_level(x: Entry | None) -> bool:
    """Whether a tensor is of whole numbers that the graph has made."""
    return isinstance(x, Tensor) and x.value.kind == "float" and x.dtype in host.SMALL


def _as(x: Entry, dtype: str) -> Entry:
    return replace(x, dtype=dtype) if isinstance(x, Tensor) else x


def _is_empty(call: Call, number: int, x: Entry | None) -> bool:
    """Whether an input is a tensor without elements, and not a setting that is left out so."""
    if x is None or 0 not in (x.shape or ()):
        return False
    return number == 0 or len(x.shape or ()) > 1 or number in host.SELECTIONS.get(call.op, ())


def _typed(x: Entry | None) -> Any:
    """An entry as ``inferred`` takes it: with a shape and a dtype, or an array."""
    return None if isinstance(x, Later) and x.shape is None else x


def _is_read(x: Tensor, outputs: Mapping[str, Tensor]) -> bool:
    return any(other.value.name == x.value.name for other in outputs.values())


def _shape(call: Call, x: Any) -> Array:
    if call.op == "Size":
        return np.array(int(np.prod(x.shape, dtype=np.int64)), np.int64)
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


def _maps(calls: Sequence[Call], held: Mapping[str, Held | Later]) -> set[str]:
    """Inputs that are read as (samples, C, *space), at once or after formulas."""
    of = {name: name for name in held}
    found: set[str] = set()
    for call in calls:
        read = [of[name] for name in call.inputs[:2] if name in of]
        if call.op in SPATIAL and call.inputs and call.inputs[0] in of:
            found.add(of[call.inputs[0]])
        elif call.op in POINTWISE and read:
            of |= dict.fromkeys(call.outputs, read[0])
    return found
