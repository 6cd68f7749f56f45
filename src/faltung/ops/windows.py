"""Maxima and minima of windows of any shape, on arrays of any real dtype and any strides.

They are taken in the dtype of the array, so that whole numbers of 64 bits keep all their digits,
which SciPy's lose beyond 2 ** 53.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError
from faltung.geometry.line import Line, Reduction
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.filters.extremes import Extremes, Footprint, extremes
from faltung.ops.arguments import Array, address
from faltung.ops.lines import filter_lines
from faltung.plan.binding import Region
from faltung.reference.filters import stored
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import threads_to_use

SLOTS = ("x", "out", "value", "scratch", "slices")
# Entries up to which the windows of two axes are made in one pass.
FUSED = 64
# Entries side by side up to which axes behind those of the footprint belong to its columns.
INNER = 64
# Layouts of calls that are remembered.
KEPT = 512


def filter_windows(x: Array, lines: Sequence[Line], out: Array) -> None:
    """Lines one after the other, as if each stored an array of ``out.dtype`` that the next one
    reads. ``x`` is not empty, and does not overlap ``out``. Those that are "max" or "min" are made
    here, others by ``filter_lines``.

    The cost hardly depends on the sizes of the windows.
    """
    if not lines:
        filter_lines(x, lines, out)
    at = 0
    while at < len(lines):
        extreme = [line.reduction in ("max", "min") for line in lines[at:]]
        if extreme[0]:
            stop, make = at + 1 + _fused(lines[at : at + 2], x.dtype == out.dtype), _box
        else:
            stop, make = at + [*extreme, True].index(True), filter_lines
        target = out if stop == len(lines) else np.empty(x.shape, out.dtype)
        make(x, lines[at:stop], target)
        x, at = target, stop


def filter_footprint(
    x: Array,
    footprint: npt.NDArray[np.bool_],
    before: Sequence[int],
    borders: Sequence[Border],
    out: Array,
    reduction: Reduction,
) -> None:
    """The maximum or minimum ("max", "min") over the places of a footprint that are true. ``x`` is
    not empty, and does not overlap ``out``. The cost depends on how many runs of places there are.

    ValueError: constant borders with different constants.
    """
    values = [border.value for border in borders if border.mode == "constant"]
    if any(value != values[0] and value == value for value in values):
        raise FaltungError(f"borders={tuple(borders)}: the constants must be one number")
    if footprint.all() and x.dtype == out.dtype and footprint.ndim > 1:
        boxed = enumerate(zip(footprint.shape, before, borders, strict=True))
        lines = [Line(i, reduction, n, first, b) for i, (n, first, b) in boxed if n > 1 or first]
        if lines:
            filter_windows(x, lines, out)
            return
    places = tuple(np.flatnonzero(footprint).tolist())
    modes = tuple(border.mode for border in borders)
    made = Footprint(footprint.shape, places, tuple(map(int, before)), modes)
    _extremes(x, made, values[0] if values else 0.0, out, reduction)


def _fused(lines: Sequence[Line], same: bool) -> bool:
    """Whether two lines are one box."""
    if len(lines) < 2 or not same or lines[0].reduction != lines[1].reduction:
        return False
    one, two = lines
    values = {line.border.value for line in lines if line.border.mode == "constant"}
    near = abs(one.axis - two.axis) == 1
    return near and max(one.size, two.size) <= FUSED and len(values) < 2


def _box(x: Array, lines: Sequence[Line], out: Array) -> None:
    by_axis = {line.axis: line for line in lines}
    shape, before, modes, value = [], [], [], 0.0
    for axis in range(x.ndim):
        line = by_axis.get(axis)
        shape.append(line.size if line else 1)
        before.append(line.before if line else 0)
        modes.append(line.border.mode if line else "replicate")
        if line and line.border.mode == "constant":
            value = line.border.value
    footprint = Footprint(tuple(shape), tuple(range(prod(shape))), tuple(before), tuple(modes))
    _extremes(x, footprint, value, out, lines[0].reduction)


def _extremes(x: Array, footprint: Footprint, value: float, out: Array, reduction: str) -> None:
    """In the dtype of the array, or in float64 where it does not hold the constant."""
    kept = x.dtype
    constant = np.array([0], kept)
    if "constant" in footprint.modes:
        held = _held(value, kept)
        if held is None or (held != value and value == value and kept != out.dtype):
            kept = np.dtype(np.float64)
            held = value
        constant = np.array([held], kept)
    if kept != x.dtype or kept != out.dtype:
        made = np.empty(x.shape, kept)
        _arranged(x.astype(kept, copy=False), footprint, constant, made, reduction)
        out[...] = stored(made, out.dtype)
        return
    _arranged(x, footprint, constant, out, reduction)


def _held(value: float, dtype: np.dtype[Any]) -> float | int | None:
    """The constant rounded to a dtype: the same as if extremes were rounded afterwards. None where
    it lies beyond a whole dtype.
    """
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    low, high = (0, 1) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return int(value) if np.isfinite(value) and low <= int(value) <= high else None


def _arranged(x: Array, footprint: Footprint, value: Array, out: Array, reduction: str) -> None:
    """In C order, as the array lies or copied."""
    if not x.flags.c_contiguous and x.ndim > 1:
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        if x.transpose(order).flags.c_contiguous:
            filled = footprint.filled().transpose(order)
            footprint = Footprint(
                filled.shape,
                tuple(np.flatnonzero(filled).tolist()),
                tuple(footprint.before[axis] for axis in order),
                tuple(footprint.modes[axis] for axis in order),
            )
            x, out = x.transpose(order), out.transpose(order)
    x = np.ascontiguousarray(x)
    made = out if out.flags.c_contiguous else np.empty(x.shape, x.dtype)
    does, region = _planned(x.shape, x.dtype.name, footprint, reduction, current())
    threads = threads_to_use() if does.cycles >= MIN_PARALLEL_CYCLES else 1
    slices = np.array([threads], np.int64)
    with workspace.borrow(does.scratch * threads) as block:
        given = (address(x), address(made), address(value), block.address, address(slices))
        region.run(given, threads)
    if made is not out:
        out[...] = made


@lru_cache(maxsize=KEPT)
def _planned(
    shape: tuple[int, ...], dtype: str, footprint: Footprint, reduction: str, machine: Machine
) -> tuple[Extremes, Region]:
    made = extremes(*_sizes(shape, dtype, footprint), reduction, machine)
    places = {name: (slot, 0) for slot, name in enumerate(SLOTS)}
    return made, Region([made.step], places, machine, len(SLOTS))


def _sizes(
    shape: tuple[int, ...], dtype: str, footprint: Footprint
) -> tuple[tuple[int, ...], str, Footprint]:
    """The array with two axes of the footprint or more, and one of entries side by side.

    Axes without places behind those that have some are one with the last one of these, if they are
    few entries, or else one axis.
    """
    axes = list(zip(shape, footprint.shape, footprint.before, footprint.modes, strict=True))
    inner = behind = 1
    while len(axes) > 1 and axes[-1][1] == 1 and axes[-1][2] == 0:
        behind *= axes.pop()[0]
    if behind <= INNER:
        inner = behind
    else:
        axes.append((behind, 1, 0, "replicate"))
    while len(axes) < 2:
        axes.insert(0, (1, 1, 0, "replicate"))
    sizes, tall, before, modes = zip(*axes, strict=True)
    return (*sizes, inner), dtype, Footprint(tall, footprint.places, before, modes)
