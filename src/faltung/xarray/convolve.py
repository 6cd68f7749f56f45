"""``conv`` by the names of dimensions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.dask.conv import conv as lazy_conv
from faltung.geometry.axis import Axis
from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import pads
from faltung.geometry.record import dataclass
from faltung.ops import functional
from faltung.plan.words import MethodName, Precision
from faltung.runtime.narrowing import narrowed
from faltung.xarray.centres import Centres, centres
from faltung.xarray.fields import Field, each, is_lazy, rebuilt
from faltung.xarray.kernels import Array, Kernel, kernels, slid
from faltung.xarray.missing import missing, normalised, positive
from faltung.xarray.words import OURS, TO_OURS, Dims, borders, by_dim

if TYPE_CHECKING:
    import xarray


def conv(
    da: Field,
    kernel: Any,
    dim: Hashable | Iterable[Hashable] | None = None,
    *,
    stride: int | Sequence[int] | Mapping[Any, int] = 1,
    padding: Any = "same",
    dilation: int | Sequence[int] | Mapping[Any, int] = 1,
    padding_mode: str | Sequence[str] | Mapping[Any, str] = "zeros",
    flip: bool = False,
    precision: Precision = "fast",
    method: MethodName = "auto",
    skipna: bool = False,
    weights: xarray.DataArray | None = None,
    min_weight: float = 0.0,
    preserve_nan: bool = False,
) -> Field:
    """Cross-correlation along named dimensions; with ``flip``, the convolution of mathematics.

    What an option by dimension leaves out has the default.

    Parameters
    ----------
    da : DataArray or Dataset
        Of a Dataset, each variable that has all the dimensions; the others are carried on. With
        Dask arrays the result is lazy.
    kernel : array_like, DataArray, or mapping from dimensions to lines of weights
        An array has an axis for each of ``dim``, in this order. A DataArray says itself which axis
        is which, and of dimensions that ``da`` has not, the result has as many entries (a bank of
        filters), as its last. A mapping is a separable kernel: its lines are applied one after the
        other.
    dim : name or names, optional
        What the kernel slides along. None: the dimensions that the kernel names, or all.
    stride, dilation : int, or one by dimension
        Steps, in entries of ``da``, between outputs and between taps of the kernel.
    padding : int, name, or one entry by dimension
        As for ``faltung.conv``: "same", "valid", "causal", ..., or numbers.
    padding_mode : word, or one by dimension
        "zeros", "reflect", "symmetric", "replicate" or "circular"; also SciPy's words "wrap",
        "nearest", "mirror", "grid-mirror", "grid-wrap", "constant" and "grid-constant". "reflect"
        has the meaning of ``faltung.conv``: the edge is not repeated.
    flip : bool
        Read the kernel backwards along each dimension.
    precision, method
        As for ``faltung.conv``.
    skipna : bool
        Weigh what is there: where NaN stands, its weight counts for nothing, and the others for so
        much more. It needs a kernel without negative weights, and computes plain sums.
    weights : DataArray, optional
        A weight for each entry, such as the cosine of the latitude; otherwise as ``skipna``.
    min_weight : float
        The share of the kernel's weight that must be there, from 0 to 1; less gives NaN.
    preserve_nan : bool
        Let NaN stay NaN: where the entry in the middle is missing, so is the result.

    Returns
    -------
    DataArray or Dataset
        With the dtype of the data where these are floating or complex, int64 of whole numbers with
        whole weights, else float64; with names, attributes and coordinates. Those of an output are
        those of the entry in the middle of what it reads; where an even number of entries has its
        middle between two, half-way between theirs.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.
    ImportError
        xarray is not installed.

    References
    ----------
    H. Knutsson, C.-F. Westin, *Normalized and differential convolution*, 1993, for ``skipna``.

    Examples
    --------
    >>> import numpy as np, xarray as xr, faltung.xarray
    >>> depth = xr.DataArray([1.0, 2.0, np.nan, 8.0], {"lon": [0, 90, 180, 270]})
    >>> mean = xr.DataArray([0.25, 0.5, 0.25], dims="lon")
    >>> faltung.xarray.conv(depth, mean, padding_mode="wrap", stride=2, skipna=True)
    <xarray.DataArray (lon: 2)> Size: 16B
    array([3., 5.])
    Coordinates:
      * lon      (lon) int64 16B 0 180
    """
    dims = slid(kernel, dim, da)
    parts = kernels(kernel, dims)
    asked = missing(skipna, weights, min_weight, preserve_nan)
    if not asked.plain:
        precision = "strict"  # a transform's rounding would pass for a small weight
        for part in parts:
            positive("kernel", part.array)
    options = Options(
        by_dim("stride", stride, dims, 1),
        by_dim("padding", padding, dims, "same"),
        by_dim("dilation", dilation, dims, 1),
        borders("padding_mode", padding_mode, dims, "zeros", OURS, TO_OURS),
        {"flip": flip, "precision": precision, "method": method},
    )

    def places(sizes: Mapping[Any, int]) -> Mapping[Any, Centres]:
        return {
            name: centres(options.axis(name, sizes[name], taps))
            for part in parts
            for name, taps in zip(part.dims, part.array.shape[len(part.new) :], strict=True)
        }

    def run(variable: xarray.Variable) -> xarray.Variable:
        for part in parts:
            variable = _slide(variable, part, options)
        return variable

    def filtered(field: xarray.DataArray) -> xarray.DataArray:
        there = places(field.sizes)
        if asked.plain:
            made = run(field.variable)
        else:
            sums = prod([part.sums for part in parts])
            made = normalised(field, dims, asked, run, sums, there)
        found = rebuilt(field, made, there)
        return found.assign_coords({k: v for part in parts for k, v in part.coordinates.items()})

    return each(da, dims, filtered, places)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of each dimension, and those of all."""

    stride: Mapping[Any, Any]
    padding: Mapping[Any, Any]
    dilation: Mapping[Any, Any]
    mode: Mapping[Any, str]
    others: Mapping[str, Any]

    def axis(self, dim: Hashable, size: int, taps: int) -> Axis:
        """The axis along one of the dimensions."""
        stride = whole("stride", self.stride[dim], 1)
        dilation = whole("dilation", self.dilation[dim], 1)
        ((lo, hi),) = pads(
            (self.padding[dim],),
            sizes=(size,),
            kernel=(taps,),
            stride=(stride,),
            dilation=(dilation,),
        )
        return Axis(size, taps, stride, dilation, lo, hi, self.mode[dim])


