"""The gradients of resampling: its adjoint, the transposed tables; and of sampling at places."""

from collections.abc import Sequence
from dataclasses import replace

from faltung.geometry.expr import operand
from faltung.graph.backward import Backward
from faltung.graph.gradient_reduce import give
from faltung.graph.ops import GridSample, GridSampleGrid, GridSampleInput, Resample
from faltung.graph.value import Node, Value


def resample(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """Every entry gets what its readers give, by their weights; what was filled gives nothing."""
    op, g, x = node.op, grads[0], node.inputs[0]
    assert isinstance(op, Resample) and g is not None
    tables = tuple(None if table is None else table.transposed for table in op.tables)
    b.give(x, *b.nodes.add(Resample(tables), (g,), x.shape, batched=x.batched))


def grid_sample(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """A neighbour gets its part by its weight; a coordinate moves the weights. What there is once
    for several samples gets the sum.
    """
    op, g, (x, grid) = node.op, grads[0], node.inputs
    assert isinstance(op, GridSample) and g is not None
    adjoints = (
        (x, GridSampleInput(op.how), (g, grid)),
        (grid, GridSampleGrid(op.how), (x, grid, g)),
    )
    for value, adjoint, inputs in adjoints:
        if not b.needs(value):
            continue
        (made,) = b.nodes.add(adjoint, inputs, value.shape, batched=g.batched)
        made = replace(made, samples=g.samples)
        b.nodes.made[-1] = replace(b.nodes.made[-1], outputs=(made,))
        give(b, value, made, operand(0), (made,))
