"""Where tiles read and write: a table for each axis, and the code that reads it.

A tile of an axis is ``m`` outputs that lie a dilation apart, and the ``alpha`` inputs that they
read. Borders, dilation and what is left over at the end of a row are entries of the table, so that
no tile is special: an input that is a zero and an output that does not exist are MISSING.
"""

from collections.abc import Sequence

import numpy as np

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.addresses import sources_at
from faltung.methods.base.correlation import Window
from faltung.methods.base.kernel import Arguments
from faltung.methods.base.step import MISSING, Argument, Table
from faltung.methods.winograd.transforms import Sizes, Transform


@dataclass(frozen=True, slots=True, eq=False)
class AxisTiles:
    """``inputs`` (tiles, alpha) and ``outputs`` (tiles, m): positions along the axis, or -1."""

    inputs: Table
    outputs: Table

    @property
    def count(self) -> int:
        return len(self.inputs)


def tiles_along(window: Window, t: Transform) -> int:
    """How many tiles cover the axis."""
    axis = window.axis
    whole, rest = divmod(axis.output, axis.dilation)
    return rest * -(-(whole + 1) // t.m) + (axis.dilation - rest) * -(-whole // t.m)


def axis_tiles(window: Window, t: Transform) -> AxisTiles:
    """The tiles of one axis, those of one phase of the dilation after those of another.

    Strides are for axes of one tap only (``t`` is F(1,1) there).
    """
    axis = window.axis
    step = axis.dilation if t.r > 1 else 1
    phases = range(min(step, axis.output))
    firsts = [range(phase, axis.output, step * t.m) for phase in phases]
    first = np.concatenate(firsts, dtype=np.int64)[:, None]
    inputs = sources_at(axis, first * axis.stride - axis.lo + np.arange(t.alpha) * step)
    outputs = first + np.arange(t.m) * step
    return AxisTiles(inputs, np.where(outputs < axis.output, outputs, -1))


def tile_counts(axes: Sequence[AxisTiles]) -> dict[str, Argument]:
    """The arguments ``tiles0``, ...: tiles of each axis."""
    return {f"tiles{i}": axis.count for i, axis in enumerate(axes)}


def joined(tables: Sequence[Table]) -> Table:
    """Tables one after another, as one list of numbers."""
    return np.ascontiguousarray(np.concatenate([t.reshape(-1) for t in tables]))


# Code ---------------------------------------------------------------------------------------------


def tile_tables(
    v: Vectors, given: Arguments, lengths: Sequence[int], number: str, name: str
) -> tuple[str, list[str]]:
    """The sample of tile ``number``, and for each axis where its entries are in the table ``name``.

    lengths: entries of a tile along each axis.
    """
    f, rest, places = v.function, number, []
    for i in reversed(range(len(lengths))):
        rest, at = f.divmod(rest, given[f"tiles{i}"])
        places.append(at)
    table, found = given[name], []
    for i, (length, at) in enumerate(zip(lengths, reversed(places), strict=True)):
        found.append(f.at(table, f.mul(at, length), "i64"))
        table = f.at(table, f.mul(given[f"tiles{i}"], length), "i64")
    return rest, found


def fill_addresses(
    v: Vectors, base: str, missing: str, tables: Sequence[str], lengths: Sequence[int], to: str
) -> None:
    """Write the addresses of a tile's entries, in row order; ``missing`` where an axis has none."""
    f = v.function

    def level(axis: int, offset: str, absent: str | None, place: Index) -> None:
        if axis == len(lengths):
            chosen = v.at(base, offset)
            if absent is not None:
                chosen = f.value(f"select i1 {absent}, ptr {missing}, ptr {chosen}")
            f.emit(f"store ptr {chosen}, ptr {f.at(to, place, 'ptr')}, align 8")
            return
        length = lengths[axis]

        def inside(i: Index) -> None:
            entry = f.word(tables[axis], i)
            none = f.value(f"icmp eq i64 {entry}, {MISSING}")
            either = none if absent is None else f.value(f"or i1 {absent}, {none}")
            total = entry if offset == "0" else f.add(offset, entry)
            nearer = i if str(place) == "0" else f.add(f.mul(place, length), i)
            level(axis + 1, total, either, nearer)

        if length == 1:
            inside(0)
        else:
            with f.loop(0, length, runs=True) as entry:
                inside(entry.index)

    level(0, "0", None, 0)


def inputs_of(sizes: Sizes) -> list[int]:
    """Inputs of a tile along each axis."""
    return [m + r - 1 for m, r in sizes]


def outputs_of(sizes: Sizes) -> list[int]:
    """Outputs of a tile along each axis."""
    return [m for m, _ in sizes]
