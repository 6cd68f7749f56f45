"""A network compiled for inference: normalisation folded, weights packed, one parallel region."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.graph.expand import expanded
from faltung.graph.fold import Derived, folded
from faltung.graph.fuse import fused, needed
from faltung.graph.fuse_attention import with_attention
from faltung.graph.fuse_moves import moved
from faltung.graph.fuse_views import views_last
from faltung.graph.gates import gated
from faltung.graph.grids import with_levels
from faltung.graph.ops import Softmax
from faltung.graph.recognise import recognised
from faltung.graph.value import Graph, Node, Value
from faltung.graph.windows import Cut
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.plan.choose import policy_of
from faltung.program.assemble import Assembly
from faltung.program.constants import Constants
from faltung.program.derived_weights import Weights
from faltung.program.inputs import Fed, input_layouts
from faltung.program.integers import settled
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.state import State
from faltung.program.stored import halves_of
from faltung.program.threads import threads_for
from faltung.runtime.buffers import aligned

Array = npt.NDArray[Any]


Updates = tuple[tuple[Value, Value], ...]


class Simplified(NamedTuple):
    """What is left to run: the nodes, the outputs, what is derived from parameters alone, and the
    new values of those that are not trained. reasons: by the names of their results, why
    convolutions are not of whole numbers, where a network has levels.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    derived: list[Derived]
    updates: Updates
    reasons: dict[str, str]


def simplified(graph: Graph, softmax: bool = False, integers: bool = False) -> Simplified:
    """The graph in fewer and simpler operations. softmax, integers: as ``Inference``."""
    plain, derived = folded(expanded(graph)[0])
    nodes, outputs = plain.nodes, plain.outputs
    if softmax:
        likely = replace(plain.output, name="softmax")
        nodes = (*nodes, Node(Softmax(), (plain.output,), (likely,), "softmax"))
        outputs = (likely, *outputs[1:])
    kept = {value.name for value in (*outputs, *(new for _, new in plain.updates))}
    reasons: dict[str, str] = {}
    if integers and graph.dtype == "float32":
        nodes, derived, reasons = with_levels(nodes, kept, derived)
    nodes = with_attention(moved(needed(nodes, kept), kept), kept)
    nodes = views_last(recognised(nodes, kept))
    nodes = gated(fused(needed(nodes, kept), kept), kept)
    return Simplified(nodes, outputs, list(derived), plain.updates, reasons)


class Part(NamedTuple):
    """A part of a network: the whole, simplified, and the nodes of the part."""

    simple: Simplified
    cut: Cut


