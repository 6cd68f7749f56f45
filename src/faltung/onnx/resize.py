"""Resize and Upsample of ONNX, where each output is an input: repetitions, and parts."""

from math import ceil, floor
from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import expanded
from faltung.graph.foreign_maps import picked
from faltung.onnx.arguments import Arguments


def _places(a: Arguments, size: int, scale: float, out: int) -> list[int]:
    """Which entry each output is, by the words that the file uses."""
    how = a.word("coordinate_transformation_mode", "half_pixel")
    rule = a.word("nearest_mode", "round_prefer_floor")
    if a.op == "Upsample" or a.opset < 11:
        how, rule = "asymmetric", "floor"
    found = []
    for o in range(out):
        if how == "asymmetric":
            x = o / scale
        elif how == "align_corners":
            x = o * (size - 1) / (out - 1) if out > 1 else 0.0
        elif how == "half_pixel" or (how == "pytorch_half_pixel" and out > 1):
            x = (o + 0.5) / scale - 0.5
        elif how == "pytorch_half_pixel":
            x = 0.0
        else:
            raise Unsaid(f"coordinate_transformation_mode={how} (needs Resample)")
        found.append(min(max(_rounded(x, rule), 0), size - 1))
    return found


def _rounded(x: float, rule: str) -> int:
    if rule == "floor":
        return floor(x)
    if rule == "ceil":
        return ceil(x)
    if rule == "round_prefer_floor":
        return ceil(x - 0.5)
    if rule == "round_prefer_ceil":
        return floor(x + 0.5)
    raise FaltungError(f"nearest_mode={rule!r}: is none of ONNX")


def resize(a: Arguments) -> Tensor:
    new = a.op == "Resize" and a.opset >= 11
    place = 2 if new else 1
    scales = a.array(place) if a.has(place) and a.array(place).size else None
    sizes = a.array(3) if new and a.has(3) else None
    if scales is None:
        scales = a.numbers_of("scales")
    x = a.floats(0)
    if a.word("mode", "nearest") != "nearest":
        raise Unsaid(f"mode={a.word('mode', 'nearest')} (needs Resample)")
    if a.word("keep_aspect_ratio_policy", "stretch") != "stretch" or a.whole("antialias", 0):
        raise Unsaid("antialias or keep_aspect_ratio_policy (needs Resample)")
    axes = a.axes(x.rank, None)
    axes = tuple(range(x.rank)) if axes is None else axes
    told = scales if scales is not None else sizes
    if told is None or told.shape != (len(axes),):
        raise FaltungError(f"scales or sizes: must be {len(axes)} numbers")
    for axis, given in zip(axes, told.tolist(), strict=True):
        size = x.shape[axis]
        if scales is not None:
            if not 0 < given < 1 << 20:
                raise FaltungError(f"scales={given}: must be above 0")
            out, scale = floor(size * given), float(given)
        else:
            out, scale = int(given), given / size
        if out < 1 or out > 1 << 20:
            raise FaltungError(f"sizes={out}: must be at least 1")
        if out == size and scale == 1:
            continue
        a.f.require(x.size // size * out)
        x = _chosen(a, x, axis, _places(a, size, scale, out))
    return x


def _chosen(a: Arguments, x: Tensor, axis: int, places: list[int]) -> Tensor:
    size, out = x.shape[axis], len(places)
    times = out // size
    if times > 1 and places == [o // times for o in range(out)]:
        return multiplied(a, x, axis, times)
    if out < size or len(places) <= 64:
        return picked(a.f, x, axis, places)
    raise Unsaid("a scale that is not whole (needs Resample)")


def multiplied(a: Arguments, x: Tensor, axis: int, times: int) -> Tensor:
    """Each entry so many times in a row."""
    sizes = list(x.shape)
    apart = (*sizes[: axis + 1], 1, *sizes[axis + 1 :])
    wide = (*sizes[: axis + 1], times, *sizes[axis + 1 :])
    made = expanded(a.f, a.f.reshaped(x, apart), wide)
    sizes[axis] *= times
    return a.f.reshaped(made, tuple(sizes))


TABLE: dict[str, Any] = {"Resize": resize, "Upsample": resize}
