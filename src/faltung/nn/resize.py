"""Layers that change the sizes of maps without parameters: interpolation, padding, shuffling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from math import prod
from typing import Literal, get_args

from faltung.geometry.check import (
    PerAxis,
    integer,
    is_sequence,
    one_of,
    per_axis,
    real,
    sequence,
    show,
)
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.interpolate import interpolated
from faltung.geometry.pool import pool_spec
from faltung.geometry.record import dataclass
from faltung.geometry.resample import Table, averaged, binomial, filtered, padded, selected
from faltung.graph.builder import Builder, Fields
from faltung.graph.ops import Permute, Pool, Resample
from faltung.graph.value import Value
from faltung.nn.conv import spatial
from faltung.nn.layer import Layer

PerAxisFloat = float | Sequence[float]
Interpolation = Literal[
    "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "cubic", "bicubic", "area"
]
Fill = Literal["zeros", "reflect", "symmetric", "replicate", "circular"]
# Entries of a blur, and positions of an axis after an adaptive pooling, at most.
MOST_TAPS, MOST_PARTS = 64, 1 << 16
# Names that say how many axes there are.
_RANKS = {"bilinear": ("linear", 2), "trilinear": ("linear", 3), "bicubic": ("cubic", 2)}


@dataclass(frozen=True, slots=True, repr=False)
class Upsample(Layer):
    """The map in another size, larger or smaller, by interpolation.

    Equal to ``torch.nn.functional.interpolate``, for any number of axes.

    Parameters
    ----------
    scale : float, or one for each spatial axis, optional
        How much larger; sizes are rounded down.
    size : int, or one int for each spatial axis, optional
        The size itself. Either this or ``scale``.
    mode : {"nearest", "nearest-exact", "linear", "cubic", "area"}
        "bilinear", "trilinear" and "bicubic" are linear and cubic for two or three axes.
    align_corners : bool
        The centres of the outermost entries stay where they are, instead of their edges.
    antialias : bool
        Linear and cubic take means where the map gets smaller.

    References
    ----------
    R. Keys, *Cubic convolution interpolation for digital image processing*, IEEE Trans. ASSP 29,
    1981.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Upsample(scale=2, mode="bilinear"), (16, 20, 30)).output.shape
    (16, 40, 60)
    """

    _: KW_ONLY
    scale: PerAxisFloat | None = None
    size: PerAxis | None = None
    mode: Interpolation = "nearest"
    align_corners: bool = False
    antialias: bool = False

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Upsample")
        rank = len(x.space)
        mode = _mode(self.mode, rank)
        if mode not in ("linear", "cubic"):
            for name in ("align_corners", "antialias"):
                if getattr(self, name):
                    raise FaltungError(f"{name}=True: must be False with mode={self.mode!r}")
        if (self.size is None) == (self.scale is None):
            raise FaltungError("size, scale: must be one of the two")
        scales: Sequence[float | None] = [None] * rank
        if self.scale is not None:
            scales = _scales(self.scale, rank)
            sizes = [int(n * float(s or 1)) for n, s in zip(x.space, scales, strict=True)]
            if min(sizes) < 1:
                raise FaltungError(f"scale={show(self.scale)}: leaves nothing of {x.space}")
        else:
            sizes = list(per_axis("size", self.size, rank, 1))
        tables = [
            interpolated(
                mode, n, m, scale=s, align_corners=self.align_corners, antialias=self.antialias
            )
            for n, m, s in zip(x.space, sizes, scales, strict=True)
        ]
        return resampled(b, x, tables)


def _mode(mode: str, rank: int) -> str:
    one_of("mode", mode, get_args(Interpolation))
    name, wanted = _RANKS.get(mode, (mode, rank))
    if wanted != rank:
        raise FaltungError(f"mode={mode!r}: is for {wanted} spatial axes, the map has {rank}")
    return name


def _scales(scale: object, rank: int) -> list[float]:
    numbers = list(scale) if is_sequence(scale) else [scale] * rank  # type: ignore[call-overload]
    if len(numbers) != rank:
        raise FaltungError(f"scale={show(scale)}: must be one number or {rank}, one for each axis")
    found = [real("scale", number) for number in numbers]
    if min(found) <= 0:
        raise FaltungError(f"scale={show(scale)}: must be above 0")
    return found


def resampled(
    b: Builder,
    x: Value,
    tables: Sequence[Table | None],
    *,
    fill: float = 0.0,
    fields: Fields = None,
) -> Value:
    """The map with its axes of space through these tables; itself where nothing changes."""
    if all(table is None or table.identity for table in tables):
        return x
    op = Resample((None, *tables), fill)
    return b.node(op, (x,), op.made(x.shape), fields=fields)


@dataclass(frozen=True, slots=True, repr=False)
class Pad(Layer):
    """The map with more entries before and after each axis of space, or with fewer.

    Zeros before a convolution or a pooling become part of it.

    Parameters
    ----------
    padding : int, or one entry for each spatial axis
        Entries of an axis are an int, for both sides, or a pair (before, after); negative numbers
        take entries away.
    mode : {"zeros", "reflect", "symmetric", "replicate", "circular"}
        What is added: ``value``, the map mirrored at its last entry or behind it, the last entry,
        or the map from its other side on.
    value : float
        What "zeros" adds instead of 0.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Pad(((1, 2), 0), mode="reflect"), (3, 8, 8)).output.shape
    (3, 11, 8)
    """

    padding: int | Sequence[int | Sequence[int]]
    _: KW_ONLY
    mode: Fill = "zeros"
    value: float = 0.0

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Pad")
        one_of("mode", self.mode, get_args(Fill))
        if self.value and self.mode != "zeros":
            raise FaltungError(f"value={self.value}: must be 0 with mode={self.mode!r}")
        pairs = _pairs(self.padding, len(x.space))
        tables = []
        for size, (lo, hi) in zip(x.space, pairs, strict=True):
            if size + min(lo, 0) + min(hi, 0) < 1:
                raise FaltungError(f"padding={show(self.padding)}: leaves nothing of {size}")
            tables.append(padded(size, lo, hi, self.mode))
        return resampled(b, x, tables, fill=float(self.value), fields=_moved(b.fields(x), pairs))


def _pairs(padding: object, rank: int) -> list[tuple[int, int]]:
    entries: list[object] = (
        list(sequence("padding", padding)) if is_sequence(padding) else [padding] * rank
    )
    if len(entries) != rank:
        raise FaltungError(
            f"padding={show(padding)}: must be one int, or one entry for each of {rank} axes"
        )
    found = []
    for entry in entries:
        both = sequence("padding", entry) if is_sequence(entry) else [entry] * 2
        pair = list(map(integer, both))
        if len(pair) != 2 or pair[0] is None or pair[1] is None:
            raise FaltungTypeError(
                f"padding={show(padding)}: the padding of an axis is an int or (before, after)"
            )
        found.append((pair[0], pair[1]))
    return found


def _moved(fields: Fields, pairs: Sequence[tuple[int, int]]) -> Fields:
    """The fields where an axis begins earlier. What mirrors add sees other entries: no field says
    so, as with the padding of a convolution.
    """
    if fields is None or len(fields) != len(pairs):
        return None
    return tuple(
        type(field)(field.size, field.jump, field.start - lo * field.jump)
        for field, (lo, _) in zip(fields, pairs, strict=True)
    )


@dataclass(frozen=True, slots=True, repr=False)
class AdaptiveAvgPool(Layer):
    """Means of windows as equal as can be, as many as asked for.

    They overlap where the sizes do not divide.

    Parameters
    ----------
    size : int, or one int for each spatial axis
        Of the result.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.AdaptiveAvgPool(7), (16, 20, 30)).output.shape
    (16, 7, 7)
    """

    size: PerAxis

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "AdaptiveAvgPool")
        sizes = _parts(self.size, x)
        if not any(n % m for n, m in zip(x.space, sizes, strict=True)):
            return _pool(b, x, "average", sizes)
        return resampled(b, x, [averaged(n, m) for n, m in zip(x.space, sizes, strict=True)])


@dataclass(frozen=True, slots=True, repr=False)
class AdaptiveMaxPool(Layer):
    """Maxima of windows as equal as can be, as many as asked for.

    Parameters
    ----------
    size : int, or one int for each spatial axis
        Of the result.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.AdaptiveMaxPool(7), (16, 20, 30)).output.shape
    (16, 7, 7)
    """

    size: PerAxis

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "AdaptiveMaxPool")
        sizes = _parts(self.size, x)
        # Windows of one length, one after the other: shorter ones repeat their last entry.
        windows = [_windows(n, m) for n, m in zip(x.space, sizes, strict=True)]
        return _pool(b, resampled(b, x, windows), "max", sizes)


def _parts(size: PerAxis, x: Value) -> tuple[int, ...]:
    """The size of each axis after an adaptive pooling."""
    sizes = per_axis("size", size, len(x.space), 1)
    if max(sizes) > MOST_PARTS:
        raise FaltungError(f"size={show(sizes)}: must be at most {MOST_PARTS} along each axis")
    return sizes


def _windows(size: int, output: int) -> Table:
    ends = [(o * size // output, -(-(o + 1) * size // output)) for o in range(output)]
    length = max(stop - first for first, stop in ends)
    places = (min(first + k, stop - 1) for first, stop in ends for k in range(length))
    return selected(size, places)


def _pool(b: Builder, x: Value, kind: str, sizes: Sequence[int]) -> Value:
    """Windows beside each other, which fill the map."""
    kernel = [n // m for n, m in zip(x.space, sizes, strict=True)]
    spec = pool_spec((1, *x.shape), kernel, kind=kind, stride=kernel, dtype=b.dtype)
    shape = (x.channels, *sizes)
    return b.node(Pool(spec), (x,), shape, fields=b.through(x, spec.axes))


@dataclass(frozen=True, slots=True, repr=False)
class Blur(Layer):
    """A binomial blur of each channel, then every ``stride``: smaller without aliasing.

    Parameters
    ----------
    taps : int
        Of the blur, along each axis; the padding keeps the size.
    stride : int, or one int for each spatial axis
    mode : {"zeros", "reflect", "symmetric", "replicate", "circular"}
        Of the padding.

    References
    ----------
    R. Zhang, *Making convolutional networks shift-invariant again*, ICML 2019.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Blur(), (16, 20, 30)).output.shape
    (16, 10, 15)
    """

    _: KW_ONLY
    taps: int = 3
    stride: PerAxis = 2
    mode: Fill = "reflect"

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "Blur")
        one_of("mode", self.mode, get_args(Fill))
        if not 1 <= self.taps <= MOST_TAPS:
            raise FaltungError(f"taps={show(self.taps)}: must be from 1 to {MOST_TAPS}")
        strides = per_axis("stride", self.stride, len(x.space), 1)
        lo, hi = (self.taps - 1) // 2, self.taps // 2
        how = {"lo": lo, "hi": hi}
        weights = binomial(self.taps)
        tables = [
            filtered(n, weights, stride=s, mode=self.mode, **how)
            for n, s in zip(x.space, strides, strict=True)
        ]
        return resampled(b, x, tables)


@dataclass(frozen=True, slots=True, repr=False)
class PixelShuffle(Layer):
    """Channels become positions: ``(C r r, H, W)`` -> ``(C, H r, W r)``, for any number of axes.

    Parameters
    ----------
    factor : int
        How much larger each axis gets, r.

    References
    ----------
    W. Shi et al., *Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network*, CVPR 2016.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.PixelShuffle(2), (12, 5, 6)).output.shape
    (3, 10, 12)
    """

    factor: int

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "PixelShuffle")
        rank, r = len(x.space), _factor(self.factor)
        channels, rest = divmod(x.channels, r**rank)
        if rest:
            raise FaltungError(f"factor={r}: {r}**{rank} must divide the {x.channels} channels")
        dims = (x.samples, *x.space, channels, *(r,) * rank)
        axes = [0, *(axis for i in range(rank) for axis in (1 + i, 2 + rank + i)), 1 + rank]
        shape = (channels, *(n * r for n in x.space))
        return b.node(Permute(dims, tuple(axes)), (x,), shape)


@dataclass(frozen=True, slots=True, repr=False)
class PixelUnshuffle(Layer):
    """Positions become channels: ``(C, H r, W r)`` -> ``(C r r, H, W)``, for any number of axes.

    Parameters
    ----------
    factor : int
        How much smaller each axis gets, r.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.PixelUnshuffle(2), (3, 10, 12)).output.shape
    (12, 5, 6)
    """

    factor: int

    def build(self, b: Builder, x: Value) -> Value:
        x = spatial(b, x, "PixelUnshuffle")
        rank, r = len(x.space), _factor(self.factor)
        if any(n % r for n in x.space):
            raise FaltungError(f"factor={r}: must divide the sizes {x.space}")
        space = tuple(n // r for n in x.space)
        dims = (x.samples, *(size for n in space for size in (n, r)), x.channels)
        inside = [2 + 2 * i for i in range(rank)]
        axes = [0, *(1 + 2 * i for i in range(rank)), 1 + 2 * rank, *inside]
        shape = (x.channels * prod([r] * rank), *space)
        return b.node(Permute(dims, tuple(axes)), (x,), shape)


def _factor(factor: int) -> int:
    if factor < 1:
        raise FaltungError(f"factor={factor}: must be at least 1")
    return int(factor)
