"""How a network for inference is planned: simplified, laid out, lowered to steps over memories.

A program that is on disk (``kept.py``) needs none of this, nor its imports.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
from faltung.machine.table import Machine
from faltung.plan.choose import policy_of
from faltung.program.assemble import Assembly
from faltung.program.constants import Constants
from faltung.program.derived_weights import Weights
from faltung.program.inputs import input_layouts
from faltung.program.integers import settled
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.state import State
from faltung.program.stored import halves_of
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


class Planned(NamedTuple):
    """A network that is planned. counts: values that say how many rows there are. lent: inputs
    that a run may read where the caller has them, each with a memory of its own. levels: of values
    in 8 bits.
    """

    assembly: Assembly
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    inputs: tuple[Value, ...]
    counts: tuple[Value, ...]
    lent: dict[str, str]
    levels: Any
    reasons: dict[str, str]


def planned(
    graph: Graph,
    state: State | Constants,
    batch: int,
    machine: Machine,
    *,
    softmax: bool,
    precision: str,
    bands: bool,
    integers: bool,
    part: Part | None,
    memory: Callable[[int], Array],
    kept: bool,
) -> Planned:
    """The arguments of ``Inference``. kept: whether the whole program will be on disk, so that its
    plans need not be.
    """
    if part is None:
        simple, inputs = simplified(graph, softmax, integers and not state.stored), graph.inputs
        nodes, outputs = simple.nodes, simple.outputs
    else:
        simple, inputs = part.simple, part.cut.inputs
        nodes, outputs = part.cut.nodes, part.cut.outputs
    nodes, first = input_layouts(inputs, nodes)
    nodes, places, levels = settled(graph, nodes, outputs, first)
    weights = Weights(state, simple.derived, nodes)
    policy = replace(policy_of(precision), placed=part is not None)
    where = places, weights.strides, batch, graph.dtype
    specs = (str(node.op.spec) for node in nodes if hasattr(node.op, "spec"))
    about = () if kept else ("inference", str(batch), *map(repr, inputs), *specs)
    counts = {v.name: v for node in nodes for v in node.inputs if v.kind == "rows"}
    lowering = Lowering(*where, machine, policy, about)
    lowering.items = dict.fromkeys(levels, 1)
    lent = _lent(inputs, outputs, places)
    size = batch * np.dtype(graph.dtype).itemsize
    assembly = Assembly(
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
    names = {value.name: memory for value, memory in lent.items()}
    own = tuple(nodes), tuple(outputs), tuple(inputs), tuple(counts.values())
    return Planned(assembly, *own, names, levels, simple.reasons)


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
