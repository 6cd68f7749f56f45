"""Where outputs lie: the middle of what they read, and coordinates that go with it."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faltung.geometry.axis import Axis
from faltung.xarray.centres import Centres, centres, moved

xr = pytest.importorskip("xarray")

SMALL = st.integers(0, 9)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), SMALL, SMALL)
def test_the_middle_of_the_window(
    size: int, kernel: int, stride: int, dilation: int, lo: int, hi: int
) -> None:
    """Of the first and the last tap; and a coordinate that is linear stays the same function."""
    assume(dilation * (kernel - 1) + 1 <= size + lo + hi)
    axis = Axis(size, kernel, stride, dilation, lo, hi)
    place = centres(axis)
    outputs = np.arange(axis.output)
    first = outputs * stride - lo
    last = first + dilation * (kernel - 1)
    np.testing.assert_array_equal(place.halves, first + last)
    if place.entries is not None:
        np.testing.assert_array_equal(np.arange(size)[place.entries], (first + last) / 2)
    if size > 1:
        given_ = xr.Dataset({"y": ("x", 3.0 * np.arange(size))}, {"x": 7 + 2 * np.arange(size)})
        found = moved(given_, {"x": place})
        np.testing.assert_array_equal(found.x, 7 + first + last)
        np.testing.assert_array_equal(found["y"], 1.5 * (first + last))


def test_entries_along_all_dimensions_are_as_they_are() -> None:
    whole = xr.Dataset(coords={"x": ["a", "b"], "y": [1, 2, 3]})
    same = Centres(0, 1, 2, 2)
    assert same.same and moved(whole, {"x": same, "z": same}).identical(whole)


def test_between_entries() -> None:
    """Numbers and dates half-way; what has nothing there is left out, all else stays."""
    day = np.array(["2020-01-01", "2020-01-04", "2020-01-05"], "M8[ns]")
    given_ = xr.Dataset(
        {"grid": (("y", "x"), np.array([[1, 3, 9], [0, 0, 4]], np.uint8))},
        {"x": day, "label": ("x", list("abc")), "y": [5, 6], "flag": ("x", [False, True, True])},
    )
    given_.x.attrs["axis"] = "T"
    found = moved(given_, {"x": Centres(1, 1, 2, 3)})
    half = np.array(["2020-01-02T12", "2020-01-04T12"], "M8[ns]")
    np.testing.assert_array_equal(found.x, half)
    assert found.x.attrs == {"axis": "T"} and "label" not in found.coords
    assert found["grid"].values.tolist() == [[2, 6], [0, 2]] and found.y.values.tolist() == [5, 6]
    assert found["flag"].values.tolist() == [0.5, 1.0]
    single = xr.Dataset(coords={"x": [3.0], "y": [1]})
    assert list(moved(single, {"x": Centres(1, 1, 1, 1)}).coords) == ["y"]
