"""Copies that change the layout: pack weights, pad or transpose inputs, unpack gradients.

All copies have the same loops: for each outer entry ``o`` and each run ``j``, ``count`` elements
are copied from ``src + o.src + j.src + a * stride`` to ``dst + o.dst + j.dst + a``, and the rest up
to ``fill`` is set to zero. Offsets come from tables, so padding of any mode is an entry that points
elsewhere, or nowhere (a zero). The modes:

``runs``         contiguous elements stay contiguous;
``gather``       elements ``stride`` apart become contiguous;
``transpose``    like ``gather`` where the entries ``j`` are contiguous in the source: blocks of
                 lanes x lanes elements are transposed in registers, reading each cache line once;
``untranspose``  the reverse: contiguous elements ``a`` of the source are stored ``stride`` apart in
                 the destination, where the entries ``j`` are contiguous.

Either side may be stored in 16 bits: loads convert to float32, stores round.
"""

from collections.abc import Sequence

import numpy as np

from faltung.methods.base.step import MISSING, Operand, Step, Table, table
from faltung.methods.copies.kernel import Copy

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
    if transposed:
        mode, (outer_table, run_table) = "untranspose" if back else "transpose", transposed
    elif mode == "untranspose":
        # Each run by itself: one column of a block, with all other columns masked.
        outer_table, run_table = _alone(outer_table, run_table)
    chunks = -(-len(run_table) // ITEM_RUNS)
    return Copy(dtype, mode).step(
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
        chunk=ITEM_RUNS,
    )


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
    wide = (outer[:, None, :] + starts[None, :, :]).reshape(-1, 2)
    first = np.concatenate([inside[0], runs[:length, 2:]], axis=1)
    return table(wide, 2), table(first, 3)


def _alone(outer: Table, runs: Table) -> tuple[Table, Table]:
    wide = (outer[:, None, :] + runs[None, :, :2]).reshape(-1, 2)
    return table(wide, 2), table([(0, 0, int(runs[0, 2]))], 3)
