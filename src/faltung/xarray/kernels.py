"""Kernels as people give them: an array, an array with names, or a line for each dimension."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.xarray.fields import Field, module
from faltung.xarray.words import Dims, dimensions

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One correlation.

    Attributes
    ----------
    dims : tuple
        The dimensions that it slides along.
    array : ndarray
        Its weights, with the axes ``new``, then ``dims``.
    new : tuple
        Dimensions of the kernel alone, of which the result has as many entries.
    coordinates : mapping
        Of the new dimensions.
    """

    dims: Dims
    array: Array
    new: Dims
    coordinates: Mapping[Any, Any]

    def ordered(self, names: Dims) -> Kernel:
        """The same with its dimensions in the order of ``names``, so that arrays stay as they are
        in memory.
        """
        dims = tuple(name for name in names if name in self.dims)
        new = len(self.new)
        axes = [*range(new), *(new + self.dims.index(dim) for dim in dims)]
        return Kernel(dims, self.array.transpose(axes), self.new, self.coordinates)

    @property
    def sums(self) -> Any:
        """The sums of the weights, over the new dimensions."""
        axes = tuple(range(len(self.new), self.array.ndim))
        return module().Variable(self.new, self.array.sum(axes))


def slid(kernel: Any, dim: Any, field: Field) -> Dims:
    """The dimensions that a kernel slides along: those that the caller names, or its own."""
    xr = module()
    if dim is not None:
        return dimensions(dim)
    if isinstance(kernel, Mapping):
        return dimensions(tuple(kernel))
    if isinstance(kernel, xr.DataArray):
        return dimensions([name for name in kernel.dims if name in field.dims])
    if not isinstance(field, xr.DataArray) or np.ndim(kernel) != field.ndim:
        raise FaltungError(
            f"dim=None: a kernel of {np.ndim(kernel)} axes needs their dimensions: name them with "
            "dim, or give a DataArray or a dictionary of lines by dimension"
        )
    return dimensions(field.dims)


def kernels(kernel: Any, dims: Dims) -> tuple[Kernel, ...]:
    """The correlations that a kernel asks for, one after the other."""
    if isinstance(kernel, Mapping):
        return tuple(_line(kernel, dim) for dim in _same(kernel, dims))
    if not isinstance(kernel, module().DataArray):
        array = _numbers("kernel", kernel)
        if array.ndim != len(dims):
            raise FaltungError(
                f"kernel.shape={array.shape}: must have one axis for each of "
                f"{', '.join(map(repr, dims))}"
            )
        return (Kernel(dims, array, (), {}),)
    absent = [dim for dim in dims if dim not in kernel.dims]
    if absent:
        raise FaltungError(
            f"kernel.dims={show(kernel.dims)}: has no dimension {absent[0]!r}, which is in dim"
        )
    new = tuple(name for name in kernel.dims if name not in dims)
    array = _numbers("kernel", kernel.transpose(*new, *dims).values)
    coordinates = {name: one for name, one in kernel.coords.items() if set(one.dims) <= set(new)}
    return (Kernel(dims, array, new, coordinates),)


def _same(kernel: Mapping[Any, Any], dims: Dims) -> Dims:
    if set(kernel) != set(dims):
        raise FaltungError(
            f"kernel={show(dict(kernel))}: must have a line for each of "
            f"{', '.join(map(repr, dims))}, and no other"
        )
    return dims


def _line(kernel: Mapping[Any, Any], dim: Hashable) -> Kernel:
    array = _numbers(f"kernel[{dim!r}]", kernel[dim])
    if array.ndim != 1:
        raise FaltungError(f"kernel[{dim!r}].shape={array.shape}: must have one axis")
    return Kernel((dim,), array, (), {})


def _numbers(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise FaltungError(f"{name}: must be an array, {error}") from None
    if array.dtype.kind not in "biufc":
        raise FaltungTypeError(f"{name}.dtype={array.dtype}: must be numbers")
    if array.size == 0:
        raise FaltungError(f"{name}.shape={array.shape}: must not be empty")
    return array
