"""Pooling of arrays with channels first: vectors along the positions of a row.

What it is.  A window's maximum (or sum) is that of its columns. Of each row of outputs the columns
  come first: the rows that its windows cover are combined, vector by vector, into a buffer that
  stays in the nearest cache, with borders that never count around it. Then the taps of the last
  axis are combined out of the buffer: neighbours for stride 1, every other element for stride 2
  (two vectors taken apart), gathered for others. Overlapping windows read the input once for each
  of their rows, whatever their width.
When it applies.  Planes (the positions of a channel) contiguous and equally far apart; windows of
  neighbouring outputs that fit the buffer.
What it costs.  A load for each row of a window, two or three instructions for each tap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Step, Table, Work
from faltung.methods.pool.planes_kernel import BUFFER, Planes
from faltung.methods.pool.tables import Line, backward, counting, forward, tables

# Bytes of output in an item of work.
ITEM_BYTES = 8192
# Taps of the last axis that are written out; more are a loop.
UNROLLED = 4


@dataclass(frozen=True, slots=True)
class Last:
    """The last axis: ``spread``: its entries stand so far apart, with zeros between them."""

    size: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    lo: int
    spread: int = 1

    def chunk(self, machine: Machine, dtype: str) -> int:
        """Outputs that are done at once: whole vectors; 0 where the buffer holds not one."""
        lanes = machine.lanes(dtype)
        # Behind the elements that are used: borders, columns and outputs in whole vectors.
        beyond = (self.taps - 1) * self.dilation + (self.stride + self.spread) * lanes
        room = BUFFER // np.dtype(dtype).itemsize - beyond
        return max(0, room // self.stride // lanes * lanes)


def ahead(spec: PoolSpec) -> Last:
    """The last axis of a pooling."""
    axis = spec.axes[-1]
    return Last(axis.size, axis.output, axis.kernel, axis.stride, axis.dilation, axis.lo)


def back(spec: PoolSpec) -> Last:
    """That of the gradient of its means: a sum of stride 1 over gradients apart."""
    axis = spec.axes[-1]
    reach = (axis.kernel - 1) * axis.dilation
    size = (axis.output - 1) * axis.stride + 1
    return Last(size, axis.size, axis.kernel, 1, axis.dilation, reach - axis.lo, axis.stride)


def planes_pool(
    spec: PoolSpec,
    x: Operand,
    x_plane: int,
    out: Operand,
    out_plane: int,
    index: tuple[Operand, int] | None = None,
    *,
    machine: Machine,
) -> Step:
    """The step for maxima or means of planes ``x_plane`` elements apart, (batch, channels) one
    after the other; ``index``: an array of planes that receives the places of the maxima.
    """
    lines = [forward(spec, dim) for dim in range(spec.rank)]
    kind = {"max": "max", "average": "mean"}[spec.kind] + "_index" * (index is not None)
    arrays = (x, x_plane, out, out_plane, *(index or (out, out_plane)))
    counts = [1]
    if spec.kind == "average":
        dim = spec.rank - 1
        counts = [spec.counted(dim, o) for o in range(spec.output[dim])]
    return _step(spec, kind, lines, ahead(spec), counts, arrays, machine, f"{spec.kind} pool")


def planes_mean_grad(
    spec: PoolSpec,
    work: Work,
    grad: Operand,
    grad_plane: int,
    out: Operand,
    out_plane: int,
    *,
    machine: Machine,
) -> None:
    """Add the gradient of means of planes: each shared out over what its window counts."""
    divisor, barrier = spec.divisor, False
    title = "average pool gradient"
    if divisor is None:
        shares = Operand(work.borrow("shares", prod(spec.output_shape) * spec.itemsize))
        lines = [counting(spec, dim) for dim in range(spec.rank)]
        last, dim = spec.output[-1], spec.rank - 1
        counts = [spec.counted(dim, o) for o in range(last)]
        plane = prod(spec.output)
        arrays = (grad, grad_plane, shares, plane, shares, plane)
        alone = Last(last, last, 1, 1, 1, 0)
        work.steps.append(_step(spec, "mean", lines, alone, counts, arrays, machine, title))
        grad, grad_plane, divisor, barrier = shares, plane, 1, True
    lines = [backward(spec, dim) for dim in range(spec.rank)]
    arrays = (grad, grad_plane, out, out_plane, out, out_plane)
    counts = [1] * spec.size[-1]
    step = _step(spec, "mean", lines, back(spec), counts, arrays, machine, title, divisor, barrier)
    work.steps.append(step)


def _step(
    spec: PoolSpec,
    kind: str,
    lines: Sequence[Line],
    last: Last,
    counts: Sequence[int],
    arrays: Sequence[Operand | int],
    machine: Machine,
    title: str,
    divisor: int = 1,
    barrier: bool = False,
) -> Step:
    """``counts``: what each output of a row is divided by, beside ``divisor`` and its row's.
    ``arrays``: source, target and index, each with the distance of its planes.
    """
    t = tables(lines, last.outputs, divisor)
    group = max(1, ITEM_BYTES // (last.outputs * spec.itemsize))
    groups = -(-len(t.rows) // group)
    words: list[Argument] = [
        *(*arrays[::2], t.rows, t.entries, _numbers(counts, spec.dtype, machine)),
        *(len(t.rows), group, groups, *arrays[1::2]),
        *(last.size, last.outputs, last.taps, last.stride, last.dilation, last.lo),
        *(last.chunk(machine, spec.dtype), last.spread),
    ]
    recipe = Planes(
        spec.dtype,
        kind,
        last.stride if last.stride < 3 else 0,
        last.taps if last.taps <= UNROLLED else 0,
        last.spread if last.spread < 3 else 0,
    )
    return Step(recipe, spec.batch * spec.channels * groups, words, f"{title} of planes", barrier)


def _numbers(values: Sequence[int], dtype: str, machine: Machine) -> Table:
    """Whole numbers as those of the dtype, a vector more than there are, as the bits of a table."""
    padded = np.ones(-(-(len(values) + machine.lanes(dtype)) // 2) * 2, dtype)
    padded[: len(values)] = values
    return padded.view(np.int64)


def planes_apart(shape: tuple[int, ...], strides: Sequence[int]) -> int | None:
    """Elements from plane to plane of (N, C, *space), where planes are contiguous and equally far
    apart; None where they are not.
    """
    inner = 1
    for size, stride in reversed(list(zip(shape[2:], strides[2:], strict=True))):
        if size > 1 and stride != inner:
            return None
        inner *= size
    batch, channels = shape[:2]
    if channels > 1:
        step = strides[1]
        return step if batch < 2 or strides[0] == step * channels else None
    return strides[0] if batch > 1 else prod(shape[2:])
