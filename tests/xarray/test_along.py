"""The functions of ``faltung.ndimage`` by the names of dimensions, beside SciPy's by axes."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optional import optional

import faltung

xr = pytest.importorskip("xarray")
import faltung.xarray  # noqa: E402

scipy = optional("scipy.ndimage")
RNG = np.random.default_rng(2)
KERNEL = RNG.standard_normal((3, 4))


def field(dtype: str = "float64") -> Any:
    values = (100 * RNG.standard_normal((2, 7, 9))).astype(dtype)
    coords = {"lat": np.linspace(-60, 60, 7), "lon": np.arange(0, 360, 40), "run": 3}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "heat", {"units": "K"})


def check(found: Any, expected: Any, da: Any) -> None:
    """The numbers of SciPy; all else as it was."""
    assert found.dtype == expected.dtype
    close = (
        {"rtol": 1e-5, "atol": 1e-4}
        if found.dtype == np.float32
        else {"rtol": 1e-12, "atol": 1e-11}
    )
    np.testing.assert_allclose(found.transpose(*da.dims).values, expected, **close)
    xr.testing.assert_identical(found.transpose(*da.dims).copy(data=da.values), da)


CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "gaussian": (
        lambda da: faltung.xarray.gaussian_filter(
            da, {"lat": 2, "lon": 1.5}, mode={"lon": "wrap"}, truncate=3
        ),
        lambda x: scipy.gaussian_filter(
            x, (2, 1.5), axes=(1, 2), mode=("reflect", "wrap"), truncate=3
        ),
    ),
    "gaussian, our words": (
        lambda da: faltung.xarray.gaussian_filter(
            da,
            1.0,
            ("lon", "lat"),
            order={"lon": 1},
            radius={"lat": 2},
            mode={"lon": "replicate", "lat": "circular"},
        ),
        lambda x: scipy.gaussian_filter(
            x, 1.0, (0, 1), axes=(1, 2), radius=(2, 4), mode=("wrap", "nearest")
        ),
    ),
    "uniform": (
        lambda da: faltung.xarray.uniform_filter(
            da, {"lon": 4, "lat": 3}, origin={"lon": 1}, mode="zeros", cval=2.0
        ),
        lambda x: scipy.uniform_filter(
            x, (3, 4), axes=(1, 2), origin=(0, 1), mode="constant", cval=2.0
        ),
    ),
    "correlate": (
        lambda da: faltung.xarray.correlate(da, KERNEL.T, ("lon", "lat"), origin={"lon": -1}),
        lambda x: scipy.correlate(x, KERNEL[None], origin=(0, 0, -1)),
    ),
    "correlate, named": (
        lambda da: faltung.xarray.correlate(
            da, xr.DataArray(KERNEL, dims=("lat", "lon")), mode="mirror"
        ),
        lambda x: scipy.correlate(x, KERNEL[None], mode="mirror"),
    ),
    "convolve": (
        lambda da: faltung.xarray.convolve(da, KERNEL, ("lat", "lon"), mode="constant", cval=5.0),
        lambda x: scipy.convolve(x, KERNEL[None], mode="constant", cval=5.0),
    ),
    "sobel": (
        lambda da: faltung.xarray.sobel(da, "lon", ("lon", "lat"), mode={"lon": "wrap"}),
        lambda x: scipy.correlate1d(scipy.correlate1d(x, [-1, 0, 1], 2, mode="wrap"), [1, 2, 1], 1),
    ),
    "sobel, all": (
        lambda da: faltung.xarray.sobel(da, "lat", ("lon", "lat", "time")),
        lambda x: scipy.sobel(x, 1),
    ),
    "prewitt": (
        lambda da: faltung.xarray.prewitt(da, "time", da.dims, mode="nearest"),
        lambda x: scipy.prewitt(x, 0, mode="nearest"),
    ),
    "laplace": (
        lambda da: faltung.xarray.laplace(da, ("lat", "lon"), mode={"lon": "grid-wrap"}),
        lambda x: scipy.laplace(x, axes=(1, 2), mode=("reflect", "grid-wrap")),
    ),
    "maximum": (
        lambda da: faltung.xarray.maximum_filter(da, {"lon": 3, "lat": 4}, mode={"lat": "wrap"}),
        lambda x: scipy.maximum_filter(x, (1, 4, 3), mode=("reflect", "wrap", "reflect")),
    ),
    "minimum, footprint": (
        lambda da: faltung.xarray.minimum_filter(
            da, footprint=[[1, 0], [1, 1], [0, 1]], dim=("lat", "lon"), mode="nearest"
        ),
        lambda x: scipy.minimum_filter(
            x, footprint=np.array([[[1, 0], [1, 1], [0, 1]]]), mode="nearest"
        ),
    ),
    "dilation": (
        lambda da: faltung.xarray.grey_dilation(da, 2, ("lat", "lon")),
        lambda x: scipy.grey_dilation(x, (1, 2, 2)),
    ),
    "erosion": (
        lambda da: faltung.xarray.grey_erosion(da, 2, "time", mode="constant", cval=-1000),
        lambda x: scipy.grey_erosion(x, (2, 1, 1), mode="constant", cval=-1000),
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_numbers_are_scipys(name: str, dtype: str) -> None:
    ours, theirs = CALLS[name]
    da = field(dtype)
    expected = theirs(da.values)
    check(ours(da), expected, da)
    if dtype != "int16":  # where what is between two axes is rounded, too, in SciPy's order
        check(ours(da.transpose("lon", "time", "lat")), expected, da)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("name", ["gaussian_laplace", "gaussian_gradient_magnitude"])
def test_gaussian_derivatives(name: str, dtype: str) -> None:
    """Each with the borders of all dimensions: no seam, wherever the globe is cut."""
    function, da = getattr(faltung.xarray, name), field(dtype)
    found = function(da, {"lon": 1, "lat": 2}, mode="mirror")
    assert found.dtype == ("float64" if dtype == "int16" else dtype)
    expected = getattr(scipy, name)(da.values[0].astype("float64"), (2, 1), mode="mirror")
    check(found[0], expected.astype(found.dtype), found[0])
    found = function(da, {"lon": 1, "lat": 2}, mode={"lon": "wrap"})
    turned = function(da.roll(lon=4, roll_coords=True), {"lon": 1, "lat": 2}, mode={"lon": "wrap"})
    xr.testing.assert_allclose(turned, found.roll(lon=4, roll_coords=True))
    assert found.attrs == {"units": "K"}


def test_a_dataset() -> None:
    da = field("int16")
    ds = xr.Dataset({"zone": ("lat", list("abcdefg")), "heat": da}, attrs={"source": "here"})
    found = faltung.xarray.gaussian_filter(ds, {"lat": 1, "lon": 1})
    assert list(found.data_vars) == ["zone", "heat"] and found.attrs == {"source": "here"}
    xr.testing.assert_identical(
        found["heat"], faltung.xarray.gaussian_filter(da, {"lat": 1, "lon": 1})
    )
    xr.testing.assert_identical(found["zone"], ds["zone"])


def holes(dtype: str = "float64") -> Any:
    da = field(dtype)
    values = da.values.copy()
    values[RNG.random(values.shape) < 0.3] = np.nan
    values[:, :4, :5] = np.nan
    return da.copy(data=values)


MEANS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "gaussian": (
        lambda da, **options: faltung.xarray.gaussian_filter(
            da, {"lat": 0.6, "lon": 0.4}, mode={"lon": "wrap", "lat": "constant"}, **options
        ),
        lambda x: scipy.gaussian_filter(x, (0.6, 0.4), axes=(1, 2), mode=("constant", "wrap")),
    ),
    "uniform": (
        lambda da, **options: faltung.xarray.uniform_filter(
            da, {"lat": 2, "lon": 3}, mode={"lon": "wrap", "lat": "zeros"}, **options
        ),
        lambda x: scipy.uniform_filter(x, (2, 3), axes=(1, 2), mode=("constant", "wrap")),
    ),
}


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("area", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_of_what_is_there(name: str, area: bool, dtype: str) -> None:
    ours, theirs = MEANS[name]
    da = holes(dtype)
    cosine = np.cos(np.deg2rad(da.lat))
    weights = cosine.values[:, None] if area else np.ones((7, 1))
    there = ~np.isnan(da.values)
    sums = theirs(np.where(there, da.values, 0) * weights)
    mass = theirs(there * np.broadcast_to(weights, da.shape))
    exists = scipy.maximum_filter(
        there, (1, 5, 5) if name == "gaussian" else (1, 2, 3), mode=("reflect", "constant", "wrap")
    )
    assert not exists.all()
    expected = np.where(exists, sums / np.where(exists, mass, 1), np.nan)
    options: dict[str, Any] = {"skipna": True, "weights": cosine if area else None}
    found = ours(da, **options)
    rounding = 2e-3 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(found.values, expected, rtol=rounding, atol=rounding)
    assert found.attrs == {"units": "K"} and found.dtype == dtype
    land = ours(da, **options, preserve_nan=True)
    np.testing.assert_array_equal(land.values, np.where(there, found.values, np.nan))
    whole = theirs(np.broadcast_to(weights, da.shape)) if area else 1.0
    half = ours(da, **options, min_weight=0.51)
    np.testing.assert_array_equal(np.isnan(half.values), ~exists | (mass < 0.51 * whole))


@pytest.mark.parametrize("name", ["maximum_filter", "minimum_filter", "grey_dilation"])
@pytest.mark.parametrize("mode", ["wrap", "constant"])
def test_extremes_of_what_is_there(name: str, mode: str) -> None:
    da = holes()
    empty = np.inf if name == "minimum_filter" else -np.inf
    filled = np.where(np.isnan(da), empty, da.values)
    expected = getattr(scipy, name)(filled, (1, 2, 3), mode=mode, cval=empty)
    expected[np.isinf(expected)] = np.nan
    assert np.isnan(expected).any()
    function = getattr(faltung.xarray, name)
    found = function(da, {"lat": 2, "lon": 3}, mode=mode, skipna=True)
    np.testing.assert_array_equal(found.values, expected)
    whole = da.fillna(0).astype("int32")
    found = function(whole, {"lat": 2, "lon": 3}, skipna=True)
    np.testing.assert_array_equal(found, function(whole, {"lat": 2, "lon": 3}))


@pytest.mark.parametrize("area", [False, True])
def test_nothing_is_there_beyond_the_reach_of_long_kernels(area: bool) -> None:
    """No rounding passes for a small weight, whichever way long kernels are computed."""
    values = RNG.random(6000, np.float32)
    values[:3000] = np.nan
    da = xr.DataArray(values, dims="x")
    options: dict[str, Any] = {"skipna": True, "weights": 1 + 0.1 * abs(da * 0 + 1).fillna(1)}
    options = options if area else {"skipna": True}
    for found, reach in (
        (faltung.xarray.gaussian_filter(da, {"x": 100.0}, **options), 400),
        (faltung.xarray.uniform_filter(da, {"x": 801}, **options), 400),
        (faltung.xarray.conv(da, {"x": np.hanning(803)[1:-1]}, **options), 400),
    ):
        assert np.isnan(found.values).sum() == 3000 - reach
        known = found.values[3000 - reach :]
        assert known.min() >= 0 and known.max() <= 401


def test_nothing_at_all_is_there() -> None:
    da = field() * np.nan
    for found in (
        faltung.xarray.uniform_filter(da, {"lon": 3}, skipna=True),
        faltung.xarray.gaussian_filter(da, {"lon": 1}, skipna=True),
        faltung.xarray.maximum_filter(da, {"lon": 3}, skipna=True),
    ):
        assert np.isnan(found.values).all()


def test_what_is_refused() -> None:
    da = field()

    def refused(message: str, name: str, *arguments: Any, **options: Any) -> None:
        with pytest.raises(faltung.FaltungError, match=re.escape(message)) as caught:
            getattr(faltung.xarray, name)(da, *arguments, **options)
        assert "\n" not in str(caught.value)

    refused("dim=None: name the dimensions", "gaussian_filter", 1.0)
    refused("da has no dimension 'depth'", "gaussian_filter", {"depth": 1.0})
    refused("mode='edge': that is 'nearest' here", "gaussian_filter", 1.0, "lon", mode="edge")
    refused("mode='x': must be one of reflect", "gaussian_filter", 1.0, "lon", mode="x")
    refused("padding='valid' says how much", "laplace", "lon", mode="valid")
    refused("'time' is not among", "gaussian_filter", 1.0, "lon", mode={"time": "wrap"})
    refused("a derivative has no mean", "gaussian_filter", {"lon": 1}, order=1, skipna=True)
    refused("cval=3.0: nothing is there", "uniform_filter", {"lon": 3}, cval=3.0, skipna=True)
    refused("cval=3.0: nothing is there", "maximum_filter", {"lon": 3}, cval=3.0, skipna=True)
    refused("size: give either", "maximum_filter", None, "lon")
    refused("size: give either", "maximum_filter", 3, "lon", footprint=[1])
    refused("axis='time': must be one of dim", "sobel", "time", ("lat", "lon"))
    refused("weights.shape=(3, 4): must have one axis", "correlate", KERNEL, "lon")
    named = xr.DataArray(KERNEL, dims=("a", "b"))
    refused("weights.dims=('a', 'b'): must be", "correlate", named, ("lat", "lon"))
