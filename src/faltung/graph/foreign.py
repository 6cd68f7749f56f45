"""Tensors of other programs over the values of a graph: axes in their owner's order.

Other programs number the axes of a tensor freely: a reshape splits and merges them, a transpose
changes their order. Here both change only how the numbers of a ``Value`` are looked at, and a copy
is made where an operation needs another order of channels and positions than there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.graph.builder import Builder
from faltung.graph.ops import Op, Permute, Reshape
from faltung.graph.value import Graph, Value
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

# Bytes of one tensor from which on the memory of the computer is asked first.
ASK_FROM_BYTES = 1 << 26


class Unsaid(FaltungError):
    """What a graph cannot say yet; the message says which mechanism is missing."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of another program. dims: how its owner splits the numbers of ``value``, batch and
    all, in their order. order: for each axis of the owner which of ``dims`` it is. dtype: the
    owner's, "bool" for conditions, which are 0 and 1 here.
    """

    value: Value
    dims: Shape
    order: Shape
    dtype: str = "float32"

    @property
    def shape(self) -> Shape:
        """As its owner sees it, with the batch."""
        return tuple(self.dims[axis] for axis in self.order)

    @property
    def rank(self) -> int:
        return len(self.order)

    @property
    def size(self) -> int:
        return prod(self.dims)

    @property
    def straight(self) -> bool:
        """Whether the owner's order is that of the numbers; axes of size 1 are anywhere."""
        wide = [axis for axis in self.order if self.dims[axis] > 1]
        return wide == sorted(wide)

    def transposed(self, axes: Sequence[int]) -> "Tensor":
        """The axes in another order; nothing is moved."""
        return replace(self, order=tuple(self.order[axis] for axis in axes))

    def moved(self, source: int, target: int) -> "Tensor":
        """One axis put in another place, the others as they were."""
        axes = [axis for axis in range(self.rank) if axis != source]
        axes.insert(target, source)
        return self.transposed(axes)

    def told(self, array: Array) -> Array:
        """The numbers of ``value``, (batch, *value.shape), as the owner sees them."""
        return np.transpose(array.reshape(self.dims), self.order)


