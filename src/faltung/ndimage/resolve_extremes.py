"""From the arguments of maxima and minima to their recipes: all checks, in SciPy's order.

Each function takes the shape and dtype of the input, and then the arguments of the public function
in the order of its signature, without ``input`` and ``output``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError, FaltungRuntimeError, FaltungTypeError
from faltung.geometry.line import Reduction
from faltung.ndimage.arguments import all_axes, bare, before_of, index, per_axis
from faltung.ndimage.modes import border, number
from faltung.ndimage.recipe import Footprint, Part, Recipe
from faltung.ndimage.resolve_kernels import flipped
from faltung.ndimage.resolve_lines import lines_of, window, windows
from faltung.reference.filters import stored

Shape = tuple[int, ...]
DType = np.dtype[Any]
Flat = npt.NDArray[np.bool_]


def maximum_filter1d(
    shape: Shape, dtype: DType, size: Any, axis: Any, mode: Any, cval: Any, origin: Any
) -> Recipe:
    return _along("max", shape, dtype, size, axis, mode, cval, origin)


def minimum_filter1d(
    shape: Shape, dtype: DType, size: Any, axis: Any, mode: Any, cval: Any, origin: Any
) -> Recipe:
    return _along("min", shape, dtype, size, axis, mode, cval, origin)


def _along(
    reduction: Reduction,
    shape: Shape,
    dtype: DType,
    size: Any,
    axis: Any,
    mode: Any,
    cval: Any,
    origin: Any,
) -> Recipe:
    _real(dtype)
    row = window(reduction, shape, size, axis, mode, origin)
    return Recipe(((Part(lines_of([row], number(cval))),),))


def maximum_filter(
    shape: Shape,
    dtype: DType,
    size: Any,
    footprint: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Recipe:
    return _extreme("max", shape, dtype, size, footprint, None, mode, cval, origin, axes)


def minimum_filter(
    shape: Shape,
    dtype: DType,
    size: Any,
    footprint: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Recipe:
    return _extreme("min", shape, dtype, size, footprint, None, mode, cval, origin, axes)


def grey_erosion(
    shape: Shape,
    dtype: DType,
    size: Any,
    footprint: Any,
    structure: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Recipe:
    _any_of(size, footprint, structure)
    return _extreme("min", shape, dtype, size, footprint, structure, mode, cval, origin, axes)


def grey_dilation(
    shape: Shape,
    dtype: DType,
    size: Any,
    footprint: Any,
    structure: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Recipe:
    """The structuring element is reflected at its origin, as the definition of a dilation says."""
    _any_of(size, footprint, structure)
    if structure is not None:
        structure = np.flip(np.asarray(structure))
    if footprint is not None:
        footprint = np.flip(np.asarray(footprint))
    count = len(all_axes(axes, len(shape)))
    origins = per_axis("origin", origin, count)
    given = footprint if footprint is not None else structure
    sizes = list(given.shape) if given is not None else per_axis("size", size, count)
    if len(sizes) < count:
        raise FaltungRuntimeError(f"footprint.ndim ({len(sizes)}) must match len(axes) ({count})")
    origins = [flipped(one, int(n)) for one, n in zip(origins, sizes, strict=False)]
    return _extreme("max", shape, dtype, size, footprint, structure, mode, cval, origins, axes)


def _any_of(size: Any, footprint: Any, structure: Any) -> None:
    if size is None and footprint is None and structure is None:
        raise FaltungError("size=None: size, footprint, or structure must be specified")


def _real(dtype: DType) -> None:
    if dtype.kind == "c":
        raise FaltungTypeError(
            f"input.dtype={dtype}: Complex type not supported, as complex numbers have no order; "
            "filter input.real, input.imag or abs(input)"
        )


def _extreme(
    reduction: Reduction,
    shape: Shape,
    dtype: DType,
    size: Any,
    footprint: Any,
    structure: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Recipe:
    flat, added = _flat(size, footprint, structure)
    _real(dtype)
    if flat is not None and added is None and flat.all():
        size, flat = flat.shape, None
    if flat is None:
        rows = windows(reduction, shape, size, mode, origin, axes)
        return Recipe(((Part(lines_of(rows, number(cval))),),))
    # Beyond the ends stands a number of the input's dtype, as SciPy has it here.
    value = float(stored(np.array([number(cval)]), dtype)[0])
    places, before, borders = _places(shape, flat, mode, value, origin, axes)
    if added is not None:
        added = added.reshape(places.shape)
    work = Footprint(places, before, borders, reduction, added)
    return Recipe(((Part(work),),))


def _flat(
    size: Any, footprint: Any, structure: Any
) -> tuple[Flat | None, npt.NDArray[np.float64] | None]:
    """The footprint, and what is added at its places."""
    if structure is not None:
        added = np.asarray(bare("structure", structure), np.float64)
        flat = np.ones(added.shape, bool) if footprint is None else np.asarray(footprint, bool)
        if flat.shape != added.shape:
            raise FaltungRuntimeError(
                f"structure.shape={added.shape}: structure array has incorrect shape; must be that "
                f"of the footprint, {flat.shape}"
            )
        return flat, added
    if footprint is None:
        if size is None:
            raise FaltungRuntimeError("size=None: no footprint provided; give size or footprint")
        return None, None
    flat = np.asarray(bare("footprint", footprint), bool)
    if not flat.any():
        raise FaltungError("footprint: All-zero footprint is not supported.")
    return flat, None


def _places(
    shape: Shape, flat: Flat, mode: Any, value: float, origin: Any, axes: Any
) -> tuple[Flat, tuple[int, ...], tuple[Border, ...]]:
    """A footprint with an axis for every axis of the input, and where it lies."""
    ndim = len(shape)
    filtered = all_axes(axes, ndim)
    if flat.ndim != len(filtered) or 0 in flat.shape:
        raise FaltungRuntimeError(
            f"footprint.ndim ({flat.ndim}) must match len(axes) ({len(filtered)})"
        )
    origins = dict(zip(filtered, per_axis("origin", origin, len(filtered)), strict=True))
    modes = dict(zip(filtered, per_axis("mode", mode, len(filtered)), strict=True))
    whole = np.expand_dims(flat, tuple(axis for axis in range(ndim) if axis not in filtered))
    before = tuple(
        before_of(index("origin", origins.get(axis, 0)), n) for axis, n in enumerate(whole.shape)
    )
    borders = tuple(border(modes.get(axis, "nearest"), value) for axis in range(ndim))
    return np.array(whole, order="C"), before, borders
