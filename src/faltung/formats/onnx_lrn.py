"""Local response normalisation, known again among the nodes of its layer: one node in ONNX."""

from collections.abc import Iterator, Sequence
from typing import Any

from faltung.formats.onnx_expr import constants
from faltung.geometry.expr import operand, power
from faltung.graph import ops
from faltung.graph.value import Node

X, SUM = operand(0), operand(1)
QUARTERS = [i / 4 for i in range(1, 17)]  # exponents that a formula writes as square roots


def response_norms(nodes: Sequence[Node]) -> dict[str, dict[str, Any]]:
    """For the last node of each such layer, by its output: the attributes of the node LRN.

    Only for pictures and an odd number of channels side by side: readers know no others.
    """
    found = {}
    for square, across, last in _triples(nodes):
        op: Any = across.op
        size = len(op.weight)
        even = size % 2 == 0 or op.lo != size // 2 or len(set(op.weight)) > 1
        if even or len(last.output.shape) != 3:
            continue
        x = square.inputs[0]
        chained = across.inputs == (square.output,) and last.inputs == (x, across.output)
        if chained and (numbers := _numbers(last)) is not None:
            beta, k = numbers
            alpha = op.weight[0] * size
            found[last.output.name] = {"size": size, "alpha": alpha, "beta": beta, "bias": k}
    return found


def _triples(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node, Node]]:
    """A square, a correlation along the channels, a formula, one after the other."""
    for square, across, last in zip(nodes, nodes[1:], nodes[2:], strict=False):
        kinds = isinstance(square.op, ops.Elementwise) and isinstance(last.op, ops.Elementwise)
        if kinds and isinstance(across.op, ops.ChannelConv) and square.op.outputs == (X * X,):  # type: ignore[union-attr]
            yield square, across, last


def _numbers(last: Node) -> tuple[float, float] | None:
    """(beta, k) of x (k + sum)^-beta; None for another formula."""
    op: Any = last.op
    if len(op.outputs) != 1 or op.reductions:
        return None
    (expr,) = op.outputs
    known = sorted(value for value in constants(expr) if value > 0)
    for k in known:
        for beta in [*QUARTERS, *known]:
            if expr == X * power(k + SUM, -beta):
                return beta, k
    return None
