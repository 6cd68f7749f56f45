"""Levels that are stored: which formulas are not taken along by those that read them."""

from collections.abc import Sequence

from faltung.geometry.levels import level_of
from faltung.graph.ops import ConvolveInteger, Elementwise
from faltung.graph.value import Node, Value


def stored_levels(nodes: Sequence[Node]) -> set[str]:
    """Levels (``geometry/levels.py``) that are stored by the convolutions which make them: of
    several that a formula reads, all but those of the last convolution, which takes it along. Else
    the others would store numbers of float32.
    """
    makers = {node.output.name: number for number, node in enumerate(nodes)}
    found: set[str] = set()
    for node in nodes:
        if _formula(node) is None or len(node.inputs) < 2:
            continue
        levels = {}
        for value in node.inputs:
            level = _level(nodes, makers, value)
            if level is not None and (place := _source(nodes, makers, level)) >= 0:
                levels[level.name] = place
        found |= levels.keys() - {max(levels, key=lambda name: levels[name], default="")}
    return found


def _formula(node: Node) -> Elementwise | None:
    """The operation of a node that is one formula."""
    op = node.op
    plain = isinstance(op, Elementwise) and len(op.outputs) == 1 and not op.reductions
    return op if plain else None  # type: ignore[return-value]


def _level(nodes: Sequence[Node], makers: dict[str, int], value: Value) -> Value | None:
    """The level that a value follows from by formulas of one operand."""
    while value.name in makers:
        node = nodes[makers[value.name]]
        op = _formula(node)
        if op is None:
            return None
        if level_of(op.outputs[0]) is not None:
            return value
        if len(node.inputs) != 1:
            return None
        (value,) = node.inputs
    return None


def _source(nodes: Sequence[Node], makers: dict[str, int], value: Value) -> int:
    """The number of the convolution that a value follows from in the same way; -1: none."""
    while value.name in makers:
        node = nodes[makers[value.name]]
        if isinstance(node.op, ConvolveInteger):
            return makers[value.name]
        if _formula(node) is None or len(node.inputs) != 1:
            return -1
        (value,) = node.inputs
    return -1
