"""Resampling as ONNX nodes: pads, gathers, and products with matrices.

Resize has few of these maps, and its readers differ in the last digits of the positions.
"""

import numpy as np

from faltung.formats.onnx_expr import formula, spread
from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.geometry.resample import Table
from faltung.graph.ops import GridSample, Resample
from faltung.graph.value import Node

# Taps up to which entries are gathered, each with its weight; with more there is a matrix.
MOST_GATHERED = 8


def resample(writer: Writer, node: Node) -> str:
    """Axis by axis; rows without taps are filled at the end."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resample)
    name, rank = writer.name(x), len(x.shape) + 1
    for axis, table in enumerate(op.tables, 1):
        if table is None or table.identity:
            continue
        ends = _ends(table)
        if ends is not None:
            name = _pad(writer, name, axis, rank, ends, op.fill)
            continue
        made = _gathered if table.taps <= MOST_GATHERED else _product
        name = made(writer, name, table, axis, rank)
        name = _filled(writer, name, table, axis, rank, op)
    for axis, table in enumerate(op.tables, 1):
        if op.fill and table is not None and table.empty:
            name = _filled(writer, name, table, axis, rank, op)
    if op.epilogue is None:
        return name
    others = [spread(writer, value, node.output.shape) for value in node.inputs[1:]]
    return formula(writer, op.epilogue, [name, *others])


def _ends(table: Table) -> tuple[int, int] | None:
    """What a table that pads adds before and after the axis (below 0: takes away), else None."""
    if not table.copies or not table.indices:
        return None
    first, last = table.indices[0], table.indices[-1]
    if table.indices != tuple(range(first, last + 1)):
        return None
    counts = list(table.counts)
    lo = counts.index(1)
    if sum(counts[lo : lo + last + 1 - first]) != last + 1 - first:
        return None
    hi = len(counts) - lo - (last + 1 - first)
    if (lo and first) or (hi and last + 1 < table.size):
        return None
    return lo - first, hi - (table.size - last - 1)


def _pad(
    writer: Writer, name: str, axis: int, rank: int, ends: tuple[int, int], fill: float
) -> str:
    pads = [0] * (2 * rank)
    pads[axis], pads[axis + rank] = ends
    value = writer.tensor(np.float64(fill))
    return writer.node("Pad", name, writer.whole(*pads), value, mode="constant")


def _gathered(writer: Writer, name: str, table: Table, axis: int, rank: int) -> str:
    """Each tap a gather; what a row lacks is its first tap with weight 0."""
    total = ""
    rows = [row or [(0, 1.0)] for row in table.rows()]
    for k in range(max(1, table.taps)):
        taps = [row[k] if k < len(row) else (row[0][0], 0.0) for row in rows]
        places = writer.tensor(np.array([index for index, _ in taps], np.int64))
        part = writer.node("Gather", name, places, axis=axis)
        weights = np.array([weight for _, weight in taps], np.float64)
        if (weights != 1).any():
            wide = weights.reshape(-1, *(1,) * (rank - 1 - axis))
            part = writer.node("Mul", part, writer.tensor(wide))
        total = writer.node("Add", total, part) if total else part
    return total


def _product(writer: Writer, name: str, table: Table, axis: int, rank: int) -> str:
    """The axis moved to the end, times the matrix, and moved back."""
    matrix = np.zeros((table.size, table.output))
    for o, row in enumerate(table.rows()):
        for index, weight in row:
            matrix[index, o] = weight
    order = [*(i for i in range(rank) if i != axis), axis]
    moved = name if axis == rank - 1 else writer.node("Transpose", name, perm=order)
    made = writer.node("MatMul", moved, writer.tensor(matrix))
    back = [order.index(i) for i in range(rank)]
    return made if axis == rank - 1 else writer.node("Transpose", made, perm=back)


def _filled(writer: Writer, name: str, table: Table, axis: int, rank: int, op: Resample) -> str:
    """Rows without taps hold what they are to be filled with."""
    if not table.empty:
        return name
    holes = np.array([not count for count in table.counts]).reshape(-1, *(1,) * (rank - 1 - axis))
    return writer.node("Where", writer.tensor(holes), writer.tensor(np.float64(op.fill)), name)


def grid_sample(writer: Writer, node: Node) -> str:
    """ValueError: a map that is no picture, for which this version of ONNX has no node."""
    op, (x, grid) = node.op, node.inputs
    assert isinstance(op, GridSample)
    if len(x.space) != 2 or len(grid.space) != 2 or op.how.positions:
        raise FaltungError(
            f"graph: GridSample of layer {node.layer!r} is expressed in ONNX for pictures only"
        )
    name = writer.name(grid)
    if not grid.batched:
        raise FaltungError(
            f"graph: GridSample of layer {node.layer!r} needs a grid for each sample in ONNX"
        )
    places = writer.node("Transpose", name, perm=[0, 2, 3, 1])
    modes = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
    return writer.node(
        "GridSample",
        writer.name(x),
        places,
        mode=modes[op.how.mode],
        padding_mode=op.how.padding,
        align_corners=int(op.how.align_corners),
    )
