"""The gradients of resampling: its adjoint, the transposed tables; and of sampling at places."""

from collections.abc import Sequence

from faltung.geometry.errors import FaltungError
from faltung.graph.backward import Backward
from faltung.graph.ops import GridSample, GridSampleGrid, GridSampleInput, Resample
from faltung.graph.value import Node, Value


def resample(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """Every entry gets what its readers give, by their weights; what was filled gives nothing."""
    op, g, x = node.op, grads[0], node.inputs[0]
    assert isinstance(op, Resample) and g is not None
    tables = tuple(None if table is None else table.transposed for table in op.tables)
    b.give(x, *b.nodes.add(Resample(tables), (g,), x.shape, batched=x.batched))


def grid_sample(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """A neighbour gets its part by its weight; a coordinate moves the weights."""
    op, g, (x, grid) = node.op, grads[0], node.inputs
    assert isinstance(op, GridSample) and g is not None
    made = ((x, GridSampleInput(op.how), (g, grid)), (grid, GridSampleGrid(op.how), (x, grid, g)))
    for value, adjoint, inputs in made:
        if not b.needs(value):
            continue
        if not value.batched:
            raise FaltungError(
                f"{value.name!r}: one map or grid for all samples of a batch has no gradient; give "
                "each sample its own"
            )
        b.give(value, *b.nodes.add(adjoint, inputs, value.shape))
