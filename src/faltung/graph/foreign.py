"""Tensors of other programs over the values of a graph: axes in their owner's order.

Other programs number the axes of a tensor freely: a reshape splits and merges them, a transpose
changes their order. Here both change only how the numbers of a ``Value`` are looked at, and a copy
is made where an operation needs another order in memory than there is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder
from faltung.graph.ops import Op, Permute, ToFloat, View
from faltung.graph.value import Graph, Value
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Axes = tuple[tuple[int, ...], ...]

# Bytes of one tensor from which on the memory of the computer is asked first.
ASK_FROM_BYTES = 1 << 26


class Unsaid(FaltungError):
    """What a graph cannot say yet; the message says which mechanism is missing."""


# What names of layers do not contain.
_ODD = re.compile(r"[^\w/-]")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of another program.

    dims: the sizes of the numbers of ``value`` in the order of memory, (samples, *space, C), split
    further where the owner splits them, without those of 1. axes: for each axis of the owner which
    of ``dims`` it consists of, the slowest first. dtype: the owner's, "bool" for conditions, which
    are 0 and 1 here.
    """

    value: Value
    dims: Shape
    axes: Axes
    dtype: str = "float32"

    @property
    def shape(self) -> Shape:
        """As its owner sees it, with the batch."""
        return _look(self.dims, self.axes).shape

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def size(self) -> int:
        return prod(self.dims)

    @property
    def order(self) -> Shape:
        """The dims in the owner's order."""
        return _look(self.dims, self.axes).order

    @property
    def straight(self) -> bool:
        """Whether the owner's order is that of the numbers in memory."""
        return self.order == tuple(range(len(self.dims)))

    @property
    def memory(self) -> Shape:
        """The axes of the owner in an order in which memory has them, as far as it has one: by
        their slowest parts; an axis of size 1 stays before the one that follows it.
        """
        keys, after = [], len(self.dims)
        for axis in reversed(self.axes):
            after = axis[0] if axis else after
            keys.append(after)
        keys.reverse()
        return tuple(sorted(range(self.rank), key=lambda i: (keys[i], i)))

    def transposed(self, axes: Sequence[int]) -> "Tensor":
        """The axes in another order; nothing is moved."""
        return replace(self, axes=tuple(self.axes[axis] for axis in axes))

    def moved(self, source: int, target: int) -> "Tensor":
        """One axis put in another place, the others as they were."""
        axes = [axis for axis in range(self.rank) if axis != source]
        axes.insert(target, source)
        return self.transposed(axes)

    def split(self, parts: Sequence[Sequence[int]]) -> "Tensor":
        """Each of ``dims`` split into these sizes."""
        if all(len(part) == 1 for part in parts):
            return self
        starts = np.cumsum([0, *map(len, parts)])
        new = [tuple(range(int(starts[i]), int(starts[i + 1]))) for i in range(len(parts))]
        dims = tuple(size for part in parts for size in part)
        axes = tuple(tuple(j for i in axis for j in new[i]) for axis in self.axes)
        return replace(self, dims=dims, axes=axes)

    def told(self, array: Array) -> Array:
        """The numbers of ``value`` in the order of memory, as the owner sees them."""
        look = _look(self.dims, self.axes)
        return array.reshape(self.dims).transpose(look.order).reshape(look.shape)

    def laid_out(self, array: Array) -> Array:
        """The other way: an array of the owner's as (samples, C, *space) of ``value``."""
        look, value = _look(self.dims, self.axes), self.value
        memory = array.reshape(look.split).transpose(look.back)
        last = len(value.shape)
        whole = memory.reshape(-1, *value.space, value.channels)
        return whole.transpose(0, last, *range(1, last))


@dataclass(frozen=True, slots=True)
class _Look:
    """How a tensor is looked at: its shape, the order of the dims, their sizes in it, and the order
    that leads back.
    """

    shape: Shape
    order: Shape
    split: Shape
    back: Shape


