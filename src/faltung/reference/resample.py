"""The definition of resampling: along each axis in turn, a sum over the taps of each row.

Float64 throughout. ``x``: (batch, channels, *space); ``tables``: for channels and space a table or
None; ``fill``: what an element is for which one of the tables has an empty row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faltung.geometry.errors import FaltungError
from faltung.geometry.resample import Table

Array = NDArray[Any]


def resample(x: ArrayLike, tables: Sequence[Table | None], fill: float = 0.0) -> Array:
    """Every axis of ``x`` but the first through its table. ValueError: sizes that do not fit."""
    made = np.asarray(x, np.float64)
    if made.ndim != 1 + len(tables):
        raise FaltungError(f"tables: must be {made.ndim - 1}, one for each axis, not {len(tables)}")
    empty: Array = np.zeros((1,) * made.ndim, bool)
    for axis, table in enumerate(tables, 1):
        if table is None:
            continue
        if table.size != made.shape[axis]:
            raise FaltungError(f"x.shape={np.shape(x)}: axis {axis} must have {table.size} entries")
        made = along(made, table, axis)
        none = np.array([not count for count in table.counts])
        empty = empty | none.reshape(-1, *(1,) * (made.ndim - 1 - axis))
    return np.where(empty, fill, made)


def along(x: Array, table: Table, axis: int) -> Array:
    """One axis of an array through a table."""
    moved = np.moveaxis(x, axis, 0)
    made = np.zeros((table.output, *moved.shape[1:]))
    for o in range(table.output):
        for index, weight in table.row(o):
            made[o] += weight * moved[index]
    return np.moveaxis(made, 0, axis)
