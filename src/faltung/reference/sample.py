"""The definition of maps read at points between their entries, and its gradients, in float64.

Maps are (batch, channels, *size), points (batch, groups * rank, *output), masks (batch, groups,
*output). The coordinate of an entry is its index. https://onnx.ai/onnx/operators/ has the
operators that are made of this, GridSample and DeformConv.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faltung.geometry.sample import CUBIC, TAPS, SampleSpec

Array = NDArray[np.float64]


class _Tap(NamedTuple):
    """Of one entry around each point: where it is along each axis, whether it is there, its weight,
    and how that changes along each axis.
    """

    places: tuple[NDArray[np.int64], ...]
    there: NDArray[np.bool_]
    weight: Array
    slopes: list[Array]


def sample(
    spec: SampleSpec, x: ArrayLike, points: ArrayLike, mask: ArrayLike | None = None
) -> Array:
    """(batch, channels, *output)."""
    given = np.asarray(x, np.float64)
    made = np.zeros((*given.shape[:2], *spec.output))
    for group, channels, taps in _groups(spec, given, points):
        for tap in taps:
            made[:, channels] += (tap.weight * tap.there)[:, None] * _read(given, channels, tap)
        if mask is not None:
            made[:, channels] *= np.asarray(mask, np.float64)[:, group : group + 1]
    return made


def sample_input_grad(
    spec: SampleSpec,
    grad: ArrayLike,
    points: ArrayLike,
    mask: ArrayLike | None = None,
) -> Array:
    """The gradient for the map, from that for the output."""
    g = np.asarray(grad, np.float64)
    made = np.zeros((*g.shape[:2], *spec.size))
    for group, channels, taps in _groups(spec, made, points):
        part = g[:, channels]
        if mask is not None:
            part = part * np.asarray(mask, np.float64)[:, group : group + 1]
        for tap in taps:
            terms = np.moveaxis((tap.weight * tap.there)[:, None] * part, 1, -1)
            samples = np.arange(len(g)).reshape(-1, *(1,) * len(spec.output))
            np.add.at(np.moveaxis(made[:, channels], 1, -1), (samples, *tap.places), terms)
    return made


def sample_points_grad(
    spec: SampleSpec,
    grad: ArrayLike,
    x: ArrayLike,
    points: ArrayLike,
    mask: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """The gradients for the points and for the mask."""
    g, given = np.asarray(grad, np.float64), np.asarray(x, np.float64)
    made = np.zeros((len(g), spec.coordinates, *spec.output))
    masks = np.zeros((len(g), spec.groups, *spec.output))
    for group, channels, taps in _groups(spec, given, points):
        for tap in taps:
            product_ = (g[:, channels] * _read(given, channels, tap)).sum(1) * tap.there
            masks[:, group] += tap.weight * product_
            for axis, slope in enumerate(tap.slopes):
                made[:, group * spec.rank + _place(spec, axis)] += slope * product_
        if mask is not None:
            made[:, group * spec.rank : (group + 1) * spec.rank] *= np.asarray(mask)[
                :, group : group + 1
            ]
    return made, masks


def _place(spec: SampleSpec, axis: int) -> int:
    return spec.rank - 1 - axis if spec.backwards else axis


def _read(x: Array, channels: slice, tap: _Tap) -> Array:
    samples = np.arange(len(x)).reshape(-1, *(1,) * (tap.weight.ndim - 1))
    return np.moveaxis(np.moveaxis(x[:, channels], 1, -1)[(samples, *tap.places)], -1, 1)


def _groups(spec: SampleSpec, x: Array, points: ArrayLike) -> list[tuple[int, slice, list[_Tap]]]:
    """For each group its channels and its taps."""
    where = np.asarray(points, np.float64)
    each = x.shape[1] // spec.groups
    made = []
    for group in range(spec.groups):
        axes = [where[:, group * spec.rank + _place(spec, axis)] for axis in range(spec.rank)]
        if spec.windows:
            axes = [a + b for a, b in zip(axes, _bases(spec), strict=True)]
        made.append((group, slice(group * each, (group + 1) * each), _taps(spec, axes)))
    return made


def _bases(spec: SampleSpec) -> list[Array]:
    """Where each tap of each window is, along each axis."""
    shape = spec.output
    made = []
    for number, axis in enumerate(spec.windows):
        starts = np.arange(axis.output) * axis.stride - axis.lo
        lie = starts.reshape(*(-1 if i == number else 1 for i in range(spec.rank)), 1)
        taps = np.array([offset[number] for offset in spec.offsets])
        made.append(np.broadcast_to(lie + taps, shape).astype(np.float64))
    return made


def _taps(spec: SampleSpec, axes: list[Array]) -> list[_Tap]:
    along = [_axis(spec, axis, size) for axis, size in zip(axes, spec.size, strict=True)]
    made = []
    for choice in product(*along):
        weights = [weight for _, _, weight, _ in choice]
        slopes = []
        for axis, (_, _, _, slope) in enumerate(choice):
            others = [w for i, w in enumerate(weights) if i != axis]
            slopes.append(np.asarray(np.prod([slope, *others], axis=0)))
        there = np.logical_and.reduce([inside for _, inside, _, _ in choice])
        made.append(
            _Tap(tuple(i for i, _, _, _ in choice), there, np.prod(weights, axis=0), slopes)
        )
    return made


def _axis(spec: SampleSpec, where: Array, size: int) -> list[tuple[NDArray[np.int64], ...]]:
    """The taps along one axis: indices, whether they are there, weights, slopes."""
    low = np.floor(where)
    f = where - low
    if spec.mode == "nearest":
        first, weights, slopes = np.rint(where), [np.ones_like(f)], [np.zeros_like(f)]
    elif spec.mode == "linear":
        first, weights, slopes = low, [1 - f, f], [-np.ones_like(f), np.ones_like(f)]
    else:
        first = low - 1
        weights = [_far(1 + f), _near(f), _near(1 - f), _far(2 - f)]
        slopes = [_far_slope(1 + f), _near_slope(f), -_near_slope(1 - f), -_far_slope(2 - f)]
    made = []
    for number in range(TAPS[spec.mode]):
        index, inside = _inside(spec.outside, first.astype(np.int64) + number, size)
        made.append((index, inside, weights[number], slopes[number]))
    return made  # type: ignore[return-value]


def _inside(
    outside: str, index: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    there = np.ones(index.shape, bool)
    if outside == "zeros":
        there = (index >= 0) & (index < size)
        index = np.where(there, index, 0)
    elif outside == "replicate":
        index = np.clip(index, 0, size - 1)
    elif outside == "reflect":
        period = max(1, 2 * (size - 1))
        index = index % period
        index = np.minimum(index, period - index) if size > 1 else index * 0
    else:
        index = index % (2 * size)
        index = np.minimum(index, 2 * size - 1 - index)
    return index, there


def _near(t: Array) -> Array:
    """The weight at a distance of up to 1."""
    return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1


def _far(t: Array) -> Array:
    """The weight at a distance from 1 to 2."""
    return CUBIC * (((t - 5) * t + 8) * t - 4)


def _near_slope(t: Array) -> Array:
    return (3 * (CUBIC + 2) * t - 2 * (CUBIC + 3)) * t


def _far_slope(t: Array) -> Array:
    return CUBIC * ((3 * t - 10) * t + 8)
