"""What is filtered: a DataArray, or each variable of a Dataset that has the dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.formats.extras import missing
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.xarray.centres import Centres, moved
from faltung.xarray.words import Dims

if TYPE_CHECKING:
    import xarray

# A DataArray or a Dataset: a function gives back what it was given.
Field = Any


def module() -> Any:
    """xarray itself, which comes with an extra."""
    try:
        import xarray
    except ImportError:
        raise missing("xarray", "xarray") from None
    return xarray


def each(
    field: Field,
    dims: Dims,
    filtered: Callable[[xarray.DataArray], xarray.DataArray],
    centres: Callable[[Mapping[Any, int]], Mapping[Any, Centres]] | None = None,
) -> Field:
    """``filtered`` of a DataArray, or of each variable of a Dataset that has all the dimensions.

    What else a Dataset holds is carried on, as coordinates are: ``centres`` (of the sizes) says
    which entries of an axis are left, if not all.
    """
    xr = module()
    if isinstance(field, xr.DataArray):
        _check(field, dims, "da")
        return filtered(field)
    if not isinstance(field, xr.Dataset):
        raise FaltungTypeError(
            f"da={show(type(field).__name__)}: must be a DataArray or a Dataset; for an array "
            "without names there are faltung.conv and faltung.ndimage"
        )
    having = [name for name, one in field.data_vars.items() if set(dims) <= set(one.dims)]
    if not having:
        raise FaltungError(
            f"dim={show(dims)}: no variable of the Dataset has all of these; its dimensions are "
            f"{', '.join(map(repr, field.sizes))}"
        )
    for name in having:
        _check(field[name], dims, f"da[{name!r}]")
    left = field.drop_vars(having)
    if centres is not None:
        left = moved(left, centres({dim: field.sizes[dim] for dim in dims}))
    made = {name: filtered(field[name]) for name in having}
    new = [dim for one in made.values() for dim in one.dims if dim not in field.dims]
    coordinates = {
        name: one.coords[name] for one in made.values() for name in new if name in one.coords
    }
    done = left.assign({name: one.variable for name, one in made.items()})
    return done.assign_coords(coordinates)[list(field.data_vars)]


def rebuilt(
    field: xarray.DataArray,
    made: xarray.Variable,
    places: Mapping[Any, Centres] | None = None,
) -> xarray.DataArray:
    """``made`` with the name, the attributes and the coordinates of the field it was made of."""
    coordinates = field.coords.to_dataset()
    if places is not None:
        coordinates = moved(coordinates, places)
    made.attrs = dict(field.attrs)
    return module().DataArray(made, coordinates.coords, name=field.name)


def is_lazy(field: xarray.DataArray | xarray.Variable) -> bool:
    """Whether it is backed by Dask."""
    return field.chunks is not None


def _check(field: xarray.DataArray, dims: Dims, name: str) -> None:
    absent = [dim for dim in dims if dim not in field.dims]
    if absent:
        raise FaltungError(
            f"dim={show(dims)}: {name} has no dimension {absent[0]!r}; it has "
            f"{', '.join(map(repr, field.dims))}"
        )
    data = field.data
    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__qualname__}"
    if kind.startswith("pint."):
        raise FaltungTypeError(
            f"{name}: holds {kind}; filter {name}.pint.dequantify(), which keeps the units as an "
            "attribute, and call .pint.quantify() on the result"
        )
    if not isinstance(data, np.ndarray) and not kind.startswith("dask."):
        raise FaltungTypeError(
            f"{name}: holds {kind}, must hold a NumPy or a Dask array; as_numpy() converts"
        )
    if field.dtype.kind not in "biufc":
        raise FaltungTypeError(
            f"{name}.dtype={field.dtype}: must be numbers; convert with astype, or leave it out "
            "with drop_vars"
        )
