"""Filters where something is missing, against sums over what is there."""

import re
from typing import Any

import numpy as np
import pytest

import faltung

xr = pytest.importorskip("xarray")
import faltung.xarray  # noqa: E402

RNG = np.random.default_rng(1)
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1.0]]) / 8  # its sum is 2: a filter, not a mean


def globe(dtype: str = "float64", share: float = 0.4) -> Any:
    """A field with holes; a whole corner is missing."""
    values = RNG.standard_normal((2, 9, 12)).astype(dtype)
    values[RNG.random(values.shape) < share] = np.nan
    values[:, :5, :5] = np.nan
    coords = {"lat": np.linspace(-80, 80, 9), "lon": np.arange(0, 360, 30)}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "sst", {"units": "degC"})


def by_hand(values: Any, weights: Any, least: float, stride: int = 1) -> Any:
    """Zeros beyond the poles, which are nothing, around the globe, of every window."""
    wide = np.pad(values, ((0, 0), (1, 1), (0, 0)), constant_values=np.nan)
    wide = np.pad(wide, ((0, 0), (0, 0), (1, 1)), "wrap")
    mass = np.pad(np.broadcast_to(weights, values.shape), ((0, 0), (1, 1), (0, 0)))
    mass = np.pad(mass, ((0, 0), (0, 0), (1, 1)), "wrap")
    out = np.full_like(values, np.nan)[:, ::stride, ::stride]
    for place in np.ndindex(out.shape):
        t, i, j = place[0], place[1] * stride, place[2] * stride
        x, m = wide[t, i : i + 3, j : j + 3], mass[t, i : i + 3, j : j + 3]
        there = ~np.isnan(x)
        weight, whole = (KERNEL * m * there).sum(), (KERNEL * m).sum()
        if weight > 0 and weight >= least * whole * (1 - 1e-9):
            out[place] = (KERNEL * m * np.where(there, x, 0)).sum() / weight * KERNEL.sum()
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("least", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_weights_of_what_is_there(dtype: str, least: float, stride: int) -> None:
    da = globe(dtype, share=0.1)
    found = faltung.xarray.conv(
        da,
        KERNEL,
        ("lat", "lon"),
        padding_mode={"lon": "wrap"},
        stride=stride,
        skipna=True,
        min_weight=least,
    )
    # A share counts what stands beyond the poles as missing, too.
    wide = KERNEL.sum()
    expected = by_hand(da.values.astype("float64"), 1.0, 0.0, stride)
    if least:
        mass = np.where(np.isnan(da), 0.0, 1.0)
        mass = faltung.xarray.conv(
            da.copy(data=mass), KERNEL, ("lat", "lon"), padding_mode={"lon": "wrap"}, stride=stride
        )
        expected[mass.values < least * wide * (1 - 1e-4)] = np.nan
    assert np.isnan(expected).any() and (~np.isnan(expected)).any()
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == dtype
    assert found.attrs == {"units": "degC"} and found.name == "sst"


def test_areas() -> None:
    da = globe()
    area = np.cos(np.deg2rad(da.lat))
    found = faltung.xarray.conv(
        da, KERNEL, ("lat", "lon"), padding_mode={"lon": "wrap"}, skipna=True, weights=area
    )
    expected = by_hand(da.values, area.values[None, :, None], 0.0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-10, atol=1e-12)
    # Of nothing missing, weights alone.
    whole = da.fillna(1.0)
    found = faltung.xarray.conv(
        whole, KERNEL, ("lat", "lon"), padding_mode={"lon": "wrap"}, weights=area
    )
    expected = by_hand(whole.values, area.values[None, :, None], 0.0)
    np.testing.assert_allclose(found.values, expected, rtol=1e-10, atol=1e-12)


def test_a_constant_stays_itself() -> None:
    da = globe(share=0.7).where(lambda one: one.isnull(), 3.0)
    mean = KERNEL / KERNEL.sum()
    area = np.cos(np.deg2rad(da.lat))
    for weights in (None, area):
        found = faltung.xarray.conv(da, mean, ("lat", "lon"), skipna=True, weights=weights)
        known = found.values[~np.isnan(found.values)]
        assert known.size > da.size / 2
        np.testing.assert_allclose(known, 3.0, rtol=1e-12)


def test_without_gaps_it_is_the_filter() -> None:
    da = globe().fillna(0.5)
    options: Any = {"padding_mode": "circular"}
    found = faltung.xarray.conv(da, KERNEL, ("lat", "lon"), skipna=True, **options)
    plain = faltung.xarray.conv(da, KERNEL, ("lat", "lon"), **options)
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-12)


