"""Filters of any shape, on arrays of any real dtype and any strides."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError
from faltung.geometry.line import Line, Reduction
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.filters.shaped import Shaped, Stencil, stencil
from faltung.ops.arguments import Array, address
from faltung.ops.lines import EPSILON, filter_lines
from faltung.plan.binding import Region
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import threads_to_use

SLOTS = ("x", "out", "weights", "values", "scratch", "slices")
# Of the largest weight: what a product of lines may miss of a kernel for float32.
SEPARABLE = 1e-8
# Taps from which lines are worth finding.
MIN_SEPARABLE_TAPS = 12
# Of an axis along which nothing is read beyond the ends.
NEVER = Border("replicate")
# Layouts of calls that are remembered.
KEPT = 512

Floats = npt.NDArray[np.float64]


def correlate(
    x: Array,
    kernels: Floats,
    before: Sequence[int],
    borders: Sequence[Border],
    outs: Sequence[Array],
) -> None:
    """Correlations of one array with ``kernels`` (K, *shape), into K ``outs`` of its shape and of
    one dtype. Output o reads positions o - before ... ``x`` is not empty, and does not overlap any
    of ``outs``.

    Weights that are no larger than the spacing of 1 are left out, as by SciPy. float32 stays
    float32, and kernels that are products of lines are filtered so; sums of all other dtypes are
    float64, in the order of the taps, so that they have SciPy's bits.
    """
    work = "float32" if x.dtype == outs[0].dtype == np.float32 else "float64"
    left = []
    for kernel, out in zip(kernels, outs, strict=True):
        lines = _lines(kernel, before, borders) if work == "float32" else None
        if lines is None:
            left.append((kernel, out))
        else:
            filter_lines(x, lines, out)
    same: dict[bytes, list[tuple[Floats, Array]]] = {}
    for kernel, out in left:
        same.setdefault((np.abs(kernel) > EPSILON).tobytes(), []).append((kernel, out))
    for some in same.values():
        there = np.abs(some[0][0]) > EPSILON
        targets = [out for _, out in some]
        weights = np.array([kernel for kernel, _ in some])
        if there.any():
            _run(x, there, weights, before, borders, targets, "sum", work)
        else:
            for out in targets:
                out[...] = 0


def filter_footprint(
    x: Array,
    footprint: npt.NDArray[np.bool_],
    before: Sequence[int],
    borders: Sequence[Border],
    out: Array,
    reduction: Reduction,
) -> None:
    """The maximum or minimum ("max", "min") over the places of a footprint that are true."""
    if footprint.all():
        sizes = enumerate(footprint.shape)
        given = zip(sizes, before, borders, strict=True)
        lines = [Line(i, reduction, n, first, border) for (i, n), first, border in given]
        filter_lines(x, lines, out)
        return
    small = {x.dtype.name, out.dtype.name} <= {"bool", "uint8", "int8", "uint16", "int16"}
    exact = all(b.mode != "constant" or b.value == np.float32(b.value) for b in borders)
    narrow = (small and exact) or x.dtype == out.dtype == np.float32
    work = "float32" if narrow else "float64"
    _run(x, footprint, np.zeros((1, 1)), before, borders, [out], reduction, work)


def _lines(
    kernel: Floats, before: Sequence[int], borders: Sequence[Border]
) -> tuple[Line, ...] | None:
    """Lines of which the kernel is the product; None where it is none, or not worth it."""
    wide = [axis for axis, size in enumerate(kernel.shape) if size > 1]
    if any(border.mode == "constant" and border.value for border in borders):
        return None
    if len(wide) < 2 or kernel.size < MIN_SEPARABLE_TAPS or (np.abs(kernel) <= EPSILON).any():
        return None
    if not np.isfinite(kernel).all():
        return None
    top = np.unravel_index(np.argmax(np.abs(kernel)), kernel.shape)
    parts = []
    for axis in range(kernel.ndim):
        index: list[Any] = list(top)
        index[axis] = slice(None)
        parts.append(kernel[tuple(index)] / (kernel[top] if axis != wide[0] else 1.0))
    made = parts[0]
    for part in parts[1:]:
        made = np.multiply.outer(made, part)
    if np.abs(made - kernel).max() > SEPARABLE * abs(kernel[top]):
        return None
    return tuple(
        Line(
            axis, "sum", len(parts[axis]), before[axis], borders[axis], tuple(parts[axis].tolist())
        )
        for axis in wide
    )


def _run(
    x: Array,
    there: npt.NDArray[np.bool_],
    weights: Floats,
    before: Sequence[int],
    borders: Sequence[Border],
    outs: Sequence[Array],
    reduction: str,
    work: str,
) -> None:
    """One step for kernels with the same taps."""
    reach = [size > 1 or first for size, first in zip(there.shape, before, strict=True)]
    borders = [b if far else NEVER for b, far in zip(borders, reach, strict=True)]
    values = {border.value for border in borders if border.mode == "constant"}
    if len(values) > 1:
        raise FaltungError(f"borders={tuple(borders)}: the constants of all axes must be one")
    x = np.ascontiguousarray(x)
    # Along an axis with one tap nothing is beyond the ends; a constant there is none elsewhere.
    modes = tuple(
        border.mode if taps > 1 else "replicate"
        for border, taps in zip(borders, there.shape, strict=True)
    )
    kernel = Shaped(there.shape, tuple(np.flatnonzero(there).tolist()), tuple(before), modes,
                    reduction)  # fmt: skip
    if x.ndim == 1:  # one row
        kernel = Shaped((1, *there.shape), kernel.taps, (0, *before), ("replicate", *modes),
                        reduction)  # fmt: skip
    shape = x.shape if x.ndim > 1 else (1, *x.shape)
    dtype = outs[0].dtype
    direct = len(outs) == 1 and outs[0].flags.c_contiguous
    made = outs[0] if direct else np.empty((len(outs), *x.shape), dtype)
    does, region = _planned(shape, x.dtype.name, dtype.name, work, kernel, len(outs), current())
    given = np.ascontiguousarray(weights.reshape(len(weights), -1), np.dtype(work))
    if reduction == "sum" and len(does.weights) < given.shape[1]:
        given = np.ascontiguousarray(given[:, does.weights])
    constant = np.array([values.pop() if values else 0.0], np.dtype(work))
    threads = threads_to_use() if does.cycles >= MIN_PARALLEL_CYCLES else 1
    slices = np.array([threads], np.int64)
    addresses = [address(array) for array in (x, made, given, constant)]
    if not does.scratch:
        region.run((*addresses, 0, address(slices)), threads)
    else:
        with workspace.borrow(does.scratch * threads) as block:
            region.run((*addresses, block.address, address(slices)), threads)
    if not direct:
        for out, one in zip(outs, made, strict=True):
            out[...] = one


@lru_cache(maxsize=KEPT)
def _planned(
    shape: tuple[int, ...],
    source: str,
    target: str,
    work: str,
    kernel: Shaped,
    kernels: int,
    machine: Machine,
) -> tuple[Stencil, Region]:
    made = stencil(shape, source, target, work, kernel, kernels, machine)
    places = {name: (slot, 0) for slot, name in enumerate(SLOTS)}
    return made, Region([made.step], places, machine, len(SLOTS))
