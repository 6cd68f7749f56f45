"""Poolings, from ATen, also adaptive ones, and where their maxima come from.

What is no window of one size is a table for each axis: means are sums with weights, and maxima are
compared tap by tap, one axis after the other.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from faltung.geometry.expr import Expr, greater, is_nan, logic, select
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.geometry.record import dataclass
from faltung.geometry.resample import averaged, selected, table
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import MOST_PADDING, pooled
from faltung.graph.foreign_reduce import reduced
from faltung.graph.foreign_resample import resampled
from faltung.torch.arguments import Arguments
from faltung.torch.convolve import as_given, batched

Handler = Callable[[Arguments], Tensor | list[Any]]

# Whole numbers that a dtype holds.
EXACT = {"float32": 1 << 24, "float64": 1 << 53}
# Taps of a window along an axis, where each is compared by itself.
MOST_COMPARED = 64


@dataclass(frozen=True, slots=True)
class Window:
    """Along an axis of ``size`` entries which of them an output reads: every ``step``-th from
    ``first`` to ``last``, both included.
    """

    first: int
    last: int
    step: int = 1


Windows = Sequence[Sequence[Window]]


def is_read(a: Arguments, number: int) -> bool:
    """Whether somebody reads this result of the operation."""
    readers = a.call.node.users
    return any(
        bool(user.users) and user.args[1] == number if user.target is operator.getitem else True
        for user in readers
    )


# Windows of one size ------------------------------------------------------------------------------


def _spec(a: Arguments, x: Tensor, rank: int, kind: str, **options: Any) -> PoolSpec:
    kernel = a.wholes("kernel_size", rank)
    padding = a.wholes("padding", rank)
    if max(padding) > MOST_PADDING:
        raise Unsaid(f"padding of {max(padding)} entries")
    return pool_spec(
        (1, *x.shape[1:]),
        kernel,
        kind=kind,
        stride=a.wholes("stride", rank) or kernel,
        padding=tuple((n, n) for n in padding),
        ceil=a.flag("ceil_mode"),
        dtype=a.f.dtype,
        **options,
    )


def max_pool(rank: int, indexed: bool = False) -> Handler:
    def made(a: Arguments) -> Tensor | list[Any]:
        x, f = batched(a, a.floats("self"), rank), a.f
        spec = _spec(a, x, rank, "max", dilation=a.wholes("dilation", rank))
        y = as_given(a, f.of_map(pooled(f, f.map(x), spec), x.dtype), rank, "self")
        if not indexed:
            return y
        return [
            y,
            as_given(a, origins(f, x, _windows(spec)), rank, "self") if is_read(a, 1) else None,
        ]

    return made


def _windows(spec: PoolSpec) -> Windows:
    """What each output reads within the array, along each axis."""
    made = []
    for axis in spec.axes:
        line = []
        for o in range(axis.output):
            first, stop = axis.valid_taps(o)
            start, step = o * axis.stride - axis.lo, axis.dilation
            line.append(Window(start + first * step, start + (stop - 1) * step, step))
        made.append(line)
    return made


def avg_pool(rank: int) -> Handler:
    def made(a: Arguments) -> Tensor:
        x, f = batched(a, a.floats("self"), rank), a.f
        spec = _spec(a, x, rank, "average", count_padding=a.flag("count_include_pad"))
        if "divisor_override" in a.call.given and a.has("divisor_override"):
            y = summed(f, x, _windows(spec), a.whole("divisor_override"))
        else:
            y = f.of_map(pooled(f, f.map(x), spec), x.dtype)
        return as_given(a, y, rank, "self")

    return made


def summed(f: Foreign, x: Tensor, windows: Windows, divisor: int) -> Tensor:
    """Sums over windows of the axes from number 2 on, by a divisor."""
    tables = {}
    for number, line in enumerate(windows):
        weight = 1.0 if number else 1 / divisor
        rows = [[(i, weight) for i in range(w.first, w.last + 1, w.step)] for w in line]
        tables[2 + number] = table(x.shape[2 + number], rows)
    return resampled(f, x, tables)


# Adaptive windows ---------------------------------------------------------------------------------


def _output(a: Arguments, rank: int) -> Shape:
    output = a.wholes("output_size", rank)
    if not all(output):
        raise Unsaid("a tensor without elements")
    return output


def _even(x: Tensor, output: Shape, kind: str, dtype: str) -> PoolSpec | None:
    """The same as windows of one size, if they divide the axes."""
    space = x.shape[2:]
    if any(n % m for n, m in zip(space, output, strict=True)):
        return None
    kernel = [n // m for n, m in zip(space, output, strict=True)]
    return pool_spec((1, *x.shape[1:]), kernel, kind=kind, dtype=dtype)


def adaptive_avg_pool(rank: int) -> Handler:
    def made(a: Arguments) -> Tensor:
        x, f, output = batched(a, a.floats("self"), rank), a.f, _output(a, rank)
        spec = _even(x, output, "average", f.dtype)
        if set(output) == {1}:
            y = reduced(f, x, range(2, x.rank), "mean", True)
        elif spec is not None:
            y = f.of_map(pooled(f, f.map(x), spec), x.dtype)
        else:
            space = enumerate(zip(x.shape[2:], output, strict=True))
            y = resampled(f, x, {2 + i: averaged(n, m) for i, (n, m) in space})
        return as_given(a, y, rank, "self")

    return made


def adaptive_max_pool(rank: int) -> Handler:
    def made(a: Arguments) -> list[Any]:
        x, f, output = batched(a, a.floats("self"), rank), a.f, _output(a, rank)
        spec = _even(x, output, "max", f.dtype)
        windows = [
            [Window(o * n // m, -(-(o + 1) * n // m) - 1) for o in range(m)]
            for n, m in zip(x.shape[2:], output, strict=True)
        ]
        even = None if spec is None else f.of_map(pooled(f, f.map(x), spec), x.dtype)
        y = maxima(f, x, windows) if even is None else even
        found = origins(f, x, windows) if is_read(a, 1) else None
        return [None if z is None else as_given(a, z, rank, "self") for z in (y, found)]

    return made


# Maxima tap by tap --------------------------------------------------------------------------------


def maxima(f: Foreign, x: Tensor, windows: Windows) -> Tensor:
    """The largest entry of each window of the axes from number 2 on. The gradient of equal ones
    goes to the first, because the last axis is the first that is looked along.
    """
    for number in reversed(range(len(windows))):
        x, *others = _taps(f, x, 2 + number, windows[number])
        for other in others:
            x = formula(f, lambda x, y: select(_exceeds(y, x), y, x), x, other)
    return x


def origins(f: Foreign, x: Tensor, windows: Windows) -> Tensor:
    """Where the largest entry of each window is, counted through all axes from number 2 on: the
    first of equal ones, and the last of those that are NaN.
    """
    space = x.shape[2:]
    if prod(space) > EXACT[f.dtype]:
        raise Unsaid(f"places in {space}, which {f.dtype} does not hold")
    # The last axis first: of its largest entries the first counts, then the first of these.
    place: Tensor | None = None
    for number in reversed(range(len(space))):
        axis, line, below = 2 + number, windows[number], prod(space[number + 1 :])
        several = _taps(f, x, axis, line)
        places = [place] * len(several) if place is None else _taps(f, place, axis, line)
        best, place = several[0], None
        for k, (y, p) in enumerate(zip(several, places, strict=True)):
            own = np.array(_indices(line, k), f.dtype).reshape(-1, *(1,) * (x.rank - 1 - axis))
            operands = (y, own * below) if p is None else (y, own * below, p)
            here = formula(f, lambda y, *terms: sum(terms[1:], terms[0]), *operands)
            if place is None:
                place = here
                continue
            place = formula(
                f, lambda x, y, p, q: select(_exceeds(y, x), q, p), best, y, place, here
            )
            best = formula(f, lambda x, y: select(_exceeds(y, x), y, x), best, y)
        x = best
    assert place is not None
    return replace(place, dtype="int64")


def _exceeds(y: Expr, x: Expr) -> Expr:
    """Whether a later entry takes the place of the largest until now."""
    return logic("or", greater(y, x), is_nan(y))


def _indices(line: Sequence[Window], tap: int) -> list[int]:
    """What each output reads with a tap; windows with fewer repeat their last entry."""
    return [min(w.first + tap * w.step, w.last) for w in line]


def _taps(f: Foreign, x: Tensor, axis: int, line: Sequence[Window]) -> list[Tensor]:
    """For each tap what the outputs read along an axis."""
    count = max((w.last - w.first) // w.step + 1 for w in line)
    if count > MOST_COMPARED:
        raise Unsaid(f"maxima of {count} entries, one by one")
    size = x.shape[axis]
    return [resampled(f, x, {axis: selected(size, _indices(line, k))}) for k in range(count)]


TABLE: dict[str, Handler] = {}
for _rank in (1, 2, 3):
    TABLE |= {
        f"max_pool{_rank}d": max_pool(_rank),
        f"max_pool{_rank}d_with_indices": max_pool(_rank, indexed=True),
        f"avg_pool{_rank}d": avg_pool(_rank),
        f"adaptive_avg_pool{_rank}d": adaptive_avg_pool(_rank),
        f"_adaptive_avg_pool{_rank}d": adaptive_avg_pool(_rank),
        f"adaptive_max_pool{_rank}d": adaptive_max_pool(_rank),
    }
