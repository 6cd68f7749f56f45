"""Pooling: maxima and means of windows, and their gradients, vectors along the channels.

What it is.  Every target (an output; for a gradient an input) reads sources at the taps of a
  window. Maxima are taken, or sums, tap after tap; sums along the last axis first. A maximum may
  leave the number of its tap behind. Its gradient is gathered: an input adds up the gradients of
  the windows that cover it and that chose it, so that no two items write the same element. The
  mean and its gradient are one and the same kernel: a sum, divided.
When it applies.  Channels are neighbours in memory, positions a pitch apart; any rank.
What it costs.  A load for each tap and vector, and one to five instructions: memory is the limit
  for small windows, the loads from near caches for large ones.

Which sources a target reads is in tables (``pool_tables``), so that one kernel for each kind and
dtype (``pool_kernel``, ``pool_kinds``) serves every rank, size, window, stride, dilation, padding.
"""

from collections.abc import Sequence
from math import prod

from faltung.geometry.pool import PoolSpec
from faltung.jit.compile import Recipe
from faltung.machine.table import Machine
from faltung.methods.pool_columns import columns
from faltung.methods.pool_kernel import Pool
from faltung.methods.pool_tables import Line, backward, counting, forward, numbered, tables
from faltung.methods.step import Operand, Step, Word, Work

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
    after: bool = False,
) -> None:
    """Add the maxima of the windows of ``x``; pitches in elements, from position to position.

    ``index``: a compact array of ``index_dtype``, one number for each element of the output
    (position by position), that receives the tap of each maximum. Taps are numbered with the last
    axis fastest, those in the padding too; with ``positions`` it is the place of the maximum in
    the plane of the input, as PyTorch has it. The first of equal maxima is taken; a NaN is larger
    than any number, and than a NaN before it.
    """
    lines = [forward(spec, dim) for dim in range(spec.rank)]
    lines = [numbered(line) for line in lines] if positions else lines
    kind = "max" if index is None else "max_index"
    work.steps.append(
        _step(spec, kind, lines, x, x_pitch, out, out_pitch, index, machine, title, after)
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
    after: bool = False,
) -> None:
    """Add the gradient for the input: each output gradient goes to the tap that ``index`` names.

    ``grad``: shaped as the output; ``out``: as the input, and every element of it is written.
    ``positions``: as that of ``max_pool`` with which ``index`` was made.
    """
    lines = [backward(spec, dim) for dim in range(spec.rank)]
    lines = [numbered(line, targets=True) for line in lines] if positions else lines
    work.steps.append(
        _step(spec, "chosen", lines, grad, grad_pitch, out, out_pitch, index, machine, title, after)
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
    after: bool = False,
) -> None:
    """Add the means of the windows of ``x``; arguments as ``max_pool``."""
    lines = [forward(spec, dim) for dim in range(spec.rank)]
    work.steps.append(
        _step(spec, "mean", lines, x, x_pitch, out, out_pitch, None, machine, title, after)
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
    after: bool = False,
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
            _step(spec, "mean", lines, grad, grad_pitch, shares, pitch, None, machine, title, after)
        )
        grad, grad_pitch, divisor, after = shares, pitch, 1, True
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
            after,
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
    after: bool,
    divisor: int = 1,
) -> Step:
    lanes = machine.lanes(spec.dtype)
    most = max(LEAST, ITEM_BYTES // (spec.channels * spec.itemsize))
    t = tables(lines, most, divisor)
    items = spec.batch * len(t.rows) * len(t.pieces)
    by_columns = columns(kind, spec.dtype, lines[-1], t, spec.channels, lanes)
    room = by_columns.room if by_columns else None
    blocks, block = _blocks(spec.channels, lanes, items, room, machine)
    words: list[Word] = [
        *(source, target, target if index is None else index),
        *(t.rows, t.entries, t.pieces, t.segments),
        *(len(t.rows), len(t.pieces), blocks, block, spec.channels),
        *(t.sources, t.targets, source_pitch, target_pitch),
        *(t.source_step, t.tap_step),
    ]
    recipe: Recipe = by_columns or Pool(spec.dtype, kind, spec.channels < lanes)
    return Step(recipe, items * blocks, words, title, after)


def _blocks(
    channels: int, lanes: int, items: int, room: int | None, machine: Machine
) -> tuple[int, int]:
    """How many blocks of channels, and channels in each: whole vectors, the last has the rest.

    ``room``: channels that fit a block at the most. Bits do not depend on how channels are cut.
    """
    vectors = channels // lanes
    few = max(FEW_ITEMS, ITEMS * machine.cores)
    blocks = max(1, min(vectors // BLOCK, -(-few // max(1, items))))
    each = -(-vectors // blocks)
    if room is not None:  # the last vector, which is moved back, has a place of its own
        each = min(each, room // lanes - 1)
    return (max(1, -(-vectors // each)), each * lanes) if vectors else (1, channels)
