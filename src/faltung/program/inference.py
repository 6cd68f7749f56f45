"""A network compiled for inference: normalisation folded, weights packed, one parallel region."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.graph.value import Graph, Value
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.program import kept
from faltung.program.constants import Constants
from faltung.program.derived_weights import Weights
from faltung.program.inputs import Fed
from faltung.program.running import Running
from faltung.program.state import State
from faltung.program.threads import threads_for
from faltung.runtime.buffers import aligned

if TYPE_CHECKING:
    from faltung.graph.value import Node
    from faltung.program.assemble import Assembly
    from faltung.program.inferring import Part, Planned

Array = npt.NDArray[Any]


class Inference:
    """``program(*x) -> y`` for a fixed batch, over the parameters of ``state``: a ``State``, or
    ``Constants``, which several programs share. Of several outputs it gives a tuple.

    graph: built without ``training``. softmax: probabilities along the channels instead of what the
    last layer gives. precision: "fast", or "strict" for plain sums of products only. bands: whether
    chains of layers may run band by band, with the same bits. integers: whether a network whose
    values and weights lie on grids runs in whole numbers of 8 bits (``graph/grids.py``); else in
    float32, which gives the same numbers where its sums are exact. part: of the network alone, with
    the bits of the whole, of which it is a part. memory: where its arena is from, which programs
    that run one after the other may share. keep: whether it may come from disk, and be kept there
    (``kept.py``). Where the state keeps weights in 16 bits, so does the program what its nodes
    make. Inputs and results are float32. Parameters that change later are seen after ``refresh``.
    One program is used by one thread at a time: it owns its memory.
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
        keep: bool = False,
    ) -> None:
        whole("batch", batch, 1)
        if graph.training:
            raise FaltungError("graph: must be built for inference, not for training")
        state.check(graph)
        self.graph, self.state, self.batch = graph, state, batch
        self._machine = machine or current()
        self._options = {
            "softmax": softmax,
            "precision": precision,
            "bands": bands,
            "integers": integers,
            "part": part,
            "memory": memory,
        }
        self._planned: Planned | None = None
        name, found = None, None
        if keep and part is None and isinstance(state, State):
            asked = softmax, precision, bands, integers
            own = tuple(state.parameters.values()), state.stored
            name = kept.key(self._machine, "inference", graph, own, batch, asked)
            found = kept.restored(
                name,
                state.placed(()).memories,
                weigh=lambda derived: Weights(state, derived, ()),
                what=f"batch={batch}",
                memory=memory,
            )
        if found is None:
            self._planned = made = self._plan(name is not None)
            running: Running = made.assembly
            inputs, self.outputs, lent = made.inputs, made.outputs, made.lent
            about = {n: getattr(made, n) for n in ("inputs", "outputs", "counts", "lent")}
        else:
            running, about = found, dict(found.about)
            inputs, self.outputs, lent = about["inputs"], about["outputs"], about["lent"]
        self.running = running
        for value in about["counts"]:
            running.array(value)[...] = batch * value.shape[0]
        single = len(inputs) == 1
        self._inputs = [
            Fed(
                "x" if single else v.name,
                (batch * v.samples, *v.shape),
                running.array(v),
                running.moving,
                running.slot(lent[v.name]) if v.name in lent else -1,
            )
            for v in inputs
        ]
        self._results = [running.array(value) for value in self.outputs]
        self._run = running.moving.run
        self.refresh()
        if name is not None and self._planned is not None:
            self._keep(name, self._planned.assembly, about)

    def _plan(self, on_disk: bool) -> "Planned":
        make = import_module("faltung.program.inferring").planned
        given = self.graph, self.state, self.batch, self._machine
        made: Planned = make(*given, **self._options, kept=on_disk)
        return made

    def _keep(self, name: str, made: "Assembly", about: Mapping[str, Any]) -> None:
        packing = made.packing
        assert packing is not None
        kept.keep(
            name,
            made,
            feed=made.constants,
            about=about,
            weights=packing.weights,
            groups=[(names, region.laid) for names, region in packing.groups],
        )

    @property
    def planned(self) -> "Planned":
        """How the program was planned; planned now, where it came from disk."""
        if self._planned is None:
            self._planned = self._plan(False)
        return self._planned

    @property
    def assembly(self) -> "Assembly":
        """The steps in full, and the memories that they were planned for."""
        return self.planned.assembly

    @property
    def nodes(self) -> "tuple[Node, ...]":
        """What is left of the graph."""
        return self.planned.nodes

    @property
    def levels(self) -> Any:
        """Values in 8 bits, and their grids."""
        return self.planned.levels

    @property
    def reasons(self) -> dict[str, str]:
        """Why convolutions are not of whole numbers, where a network has levels."""
        return self.planned.reasons

    def refresh(self) -> None:
        """Fold and pack the parameters again, as they are now."""
        self.running.prepare(threads_for(self.running.cycles))

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
            self._run(threads_for(self.running.cycles))
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
