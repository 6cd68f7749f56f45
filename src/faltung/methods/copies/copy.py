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

from faltung.methods.base.addresses import sums
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
) -> Step:
    """A step that copies elements ``stride`` apart to contiguous ones.

    It transposes in registers where that reads each cache line once. ``outer``: (src, dst) offsets;
    ``runs``: (src or MISSING, dst, count); all in elements.
    """
    outer_table, run_table = table(outer, 2), table(runs, 3)
    mode = "runs" if stride == 1 else "gather"
    if mode == "gather":
        transposed = _contiguous(outer_table, run_table, 0)
        if transposed:
            mode, (outer_table, run_table) = "transpose", transposed
    return _step(dtype, mode, src, dst, outer_table, run_table, stride, fill, title, barrier)


def spread(
    dtype: str,
    src: Operand,
    dst: Operand,
    outer: Sequence[Sequence[int]] | Table,
    runs: Sequence[Sequence[int]] | Table,
    *,
    stride: int,
    title: str,
    barrier: bool = False,
) -> Step:
    """The reverse of ``copy``: contiguous elements are stored ``stride`` apart in ``dst``."""
    outer_table, run_table = table(outer, 2), table(runs, 3)
    transposed = _contiguous(outer_table, run_table, 1)
    mode = "untranspose"
    if stride == 1:
        mode = "runs"
    elif transposed:
        outer_table, run_table = transposed
    else:
        # Each run by itself: one column of a block, with all other columns masked.
        outer_table, run_table = _alone(outer_table, run_table)
    return _step(dtype, mode, src, dst, outer_table, run_table, stride, 0, title, barrier)


def weight_runs(
    taps: Sequence[int], channels: tuple[int, int], packed: tuple[int, int], count: int
) -> Table:
    """For each tap and channel the run of ``count`` elements from the weight to where it is packed.

    ``taps``: their offsets in the weight; ``channels``: how many, and the elements of the weight
    between them; ``packed``: elements between taps, and between channels, where they are packed.
    """
    along = np.stack([taps, np.arange(len(taps)) * packed[0]], axis=1)
    across = np.outer(np.arange(channels[0]), (channels[1], packed[1]))
    return np.insert(sums([along, across], 2), 2, count, axis=1)


def _step(
    dtype: str,
    mode: str,
    src: Operand,
    dst: Operand,
    outer: Table,
    runs: Table,
    stride: int,
    fill: int,
    title: str,
    barrier: bool,
) -> Step:
    chunks = -(-len(runs) // ITEM_RUNS)
    return Copy(dtype, mode).step(
        len(outer) * chunks,
        title,
        barrier=barrier,
        src=src,
        dst=dst,
        outer_table=outer,
        run_table=runs,
        runs=len(runs),
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
