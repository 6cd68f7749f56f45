"""Formulas of foreign tensors, which are broadcast against each other as in NumPy.

All operands are looked at in one order of memory, that of the largest. Axes in which the same
operands are broadcast are one axis there; an operand with its axes in another order is copied.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, constant, operand
from faltung.geometry.record import dataclass
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid, numbers
from faltung.graph.foreign_maps import known
from faltung.graph.ops import Elementwise
from faltung.graph.value import Value
from faltung.reference.expr import evaluate

Array = npt.NDArray[Any]
Operand = Tensor | Array

# Elements of a constant that are compared to find that all of them are the same.
MOST_COMPARED = 1 << 16


def formula(
    f: Foreign,
    expr: Callable[..., Expr],
    *operands: Operand,
    dtype: str | None = None,
    shape: Shape = (),
) -> Tensor:
    """A formula of tensors and constants. dtype: of the result, by default that of the tensors.
    shape: what they are broadcast to at least.
    """
    tensors = [o for o in operands if isinstance(o, Tensor)]
    if not tensors:
        raise Unsaid("a formula of constants alone")
    shape = broadcast([shape, *(o.shape for o in operands)])
    if not all(shape):
        raise Unsaid("a tensor without elements")
    for each in tensors:
        numbers(each)
    f.require(prod(shape))
    given = [
        _number(f, _once(f, o, len(shape))) if isinstance(o, np.ndarray) else o for o in operands
    ]
    wide: list[Tensor | Array | float] = [
        f.padded_rank(o, len(shape)) if isinstance(o, Tensor) else o for o in given
    ]
    frame = _Frame.of(f, shape, wide)
    inputs: list[Value] = []
    terms: list[Expr] = []
    for term in wide:
        if isinstance(term, float):
            terms.append(constant(term))
            continue
        value = frame.tensor(term) if isinstance(term, Tensor) else frame.array(term)
        if value not in inputs:
            inputs.append(value)
        terms.append(operand(inputs.index(value)))
    made = expr(*terms)
    if not made.operands():  # the same number everywhere
        return known(f, np.full(shape, evaluate(made, ())), dtype or tensors[0].dtype)
    op = Elementwise(frame.shape, (made,))
    out = f.node(op, inputs, frame.shape, frame.samples)
    return frame.result(out, dtype or tensors[0].dtype)


def expanded(f: Foreign, x: Tensor, shape: Shape) -> Tensor:
    """The tensor, repeated along axes of size 1."""
    if x.shape == shape:
        return x
    if broadcast([x.shape, shape]) != shape:
        raise FaltungError(f"shape={shape}: {x.shape} does not broadcast to it")
    return formula(f, lambda x: x, x, shape=shape)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    try:
        return tuple(map(int, np.broadcast_shapes(*shapes)))
    except ValueError:
        raise FaltungError(f"shapes {', '.join(map(str, shapes))}: do not broadcast") from None


def _once(f: Foreign, array: Array, rank: int) -> Array:
    """A constant that was repeated for each sample of the batch, without that: constants have no
    samples. Not where it is trained.
    """
    if f.trains or array.ndim < max(rank, 1) or f.batch == 1 or len(array) != f.batch:
        return array
    first = array[:1]
    same = (array == first).all() and (np.signbit(array) == np.signbit(first)).all()
    return first if same else array


def _number(f: Foreign, array: Array) -> Array | float:
    """A constant of which all elements are the same as one number; not where it is trained."""
    if array.size == 1 or (not f.trains and array.size <= MOST_COMPARED and _same(array)):
        return float(array.flat[0])
    return array


def _same(array: Array) -> bool:
    """Whether all elements have the same bits, or are the same number; zeros have signs."""
    first = array.flat[0]
    return bool((array == first).all()) and bool((np.signbit(array) == np.signbit(first)).all())


@dataclass(frozen=True, slots=True)
class _Frame:
    """The order of memory of a formula, and how it is split into samples, space and channels.

    base: the result, with dims that suit every operand; its value is the largest operand's. runs:
    how many of the dims make up the samples, each axis of space, and the channels.
    """

    f: Foreign
    base: Tensor
    runs: tuple[int, ...]

    @staticmethod
    def of(f: Foreign, shape: Shape, operands: Sequence[Tensor | Array | float]) -> "_Frame":
        tensors = [o for o in operands if isinstance(o, Tensor)]
        base = _base(shape, tensors)
        base = _refined(base, tensors)
        patterns = _patterns(base, shape, operands)
        front = _front(f, base, tensors)
        runs = _own_runs(base, patterns, front, len(tensors)) or _common_runs(patterns, front)
        return _Frame(f, base, runs)

    @property
    def sizes(self) -> list[int]:
        """Of the samples, each axis of space, and the channels."""
        made, at = [], 0
        for count in self.runs:
            made.append(prod(self.base.dims[at : at + count]))
            at += count
        return made

    @property
    def samples(self) -> int:
        return self.sizes[0]

    @property
    def shape(self) -> Shape:
        _, *space, channels = self.sizes
        return (channels, *space)

    def result(self, value: Value, dtype: str) -> Tensor:
        return replace(self.base, value=value, dtype=dtype)

    def tensor(self, x: Tensor) -> Value:
        """An operand as a value: of each run it has all, or a single entry."""
        x = self._split(x)
        axes = self._axes()
        wanted = [
            x.axes[axis][self.base.axes[axis].index(i)]
            for i, axis in enumerate(axes)
            if x.axes[axis]
        ]
        x = self.f.ordered(x, wanted)
        return self._seen(x.value, [bool(x.axes[axis]) for axis in axes])

    def array(self, array: Array) -> Value:
        """A constant as a parameter."""
        rank = self.base.rank
        wide = array.reshape((1,) * (rank - array.ndim) + array.shape)
        axes = self._axes()
        split, order = [], []
        for axis in range(rank):
            own = [i for i, a in enumerate(axes) if a == axis] if wide.shape[axis] > 1 else []
            own.sort(key=self.base.axes[axis].index)
            order += own
            split += [self.base.dims[i] for i in own]
        turned = [int(i) for i in np.argsort(order)]
        made = wide.reshape(split).transpose(turned) if order else wide.reshape(())
        there = [wide.shape[axis] > 1 for axis in axes]
        form = (split, turned) if turned != sorted(turned) else None
        return self._constant(made, there, array, form)

    def _constant(self, array: Array, there: Sequence[bool], of: Array, form: object) -> Value:
        samples, *space, channels = self._kept(there)
        if samples > 1:
            raise AssertionError("a constant along the samples")  # _own_runs says no to it
        shape = (channels, *space) if any(n > 1 for n in space) else (channels,)
        if len(shape) == 1:
            plain = np.ascontiguousarray(array).reshape(shape)
            return self.f.parameter("constant", plain, decay=False, of=of, form=form)
        rank = len(shape)
        users = np.moveaxis(array.reshape(*space, channels), -1, 0)
        order = (*range(1, rank), 0)
        plain = np.ascontiguousarray(users)
        return self.f.parameter(
            "constant", plain, inner=shape, order=order, decay=False, of=of, form=form
        )

    def _kept(self, there: Sequence[bool]) -> list[int]:
        """The size of each run for an operand that has these dims."""
        made, at = [], 0
        for count in self.runs:
            run = range(at, at + count)
            made.append(prod(self.base.dims[i] for i in run if there[i]))
            at += count
        return made

    def _seen(self, value: Value, there: Sequence[bool]) -> Value:
        samples, *space, channels = self._kept(there)
        shape: Shape = (channels, *space)
        if any(n > 1 for n in self.shape[1:]) and all(n == 1 for n in space):
            shape = (channels,) if channels == self.shape[0] else shape
        return self.f.seen(value, samples, shape)

    def _axes(self) -> list[int]:
        """Of each dim the axis of the owner that it belongs to."""
        made = [0] * len(self.base.dims)
        for axis, dims in enumerate(self.base.axes):
            for i in dims:
                made[i] = axis
        return made

    def _split(self, x: Tensor) -> Tensor:
        """With its axes split as those of the base are."""
        parts: list[list[int]] = [[n] for n in x.dims]
        for axis, dims in enumerate(x.axes):
            if not dims:
                continue
            sizes = [self.base.dims[i] for i in self.base.axes[axis]]
            for i in dims:
                part: list[int] = []
                left = x.dims[i]
                while left > 1 and sizes and left % sizes[0] == 0:
                    left //= sizes[0]
                    part.append(sizes.pop(0))
                if left > 1:  # split in another way: its numbers in order can be split anyhow
                    return self._split(self._anew(x))
                parts[i] = part
        return x.split(parts)

    def _anew(self, x: Tensor) -> Tensor:
        made = self.f.straightened(x)
        return self.f.result(made.value, x.shape, x.dtype)


def _base(shape: Shape, tensors: Sequence[Tensor]) -> Tensor:
    """The largest operand, with the axes that it lacks where their owner has them."""
    largest = max(tensors, key=lambda x: x.size)
    full = [x for x in tensors if x.size == largest.size]
    # Of several the order that most of them have in memory.
    largest = max(full, key=lambda x: sum(x.memory == other.memory for other in full))
    if largest.shape == shape:
        return largest
    dims: list[tuple[int, int | None]] = [(n, i) for i, n in enumerate(largest.dims)]
    for axis, size in enumerate(shape):
        if size > 1 and not largest.axes[axis]:
            before = {i for a in largest.axes[:axis] for i in a} | {None}
            places = [place for place, (_, dim) in enumerate(dims) if dim in before]
            dims.insert(max(places, default=-1) + 1, (size, None))
    fresh = iter([place for place, (_, dim) in enumerate(dims) if dim is None])
    where = {dim: place for place, (_, dim) in enumerate(dims) if dim is not None}
    axes = [
        (next(fresh),) if size > 1 and not largest.axes[axis]
        else tuple(where[i] for i in largest.axes[axis])
        for axis, size in enumerate(shape)
    ]  # fmt: skip
    return replace(largest, dims=tuple(n for n, _ in dims), axes=tuple(axes))


def _refined(base: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """The base with its dims split where the other operands have theirs, if they divide."""
    parts: list[list[int]] = [[n] for n in base.dims]
    for x in tensors:
        for axis, dims in enumerate(x.axes):
            if len(dims) > 1:
                cuts = _ends([x.dims[i] for i in dims])
                for i, start in zip(base.axes[axis], _starts(base, axis), strict=True):
                    parts[i] = _cut(parts[i], start, base.dims[i], cuts)
    return base.split(parts)


def _ends(sizes: Sequence[int]) -> list[int]:
    """Of each part of an axis how many of its entries there are together with those before."""
    made = [1]
    for size in sizes:
        made.append(made[-1] * size)
    return made[1:-1]


def _starts(base: Tensor, axis: int) -> list[int]:
    made = [1]
    for i in base.axes[axis]:
        made.append(made[-1] * base.dims[i])
    return made[:-1]


def _cut(parts: list[int], start: int, size: int, cuts: Sequence[int]) -> list[int]:
    """A dim from ``start`` on, cut at those of ``cuts`` that lie in it and divide it."""
    ends = {1, size}
    total = 1
    for part in parts:
        total *= part
        ends.add(total)
    for cut in cuts:
        if cut % start == 0 and 1 < cut // start < size:
            new = cut // start
            if all(gcd(new, end) == min(new, end) for end in ends):
                ends.add(new)
    points = sorted(ends)
    return [b // a for a, b in pairwise(points)] or [1]


def _patterns(
    base: Tensor, shape: Shape, operands: Sequence[Tensor | Array | float]
) -> list[tuple[bool, ...]]:
    """For each dim of the base which operands have it; constants last."""
    rank = len(shape)
    owner = {i: axis for axis, dims in enumerate(base.axes) for i in dims}

    def has(o: Tensor | Array, axis: int) -> bool:
        if isinstance(o, Tensor):
            return bool(o.axes[axis])
        at = axis - (rank - o.ndim)
        return at >= 0 and o.shape[at] > 1

    tensors = [o for o in operands if isinstance(o, Tensor)]
    arrays: list[Array] = [o for o in operands if isinstance(o, np.ndarray)]
    every: list[Operand] = [*tensors, *arrays]
    # The last one says whether a constant has it: constants have no samples.
    return [
        (
            *(has(o, owner[i]) for o in every),
            any(has(o, owner[i]) for o in arrays),
        )
        for i in range(len(base.dims))
    ]


def _front(f: Foreign, base: Tensor, tensors: Sequence[Tensor]) -> int:
    """How many of the base's first dims are the batch."""
    (own, *_) = (x for x in tensors if x.value == base.value)
    front = f.front(base)
    there = all(own.axes[i] for i, axis in enumerate(base.axes) if set(axis) & set(range(front)))
    return front if there else 0


