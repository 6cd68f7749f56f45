"""Pools and parts of foreign tensors, said in the operations of a graph.

Each looks at a tensor as the operation wants it: an axis as the channels, or with all that lies
behind it in memory as one. ``Foreign`` copies where memory is in another order.
"""

from collections.abc import Sequence
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import operand
from faltung.geometry.pool import PoolSpec
from faltung.geometry.resample import padded as table_of_pads
from faltung.geometry.resample import selected
from faltung.graph.foreign import Foreign, Tensor, Unsaid, numbers
from faltung.graph.foreign_resample import resampled
from faltung.graph.ops import Concat, Elementwise, Pool, Slice
from faltung.graph.value import Value

Array = npt.NDArray[Any]

# Numbers of a constant that becomes a map at most.
MOST_SPREAD = 1 << 26
# Entries that are added to one side of an axis at most: plans look at each of them.
MOST_PADDING = 1 << 16


# Pools --------------------------------------------------------------------------------------------


def fixed(f: Foreign, weight: Array) -> Value:
    """A weight that is not trained."""
    order = (*range(2, weight.ndim), 1, 0)
    return f.parameter("fixed", weight, inner=weight.shape, order=order, trained=False)


def pooled(f: Foreign, value: Value, spec: PoolSpec) -> Value:
    return f.node(Pool(spec), (value,), (value.channels, *spec.output))


def last(f: Foreign, x: Tensor, axis: int) -> tuple[Tensor, Value]:
    """The tensor with an axis as the last in memory; as a map of which it is the channels."""
    numbers(x)
    inside = x.axes[axis]
    made = f.ordered(x, [*(i for i in range(len(x.dims)) if i not in inside), *inside])
    return made, f.wide(made, x.shape[axis])


# Parts --------------------------------------------------------------------------------------------


def _behind(f: Foreign, x: Tensor, axis: int) -> tuple[Tensor, Value, int]:
    """The tensor with the axis as one of its dims, and as a map of which that axis and all behind
    it in memory are the channels; and how many numbers there are for each entry.
    """
    own = x.axes[axis]
    if not own:  # one entry: an axis of its own in front of all others
        return x, f.vector(x.value), x.size
    if own != tuple(range(own[0], own[0] + len(own))):
        x = gathered(f, x)
        own = x.axes[axis]
    after = prod(x.dims[own[-1] + 1 :])
    x = resized(x, x.value, axis, x.shape[axis])
    return x, f.wide(x, x.shape[axis] * after), after


def resized(x: Tensor, value: Value, axis: int, size: int) -> Tensor:
    """With another number of entries in an axis, which is one piece of memory, and one dim then."""
    own = x.axes[axis]
    first, count = (own[0], len(own)) if own else (0, 0)
    new = (size,) if own and size > 1 else ()
    dims = x.dims[:first] + new + x.dims[first + count :]

    def renumbered(dims: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i if i < first else i + len(new) - count for i in dims)

    axes = [renumbered(each) for each in x.axes]
    axes[axis] = (first,) * len(new)
    return Tensor(value, dims, tuple(axes), x.dtype)


def sliced(f: Foreign, x: Tensor, axis: int, start: int, count: int, step: int = 1) -> Tensor:
    """``count`` entries of an axis from ``start`` on, every ``step``-th."""
    if (start, count, step) == (0, x.shape[axis], 1):
        return x
    if count < 1:
        raise Unsaid("a tensor without elements")
    numbers(x)
    whole = x
    if step != 1 and count > 1:
        entries = range(start, start + count * step, step)
        return resampled(f, x, {axis: selected(x.shape[axis], entries)})
    x, value, after = _behind(f, x, axis)
    made = f.node(Slice(start * after), (value,), (count * after, *value.space))
    part = resized(x, made, axis, count)
    f.cut_from[part] = whole, axis, start
    return part


def gathered(f: Foreign, x: Tensor) -> Tensor:
    """With each axis of the owner in one piece of memory."""
    pieces = [axis for axis in x.axes if axis]
    if all(axis == tuple(range(axis[0], axis[0] + len(axis))) for axis in pieces):
        return x
    return f.arranged(x, x.memory)


