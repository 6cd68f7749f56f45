"""Maps read at computed points, as steps."""

import numpy as np

from faltung.graph.ops import Sample, SampleInput, SamplePoints
from faltung.graph.value import Node
from faltung.methods.base.step import Operand, Work
from faltung.methods.sample import sample
from faltung.program.lowering import Lowering


def read(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, Sample)
    x, points, *mask = node.inputs
    sample.sample(
        op.layer,
        work,
        low.matrix(x),
        low.matrix(points),
        low.matrix(mask[0]) if mask else None,
        low.matrix(node.output),
        _zeros(low, x.channels // op.layer.groups),
        samples=low.samples(x),
        channels=x.channels,
        dtype=low.dtype,
    )


def input_grad(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, SampleInput)
    grad, points, *mask = node.inputs
    sample.sample_input_grad(
        op.layer,
        work,
        low.matrix(grad),
        low.matrix(points),
        low.matrix(mask[0]) if mask else None,
        low.matrix(node.output),
        samples=low.samples(grad),
        channels=grad.channels,
        dtype=low.dtype,
        machine=low.machine,
    )


def points_grad(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, SamplePoints)
    grad, x, points, *mask = node.inputs
    sample.sample_points_grad(
        op.layer,
        work,
        low.matrix(grad),
        low.matrix(x),
        low.matrix(points),
        low.matrix(mask[0]) if mask else None,
        low.matrix(node.outputs[0]),
        low.matrix(node.outputs[1]) if mask else None,
        _zeros(low, x.channels // op.layer.groups),
        samples=low.samples(x),
        channels=x.channels,
        dtype=low.dtype,
    )


def _zeros(low: Lowering, count: int) -> Operand:
    """So many zeros, which nobody writes."""
    name = f"{count} zeros"
    low.constants[name] = np.zeros(count, low.dtype)
    return Operand(name)
