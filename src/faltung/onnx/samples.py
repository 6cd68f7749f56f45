"""Maps read at computed points, from ONNX: GridSample, DeformConv."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.axis import Axis
from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.sample import SampleSpec
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import known
from faltung.graph.ops import Convolve, Sample
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import map_of, pads, weight

Array = npt.NDArray[Any]

MODES = {
    "bilinear": "linear",
    "linear": "linear",
    "nearest": "nearest",
    "bicubic": "cubic",
    "cubic": "cubic",
}


def _floats(a: Arguments, number: int) -> Tensor:
    """An input, also one that is known."""
    found = a[number]
    if isinstance(found, Tensor):
        return a.floats(number)
    if found.dtype.kind != "f":
        raise FaltungError(f"input {number}: must be real numbers, not {found.dtype}")
    return known(a.f, found, str(found.dtype))


def _size(x: Tensor) -> tuple[int, ...]:
    """The space of a map that is read at points."""
    if not 3 <= x.rank <= 5:
        raise Unsaid(f"sampling in {x.rank - 2} axes")
    return x.shape[2:]


def grid_sample(a: Arguments) -> Tensor:
    """Points are given from -1 to 1 along each axis, the last axis first."""
    x, grid = _floats(a, 0), _floats(a, 1)
    size, rank = _size(x), x.rank - 2
    if grid.rank != x.rank or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise FaltungError(f"grid of shape {grid.shape}: does not fit the input {x.shape}")
    mode, outside = a.word("mode", "linear"), a.word("padding_mode", "zeros")
    if mode not in MODES:
        raise FaltungError(f"mode={mode!r}: must be one of {', '.join(MODES)}")
    corners = bool(a.whole("align_corners", 0))
    mirrored = "reflect" if corners else "symmetric"
    names = {"zeros": "zeros", "border": "replicate", "reflection": mirrored}
    if outside not in names:
        raise FaltungError(f"padding_mode={outside!r}: must be one of {', '.join(names)}")
    sizes = np.array(size[::-1], np.float64)
    scale = (sizes - 1) / 2 if corners else sizes / 2
    shift = scale if corners else (sizes - 1) / 2
    f = a.f
    where = formula(f, lambda g, s, t: g * s + t, grid, scale, shift)
    points = f.map(where, (0,), range(1, rank + 1), (rank + 1,))
    spec = SampleSpec(size, grid.shape[1:-1], MODES[mode], names[outside], backwards=True)
    value = f.map(x)
    made = f.node(Sample(spec), (value, points), (value.channels, *spec.output))
    return f.of_map(made, x.dtype)


def deform_conv(a: Arguments) -> Tensor:
    """What the moved taps of all windows read, then a convolution over the taps of each."""
    x, moved = _floats(a, 0), _floats(a, 2)
    w = a.array(1)
    channels, space = map_of(a, x)
    size, rank = _size(x), x.rank - 2
    if w.ndim != rank + 2:
        raise FaltungError(f"weight of shape {w.shape}: must have {rank + 2} axes")
    kernel = w.shape[2:]
    told = a.wholes("kernel_shape")
    if told is not None and told != kernel:
        raise FaltungError(f"kernel_shape={told}: must be that of the weight, {kernel}")
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    pairs = pads(a, space, kernel, stride, dilation)
    windows = tuple(
        Axis(n, k, s, d, lo, hi)
        for n, k, s, d, (lo, hi) in zip(size, kernel, stride, dilation, pairs, strict=True)
    )
    groups, taps = a.whole("offset_group", 1), prod(kernel)
    if groups < 1 or channels % groups:
        raise FaltungError(f"offset_group={groups}: must divide the {channels} channels")
    output = tuple(axis.output for axis in windows)
    f = a.f
    points = _taps(a, moved, "offset", (groups, taps, rank), output)
    inputs = [f.map(x), f.map(points, (0,), (*range(4, 4 + rank), 2), (1, 3))]
    if a.has(4):
        mask = _taps(a, _floats(a, 4), "mask", (groups, taps, 1), output)
        inputs.append(f.map(mask, (0,), (*range(4, 4 + rank), 2), (1, 3)))
    whole = (*output, taps)
    sample = SampleSpec(size, whole, groups=groups, windows=windows, masked=a.has(4))
    read = f.node(Sample(sample), inputs, (channels, *whole))
    inner = (*w.shape[:2], *(1,) * rank, taps)
    spec = conv_spec((1, channels, *whole), inner, groups=a.whole("group", 1), dtype=f.dtype)
    operands = [read, weight(f, w, inner)]
    if a.has(3):
        bias = a.array(3).ravel()
        if bias.shape != (w.shape[0],):
            raise FaltungError(f"bias of shape {bias.shape}: must have {w.shape[0]} numbers")
        operands.append(f.parameter("bias", bias, decay=False))
    made = f.node(Convolve(spec, a.has(3)), operands, (w.shape[0], *output, 1))
    return f.of_map(f.seen(made, made.samples, (w.shape[0], *output)), x.dtype)


def _taps(
    a: Arguments, x: Tensor, name: str, parts: tuple[int, int, int], output: tuple[int, ...]
) -> Tensor:
    """A tensor (samples, groups * taps * parts, *output) with these axes apart."""
    wanted = (prod(parts), *output)
    if x.shape[1:] != wanted:
        raise FaltungError(f"{name} of shape {x.shape}: must be (batch, *{wanted})")
    return a.f.reshaped(x, (x.shape[0], *parts, *output))


TABLE = {"GridSample": grid_sample, "DeformConv": deform_conv}