class Inference:
    """``program(*x) -> y`` for a fixed batch, over the parameters of ``state``: a ``State``, or
    ``Constants``, which several programs share. Of several outputs it gives a tuple.

    graph: built without ``training``. softmax: probabilities along the channels instead of what the
    last layer gives. precision: "fast", or "strict" for plain sums of products only. bands: whether
    chains of layers may run band by band, with the same bits. integers: whether a network whose
    values and weights lie on grids runs in whole numbers of 8 bits (``graph/grids.py``); else in
    float32, which gives the same numbers where its sums are exact. part: of the network alone, with
    the bits of the whole, of which it is a part. memory: where its arena is from, which programs
    that run one after the other may share. Where the state keeps weights in
    16 bits, so does the program what its nodes make. Inputs and results are float32. Parameters
    that change later are seen after ``refresh``. One program is used by one thread at a time: it
    owns its memory.
    """

    def __init__(
        self,
        graph: Graph,
        state: State | Constants,
        batch: int,
        *,
        softmax: bool = False,
        precision: str = "fast",
        bands: bool = True,
        integers: bool = True,
        part: "Part | None" = None,
        memory: Callable[[int], Array] = aligned,
        machine: Machine | None = None,
    ) -> None:
        whole("batch", batch, 1)
        if graph.training:
            raise FaltungError("graph: must be built for inference, not for training")
        state.check(graph)
        self.graph, self.state, self.batch = graph, state, batch
        if part is None:
            simple, inputs = simplified(graph, softmax, integers and not state.stored), graph.inputs
            nodes, outputs = simple.nodes, simple.outputs
        else:
            simple, inputs = part.simple, part.cut.inputs
            nodes, outputs = part.cut.nodes, part.cut.outputs
        self.reasons = simple.reasons
        nodes, first = input_layouts(inputs, nodes)
        nodes, places, levels = settled(graph, nodes, outputs, first)
        self.levels = levels
        self.nodes, self.outputs = nodes, outputs
        weights = Weights(state, simple.derived, nodes)
        policy = replace(policy_of(precision), placed=part is not None)
        where = places, weights.strides, batch, graph.dtype
        specs = (str(node.op.spec) for node in nodes if hasattr(node.op, "spec"))
        about = "inference", str(batch), *map(repr, inputs), *specs
        counts = {v.name: v for node in nodes for v in node.inputs if v.kind == "rows"}
        lowering = Lowering(*where, machine or current(), policy, about)
        lowering.items = dict.fromkeys(levels, 1)
        lent = _lent(inputs, outputs, places)
        size = batch * np.dtype(graph.dtype).itemsize
        self.assembly = Assembly(
            nodes,
            lowering,
            outside={memory: _zeros(v.size * size) for v, memory in lent.items()},
            fixed={v.name: (memory, 0) for v, memory in lent.items()},
            weights=weights,
            feeds=[*(v for v in inputs if v not in lent), *counts.values()],
            kept=list(outputs),
            bands=bands and not (state.stored or levels),
            halves=halves_of(state.stored, nodes, places, outputs, weights, levels),
            memory=memory,
        )
        for value in counts.values():
            self.assembly.array(value)[...] = batch * value.shape[0]
        single = len(inputs) == 1
        self._inputs = [
            Fed(
                "x" if single else v.name,
                (batch * v.samples, *v.shape),
                self.assembly.array(v),
                self.assembly.moving,
                self.assembly.slot(lent[v]) if v in lent else -1,
            )
            for v in inputs
        ]
        self._results = [self.assembly.array(value) for value in outputs]
        self._run = self.assembly.moving.run
        self.refresh()

    def refresh(self) -> None:
        """Fold and pack the parameters again, as they are now."""
        self.assembly.prepare(threads_for(self.assembly.cycles))

    def release(self) -> None:
        """Let go of constants that were packed, and are not read otherwise. There is no ``refresh``
        after it.
        """
        self.assembly.release()

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    def __call__(self, *inputs: Array) -> Any:
        """inputs: (batch, C, *space), or (batch, length) tokens. Returns (batch, C', *space'), or a
        tuple of these.
        """
        self.lend(*inputs)
        self.run()
        return self.result() if len(self.outputs) == 1 else tuple(self.results())

    def feed(self, *inputs: Array) -> None:
        """Copy the inputs into the program's memory. ValueError, TypeError: as ``copy_in``."""
        self._check_count(inputs)
        for given, fed in zip(inputs, self._inputs, strict=True):
            fed.copy(given)

    def lend(self, *inputs: Array) -> None:
        """The same for the next run alone, which reads arrays that lie as the program's own memory
        where they are.
        """
        self._check_count(inputs)
        for given, fed in zip(inputs, self._inputs, strict=True):
            if not fed.lend(given):
                fed.copy(given)

    def _check_count(self, inputs: Sequence[Array]) -> None:
        if len(inputs) != len(self._inputs):
            raise FaltungError(f"inputs: there are {len(self._inputs)}, got {len(inputs)}")

    def run(self) -> None:
        """Run on the input that was fed, or lent."""
        try:
            self._run(threads_for(self.assembly.cycles))
        finally:
            for fed in self._inputs:
                fed.give_back()

    @property
    def outputs_in_memory(self) -> list[Array]:
        """All outputs where they lie, (samples, *space, C), until the next run."""
        return self._results

    def result(self) -> Array:
        """A copy of the first output, channels first."""
        return np.array(np.moveaxis(self._results[0], -1, 1), order="C")

    def results(self) -> list[Array]:
        """Copies of all outputs, channels first."""
        return [np.array(np.moveaxis(result, -1, 1), order="C") for result in self._results]


def _lent(inputs: Sequence[Value], outputs: Sequence[Value], places: Places) -> dict[Value, str]:
    """The inputs that a run may read where the caller has them, each with a memory of its own. Not
    those that are outputs, and no tokens: they are checked, and must not change after that.
    """
    kept = {places.root(value).name for value in outputs}
    return {v: f"input {v.name}" for v in inputs if v.kind == "float" and v.name not in kept}


def _zeros(size: int) -> Array:
    made = aligned(size)
    made[:] = 0
    return made
