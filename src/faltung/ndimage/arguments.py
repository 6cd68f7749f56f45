"""Arguments as SciPy's functions take them: arrays in and out, axes, one value an axis, origins."""

import operator
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import (
    FaltungError,
    FaltungIndexError,
    FaltungRuntimeError,
    FaltungTypeError,
)
from faltung.runtime.memory import require

Array = npt.NDArray[Any]

REAL = frozenset("bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split())
COMPLEX = frozenset(("complex64", "complex128"))


# Arrays -------------------------------------------------------------------------------------------


def plain(name: str, value: Any) -> Array:
    """An array of numbers in the order of bytes of this computer. TypeError: one that carries what
    a plain result would lose; RuntimeError: a dtype that is not filtered.
    """
    if type(value) is not np.ndarray:
        value = np.asarray(bare(name, value))
    dtype = value.dtype
    if dtype.name not in REAL and dtype.name not in COMPLEX:
        raise FaltungRuntimeError(f"{name}.dtype={dtype} not supported: {_remedy(name, dtype)}")
    if not dtype.isnative:
        value = value.astype(dtype.newbyteorder("="))
    taken: Array = value if value.flags.aligned else value.copy()
    return taken


def on_dask(value: Any) -> bool:
    """Whether this is a Dask array; Dask is not loaded for the question."""
    return type(value).__module__.startswith("dask.array")


def bare(name: str, value: Any) -> Any:
    """The value, unless it is masked, lazy or has units."""
    if on_dask(value):
        raise FaltungTypeError(
            f"{name}: is a Dask array, which would be computed; give {name}.compute(), or use the "
            "filters of faltung.dask"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise FaltungTypeError(
            f"{name}: is a masked array, whose mask would be lost; filter {name}.filled(0) and "
            f"divide by the filtered ~mask, or filter {name}.filled(VALUE)"
        )
    for units, bare in (("units", "magnitude"), ("unit", "value")):
        if hasattr(value, units) and hasattr(value, bare):
            raise FaltungTypeError(
                f"{name}: has units ({show(str(getattr(value, units)))}), which would be lost; "
                f"filter {name}.{bare} and multiply the result by its units"
            )
    return value


def _remedy(name: str, dtype: np.dtype[Any]) -> str:
    if dtype.kind in "OSUT":
        return f"not an array of numbers; make it one with np.array({name}, dtype=float)"
    if dtype.kind in "Mm":
        return f"dates are no numbers; filter {name}.astype(np.int64)"
    wider = {"float16": "np.float32", "bfloat16": "np.float32"}
    if dtype.kind == "c":
        return f"convert it with {name}.astype(np.complex128)"
    return f"convert it with {name}.astype({wider.get(dtype.name, 'np.float64')})"


def output(
    given: Any, shape: tuple[int, ...], dtype: np.dtype[Any], complex_result: bool, promote: bool
) -> Array:
    """The array for a result: new, of the given dtype or that of the input, or the given one.

    ``promote``: whether a real dtype for a complex result is made complex, with a warning.
    """
    if given is None:
        made = np.promote_types(dtype, np.complex64) if complex_result else dtype
        return _new(shape, made)
    if isinstance(given, type | np.dtype | str):
        made = _output_dtype(given, complex_result, promote)
        _check_output(made, complex_result)
        return _new(shape, made)
    array = np.asarray(given)
    if isinstance(given, np.ma.MaskedArray):
        raise FaltungTypeError("output: is a masked array; give output.data, or a plain array")
    if array.shape != shape:
        raise FaltungRuntimeError(f"output shape not correct: {array.shape}, must be {shape}")
    _check_output(array.dtype, complex_result)
    if not array.flags.writeable:
        raise FaltungError("output array is read-only: give one that may be written")
    return array


def _output_dtype(given: Any, complex_result: bool, promote: bool) -> np.dtype[Any]:
    made: np.dtype[Any] = np.dtype(given)
    if isinstance(given, str):
        if not issubclass(made.type, np.number):
            raise FaltungRuntimeError(f"output={given!r}: output must have numeric dtype")
    elif complex_result and made.kind != "c" and promote:
        warnings.warn("promoting specified output dtype to complex", UserWarning, stacklevel=5)
        made = np.promote_types(made, np.complex64)
    return made


def _check_output(dtype: np.dtype[Any], complex_result: bool) -> None:
    if complex_result and dtype.kind != "c":
        raise FaltungRuntimeError(
            f"output={dtype}: output must have complex dtype, as the result is complex"
        )
    if dtype.name not in (COMPLEX if complex_result else REAL):
        rule = "a complex" if complex_result else "a real"
        raise FaltungRuntimeError(
            f"output={dtype} not supported: must be {rule} dtype of NumPy of up to 64 bits a number"
        )


def _new(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = dtype.itemsize
    for n in shape:
        size *= n
    require(size, "output", "give it as output=")
    return np.empty(shape, dtype)


# Axes and one value an axis -----------------------------------------------------------------------


def one_axis(axis: Any, ndim: int) -> int:
    """An axis counted from the front. IndexError (and ValueError): one that is not there."""
    number = index("axis", axis)
    if not -ndim <= number < ndim:
        raise FaltungIndexError(
            f"axis={number}: axis {number} is out of bounds for array of dimension {ndim}"
        )
    return number % ndim


def all_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    """The axes that are filtered: all for None, one for a number."""
    if axes is None:
        return tuple(range(ndim))
    if not np.isscalar(axes) and not isinstance(axes, Iterable):
        raise FaltungError(
            f"axes={show(axes)}: axes must be an integer, iterable of integers, or None"
        )
    listed: list[Any] = [axes] if np.isscalar(axes) else [*axes]  # type: ignore[misc]
    found = [index("axes", axis) for axis in listed]
    for axis in found:
        if not -ndim <= axis < ndim:
            raise FaltungError(
                f"axes={show(axes)}: specified axis: {axis} is out of range for {ndim} axes"
            )
    counted = tuple(axis % ndim for axis in found)
    if len(set(counted)) != len(counted):
        raise FaltungError(f"axes={show(axes)}: axes must be unique")
    return counted


def per_axis(name: str, value: Any, count: int) -> list[Any]:
    """One value for each of ``count`` axes. RuntimeError: another number of them."""
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    listed = list(value)
    if len(listed) != count:
        raise FaltungRuntimeError(
            f"{name}={show(value)}: sequence argument must have length equal to input rank, or to "
            f"axes where these are given: {count}"
        )
    return listed


def index(name: str, value: Any) -> int:
    """A whole number. TypeError."""
    try:
        return operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise FaltungTypeError(
            f"{name}={show(value)}: {kind!r} object cannot be interpreted as an integer"
        ) from None


def before_of(origin: Any, size: int) -> int:
    """How many of ``size`` entries lie before the output: half of them, moved by the origin."""
    moved = index("origin", origin)
    before = size // 2 + moved
    if not 0 <= before < size:
        raise FaltungError(
            f"origin={moved}: invalid origin; must be from {-(size // 2)} to {(size - 1) // 2} for "
            f"{size} entries along an axis"
        )
    return before
