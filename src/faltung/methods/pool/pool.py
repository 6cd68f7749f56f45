"""Pooling: maxima and means of windows, and their gradients, vectors along the channels.

What it is.  Every target (an output; for a gradient an input) reads sources at the taps of a
  window. Maxima are taken, or sums: of columns, each computed once (``columns``), or tap after
  tap, sums along the last axis first. A maximum may leave the number of its tap behind. Its
  gradient is gathered: an input adds up the gradients of the windows that cover it and that chose
  it, so that no two items write the same element. The mean and its gradient are one and the same
  kernel: a sum, divided.
When it applies.  Channels are contiguous, positions a pitch apart; any rank.
What it costs.  A load for each tap and vector, and one to five instructions: memory is the limit
  for small windows, the loads from near caches for large ones.

Which sources a target reads is in tables (``tables``), so that one kernel for each kind and dtype
(``taps``, ``reductions``) serves every rank, size, stride, dilation and padding.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from faltung.geometry.conv import ITEMSIZE
from faltung.geometry.errors import FaltungError
from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Matrix, Operand, Work
from faltung.methods.pool.columns import columns_kernel
from faltung.methods.pool.reductions import LAST_PLACE
from faltung.methods.pool.tables import (
    AxisReads,
    PoolTables,
    WalkKernel,
    backward,
    counting,
    forward,
    tables,
)
from faltung.methods.pool.taps import TapsKernel

# Bytes that an item writes, about: a near cache holds them while the phases of a stride interleave.
CHANNELS_ITEM_BYTES = 16384
# Targets of an item at least.
MIN_ITEM_TARGETS = 32
# Items below which the channels are cut into blocks too, for threads to have some each: in all, and
# for each core. Whole positions are better, because memory is then read in its order.
MIN_ITEMS = 16
MIN_ITEMS_PER_CORE = 8
# Vectors in the smallest block of channels: whole cache lines.
MIN_BLOCK_VECTORS = 4
# Rows and taps of the largest windows whose taps are written out.
MAX_WRITTEN_OUT = 3


def index_dtype(spec: PoolSpec) -> str:
    """The dtype of an index array: as wide as the values, so that their lanes correspond.
    ValueError: a plane with more positions than it can number.
    """
    most = LAST_PLACE[ITEMSIZE[spec.dtype]]
    if prod(axis.size for axis in spec.axes) > most:
        raise FaltungError(
            f"x.shape={spec.input_shape}: indices of {spec.dtype} number at most {most} positions "
            "of a plane; use float64"
        )
    return {"float32": "int32", "float64": "int64"}[spec.dtype]


def max_pool(
    spec: PoolSpec,
    work: Work,
    x: Matrix,
    out: Matrix,
    index: Operand | None = None,
    *,
    machine: Machine,
    positions: bool = False,
    barrier: bool = False,
    rings: tuple[int, int] = (0, 0),
) -> None:
    """Add the maxima of the windows of ``x``.

    ``index``: a compact array of ``index_dtype``, one number for each element of the output
    (position by position), that receives the tap of each maximum. Taps are numbered with the last
    axis fastest, those in the padding too; with ``positions`` it is the place of the maximum in
    the plane of the input, as PyTorch has it. The first of equal maxima is taken (of zeros of both
    signs, without ``index``, that in the first column); a NaN is larger than any number, and than a
    NaN before it. ``rings``: for how many rows of the input and of the output there is memory, 0
    for all.
    """
    axes = in_rings(forward(spec, positions=positions), rings)
    kind = "max" if index is None else "max_index"
    _add(spec, work, machine, barrier, "max pool", kind, axes, x, out, index)


def max_pool_grad(
    spec: PoolSpec,
    work: Work,
    grad: Matrix,
    index: Operand,
    out: Matrix,
    *,
    machine: Machine,
    positions: bool = False,
    barrier: bool = False,
) -> None:
    """Add the gradient for the input: each output gradient goes to the tap that ``index`` names.

    ``grad``: shaped as the output; ``out``: as the input, and every element of it is written.
    ``positions``: as that of ``max_pool`` with which ``index`` was made.
    """
    axes = backward(spec, positions=positions)
    _add(spec, work, machine, barrier, "max pool gradient", "chosen", axes, grad, out, index)


def average_pool(
    spec: PoolSpec,
    work: Work,
    x: Matrix,
    out: Matrix,
    *,
    machine: Machine,
    barrier: bool = False,
    rings: tuple[int, int] = (0, 0),
) -> None:
    """Add the means of the windows of ``x``; arguments as ``max_pool``."""
    axes = in_rings(forward(spec), rings)
    _add(spec, work, machine, barrier, "average pool", "mean", axes, x, out)


def in_rings(axes: Sequence[AxisReads], rings: tuple[int, int]) -> list[AxisReads]:
    """The axes with memory for so many rows of the input and of the output, 0 for all."""
    first, *others = axes
    return [replace(first, source_ring=rings[0], target_ring=rings[1]), *others]


def average_pool_grad(
    spec: PoolSpec,
    work: Work,
    grad: Matrix,
    out: Matrix,
    *,
    machine: Machine,
    barrier: bool = False,
) -> None:
    """Add the gradient for the input: each output gradient spread over what its window counts.

    Where windows count differently, the gradients are divided first, into borrowed memory.
    """
    divisor, title = spec.divisor, "average pool gradient"
    if divisor is None:
        divided = work.borrow("divided", prod(spec.output_shape) * spec.itemsize)
        quotients = Matrix(divided, spec.channels)
        _add(spec, work, machine, barrier, title, "mean", counting(spec), grad, quotients)
        grad, divisor, barrier = quotients, 1, True
    axes = backward(spec)
    _add(spec, work, machine, barrier, title, "mean", axes, grad, out, divisor=divisor)


def _add(
    spec: PoolSpec,
    work: Work,
    machine: Machine,
    barrier: bool,
    title: str,
    kind: str,
    axes: Sequence[AxisReads],
    source: Matrix,
    target: Matrix,
    index: Operand | None = None,
    *,
    divisor: int = 1,
) -> None:
    most = max(MIN_ITEM_TARGETS, CHANNELS_ITEM_BYTES // (spec.channels * spec.itemsize))
    t = tables(axes, most, divisor)
    items = spec.batch * len(t.rows) * len(t.segments)
    kernel, block_count, block = _kernel(spec, kind, axes, t, items, machine)
    given: dict[str, Argument] = {} if index is None else {"index": index}
    step = kernel.step(
        items * block_count,
        title,
        barrier=barrier,
        **source.arguments("source"),
        # All samples have the same ring.
        source_sample=0 if axes[0].source_ring else prod(axis.sources for axis in axes),
        **target.arguments("target"),
        target_sample=0 if axes[0].target_ring else prod(axis.targets for axis in axes),
        rows=t.rows,
        row_count=len(t.rows),
        entries=t.entries,
        segments=t.segments,
        segment_count=len(t.segments),
        progressions=t.progressions,
        block_count=block_count,
        block=block,
        channels=spec.channels,
        source_step=axes[-1].source_step,
        tap_step=axes[-1].tap_step,
        **given,
    )
    work.steps.append(step)


def _kernel(
    spec: PoolSpec,
    kind: str,
    axes: Sequence[AxisReads],
    t: PoolTables,
    items: int,
    machine: Machine,
) -> tuple[WalkKernel, int, int]:
    """The kernel for these tables, how many blocks of channels, and channels in each."""
    lanes = machine.lanes(spec.dtype)
    wanted = -(-max(MIN_ITEMS, MIN_ITEMS_PER_CORE * machine.cores) // max(1, items))
    blocks = min(spec.channels // lanes // MIN_BLOCK_VECTORS, wanted)
    by_columns = columns_kernel(kind, spec.dtype, axes[-1], t, spec.channels, lanes)
    if by_columns:
        return by_columns, *_blocks(spec.channels, lanes, blocks, by_columns.room)
    by_taps = _taps_kernel(spec, kind, axes, t, spec.channels < lanes)
    return by_taps, *_blocks(spec.channels, lanes, blocks)


def _taps_kernel(
    spec: PoolSpec, kind: str, axes: Sequence[AxisReads], t: PoolTables, narrow: bool
) -> TapsKernel:
    """The kernel that goes from tap to tap, with windows written out where they are small."""
    fixed = not any(axis.tap_step for axis in axes)
    rows = int((t.rows[:, 4] - t.rows[:, 3]).max(initial=0))
    taps = max((p.taps for p in axes[-1].progressions), default=0)
    if kind == "mean" or narrow or not 0 < rows <= MAX_WRITTEN_OUT >= taps > 0:
        rows = taps = 1
    return TapsKernel(spec.dtype, kind, narrow, rows, taps, fixed and kind == "chosen")


def _blocks(channels: int, lanes: int, blocks: int, room: int | None = None) -> tuple[int, int]:
    """About so many blocks of channels: their number, and channels in each. Whole vectors, the last
    one has the rest. ``room``: channels that a block holds at the most.
    """
    vectors = channels // lanes
    if not vectors:
        return 1, channels
    each = -(-vectors // max(1, blocks))
    if room is not None:  # the last vector, which is moved back, has a place of its own
        each = min(each, room // lanes - 1)
    return -(-vectors // each), each * lanes
