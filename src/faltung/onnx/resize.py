"""Other sizes, from ONNX: Resize and Upsample in every mode, as tables; grids of places."""

from math import floor, isclose
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.grid import Sampling
from faltung.geometry.interpolate import Resizing, resized
from faltung.geometry.resample import MOST_TAPS, table
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_maps import known
from faltung.graph.foreign_resample import resampled
from faltung.graph.ops import GridSample
from faltung.onnx.arguments import Arguments

Array = npt.NDArray[Any]
_POLICIES = {"not_larger": min, "not_smaller": max}


def resize(a: Arguments) -> Tensor:
    x = a.floats(0)
    how = _how(a)
    axes = a.axes(x.rank, None)
    axes = tuple(range(x.rank)) if axes is None else axes
    told = _told(a, x, axes)
    cropped = how.coordinates == "tf_crop_and_resize"
    roi = _roi(a, len(axes)) if cropped else np.array([0.0, 1.0]).repeat(len(axes))
    fill = a.number("extrapolation_value", 0.0) if cropped else 0.0
    tables = {}
    for i, (axis, (out, scale)) in enumerate(zip(axes, told, strict=True)):
        size, part = x.shape[axis], (float(roi[i]), float(roi[len(axes) + i]))
        if out == size and isclose(scale, 1.0) and part == (0.0, 1.0):
            continue
        if not 0 < out <= MOST_TAPS:
            raise FaltungError(f"sizes={out}: must be at least 1, and no more than {MOST_TAPS}")
        a.f.require(x.size // size * out)
        tables[axis] = resized(how, size, out, scale, part)
    return resampled(a.f, x, tables, fill)


def _how(a: Arguments) -> Resizing:
    """The settings; older versions have one convention alone."""
    mode = a.word("mode", "nearest")
    if a.op == "Upsample" or a.opset < 11:
        mode = {"bilinear": "linear", "trilinear": "linear"}.get(mode, mode)
        return Resizing(mode, "asymmetric", "floor")
    return Resizing(
        mode,
        a.word("coordinate_transformation_mode", "half_pixel"),
        a.word("nearest_mode", "round_prefer_floor"),
        a.number("cubic_coeff_a", -0.75),
        bool(a.whole("exclude_outside", 0)) and mode != "nearest",
        bool(a.whole("antialias", 0)),
    )


def _told(a: Arguments, x: Tensor, axes: tuple[int, ...]) -> list[tuple[int, float]]:
    """For each of these axes its new size, and outputs for each entry."""
    new = a.op == "Resize" and a.opset >= 11
    place = 2 if new else 1
    scales = a.array(place) if a.has(place) and a.array(place).size else None
    sizes = a.array(3) if new and a.has(3) and a.array(3).size else None
    if scales is None:
        scales = a.numbers_of("scales")
    policy = a.word("keep_aspect_ratio_policy", "stretch")
    told = scales if scales is not None else sizes
    if told is None or told.shape != (len(axes),):
        raise FaltungError(f"scales or sizes: must be {len(axes)} numbers")
    now = [x.shape[axis] for axis in axes]
    if scales is not None:
        found = [float(scale) for scale in scales]
        if not all(0 < scale < MOST_TAPS for scale in found):
            raise FaltungError(f"scales={found}: must be above 0")
        # In float32, as the sizes that files declare were computed.
        made = [
            int(np.floor(np.float32(n) * np.float32(s))) for n, s in zip(now, found, strict=True)
        ]
        return list(zip(made, found, strict=True))
    assert sizes is not None
    wanted = [int(size) for size in sizes]
    ratios = [size / n for size, n in zip(wanted, now, strict=True)]
    if policy == "stretch":
        return list(zip(wanted, ratios, strict=True))
    if policy not in _POLICIES:
        raise FaltungError(
            f"keep_aspect_ratio_policy={policy!r}: must be stretch, not_larger or not_smaller"
        )
    ratio = _POLICIES[policy](ratios)
    return [(floor(n * ratio + 0.5), ratio) for n in now]


def _roi(a: Arguments, count: int) -> Array:
    if not a.has(1):
        raise FaltungError("roi is missing")
    found = a.array(1).astype(np.float64).ravel()
    if len(found) != 2 * count or not np.isfinite(found).all():
        raise FaltungError(f"roi: must be {2 * count} numbers, a start and an end for each axis")
    return found


# Grids of places ----------------------------------------------------------------------------------


def affine_grid(a: Arguments) -> Tensor:
    """The places of an output under affine maps: a sum over the columns of each, whose weights are
    the coordinates of the output.
    """
    theta = a.floats(0)
    size = a.wholes("size", 1)
    if size is None or len(size) not in (4, 5) or min(size) < 1:
        raise FaltungError(f"size={size}: must be (N, C, H, W) or (N, C, D, H, W)")
    batch, space = size[0], size[2:]
    rank = len(space)
    if theta.shape != (batch, rank, rank + 1):
        raise FaltungError(f"theta of shape {theta.shape}: must be {(batch, rank, rank + 1)}")
    corners = bool(a.whole("align_corners", 0))
    lines = [_centres(n, corners) for n in space]
    count = int(np.prod(space))
    a.f.require(batch * count * rank)
    if count * (rank + 1) > MOST_TAPS:
        raise Unsaid("a grid of so many places")
    places = np.stack([m.ravel() for m in np.meshgrid(*lines, indexing="ij")][::-1], axis=1)
    rows = [[*enumerate(row), (rank, 1.0)] for row in places.tolist()]
    made = resampled(a.f, theta, {2: table(rank + 1, rows)})
    return a.f.reshaped(made.moved(1, 2), (batch, *space, rank))


def _centres(size: int, corners: bool) -> Array:
    """The coordinates of the entries of an axis."""
    if corners:
        return np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1)
    return (2 * np.arange(size) + 1) / size - 1


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
    samples = a.f.map(x)
    grids = a.f.map(places, (0,), range(1, x.rank - 1), (x.rank - 1,))
    shape = (x.shape[1], *places.shape[1:-1])
    return a.f.of_map(a.f.node(GridSample(how), (samples, grids), shape), x.dtype)


TABLE: dict[str, Any] = {
    "Resize": resize,
    "Upsample": resize,
    "AffineGrid": affine_grid,
    "GridSample": grid_sample,
}
