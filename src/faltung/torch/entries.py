"""Entries of tensors, from ATen: joined, repeated, chosen by indices that are known, and put
somewhere.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.resample import MOST_TAPS, selected, tiled
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_entries import checked, elements, taken, triangle
from faltung.graph.foreign_formulas import expanded
from faltung.graph.foreign_maps import concatenated, padded, picked
from faltung.graph.foreign_products import product
from faltung.graph.foreign_resample import merged, resampled
from faltung.torch.arguments import Arguments
from faltung.torch.part import Leaf

Array = npt.NDArray[Any]
REAL = ("float32", "float64", "float16", "bfloat16")

# Joined -------------------------------------------------------------------------------------------


def _joined(a: Arguments) -> list[Tensor]:
    """The tensors of a list that have elements; of one kind."""
    given = [x for x in a["tensors"] if prod(x.shape)]
    if not given:
        raise Unsaid("a tensor without elements")
    made = [a.as_tensor(x, "tensors") for x in given]
    if len({x.dtype in REAL for x in made}) > 1 and a.dtype() not in REAL:
        raise Unsaid("real numbers beside others")
    return made


def cat(a: Arguments) -> Tensor:
    found = _joined(a)
    return concatenated(a.f, found, a.axis(found[0].rank))


def grown(f: Foreign, x: Tensor, axis: int) -> Tensor:
    """With an axis of one entry."""
    return f.reshaped(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def stack(a: Arguments) -> Tensor:
    found = _joined(a)
    axis = a.axis(found[0].rank + 1)
    return concatenated(a.f, [grown(a.f, x, axis) for x in found], axis)


def _stacked(rank: int, axis: int, column: bool = False) -> Any:
    """hstack and the like: tensors of at least ``rank`` axes along one of them."""

    def made(a: Arguments) -> Tensor:
        found = []
        for x in _joined(a):
            if x.rank < rank:
                shape = x.shape or (1,)
                front = (1,) * (min(rank, 2) - len(shape))
                shape = (*shape, 1) if column else (*front, *shape)
                x = a.f.reshaped(x, (*shape, *(1,) * (rank - len(shape))))
            found.append(x)
        along = 0 if axis and found[0].rank == 1 else axis
        return concatenated(a.f, found, along)

    return made


def block_diag(a: Arguments) -> Tensor:
    parts = [a.f.padded_rank(x, 2) for x in _joined(a)]
    before, total, made = 0, sum(x.shape[1] for x in parts), []
    for x in parts:
        pair = before, total - before - x.shape[1]
        made.append(padded(a.f, x, [(0, 0), pair]))
        before += x.shape[1]
    return concatenated(a.f, made, 0)


def meshgrid(a: Arguments) -> list[Tensor]:
    found = [a.f.reshaped(x, (x.size,)) for x in a.tensors("tensors")]
    turned = a.call.given.get("indexing") == "xy" and len(found) > 1
    order = [1, 0, *range(2, len(found))] if turned else list(range(len(found)))
    shape = tuple(found[i].size for i in order)
    made = []
    for number, x in enumerate(found):
        form = [1] * len(found)
        form[order.index(number)] = x.size
        made.append(expanded(a.f, a.f.reshaped(x, tuple(form)), shape))
    return made


def cartesian_prod(a: Arguments) -> Tensor:
    found = [a.f.reshaped(x, (x.size,)) for x in a.tensors("tensors")]
    if len(found) == 1:
        return found[0]
    wide = meshgrid(a)
    columns = [grown(a.f, a.f.reshaped(x, (x.size,)), 1) for x in wide]
    return concatenated(a.f, columns, 1)


def kron(a: Arguments) -> Tensor:
    x, y = a.floats("self"), a.floats("other")
    rank = max(x.rank, y.rank)
    x, y = a.f.padded_rank(x, rank), a.f.padded_rank(y, rank)
    labels = [f"{side}{i}" for i in range(rank) for side in "xy"]
    shape = tuple(n for pair in zip(x.shape, y.shape, strict=True) for n in pair)
    made = product(a.f, x, y, (labels[::2], labels[1::2], labels), shape)
    return a.f.reshaped(made, tuple(n * m for n, m in zip(x.shape, y.shape, strict=True)))


# Repeated and turned ------------------------------------------------------------------------------


def _repeated(a: Arguments, x: Tensor, times: Sequence[int]) -> Tensor:
    if min(times, default=1) < 1:
        raise Unsaid("a tensor without elements")
    x = a.f.padded_rank(x, len(times))
    times = (*(1,) * (x.rank - len(times)), *times)
    a.f.require(x.size * prod(times))
    counts = {i: tiled(x.shape[i], n) for i, n in enumerate(times) if n > 1}
    return resampled(a.f, x, counts)


def repeat(a: Arguments) -> Tensor:
    return _repeated(a, a.tensor("self"), a.wholes("repeats"))


def tile(a: Arguments) -> Tensor:
    return _repeated(a, a.tensor("self"), a.wholes("dims"))


def repeat_interleave(a: Arguments) -> Tensor:
    if a.call.overload == "Tensor":
        raise Unsaid("indices that follow from counts")
    x = a.tensor("self")
    times = a.array("repeats").reshape(-1)
    if not a.has("dim"):
        x, axis = a.f.reshaped(x, (x.size,)), 0
    else:
        axis = a.axis(x.rank)
    x = x if x.rank else a.f.reshaped(x, (1,))
    if times.size == 1:
        times = np.broadcast_to(times, (x.shape[axis],))
    return _picked(a, x, axis, np.repeat(np.arange(x.shape[axis]), times))


def _picked(a: Arguments, x: Tensor, axis: int, places: Array) -> Tensor:
    if not places.size:
        raise Unsaid("a tensor without elements")
    if places.size > MOST_TAPS:
        raise Unsaid("a selection of so many entries")
    return picked(a.f, x, axis, places.tolist())


def _flipped(a: Arguments, x: Tensor, axes: Sequence[int]) -> Tensor:
    tables = {i: selected(x.shape[i], range(x.shape[i])[::-1]) for i in axes if x.shape[i] > 1}
    return resampled(a.f, x, tables)


def flip(a: Arguments) -> Tensor:
    x = a.tensor("self")
    return _flipped(a, x, a.axes(x.rank, "dims") if a["dims"] and x.rank else ())


def roll(a: Arguments) -> Tensor:
    x, shifts = a.tensor("self"), a.wholes("shifts")
    if not a["dims"]:
        flat = _rolled(a, a.f.reshaped(x, (x.size,)), 0, shifts[0])
        return a.f.reshaped(flat, x.shape)
    for shift, axis in zip(shifts, a.axes(x.rank, "dims"), strict=True):
        x = _rolled(a, x, axis, shift)
    return x


def _rolled(a: Arguments, x: Tensor, axis: int, shift: int) -> Tensor:
    return _picked(a, x, axis, np.roll(np.arange(x.shape[axis]), shift))


def rot90(a: Arguments) -> Tensor:
    """A quarter turn from the first of two axes to the second, k times."""
    x, k = a.tensor("self"), a.whole("k") % 4
    first, second = a.axes(x.rank, "dims")
    order = list(range(x.rank))
    if k % 2:
        order[first], order[second] = second, first
    mirrored = {0: (), 1: (first,), 2: (first, second), 3: (second,)}[k]
    return _flipped(a, x.transposed(order), mirrored)


def triangular(a: Arguments) -> Tensor:
    return triangle(a.f, a.tensor("self"), a.whole("diagonal"), a.op == "triu")


# Chosen -------------------------------------------------------------------------------------------


def indexed(a: Arguments, shape: Shape) -> tuple[list[int], Array] | None:
    """The axes that indices name, and for each element of what they are broadcast to the number of
    its entry along these axes as one. None: nothing is indexed. Unsaid: indices that are computed.
    """
    axes: list[int] = []
    arrays: list[Array] = []
    axis = 0
    for found in a["indices"]:
        if found is None:
            axis += 1
            continue
        if not isinstance(found, Leaf) or found.trained:
            raise Unsaid("a selection by values (needs gather)")
        array = found.array
        if array.dtype == bool or found.dtype == "uint8":
            if array.shape != shape[axis : axis + array.ndim]:
                raise FaltungError(f"a mask of shape {array.shape}: does not fit {shape}")
            places = np.nonzero(array)
            if not array.ndim:
                raise Unsaid("a mask of one element")
        else:
            places = (array,)
        for each in places:
            arrays.append(checked(each, shape[axis], "indices"))
            axes.append(axis)
            axis += 1
    if not axes:
        return None
    wide = np.broadcast_arrays(*arrays)
    numbers = np.ravel_multi_index(tuple(wide), [shape[i] for i in axes])
    return axes, np.asarray(numbers)


def in_place(axes: Sequence[int]) -> bool:
    """Whether indexed axes are neighbours: then what the indices name stands in their place, and
    else in front.
    """
    return list(axes) == list(range(axes[0], axes[0] + len(axes)))


def index(a: Arguments) -> Tensor:
    x = a.tensor("self")
    found = indexed(a, x.shape)
    if found is None:
        return x
    axes, places = found
    if len(axes) == 1:
        axis = axes[0]
        made = _picked(a, x, axis, places.reshape(-1))
        return a.f.reshaped(made, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
    if places.size > MOST_TAPS:
        raise Unsaid("a selection of so many entries")
    if not in_place(axes):
        x = x.transposed([*axes, *(i for i in range(x.rank) if i not in axes)])
        axes = [*range(len(axes))]
    size = prod(x.shape[i] for i in axes)
    a.f.require(x.size // size * places.size)
    return merged(a.f, x, axes, selected(size, places.reshape(-1).tolist()), places.shape)


def index_select(a: Arguments) -> Tensor:
    x = a.tensor("self")
    wide = x if x.rank else a.f.reshaped(x, (1,))
    axis = a.axis(wide.rank)
    places = checked(a.array("index"), wide.shape[axis], "index").reshape(-1)
    made = _picked(a, wide, axis, places)
    return made if x.rank else a.f.reshaped(made, ())


def at(a: Arguments, name: str, size: int) -> Array:
    return checked(a.array(name), size, name)


def gather(a: Arguments) -> Tensor:
    x = a.tensor("self")
    wide = x if x.rank else a.f.reshaped(x, (1,))
    axis = a.axis(wide.rank)
    places = at(a, "index", wide.shape[axis])
    found = elements(wide.shape, axis, places if places.ndim else places.reshape(1))
    return a.f.reshaped(taken(a.f, wide, found, found.shape), places.shape)


def take_along_dim(a: Arguments) -> Tensor:
    x = a.tensor("self")
    if not a.has("dim"):
        return _taken(a, x, at(a, "indices", x.size).reshape(-1))
    axis = a.axis(x.rank)
    places = at(a, "indices", x.shape[axis])
    sides = [[*x.shape], [*places.shape]]
    for side in sides:
        side[axis] = 1
    shape = [int(n) for n in np.broadcast_shapes(*map(tuple, sides))]
    shape[axis] = places.shape[axis]
    places = np.broadcast_to(places, shape)
    shape[axis] = x.shape[axis]
    numbers = np.arange(x.size).reshape(x.shape)
    numbers = np.take_along_axis(np.broadcast_to(numbers, shape), places, axis)
    return _taken(a, x, numbers)


def _taken(a: Arguments, x: Tensor, places: Array) -> Tensor:
    if not places.size:
        raise Unsaid("a tensor without elements")
    return taken(a.f, x, places, places.shape)


def take(a: Arguments) -> Tensor:
    x = a.tensor("self")
    return _taken(a, x, at(a, "index", x.size))


TABLE: dict[str, Any] = {
    "cat": cat,
    "concat": cat,
    "concatenate": cat,
    "stack": stack,
    "hstack": _stacked(1, 1),
    "vstack": _stacked(2, 0),
    "row_stack": _stacked(2, 0),
    "dstack": _stacked(3, 2),
    "column_stack": _stacked(2, 1, column=True),
    "block_diag": block_diag,
    "meshgrid": meshgrid,
    "cartesian_prod": cartesian_prod,
    "kron": kron,
    "repeat": repeat,
    "tile": tile,
    "repeat_interleave": repeat_interleave,
    "flip": flip,
    "fliplr": lambda a: _flipped(a, a.tensor("self"), (1,)),
    "flipud": lambda a: _flipped(a, a.tensor("self"), (0,)),
    "roll": roll,
    "rot90": rot90,
    "tril": triangular,
    "triu": triangular,
    "index": index,
    "gather": gather,
    "take_along_dim": take_along_dim,
    "take": take,
}
