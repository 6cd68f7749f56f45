"""Filters along one axis after another, on arrays of any real dtype and any strides."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung.geometry.line import Line
from faltung.geometry.record import dataclass
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.filters.separable import NARROW, Along, Pass, passes
from faltung.ops.arguments import Array, address
from faltung.ops.run import Recent
from faltung.plan.binding import Region
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import threads_to_use

# Weights that differ by no more are equal, as in SciPy (DBL_EPSILON).
EPSILON = float(np.finfo(np.float64).eps)
SLOTS = ("x", "out", "first", "second", "values", "scratch", "slices")
# The largest numbers of the dtypes of which float32 holds all.
LARGEST = {"bool": 1, "uint8": 255, "int8": 128, "uint16": 65535, "int16": 32768}
# Whole numbers up to here are float32s.
EXACT = 1 << 24
# Layouts of calls that are remembered.
KEPT = 512


def filter_lines(x: Array, lines: Sequence[Line], out: Array) -> None:
    """The lines one after the other, as if each stored an array of ``out.dtype`` that the next one
    reads. ``x`` is not empty, and does not overlap ``out``. None is "max" or "min".

    float32 stays float32. Sums of all other dtypes have the bits of float64 sums in SciPy's order.
    """
    machine, lines = current(), tuple(lines)
    key = x.shape, x.strides, x.dtype, out.strides, out.dtype, lines, machine
    call = _calls.get(key, lambda: _prepared(x, lines, out, machine))
    call(x, out)


def _how(line: Line) -> str:
    return parity(line.weights) if line.reduction == "sum" else line.reduction


def parity(weights: Sequence[float]) -> str:
    """Whether an odd number of weights are symmetric ("even") or antisymmetric ("odd") within a
    rounding; "" for others.
    """
    size = len(weights)
    if size % 2 == 0:
        return ""
    pairs = [(weights[k], weights[-1 - k]) for k in range(size // 2)]
    if all(abs(a - b) <= EPSILON for a, b in pairs):
        return "even"
    return "odd" if all(abs(a + b) <= EPSILON for a, b in pairs) else ""


def _exact(source: np.dtype[Any], target: np.dtype[Any], lines: Sequence[Line]) -> bool:
    """Whether whole numbers are the same in float32: what is added up is below 2 ** 24. A quotient
    that is no whole number is further from one than it can be rounded.
    """
    largest = max(float(LARGEST.get(dtype.name, EXACT)) for dtype in (source, target))
    for line in lines:
        if line.border.mode == "constant":
            if line.border.value != np.rint(line.border.value):
                return False
            largest = max(largest, abs(line.border.value))
    most = 1.0
    for line in lines:
        if line.reduction == "mean":
            most = max(most, line.size)
        elif line.reduction == "sum":
            if any(w != np.rint(w) for w in line.weights):
                return False
            most = max(most, sum(map(abs, line.weights)))
    return largest * most < EXACT


def _ordered(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The order in which a pass may do two lines, where it makes no difference but for roundings:
    along the last axis at the end.
    """
    axes = [line.axis for line in lines]
    added = any(line.border.mode == "constant" and line.border.value for line in lines)
    if len(set(axes)) < len(axes) or (added and any(n.reduction == "sum" for n in lines)):
        return tuple(lines)
    return tuple(sorted(lines, key=lambda line: line.axis))


