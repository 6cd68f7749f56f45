"""Pooling of arrays with channels first: vectors along the positions of a row.

What it is.  A window's maximum (or sum) is that of its columns. Of each row of outputs the columns
  come first: the rows that its windows cover are combined, vector by vector, into a buffer that
  stays in the nearest cache, with borders that never count around it. Then the taps of the last
  axis are combined out of the buffer: contiguous for stride 1, every other element for stride 2
  (two vectors taken apart), gathered for others. Overlapping windows read the input once for each
  of their rows, whatever their width. The gradient of a mean is a sum of the same kind. That of a
  maximum is a plane of zeros, to which the output gradients are added in their order where their
  indices point; a plane belongs to one item of work, so no two items write the same element.
When it applies.  Planes (the positions of a channel) contiguous and equally far apart; windows of
  consecutive outputs that fit the buffer; for the gradient of maxima, indices that are places in
  the plane.
What it costs.  A load for each row of a window, two or three instructions for each tap; for the
  gradient of maxima a write for each input and an addition for each output, both in a near cache.

A ``Matrix`` is here an array of planes, its pitch from plane to plane, (batch, channels) one after
the other.
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import prod

import numpy as np

from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.step import Matrix, Step, Table, Work
from faltung.methods.pool.columns import BUFFER_BYTES
from faltung.methods.pool.planes_kernel import PlanesKernel, ScatterKernel
from faltung.methods.pool.tables import AxisReads, backward, counting, forward, tables

# Bytes of output in an item of work.
PLANES_ITEM_BYTES = 8192
# Taps of the last axis that are written out; more are a loop.
MAX_UNROLLED_TAPS = 4


@dataclass(frozen=True, slots=True)
class LastAxis:
    """The last axis of a sum or maximum: ``spread``: its entries stand so far apart, with zeros
    between them.
    """

    size: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    lo: int
    spread: int = 1

    def segment(self, machine: Machine, dtype: str) -> int:
        """Outputs that are done at once: whole vectors; 0 where the buffer holds not one."""
        lanes = machine.lanes(dtype)
        # Behind the elements that are used: borders, columns and outputs in whole vectors.
        beyond = (self.taps - 1) * self.dilation + (self.stride + self.spread) * lanes
        room = BUFFER_BYTES // np.dtype(dtype).itemsize - beyond
        return max(0, room // self.stride // lanes * lanes)


def forward_axis(spec: PoolSpec) -> LastAxis:
    """The last axis of a pooling."""
    axis = spec.axes[-1]
    return LastAxis(axis.size, axis.output, axis.kernel, axis.stride, axis.dilation, axis.lo)


def backward_axis(spec: PoolSpec) -> LastAxis:
    """That of the gradient of its means: a sum of stride 1 over gradients apart."""
    axis = spec.axes[-1]
    reach = (axis.kernel - 1) * axis.dilation
    size = (axis.output - 1) * axis.stride + 1
    return LastAxis(size, axis.size, axis.kernel, 1, axis.dilation, reach - axis.lo, axis.stride)


def planes_pool(
    spec: PoolSpec, x: Matrix, out: Matrix, index: Matrix | None = None, *, machine: Machine
) -> Step:
    """The step for maxima or means of planes; ``index`` receives the places of the maxima."""
    kind = {"max": "max", "average": "mean"}[spec.kind] + "_index" * (index is not None)
    counts = _counts(spec) if spec.kind == "average" else [1]
    title, axes, last = f"{spec.kind} pool of planes", forward(spec), forward_axis(spec)
    return _step(spec, machine, title, kind, axes, last, counts, x, out, index)


def planes_mean_grad(
    spec: PoolSpec, work: Work, grad: Matrix, out: Matrix, *, machine: Machine
) -> None:
    """Add the gradient of means of planes: each divided by what its window counts, and spread."""
    divisor, barrier = spec.divisor, False
    title = "average pool gradient of planes"
    if divisor is None:
        divided = work.borrow("divided", prod(spec.output_shape) * spec.itemsize)
        quotients = Matrix(divided, prod(spec.output))
        last = LastAxis(spec.output[-1], spec.output[-1], 1, 1, 1, 0)
        given = (counting(spec), last, _counts(spec), grad, quotients)
        work.steps.append(_step(spec, machine, title, "mean", *given))
        grad, divisor, barrier = quotients, 1, True
    given = (backward(spec), backward_axis(spec), [1] * spec.size[-1], grad, out)
    step = _step(spec, machine, title, "mean", *given, divisor=divisor, barrier=barrier)
    work.steps.append(step)


def planes_max_grad(spec: PoolSpec, grad: Matrix, index: Matrix, out: Matrix) -> Step:
    """The step for the gradient of the maxima of planes."""
    return ScatterKernel(spec.dtype).step(
        spec.batch * spec.channels,
        "max pool gradient of planes",
        barrier=False,
        **grad.arguments("grad"),
        **index.arguments("index"),
        **out.arguments("target"),
        outputs=prod(spec.output),
        size=prod(spec.size),
    )


def _counts(spec: PoolSpec) -> list[int]:
    """What the window of each output counts along the last axis."""
    return [spec.counted(spec.rank - 1, o) for o in range(spec.output[-1])]


def _step(
    spec: PoolSpec,
    machine: Machine,
    title: str,
    kind: str,
    axes: Sequence[AxisReads],
    last: LastAxis,
    counts: Sequence[int],
    source: Matrix,
    target: Matrix,
    index: Matrix | None = None,
    *,
    divisor: int = 1,
    barrier: bool = False,
) -> Step:
    """``counts``: what each output of a row is divided by, with ``divisor`` and its row's."""
    t = tables(axes, last.outputs, divisor)
    group = max(1, PLANES_ITEM_BYTES // (last.outputs * spec.itemsize))
    groups = -(-len(t.rows) // group)
    kernel = PlanesKernel(
        spec.dtype,
        kind,
        last.stride if last.stride < 3 else 0,
        last.taps if last.taps <= MAX_UNROLLED_TAPS else 0,
        last.spread if last.spread < 3 else 0,
    )
    return kernel.step(
        spec.batch * spec.channels * groups,
        title,
        barrier=barrier,
        **source.arguments("source"),
        **target.arguments("target"),
        **(index or target).arguments("index"),
        rows=t.rows,
        row_count=len(t.rows),
        entries=t.entries,
        divisors=_numbers(counts, spec.dtype, machine),
        group=group,
        groups=groups,
        segment=last.segment(machine, spec.dtype),
        **asdict(last),
    )


def _numbers(values: Sequence[int], dtype: str, machine: Machine) -> Table:
    """Whole numbers as those of the dtype, a vector more than there are, as the bits of a table."""
    padded = np.ones(-(-(len(values) + machine.lanes(dtype)) // 2) * 2, dtype)
    padded[: len(values)] = values
    return padded.view(np.int64)