# Pools --------------------------------------------------------------------------------------------


def padded(
    f: Foreign, x: Tensor, pairs: Sequence[tuple[int, int]], mode: str = "zeros", fill: float = 0.0
) -> Tensor:
    """The tensor with entries before and after each axis; negative numbers are a crop. fill: what
    "zeros" adds.
    """
    f.require(prod(n + lo + hi for n, (lo, hi) in zip(x.shape, pairs, strict=True)))
    tables = {}
    for axis, (lo, hi) in enumerate(pairs):
        if lo <= 0 and hi <= 0:
            x = sliced(f, x, axis, -lo, x.shape[axis] + lo + hi)
        else:
            tables[axis] = table_of_pads(x.shape[axis], lo, hi, mode)
    return resampled(f, x, tables, fill)


def concatenated(f: Foreign, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one after the other along an axis."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    again = _put_together(f, parts, axis)
    if again is not None:
        return again
    shapes = {(*p.shape[:axis], *p.shape[axis + 1 :]) for p in parts}
    if len(shapes) > 1:
        raise FaltungError(f"axis={axis}: shapes {', '.join(str(p.shape) for p in parts)} differ")
    for part in parts:
        numbers(part)
    largest = max(parts, key=lambda p: p.size)
    memory = gathered(f, largest).memory
    rest = [n for i, n in enumerate(first.shape) if i != axis]
    place = memory.index(axis)
    after = prod(first.shape[i] for i in memory[place + 1 :])
    before = prod(rest) // after
    arranged = [f.arranged(part, memory) for part in parts]
    channels = [part.shape[axis] * after for part in parts]
    values = [f.wide(part, count) for part, count in zip(arranged, channels, strict=True)]
    forms = {(value.samples, value.space) for value in values}
    if len(forms) > 1:
        samples = gcd(*(value.samples for value in values))
        pairs = zip(values, channels, strict=True)
        values = [f.seen(v, samples, (count, before // samples)) for v, count in pairs]
    made = f.node(Concat(), values, (sum(channels), *values[0].space))
    sizes = list(first.shape)
    sizes[axis] = sum(part.shape[axis] for part in parts)
    return f.result(made, tuple(sizes), first.dtype, memory)


def _put_together(f: Foreign, parts: Sequence[Tensor], axis: int) -> Tensor | None:
    """Parts of one tensor in another order, as a roll or a circular padding is spelled out: its
    entries in that order. None where they are no such parts.
    """
    found = [f.cut_from.get(part) for part in parts]
    wholes = {whole for whole, along, _ in filter(None, found) if along == axis}
    if len(wholes) != 1:
        return None
    (whole,) = wholes
    indices: list[int] = []
    for part, origin in zip(parts, found, strict=True):
        if part != whole and (origin is None or origin[:2] != (whole, axis)):
            return None
        start = 0 if origin is None or part == whole else origin[2]
        indices += range(start, start + part.shape[axis])
    return picked(f, whole, axis, indices)


def known(f: Foreign, array: Array, dtype: str) -> Tensor:
    """A constant as a tensor."""
    if not 0 < array.size <= MOST_SPREAD:
        raise Unsaid("a large constant, or one without elements")
    flat = np.ascontiguousarray(array).reshape(-1)
    vector = f.parameter("constant", flat, decay=False, of=array)
    value = f.node(Elementwise(flat.shape, (operand(0),)), (vector,), flat.shape)
    return f.result(value, array.shape, dtype)


def picked(f: Foreign, x: Tensor, axis: int, indices: Sequence[int]) -> Tensor:
    """These entries of an axis, in this order."""
    numbers(x)
    first, count = indices[0], len(indices)
    if list(indices) == list(range(first, first + count)):
        return sliced(f, x, axis, first, count)
    f.require(x.size // x.shape[axis] * count)
    return resampled(f, x, {axis: selected(x.shape[axis], indices)})
