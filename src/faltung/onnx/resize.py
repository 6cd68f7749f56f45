"""Other sizes, from ONNX: Resize and Upsample in every mode, as tables."""

from math import floor, isclose, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.interpolate import Resizing, resized
from faltung.geometry.resample import MOST_TAPS
from faltung.graph.foreign import Tensor
from faltung.graph.foreign_resample import resampled
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
    sizes = dict(enumerate(x.shape)) | {
        axis: out for axis, (out, _) in zip(axes, told, strict=True)
    }
    a.f.require(prod(max(0, out) for out in sizes.values()))
    tables = {}
    for i, (axis, (out, scale)) in enumerate(zip(axes, told, strict=True)):
        size, part = x.shape[axis], (float(roi[i]), float(roi[len(axes) + i]))
        if out == size and isclose(scale, 1.0) and part == (0.0, 1.0):
            continue
        if not 0 < out <= MOST_TAPS:
            raise FaltungError(f"sizes={out}: must be at least 1, and no more than {MOST_TAPS}")
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


TABLE: dict[str, Any] = {"Resize": resize, "Upsample": resize}
