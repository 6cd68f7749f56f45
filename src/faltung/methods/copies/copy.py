"""Copies that change the layout: pack weights, pad or transpose inputs, unpack gradients.

One shape of loop serves them all: for each outer entry ``o`` and each run ``j``, ``count`` elements
go from ``src + o.src + j.src + a * stride`` to ``dst + o.dst + j.dst + a`` and the rest up to
``fill`` becomes zero. Offsets come from tables, so padding of any mode is an entry that points
elsewhere, or nowhere (a zero).

``runs``       neighbouring elements stay neighbours;
``gather``     elements that lie ``stride`` apart become neighbours;
``transpose``  as ``gather`` where the entries ``j`` are neighbours in the source: blocks of
               lanes x lanes elements are transposed in registers, each cache line read once;
``untranspose`` the other way: neighbours ``a`` of the source go ``stride`` apart in the
               destination, where the entries ``j`` are neighbours.

Either side may be stored in 16 bits: what is loaded is widened, what is stored is rounded.
"""

from collections.abc import Sequence

import numpy as np

from faltung.methods.base.step import MISSING, Operand, Step, Table, table
from faltung.methods.copies.kernel import Copy

# Runs handled by one item of work: enough to hide the bookkeeping, few enough to share.
CHUNK = 64


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
    """A copy step that makes neighbours in ``dst``; transposes in registers where that reads lines
    once.

    ``outer``: (src, dst) offsets; ``runs``: (src or MISSING, dst, count); all in elements.
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
    """The other way: neighbours of ``src`` go ``stride`` apart in ``dst``."""
    outer_table, run_table = table(outer, 2), table(runs, 3)
    transposed = _contiguous(outer_table, run_table, 1)
    mode = "untranspose"
    if stride == 1:
        mode = "runs"
    elif transposed:
        outer_table, run_table = transposed
    else:
        # Every run alone: one column of a block, masked to a single neighbour.
        outer_table, run_table = _alone(outer_table, run_table)
    return _step(dtype, mode, src, dst, outer_table, run_table, stride, 0, title, barrier)


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
    chunks = -(-len(runs) // CHUNK)
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
        chunk=CHUNK,
    )


def _contiguous(outer: Table, runs: Table, column: int) -> tuple[Table, Table] | None:
    """The same copy with runs that are neighbours in ``column`` (0 src, 1 dst), where there are
    such.
    """
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
