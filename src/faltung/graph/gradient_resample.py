"""The gradients of resampling: its adjoint, the transposed tables."""

from collections.abc import Sequence

from faltung.graph.backward import Backward
from faltung.graph.ops import Resample
from faltung.graph.value import Node, Value


def resample(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """Every entry gets what its readers give, by their weights; what was filled gives nothing."""
    op, g, x = node.op, grads[0], node.inputs[0]
    assert isinstance(op, Resample) and g is not None
    tables = tuple(None if table is None else table.transposed for table in op.tables)
    b.give(x, *b.nodes.add(Resample(tables), (g,), x.shape, batched=x.batched))
