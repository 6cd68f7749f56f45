"""The gradients of maps that are read at computed points."""

from collections.abc import Sequence

from faltung.graph.backward import Backward
from faltung.graph.ops import Sample, SampleInput, SamplePoints
from faltung.graph.value import Node, Value


def sample(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    op, g = node.op, grads[0]
    assert isinstance(op, Sample) and g is not None
    x, points, *mask = node.inputs
    if b.needs(x):
        b.give(x, *b.nodes.add(SampleInput(op.layer), (g, points, *mask), x.shape))
    moved = [points, *mask]
    if any(map(b.needs, moved)):
        shapes = [value.shape for value in moved]
        made = b.nodes.add(SamplePoints(op.layer), (g, x, points, *mask), *shapes)
        for value, grad in zip(moved, made, strict=True):
            if b.needs(value):
                b.give(value, grad)
