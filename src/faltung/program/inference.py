"""A network compiled for inference: normalisation folded, weights packed, one parallel region."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.graph.expand import expanded
from faltung.graph.fold import folded
from faltung.graph.fuse import fused, needed
from faltung.graph.ops import Softmax
from faltung.graph.value import Graph, Node, Value
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.plan.choose import policy_of
from faltung.program.assemble import Assembly
from faltung.program.derived_weights import Weights
from faltung.program.inputs import copy_in, input_layout
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.state import State
from faltung.program.threads import threads_for

Array = npt.NDArray[Any]


class Inference:
    """``program(x) -> y`` for a fixed batch, over the parameters of ``state``.

    graph: built without ``training``. softmax: probabilities along the channels instead of what the
    last layer gives. precision: "fast", or "strict" for plain sums of products only. Parameters
    that change later are seen after ``refresh``. One program is used by one thread at a time: it
    owns its memory.
    """

    def __init__(
        self,
        graph: Graph,
        state: State,
        batch: int,
        *,
        softmax: bool = False,
        precision: str = "fast",
        machine: Machine | None = None,
    ) -> None:
        whole("batch", batch, 1)
        if graph.training:
            raise FaltungError("graph: must be built for inference, not for training")
        state.check(graph)
        self.graph, self.state, self.batch = graph, state, batch
        plain, derived = folded(expanded(graph)[0])
        nodes, output = plain.nodes, plain.output
        if softmax:
            nodes = (
                *nodes,
                Node(Softmax(), (output,), (Value("softmax", output.shape),), "softmax"),
            )
            output = nodes[-1].output
        self.output = output
        nodes, first = input_layout(graph.input, fused(needed(nodes, {output.name}), {output.name}))
        self.nodes = nodes
        places = Places(nodes, [graph.input.name], first)
        self._weights = Weights(state, derived)
        policy = policy_of(precision)
        where = places, self._weights.strides, batch, graph.dtype
        lowering = Lowering(*where, machine or current(), policy)
        self.assembly = Assembly(
            nodes,
            lowering,
            outside=self._weights.memories,
            fixed=self._weights.fixed,
            feeds=[graph.input],
            kept=[output],
            packs=False,
        )
        self._input = self.assembly.array(graph.input)
        self._result = self.assembly.array(output)
        self._run = self.assembly.region.run
        self.refresh()

    def refresh(self) -> None:
        """Fold and pack the parameters again, as they are now."""
        self._weights.refresh()
        self.assembly.prepare.run(threads_for(self.assembly.cycles))

    def __call__(self, x: Array) -> Array:
        """x: (batch, C, *space), or (batch, length) tokens. Returns (batch, C', *space')."""
        self.feed(x)
        self.run()
        return self.result()

    def feed(self, x: Array) -> None:
        """Copy an input into the program's memory. ValueError, TypeError: as ``copy_in``."""
        copy_in("x", x, (self.batch, *self.graph.input.shape), self._input, last=False)

    def run(self) -> None:
        """Run on the input that was fed."""
        self._run(threads_for(self.assembly.cycles))

    def result(self) -> Array:
        """A copy of the output, channels first."""
        return np.array(np.moveaxis(self._result, -1, 1), order="C")
