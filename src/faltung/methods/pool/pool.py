"""Pooling: maxima and means of windows, and their gradients, vectors along the channels.

What it is.  Every target (an output; for a gradient an input) reads sources at the taps of a
  window. Maxima are taken, or sums: of columns, each computed once (``pool_columns``), or tap after
  tap, sums along the last axis first. A maximum may leave the number of its tap behind. Its
  gradient is gathered: an input adds up the gradients of the windows that cover it and that chose
  it, so that no two items write the same element. The mean and its gradient are one and the same
  kernel: a sum, divided.
When it applies.  Channels are neighbours in memory, positions a pitch apart; any rank.
What it costs.  A load for each tap and vector, and one to five instructions: memory is the limit
  for small windows, the loads from near caches for large ones.

Which sources a target reads is in tables (``pool_tables``), so that one kernel for each kind and
dtype (``pool_kernel``, ``pool_kinds``) serves every rank, size, stride, dilation and padding.
"""

from collections.abc import Sequence
from math import prod

from faltung.geometry.pool import PoolSpec
from faltung.jit.compile import Recipe
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Step, Work
from faltung.methods.pool.columns import columns
from faltung.methods.pool.kernel import Pool
from faltung.methods.pool.tables import Line, Tables, backward, counting, forward, numbered, tables

# Bytes that an item writes, about: a near cache holds them while the phases of a stride interleave.
ITEM_BYTES = 16384
# Targets of an item at least.
LEAST = 32
# Items below which the channels are shared out too, for threads to have some each: in all, and for
# each core. Whole positions are better, because memory is then read in its order.
FEW_ITEMS = 16
ITEMS = 8
# Vectors in the smallest block of channels: whole cache lines.
BLOCK = 4
# Rows and taps of the largest windows whose taps are written out.
WRITTEN_OUT = 3


def index_dtype(spec: PoolSpec) -> str:
    """The dtype of an index array: as wide as the values, so that their lanes correspond."""
    return {"float32": "int32", "float64": "int64"}[spec.dtype]


def max_pool(
    spec: PoolSpec,
    work: Work,
    x: Operand,
    x_pitch: int,
    out: Operand,
    out_pitch: int,
    index: Operand | None = None,
    *,
    machine: Machine,
    positions: bool = False,
    title: str = "max pool",
    barrier: bool = False,
) -> None:
    """Add the maxima of the windows of ``x``; pitches in elements, from position to position.

    ``index``: a compact array of ``index_dtype``, one number for each element of the output
    (position by position), that receives the tap of each maximum. Taps are numbered with the last
    axis fastest, those in the padding too; with ``positions`` it is the place of the maximum in
    the plane of the input, as PyTorch has it. The first of equal maxima is taken (of zeros of both
    signs, without ``index``, that in the first column); a NaN is larger than any number, and than a
    NaN before it.
    """
    lines = [forward(spec, dim) for dim in range(spec.rank)]
    lines = [numbered(line) for line in lines] if positions else lines
    kind = "max" if index is None else "max_index"
    work.steps.append(
        _step(spec, kind, lines, x, x_pitch, out, out_pitch, index, machine, title, barrier)
    )


def max_pool_grad(
    spec: PoolSpec,
    work: Work,
    grad: Operand,
    grad_pitch: int,
    index: Operand,
    out: Operand,
    out_pitch: int,
    *,
    machine: Machine,
    positions: bool = False,
    title: str = "max pool gradient",
    barrier: bool = False,
) -> None:
    """Add the gradient for the input: each output gradient goes to the tap that ``index`` names.

    ``grad``: shaped as the output; ``out``: as the input, and every element of it is written.
    ``positions``: as that of ``max_pool`` with which ``index`` was made.
    """
    lines = [backward(spec, dim) for dim in range(spec.rank)]
    lines = [numbered(line, targets=True) for line in lines] if positions else lines
    work.steps.append(
        _step(
            spec, "chosen", lines, grad, grad_pitch, out, out_pitch, index, machine, title, barrier
        )
    )


