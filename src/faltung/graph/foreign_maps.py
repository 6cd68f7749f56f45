"""Formulas, reductions and parts of foreign tensors, said in the operations of a graph.

Where a graph has no word for a step yet, it is said exactly in others: a broadcast along positions
is a transposed convolution of each channel with ones, one along channels a 1x1 convolution with
ones, a crop a convolution with one tap and negative padding. ``x * 1 + 0`` is x.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.adjoint import transposed
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, constant, operand
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.ops import (
    Concat,
    Convolve,
    ConvolveInput,
    Elementwise,
    Pool,
    Reduction,
    Slice,
    Softmax,
)
from faltung.graph.value import Value

Array = npt.NDArray[Any]
Operand = Tensor | Array

# Numbers of a constant that is spread over a map at most.
MOST_SPREAD = 1 << 26
# Parts that a tensor is cut into at most, to be put together in another order.
MOST_PARTS = 256
# Entries that are added to one side of an axis at most: plans look at each of them.
MOST_PADDING = 1 << 16


# Formulas -----------------------------------------------------------------------------------------


def formula(
    f: Foreign, expr: Callable[..., Expr], *operands: Operand, dtype: str | None = None
) -> Tensor:
    """A formula of tensors and constants, which are broadcast as in NumPy. dtype: of the result, by
    default that of the tensors.
    """
    tensors = [o for o in operands if isinstance(o, Tensor)]
    shape = broadcast([o.shape for o in operands])
    rank = len(shape)
    if not all(shape):
        raise Unsaid("a tensor without elements")
    wide = [f.padded_rank(t, rank) for t in tensors]
    base = next((t for t in wide if t.shape == shape), None)
    if base is None:
        largest = max(range(len(wide)), key=lambda i: wide[i].size)
        base = expanded(f, wide[largest], shape)
        # Where several have to grow, each does so against the base.
        tensors_by = {id(tensors[largest]): base}
    else:
        tensors_by = {}
    back = tuple(int(i) for i in np.argsort(base.order))
    frame: list[Operand | float] = []
    for each in operands:
        if isinstance(each, Tensor):
            made = tensors_by.get(id(each)) or f.padded_rank(each, rank)
            frame.append(base if made is base else made.transposed(back))
        else:
            frame.append(_constant(each, rank, back))
    return _in_frame(f, expr, base, frame, dtype or base.dtype)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    try:
        return tuple(map(int, np.broadcast_shapes(*shapes)))
    except ValueError:
        raise FaltungError(f"shapes {', '.join(map(str, shapes))}: do not broadcast") from None


def _constant(array: Array, rank: int, back: tuple[int, ...]) -> Array | float:
    """A constant in the frame of the base, or a number where all elements are the same."""
    if array.size == 1 or (array.size <= 1 << 16 and bool((array == array.flat[0]).all())):
        return float(array.flat[0])
    return array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(back)


def _in_frame(
    f: Foreign,
    expr: Callable[..., Expr],
    base: Tensor,
    frame: Sequence[Operand | float],
    dtype: str,
) -> Tensor:
    """The formula where all operands have their axes in the order of the base's numbers."""
    dims = base.dims
    straight = f.result(base.value, dims, base.dtype)
    shape = _frame_shape(f, base, frame)
    inputs: list[Value] = []
    terms: list[Expr] = []
    for each in frame:
        if isinstance(each, float):
            terms.append(constant(each))
            continue
        if isinstance(each, Tensor):
            value = _operand(f, each, straight, shape, each is base)
        else:
            value = _vector(f, each, dims, shape)
        if value not in inputs:
            inputs.append(value)
        terms.append(operand(inputs.index(value)))
    made = expr(*terms)
    # A map comes first: it says how large the formula is.
    first = f.form(straight, shape)
    if not made.operands():
        raise Unsaid("a formula that does not depend on its operands")
    if first not in inputs:
        raise Unsaid("a formula without an operand of its shape")
    value = f.node(Elementwise(shape, (made,)), inputs, shape)
    return Tensor(value, dims, base.order, dtype)