@lru_cache(maxsize=1 << 14)
def _look(dims: Shape, axes: Axes) -> _Look:
    order = tuple(i for axis in axes for i in axis)
    back = tuple(sorted(range(len(order)), key=order.__getitem__))
    shape = tuple(prod(dims[i] for i in axis) for axis in axes)
    return _Look(shape, order, tuple(dims[i] for i in order), back)


class Foreign:
    """A graph that is made from another program's, for given sizes: the batch of tensors is an axis
    like others, and the samples of values. weights: the numbers of all parameters, by name.
    builder: of a network that it becomes a part of.
    """

    def __init__(self, dtype: Float, builder: Builder | None = None) -> None:
        self.dtype: Float = dtype
        self.weights: dict[str, Array] = {}
        self._b = builder
        # The first axis of the first input.
        self.batch = 1
        # Whether constants are the first numbers of parameters.
        self.trains = builder is not None
        self._inputs = 0
        self._names: set[str] = set()
        self._shared: dict[tuple[int, str], Value] = {}
        self._kept: list[Array] = []
        self._forms: dict[tuple[str, object], Value] = {}
        # Constants on grids around 0: the constant, the scale, and the axis that has one for each.
        self._grids: dict[int, tuple[Array, Array, int]] = {}
        # For parts of tensors what they were cut from, along which axis and from where on.
        self.cut_from: dict[Tensor, tuple[Tensor, int, int]] = {}

    @property
    def b(self) -> Builder:
        if self._b is None:
            raise Unsaid("a model that computes with constants alone")
        return self._b

    def input(self, shape: Shape, dtype: str, memory: Sequence[int] | None = None) -> Tensor:
        """A further input. memory: its axes in the order of memory, if they are (samples, *space,
        C); by default a vector for each entry of its first axis, in the owner's order.
        """
        if not all(shape):
            raise Unsaid("a tensor without elements")
        self.require(prod(shape))
        self._inputs += 1
        kind = "int" if dtype.startswith(("int", "uint")) else "float"
        order = tuple(range(len(shape))) if memory is None else tuple(memory)
        sizes = [shape[axis] for axis in order]
        samples = sizes[0] if sizes else 1
        inner = (sizes[-1], *sizes[1:-1]) if memory else (prod(sizes[1:]),)
        if self._b is None:
            tokens, self.batch = kind == "int", samples
            self._b = Builder(inner, dtype=self.dtype, tokens=tokens, samples=samples)
            value = self._b.input
        else:
            value = self._b.add_input(f"input{self._inputs}", inner, kind, samples)
        return self.result(value, shape, dtype, order)

    def require(self, size: int) -> None:
        """MemoryError: a tensor that does not fit into memory."""
        need = size * np.dtype(self.dtype).itemsize
        if need >= ASK_FROM_BYTES:
            require(need, "model: one of its tensors")

    # Nodes ---------------------------------------------------------------------------------------

    def name(self, wanted: str) -> str:
        """A name for a layer that no other has."""
        stem = _ODD.sub("_", wanted).strip("/") or "node"
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}-{count}"
        self._names.add(name)
        return name

    def node(
        self, op: Op, inputs: Sequence[Value], shape: Shape, samples: int | None = None
    ) -> Value:
        """The result of a node; samples: where they are not those of the inputs."""
        made = self.b.node(op, inputs, shape, samples=samples)
        self.require(made.size)
        return made

    def parameter(
        self,
        name: str,
        array: Array,
        *,
        inner: Shape | None = None,
        order: Sequence[int] | None = None,
        trained: bool = True,
        decay: bool = True,
        of: Array | None = None,
        form: object = None,
    ) -> Value:
        """A weight or a constant as a parameter. The same array in the same form is there once;
        of: the array that it was made from; form: how, where its numbers are in another order.
        """
        origin = array if of is None else of
        key = (id(origin), f"{array.shape} {inner} {order} {trained} {form}")
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
            self._kept.append(origin)  # ids stay taken
        return found

    def put_on_grid(self, array: Array, scale: Array, axis: int) -> None:
        """Note that the entries of a constant are whole numbers of 8 bits times ``scale``, of which
        there is one, or one for each entry of ``axis``.
        """
        self._grids[id(array)] = array, scale.astype(np.float32).ravel(), axis

    def same_grid(self, made: Array, array: Array, turned: bool = False) -> Array:
        """``made``, which has the numbers of ``array``; ``turned``: with its two axes exchanged."""
        found = self._grids.get(id(array))
        if found is not None and made is not array:
            self._grids[id(made)] = made, found[1], 1 - found[2] if turned else found[2]
        return made

    def grid(self, array: Array) -> Array | None:
        """The scales of a constant on a grid, one for each entry of its first axis; None of others.
        Not where it is trained: then it does not stay there.
        """
        found = None if self.trains else self._grids.get(id(array))
        if found is None or not array.ndim:
            return None
        _, scale, axis = found
        if scale.size == 1:
            return np.broadcast_to(scale, (len(array),))
        return scale if axis == 0 and scale.size == len(array) else None

    def copies(self, array: Array) -> bool:
        """Whether the numbers of a weight may be put in another order, which copies them."""
        return True

    def graph(self, values: Sequence[Value]) -> Graph:
        return self.b.graph(*values)

    def real(self, x: Tensor) -> Tensor:
        """Whole numbers in the dtype of the graph, rounded; what is there in it already stays."""
        if x.value.kind == "float":
            return replace(x, dtype=self.dtype)
        key = x.value.name, "real"
        if key not in self._forms:
            self._forms[key] = self.node(ToFloat(), (x.value,), x.value.shape)
        return replace(x, value=self._forms[key], dtype=self.dtype)

    # Looking at tensors --------------------------------------------------------------------------

    def result(
        self, value: Value, shape: Shape, dtype: str, memory: Sequence[int] | None = None
    ) -> Tensor:
        """A value as a tensor of this shape. memory: the axes of the owner in the order in which
        memory has them; by default as they are numbered.
        """
        dims: list[int] = []
        axes: list[tuple[int, ...]] = [()] * len(shape)
        for axis in range(len(shape)) if memory is None else memory:
            if shape[axis] > 1:
                axes[axis] = (len(dims),)
                dims.append(shape[axis])
        return Tensor(value, tuple(dims), tuple(axes), dtype)

    def reshaped(self, x: Tensor, shape: Shape) -> Tensor:
        """The same numbers in the owner's order, split otherwise."""
        if prod(shape) != x.size:
            raise FaltungError(f"shape={shape}: must have the {x.size} elements of {x.shape}")
        parts: list[list[int]] = [[] for _ in x.dims]
        groups: list[list[tuple[int, int]]] = []  # of each new axis the dims and their parts
        order = iter(x.order)
        dim, left = -1, 1
        for size in shape:
            group: list[tuple[int, int]] = []
            while size > 1:
                if left == 1:
                    dim = next(order)
                    left = x.dims[dim]
                part = min(size, left)
                if size % part or left % part:
                    return self._regrouped(x, shape)
                group.append((dim, len(parts[dim])))
                parts[dim].append(part)
                size, left = size // part, left // part
            groups.append(group)
        starts = np.cumsum([0, *map(len, parts)])
        axes = tuple(tuple(int(starts[dim]) + part for dim, part in group) for group in groups)
        return replace(x, dims=tuple(n for part in parts for n in part), axes=axes)

    def _regrouped(self, x: Tensor, shape: Shape) -> Tensor:
        """The same where sizes do not divide each other: with the numbers in the owner's order."""
        made = self.straightened(x)
        return self.result(made.value, shape, x.dtype)

    def padded_rank(self, x: Tensor, rank: int) -> Tensor:
        """With axes of size 1 in front, as broadcasting adds them."""
        return replace(x, axes=((),) * (rank - x.rank) + x.axes) if rank > x.rank else x

    # Orders in memory ----------------------------------------------------------------------------

    def seen(self, value: Value, samples: int, shape: Shape) -> Value:
        """The same memory as so many samples of this shape; made once."""
        if (value.samples, value.shape) == (samples, shape):
            return value
        key = value.name, (samples, shape)
        if key not in self._forms:
            self._forms[key] = self.b.node(View(), (value,), shape, samples=samples)
        return self._forms[key]

    def front(self, x: Tensor) -> int:
        """How many of the first dims are the batch, as samples of the value.

        Whatever becomes of a tensor, they stay its samples as long as they are in front. So the
        batch has no part in shapes, and these are the same for one sample and for several; with
        them what is fused, and which method computes it.
        """
        count, total = 0, 1
        while count < len(x.dims) and total < self.batch:
            total *= x.dims[count]
            count += 1
        return 0 if total != self.batch or x.value.samples % total else count

    def wide(self, x: Tensor, channels: int) -> Value:
        """The value with so many channels, which are some of the last dims."""
        if x.value.channels == channels:
            return x.value
        positions = x.size // channels
        samples = self.batch if self.front(x) and positions % self.batch == 0 else 1
        return self.seen(x.value, samples, (channels, positions // samples))

    def vector(self, value: Value) -> Value:
        """All numbers of a value, in the order of memory."""
        return self.seen(value, 1, (value.size,))

    def ordered(self, x: Tensor, order: Sequence[int]) -> Tensor:
        """With the dims in another order in memory: a copy, unless they are in it."""
        order = tuple(order)
        if order == tuple(range(len(x.dims))):
            return x
        dims = tuple(x.dims[i] for i in order)
        key = x.value.name, (x.dims, order)
        axes = tuple(tuple(order.index(i) for i in axis) for axis in x.axes)
        if key not in self._forms:
            front = self.front(x)
            front = front if order[:front] == tuple(range(front)) and front < len(dims) else 0
            shape, samples = (dims[-1], prod(dims[front:-1])), prod(dims[:front])
            value = x.value if _refines(x.dims, x.value.channels) else self.vector(x.value)
            self._forms[key] = self.node(Permute(x.dims, order), (value,), shape, samples=samples)
        return Tensor(self._forms[key], dims, axes, x.dtype)

    def arranged(self, x: Tensor, memory: Sequence[int]) -> Tensor:
        """With the owner's axes in this order in memory."""
        return self.ordered(x, [i for axis in memory for i in x.axes[axis]])

    def straightened(self, x: Tensor) -> Tensor:
        """The tensor with its numbers in the owner's order."""
        return self.arranged(x, range(x.rank))

    def map(
        self,
        x: Tensor,
        samples: Iterable[int] = (0,),
        space: Iterable[int] | None = None,
        channels: Iterable[int] = (1,),
    ) -> Value:
        """The tensor as a map: which of the owner's axes are samples, space and channels. By
        default (samples, C, *space) in the owner's order.
        """
        samples, channels = tuple(samples), tuple(channels)
        places = tuple(range(2, x.rank)) if space is None else tuple(space)
        numbers(x)
        made = self.arranged(x, (*samples, *places, *channels))
        sizes = x.shape
        shape = prod(sizes[i] for i in channels), *(sizes[i] for i in places)
        return self.seen(made.value, prod(sizes[i] for i in samples), shape)

    def of_map(self, value: Value, dtype: str) -> Tensor:
        """A map as (samples, C, *space)."""
        rank = len(value.shape) + 1
        shape = (value.samples, *value.shape)
        return self.result(value, shape, dtype, (0, *range(2, rank), 1))


def _refines(dims: Shape, channels: int) -> bool:
    """Whether some of the last sizes are these channels."""
    return channels in {prod(dims[i:]) for i in range(len(dims) + 1)}


def numbers(x: Tensor) -> None:
    """Unsaid: whole numbers, which formulas of real numbers would not keep."""
    if x.value.kind != "float":
        raise Unsaid("whole numbers as data (needs whole numbers in formulas)")
