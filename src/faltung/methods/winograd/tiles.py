"""Where the tiles of minimal filtering read and write: a table for each axis.

A tile of an axis is ``m`` outputs that lie a dilation apart, and the ``alpha`` inputs that they
read. Borders, dilation and what is left over at the end of a row are entries of the table, so that
no tile is special: an input that is a zero and an output that does not exist are MISSING.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faltung.methods.base.correlation import Window
from faltung.methods.base.step import MISSING, Table, table
from faltung.methods.winograd.points import Transform


@dataclass(frozen=True, slots=True, eq=False)
class AxisTiles:
    """``inputs`` (tiles, alpha) and ``outputs`` (tiles, m): positions along the axis, or -1."""

    inputs: Table
    outputs: Table

    @property
    def count(self) -> int:
        return len(self.inputs)


def count(window: Window, t: Transform) -> int:
    """How many tiles cover the axis."""
    axis = window.axis
    whole, rest = divmod(axis.output, axis.dilation)
    return rest * -(-(whole + 1) // t.m) + (axis.dilation - rest) * -(-whole // t.m)


def axis_tiles(window: Window, t: Transform) -> AxisTiles:
    """The tiles of one axis, those of one phase of the dilation after those of another.

    Strides are for axes of one tap only (``t`` is F(1,1) there).
    """
    axis = window.axis
    inputs: list[list[int]] = []
    outputs: list[list[int]] = []
    step = axis.dilation if t.r > 1 else 1
    for phase in range(min(step, axis.output)):
        for first in range(phase, axis.output, step * t.m):
            where = [first * axis.stride - axis.lo + i * step for i in range(t.alpha)]
            found = [axis.source(i) if i < axis.size + axis.hi else None for i in where]
            inputs.append([-1 if i is None else i for i in found])
            places = [first + i * step for i in range(t.m)]
            outputs.append([o if o < axis.output else -1 for o in places])
    return AxisTiles(table(inputs, t.alpha), table(outputs, t.m))


def offsets(positions: Table, stride: int) -> Table:
    """Positions as offsets in elements; MISSING stays."""
    return np.where(positions < 0, MISSING, positions * stride)


def joined(tables: Sequence[Table]) -> Table:
    """Tables one behind the other, as one list of numbers."""
    return np.ascontiguousarray(np.concatenate([t.reshape(-1) for t in tables]))