def _frame_shape(f: Foreign, base: Tensor, frame: Sequence[Operand | float]) -> Shape:
    """The shape in which the base is read: its channels are all axes along which a constant or a
    vector for each sample differs.
    """
    shape = base.value.shape
    axes = base.dims
    first = 1 if f.batch > 1 or (axes[:1] == (1,)) else 0
    needed = 0
    for each in frame:
        if isinstance(each, float) or (isinstance(each, Tensor) and each.shape == axes):
            continue
        varied = [i for i, size in enumerate(each.shape) if size > 1]
        if varied and varied[0] < first:
            if isinstance(each, Tensor):  # one number for each sample
                varied = [i for i in varied if i >= first]
            else:
                raise Unsaid("a constant that differs between the samples of a batch")
        if varied and not isinstance(each, Tensor):
            needed = max(needed, varied[-1] + 1)
    if needed:
        for stop in range(needed, len(axes) + 1):
            if prod(axes[first:stop]) == shape[0]:
                return shape
        channels = prod(axes[first:needed])
        rest = axes[needed:]
        return (channels, *rest) if channels > 1 or rest else shape
    return shape


def _operand(f: Foreign, x: Tensor, base: Tensor, shape: Shape, same: bool) -> Value:
    if same or x.shape == base.shape:
        return f.form(base if same else x, shape)
    first = 1 if f.batch > 1 or base.dims[:1] == (1,) else 0
    sizes = x.shape[first:]
    stop = next(
        (i for i in range(len(sizes) + 1) if prod(base.dims[first : first + i]) == shape[0]), None
    )
    if (
        stop is not None
        and len(shape) > 1
        and x.shape[:first] == base.shape[:first]
        and sizes[:stop] == base.dims[first : first + stop]
        and prod(sizes[stop:]) == 1
    ):
        return f.form(x, (shape[0],))  # a vector for each sample
    return f.form(expanded(f, x, base.shape), shape)


def _vector(f: Foreign, array: Array, dims: Shape, shape: Shape) -> Value:
    """A constant as a vector of channels of maps of this shape."""
    first = 1 if f.batch > 1 or dims[:1] == (1,) else 0
    for stop in range(first, len(dims) + 1):
        if prod(dims[first:stop]) == shape[0] and all(n == 1 for n in array.shape[stop:]):
            if shape[0] > MOST_SPREAD:
                raise Unsaid("a large constant (needs broadcasting)")
            sizes = (*array.shape[:first], *dims[first:stop], *array.shape[stop:])
            made = np.ascontiguousarray(np.broadcast_to(array, sizes)).reshape(-1)
            return f.parameter("constant", made, decay=False)
    raise Unsaid("a constant along positions (needs broadcasting)")


# Broadcasting -------------------------------------------------------------------------------------


def expanded(f: Foreign, x: Tensor, shape: Shape) -> Tensor:
    """The tensor, repeated along axes of size 1."""
    x = f.padded_rank(x, len(shape))
    if x.shape == shape:
        return x
    back = tuple(int(i) for i in np.argsort(x.order))
    target = tuple(shape[i] for i in back)  # in the order of x.dims, of which some are 1
    if not all(a in (1, b) for a, b in zip(x.dims, target, strict=True)):
        raise FaltungError(f"shape={shape}: {x.shape} does not broadcast to it")
    if f.batch > 1 and x.dims[0] != target[0]:
        raise Unsaid("one tensor repeated for all samples of a batch (needs broadcasting)")
    f.require(prod(target))
    first = 1 if f.batch > 1 or (x.dims[:1] == (1,) and target[:1] == (1,)) else 0
    old, new = list(x.dims[first:]), list(target[first:])
    straight = f.result(x.value, x.dims, x.dtype)
    value = _expanded(f, straight, old, new)
    return Tensor(value, target, x.order, x.dtype)


