"""Reductions over any axes as steps."""

from faltung.graph.broadcast import joint
from faltung.graph.ops import SAMPLES, Reduce
from faltung.graph.value import Node, Value
from faltung.methods.base.step import Work
from faltung.methods.reduce.axes import Strided
from faltung.methods.reduce.reduce import reduction
from faltung.program.lowering import Lowering


def reduce_map(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, Reduce)
    whole = joint(node.inputs)
    channels, *space = whole.shape
    batch = low.batch if whole.batched else 1
    places = [axis in op.axes for axis in range(1, len(whole.shape))]
    reduction(
        work,
        low.dtype,
        low.machine,
        sizes=(batch, whole.samples, *space, channels),
        reduced=(op.batch, op.batch or SAMPLES in op.axes, *places, 0 in op.axes),
        inputs=[strided(low, value, len(space)) for value in node.inputs],
        outputs=[strided(low, value, len(space)) for value in node.outputs],
        kind=op.kind,
        exprs=op.exprs,
        finish=op.finish,
        samples=1 if op.batch else batch,
        title=op.kind,
    )


def strided(low: Lowering, value: Value, rank: int) -> Strided:
    """Where a value lies, over the axes of memory: (batch, samples, *space, channels)."""
    if value.kind == "rows" or not value.shape:
        return Strided(low.where(value), (0,) * (rank + 3))
    space = (*value.space, *(1,) * (rank - len(value.space)))
    step, steps = low.pitch(value), []
    for size in reversed(space):
        steps.insert(0, step if size > 1 else 0)
        step *= size
    samples = step if value.samples > 1 else 0
    batch = step * value.samples if value.batched else 0
    return Strided(low.where(value), (batch, samples, *steps, int(value.channels > 1)))