def _slide(variable: xarray.Variable, part: Kernel, options: Options) -> xarray.Variable:
    """One correlation of a variable. Along its other dimensions the kernel has one tap, so that
    arrays stay as they are in memory, and as they are in chunks.
    """
    clash = [name for name in part.new if name in variable.dims and name not in part.dims]
    if clash:
        raise FaltungError(
            f"kernel.dims: {clash[0]!r} is a dimension of da, too, and not in dim; name it there, "
            "or rename it in the kernel"
        )
    dims, sizes = variable.dims, variable.sizes
    part = part.ordered(dims)
    weight = _weight(part, variable.dtype)
    new = weight.shape[: len(part.new)]
    taps = dict(zip(part.dims, weight.shape[len(new) :], strict=True))
    axes = [options.axis(name, sizes[name], taps[name]) for name in part.dims]
    shape = {**sizes, **{name: axis.output for name, axis in zip(part.dims, axes, strict=True)}}
    if 0 in shape.values():
        return type(variable)((*dims, *part.new), np.empty((*shape.values(), *new), weight.dtype))
    x = variable.data.astype(weight.dtype, copy=False)[np.newaxis, np.newaxis]
    weight = weight.reshape(prod(new), 1, *(taps.get(name, 1) for name in dims))
    run = lazy_conv if is_lazy(variable) else functional.conv
    out = run(x, weight, **_by_axis(dims, part.dims, axes), **options.others)
    out = out[0].reshape(*new, *shape.values())
    return type(variable)((*part.new, *dims), out).transpose(*dims, *part.new)


def _weight(part: Kernel, dtype: np.dtype[Any]) -> Array:
    """The weights in the dtype that is computed in: that of the data, where these are no integers.

    TypeError: whole numbers of the data that int64 does not hold.
    """
    array = part.array
    if dtype.kind in "fc":
        complex_too = array.dtype.kind == "c" and dtype.kind == "f"
        return array.astype(np.result_type(dtype, np.complex64) if complex_too else dtype)
    if array.dtype.kind in "fc":
        return array.astype(np.result_type(np.float64, array.dtype))
    if dtype == np.uint64:
        raise FaltungTypeError("da.dtype=uint64: int64 does not hold it; convert with astype")
    return narrowed("kernel", array, np.int64)


def _by_axis(names: Dims, dims: Dims, axes: Sequence[Axis]) -> dict[str, Any]:
    """The options of ``faltung.conv`` for all of the names, of which the others have one tap."""
    along = dict(zip(dims, axes, strict=True))
    every = [along.get(name, Axis(1, 1)) for name in names]
    return {
        "stride": [axis.stride for axis in every],
        "padding": [(axis.lo, axis.hi) for axis in every],
        "dilation": [axis.dilation for axis in every],
        "padding_mode": [axis.mode for axis in every],
    }
