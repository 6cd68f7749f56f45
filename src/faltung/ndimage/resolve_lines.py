"""From the arguments of filters that go along one axis after the other to their recipes: all
checks, in SciPy's order.

Each function takes the shape and dtype of the input, and then the arguments of the public function
in the order of its signature, without ``input`` and ``output``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungRuntimeError, FaltungTypeError
from faltung.geometry.line import Line, Reduction
from faltung.ndimage.arguments import all_axes, before_of, index, one_axis, per_axis
from faltung.ndimage.gaussian_weights import gaussian_weights, radius_of
from faltung.ndimage.modes import border, number
from faltung.ndimage.recipe import Kernels, Lines, Part, Recipe, by_parts
from faltung.ndimage.resolve_kernels import parts_of

Shape = tuple[int, ...]
DType = np.dtype[Any]
# A filter along an axis without its border: axis, reduction, size, before, mode, weights.
Along = tuple[int, Reduction, int, int, Any, tuple[float, ...]]

FIRST = (-1.0, 0.0, 1.0)
SECOND = (1.0, -2.0, 1.0)

# Their differences are added in one pass: whole numbers wrap alike in whatever order, and float32
# may differ in its last digit.
ONE_PASS = frozenset("int8 uint8 int16 uint16 float32".split())
NEGLIGIBLE_SIGMA = 1e-15  # SciPy's: axes with less are not filtered


# Gaussians ----------------------------------------------------------------------------------------


def gaussian_filter1d(
    shape: Shape,
    dtype: DType,
    sigma: Any,
    axis: Any,
    order: Any,
    mode: Any,
    cval: Any,
    truncate: Any,
    radius: Any,
) -> Recipe:
    made = _gaussian(sigma, order, truncate, radius)
    along = one_axis(axis, len(shape))
    return Recipe(
        (_pass(dtype, [_weighted(along, made, mode)], cval),), "", dtype.kind == "c", promote=True
    )


def gaussian_filter(
    shape: Shape,
    dtype: DType,
    sigma: Any,
    order: Any,
    mode: Any,
    cval: Any,
    truncate: Any,
    radius: Any,
    axes: Any,
) -> Recipe:
    rows = _gaussians(len(shape), sigma, order, mode, truncate, radius, axes)
    return Recipe((_pass(dtype, rows, cval),), "", dtype.kind == "c")


def gaussian_laplace(
    shape: Shape, dtype: DType, sigma: Any, mode: Any, cval: Any, axes: Any, rest: Any
) -> Recipe:
    return _derivatives(shape, dtype, 2, "sum", sigma, mode, cval, axes, dict(rest))


def gaussian_gradient_magnitude(
    shape: Shape, dtype: DType, sigma: Any, mode: Any, cval: Any, axes: Any, rest: Any
) -> Recipe:
    return _derivatives(shape, dtype, 1, "magnitude", sigma, mode, cval, axes, dict(rest))


def _gaussian(sigma: Any, order: Any, truncate: Any, radius: Any) -> tuple[float, ...]:
    weights = gaussian_weights(sigma, order, radius_of(sigma, truncate, radius))
    return tuple(weights[::-1].tolist())


def _gaussians(
    ndim: int, sigma: Any, order: Any, mode: Any, truncate: Any, radius: Any, axes: Any
) -> list[Along]:
    """One row for each axis that is smoothed."""
    filtered = all_axes(axes, ndim)
    count = len(filtered)
    orders, sigmas = per_axis("order", order, count), per_axis("sigma", sigma, count)
    modes, radii = per_axis("mode", mode, count), per_axis("radius", radius, count)
    return [
        _weighted(axis, _gaussian(one, number_, truncate, radius_), mode_)
        for axis, one, number_, mode_, radius_ in zip(
            filtered, sigmas, orders, modes, radii, strict=True
        )
        if one > NEGLIGIBLE_SIGMA
    ]


def _derivatives(
    shape: Shape,
    dtype: DType,
    order: int,
    join: Any,
    sigma: Any,
    mode: Any,
    cval: Any,
    axes: Any,
    rest: dict[str, Any],
) -> Recipe:
    """A Gaussian derivative along each axis in turn. As in SciPy, the mode of that axis holds for
    all axes of its pass.
    """
    if rest.keys() - {"truncate", "radius"}:
        wrong = sorted(rest.keys() - {"truncate", "radius"})
        raise FaltungTypeError(f"{wrong[0]}={show(rest[wrong[0]])}: not an argument of this filter")
    ndim = len(shape)
    filtered = all_axes(axes, ndim)
    sigmas = [0.0] * ndim  # axes that are not named are not smoothed
    for axis, one in zip(filtered, per_axis("sigma", sigma, len(filtered)), strict=True):
        sigmas[axis] = one
    passes = []
    for axis, one_mode in zip(filtered, per_axis("mode", mode, len(filtered)), strict=True):
        orders = [order if other == axis else 0 for other in range(ndim)]
        truncate, radius = rest.get("truncate", 4.0), rest.get("radius")
        rows = _gaussians(ndim, sigmas, orders, one_mode, truncate, radius, None)
        passes.append(_pass(dtype, rows, cval))
    return _joined(dtype, passes, join, cval)


# Differences --------------------------------------------------------------------------------------


def laplace(shape: Shape, dtype: DType, mode: Any, cval: Any, axes: Any) -> Recipe:
    filtered = all_axes(axes, len(shape))
    modes = per_axis("mode", mode, len(filtered))
    rows = [_weighted(axis, SECOND, one) for axis, one in zip(filtered, modes, strict=True)]
    recipe = _joined(dtype, [_pass(dtype, [row], cval) for row in rows], "sum", cval)
    if dtype.name in ONE_PASS and len(filtered) > 1:
        work = _laplace_at_once(shape, dict(zip(filtered, modes, strict=True)), number(cval))
        recipe = replace(recipe, at_once=work)
    return recipe


def _laplace_at_once(shape: Shape, modes: Mapping[int, Any], cval: float) -> Kernels:
    """All differences as one kernel: a cross."""
    sizes = tuple(3 if axis in modes else 1 for axis in range(len(shape)))
    kernel = np.zeros(sizes)
    centre = tuple(size // 2 for size in sizes)
    for axis in modes:
        for k, weight in enumerate(SECOND):
            kernel[(*centre[:axis], k, *centre[axis + 1 :])] += weight
    borders = tuple(border(modes.get(axis, "nearest"), cval) for axis in range(len(shape)))
    return Kernels(kernel[None], centre, borders)


def sobel(shape: Shape, dtype: DType, axis: Any, mode: Any, cval: Any) -> Recipe:
    return _gradient(shape, dtype, axis, mode, cval, (1.0, 2.0, 1.0))


def prewitt(shape: Shape, dtype: DType, axis: Any, mode: Any, cval: Any) -> Recipe:
    return _gradient(shape, dtype, axis, mode, cval, (1.0, 1.0, 1.0))


def _gradient(
    shape: Shape, dtype: DType, axis: Any, mode: Any, cval: Any, across: tuple[float, ...]
) -> Recipe:
    """A difference along an axis, then sums along all others."""
    along = one_axis(axis, len(shape))
    modes = per_axis("mode", mode, len(shape))
    rows = [_weighted(along, FIRST, modes[along])]
    rows += [
        _weighted(other, across, modes[other]) for other in range(len(shape)) if other != along
    ]
    return Recipe((_pass(dtype, rows, cval),), "", dtype.kind == "c")


# Means, maxima, minima ----------------------------------------------------------------------------


def uniform_filter1d(
    shape: Shape, dtype: DType, size: Any, axis: Any, mode: Any, cval: Any, origin: Any
) -> Recipe:
    row = window("mean", shape, size, axis, mode, origin)
    complex_result = dtype.kind == "c"
    return Recipe((_pass(dtype, [row], cval),), "", complex_result, promote=True)


def uniform_filter(
    shape: Shape, dtype: DType, size: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Recipe:
    rows = windows("mean", shape, size, mode, origin, axes)
    return Recipe((_pass(dtype, rows, cval),), "", dtype.kind == "c", promote=True)


def window(
    reduction: Reduction, shape: Shape, size: Any, axis: Any, mode: Any, origin: Any
) -> Along:
    """A window along one axis."""
    along = one_axis(axis, len(shape))
    entries = index("size", size)
    if entries < 1:
        raise FaltungRuntimeError(f"size={entries}: incorrect filter size; must be at least 1")
    return along, reduction, entries, before_of(origin, entries), mode, ()


def windows(
    reduction: Reduction, shape: Shape, size: Any, mode: Any, origin: Any, axes: Any
) -> list[Along]:
    """A window along each axis; of one entry, none."""
    filtered = all_axes(axes, len(shape))
    count = len(filtered)
    sizes, origins = per_axis("size", size, count), per_axis("origin", origin, count)
    modes = per_axis("mode", mode, count)
    rows = []
    for axis, one, origin_, mode_ in zip(filtered, sizes, origins, modes, strict=True):
        if one > 1:
            rows.append(window(reduction, shape, _cut(one), axis, mode_, origin_))
    return rows


def _cut(size: Any) -> int:
    """SciPy cuts a size for several axes to a whole number. ValueError: NaN or infinity."""
    try:
        return int(size)
    except (TypeError, ValueError, OverflowError):
        raise FaltungError(f"size={show(size)}: must be whole numbers") from None


# Lines --------------------------------------------------------------------------------------------


def _weighted(axis: int, weights: tuple[float, ...], mode: Any) -> Along:
    return axis, "sum", len(weights), len(weights) // 2, mode, weights


def lines_of(rows: Sequence[Along], cval: float) -> Lines:
    """The filters with their borders."""
    return Lines(
        tuple(
            Line(axis, reduction, size, before, border(mode, cval), weights)
            for axis, reduction, size, before, mode, weights in rows
        )
    )


def _pass(dtype: DType, rows: Sequence[Along], cval: Any) -> tuple[Part, ...]:
    """The filters one after the other, of a complex array by its parts."""
    if dtype.kind != "c":
        return (Part(lines_of(rows, number(cval))),)
    first, second = parts_of(cval)
    return by_parts(lines_of(rows, first), lines_of(rows, second))


def _joined(dtype: DType, passes: list[tuple[Part, ...]], join: Any, cval: Any) -> Recipe:
    """Passes whose results are joined; without any, a copy."""
    if not passes:
        passes, join = [_pass(dtype, [], cval)], ""
    return Recipe(tuple(passes), join, dtype.kind == "c")
