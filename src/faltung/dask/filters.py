"""The functions of ``faltung.ndimage`` on Dask arrays: one mechanism, from what each reads.

A task filters its chunk with what the function reads around it. Where that lies beyond an end of
the array, it is continued by copies of entries; a constant border alone is left to the function,
because filters along several axes read it anew along each.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import product
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from faltung import ndimage
from faltung.dask.arrays import dask_array, lazy, one_thread, present
from faltung.dask.blocks import Blocks, Gather
from faltung.dask.halo import spans_of
from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.ndimage.arguments import output, plain
from faltung.ndimage.calls import call, recipe_of
from faltung.ndimage.reads import arguments
from faltung.ndimage.recipe import Recipe

Array = npt.NDArray[Any]

SUMMARY = """``faltung.ndimage.{name}`` of a Dask array: lazy, with the bits of the whole array.

Chunks may have any size along every axis, also less than the filter reads; nothing is rechunked.

Parameters
----------
input : dask.array.Array
*args, **kwargs
    As for ``faltung.ndimage.{name}``; ``output`` is a dtype.

Returns
-------
dask.array.Array
    With the chunks of the input.

Raises
------
TypeError, ValueError
    As the function; also for chunks of unknown size, and for arrays with masks or units.
"""


F = TypeVar("F", bound=Callable[..., Any])


def lazily(function: F) -> F:
    """The same function of a Dask array; for type checkers it has the signature of that."""
    name = function.__name__

    def on_dask(input: Any, *args: Any, **kwargs: Any) -> Any:
        return _filtered(name, input, args, kwargs)

    on_dask.__name__ = on_dask.__qualname__ = name
    on_dask.__doc__ = SUMMARY.format(name=name)
    made: Any = on_dask
    made.__wrapped__ = function
    return cast(F, made)


convolve = lazily(ndimage.convolve)
convolve1d = lazily(ndimage.convolve1d)
correlate = lazily(ndimage.correlate)
correlate1d = lazily(ndimage.correlate1d)
gaussian_filter = lazily(ndimage.gaussian_filter)
gaussian_filter1d = lazily(ndimage.gaussian_filter1d)
gaussian_gradient_magnitude = lazily(ndimage.gaussian_gradient_magnitude)
gaussian_laplace = lazily(ndimage.gaussian_laplace)
grey_dilation = lazily(ndimage.grey_dilation)
grey_erosion = lazily(ndimage.grey_erosion)
laplace = lazily(ndimage.laplace)
maximum_filter = lazily(ndimage.maximum_filter)
maximum_filter1d = lazily(ndimage.maximum_filter1d)
minimum_filter = lazily(ndimage.minimum_filter)
minimum_filter1d = lazily(ndimage.minimum_filter1d)
prewitt = lazily(ndimage.prewitt)
sobel = lazily(ndimage.sobel)
uniform_filter = lazily(ndimage.uniform_filter)
uniform_filter1d = lazily(ndimage.uniform_filter1d)


@dataclass(frozen=True)
class Call:
    """What all tasks share, and each worker gets once: the function, its arguments, the dtype."""

    name: str
    given: tuple[Any, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """The task of one chunk: what it reads, and what is kept of the result."""

    gather: Gather
    keep: tuple[slice, ...]

    def __call__(self, held: Call, *sources: object) -> Array:
        with one_thread():
            made = call(held.name, self.gather(sources), held.dtype, *held.given)
        where: Any = (..., *self.keep)
        kept: Array = made[where]
        return kept


def _filtered(name: str, x: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = lazy(x, "input")
    positional, out = arguments(name, args, kwargs)
    for value in (out, *positional):
        present("kernel", value)
    if isinstance(out, np.ndarray):
        raise FaltungTypeError(
            "output: must be a dtype, because the result is lazy; to write it to a file, use "
            "faltung.dask.to_zarr"
        )
    dtype = plain("input", np.empty(0, given.dtype)).dtype
    recipe = recipe_of(name, given.shape, dtype, positional)
    none = (0,) * given.ndim
    made = output(out, none, dtype, recipe.complex_result, recipe.promote).dtype
    held = Call(name, positional, made.newbyteorder("="))
    first = ((recipe.count,),) if recipe.count else ()
    if not given.size:
        shape = (*first[0], *given.shape) if first else given.shape
        return dask_array().empty(shape, dtype=held.dtype)
    return _graph(given, held, recipe, first)


def _graph(x: Any, held: Call, recipe: Recipe, first: tuple[tuple[int, ...], ...]) -> Any:
    """``first``: the chunks of an axis before those of ``x``, one for each kernel."""
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    name = f"faltung-{held.name}-{tokenize(x.name, held.name, held.given, held.dtype)}"
    blocks, shared, halo = Blocks(x, f"{name}-frame"), f"{name}-call", borders(recipe, x.ndim)
    kept: dict[Hashable, tuple[slice, ...]] = {}
    for index in product(*(range(len(along)) for along in x.chunks)):
        key: Hashable = (name, *(0 for _ in first), *index)
        ends = [spans_of(along)[i] for along, i in zip(x.chunks, index, strict=True)]
        read = [_read(*row) for row in zip(ends, halo, x.shape, strict=True)]
        blocks.add(key, read, [found[-1] if found else Border("constant") for _, _, found in halo])
        kept[key] = tuple(
            slice(a - begin, b - begin) for (a, b), (begin, _) in zip(ends, read, strict=True)
        )
    layer, gathers = blocks.tasks()
    layer[shared] = held
    for key, ((gather,), keys) in gathers.items():
        layer[key] = (Filter(gather, kept[key]), shared, *keys)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[x])
    meta = np.empty((0,) * (x.ndim + len(first)), held.dtype)
    return dask_array().Array(graph, name, (*first, *x.chunks), dtype=held.dtype, meta=meta)


# For an axis what is read before and behind an output, and in what borders.
Halo = tuple[int, int, tuple[Border, ...]]


def borders(recipe: Recipe, ndim: int) -> list[Halo]:
    """What a call reads along each axis, in all of its passes; one border for each mode."""
    found: list[Halo] = [(0, 0, ())] * ndim
    for part in (part for parts in recipe.passes for part in parts):
        for axis, (before, after, border) in part.work.halo().items():
            low, high, there = found[axis]
            if border.mode not in [other.mode for other in there]:
                there = (*there, border)
            found[axis] = max(low, before), max(high, after), there
    return found


def _read(ends: Sequence[int], halo: Halo, size: int) -> tuple[int, int]:
    """The positions of an axis that a task gets for the outputs of a chunk."""
    (start, stop), (before, after, there) = ends, halo
    low, high = start - before, stop + after
    if low >= 0 and high <= size:
        return low, high
    # The function itself continues a whole axis, and ends at constants; passes that continue an
    # axis in different ways need its ends as they are.
    if len(there) > 1 or (start, stop) == (0, size):
        return 0, size
    return (max(low, 0), min(high, size)) if there[0].mode == "constant" else (low, high)
