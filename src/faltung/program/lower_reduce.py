"""Reductions over any axes, extremes, running sums and sorting as steps."""

from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.graph.broadcast import joint
from faltung.graph.ops import SAMPLES, Arg, Cumulative, Normalise, Reduce, TopK, TopKGrad
from faltung.graph.value import Node, Value
from faltung.methods.base.step import Work
from faltung.methods.reduce.arg import arg
from faltung.methods.reduce.axes import Strided
from faltung.methods.reduce.cumulative import cumulative
from faltung.methods.reduce.reduce import reduction
from faltung.methods.reduce.top_k import scattered, top_k
from faltung.methods.rows.normalise import normalise
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
        samples=1 if op.batch else batch * (1 if SAMPLES in op.axes else whole.samples),
        title=op.kind,
    )


def arg_map(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Arg)
    countable(low, x, op.axis)
    arg(
        work,
        low.dtype,
        low.machine,
        **_along(low, x, op.axis),
        x=_strided(low, x),
        out=_strided(low, node.output),
        kind=op.kind,
        last=op.last,
        title=f"arg-{op.kind}",
    )


def cumulative_map(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Cumulative)
    cumulative(
        work,
        low.dtype,
        low.machine,
        **_along(low, x, op.axis),
        x=_strided(low, x),
        out=_strided(low, node.output),
        kind=op.kind,
        exclusive=op.exclusive,
        reverse=op.reverse,
        title=f"running {op.kind}",
    )


def top_k_map(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, TopK)
    countable(low, x, op.axis)
    values, numbers = (_strided(low, value) for value in node.outputs)
    top_k(
        work,
        low.dtype,
        low.machine,
        **_along(low, x, op.axis),
        k=op.k,
        x=_strided(low, x),
        values=values,
        numbers=numbers,
        largest=op.largest,
        title=f"top {op.k}",
    )


def top_k_grad(low: Lowering, node: Node, work: Work) -> None:
    op, (grad, places) = node.op, node.inputs
    assert isinstance(op, TopKGrad)
    scattered(
        work,
        low.dtype,
        low.machine,
        **_along(low, grad, op.axis),
        size=op.size,
        grad=_strided(low, grad),
        places=_strided(low, places),
        out=_strided(low, node.output),
        title="top-k gradient",
    )


def normalise_map(low: Lowering, node: Node, work: Work) -> None:
    """A normalisation over the channels of each position."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Normalise)
    gain, shift = [*map(low.where, node.inputs[1:]), None, None][:2]
    kept = [low.matrix(value) for value in node.outputs[1:]]
    normalise(
        work,
        low.dtype,
        low.machine,
        rows=low.samples(x) * x.positions,
        channels=x.channels,
        x=low.matrix(x),
        out=low.matrix(node.output),
        eps=op.eps,
        gain=gain,
        shift=shift,
        mean=kept[0] if len(kept) > 1 else None,
        rstd=kept[-1] if kept else None,
        centred=op.centred,
        title="layer normalisation",
    )


def countable(low: Lowering, x: Value, axis: int) -> None:
    """FaltungError: an axis so long that the dtype has no number for each of its entries."""
    most = {"float32": 1 << 24, "float64": 1 << 53}[low.dtype]
    if x.shape[axis] > most:
        raise FaltungError(
            f"axis={axis}: of {x.shape[axis]:,} entries; in {low.dtype} at most {most:,} can be "
            "numbered"
        )


def _along(low: Lowering, x: Value, axis: int) -> dict[str, Any]:
    """The sizes of a value's axes in memory, and which of them an axis of its shape is."""
    sizes = (low.batch if x.batched else 1, x.samples, *x.space, x.channels)
    return {"sizes": sizes, "axis": axis + 1 if axis else len(sizes) - 1}


def _strided(low: Lowering, value: Value) -> Strided:
    return strided(low, value, len(value.space))


def strided(low: Lowering, value: Value, rank: int) -> Strided:
    """Where a value lies, over the axes of memory: (batch, samples, *space, channels)."""
    if value.kind == "rows" or not value.shape:
        return Strided(low.where(value), (0,) * (rank + 3))
    space = (*value.space, *(1,) * (rank - len(value.space)))
    step = low.pitch(value)
    steps: list[int] = []
    for size in reversed(space):
        steps.insert(0, step if size > 1 else 0)
        step *= size
    samples = step if value.samples > 1 else 0
    batch = step * value.samples if value.batched else 0
    return Strided(low.where(value), (batch, samples, *steps, int(value.channels > 1)))