def _own_runs(
    base: Tensor, patterns: Sequence[tuple[bool, ...]], front: int, tensors: int
) -> tuple[int, ...] | None:
    """The samples, space and channels of the base's value, if they suit all operands, of which so
    many are ``tensors``. front: how many dims are the batch.
    """
    value = base.value
    if value.size != base.size:
        return None
    runs, at = [], 0
    for size in (value.samples, *value.space, value.channels):
        count, total = 0, 1
        while total < size and at + count < len(base.dims):
            total *= base.dims[at + count]
            count += 1
        if total != size or len(set(patterns[at : at + count])) > 1:
            return None
        runs.append(count)
        at += count
    samples = patterns[: runs[0]]
    if any(pattern[-1] for pattern in samples):
        return None
    if runs[0] > front and not all(all(pattern[:tensors]) for pattern in samples):
        return None  # what lacks other samples may have the batch
    return tuple(runs)


def _common_runs(patterns: Sequence[tuple[bool, ...]], front: int) -> tuple[int, ...]:
    """The batch as samples, and runs of dims that the same operands have."""
    if any(pattern[-1] for pattern in patterns[:front]):
        front = 0
    runs: list[int] = []
    for i, pattern in enumerate(patterns[front:], front):
        if i > front and pattern == patterns[i - 1]:
            runs[-1] += 1
        else:
            runs.append(1)
    return (front, *(runs or [0]))
