"""Intermediate values of a network, and the gradient of its output for one of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.differentiate import sensitivity
from faltung.graph.expand import expanded
from faltung.graph.fold import folded
from faltung.graph.fuse import fused
from faltung.graph.value import Graph, Value
from faltung.jit.target import current
from faltung.plan.choose import policy_of
from faltung.program.assemble import Assembly
from faltung.program.derived_weights import Weights
from faltung.program.inputs import input_layouts
from faltung.program.lowering import Lowering
from faltung.program.places import Places
from faltung.program.state import State
from faltung.runtime.threads import threads_to_use

Array = npt.NDArray[Any]


def watchable(graph: Graph) -> list[Value]:
    """The last map of each layer that remains when normalisation is folded."""
    plain = folded(expanded(graph)[0])[0]
    last = {node.layer: node.output for node in plain.nodes if node.output.space}
    return list(last.values())


def probe(
    graph: Graph,
    state: State,
    x: Array,
    watched: Sequence[Value],
    *,
    weights: Array | None = None,
    to: Value | None = None,
    precision: str = "fast",
) -> tuple[Array, dict[str, Array], Array | None]:
    """One run over samples x (n, *input): the output before softmax, the watched values by name,
    and the gradient for ``to`` of the sum of the output times ``weights`` (its shape, with n).
    All are (n, C, *space).
    """
    plain, derived = folded(expanded(graph)[0])
    nodes, kept, feeds = plain.nodes, [plain.output, *watched], [graph.input]
    grad = None
    if to is not None:
        # As in training, so that maxima remember where they came from.
        able, statistics = expanded(replace(plain, training=True))
        nodes, seed, grad = sensitivity(able, plain.output, to, statistics)
        kept, feeds = [*kept, grad], [*feeds, seed]
    names = {value.name for value in kept}
    nodes, first = input_layouts(graph.inputs, fused(nodes, names))
    numbers = Weights(state, derived, nodes)
    numbers.place(list(numbers.derived))
    numbers.compute(numbers.derived)
    places = Places(nodes, [value.name for value in feeds], first)
    policy = policy_of(precision)
    lowering = Lowering(places, numbers.strides, len(x), graph.dtype, current(), policy)
    assembly = Assembly(
        nodes,
        lowering,
        outside=numbers.memories,
        fixed=numbers.fixed,
        feeds=feeds,
        kept=kept,
    )
    into = assembly.array(graph.input)
    np.copyto(into, x.reshape(into.shape), casting="same_kind")
    if to is not None:
        if weights is None or weights.shape != (len(x), *plain.output.shape):
            raise FaltungError(f"weights: must have the shape {(len(x), *plain.output.shape)}")
        np.copyto(assembly.array(feeds[1]), np.moveaxis(weights, 1, -1))
    assembly.region.run(threads_to_use())

    def found(value: Value) -> Array:
        return np.ascontiguousarray(np.moveaxis(assembly.array(value), -1, 1))

    maps = {value.name: found(value) for value in watched}
    return found(plain.output), maps, None if grad is None else found(grad)
