"""Convolution of Dask arrays: a task for each chunk of the result, with the bits of the whole."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from faltung.dask.arrays import dask_array, lazy, one_thread, present
from faltung.dask.blocks import Blocks, Gather
from faltung.dask.halo import ends_of, spans_of
from faltung.geometry.axis import Axis
from faltung.geometry.border import Border
from faltung.geometry.check import PerAxis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding
from faltung.geometry.record import dataclass
from faltung.jit.target import current
from faltung.ops.arguments import OTHERS, Array, array, batched_shape, dimensions
from faltung.ops.call_cache import Calls, Inputs, Prepared
from faltung.ops.constant import BorderMode, constant, in_dtype
from faltung.ops.directions import SHARED, forward
from faltung.ops.options import Geometry, bias_fits, parameters, rank_of, spec_of
from faltung.ops.run import policy_of
from faltung.plan.choose import FORWARD, Policy
from faltung.plan.part import Part, part_of
from faltung.plan.words import MethodName, Precision

# Outputs that read one chunk alone are computed apart, from the chunk itself, where they are more
# than this part of all: else a copy with the halo takes less time than several calls.
MIN_INSIDE = 0.75

_calls: Calls[Array] = Calls()


def conv(
    x: Any,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: BorderMode = "zeros",
    padding_value: complex = 0.0,
    flip: bool = False,
    channels_last: bool = False,
    precision: Precision = "fast",
    method: MethodName = "auto",
    tune: bool | None = None,
) -> Any:
    """``faltung.conv`` of a Dask array: lazy, a chunk at a time, with the bits of the whole array.

    Chunks may have any size, also less than the kernel, along every axis; nothing is rechunked. A
    task reads its chunk and strips of those beside it, as wide as the kernel reaches, and computes
    with one thread, because Dask has a worker for each core.

    Parameters
    ----------
    x : dask.array.Array, ``(N, C_in, *space)`` or ``(C_in, *space)``
        With ``channels_last`` ``(N, *space, C_in)`` or ``(*space, C_in)``.
    weight : array_like, ``(C_out, C_in // groups, *kernel)``
    bias : array_like, ``(C_out,)``, optional
    stride, padding, dilation, groups, padding_mode, padding_value, flip, channels_last
        As for ``faltung.conv``.
    precision, method : name
        As for ``faltung.conv``, decided once for the whole array. Sums and Winograd's tiles have
        the bits of ``faltung.conv`` on the whole array. Where that would take Fourier blocks or
        Strassen's algorithm, which depend on the size of the whole, the result has the bits of
        ``precision="strict"``; ``method="fft"`` and ``"strassen"`` by name are computed for each
        chunk alone, and their last digits depend on where chunks begin.
    tune : bool, optional
        As for ``faltung.conv``, where ``precision`` is "strict".

    Returns
    -------
    dask.array.Array, ``(N, C_out, *output)``
        An output belongs to the chunk in which its window begins, padding left out: chunks of the
        input are those of the result, divided by the stride. The channels are one chunk, unless
        chunks of the input are whole groups.

    Raises
    ------
    TypeError, ValueError
        As ``faltung.conv``; also for chunks of unknown size, and for arrays of objects, with masks
        or with units. The message says what to do.
    ImportError
        Dask is not installed.

    Examples
    --------
    >>> import dask.array, numpy as np, faltung.dask
    >>> x = dask.array.ones((1, 1, 100, 100), chunks=(1, 1, 40, 40))
    >>> y = faltung.dask.conv(x, np.ones((1, 1, 3, 3)), padding="same", stride=2)
    >>> y.chunks
    ((1,), (1,), (20, 20, 10), (20, 20, 10))
    >>> float(y.sum().compute())
    22201.0
    """
    given, kernel, shift = _checked(x, weight, bias)
    rank = rank_of("weight.shape", kernel.shape)
    asked: Any = padding_mode
    geometry, border = constant(
        Geometry(stride, padding, dilation, groups, asked, flip), padding_value
    )
    dimensions("x", given, rank)
    shape = batched_shape("x.shape", given.shape, rank, channels_last)
    spec = spec_of(shape, kernel.shape, given.dtype, geometry)
    bias_fits(shift, spec.channels_out)
    read, there, value = spec, (False,) * rank, 0.0
    if border is not None:
        read, there, value = (
            border.read(spec),
            border.along(spec),
            in_dtype(border.value, given.dtype),
        )
    part = part_of(read, current(), policy_of(precision, method, tune))
    held = Weights(kernel, shift, spec, channels_last, part.policy)
    places = _places(given, spec, channels_last)
    return _Graph(given, held, part, places, there, value).array()


def _checked(x: Any, weight: ArrayLike, bias: ArrayLike | None) -> tuple[Any, Array, Array | None]:
    """The arrays, weight and bias copied: the graph is computed later."""
    given = lazy(x)
    present("weight", weight)
    present("bias", bias)
    kernel, shift = parameters(array("x", np.empty(0, given.dtype), None, OTHERS), weight, bias)
    return given, np.array(kernel), None if shift is None else np.array(shift)


# Tasks --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """What all tasks share, and each worker gets once."""

    weight: Array
    bias: Array | None
    spec: ConvSpec
    channels_last: bool
    policy: Policy


@dataclass(frozen=True, slots=True)
class Box:
    """Outputs that are computed at once: where they are in their chunk, zeros to pad with, and what
    to crop of the result, if anything.
    """

    to: tuple[slice, ...]
    pads: tuple[tuple[int, int], ...]
    crop: tuple[slice, ...] | None


@dataclass(frozen=True, slots=True)
class Block:
    """The task of one chunk of the result: its boxes, what they read, and ``groups`` (first, count)
    of the whole.
    """

    shape: tuple[int, ...]
    groups: tuple[int, int]
    boxes: tuple[tuple[Box, Gather], ...]

    def __call__(self, held: Weights, *sources: object) -> Array:
        with one_thread():
            if len(self.boxes) == 1:
                return self._computed(held, *self.boxes[0], sources)
            out = np.empty(self.shape, held.weight.dtype)
            for box, gather in self.boxes:
                self._computed(held, box, gather, sources, out[box.to])
            return out

    def _computed(
        self,
        held: Weights,
        box: Box,
        gather: Gather,
        sources: Sequence[object],
        out: Array | None = None,
    ) -> Array:
        spec, (first, count) = held.spec, self.groups
        each = spec.channels_out // spec.groups
        channels = slice(first * each, (first + count) * each)
        bias = None if held.bias is None else held.bias[channels]
        inputs = gather(sources), held.weight[channels], bias
        geometry = Geometry(spec.stride, box.pads, spec.dilation, count, "zeros", spec.flip)
        options = *geometry, held.channels_last, held.policy
        made = _calls.run("dask", _prepared, inputs, options, out)
        return made if box.crop is None else made[box.crop]


def _prepared(inputs: Inputs, options: tuple[Any, ...], out: Array | None) -> Prepared:
    *geometry, last, policy = options
    try:
        return forward(SHARED, inputs, Geometry(*geometry), last, out, policy=policy)
    except FaltungError:
        # A sum by name may not apply to a part of an array, where another has the same bits.
        if policy.method not in FORWARD or FORWARD[policy.method].transform:
            raise
        policy = replace(policy, method="auto", sums=True)
        return forward(SHARED, inputs, Geometry(*geometry), last, out, policy=policy)


# The graph ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """Where the axes of an array are: batch (None without one), channels, space."""

    batch: int | None
    channels: int
    space: tuple[int, ...]

    def placed(self, batch: Any, channels: Any, space: Sequence[Any]) -> tuple[Any, ...]:
        """One value for each axis, in the order of the axes."""
        found = {self.channels: channels, **dict(zip(self.space, space, strict=True))}
        if self.batch is not None:
            found[self.batch] = batch
        return tuple(found[i] for i in range(len(found)))


def _places(x: Any, spec: ConvSpec, channels_last: bool) -> _Places:
    first = x.ndim - spec.rank - 1
    space = range(first, first + spec.rank) if channels_last else range(first + 1, x.ndim)
    return _Places(0 if first else None, x.ndim - 1 if channels_last else first, tuple(space))


@dataclass(frozen=True)
class _Graph:
    """The graph in the making. there: the axes in whose padding ``value`` stands."""

    x: Any
    held: Weights
    part: Part
    places: _Places
    there: tuple[bool, ...]
    value: Any

    def array(self) -> Any:
        """The lazy result."""
        from dask.base import tokenize
        from dask.highlevelgraph import HighLevelGraph

        spec, x = self.held.spec, self.x
        held = replace(self.held, spec=replace(spec, batch=1))
        token = tokenize(
            *(x.name, held.weight, held.bias, str(spec), repr(self.part), self.places),
            *(self.there, self.value),
        )
        name = f"faltung-conv-{token}"
        chunks = self._chunks()
        blocks, shared = Blocks(x, f"{name}-frame"), f"{name}-weights"
        made: dict[Hashable, tuple[tuple[int, ...], tuple[int, int], list[Box]]] = {}
        for index in product(*(range(len(along)) for along in chunks)):
            made[(name, *index)] = self._block(blocks, (name, *index), chunks, index)
        layer, gathers = blocks.tasks()
        layer[shared] = held
        for key, (gather, keys) in gathers.items():
            shape, channels, boxes = made[key]
            pairs = tuple(zip(boxes, gather, strict=True))
            layer[key] = (Block(shape, channels, pairs), shared, *keys)
        graph = HighLevelGraph.from_collections(name, layer, dependencies=[x])
        meta = np.empty((0,) * x.ndim, x.dtype)
        return dask_array().Array(graph, name, chunks, dtype=x.dtype, meta=meta)

    def _chunks(self) -> tuple[tuple[int, ...], ...]:
        """Of the result."""
        spec, chunks, at = self.held.spec, self.x.chunks, self.places
        groups = grouped(chunks[at.channels], spec)
        each = spec.channels_out // spec.groups
        space = [outputs(axis, chunks[i]) for axis, i in zip(spec.axes, at.space, strict=True)]
        batch = None if at.batch is None else chunks[at.batch]
        return at.placed(batch, tuple(count * each for count in groups), space)

    def _block(
        self,
        blocks: Blocks,
        key: Hashable,
        chunks: tuple[tuple[int, ...], ...],
        index: tuple[int, ...],
    ) -> tuple[tuple[int, ...], tuple[int, int], list[Box]]:
        """Add the blocks of the task ``key``; its shape, groups and boxes."""
        spec, at = self.held.spec, self.places
        ends = [spans_of(along)[i] for along, i in zip(chunks, index, strict=True)]
        each = spec.channels_out // spec.groups
        first, last = (end // each for end in ends[at.channels])
        channels = spec.channels_in // spec.groups
        batch = None if at.batch is None else ends[at.batch]
        plain = Border("replicate")  # nothing is beyond
        borders = at.placed(plain, plain, self._borders)
        boxes = []
        wanted = [ends[i] for i in at.space]
        for box in self._boxes(wanted):
            grid = [self.part.outputs(i, *span, spec.output[i]) for i, span in enumerate(box)]
            read = [
                _read(axis, *span, filled)
                for axis, span, filled in zip(spec.axes, grid, self.there, strict=True)
            ]
            inputs = [positions for positions, _ in read]
            blocks.add(key, at.placed(batch, (first * channels, last * channels), inputs), borders)
            to, crop = [_shifted(box, [start for start, _ in by]) for by in (wanted, grid)]
            every = slice(None)
            boxes.append(
                Box(
                    at.placed(every, every, to),
                    tuple(pads for _, pads in read),
                    None if grid == box else at.placed(every, every, crop),
                )
            )
        shape = tuple(stop - start for start, stop in ends)
        return shape, (first, last - first), boxes

    @property
    def _borders(self) -> list[Border]:
        """Beyond the ends of each axis."""
        return [
            Border("constant", self.value if filled else 0.0)
            if axis.mode == "zeros"
            else Border(axis.mode)
            for axis, filled in zip(self.held.spec.axes, self.there, strict=True)
        ]

    def _boxes(self, wanted: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """The outputs ``wanted``, as ranges of all axes: those that read one chunk alone, which is
        then not copied, and slabs beside them.
        """
        axes, at = self.held.spec.axes, self.places
        if max(self.part.grid) > 1:  # tiles are cut as they are
            return [wanted]
        inner = [
            _inside(axis, self.x.chunks[place], *span, axis.mode == "zeros" and not filled)
            for axis, place, span, filled in zip(axes, at.space, wanted, self.there, strict=True)
        ]
        if inner == wanted or _volume(inner) < MIN_INSIDE * _volume(wanted):
            return [wanted]
        found = [inner]
        for i, ((start, stop), (low, high)) in enumerate(zip(wanted, inner, strict=True)):
            for span in ((start, low), (high, stop)):
                if span[0] < span[1]:
                    found.append([*inner[:i], span, *wanted[i + 1 :]])
        return found


def _shifted(box: Sequence[tuple[int, int]], firsts: Sequence[int]) -> list[slice]:
    return [slice(a - first, b - first) for (a, b), first in zip(box, firsts, strict=True)]


def _volume(box: Sequence[tuple[int, int]]) -> int:
    return prod(stop - start for start, stop in box)


def _inside(
    axis: Axis, chunks: tuple[int, ...], start: int, stop: int, zeros: bool
) -> tuple[int, int]:
    """The outputs ``start`` .. ``stop - 1`` that read one chunk alone, that in which the window of
    the first begins, or the ``zeros`` beside it. Possibly none: (start, start).
    """
    number = bisect_right(ends_of(chunks), min(start * axis.stride, axis.size - 1))
    begin, end = spans_of(chunks)[number]
    low, high = start, stop
    if begin or not zeros:
        low = max(start, -(-(begin + axis.lo) // axis.stride))
    if end < axis.size or not zeros:
        high = min(stop, (end + axis.lo - axis.extent) // axis.stride + 1)
    return (low, high) if low < high else (start, start)


def grouped(chunks: Sequence[int], spec: ConvSpec) -> list[int]:
    """How many groups of channels are computed together: those of chunks that have whole ones."""
    each = spec.channels_in // spec.groups
    cuts = [0, *(end for end in accumulate(chunks) if end % each == 0)]
    return [(stop - start) // each for start, stop in pairwise(cuts) if stop > start]


def outputs(axis: Axis, chunks: Sequence[int]) -> tuple[int, ...]:
    """Chunks of the result along an axis: outputs ``o`` with ``o * stride`` in the chunk. Those
    that padding adds are in the last one, or in more as large as the last, where they are many.
    """
    cuts = [0]
    for end in accumulate(chunks):
        cut = min(-(-end // axis.stride), axis.output)
        if cut > cuts[-1]:
            cuts.append(cut)
    size = max(stop - start for start, stop in pairwise(cuts))
    while axis.output - cuts[-1] >= size:
        cuts.append(cuts[-1] + size)
    cuts[-1] = axis.output if len(cuts) > 1 else cuts[-1]
    return tuple(stop - start for start, stop in pairwise(cuts))


def _read(
    axis: Axis, start: int, stop: int, filled: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The positions that outputs of an axis read, and the zeros before and after them that the
    convolution itself pads with, as it does for the whole array. filled: there are none, since
    another constant stands there.
    """
    first, last = axis.input_range(start, stop)
    inside = max(first, 0), min(last, axis.size)
    if axis.mode != "zeros" or filled or inside[0] >= inside[1]:
        return (first, last), (0, 0)
    return inside, (inside[0] - first, last - inside[1])
