"""The definition of filters over whole arrays, as loops over taps: SciPy's meaning in NumPy.

Sums are float64 with one rounding for every operation, in SciPy's order (``ni_filters.c``): a line
whose weights are symmetric or antisymmetric adds or subtracts the two entries of a pair first; an
N-dimensional kernel leaves out weights that are not larger than the spacing of 1. What is stored
becomes a whole number as a C compiler makes one on x86-64. Slow, and deliberately so.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.line import Line, Reduction

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# Weights up to this size are none, and pairs that differ by no more are equal (DBL_EPSILON).
EPSILON = float(np.finfo(np.float64).eps)


def filter_lines(x: Array, lines: Sequence[Line], out: Array) -> None:
    """The lines one after the other, each of which stores an array of ``out.dtype``: of bool, whose
    entries are bytes until the end, one of uint8.
    """
    kept = np.dtype(np.uint8) if out.dtype == np.bool_ else out.dtype
    for line in lines:
        taken = _extended(x, line.axis, line.before, line.size, line.border)
        x = stored(_line(taken, line, x.shape[line.axis]), kept)
    out[...] = x


def filter_windows(x: Array, lines: Sequence[Line], out: Array) -> None:
    """The same for lines that are means, maxima and minima."""
    filter_lines(x, lines, out)


def correlate(
    x: Array,
    kernels: Floats,
    before: Sequence[int],
    borders: Sequence[Border],
    outs: Sequence[Array],
) -> None:
    """Several N-dimensional correlations of one array: ``kernels`` (K, *shape), K ``outs``."""
    taken = _all_extended(x, kernels.shape[1:], before, borders)
    for kernel, out in zip(kernels, outs, strict=True):
        total = np.zeros(x.shape)
        for tap in product(*map(range, kernel.shape)):
            if abs(kernel[tap]) > EPSILON:
                total = total + kernel[tap] * _from(taken, tap, x.shape)
        out[...] = stored(total, out.dtype)


def filter_footprint(
    x: Array,
    footprint: npt.NDArray[np.bool_],
    before: Sequence[int],
    borders: Sequence[Border],
    out: Array,
    reduction: Reduction,
) -> None:
    """The maximum or minimum ("max", "min") over the places of a footprint that are true."""
    choose = np.maximum if reduction == "max" else np.minimum
    taken = _all_extended(x, footprint.shape, before, borders)
    best = None
    for tap in zip(*(places.tolist() for places in np.nonzero(footprint)), strict=True):
        one = _from(taken, tap, x.shape)
        best = one if best is None else choose(best, one)
    assert best is not None
    out[...] = stored(best, out.dtype)


def stored(values: Array, dtype: npt.DTypeLike) -> Array:
    """Numbers as an array of a dtype holds them. Of a float that a whole dtype does not hold is
    kept what a C compiler's conversion leaves: the low bits of a whole number of 32 or 64 bits,
    which is the least one where the float does not fit even there.
    """
    wanted = np.dtype(dtype)
    made: Array
    if values.dtype.kind != "f" or wanted.kind not in "bui":
        made = values.astype(wanted)
        return made
    if wanted == np.bool_:
        made = stored(values, np.uint8) != 0
        return made
    if wanted.itemsize < 4 or wanted == np.int32:
        return _whole(values, np.int32).astype(wanted)
    if wanted != np.uint64:
        return _whole(values, np.int64).astype(wanted)
    size = np.abs(values)
    high = size >= 2.0**63
    low = _whole(np.where(high, size - 2.0**63, size), np.int64).astype(wanted)
    made = np.where(high, low ^ np.uint64(1 << 63), low)
    made = np.where(values < 0, np.uint64(0) - made, made)
    return made


def _whole(values: Array, dtype: type[np.signedinteger[Any]]) -> Array:
    """Towards 0; the least number for what does not fit, and for NaN."""
    least = np.iinfo(dtype).min
    cut = np.trunc(values)
    fits = (cut >= float(least)) & (cut < -float(least))
    made: Array = np.where(fits, cut, least).astype(dtype)
    return made


def _line(taken: Array, line: Line, size: int) -> Array:
    """One line's outputs from the extended array."""

    def tap(k: int) -> Array:
        index: list[Any] = [slice(None)] * taken.ndim
        index[line.axis] = slice(k, k + size)
        part: Array = taken[tuple(index)]
        return part

    if line.reduction in ("max", "min"):
        choose = np.maximum if line.reduction == "max" else np.minimum
        best = tap(0)
        for k in range(1, line.size):
            best = choose(best, tap(k))
        return best
    if line.reduction == "mean":
        total = tap(0).astype(np.float64)
        for k in range(1, line.size):
            total = total + tap(k)
        return total / line.size
    return _sum([tap(k).astype(np.float64) for k in range(line.size)], line.weights)


def _sum(taps: list[Floats], weights: Sequence[float]) -> Floats:
    """Of products, in SciPy's order."""
    middle, last = len(weights) // 2, len(weights) - 1
    pairs = [(weights[k], weights[last - k]) for k in range(middle)] if last % 2 == 0 else []
    for sign in (1, -1):
        if last % 2 == 0 and all(abs(a - sign * b) <= EPSILON for a, b in pairs):
            total = taps[middle] * weights[middle]
            for k in range(middle):
                total = total + (taps[k] + sign * taps[last - k]) * weights[k]
            return total
    total = taps[last] * weights[last]
    for k in range(last):
        total = total + taps[k] * weights[k]
    return total


def _extended(x: Array, axis: int, before: int, size: int, border: Border) -> Array:
    """The positions that all outputs read along an axis."""
    length = x.shape[axis]
    places = np.array(border.sources(range(-before, length - before + size - 1), length), np.intp)
    outside = places < 0
    if outside.any():  # only a constant: a number that a whole dtype may not hold
        x = x.astype(np.float64)
    taken = np.take(x, np.where(outside, 0, places), axis)
    index: list[Any] = [slice(None)] * x.ndim
    index[axis] = outside
    if outside.any():
        taken[tuple(index)] = border.value
    return taken


def _all_extended(
    x: Array, shape: Sequence[int], before: Sequence[int], borders: Sequence[Border]
) -> Array:
    """The positions that all outputs read, along every axis."""
    for axis, (size, first, border) in enumerate(zip(shape, before, borders, strict=True)):
        x = _extended(x, axis, first, size, border)
    return x


def _from(taken: Array, tap: Sequence[int], shape: Sequence[int]) -> Array:
    """What all outputs read at one tap."""
    return taken[tuple(slice(k, k + size) for k, size in zip(tap, shape, strict=True))]
