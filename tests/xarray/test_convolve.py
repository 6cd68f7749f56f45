"""``faltung.xarray.conv``: the numbers of ``faltung.conv``, with names, places and attributes."""

import re
from typing import Any

import numpy as np
import pytest

import faltung

xr = pytest.importorskip("xarray")
import faltung.xarray  # noqa: E402

RNG = np.random.default_rng(0)


def field(*shape: int, dtype: str = "float32", **extra: Any) -> Any:
    """Of dimensions time, lat, lon, or the last of them, with coordinates of many kinds."""
    dims = ("time", "lat", "lon")[-len(shape) :]
    sizes = dict(zip(dims, shape, strict=True))
    coords: dict[str, Any] = {
        "lat": np.linspace(-80, 80, sizes["lat"]) if "lat" in sizes else None,
        "lon": np.arange(sizes["lon"]) * 10,
        "label": ("lon", [f"x{i}" for i in range(sizes["lon"])]),
        "run": 7,
    }
    if "lat" in sizes:
        coords["area"] = (("lat", "lon"), RNG.random((sizes["lat"], sizes["lon"])))
    if "time" in sizes:
        days = np.arange(sizes["time"]).astype("timedelta64[D]")
        coords["time"] = np.datetime64("2020-01-01", "ns") + days
    values = 100 * RNG.standard_normal(shape)
    made = xr.DataArray(
        values.astype(dtype),
        {name: one for name, one in coords.items() if one is not None},
        dims,
        "heat",
        {"units": "K"},
        **extra,
    )
    made.lon.attrs["units"] = "degrees_east"
    return made


def plain(da: Any, weight: Any, **options: Any) -> Any:
    """``faltung.conv`` over the last axes."""
    rank = weight.ndim
    x = da.values.reshape(-1, 1, *da.shape[-rank:])
    out = faltung.conv(x, weight[None, None].astype(da.dtype), **options)
    return out.reshape(*da.shape[:-rank], *out.shape[2:])


def test_numbers_are_those_of_conv_and_all_else_is_carried_on() -> None:
    da, weight = field(3, 8, 12), RNG.standard_normal((3, 5))
    found = faltung.xarray.conv(da, weight, ("lat", "lon"), padding_mode={"lon": "wrap"})
    expected = plain(da, weight, padding="same", padding_mode=("zeros", "circular"))
    np.testing.assert_array_equal(found.values, expected)
    assert found.dtype == np.float32 and found.name == "heat" and found.attrs == {"units": "K"}
    xr.testing.assert_identical(found.coords.to_dataset(), da.coords.to_dataset())


