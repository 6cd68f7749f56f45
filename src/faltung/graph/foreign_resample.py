"""Axes of foreign tensors through tables: other sizes, entries chosen, moved, masked or added.

A table may belong to several axes at once, merged into one: then it is any arrangement that is
known beforehand, such as a triangle of matrices.
"""

from collections.abc import Mapping, Sequence
from math import prod

from faltung.geometry.resample import Table
from faltung.graph.foreign import Foreign, Shape, Tensor, numbers
from faltung.graph.ops import Resample


def resampled(f: Foreign, x: Tensor, tables: Mapping[int, Table], fill: float = 0.0) -> Tensor:
    """The tensor with these axes of its owner through tables. fill: what empty rows are."""
    numbers(x)
    tables = {axis: table for axis, table in tables.items() if not table.identity}
    if not tables:
        return x
    shape = tuple(tables[i].output if i in tables else n for i, n in enumerate(x.shape))
    x = _in_pieces(f, x)
    value, places = x.value, _places(x, tables)
    if places is None and x.rank > 2 and min(tables) > 1:
        # Maps that lie channels first: what comes after would turn them round anyway.
        mapped = f.map(x)
        x = f.result(mapped, x.shape, x.dtype, (0, *range(2, x.rank), 1))
        value, places = mapped, _places(x, tables)
    if places is None:
        samples, sizes, along = _runs(x, tables, f.front(x))
        value = f.seen(value, samples, (sizes[-1], *sizes[:-1]))
    else:
        along = {place: tables[axis] for axis, place in places.items()}
    rank = len(value.shape)
    order = (rank - 1, *range(rank - 1))  # the channels lie last
    op = Resample(tuple(along.get(place) for place in order), fill)
    made = f.node(op, (value,), op.made(value.shape))
    return f.result(made, shape, x.dtype, x.memory)


def _in_pieces(f: Foreign, x: Tensor) -> Tensor:
    """With each axis of the owner in one piece of memory."""
    pieces = (axis for axis in x.axes if axis)
    if all(axis == tuple(range(axis[0], axis[0] + len(axis))) for axis in pieces):
        return x
    return f.arranged(x, x.memory)


def _places(x: Tensor, tables: Mapping[int, Table]) -> dict[int, int] | None:
    """For each axis with a table which axis of the value's map it is, space first and the channels
    last; None if one of them is none of these.
    """
    value, memory = x.value, x.memory
    sizes = (value.samples, *value.space, value.channels)

    def rest(i: int, j: int, product: int) -> dict[int, int] | None:
        """Axes from number ``i`` of the memory on over the value's axes from ``j`` on, whose first
        has ``product`` entries already.
        """
        if i == len(memory):
            left = product == sizes[j] and all(n == 1 for n in sizes[j + 1 :])
            return {} if left else None
        axis, size = memory[i], x.shape[memory[i]]
        if axis in tables:
            if product == 1 and size == sizes[j] and j > 0:
                found = rest(i + 1, j, size) if size > 1 else _alone(i, j)
                if found is not None and j - 1 not in found.values():
                    return {axis: j - 1, **found}
        elif sizes[j] % (product * size) == 0:
            found = rest(i + 1, j, product * size)
            if found is not None:
                return found
        if product == sizes[j] and j + 1 < len(sizes):
            return rest(i, j + 1, 1)
        return None

    def _alone(i: int, j: int) -> dict[int, int] | None:
        """The same behind an axis of one entry that has a place to itself."""
        if i + 1 == len(memory):
            return {} if all(n == 1 for n in sizes[j + 1 :]) else None
        return rest(i + 1, j + 1, 1) if j + 1 < len(sizes) else None

    return rest(0, 0, 1)


def _runs(
    x: Tensor, tables: Mapping[int, Table], front: int
) -> tuple[int, list[int], dict[int, Table]]:
    """The samples, which ``front`` dims are, and the other sizes in the order of memory, with each
    axis that has a table for itself.
    """
    sizes: list[int] = []
    along: dict[int, Table] = {}
    merged = False
    if any(i < front for axis in tables for i in x.axes[axis]):
        front = 0
    for axis in x.memory:
        size = prod(x.dims[i] for i in x.axes[axis] if i >= front)
        if axis in tables:
            along[len(sizes)] = tables[axis]
            sizes.append(size)
        elif merged:
            sizes[-1] *= size
        else:
            sizes.append(size)
        merged = axis not in tables
    return prod(x.dims[:front]), sizes, along


def merged(f: Foreign, x: Tensor, axes: Sequence[int], table: Table, shape: Shape) -> Tensor:
    """Neighbouring axes of the owner as one, through a table, and split into ``shape``."""
    first, last = axes[0], axes[-1]
    before, after = x.shape[:first], x.shape[last + 1 :]
    joined = f.reshaped(x, (*before, prod(x.shape[first : last + 1]), *after))
    made = resampled(f, joined, {first: table})
    return f.reshaped(made, (*before, *shape, *after))
