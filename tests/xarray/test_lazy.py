"""Fields backed by Dask: nothing is computed, and the numbers are those of the field in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from optional import optional

xr = pytest.importorskip("xarray")
import faltung.xarray  # noqa: E402

dask = optional("dask")
RNG = np.random.default_rng(3)
KERNEL = np.abs(RNG.standard_normal((3, 4)))


@pytest.fixture(autouse=True)
def nothing_is_computed_too_early() -> Iterator[None]:
    """Computing is an error, but where a test says that it computes now."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        yield


def now(lazy: Any) -> Any:
    with dask.config.set(scheduler="threads", num_workers=1):
        return lazy.compute()


def globe(holes: bool = False) -> Any:
    values = RNG.standard_normal((3, 2, 13, 18)).astype("float32")
    if holes:
        values[RNG.random(values.shape) < 0.3] = np.nan
        values[:, :, :5, :7] = np.nan
    coords = {"lat": np.linspace(-84, 84, 13), "lon": np.arange(0, 360, 20)}
    dims = ("time", "level", "lat", "lon")
    return xr.DataArray(values, coords, dims, "t", {"units": "K"})


CHUNKS = {"time": 2, "lat": (5, 1, 7), "lon": 4}
AROUND = {"lon": "wrap"}
BANK = xr.DataArray(np.stack([KERNEL, 2 * KERNEL]), dims=("kind", "lat", "lon"))
CONVS: dict[str, Callable[..., Any]] = {
    "plain": lambda da, **more: faltung.xarray.conv(
        da, KERNEL, ("lat", "lon"), padding_mode=AROUND, **more
    ),
    "strides": lambda da, **more: faltung.xarray.conv(
        da, KERNEL, ("lat", "lon"), stride={"lon": 3}, dilation=2, padding_mode=AROUND, **more
    ),
    "lines": lambda da, **more: faltung.xarray.conv(
        da, {"lon": [1.0, 2, 1], "time": [1.0, 1]}, padding={"time": "causal"}, **more
    ),
    "a bank": lambda da, **more: faltung.xarray.conv(da, BANK, **more),
}


@pytest.mark.parametrize("skipna", [False, True])
@pytest.mark.parametrize("name", CONVS)
def test_conv(name: str, skipna: bool) -> None:
    da = globe(holes=skipna)
    lazy = CONVS[name](da.chunk(CHUNKS), skipna=skipna)
    assert lazy.chunks is not None
    xr.testing.assert_identical(now(lazy), CONVS[name](da, skipna=skipna))


def test_chunks_follow_those_of_the_field() -> None:
    da = globe().chunk(CHUNKS)
    found = CONVS["plain"](da)
    assert found.chunks == da.chunks
    ds = xr.Dataset({"t": da, "mask": ("lat", np.ones(13))})
    both = CONVS["plain"](ds)
    assert both["t"].chunks == da.chunks and both["mask"].chunks is None


def test_weights_of_a_lazy_field() -> None:
    da = globe(holes=True)
    area = np.cos(np.deg2rad(da.lat))
    options: dict[str, Any] = {"skipna": True, "min_weight": 0.3, "preserve_nan": True}
    lazy = faltung.xarray.conv(
        da.chunk(CHUNKS), np.ones((3, 3)), ("lat", "lon"), weights=area.chunk(lat=3), **options
    )
    known = faltung.xarray.conv(da, np.ones((3, 3)), ("lat", "lon"), weights=area, **options)
    xr.testing.assert_identical(now(lazy), known)


FILTERS: dict[str, Callable[..., Any]] = {
    "gaussian_filter": lambda da, **more: faltung.xarray.gaussian_filter(
        da, {"lat": 1.2, "lon": 0.7}, mode={"lon": "wrap", "lat": "constant"}, **more
    ),
    "uniform_filter": lambda da, **more: faltung.xarray.uniform_filter(
        da, {"lat": 4, "time": 2}, mode="nearest", **more
    ),
    "maximum_filter": lambda da, **more: faltung.xarray.maximum_filter(
        da, {"lat": 3, "lon": 5}, mode=AROUND, **more
    ),
    "grey_erosion": lambda da, **more: faltung.xarray.grey_erosion(
        da, footprint=[[1, 0], [1, 1]], dim=("lat", "lon"), **more
    ),
}
WITHOUT_GAPS: dict[str, Callable[..., Any]] = {
    "correlate": lambda da: faltung.xarray.correlate(da, KERNEL, ("lat", "lon"), mode=AROUND),
    "convolve": lambda da: faltung.xarray.convolve(da, KERNEL, ("lat", "lon"), origin=(0, 1)),
    "sobel": lambda da: faltung.xarray.sobel(da, "lon", ("lat", "lon"), mode=AROUND),
    "prewitt": lambda da: faltung.xarray.prewitt(da, "lat", ("lat", "lon")),
    "laplace": lambda da: faltung.xarray.laplace(da, ("lat", "lon"), mode=AROUND),
    "gaussian_laplace": lambda da: faltung.xarray.gaussian_laplace(
        da, {"lat": 1.0, "lon": 0.7}, mode=AROUND
    ),
    "gaussian_gradient_magnitude": lambda da: faltung.xarray.gaussian_gradient_magnitude(
        da, {"lat": 1.0, "lon": 0.7}, mode=AROUND
    ),
}


@pytest.mark.parametrize("skipna", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_filters(name: str, skipna: bool) -> None:
    da = globe(holes=skipna)
    lazy = FILTERS[name](da.chunk(CHUNKS), skipna=skipna)
    assert lazy.chunks == da.chunk(CHUNKS).chunks
    xr.testing.assert_identical(now(lazy), FILTERS[name](da, skipna=skipna))


@pytest.mark.parametrize("name", WITHOUT_GAPS)
def test_filters_that_know_no_gaps(name: str) -> None:
    da = globe()
    lazy = WITHOUT_GAPS[name](da.chunk(CHUNKS))
    assert lazy.chunks == da.chunk(CHUNKS).chunks
    xr.testing.assert_identical(now(lazy), WITHOUT_GAPS[name](da))