def test_order_of_dimensions_does_not_matter() -> None:
    da, weight = field(3, 8, 12), xr.DataArray(RNG.standard_normal((5, 3)), dims=("lon", "lat"))
    found = faltung.xarray.conv(da, weight)
    turned = faltung.xarray.conv(da.transpose("lon", "time", "lat"), weight, ("lat", "lon"))
    assert turned.dims == ("lon", "time", "lat")
    np.testing.assert_allclose(turned.transpose(*da.dims), found, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(found.values, plain(da, weight.values.T, padding="same"))


def test_along_the_first_dimension_alone() -> None:
    da = field(20, 3, 4, dtype="float64")
    found = faltung.xarray.conv(da, [0.5, 0.5], "time", padding="causal")
    expected = da.values / 2
    expected[1:] += da.values[:-1] / 2
    np.testing.assert_allclose(found.values, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("taps", "options", "places"),
    [
        (3, {"stride": 2}, [0, 2, 4, 6, 8, 10]),
        (3, {"padding": "valid"}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (3, {"padding": "valid", "dilation": 2, "stride": 3}, [2, 5, 8]),
        (2, {"padding": "valid", "stride": 2}, [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]),
        (4, {"stride": 6}, [0.5, 6.5]),
        (3, {"padding": 2, "stride": 4}, [-1, 3, 7, 11]),
        (3, {"padding": {"lon": (0, 3)}, "stride": 5}, [1, 6, 11]),
        (3, {"padding": "same_upper", "stride": 2}, [1, 3, 5, 7, 9, 11]),
        (3, {"padding": "causal", "stride": 6}, [-1, 5]),
    ],
)
def test_coordinates_are_those_of_the_middle(taps: int, options: Any, places: list[float]) -> None:
    da = field(4, 12)
    found = faltung.xarray.conv(da, np.ones(taps), "lon", **options)
    np.testing.assert_allclose(found.lon.values, 10 * np.array(places))
    assert found.lon.attrs == {"units": "degrees_east"} and found.run == 7
    np.testing.assert_array_equal(found.lat, da.lat)
    entries = all(place == int(place) and 0 <= place < 12 for place in places)
    assert ("label" in found.coords) == entries  # there is nothing half-way between words
    if entries:
        assert found.label.values.tolist() == [f"x{int(p)}" for p in places]
    # The coordinates are where the weights of the window balance.
    ramp = da.copy(data=np.broadcast_to(np.arange(12.0, dtype=np.float32), (4, 12)))
    if options.get("padding") == "valid":
        mean = faltung.xarray.conv(ramp, np.full(taps, 1 / taps), "lon", **options)
        np.testing.assert_allclose(mean.values[0], places, rtol=1e-6)


def test_dates_half_way() -> None:
    da = field(6, 2, 3)
    found = faltung.xarray.conv(da, np.ones(2), "time", padding="valid", stride=2)
    assert found.time.values.astype("datetime64[h]").astype(str).tolist() == [
        "2020-01-01T12",
        "2020-01-03T12",
        "2020-01-05T12",
    ]


def test_several_indexes_along_a_dimension_stay_one() -> None:
    levels = xr.Coordinates.from_pandas_multiindex(
        __import__("pandas").MultiIndex.from_product([["a", "b"], [0, 1, 2]], names=["k", "l"]),
        "lon",
    )
    da = xr.DataArray(np.arange(6.0), levels, dims="lon")
    found = faltung.xarray.conv(da, np.ones(1), "lon", stride=2)
    assert found.indexes["lon"].tolist() == [("a", 0), ("a", 2), ("b", 1)]


def test_lines_one_after_the_other() -> None:
    da = field(3, 8, 12)
    lat, lon = RNG.standard_normal(3), RNG.standard_normal(5)
    found = faltung.xarray.conv(da, {"lat": lat, "lon": lon}, stride={"lon": 2})
    whole = faltung.xarray.conv(da, np.outer(lat, lon), ("lat", "lon"), stride={"lon": 2})
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-4, atol=1e-3)
    xr.testing.assert_identical(found.coords.to_dataset(), whole.coords.to_dataset())


def test_a_bank_of_kernels() -> None:
    da = field(3, 8, 12)
    bank = xr.DataArray(
        RNG.standard_normal((2, 3, 3)), {"kind": ["a", "b"]}, ("kind", "lat", "lon")
    )
    found = faltung.xarray.conv(da, bank, stride=2)
    assert found.dims == ("time", "lat", "lon", "kind") and found.kind.values.tolist() == ["a", "b"]
    for kind in "ab":
        one = faltung.xarray.conv(da, bank.sel(kind=kind, drop=True), stride=2)
        np.testing.assert_allclose(found.sel(kind=kind).values, one.values, rtol=1e-4, atol=1e-3)


def test_a_dataset() -> None:
    heat = field(3, 8, 12)
    ds = xr.Dataset(
        {
            "first": ("lon", np.arange(12)),
            "heat": heat,
            "title": "all",
            "cold": -heat.astype("float64").transpose("lon", "lat", "time"),
        },
        attrs={"source": "here"},
    )
    found = faltung.xarray.conv(ds, np.ones((3, 3)), ("lat", "lon"), stride=(2, 3))
    assert list(found.data_vars) == list(ds.data_vars) and found.attrs == ds.attrs
    assert found.sizes == {"time": 3, "lat": 4, "lon": 4}
    assert found["first"].values.tolist() == [0, 3, 6, 9] and found["title"] == "all"
    one = faltung.xarray.conv(heat, np.ones((3, 3)), ("lat", "lon"), stride=(2, 3))
    xr.testing.assert_identical(found["heat"], one)
    assert found["cold"].dims == ("lon", "lat", "time") and found["cold"].dtype == np.float64
    np.testing.assert_allclose(found["cold"].transpose(*one.dims), -one, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("data", "weights", "result"),
    [
        ("float32", "float64", "float32"),
        ("float64", "float32", "float64"),
        ("uint8", "float32", "float64"),
        ("uint8", "int8", "int64"),
        ("bool", "bool", "int64"),
        ("int32", "int64", "int64"),
        ("float32", "complex128", "complex64"),
        ("complex64", "float64", "complex64"),
        ("int16", "complex64", "complex128"),
    ],
)
def test_dtypes(data: str, weights: str, result: str) -> None:
    values = RNG.integers(0, 2, 9).astype(data)
    kernel = np.array([1, 0, 1]).astype(weights)
    found = faltung.xarray.conv(xr.DataArray(values, dims="x"), kernel, "x")
    assert found.dtype == result
    expected = np.convolve(values.astype("complex128"), kernel.astype("complex128"), "same")
    np.testing.assert_array_equal(found.values, expected)


def test_empty_batch_and_no_batch() -> None:
    assert faltung.xarray.conv(field(0, 5, 6), np.ones((3, 3)), ("lat", "lon")).shape == (0, 5, 6)
    assert faltung.xarray.conv(field(5, 6), np.ones((3, 3))).shape == (5, 6)


def refused(message: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(faltung.FaltungError, match=re.escape(message)) as caught:
        faltung.xarray.conv(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_what_is_refused() -> None:
    da, ones = field(4, 6), np.ones(3)
    refused("'ndarray': must be a DataArray or a Dataset", da.values, ones, "lon")
    refused("da has no dimension 'depth'", da, ones, "depth")
    refused("no variable of the Dataset has all of these", da.to_dataset(), ones, "depth")
    refused("must name every dimension once", da, np.ones((3, 3)), ("lon", "lon"))
    refused("dim=None: a kernel of 1 axes needs their dimensions", da, ones)
    refused("kernel.shape=(3,): must have one axis for each", da, ones, ("lat", "lon"))
    refused("has no dimension 'lat'", da, xr.DataArray(ones, dims="lon"), ("lat", "lon"))
    refused("must have a line for each of", da, {"lon": ones}, ("lat", "lon"))
    refused("kernel['lon'].shape=(1, 3)", da, {"lon": [ones]})
    refused("kernel.dtype=<U1", da, ["a"], "lon")
    refused("'depth' is not among the dimensions", da, ones, "lon", stride={"depth": 2})
    refused("must have an entry for each of 'lon'", da, ones, "lon", stride=(1, 2))
    refused("stride=0: must be at least 1", da, ones, "lon", stride=0)
    refused("padding_mode='edge': that is 'replicate' here", da, ones, "lon", padding_mode="edge")
    refused("that is 'zeros' here", da, ones, "lon", padding_mode="CONSTANT")
    refused("padding='same' says how much", da, ones, "lon", padding_mode="SAME")
    refused("padding_mode='x': must be one of zeros", da, ones, "lon", padding_mode="x")
    refused("must be a word", da, ones, "lon", padding_mode={"lon": 1})
    refused("da.dtype=uint64", da.astype("uint64"), np.ones(3, int), "lon")
    refused("da.dtype=datetime64", da.copy(data=np.zeros((4, 6), "M8[ns]")), ones, "lon")
    refused("da.dtype=object", da.astype(object), ones, "lon")
    refused("da['a'].dtype=object", xr.Dataset({"a": da.astype(object)}), ones, "lon")
    bank = xr.DataArray(np.ones((2, 3)), dims=("lat", "lon"))
    refused("'lat' is a dimension of da, too", da, bank, "lon")


def test_other_arrays_are_refused_with_the_remedy() -> None:
    class Quantity(np.ndarray):  # as pint's arrays look to xarray
        pass

    Quantity.__module__ = "pint.registry"
    da = field(4, 6)
    da.variable._data = da.values.view(Quantity)
    refused("pint.dequantify()", da, np.ones(3), "lon")
