"""From the arguments of correlations and convolutions to their recipes: all checks, in SciPy's
order.

Each function takes the shape and dtype of the input, and then the arguments of the public function
in the order of its signature, without ``input`` and ``output``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError, FaltungRuntimeError
from faltung.geometry.line import Line
from faltung.ndimage.arguments import all_axes, bare, before_of, index, one_axis, per_axis
from faltung.ndimage.modes import border, number
from faltung.ndimage.recipe import Kernels, Lines, Part, Recipe, Work, by_parts

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
DType = np.dtype[Any]
# A filter by its weights and by what a constant border puts there.
Made = Callable[[Array, float], Work]


# Along one axis -----------------------------------------------------------------------------------


def correlate1d(
    shape: Shape, dtype: DType, weights: Any, axis: Any, mode: Any, cval: Any, origin: Any
) -> Recipe:
    """A correlation along an axis; complex weights are conjugated, as np.correlate does."""
    taken = _weights("weights", weights)
    return _along(shape, dtype, np.conj(taken), axis, mode, cval, origin)


def convolve1d(
    shape: Shape, dtype: DType, weights: Any, axis: Any, mode: Any, cval: Any, origin: Any
) -> Recipe:
    """The same with weights in the other direction, and not conjugated."""
    taken = _weights("weights", weights)
    if taken.ndim == 1:
        taken, origin = taken[::-1], flipped(origin, len(taken))
    return _along(shape, dtype, taken, axis, mode, cval, origin)


def _along(
    shape: Shape, dtype: DType, weights: Array, axis: Any, mode: Any, cval: Any, origin: Any
) -> Recipe:
    if weights.ndim != 1 or weights.shape[0] < 1:
        raise FaltungRuntimeError(
            f"weights.shape={weights.shape}: no filter weights given; must be one axis of at least "
            "one number"
        )
    along = one_axis(axis, len(shape))
    before = before_of(origin, len(weights))

    def made(part: Array, value: float) -> Work:
        taken = tuple(part.tolist())
        return Lines((Line(along, "sum", len(taken), before, border(mode, value), taken),))

    complex_result = dtype.kind == "c" or weights.dtype.kind == "c"
    return Recipe((_weighted(dtype, weights, made, cval),), "", complex_result, promote=True)


# Along all axes -----------------------------------------------------------------------------------


def correlate(
    shape: Shape, dtype: DType, weights: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Recipe:
    """An N-dimensional correlation, or several."""
    return _all(shape, dtype, weights, (mode, cval, origin, axes), flip=False)


def convolve(
    shape: Shape, dtype: DType, weights: Any, mode: Any, cval: Any, origin: Any, axes: Any
) -> Recipe:
    """An N-dimensional convolution, or several."""
    return _all(shape, dtype, weights, (mode, cval, origin, axes), flip=True)


def several(weights: Any, axes: int) -> bool:
    """Whether this is a list of kernels: of arrays, each with as many axes as are filtered."""
    return (
        isinstance(weights, list | tuple)
        and len(weights) > 0
        and all(isinstance(one, np.ndarray) and one.ndim == axes for one in weights)
    )


def _all(
    shape: Shape, dtype: DType, weights: Any, rest: tuple[Any, Any, Any, Any], flip: bool
) -> Recipe:
    mode, cval, origin, axes = rest
    ndim = len(shape)
    filtered = all_axes(axes, ndim)
    many = several(weights, len(filtered))
    kernels = _kernels(weights if many else [weights], filtered, ndim)
    origins = _each("origin", origin, filtered, 0)
    modes = _each("mode", mode, filtered, "constant")
    for one in modes.values():
        border(one, 0.0)
    parts: list[Part] = []
    for places in _of_one_shape(kernels):
        stack = np.stack([kernels[k] for k in places])
        stack = np.flip(stack, tuple(range(1, stack.ndim))) if flip else np.conj(stack)
        before = []
        for axis, size in enumerate(stack.shape[1:]):
            moved = origins.get(axis, 0)
            before.append(before_of(flipped(moved, size) if flip else moved, size))
        made = _Stack(tuple(before), modes, ndim, tuple(places) if many else None)
        parts += _weighted(dtype, stack, made, cval)
    complex_result = dtype.kind == "c" or kernels[0].dtype.kind == "c"
    count = len(kernels) if many else 0
    return Recipe((tuple(parts),), "", complex_result, promote=True, count=count)


class _Stack:
    """Makes the filter of a stack of kernels of one shape."""

    def __init__(
        self,
        before: tuple[int, ...],
        modes: dict[int, Any],
        ndim: int,
        places: tuple[int, ...] | None,
    ) -> None:
        self.before, self.modes, self.ndim, self.places = before, modes, ndim, places

    def __call__(self, part: Array, value: float) -> Work:
        borders = tuple(
            border(self.modes[axis], value) if axis in self.modes else Border("replicate")
            for axis in range(self.ndim)
        )
        kernels = np.array(part, np.float64, order="C")
        return Kernels(kernels, self.before, borders, self.places)


def _kernels(given: Sequence[Any], filtered: tuple[int, ...], ndim: int) -> list[Array]:
    """Kernels with an axis for every axis of the input, all real or all complex."""
    taken = [_weights("weights", one) for one in given]
    if any(one.dtype.kind == "c" for one in taken):
        taken = [one.astype(np.complex128) for one in taken]
    rest = tuple(axis for axis in range(ndim) if axis not in filtered)
    for one in taken:
        if one.ndim != len(filtered):
            raise FaltungRuntimeError(
                f"weights.shape={one.shape}: weights.ndim ({one.ndim}) must match len(axes) "
                f"({len(filtered)}), or be a list of arrays that do"
            )
        if 0 in one.shape:
            raise FaltungRuntimeError(f"weights.shape={one.shape}: must have at least one number")
    return [np.expand_dims(one, rest) for one in taken]


def _of_one_shape(kernels: list[Array]) -> list[list[int]]:
    """Numbers of kernels that have the same shape."""
    found: dict[Shape, list[int]] = {}
    for k, one in enumerate(kernels):
        found.setdefault(one.shape, []).append(k)
    return list(found.values())


def _each(name: str, value: Any, filtered: tuple[int, ...], none: Any) -> dict[int, Any]:
    """One value for each filtered axis; ``none``: what is checked where there is no axis."""
    if not filtered:
        return {-1: value if isinstance(value, str) else none}
    return dict(zip(filtered, per_axis(name, value, len(filtered)), strict=True))


# Parts --------------------------------------------------------------------------------------------


def flipped(origin: Any, size: int) -> int:
    """The origin of the same filter with its entries in the other direction."""
    return -index("origin", origin) - (size % 2 == 0)


def _weighted(dtype: DType, weights: Array, made: Made, cval: Any) -> tuple[Part, ...]:
    """A filter whose input or weights may be complex, by their parts."""
    if dtype.kind != "c" and weights.dtype.kind != "c":
        return (Part(made(weights, number(cval))),)
    if dtype.kind != "c":
        if np.iscomplexobj(cval):
            raise FaltungError(f"cval={cval}: must be a real number where the input is real")
        value = number(cval)
        real, imag = made(weights.real, value), made(weights.imag, value)
        return Part(real, "", "real"), Part(imag, "", "imag")
    first, second = parts_of(cval)
    if weights.dtype.kind != "c":
        return by_parts(made(weights, first), made(weights, second))
    return (
        Part(made(weights.real, first), "real", "real"),
        Part(made(weights.imag, second), "imag", "real", -1),
        Part(made(weights.imag, first), "real", "imag"),
        Part(made(weights.real, second), "imag", "imag", 1),
    )


def parts_of(cval: Any) -> tuple[float, float]:
    """The real and the imaginary part of what a constant border puts beyond a complex array."""
    return number(np.real(cval)), number(np.imag(cval))


def _weights(name: str, value: Any) -> Array:
    """Weights as float64 or complex128."""
    taken = np.asarray(bare(name, value))
    try:
        return taken.astype(np.complex128 if taken.dtype.kind == "c" else np.float64)
    except (TypeError, ValueError) as error:
        raise FaltungError(f"{name}: must be numbers ({error})") from None
