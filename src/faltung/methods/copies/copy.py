"""Copies that change the layout: pack weights, pad or transpose inputs, unpack gradients.

All copies have the same loops: for each outer entry ``o`` and each run ``j``, ``count`` elements
are copied from ``src + o.src + j.src + a * stride`` to ``dst + o.dst + j.dst + a``, and the rest up
to ``fill`` is set to zero. Offsets come from tables, so padding of any mode is an entry that points
elsewhere, or nowhere (a zero). The modes:

``runs``         contiguous elements stay contiguous;
``gather``       elements ``stride`` apart become contiguous;
``transpose``    like ``gather`` where the entries ``j`` are contiguous in the source: blocks of
                 lanes x lanes elements are transposed in registers, reading each cache line once;
``interleave``   like ``transpose`` where a run is a few elements and begins where the one before
                 ends: so many rows become one, element by element;
``part``         the reverse: every second, third, ... element of a row goes to a row of its own;
``untranspose``  the reverse of ``transpose``: contiguous elements ``a`` of the source are stored
                 ``stride`` apart in the destination, where the entries ``j`` are contiguous.

Either side may be stored in 16 bits: loads convert to float32, stores round.
"""

from collections.abc import Sequence

import numpy as np

from faltung.methods.base.addresses import sums
from faltung.methods.base.step import MISSING, Operand, Step, Table, table
from faltung.methods.copies.kernel import Copy

# The most rows that are interleaved by shuffles, one less for each vector: of eight, squares are as
# fast.
MOST_ROWS = 7
# Runs per item: enough to hide the overhead of an item, few enough for threads to share.
ITEM_RUNS = 64


def copy(
    dtype: str,
    src: Operand,
    dst: Operand,
    outer: Sequence[Sequence[int]] | Table,
    runs: Sequence[Sequence[int]] | Table,
    *,
    stride: int = 1,
    fill: int = 0,
    title: str,
    barrier: bool = False,
    back: bool = False,
) -> Step:
    """A step that copies elements ``stride`` apart to contiguous ones; ``back``: the reverse.

    It transposes in registers where that reads, or writes, each cache line once. ``outer``: (src,
    dst) offsets; ``runs``: (src or MISSING, dst, count); all in elements.
    """
    outer_table, run_table = table(outer, 2), table(runs, 3)
    mode = "runs" if stride == 1 else "untranspose" if back else "gather"
    transposed = None if stride == 1 else _contiguous(outer_table, run_table, int(back))
    rows, chunk = 0, ITEM_RUNS
    if not back and not fill and _parts(run_table, stride):
        mode, rows, chunk = "part", stride, stride
    elif not back and not fill and transposed and _interleaves(transposed[1]):
        mode, rows, (outer_table, run_table) = "interleave", int(transposed[1][0, 2]), transposed
    elif transposed:
        mode, (outer_table, run_table) = "untranspose" if back else "transpose", transposed
    elif mode == "untranspose":
        # Each run by itself: one column of a block, with all other columns masked.
        outer_table = sums([outer_table, run_table[:, :2]], 2)
        run_table = run_table[:1] * (0, 0, 1)
    chunks = -(-len(run_table) // chunk)
    return Copy(dtype, mode, rows=rows).step(
        len(outer_table) * chunks,
        title,
        barrier=barrier,
        src=src,
        dst=dst,
        outer_table=outer_table,
        run_table=run_table,
        runs=len(run_table),
        stride=stride,
        fill=fill,
        chunk=chunk,
    )


def _interleaves(runs: Table) -> bool:
    """Whether runs that are contiguous in the source are a few elements each, and follow each
    other.
    """
    count = int(runs[0, 2])
    return 2 <= count <= MOST_ROWS and bool((runs[:, 1] == np.arange(len(runs)) * count).all())


def _parts(runs: Table, stride: int) -> bool:
    """Whether runs are all elements of a contiguous row, each every ``stride``-th."""
    if not 2 <= stride <= MOST_ROWS or len(runs) != stride or (runs[:, 2] != runs[0, 2]).any():
        return False
    begins = runs[:, 0]
    return bool(begins[0] != MISSING and (begins == begins[0] + np.arange(stride)).all())


def _contiguous(outer: Table, runs: Table, column: int) -> tuple[Table, Table] | None:
    """The same copy with runs contiguous in ``column`` (0 src, 1 dst); None if impossible."""
    if len(runs) == 0 or (runs[:, 0] == MISSING).any() or (runs[:, 2] != runs[0, 2]).any():
        return None
    runs = runs[np.argsort(runs[:, column], kind="stable")]
    breaks = np.flatnonzero(np.diff(runs[:, column]) != 1)
    length = int(breaks[0]) + 1 if len(breaks) else len(runs)
    if length < 4 or len(runs) % length:
        return None
    groups = runs[:, :2].reshape(-1, length, 2)
    starts = groups[:, 0, :]
    inside = groups - starts[:, None, :]
    if (inside != inside[0]).any():
        return None
    first = np.concatenate([inside[0], runs[:length, 2:]], axis=1)
    return sums([outer, starts], 2), table(first, 3)
