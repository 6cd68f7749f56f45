"""Filters along one axis after another, on arrays of any real dtype and any strides."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from faltung.geometry.line import Line
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.filters.separable import Along, Pass, passes
from faltung.ops.arguments import Array, address
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
    reads. ``x`` is not empty, and does not overlap ``out``.

    float32 stays float32. Sums of all other dtypes are float64, in SciPy's order, so that they have
    SciPy's bits.
    """
    narrow = x.dtype == out.dtype == np.float32
    work = "float32" if narrow or _exact(x.dtype, out.dtype, lines) else "float64"
    ordered = _ordered(lines) if narrow else tuple(lines)
    x, turned, order = _arranged(x, out)
    key = tuple(
        Along(order.index(n.axis), n.size, n.before, n.border.mode, _how(n)) for n in ordered
    )
    made = turned if turned.flags.c_contiguous else np.empty(x.shape, out.dtype)
    for run in _planned(x.shape, x.dtype.name, out.dtype.name, work, key, current()):
        start, stop = run.does.start, run.does.stop
        target = made if stop == len(ordered) else np.empty(x.shape, out.dtype)
        run(x, target, ordered[start:stop])
        x = target
    if made is not turned:
        turned[...] = made


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
    """Whether windows of whole numbers are the same in float32: what is added up is below 2 ** 24.
    A quotient that is no whole number is further from one than it can be rounded.
    """
    largest = max(float(LARGEST.get(dtype.name, EXACT)) for dtype in (source, target))
    for line in lines:
        if line.border.mode == "constant":
            if line.border.value != np.rint(line.border.value):
                return False
            largest = max(largest, abs(line.border.value))
    sizes = (line.size for line in lines if line.reduction == "mean")
    sums = any(line.reduction == "sum" for line in lines)
    return not sums and largest * max(sizes, default=1) < EXACT


def _ordered(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The order in which a pass may do two lines, where it makes no difference but for roundings:
    along the last axis at the end.
    """
    axes = [line.axis for line in lines]
    added = any(line.border.mode == "constant" and line.border.value for line in lines)
    if len(set(axes)) < len(axes) or (added and any(n.reduction == "sum" for n in lines)):
        return tuple(lines)
    return tuple(sorted(lines, key=lambda line: line.axis))


def _arranged(x: Array, out: Array) -> tuple[Array, Array, list[int]]:
    """The array in C order, as it lies or copied; its result with the same axes; their order."""
    order = list(range(x.ndim))
    if not x.flags.c_contiguous:
        found = sorted(order, key=lambda axis: -x.strides[axis])
        if x.transpose(found).flags.c_contiguous:
            order = found
    return np.ascontiguousarray(x.transpose(order)), out.transpose(order), order


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A pass, ready to run on arrays."""

    does: Pass
    region: Region
    work: np.dtype[Any]

    def __call__(self, x: Array, out: Array, lines: Sequence[Line]) -> None:
        weights = [np.array(line.weights, self.work) for line in lines]
        values = np.array([line.border.value for line in lines], self.work)
        if not self.does.order[0]:
            values = np.append(values[:1] * 0, values)
        threads = threads_to_use() if self.does.cycles >= MIN_PARALLEL_CYCLES else 1
        slices = np.array([threads], np.int64)
        given = [x, out, weights[0], weights[-1], values]
        addresses = [address(array) for array in given]
        if not self.does.scratch:
            self.region.run((*addresses, 0, address(slices)), threads)
            return
        with workspace.borrow(self.does.scratch * threads) as block:
            self.region.run((*addresses, block.address, address(slices)), threads)


@lru_cache(maxsize=KEPT)
def _planned(
    shape: tuple[int, ...],
    source: str,
    target: str,
    work: str,
    lines: tuple[Along, ...],
    machine: Machine,
) -> list[_Run]:
    places = {name: (slot, 0) for slot, name in enumerate(SLOTS)}
    return [
        _Run(one, Region([one.step], places, machine, len(SLOTS)), np.dtype(work))
        for one in passes(shape, source, target, work, lines, machine)
    ]