def _expanded(f: Foreign, x: Tensor, old: list[int], new: list[int]) -> Value:
    """By a transposed convolution along positions, and a 1x1 convolution along channels."""
    sizes: list[tuple[int, int]] = []  # neighbours of which both grow, or neither, are one axis
    for a, b in zip(old[1:], new[1:], strict=True):
        if sizes and (sizes[-1][0] != sizes[-1][1]) == (a != b) and (a == b or a == 1):
            sizes[-1] = sizes[-1][0] * a, sizes[-1][1] * b
        else:
            sizes.append((a, b))
    channels = old[0] if old else 1
    value = f.form(x, (channels, *(a for a, _ in sizes)))
    if any(a != b for a, b in sizes):
        kernel = tuple(b // a for a, b in sizes)
        value = repeated(f, value, kernel)
    if old and old[0] != new[0]:
        if not value.space:
            value = f.form(f.result(value, (f.batch, channels, 1), x.dtype), (channels, 1))
        spec = ConvSpec(tuple(Axis(n, 1) for n in value.space), 1, new[0], dtype=f.dtype)
        weight = np.ones(spec.weight_shape)
        value = f.node(Convolve(spec), (value, fixed(f, weight)), (new[0], *spec.output))
    return value


def repeated(f: Foreign, value: Value, times: Sequence[int]) -> Value:
    """Each position so many times in a row along each axis."""
    c = value.channels
    spec = transposed((1, *value.shape), (c, 1, *times), stride=times, groups=c, dtype=f.dtype)
    weight = fixed(f, np.ones((c, 1, *times)))
    return f.node(ConvolveInput(spec), (value, weight), (c, *spec.size))


def fixed(f: Foreign, weight: Array) -> Value:
    """A weight that is not trained."""
    order = (*range(2, weight.ndim), 1, 0)
    return f.parameter("fixed", weight, inner=weight.shape, order=order, trained=False)


# Reductions ---------------------------------------------------------------------------------------


def reduced(f: Foreign, x: Tensor, axes: Sequence[int], kind: str, keep: bool) -> Tensor:
    """The "sum", "mean" or "max" over axes."""
    shape = x.shape
    if not axes:
        return x
    if f.batch > 1 and 0 in [x.order[axis] for axis in axes]:
        raise Unsaid("a reduction over the batch (needs Reduce)")
    gone = {x.order[axis] for axis in axes}
    made = _reduced(f, f.result(x.value, x.dims, x.dtype), gone, kind)
    dims = tuple(1 if i in gone else size for i, size in enumerate(x.dims))
    full = Tensor(made, dims, x.order, x.dtype)
    if keep:
        return full
    left = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return f.reshaped(full, left)


def _reduced(f: Foreign, x: Tensor, gone: set[int], kind: str) -> Value:
    first = 1 if f.batch > 1 or x.dims[:1] == (1,) else 0
    parts: list[tuple[int, bool]] = []
    for axis, size in enumerate(x.dims):
        if axis < first or (size == 1 and parts):
            continue
        if parts and parts[-1][1] == (axis in gone):
            parts[-1] = parts[-1][0] * size, parts[-1][1]
        else:
            parts.append((size, axis in gone))
    if not parts or parts[0][1]:
        parts.insert(0, (1, False))
    if x.value.space and x.value.channels == parts[0][0] and len(parts) == 2 and kind != "max":
        space = x.value.space  # all positions of each channel: as they are
    else:
        space = tuple(size for size, _ in parts[1:])
    shape = (parts[0][0], *(space or (1,)))
    value = f.form(x, shape)
    count = prod(size for size, out in parts if out)
    if kind != "max" and len(parts) <= 2:
        total = Reduction(operand(0), "sample", mean=kind == "mean")
        return f.node(Elementwise(shape, (), (total,)), (value,), shape[:1])
    kernel = (
        [size if out else 1 for size, out in parts[1:]]
        if len(space) == len(parts) - 1
        else list(space)
    )
    made = pooled(
        f,
        value,
        pool_spec(
            (1, *shape), kernel or 1, kind="max" if kind == "max" else "average", dtype=f.dtype
        ),
    )
    if kind == "sum":
        made = f.node(Elementwise(made.shape, (operand(0) * float(count),)), (made,), made.shape)
    return made


def pooled(f: Foreign, value: Value, spec: PoolSpec) -> Value:
    return f.node(Pool(spec), (value,), (value.channels, *spec.output))


def softmax(f: Foreign, x: Tensor, axis: int) -> Tensor:
    """Along one axis."""
    if f.batch > 1 and x.order[axis] == 0:
        raise Unsaid("softmax over the batch (needs Reduce)")
    there = leading(f, x, axis)
    moved = x.moved(axis, there)
    sizes = moved.shape[there:]
    value = f.form(moved, (sizes[0], *_merged(sizes[1:])))
    made = f.node(Softmax(), (value,), value.shape)
    return f.result(made, moved.shape, x.dtype).moved(there, axis)


def leading(f: Foreign, x: Tensor, axis: int) -> int:
    """Where an axis goes that is to be the channels: behind the batch, if there is one."""
    return 1 if f.batch > 1 or (axis > 0 and x.shape[0] == 1) else 0


def _merged(sizes: Shape) -> Shape:
    return (prod(sizes),) if sizes else ()


# Parts --------------------------------------------------------------------------------------------


def sliced(f: Foreign, x: Tensor, axis: int, start: int, count: int, step: int) -> Tensor:
    """``count`` entries of an axis from ``start`` on, every ``step``-th; step above 0."""
    place = x.order[axis]
    size = x.dims[place]
    if (start, count, step) == (0, size, 1):
        return x
    if count < 1:
        raise Unsaid("a tensor without elements")
    if f.batch > 1 and place == 0:
        raise Unsaid("part of a batch (needs View)")
    first = 1 if f.batch > 1 or (place > 0 and x.dims[:1] == (1,)) else 0
    before = prod(x.dims[first:place])
    straight = f.result(x.value, x.dims, x.dtype)
    dims = tuple(count if i == place else n for i, n in enumerate(x.dims))
    if before == 1 and (step == 1 or count == 1):
        shape = (size, *(x.dims[place + 1 :] or ()))
        value = f.form(straight, _like(x.value, shape))
        made = f.node(Slice(start), (value,), (count, *value.space))
        return Tensor(made, dims, x.order, x.dtype)
    shape = _around(x, first, place, before)
    value = f.form(straight, shape)
    at = _index(shape, before, size)
    end = start + (count - 1) * step + 1
    made = cropped(f, value, at - 1, start, size - end, step)
    return Tensor(made, dims, x.order, x.dtype)


def _index(shape: Shape, before: int, size: int) -> int:
    """Which entry of the shape the axis is, of which ``before`` numbers come before."""
    total = 1
    for i, n in enumerate(shape):
        if i and total == before and n == size:
            return i
        total *= n
    raise Unsaid("part of an axis (needs View)")


def _around(x: Tensor, first: int, place: int, before: int) -> Shape:
    """A shape that has the axis as an axis of space: that of the value, if it does."""
    shape = x.value.shape
    total = 1
    for i, n in enumerate(shape):
        if i and total == before and n == x.dims[place]:
            return shape
        total *= n
    channels = x.dims[first:place]
    after = x.dims[place + 1 :]
    lead = (prod(channels),) if channels else (1,)
    return (*lead, x.dims[place], *_merged(after))


def _like(value: Value, shape: Shape) -> Shape:
    """The shape with the space of the value, where the channels are the same."""
    return value.shape if value.shape[0] == shape[0] else (shape[0], *_merged(shape[1:]))


def cropped(f: Foreign, value: Value, axis: int, lo: int, hi: int, step: int = 1) -> Value:
    """Every ``step``-th position, without ``lo`` before and ``hi`` after; negative ones are zeros
    that are added.
    """
    c = value.channels
    axes = [Axis(n, 1) for n in value.space]
    axes[axis] = Axis(value.space[axis], 1, step, 1, -lo, -hi)
    return identity(f, value, axes, c)


def identity(f: Foreign, value: Value, axes: Sequence[Axis], c: int) -> Value:
    """What these axes of one tap read."""
    spec = ConvSpec(tuple(axes), c, c, 1, c, f.dtype)
    weight = fixed(f, np.ones(spec.weight_shape))
    return f.node(Convolve(spec), (value, weight), (c, *spec.output))


def padded(f: Foreign, x: Tensor, pairs: Sequence[tuple[int, int]], mode: str = "zeros") -> Tensor:
    """The tensor with entries before and after each axis; negative ones are a crop."""
    for axis, (lo, hi) in enumerate(pairs):
        place = x.order[axis]
        size = x.dims[place]
        if min(lo, hi) < 0:
            cut = max(0, -lo), max(0, -hi)
            x = sliced(f, x, axis, cut[0], size - sum(cut), 1)
            lo, hi, size = max(0, lo), max(0, hi), size - sum(cut)
        if not (lo or hi):
            continue
        if max(lo, hi) > MOST_PADDING:
            raise Unsaid(f"padding of {max(lo, hi)} entries")
        if f.batch > 1 and place == 0:
            raise Unsaid("a padded batch (needs View)")
        first = 1 if f.batch > 1 or (place > 0 and x.dims[:1] == (1,)) else 0
        before = prod(x.dims[first:place])
        shape = _around(x, first, place, before)
        value = f.form(f.result(x.value, x.dims, x.dtype), shape)
        at = _index(shape, before, size)
        axes = [Axis(n, 1) for n in value.space]
        axes[at - 1] = Axis(size, 1, 1, 1, lo, hi, mode)
        made = identity(f, value, axes, value.channels)
        dims = tuple(lo + n + hi if i == place else n for i, n in enumerate(x.dims))
        x = Tensor(made, dims, x.order, x.dtype)
    return x


def concatenated(f: Foreign, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one after the other along an axis."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if f.batch > 1 and first.order[axis] == 0:
        raise Unsaid("samples joined to a batch (needs View)")
    there = leading(f, first, axis)
    moved = [part.moved(axis, there) for part in parts]
    shapes = {(*m.shape[:there], *m.shape[there + 1 :]) for m in moved}
    if len(shapes) > 1:
        raise FaltungError(f"axis={axis}: shapes {', '.join(str(p.shape) for p in parts)} differ")
    shape = moved[0].shape
    space = moved[0].value.space
    if moved[0].value.channels != shape[there] or prod(space) != prod(shape[there + 1 :]):
        space = _merged(shape[there + 1 :])
    values = [f.form(m, (m.shape[there], *space)) for m in moved]
    total = sum(m.shape[there] for m in moved)
    made = f.node(Concat(), values, (total, *space))
    dims = (*shape[:there], total, *shape[there + 1 :])
    return f.result(made, dims, first.dtype).moved(there, axis)


def known(f: Foreign, array: Array, dtype: str) -> Tensor:
    """A constant as a tensor, the same for each sample."""
    if f.batch > 1 and (array.shape[:1] != (f.batch,) or not (array == array[:1]).all()):
        raise Unsaid("a constant that differs between the samples of a batch")
    sample = np.ascontiguousarray(array[:1] if f.batch > 1 else array).reshape(-1)
    if not 0 < sample.size <= MOST_SPREAD:
        raise Unsaid("a large constant, or one without elements")
    vector = f.parameter("constant", sample, decay=False)
    value = f.node(Elementwise(sample.shape, (operand(0),)), (vector,), sample.shape)
    return f.result(value, array.shape, dtype)


def picked(f: Foreign, x: Tensor, axis: int, indices: Sequence[int]) -> Tensor:
    """These entries of an axis, in this order."""
    steps = {b - a for a, b in pairwise(indices)}
    if len(indices) == 1:
        return sliced(f, x, axis, indices[0], 1, 1)
    if len(steps) == 1 and (step := steps.pop()) > 0:
        return sliced(f, x, axis, indices[0], len(indices), step)
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] + 1 == index:
            runs[-1].append(index)
        else:
            runs.append([index])
    if len(runs) > MOST_PARTS:
        raise Unsaid("a selection of many entries (needs Resample)")
    return concatenated(f, [sliced(f, x, axis, run[0], len(run), 1) for run in runs], axis)