def _order(x: Array) -> list[int]:
    """The order of the axes in which the array is in C order, if there is one."""
    order = list(range(x.ndim))
    if not x.flags.c_contiguous:
        found = sorted(order, key=lambda axis: -x.strides[axis])
        if x.transpose(found).flags.c_contiguous:
            return found
    return order


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A pass, ready to run on arrays: with its weights, and its constants and bounds."""

    region: Region
    weights: tuple[Array, Array]
    values: Array
    addresses: tuple[int, int, int]
    scratch: int
    parallel: bool

    def __call__(self, x: Array, out: Array) -> None:
        threads = threads_to_use() if self.parallel else 1
        given = (address(x), address(out), *self.addresses)
        if not self.scratch:
            self.region.run((*given, 0, 0), threads)
            return
        slices = np.array([threads], np.int64)
        with workspace.borrow(self.scratch * threads) as block:
            self.region.run((*given, block.address, address(slices)), threads)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """All passes for arrays of one layout. order: of the axes, None where all are in C order."""

    runs: list[_Run]
    order: list[int] | None

    def __call__(self, x: Array, out: Array) -> None:
        order, runs = self.order, self.runs
        if order is None and len(runs) == 1:
            runs[0](x, out)
            return
        made = out
        if order is not None:
            x, out = np.ascontiguousarray(x.transpose(order)), out.transpose(order)
            made = out if out.flags.c_contiguous else np.empty(x.shape, out.dtype)
        for run in runs[:-1]:
            target = np.empty(x.shape, out.dtype)
            run(x, target)
            x = target
        runs[-1](x, made)
        if made is not out:
            out[...] = made


_calls: Recent[_Call] = Recent(KEPT)
_plans: Recent[list[tuple[Pass, Region]]] = Recent(KEPT)


def _prepared(x: Array, lines: tuple[Line, ...], out: Array, machine: Machine) -> _Call:
    """What filters arrays with the layouts of these."""
    narrow = x.dtype == out.dtype == np.float32
    work = "float32" if narrow or _exact(x.dtype, out.dtype, lines) else "float64"
    ordered = _ordered(lines) if narrow else lines
    order = _order(x)
    key = tuple(
        Along(order.index(n.axis), n.size, n.before, n.border.mode, _how(n)) for n in ordered
    )
    shape, runs, source = tuple(x.shape[axis] for axis in order), [], x.dtype.name
    given = shape, source, out.dtype.name, work, key, machine
    planned = _plans.get(given, lambda: _planned(*given))
    for one, region in planned:
        runs.append(_ready(one, region, ordered[one.start : one.stop], work, source, out.dtype))
        source = out.dtype.name
    plain = x.flags.c_contiguous and out.flags.c_contiguous
    return _Call(runs, None if plain else order)


def _ready(
    one: Pass,
    region: Region,
    lines: tuple[Line, ...],
    work: str,
    source: str,
    target: np.dtype[Any],
) -> _Run:
    constants = [line.border.value for line in lines]
    bounds = [_bound(line, kind) for line, kind in zip(lines, (source, target.name), strict=False)]
    if not one.order[0]:
        constants, bounds = [0.0, *constants], [0.0, *bounds]
    values = np.zeros(4, work)
    with np.errstate(over="ignore"):
        values[: len(constants)], values[2 : 2 + len(bounds)] = constants, bounds
        weights = np.array(lines[0].weights, work), np.array(lines[-1].weights, work)
    return _Run(
        region,
        weights,
        values,
        (address(weights[0]), address(weights[1]), address(values)),
        one.scratch,
        one.cycles >= MIN_PARALLEL_CYCLES,
    )


def _bound(line: Line, kind: str) -> float:
    """What two sums in float64, in any order, with any fused operations, may differ by: each is
    within (n + 2) units of the last place of the sum of all magnitudes. Infinite where that is half
    of one, and no help.
    """
    largest = max(float(NARROW.get(kind, 0)), abs(line.border.value))
    bound = 4 * (line.size + 2) * EPSILON * largest * sum(map(abs, line.weights))
    return bound if bound < 0.5 else float("inf")


def _planned(
    shape: tuple[int, ...],
    source: str,
    target: str,
    work: str,
    lines: tuple[Along, ...],
    machine: Machine,
) -> list[tuple[Pass, Region]]:
    places = {name: (slot, 0) for slot, name in enumerate(SLOTS)}
    return [
        (one, Region([one.step], places, machine, len(SLOTS)))
        for one in passes(shape, source, target, work, lines, machine)
    ]