def average_pool(
    spec: PoolSpec,
    work: Work,
    x: Operand,
    x_pitch: int,
    out: Operand,
    out_pitch: int,
    *,
    machine: Machine,
    title: str = "average pool",
    barrier: bool = False,
) -> None:
    """Add the means of the windows of ``x``; arguments as ``max_pool``."""
    lines = [forward(spec, dim) for dim in range(spec.rank)]
    work.steps.append(
        _step(spec, "mean", lines, x, x_pitch, out, out_pitch, None, machine, title, barrier)
    )


def average_pool_grad(
    spec: PoolSpec,
    work: Work,
    grad: Operand,
    grad_pitch: int,
    out: Operand,
    out_pitch: int,
    *,
    machine: Machine,
    title: str = "average pool gradient",
    barrier: bool = False,
) -> None:
    """Add the gradient for the input: each output gradient spread over what its window counts.

    Where windows count differently, the gradients are divided first, into borrowed memory.
    """
    divisor = spec.divisor
    if divisor is None:
        shares = Operand(work.borrow("shares", prod(spec.output_shape) * spec.itemsize))
        lines = [counting(spec, dim) for dim in range(spec.rank)]
        pitch = spec.channels
        work.steps.append(
            _step(
                spec, "mean", lines, grad, grad_pitch, shares, pitch, None, machine, title, barrier
            )
        )
        grad, grad_pitch, divisor, barrier = shares, pitch, 1, True
    lines = [backward(spec, dim) for dim in range(spec.rank)]
    work.steps.append(
        _step(
            spec,
            "mean",
            lines,
            grad,
            grad_pitch,
            out,
            out_pitch,
            None,
            machine,
            title,
            barrier,
            divisor,
        )
    )


def _step(
    spec: PoolSpec,
    kind: str,
    lines: Sequence[Line],
    source: Operand,
    source_pitch: int,
    target: Operand,
    target_pitch: int,
    index: Operand | None,
    machine: Machine,
    title: str,
    barrier: bool,
    divisor: int = 1,
) -> Step:
    most = max(LEAST, ITEM_BYTES // (spec.channels * spec.itemsize))
    t = tables(lines, most, divisor)
    items = spec.batch * len(t.rows) * len(t.pieces)
    recipe, block_count, block = _recipe(spec, kind, lines, t, items, machine)
    words: list[Argument] = [
        *(source, target, target if index is None else index),
        *(t.rows, t.entries, t.pieces, t.segments),
        *(len(t.rows), len(t.pieces), block_count, block, spec.channels),
        *(t.sources, t.targets, source_pitch, target_pitch),
        *(t.source_step, t.tap_step),
    ]
    return Step(recipe, items * block_count, words, title, barrier)


def _recipe(
    spec: PoolSpec, kind: str, lines: Sequence[Line], t: Tables, items: int, machine: Machine
) -> tuple[Recipe, int, int]:
    """The kernel for these tables, how many blocks of channels, and channels in each."""
    lanes = machine.lanes(spec.dtype)
    wanted = -(-max(FEW_ITEMS, ITEMS * machine.cores) // max(1, items))
    blocks = min(spec.channels // lanes // BLOCK, wanted)
    by_columns = columns(kind, spec.dtype, lines[-1], t, spec.channels, lanes)
    if by_columns:
        return by_columns, *_blocks(spec.channels, lanes, blocks, by_columns.room)
    pool = _by_taps(spec, kind, lines, t, spec.channels < lanes)
    return pool, *_blocks(spec.channels, lanes, blocks)


def _by_taps(spec: PoolSpec, kind: str, lines: Sequence[Line], t: Tables, narrow: bool) -> Pool:
    """The kernel that goes from tap to tap, with windows written out where they are small."""
    fixed = not any(line.tap_step for line in lines)
    rows = int((t.rows[:, 4] - t.rows[:, 3]).max(initial=0))
    taps = max((run.taps for run in lines[-1].runs), default=0)
    if kind == "mean" or narrow or not 0 < rows <= WRITTEN_OUT >= taps > 0:
        rows = taps = 1
    return Pool(spec.dtype, kind, narrow, rows, taps, fixed and kind == "chosen")


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