def test_land_stays_land() -> None:
    da = globe()
    options: Any = {"skipna": True, "stride": 2}
    found = faltung.xarray.conv(da, KERNEL, ("lat", "lon"), preserve_nan=True, **options)
    filled = faltung.xarray.conv(da, KERNEL, ("lat", "lon"), **options)
    land = np.isnan(da.values[:, ::2, ::2])
    assert np.isnan(found.values[land]).all() and not np.isnan(filled.values[land]).all()
    np.testing.assert_array_equal(found.values[~land], filled.values[~land])


def test_whole_numbers_miss_nothing() -> None:
    da = xr.DataArray(np.arange(6), dims="x")
    found = faltung.xarray.conv(da, [1, 1, 1], "x", skipna=True)
    assert found.values.tolist() == [1, 3, 6, 9, 12, 9]
    mean = faltung.xarray.conv(da, [1, 1, 1], "x", weights=xr.ones_like(da))
    np.testing.assert_allclose(mean.values, [1.5, 3, 6, 9, 12, 13.5])


def test_banks_and_lines() -> None:
    da = globe()
    bank = xr.concat([xr.DataArray(KERNEL, dims=("lat", "lon"))] * 2, "kind") * xr.DataArray(
        [1.0, 3.0], dims="kind"
    )
    found = faltung.xarray.conv(da, bank, ("lat", "lon"), skipna=True)
    one = faltung.xarray.conv(da, KERNEL, ("lat", "lon"), skipna=True)
    np.testing.assert_allclose(found.isel(kind=1).values, 3 * one.values, rtol=1e-12)
    line = np.array([1, 2, 1.0]) / np.sqrt(8)
    lines = faltung.xarray.conv(da, {"lat": line, "lon": line}, skipna=True)
    np.testing.assert_allclose(lines.values, one.values, rtol=1e-12)


def test_other_numbers() -> None:
    """float16, and complex numbers, of which a missing part makes the whole missing."""
    da = globe()
    options: Any = {"skipna": True, "min_weight": 0.25}
    expected = faltung.xarray.conv(da, KERNEL, ("lat", "lon"), **options)
    half = faltung.xarray.conv(da.astype("float16"), KERNEL, ("lat", "lon"), **options)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.values, expected.values, rtol=0.02, atol=0.02)
    turned = faltung.xarray.conv(da * (1 + 2j), KERNEL, ("lat", "lon"), **options)
    assert turned.dtype == np.complex128
    np.testing.assert_allclose(turned.values, expected.values * (1 + 2j), rtol=1e-12)


def refused(message: str, **options: Any) -> None:
    with pytest.raises(faltung.FaltungError, match=re.escape(message)):
        faltung.xarray.conv(globe(), KERNEL, ("lat", "lon"), **options)


def test_what_is_refused() -> None:
    lat = globe().lat
    refused("min_weight=2: is a share", skipna=True, min_weight=2)
    refused("min_weight=0.5: has a meaning only with skipna", min_weight=0.5)
    refused("preserve_nan=True: has a meaning only with skipna", preserve_nan=True)
    refused("skipna='yes': must be True or False", skipna="yes")
    refused("weights='ndarray': must be a DataArray", weights=np.ones(9))
    refused("da has no dimension 'depth'", weights=xr.DataArray([1.0], dims="depth"))
    refused("must have the coordinates of da", weights=lat.assign_coords(lat=lat + 1))
    refused("must be finite and at least 0", weights=lat)
    refused("must be real numbers", weights=lat.astype(str))
    with pytest.raises(faltung.FaltungError, match="no negative, complex or infinite"):
        faltung.xarray.conv(globe(), [-1.0, 0, 1], "lon", skipna=True)
    with pytest.raises(faltung.FaltungError, match="a weight other than 0"):
        faltung.xarray.conv(globe(), [0.0], "lon", skipna=True)
    with pytest.raises(faltung.FaltungError, match="the middle of a window is between"):
        faltung.xarray.conv(globe(), [1.0, 1], "lon", skipna=True, preserve_nan=True)
