"""A program over memory of others: inputs, results, parameters and gradients lie where the caller
has them.

``Inference`` and ``TrainingStep`` own what they compute with; this is for a caller that has arrays
of its own, such as PyTorch. It may have two phases, forward and backward: what the second reads of
the first stays in a block of ``bytes`` that the caller gives to both.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from faltung.graph.differentiate import pullback
from faltung.graph.fuse import fused, needed
from faltung.graph.ops import ITSELF, ConvolveWeight, Elementwise
from faltung.graph.value import Graph, Node, Value
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.plan.binding import Movable
from faltung.plan.choose import policy_of
from faltung.plan.words import Precision
from faltung.program.assemble import Assembly
from faltung.program.constants import Constants
from faltung.program.derived_weights import Weights
from faltung.program.inferring import simplified
from faltung.program.inputs import input_layouts
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.threads import threads_for
from faltung.runtime.buffers import aligned


class Borrowed:
    """A graph as a program over the caller's arrays, for inference or for gradients.

    graph: of batch 1; what is a batch elsewhere are its samples. first: inputs that lie channels
    first, (samples, C, *space); others lie as values do, channels last. numbers: of inference, the
    parameters, which it packs once. strides: of training, in elements of ``inner``, where the
    parameters lie; weights are packed in every run. gradient_strides: the same of the gradients.
    wanted: inputs and parameters whose gradients are computed.

    Names of memories: those of inputs and of parameters; "output i"; "seed i", the gradient of an
    output; "gradient of x"; "new x", what a running statistic becomes, which may be the memory of x
    itself; "keys", an int64 for each of the ``keys`` of random numbers.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        first: Collection[str] = (),
        numbers: Constants | None = None,
        strides: Mapping[str, Strides] | None = None,
        gradient_strides: Mapping[str, Strides] | None = None,
        wanted: Collection[str] = (),
        precision: Precision = "fast",
        machine: Machine | None = None,
    ) -> None:
        self.graph, self.wanted = graph, frozenset(wanted)
        self.gradients: dict[str, Value] = {}
        self.seeds: tuple[Value | None, ...] = ()
        self._memories: dict[str, str] = {}  # of values
        steps = self._trained(graph) if numbers is None else self._inferred(graph)
        nodes, outputs, derived, phases = steps
        chosen = [value for value in graph.inputs if value.name in first]
        nodes, stored = input_layouts(chosen, nodes)
        phases = (phases[0] + len(nodes) - sum(phases), *phases[1:])
        nodes, outputs, phases = self._apart(nodes, outputs, phases, gradient_strides or {})
        self._name(graph, outputs)
        self.keys = [v.name for v in _counted(nodes, "key")]
        places = Places(nodes, sorted(self._memories), stored)
        policy = policy_of(precision)
        weights = None if numbers is None else Weights(numbers, derived, nodes)
        lies = dict(strides or {}) if weights is None else weights.strides
        lies |= self._gradient_strides(nodes, dict(gradient_strides or {}), lies)
        about = ("borrowed", *map(repr, graph.inputs), *(str(n.op) for n in nodes if _is_conv(n)))
        lowering = Lowering(places, lies, 1, graph.dtype, machine or current(), policy, about)
        own = set() if weights is None else set(weights.fixed)
        fixed = {v: (memory, 0) for v, memory in self._memories.items() if v not in own}
        fixed |= {name: ("keys", 8 * i) for i, name in enumerate(self.keys)}
        rows = _counted(nodes, "rows")
        self.assembly = Assembly(
            nodes,
            lowering,
            weights=weights,
            outside={memory: aligned(0) for memory, _ in fixed.values()},
            fixed=fixed,
            feeds=rows,
            kept=[],
            phases=phases,
        )
        for value in rows:
            self.assembly.array(value)[...] = value.shape[0]
        self.bytes = self.assembly.memories["arena"].nbytes
        names = ["arena", *(memory for memory, _ in fixed.values())]
        self.slots = {memory: self.assembly.slot(memory) for memory in names}
        read = {name for n in nodes[phases[0] :] for v in n.inputs for name in _names(places, v)}
        # Memories that the backward phase reads.
        self.read = frozenset(memory for v, memory in self._memories.items() if v in read)
        # Several threads may run a phase at once, each with arguments of its own.
        self._free: list[list[Movable]] = [[] for _ in phases]
        if weights is not None:
            self.refresh()

    # Nodes ---------------------------------------------------------------------------------------

    def _inferred(self, graph: Graph) -> Any:
        nodes, outputs, derived, updates, _ = simplified(graph)
        self.updates = updates
        return nodes, outputs, derived, (len(nodes),)

    def _trained(self, graph: Graph) -> Any:
        inputs = {value.name for value in graph.inputs}
        frozen = {p.name for p in graph.parameters if p.name not in self.wanted}
        made = pullback(graph, frozen=frozen, inputs=self.wanted & inputs)
        self.gradients, self.seeds = made.gradients, made.seeds
        self.updates = made.graph.updates
        forward = {value.name for value in (*graph.outputs, *(v for _, v in self.updates))}
        kept = forward | {value.name for value in self.gradients.values()}
        nodes = fused(needed(made.nodes, kept), kept)
        seeded = {value.name for value in self.seeds if value is not None}
        before, after = _phases(nodes, seeded, forward)
        return (*before, *after), graph.outputs, [], (len(before), len(after))

    def _apart(
        self,
        nodes: Sequence[Node],
        outputs: Sequence[Value],
        phases: tuple[int, ...],
        strided: Collection[str],
    ) -> tuple[tuple[Node, ...], list[Value], tuple[int, ...]]:
        """The nodes with a copy of each result that has no contiguous memory of its own; strided:
        names of parameters whose gradients lie in another way.
        """
        places = Places(nodes, [])
        graph = self.graph
        taken = {value.name for value in graph.inputs} | {p.name for p in graph.parameters}
        taken |= {value.name for value in self.seeds if value is not None}
        copies: list[list[Node]] = [[] for _ in phases]

        def own(value: Value, name: str, phase: int, placed: bool) -> Value:
            root, place = places.root(value), places.place(value)
            whole = root.size == value.size and place.pitch == value.channels and not place.first
            root = value if placed else root
            if (whole or placed) and root.name in places.made and root.name not in taken:
                taken.add(root.name)
                return root
            copy = replace(value, name=f"copy of {name}")
            op = Elementwise(value.shape, (ITSELF,), batched=value.batched)
            copies[phase].append(Node(op, (value,), (copy,), "results"))
            return copy

        made = [own(value, f"output {i}", 0, False) for i, value in enumerate(outputs)]
        self.gradients = {
            name: own(value, f"gradient of {name}", len(phases) - 1, name in strided)
            for name, value in self.gradients.items()
        }
        count = phases[0]
        first = (*nodes[:count], *copies[0])
        if len(phases) == 1:
            return first, made, (len(first),)
        second = (*nodes[count:], *copies[1])
        return (*first, *second), made, (len(first), len(second))

    # Names of memories ---------------------------------------------------------------------------

    def _name(self, graph: Graph, outputs: Sequence[Value]) -> None:
        found = {value.name: value.name for value in graph.inputs}
        found |= {p.name: p.name for p in graph.parameters}
        found |= {value.name: f"new {p.name}" for p, value in self.updates}
        for number, value in enumerate(outputs):
            found[value.name] = f"output {number}"
        for number, seed in enumerate(self.seeds):
            if seed is not None:
                found[seed.name] = f"seed {number}"
        found |= {value.name: f"gradient of {name}" for name, value in self.gradients.items()}
        self._memories = found

    def _gradient_strides(
        self, nodes: Sequence[Node], given: dict[str, Strides], weights: Mapping[str, Strides]
    ) -> dict[str, Strides]:
        """Of gradients of weights, also those that are added up to one."""
        found = {value.name: given[name] for name, value in self.gradients.items() if name in given}
        of = {value.name: name for name, value in self.gradients.items()}
        reach: dict[str, str] = {}
        for node in reversed(nodes):
            for value in node.outputs:
                name = of.get(value.name) or reach.get(value.name)
                if name is None or name not in given:
                    continue
                if isinstance(node.op, Elementwise):
                    reach |= {v.name: name for v in node.inputs if v.shape == value.shape}
                if isinstance(node.op, ConvolveWeight):
                    found[value.name] = given[name]
        return found

    # Running -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Fold and pack the parameters again, as they are now."""
        self.assembly.prepare(threads_for(self.assembly.cycles))

    @property
    def threads(self) -> int:
        """How many threads a run uses."""
        return threads_for(self.assembly.cycles)

    def movable(self, phase: int) -> Movable:
        """The steps of a phase, for a caller that keeps track of what has moved."""
        return self.assembly.movable(phase)

    def run(self, phase: int, addresses: Mapping[str, int]) -> None:
        """Run a phase. addresses: of all memories, "arena" among them: a block of ``bytes``, the
        same in both phases.
        """
        try:
            movable = self._free[phase].pop()
        except IndexError:
            movable = self.assembly.movable(phase)
        for name, slot in self.slots.items():
            movable.move(slot, addresses.get(name, 0))
        movable.run(self.threads)
        self._free[phase].append(movable)


def _names(places: Places, value: Value) -> tuple[str, str]:
    """Of a value, and of what it may be a view of."""
    return value.name, places.root(value).name


def _is_conv(node: Node) -> bool:
    return hasattr(node.op, "spec")


def _counted(nodes: Sequence[Node], kind: str) -> list[Value]:
    """Keys of random numbers, or counts of rows, each once."""
    found = {v.name: v for node in nodes for v in node.inputs if v.kind == kind}
    return list(found.values())


def _phases(
    nodes: Sequence[Node], seeds: Collection[str], forward: Collection[str]
) -> tuple[list[Node], list[Node]]:
    """What is computed before gradients are given, as far as outputs or later nodes need it, and
    what follows from them. What only the second reads is computed there.
    """
    late = set(seeds)
    for node in nodes:
        if any(value.name in late for value in node.inputs):
            late.update(value.name for value in node.outputs)
    early = [node for node in nodes if node.output.name not in late]
    first = {id(node) for node in needed(early, forward)}
    # What both phases need is there already; the rest of the early nodes is for the second alone.
    before = [node for node in nodes if id(node) in first]
    after = [node for node in nodes if id(node) not in first]
    return before, after
