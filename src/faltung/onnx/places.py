"""Sampling at computed places, from ONNX: grids, deformable convolutions, regions of interest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, at_least, maximum, select
from faltung.geometry.grid import Sampling
from faltung.geometry.pool import pool_spec
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import concatenated, known, picked, pooled, sliced
from faltung.graph.foreign_places import affine_grid as places_of
from faltung.graph.foreign_places import sampled
from faltung.graph.ops import Convolve
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import map_of, pads

Array = npt.NDArray[Any]


def affine_grid(a: Arguments) -> Tensor:
    """The places of an output under affine maps."""
    theta = a.floats(0)
    size = a.wholes("size", 1)
    if size is None or len(size) not in (4, 5) or min(size) < 1:
        raise FaltungError(f"size={size}: must be (N, C, H, W) or (N, C, D, H, W)")
    batch, space = size[0], size[2:]
    rank = len(space)
    if theta.shape != (batch, rank, rank + 1):
        raise FaltungError(f"theta of shape {theta.shape}: must be {(batch, rank, rank + 1)}")
    return places_of(a.f, theta, space, bool(a.whole("align_corners", 0)))


def grid_sample(a: Arguments) -> Tensor:
    x, grid = a.floats(0), a[1]
    mode = a.word("mode", "linear" if a.opset >= 20 else "bilinear")
    how = Sampling(
        {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode),
        a.word("padding_mode", "zeros"),
        bool(a.whole("align_corners", 0)),
    )
    places = grid if isinstance(grid, Tensor) else known(a.f, grid, x.dtype)
    rank = x.rank - 2
    if places.rank != x.rank or places.shape[0] != x.shape[0] or places.shape[-1] != rank:
        raise FaltungError(
            f"grid of shape {places.shape}: must be ({x.shape[0]}, *output, {rank}) for an input "
            f"of shape {x.shape}"
        )
    if rank > 3 or (rank == 3 and how.mode == "cubic"):
        raise Unsaid(f"mode={mode} of {rank} axes")
    a.f.require(x.shape[0] * x.shape[1] * places.size // (x.shape[0] * rank))
    return sampled(a.f, x, places, how)


def given(a: Arguments, number: int, like: Tensor) -> Tensor:
    """An input as a tensor, also where it is a constant."""
    found = a[number]
    return found if isinstance(found, Tensor) else known(a.f, found, like.dtype)


# Deformable convolutions --------------------------------------------------------------------------


def deform_conv(a: Arguments) -> Tensor:
    """J. Dai et al., *Deformable convolutional networks*, ICCV 2017: what each tap reads is sampled
    where its offset says; the sum over taps and channels is a convolution over the axis of taps.
    """
    x, w, f = a.floats(0), a.array(1), a.f
    channels, space = map_of(a, x)
    rank, groups, parts = len(space), a.whole("group", 1), a.whole("offset_group", 1)
    if w.ndim != rank + 2 or parts < 1 or channels % parts or not all(w.shape):
        raise FaltungError(f"weight of shape {w.shape}: does not fit an input of {x.shape}")
    kernel, batch = w.shape[2:], x.shape[0]
    told = a.wholes("kernel_shape")
    if rank > 3 or (told is not None and told != kernel):
        raise FaltungError(f"kernel_shape={told}: must be that of the weight, {kernel}")
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    pairs = pads(a, space, kernel, stride, dilation)
    plain = conv_spec(
        (1, channels, *space),
        w.shape,
        stride=stride,
        padding=pairs,
        dilation=dilation,
        groups=groups,
        dtype=f.dtype,
    )
    output, taps = plain.output, plain.taps
    offset = given(a, 2, x)
    if offset.shape != (batch, parts * taps * rank, *output):
        raise FaltungError(f"offset of shape {offset.shape}: does not fit outputs of {output}")
    read = _deformed(f, x, offset, parts, _taps(kernel, stride, dilation, pairs, output))
    if a.has(4):
        mask = f.reshaped(given(a, 4, x), (batch, parts, taps, *output))
        read = [
            formula(f, lambda x, m: x * m, each, sliced(f, mask, 1, number, 1))
            for number, each in enumerate(read)
        ]
    whole = concatenated(f, read, 1)
    ones = (1,) * rank
    flat = w.reshape(*w.shape[:2], taps, *ones)
    spec = conv_spec((1, channels, taps, *output), flat.shape, groups=groups, dtype=f.dtype)
    order = (*range(2, flat.ndim), 1, 0)
    operands = [f.map(whole), f.parameter("weight", flat, inner=flat.shape, order=order, of=w)]
    bias = a.has(3)
    if bias:
        operands.append(f.parameter("bias", a.array(3).ravel(), decay=False))
    made = f.node(Convolve(spec, bias), operands, (w.shape[0], 1, *output))
    return f.reshaped(f.of_map(made, x.dtype), (batch, w.shape[0], *output))


def _taps(
    kernel: Shape,
    stride: Shape,
    dilation: Shape,
    pairs: Sequence[tuple[int, int]],
    output: Shape,
) -> Array:
    """Where each tap of each output reads without an offset: (taps, rank, *output)."""
    rank = len(kernel)
    starts = np.indices(output) * np.reshape(stride, (rank, *(1,) * rank))
    starts = starts - np.reshape([lo for lo, _ in pairs], (rank, *(1,) * rank))
    steps = np.indices(kernel).reshape(rank, -1).T * np.array(dilation)
    return np.asarray(starts + steps.reshape(-1, rank, *(1,) * rank), np.float64)


def _deformed(f: Foreign, x: Tensor, offset: Tensor, parts: int, places: Array) -> list[Tensor]:
    """For each part of the channels what the taps read: (batch, channels, taps, *output)."""
    taps, rank, *output = places.shape
    apart = f.reshaped(offset, (x.shape[0], parts, taps, rank, *output))
    moved = formula(f, lambda p, q: p + q, apart, places)
    turned = picked(f, moved, 3, range(rank - 1, -1, -1)) if rank > 1 else moved
    turned = turned.moved(3, 3 + rank)
    each = x.shape[1] // parts
    made = []
    for number in range(parts):
        grid = f.reshaped(sliced(f, turned, 1, number, 1), (x.shape[0], taps, *output, rank))
        part = sliced(f, x, 1, number * each, each)
        made.append(sampled(f, part, grid, Sampling(positions=True)))
    return made


# Regions ------------------------------------------------------------------------------------------


def roi_align(a: Arguments) -> Tensor:
    """K. He et al., *Mask R-CNN*, ICCV 2017: means of samples on a grid within each region."""
    x, rois = a.floats(0), given(a, 1, a.floats(0))
    _, space = map_of(a, x)
    height, width = a.whole("output_height", 1), a.whole("output_width", 1)
    each, scale = a.whole("sampling_ratio", 0), a.number("spatial_scale", 1.0)
    usual = "half_pixel" if a.opset >= 16 else "output_half_pixel"
    half = a.word("coordinate_transformation_mode", usual) == "half_pixel"
    if len(space) != 2 or rois.rank != 2 or rois.shape[1] != 4 or min(height, width) < 1:
        raise FaltungError(f"rois of shape {rois.shape}: must be (regions, 4), the input pictures")
    if a.word("mode", "avg") != "avg":
        raise Unsaid("mode=max")
    if each < 1:
        raise Unsaid("sampling_ratio=0, which depends on the regions")
    f = a.f
    if x.shape[0] > 1:  # one picture is there for all regions
        pictures = a.array(2)
        if pictures.shape != rois.shape[:1] or pictures.min() < 0 or pictures.max() >= x.shape[0]:
            raise FaltungError(f"batch_indices: must be {rois.shape[0]} pictures of {x.shape[0]}")
        x = picked(f, x, 0, pictures.tolist())
    rows, columns = height * each, width * each
    parts = np.stack(
        np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows), axis=-1
    )
    wide = f.reshaped(rois, (rois.shape[0], 1, 1, 4))
    away = 0.5 if half else 0.0

    def place(begin: Expr, end: Expr, part: Expr) -> Expr:
        start, stop = begin * scale - away, end * scale - away
        size = stop - start
        return start + (size if half else maximum(size, 1.0)) * part

    begin, end = sliced(f, wide, 3, 0, 2), sliced(f, wide, 3, 2, 2)
    grid = formula(f, place, begin, end, parts[None])
    read = sampled(f, x, grid, Sampling(padding="border", positions=True))
    inside = [
        f.reshaped(sliced(f, grid, 3, k, 1), (rois.shape[0], 1, rows, columns)) for k in (1, 0)
    ]
    read = formula(
        f, lambda y, i, j: _within(i, space[0]) * _within(j, space[1]) * y, read, *inside
    )
    spec = pool_spec(
        (1, x.shape[1], rows, columns), each, kind="average", stride=each, dtype=f.dtype
    )
    return f.of_map(pooled(f, f.map(read), spec), x.dtype)


def _within(place: Expr, size: int) -> Expr:
    """1 up to one entry beyond the map, 0 further out."""
    return select(at_least(place, -1.0), select(at_least(float(size) - place, 0.0), 1.0, 0.0), 0.0)


TABLE: dict[str, Any] = {
    "AffineGrid": affine_grid,
    "GridSample": grid_sample,
    "DeformConv": deform_conv,
    "RoiAlign": roi_align,
}
