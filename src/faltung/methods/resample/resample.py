"""Resampling: a sparse linear map along any axes of an array, the channels too.

What it is.  Each axis that has a table (``geometry/resample.py``) is replaced by sums over the taps
  of each row. Vectors lie along what is contiguous: the channels, and the axes behind the last one
  that has a table. Where that is an element or two, as when pictures of one channel get another
  width, they lie along the resampled axis itself, and elements are gathered.
When it applies.  Always. A channel table that moves whole blocks of channels moves blocks.
What it costs.  All axes at once read the product of their taps for every element; one after the
  other the sum of them, but they store arrays in between, in the order that makes these small.
  Whichever is cheaper by sizes and taps is chosen.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.geometry.resample import Table
from faltung.machine.table import Machine
from faltung.methods.base.step import MISSING, Argument, Matrix, Work
from faltung.methods.base.step import Table as Numbers
from faltung.methods.elementwise.totals import scale_bits
from faltung.methods.resample.kernel import (
    MOST_UNROLLED,
    RAGGED,
    Gather,
    Level,
    ResampleKernel,
)

# Elements of the run up to which elements are gathered; and what a gathered element costs, in
# elements that are loaded together.
MOST_GATHERED_RUN, GATHERED_COST = 2, 6.0
# What storing and loading an element of an array in between costs, in loads from the cache.
STORED_COST = 2.0
# Vectors of the run in one iteration.
MOST_UNROLL = 4
# Loads of vectors in one item, and the most addresses that are held in registers at once.
ITEM_LOADS, MOST_LEAVES = 4096, 16
# Axes whose orders are all tried.
MOST_ORDERED = 5

# The axes of each pass, and the most taps of a row of each table.
Order = tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]


@dataclass(frozen=True)
class Taps:
    """A table as arrays. counts: taps of each row; starts: of its first one. least: taps that the
    most of a row are at least, as in the table that this one is a part of.
    """

    table: Table
    least: int = 0

    @cached_property
    def counts(self) -> Numbers:
        return np.diff(self.starts)

    @cached_property
    def starts(self) -> Numbers:
        return np.array(self.table.starts, np.int64)

    @cached_property
    def indices(self) -> Numbers:
        return np.array(self.table.indices, np.int64)

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        return np.array(self.table.weights, np.float64)

    @cached_property
    def most(self) -> int:
        return max(self.least, int(self.counts.max(initial=0)))

    @cached_property
    def holes(self) -> bool:
        return bool((self.counts == 0).any())

    @cached_property
    def weighted(self) -> bool:
        return bool((self.weights != 1).any())

    def even(self, taps: int) -> "tuple[Numbers, npt.NDArray[np.float64]]":
        """Indices and weights with ``taps`` columns, -1 for none.

        A row that has fewer repeats its last one with half of its weight, which is exact: a weight
        of zero would turn an infinity into NaN.
        """
        rows = len(self.counts)
        indices, weights = np.full((rows, taps), -1, np.int64), np.zeros((rows, taps))
        at = np.arange(len(self.indices)) - np.repeat(self.starts[:-1], self.counts)
        row = np.repeat(np.arange(rows), self.counts)
        indices[row, at], weights[row, at] = self.indices, self.weights
        for k in range(1, taps):
            short = (self.counts > 0) & (self.counts <= k)
            indices[short, k] = indices[short, k - 1]
            weights[short, k] = weights[short, k - 1] = weights[short, k - 1] / 2
        return indices, weights


@dataclass(frozen=True)
class _Axis:
    """Entries of the result, and the elements from one to the next in source, in result, and in
    each array of the epilogue.
    """

    size: int
    x: int
    out: int
    taps: Taps | None = None
    aux: tuple[int, ...] = ()


@dataclass(frozen=True)
class Aux:
    """An array that the epilogue reads. kind: a "map" like the result, a vector of its "channels",
    or a "number". alone: there is one for all samples.
    """

    kind: str
    array: Matrix
    alone: bool = False


@dataclass(frozen=True)
class Finish:
    """What becomes of the result: a formula of it (operand 0) and of these arrays."""

    formula: Expr
    aux: tuple[Aux, ...] = ()

    @property
    def arrays(self) -> list[Aux]:
        return [each for each in self.aux if each.kind != "number"]


def resample(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    samples: int,
    shape: Sequence[int],
    tables: Sequence[Table | None],
    source: Matrix,
    target: Matrix,
    fill: float = 0.0,
    finish: Finish | None = None,
    order: Order | None = None,
    title: str = "resample",
) -> None:
    """Add the steps: a map (samples, *space, C) of ``shape`` (C, *space) through its ``tables``.

    tables: for the channels, then for space. fill: what elements are whose row is empty. finish:
    what the last step stores instead. order: as ``order_of`` the whole, where this is a part.
    """
    if order is None:
        taps = [None if t is None or t.identity else Taps(t) for t in tables]
        passes = _passes(machine.lanes(dtype), list(shape), taps)
    else:
        passes, most = list(order[0]), order[1]
        there = {axis for axes in passes for axis in axes}
        taps = [
            None if t is None or axis not in there else Taps(t, most[axis])
            for axis, t in enumerate(tables)
        ]
    now, sizes = source, list(shape)
    for number, axes in enumerate(passes):
        chosen = [taps[a] if a in axes else None for a in range(len(taps))]
        made = [t.table.output if t else n for t, n in zip(chosen, sizes, strict=True)]
        then, end = target, finish
        if number + 1 < len(passes):
            size = np.dtype(dtype).itemsize * samples * prod(made)
            then, end = Matrix(work.borrow("resampled", size), made[0]), None
        arrays = now, then
        _pass(work, dtype, machine, samples, sizes, chosen, arrays, fill, end, title, number > 0)
        now, sizes = then, made


# Order --------------------------------------------------------------------------------------------


def order_of(
    dtype: str, machine: Machine, *, shape: Sequence[int], tables: Sequence[Table | None]
) -> Order:
    """The axes that each pass over a map takes, and the most taps of a row of each table: what the
    bits depend on.
    """
    taps = [None if t is None or t.identity else Taps(t) for t in tables]
    passes = _passes(machine.lanes(dtype), list(shape), taps)
    return tuple(passes), tuple(0 if each is None else each.most for each in taps)


def _passes(lanes: int, sizes: list[int], taps: Sequence[Taps | None]) -> list[tuple[int, ...]]:
    """The axes that each pass takes: all at once, or one after the other in the best order."""
    axes = [number for number, each in enumerate(taps) if each is not None]
    if len(axes) < 2:
        return [tuple(axes)]
    # Axes as they lie in memory: the channels last.
    orders = permutations(axes) if len(axes) <= MOST_ORDERED else [tuple(axes)]
    best = min(orders, key=lambda order: _cost(lanes, sizes, taps, [(a,) for a in order]))
    apart: list[tuple[int, ...]] = [(a,) for a in best]
    together = [tuple(axes)]
    if _cost(lanes, sizes, taps, together) <= _cost(lanes, sizes, taps, apart):
        return together
    return apart


def _cost(
    lanes: int,
    sizes: Sequence[int],
    taps: Sequence[Taps | None],
    passes: Sequence[tuple[int, ...]],
) -> float:
    """Loads of vectors that these passes take, for one sample."""
    now, total = list(sizes), 0.0
    for number, axes in enumerate(passes):
        terms = 1.0
        for a in axes:
            each = taps[a]
            assert each is not None
            now[a] = each.table.output
            terms *= max(1.0, len(each.indices) / max(1, now[a]))
        behind = prod(now[max(axes) + 1 :]) * now[0] if 0 not in axes else 1
        cost = GATHERED_COST if behind <= MOST_GATHERED_RUN else max(1.0, lanes / behind)
        stored = STORED_COST if number else 0.0
        total += prod(now) / lanes * (terms * cost + 1 + stored)
    return total


# One pass -----------------------------------------------------------------------------------------


def _pass(
    work: Work,
    dtype: str,
    machine: Machine,
    samples: int,
    sizes: Sequence[int],
    taps: Sequence[Taps | None],
    arrays: tuple[Matrix, Matrix],
    fill: float,
    finish: Finish | None,
    title: str,
    barrier: bool,
) -> None:
    """One step for all of these axes."""
    lanes, (source, target) = machine.lanes(dtype), arrays
    beside = finish.arrays if finish is not None else []
    axes = _blocked(_axes(samples, sizes, taps, source.pitch, target.pitch, beside), lanes)
    axes, run, gather = _inside(axes)
    if not axes:
        axes = [_Axis(1, 0, 0, None, (0,) * len(beside))]
    given: dict[str, Argument] = {"x": source.array, "out": target.array, "run": run}
    kinds: list[Level] = []
    leaves = 1
    for number, axis in enumerate(axes):
        level, arguments = _level(dtype, axis, leaves)
        leaves *= level.taps or 1
        kinds.append(level)
        given |= {f"{name}{number}": value for name, value in arguments.items()}
    inner = None
    if gather is not None:
        inner, arguments = _gather(dtype, gather)
        given |= arguments
    loads = leaves if inner is None else leaves * (inner.taps or 2)
    kernel = ResampleKernel(dtype, tuple(kinds), inner, _unroll(run // lanes, loads), run % lanes)
    if finish is not None:
        given |= _beside(finish, axes)
        names = tuple("number" if each.kind == "number" else "array" for each in finish.aux)
        kernel = replace(kernel, epilogue=finish.formula, aux=names)
    if kernel.holes:
        given["fill"] = scale_bits(dtype, fill)
    last = axes[-1].size
    each = ITEM_LOADS / _terms(axes, gather)  # vectors of an item
    chunk = min(last, max(1, int(each / -(-run // lanes)))) if run else 1
    parts = -(-last // chunk) if last else 0
    items = prod(axis.size for axis in axes[:-1]) * parts if run else 0
    segment = -(-int(each) // MOST_UNROLL) * MOST_UNROLL * lanes
    if run > 2 * segment:
        kernel = replace(kernel, segmented=True)
        segments = -(-run // segment)
        items *= segments
        given |= {"segment": segment, "segments": segments}
    step = kernel.step(items, title, barrier=barrier, parts=parts, chunk=chunk, **given)
    work.steps.append(step)


def _terms(axes: Sequence[_Axis], gather: "_Inner | None") -> float:
    """Loads for each vector of the result."""
    terms = GATHERED_COST * max(1, gather.taps.most) if gather is not None else 1.0
    for axis in axes:
        if axis.taps is not None:
            terms *= max(1.0, len(axis.taps.indices) / max(1, axis.size))
    return terms


def _beside(finish: Finish, axes: Sequence[_Axis]) -> dict[str, Argument]:
    """The arguments for the arrays of an epilogue."""
    given: dict[str, Argument] = {f"aux{i}": each.array.array for i, each in enumerate(finish.aux)}
    numbers = [i for i, each in enumerate(finish.aux) if each.kind != "number"]
    for place, i in enumerate(numbers):
        given |= {f"aux{i}_{number}": axis.aux[place] for number, axis in enumerate(axes)}
    return given


def _unroll(vectors: int, loads: int) -> int:
    """Vectors in one iteration, of a run of so many."""
    fits = MOST_UNROLL if loads == 1 else 2 if loads <= 4 else 1
    while fits > max(1, vectors):
        fits //= 2
    return fits if vectors else 0


def _axes(
    samples: int,
    sizes: Sequence[int],
    taps: Sequence[Taps | None],
    x_pitch: int,
    out_pitch: int,
    beside: Sequence[Aux],
) -> list[_Axis]:
    """Samples, space and channels; adjacent axes without a table as one."""
    order = [*range(1, len(sizes)), 0]
    found = [_Axis(_made(sizes[0], taps[0]), 1, 1, taps[0], (1,) * len(beside))]
    x, out = x_pitch, out_pitch
    aux = [each.array.pitch if each.kind == "map" else 0 for each in beside]
    for a in reversed(order[:-1]):
        found.append(_Axis(_made(sizes[a], taps[a]), x, out, taps[a], tuple(aux)))
        x, out = x * sizes[a], out * found[-1].size
        aux = [step * found[-1].size for step in aux]
    last = [
        each.array.pitch if each.kind != "map" else n for n, each in zip(aux, beside, strict=True)
    ]
    last = [0 if each.alone else n for n, each in zip(last, beside, strict=True)]
    found.append(_Axis(samples, x, out, None, tuple(last)))
    made: list[_Axis] = []
    for axis in reversed(found):
        if axis.size == 1 and axis.taps is None:
            continue
        before = made[-1] if made else None
        if (
            before is not None
            and before.taps is None
            and axis.taps is None
            and before.x == axis.x * axis.size
            and before.out == axis.out * axis.size
            and before.aux == tuple(n * axis.size for n in axis.aux)
        ):
            made[-1] = replace(axis, size=before.size * axis.size)
        else:
            made.append(axis)
    return made


def _made(size: int, taps: Taps | None) -> int:
    return size if taps is None else taps.table.output


def _blocked(axes: list[_Axis], lanes: int) -> list[_Axis]:
    """A last axis whose table moves whole blocks of entries, as an axis of blocks and a run."""
    last = axes[-1] if axes else None
    if last is None or last.taps is None or (last.x, last.out) != (1, 1):
        return axes
    taps = last.taps
    if taps.most != 1 or taps.weighted:
        return axes
    indices = taps.even(1)[0][:, 0]
    there = indices >= 0
    moved = np.where(there[1:] & there[:-1], np.diff(indices) != 1, there[1:] != there[:-1])
    breaks = np.flatnonzero(moved) + 1
    block = int(np.gcd.reduce([*breaks.tolist(), len(indices)]))
    heads = indices[::block]
    block = int(np.gcd.reduce([block, taps.table.size, *heads[heads >= 0].tolist()]))
    if block < lanes:
        return axes
    rows = [[] if i < 0 else [(int(i) // block, 1.0)] for i in indices[::block].tolist()]
    starts = (0, *np.cumsum([len(row) for row in rows]).tolist())
    places = tuple(i for row in rows for i, _ in row)
    table = Table(taps.table.size // block, starts, places, (1.0,) * len(places))
    wide = tuple(n * block for n in last.aux)
    blocks = _Axis(len(rows), block, block, Taps(table), wide)
    return [*axes[:-1], blocks, _Axis(block, 1, 1, None, last.aux)]


@dataclass(frozen=True)
class _Inner:
    """A resampled axis of ``x`` elements from entry to entry, with ``width`` elements behind it."""

    taps: Taps
    x: int
    width: int


def _inside(axes: list[_Axis]) -> tuple[list[_Axis], int, _Inner | None]:
    """The levels, the elements of the run, and the axis whose elements are gathered."""
    run = 1
    inner = axes[-1] if axes else None
    if inner and inner.taps is None and {inner.x, inner.out, *inner.aux} == {1}:
        run = axes[-1].size
        axes = axes[:-1]
    last = axes[-1] if axes else None
    if (
        last is None
        or last.taps is None
        or last.aux
        or run > MOST_GATHERED_RUN
        or last.out != run
        or last.x * (last.taps.table.size + 1) >= 1 << 31
    ):
        return axes, run, None
    return axes[:-1], run * last.size, _Inner(last.taps, last.x, run)


def _level(dtype: str, axis: _Axis, leaves: int) -> tuple[Level, dict[str, Argument]]:
    """A level and its arguments; ``leaves``: the product of the taps of those outside it."""
    arguments: dict[str, Argument] = {"size": axis.size, "out": axis.out}
    taps = axis.taps
    if taps is None:
        return Level(), arguments | {"x": axis.x}
    most = taps.most
    if 1 <= most <= MOST_UNROLLED and most * leaves <= MOST_LEAVES:
        indices, weights = taps.even(most)
        weighted = bool((weights[indices >= 0] != 1).any())
        offsets = np.where(indices < 0, MISSING, indices * axis.x)
        level = Level(most, weighted, taps.holes)
    else:
        offsets, weights, weighted = taps.indices * axis.x, taps.weights, taps.weighted
        arguments["start"] = taps.starts
        level = Level(RAGGED, weighted, taps.holes)
    arguments["index"] = np.ascontiguousarray(offsets.ravel())
    if weighted:
        arguments["weight"] = _words(weights.ravel().astype(dtype))
    return level, arguments


def _gather(dtype: str, inner: _Inner) -> tuple[Gather, dict[str, Argument]]:
    taps = inner.taps
    most = max(1, taps.most)
    if most <= MOST_UNROLLED:
        indices, weights = taps.even(most)
        kind = most
    else:
        indices, weights, kind = *_padded(taps, most), RAGGED
    weighted = bool((weights[indices >= 0] != 1).any())
    along = np.arange(inner.width)
    offsets = np.where(indices < 0, -1, indices * inner.x).T[:, :, None]
    offsets = np.where(offsets < 0, -1, offsets + along)
    spread = np.broadcast_to(weights.T[:, :, None], offsets.shape)
    arguments: dict[str, Argument] = {"offsets": _words(offsets.ravel().astype(np.int32))}
    if weighted:
        arguments["weights"] = _words(spread.ravel().astype(dtype))
    if kind == RAGGED:
        arguments["taps"] = most
    return Gather(kind, weighted, taps.holes), arguments


def _padded(taps: Taps, most: int) -> "tuple[Numbers, npt.NDArray[np.float64]]":
    """Indices and weights with ``most`` columns; what a row lacks reads nothing."""
    shape = len(taps.counts), most
    indices, weights = np.full(shape, -1, np.int64), np.zeros(shape)
    inside = np.arange(most) < taps.counts[:, None]
    indices[inside], weights[inside] = taps.indices, taps.weights
    return indices, weights


def _words(array: npt.NDArray[Any]) -> Numbers:
    """The bytes of an array as an argument: 64-bit words, zeros at the end."""
    raw = array.view(np.uint8)
    made = np.zeros(-(-raw.nbytes // 8), np.int64)
    made.view(np.uint8)[: raw.nbytes] = raw
    return made
