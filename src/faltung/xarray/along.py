"""The functions of ``faltung.ndimage`` along named dimensions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.xarray.centres import Centres
from faltung.xarray.fields import Field, each, module, rebuilt
from faltung.xarray.missing import Missing, normalised
from faltung.xarray.words import SCIPYS, TO_SCIPYS, Dims, borders, dimensions

if TYPE_CHECKING:
    import xarray

Run = Callable[["xarray.Variable"], "xarray.Variable"]


@dataclass(frozen=True, slots=True)
class Along:
    """A function with its options, of each dimension and of all.

    Attributes
    ----------
    function : callable
        Of ``faltung.ndimage``, with the keyword ``axes``.
    dims : tuple
        What it works along.
    each : mapping
        Options with an entry for each dimension.
    all : mapping
        Options with one value.
    arrays : mapping
        Options that are arrays with an axis for each of ``dims``.
    """

    function: Callable[..., Any]
    dims: Dims
    each: Mapping[str, Mapping[Any, Any]]
    all: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)

    def run(self, variable: xarray.Variable) -> xarray.Variable:
        """The function of a variable. Axes are named in ascending order, and what belongs to them
        follows.
        """
        dims = tuple(name for name in variable.dims if name in self.dims)
        order = [self.dims.index(name) for name in dims]
        out = self.function(
            variable.data,
            axes=tuple(variable.dims.index(name) for name in dims),
            **{name: _one(values[dim] for dim in dims) for name, values in self.each.items()},
            **{name: array.transpose(order) for name, array in self.arrays.items()},
            **self.all,
        )
        return type(variable)(variable.dims, out)

    def of(self, da: Field) -> Field:
        """The function of a DataArray, or of the variables of a Dataset."""
        return each(da, self.dims, lambda one: rebuilt(one, self.run(one.variable)))

    def over_what_is_there(self, da: Field, asked: Missing, exists: Run | None = None) -> Field:
        """The same, normalised by the weights of what is there. The function is a mean: its weights
        sum to 1. ``exists``: where its window has anything of what is there, if that is not where
        the sum of the weights is above 0.
        """
        if asked.plain:
            return self.of(da)

        def filtered(one: xarray.DataArray) -> xarray.DataArray:
            places = {dim: Centres(0, 1, one.sizes[dim], one.sizes[dim]) for dim in self.dims}
            return rebuilt(one, normalised(one, self.dims, asked, self.run, None, places, exists))

        return each(da, self.dims, filtered)


def _one(values: Any) -> Any:
    """One value where all are the same, else a list."""
    listed = list(values)
    same = all(type(value) is type(listed[0]) and value == listed[0] for value in listed)
    return listed[0] if same else listed


def named(dim: Any, *options: Any) -> Dims:
    """The dimensions that the caller names; otherwise those of the first option that is a mapping
    by dimension, or an array with names.
    """
    if dim is not None:
        return dimensions(dim)
    for option in options:
        if isinstance(option, Mapping):
            return dimensions(tuple(option))
        if isinstance(option, module().DataArray):
            return dimensions(option.dims)
    raise FaltungError("dim=None: name the dimensions, or give a dictionary by dimension")


def modes(mode: Any, dims: Dims) -> dict[Hashable, str]:
    """The border of each dimension, in SciPy's words."""
    return borders("mode", mode, dims, "reflect", SCIPYS, TO_SCIPYS)


def window(name: str, value: Any, dims: Dims) -> Any:
    """An array with an axis for each of ``dims``, from one with or without names. ValueError."""
    if isinstance(value, module().DataArray):
        if set(value.dims) != set(dims):
            raise FaltungError(
                f"{name}.dims={value.dims}: must be {', '.join(map(repr, dims))}, as dim says"
            )
        return value.transpose(*dims).values
    array = np.asarray(value)
    if array.ndim != len(dims):
        raise FaltungError(
            f"{name}.shape={array.shape}: must have one axis for each of "
            f"{', '.join(map(repr, dims))}"
        )
    return array