class Foreign:
    """A graph that is made from another program's. batch: samples that are computed at once; the
    first axis of every tensor, if it is above 1. weights: the numbers of all parameters, by name.
    """

    def __init__(self, batch: int, dtype: Float) -> None:
        self.batch = batch
        self.dtype: Float = dtype
        self.weights: dict[str, Array] = {}
        self._b: Builder | None = None
        self._inputs = 0
        self._names: set[str] = set()
        self._shared: dict[tuple[int, str], Value] = {}
        self._kept: list[Array] = []
        self._forms: dict[tuple[str, Shape], Value] = {}

    @property
    def b(self) -> Builder:
        if self._b is None:
            raise Unsaid("a model that computes with constants alone")
        return self._b

    def input(self, shape: Shape, dtype: str, axes: Sequence[int] | None = None) -> Tensor:
        """A further input. axes: the order of its axes in memory, batch first; it is fed so."""
        axes = tuple(range(len(shape)) if axes is None else axes)
        dims = tuple(shape[axis] for axis in axes)
        if not all(dims):
            raise Unsaid("a tensor without elements")
        inner = dims[1:] or (1,)
        if self.batch == 1 and dims[:1] != (1,):
            inner = dims or (1,)
        self.require(prod(dims))
        self._inputs += 1
        kind = "int" if dtype.startswith(("int", "uint")) else "float"
        if self._b is None:
            self._b = Builder(inner, dtype=self.dtype, tokens=kind == "int")
            value = self._b.input
        else:
            value = self._b.add_input(f"input{self._inputs}", inner, kind)
        order = tuple(int(place) for place in np.argsort(axes))
        return Tensor(value, dims, order, dtype)

    def require(self, size: int) -> None:
        """MemoryError: a tensor that does not fit into memory."""
        need = size * np.dtype(self.dtype).itemsize
        if need >= ASK_FROM_BYTES:
            require(need, "model: one of its tensors")

    # Nodes ---------------------------------------------------------------------------------------

    def name(self, wanted: str) -> str:
        """A name for a layer that no other has."""
        stem = "".join(c if c.isalnum() or c in "_-/" else "_" for c in wanted).strip("/") or "node"
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}-{count}"
        self._names.add(name)
        return name

    def node(self, op: Op, inputs: Sequence[Value], shape: Shape) -> Value:
        self.require(self.batch * prod(shape))
        return self.b.node(op, inputs, shape)

    def parameter(
        self,
        name: str,
        array: Array,
        *,
        inner: Shape | None = None,
        order: Sequence[int] | None = None,
        trained: bool = True,
        decay: bool = True,
    ) -> Value:
        """A weight or a constant as a parameter. The same array in the same form is there once."""
        key = (id(array), f"{array.shape} {inner} {order} {trained}")
        found = self._shared.get(key)
        if found is None:
            layer, number, plain = self.b.current, 1, name
            while f"{layer}.{name}" in self.weights:
                number += 1
                name = f"{plain}{number}"
            made = np.asarray(array, self.dtype)
            found = self.b.parameter(
                name,
                made.shape,
                inner=inner,
                order=order,
                trained=trained,
                decay=decay and trained,
            )
            self.weights[found.name] = made
            self._shared[key] = found
            self._kept.append(array)  # ids stay taken
        return found

    def graph(self, values: Sequence[Value]) -> Graph:
        return self.b.graph(*values)

    # Looking at tensors --------------------------------------------------------------------------

    def result(self, value: Value, dims: Shape, dtype: str) -> Tensor:
        """A new tensor whose axes are in order."""
        return Tensor(value, dims, tuple(range(len(dims))), dtype)

    def reshaped(self, x: Tensor, shape: Shape) -> Tensor:
        """The same numbers in the owner's order, split otherwise."""
        if prod(shape) != x.size:
            raise FaltungError(f"shape={shape}: must have the {x.size} elements of {x.shape}")
        if self.batch > 1 and shape[:1] != (self.batch,):
            raise Unsaid("the batch merged with another axis")
        if x.straight:
            return replace(x, dims=shape, order=tuple(range(len(shape))))
        return self._regrouped(x, shape)

    def _regrouped(self, x: Tensor, shape: Shape) -> Tensor:
        """A reshape of transposed axes, where those that merge are neighbours in memory."""
        axes = [axis for axis in x.order if x.dims[axis] > 1]
        wide = [size for size in shape if size > 1]
        groups: list[tuple[list[int], list[int]]] = []
        i = j = 0
        while i < len(axes):
            old, new = [axes[i]], [wide[j]]
            a, b = x.dims[axes[i]], wide[j]
            i, j = i + 1, j + 1
            while a != b:
                if a < b:
                    a, i = a * x.dims[axes[i]], i + 1
                    old.append(axes[i - 1])
                else:
                    b, j = b * wide[j], j + 1
                    new.append(wide[j - 1])
            steps = [k for k in range(old[0], old[-1] + 1) if x.dims[k] > 1]
            if old != steps:
                return self.reshaped(self.straightened(x), shape)
            if self.batch > 1 and 0 in old and (old, new) != ([0], [self.batch]):
                raise Unsaid("the batch merged with another axis")
            groups.append((old, new))
        dims: list[int] = []
        places: dict[int, int] = {}  # of the numbers in `wide`
        starts = np.cumsum([0, *(len(new) for _, new in groups)])
        for number in sorted(range(len(groups)), key=lambda n: groups[n][0][0]):
            for k, size in enumerate(groups[number][1]):
                places[int(starts[number]) + k] = len(dims)
                dims.append(size)
        order, at = [], 0
        for size in shape:
            if size > 1:
                order.append(places[at])
                at += 1
            else:
                order.append(len(dims))
                dims.append(1)
        return replace(x, dims=tuple(dims), order=tuple(order))

    def padded_rank(self, x: Tensor, rank: int) -> Tensor:
        """With axes of size 1 in front, as broadcasting adds them."""
        extra = rank - x.rank
        if extra <= 0:
            return x
        dims = (*x.dims, *(1,) * extra)
        order = (*range(len(x.dims), len(dims)), *x.order)
        return replace(x, dims=dims, order=order)

    def form(self, x: Tensor, shape: Shape) -> Value:
        """The tensor as a value of this shape without the batch, in the owner's order."""
        if x.value.kind != "float":
            raise Unsaid("whole numbers as data (needs whole numbers in formulas)")
        if self.batch > 1 and x.order[:1] != (0,):
            raise Unsaid("an axis before the batch (needs View)")
        if prod(shape) != x.value.size:
            raise Unsaid("an axis that is not the batch before the channels")
        return self._as(x.value if x.straight else self._permuted(x, shape[0]), shape)

    def _permuted(self, x: Tensor, channels: int) -> Value:
        """A copy in the owner's order: with these channels, or as a vector."""
        first = 1 if self.batch > 1 else 0
        dims = [n for n in x.dims[first:] if n > 1] or [1]
        wide = [axis for axis in x.order if axis >= first and x.dims[axis] > 1]
        rank = sorted(wide)
        axes = tuple(rank.index(axis) for axis in wide)
        value = x.value if _leads(dims, x.value.channels) else self._as(x.value, (x.value.size,))
        moved = [dims[axis] for axis in axes]
        shape = (channels, x.value.size // channels) if _leads(moved, channels) else (x.value.size,)
        shape = shape if shape[1:] != (1,) else shape[:1]
        key = value.name, (-1, *dims, *axes, *shape)
        if key not in self._forms:
            self._forms[key] = self.node(Permute(tuple(dims), axes), (value,), shape)
        return self._forms[key]

    def straightened(self, x: Tensor) -> Tensor:
        """The tensor with its numbers in the owner's order."""
        if x.straight:
            return x
        space = x.shape[1:] if self.batch > 1 or x.shape[:1] == (1,) else x.shape
        value = self.form(x, space or (1,))
        return self.result(value, x.shape, x.dtype)

    def _as(self, value: Value, shape: Shape) -> Value:
        """A reshape, made once; of two maps by way of a vector."""
        if value.shape == shape:
            return value
        if value.channels != shape[0] and value.space and len(shape) > 1:
            value = self._as(value, (value.size,))
        key = value.name, shape
        if key not in self._forms:
            self._forms[key] = self.b.node(Reshape(), (value,), shape)
        return self._forms[key]

    def samples(self, x: Tensor) -> Shape:
        """The shape without the batch; with a single sample any axes of size 1 in front may be
        missing.
        """
        if self.batch > 1 or x.shape[:1] == (1,):
            return x.shape[1:]
        return x.shape


def _leads(dims: Sequence[int], channels: int) -> bool:
    """Whether some of the first sizes are these channels."""
    return channels in {prod(dims[:i]) for i in range(len(dims) + 1)}
