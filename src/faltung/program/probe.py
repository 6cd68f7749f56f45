"""A network compiled so that one looks inside: what its layers make, and the gradients of a sum of
its outputs for them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.differentiate import sensitivity
from faltung.graph.expand import expanded
from faltung.graph.fuse import fused, needed
from faltung.graph.value import Graph, Value
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.plan.choose import policy_of
from faltung.program.assemble import Assembly
from faltung.program.derived_weights import Weights
from faltung.program.inputs import copy_in, input_layouts
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.state import State
from faltung.program.threads import threads_for
from faltung.runtime.memory import require

Array = npt.NDArray[Any]


class Probe:
    """A network for a fixed batch, with values that are kept, and gradients for others.

    graph: built without ``training``. watched: values of the graph that ``maps`` gives. to: values,
    the input perhaps, for which ``gradients`` has the gradient of the weighted sum of the outputs.
    precision: as for ``Inference``.

    Nothing is folded, so that each layer makes what it is defined to make: a convolution before a
    normalisation too. Parameters are read from ``state`` as they are at each run. One thread uses a
    probe at a time: it owns its memory.
    """

    def __init__(
        self,
        graph: Graph,
        state: State,
        batch: int,
        watched: Sequence[Value] = (),
        *,
        to: Sequence[Value] = (),
        of: Sequence[Value] = (),
        precision: str = "fast",
        machine: Machine | None = None,
    ) -> None:
        state.check(graph)
        self.graph, self.batch = graph, batch
        self.watched, self.to, self.of = tuple(watched), tuple(to), tuple(of) or (graph.output,)
        # What is watched stays where it is computed, even if a later layer could absorb it. As in
        # training, normalisations are formulas, and maxima remember where they came from.
        inside = [v for v in (*to, *of) if v != graph.input]
        ends = dict.fromkeys((*graph.outputs, *self.watched, *inside))
        plain, statistics = expanded(replace(graph, outputs=tuple(ends), training=True))
        nodes, kept, feeds = plain.nodes, list(ends), [graph.input]
        self._seeds: list[Value] = []
        self._grads: list[Value] = []
        if self.to:
            nodes, self._seeds, self._grads = sensitivity(plain, self.of, self.to, statistics)
            kept, feeds = list(dict.fromkeys([*kept, *self._grads])), [*feeds, *self._seeds]
        size = batch * sum(v.size for v in kept) * np.dtype(graph.dtype).itemsize
        require(size, "what the layers of this network make")
        names = {value.name for value in kept}
        nodes, first = input_layouts(graph.inputs, fused(needed(nodes, names), names))
        numbers = Weights(state, (), nodes)
        numbers.place(())
        places = Places(nodes, [value.name for value in feeds], first)
        lowering = Lowering(
            places,
            numbers.strides,
            batch,
            graph.dtype,
            machine or current(),
            replace(policy_of(precision), packs=True),
        )
        self.assembly = Assembly(
            nodes,
            lowering,
            outside=numbers.memories,
            fixed=numbers.fixed,
            feeds=feeds,
            kept=[value for value in kept if value not in feeds],
        )
        for value in {v.name: v for n in nodes for v in n.inputs if v.kind == "rows"}.values():
            self.assembly.array(value)[...] = batch * value.shape[0]

    def __call__(
        self, x: Array, weights: Array | Sequence[Array] | None = None
    ) -> tuple[Array, list[Array], list[Array]]:
        """The outputs of samples (batch, *input), what is watched, and the gradients.

        weights: (batch, *output), of the sum whose gradient is taken, one array for each value that
        is summed. All are (batch, C, *space), with an axis of samples after the batch where a value
        has several for each.
        """
        graph, array = self.graph, self.assembly.array
        shape = (self.batch, *graph.input.shape)
        copy_in("x", x, shape, array(graph.input), last=False)
        given = [weights] if isinstance(weights, np.ndarray) else weights or []
        for number, seed in enumerate(self._seeds):
            shape = (self.batch, *seed.shape)
            if number >= len(given) or given[number].shape != shape:
                raise FaltungError(f"weights: must have the shape {shape}")
            into = array(seed)
            copy_in("weights", given[number], shape, into, last=into.ndim > 1)
        self.assembly.region.run(threads_for(self.assembly.cycles))
        maps = [self._found(value) for value in self.watched]
        return self._found(graph.output), maps, [self._found(grad) for grad in self._grads]

    def _found(self, value: Value) -> Array:
        """A copy of a value, channels first."""
        held = self.assembly.array(value)
        if value.kind != "float":
            return np.array(held)
        made = np.ascontiguousarray(np.moveaxis(held, -1, 1))
        return made if value.samples == 1 else made.reshape(self.batch, value.samples, *value.shape)
