"""Entries of foreign tensors at places that are known: taken, put somewhere, and triangles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import at_least, select
from faltung.geometry.resample import MOST_TAPS, selected, table
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_resample import merged, resampled

Array = npt.NDArray[Any]


def checked(found: Array, size: int, name: str) -> Array:
    """Indices counted from the front. FaltungError: one that is none."""
    if found.dtype.kind not in "iu":
        raise FaltungError(f"{name}: must be whole numbers")
    if not found.size:
        raise Unsaid("a tensor without elements")
    if found.min() < -size or found.max() >= size:
        raise FaltungError(f"{name}: must be from {-size} to {size - 1}")
    return np.where(found < 0, found + size, found).astype(np.int64)


def taken(f: Foreign, x: Tensor, places: Array, shape: Shape) -> Tensor:
    """Any elements, by their numbers in the owner's order."""
    if places.size > MOST_TAPS:
        raise Unsaid("a selection of so many entries")
    f.require(places.size)
    flat = f.reshaped(x, (x.size,))
    made = resampled(f, flat, {0: selected(x.size, places.ravel().tolist())})
    return f.reshaped(made, shape)


def elements(shape: Shape, axis: int, indices: Array) -> Array:
    """The numbers of the elements that indices along an axis name, each where it stands."""
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return np.asarray(np.ravel_multi_index(tuple(np.broadcast_arrays(*places)), shape))


def tuples(indices: Array, sizes: Shape) -> Array:
    """The numbers of the entries that rows of indices name, of axes of these sizes."""
    found = np.zeros(indices.shape[:-1], np.int64)
    for k, size in enumerate(sizes):
        found = found * size + checked(indices[..., k], size, "indices")
    return found


def scattered(
    f: Foreign, x: Tensor, updates: Tensor, places: Array, each: int, add: bool
) -> Tensor:
    """Rows of ``each`` numbers put in these places, or added to what is there."""
    count = x.size // each
    if max(count, len(places)) > MOST_TAPS:
        raise Unsaid("a selection of so many entries")
    rows: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    for number, place in enumerate(places.tolist()):
        if add:
            rows[place].append((number, 1.0))
        else:
            rows[place] = [(number, 1.0)]
    flat = f.reshaped(x, (count, each))
    new = resampled(f, f.reshaped(updates, (len(places), each)), {0: table(len(places), rows)})
    if add:
        made = formula(f, lambda p, q: p + q, flat, new)
    else:
        made = over(f, flat, new, 0, [bool(r) for r in rows])
    return f.reshaped(made, x.shape)


def over(f: Foreign, old: Tensor, new: Tensor, axis: int, there: Sequence[bool]) -> Tensor:
    """The new entries of an axis where there are some: a sum would change the sign of a zero."""
    mask = np.array(there, np.float64).reshape(-1, *(1,) * (old.rank - 1 - axis))
    return formula(f, lambda m, p, q: select(at_least(m, 0.5), q, p), mask, old, new)


def triangle(f: Foreign, x: Tensor, above: int, upper: bool) -> Tensor:
    """A triangle of each matrix, from the diagonal number ``above`` on."""
    rows, columns = x.shape[-2:]
    above = min(max(above, -rows - columns), rows + columns)
    keep = np.triu if upper else np.tril
    mask = keep(np.ones((rows, columns), bool), above).ravel().tolist()
    places = selected(rows * columns, (i if there else None for i, there in enumerate(mask)))
    return merged(f, x, (x.rank - 2, x.rank - 1), places, (rows, columns))
