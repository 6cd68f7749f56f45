"""Convolutions of two arrays along some axes, by kernels of ``faltung.conv``: all of this package.

The two are (batch, channels, *space) of an ordinary convolution: axes that are not convolved become
the batch if only the first array has them, output channels if only the second has them, groups if
both have. One kernel therefore meets many channels, and one signal many kernels, in one call.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from math import log2, prod
from typing import Any, NamedTuple

import numpy as np

from faltung.ops.arguments import Array
from faltung.ops.functional import conv
from faltung.plan.words import Precision

# What kernels compute in, for the dtype of a result.
FLOATS: dict[str, np.dtype[Any]] = {"f": np.dtype("f"), "d": np.dtype("d"), "e": np.dtype("f")}
COMPLEX = "FD"
# The most taps of a kernel of several axes whose table of offsets is worth making: beyond, one
# transform of everything is planned in no time.
MOST_TAPS = 1 << 14
# Bits by which a transform may be wrong, in units of the last place of its norm, with a margin.
TRANSFORM_ERROR = 4.0


class Window:
    """Which part of the full convolution along the axes is wanted: ``starts`` and ``sizes``."""

    def __init__(self, mode: str, a: Sequence[int], b: Sequence[int], axes: Sequence[int]) -> None:
        self.axes = tuple(axes)
        first, second = [a[i] for i in axes], [b[i] for i in axes]
        full = [m + n - 1 for m, n in zip(first, second, strict=True)]
        if mode == "full":
            self.sizes = full
        elif mode == "same":
            self.sizes = first
        else:
            self.sizes = [abs(m - n) + 1 for m, n in zip(first, second, strict=True)]
        self.starts = [(m - n) // 2 for m, n in zip(full, self.sizes, strict=True)]


def convolved(a: Array, b: Array, window: Window, *, strict: bool) -> Array:
    """The convolution of two arrays with as many axes; the others follow NumPy's broadcasting.

    ``strict``: plain sums of products, so that a NaN shows where it is read and nowhere else.
    """
    dtype = np.result_type(a, b)
    if not window.axes:
        return np.asarray(a * b)
    if not a.size or not b.size or not prod(window.sizes):
        shape = list(np.broadcast_shapes(*(_others(s, window.axes) for s in (a.shape, b.shape))))
        for at, size in zip(window.axes, window.sizes, strict=True):
            shape[at] = size
        return np.zeros(shape, dtype)
    if dtype.kind in "bui":
        return _whole_numbers(a, b, window, dtype)
    if dtype.char in FLOATS:
        work: np.dtype[Any] = FLOATS[dtype.char]
        made = _real(a.astype(work, copy=False), b.astype(work, copy=False), window, strict)
        return made.astype(dtype, copy=False)
    if dtype.char in COMPLEX:
        return _complex(a, b, window, strict, dtype)
    return (singly if strict else whole_transform)(a, b, window)


def _others(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _whole_numbers(a: Array, b: Array, window: Window, dtype: np.dtype[Any]) -> Array:
    """Modulo 2^bits, as all sums of whole numbers of that type are; booleans by "or" and "and"."""
    if dtype.kind == "b":
        return np.not_equal(_plain(a.astype("i4"), b.astype("i4"), window, strict=True), 0)
    work = np.int32 if dtype.itemsize <= 4 else np.int64
    a, b = (part.astype(dtype, copy=False).astype(work, copy=False) for part in (a, b))
    return _plain(a, b, window, strict=True).astype(dtype, copy=False)


def _complex(a: Array, b: Array, window: Window, strict: bool, dtype: np.dtype[Any]) -> Array:
    """Real and imaginary part of one array as a further axis where the other is real."""
    real = np.dtype(np.float32 if dtype == np.complex64 else np.float64)
    if a.dtype.kind == b.dtype.kind:
        return _real(a.astype(dtype, copy=False), b.astype(dtype, copy=False), window, strict)
    a, b = (
        np.ascontiguousarray(part, dtype).view(real).reshape(*part.shape, 2)
        if part.dtype.kind == "c"
        else part.astype(real, copy=False)[..., np.newaxis]
        for part in (a, b)
    )
    made = _real(a, b, window, strict)
    return np.ascontiguousarray(made).view(dtype)[..., 0]


def _real(a: Array, b: Array, window: Window, strict: bool) -> Array:
    taps = min(prod(x.shape[i] for i in window.axes) for x in (a, b))
    if not strict and len(window.axes) > 1 and taps > MOST_TAPS:
        return whole_transform(a, b, window)
    return _plain(a, b, window, strict=strict)


def _plain(a: Array, b: Array, window: Window, *, strict: bool) -> Array:
    """By ``faltung.conv``, in a dtype that it takes."""
    axes = window.axes
    if prod([b.shape[i] for i in axes]) > prod([a.shape[i] for i in axes]):
        a, b = b, a
    part = _part(a.shape, b.shape, axes, tuple(window.starts), tuple(window.sizes))
    precision: Precision = "strict" if strict else "fast"
    x, w = a.transpose(part.before)[part.cut], b.transpose(part.before)
    if part.pairs:
        x = np.broadcast_to(x, (*part.batch, *x.shape[len(part.batch) :]))
        w = np.broadcast_to(w, (*part.batch, *w.shape[len(part.batch) :]))
    x, w = x.reshape(part.x), w.reshape(part.w)
    groups = part.w[0] if part.pairs else 1
    made = conv(x, w, padding=part.padding, groups=groups, flip=True, precision=precision)
    if part.product:
        made = made.reshape(part.product).transpose(part.interleaved)
    return made.reshape(part.out).transpose(part.after)


class Part(NamedTuple):
    """How two arrays become those of ``conv``, and its result that of a convolution.

    before: the outer axes first. cut: what is read of the first array. pairs: each channel has a
    kernel of its own; else each channel meets each kernel, and if there are several of both,
    ``product`` are the outer axes of both and their sizes, to be ``interleaved``.
    """

    before: tuple[int, ...]
    cut: tuple[slice, ...]
    pairs: bool
    batch: tuple[int, ...]
    x: tuple[int, ...]
    w: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    product: tuple[int, ...]
    interleaved: tuple[int, ...]
    out: tuple[int, ...]
    after: tuple[int, ...]


@lru_cache(maxsize=1024)
def _part(
    a: tuple[int, ...],
    b: tuple[int, ...],
    axes: tuple[int, ...],
    starts: tuple[int, ...],
    sizes: tuple[int, ...],
) -> Part:
    """For arrays of these shapes."""
    others = [i for i in range(len(a)) if i not in axes]
    padding, cuts, space = [], [slice(None)] * len(others), []
    for axis, start, wanted in zip(axes, starts, sizes, strict=True):
        size, taps = a[axis], b[axis]
        lo = taps - 1 - start
        hi = wanted - 1 + taps - size - lo
        cuts.append(slice(max(0, -lo), size + min(0, hi)))
        space.append(size + min(0, hi) - max(0, -lo))
        padding.append((max(0, lo), max(0, hi)))
    outer_x, outer_w = [a[i] for i in others], [b[i] for i in others]
    taps_of = [b[i] for i in axes]
    batch = np.broadcast_shapes(tuple(outer_x), tuple(outer_w))
    pairs = any(1 not in both for both in zip(outer_x, outer_w, strict=True))
    count = prod(batch)
    x = (1, count, *space) if pairs else (prod(outer_x), 1, *space)
    w = (count, 1, *taps_of) if pairs else (prod(outer_w), 1, *taps_of)
    product: tuple[int, ...] = ()
    interleaved: list[int] = []
    if not pairs and prod(outer_x) > 1 and prod(outer_w) > 1:
        n = len(others)
        product = (*outer_x, *outer_w, *sizes)
        interleaved = [i for k in range(n) for i in (k, n + k)]
        interleaved += range(2 * n, 2 * n + len(sizes))
    before = (*others, *axes)
    after = tuple(int(i) for i in np.argsort(before))
    return Part(
        *(before, tuple(cuts), pairs, batch, x, w, tuple(padding)),
        *(product, tuple(interleaved), (*batch, *sizes), after),
    )


# Other ways ---------------------------------------------------------------------------------------


def whole_transform(a: Array, b: Array, window: Window) -> Array:
    """By NumPy's transforms of the whole arrays: for kernels of very many taps along several axes,
    and for numbers wider than kernels hold.
    """
    dtype = np.result_type(a, b)
    axes = window.axes
    sizes = [a.shape[i] + b.shape[i] - 1 for i in axes]
    lengths = [smooth(n) for n in sizes]
    if dtype.kind == "c":
        spectrum: Array = np.fft.fftn(a, lengths, axes) * np.fft.fftn(b, lengths, axes)
        made: Array = np.fft.ifftn(spectrum, lengths, axes)
    else:
        spectrum = np.fft.rfftn(a, lengths, axes) * np.fft.rfftn(b, lengths, axes)
        made = np.fft.irfftn(spectrum, lengths, axes)
    cut: list[Any] = [slice(None)] * a.ndim
    for axis, start, size in zip(axes, window.starts, window.sizes, strict=True):
        cut[axis] = slice(start, start + size)
    return np.array(made[tuple(cut)], dtype)


def smooth(n: int) -> int:
    """The least number from ``n`` on that has no prime factors above 5."""
    best = 1 << (n - 1).bit_length()
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            twos = threes << max(0, (-(-n // threes) - 1).bit_length())
            best = min(best, twos)
            threes *= 3
        fives *= 5
    return best


def singly(a: Array, b: Array, window: Window) -> Array:
    """Tap after tap in NumPy's own arithmetic: numbers that kernels do not hold, and objects."""
    axes = window.axes
    if prod(b.shape[i] for i in axes) > prod(a.shape[i] for i in axes):
        a, b = b, a
    shape = list(np.broadcast_shapes(_others(a.shape, axes), _others(b.shape, axes)))
    for axis, size in zip(axes, window.sizes, strict=True):
        shape[axis] = size
    out = np.zeros(shape, np.result_type(a, b))
    for tap in product(*(range(b.shape[i]) for i in axes)):
        to, source, one = [slice(None)] * a.ndim, [slice(None)] * a.ndim, [slice(None)] * a.ndim
        for n, axis in enumerate(axes):
            shift = tap[n] - window.starts[n]
            first, stop = max(0, shift), min(window.sizes[n], a.shape[axis] + shift)
            to[axis], source[axis] = slice(first, stop), slice(first - shift, stop - shift)
            one[axis] = slice(tap[n], tap[n] + 1)
        if all(s.start < s.stop for s in (to[i] for i in axes)):
            out[tuple(to)] += a[tuple(source)] * b[tuple(one)]
    return out


def rounds_exactly(a: Array, b: Array, magnitudes: Callable[[Array], int]) -> bool:
    """Whether a transform in float64 is certain to round to the true sums of whole numbers."""
    largest = magnitudes(a) * magnitudes(b)
    if largest * min(a.size, b.size) >= 1 << 52:
        return False
    norm = largest * float(a.size * b.size) ** 0.5
    error = TRANSFORM_ERROR * log2(a.size + b.size + 2) * norm * np.finfo(np.float64).eps
    return bool(error < 0.25)
