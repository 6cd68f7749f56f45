"""Resampling as steps."""

from faltung.graph.ops import Resample
from faltung.graph.value import Node
from faltung.methods.base.step import Work
from faltung.methods.resample.resample import resample
from faltung.program.lowering import Lowering


def resample_map(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resample)
    resample(
        work,
        low.dtype,
        low.machine,
        samples=low.samples(x),
        shape=x.shape,
        tables=op.tables,
        source=low.matrix(x),
        target=low.matrix(node.output),
        fill=op.fill,
    )
