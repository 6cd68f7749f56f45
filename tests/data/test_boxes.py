"""Samples that are read a box at a time."""

from typing import Any

import numpy as np
import pytest

from faltung.data.boxes import Boxes, arranged, is_stored_elsewhere
from faltung.data.units import Units

X = np.arange(2 * 3 * 20 * 30, dtype=np.float32).reshape(2, 3, 20, 30)


@pytest.mark.parametrize(
    ("shape", "sample", "layout", "found"),
    [
        ((3, 20, 30), (3, 8, 8), "first", (True, 0)),
        ((20, 30, 3), (3, 8, 8), "first", (True, 2)),
        ((5, 3, 20, 30), (3, 8, 8), "first", (False, 1)),
        ((5, 20, 30, 3), (3, 8, 8), "first", (False, 3)),
        ((3, 20, 3), (3, 8, 8), "first", (True, 0)),
        ((3, 20, 3), (3, 8, 8), "last", (True, 2)),
        ((20, 30), (1, 8, 8), "first", (True, None)),
        ((5, 20, 30), (1, 8, 8), "first", (False, None)),
        ((1, 20, 30), (1, 8, 8), "first", (True, 0)),
        ((2, 500), (2, 8), "first", (True, 0)),
        ((2, 9, 8, 7), (2, 4, 4, 4), "first", (True, 0)),
        ((20, 30), (3, 8, 8), "first", None),
        ((4, 20, 30), (3, 8, 8), "first", None),
        ((3,), (3,), "first", None),
    ],
)
def test_how_arrays_are_arranged(
    shape: tuple[int, ...], sample: tuple[int, ...], layout: Any, found: Any
) -> None:
    assert arranged(shape, sample, layout) == found


def test_boxes_are_channels_first() -> None:
    box = (3, 9), (10, 30)
    wanted = X[1, :, 3:9, 10:30]
    np.testing.assert_array_equal(Boxes.of(X, (3, 8, 8), "first").read(1, box), wanted)
    last = np.moveaxis(X, 1, -1)
    np.testing.assert_array_equal(Boxes.of(last, (3, 8, 8), "first").read(1, box), wanted)
    one = Boxes.of(X[1, 0], (1, 8, 8), "first")
    np.testing.assert_array_equal(one.read(0, box), wanted[:1])
    assert (one.count, one.space, one.along, one.chunks) == (1, (20, 30), (0, 1), None)
    swapped = Boxes.of(X.astype(">f4"), (3, 8, 8), "first").read(1, box)
    assert swapped.dtype.isnative and (swapped == wanted).all()


def test_parts_are_everything_once() -> None:
    boxes = Boxes.of(X, (3, 8, 8), "first")
    assert sum(part.size for part in boxes.parts()) == X.size
    assert sum(float(part.sum()) for part in boxes.parts()) == X.sum(dtype=np.float64)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "bool"])
@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0, None])
@pytest.mark.parametrize("high", [1, 255, 400])
def test_units_are_those_of_the_array(dtype: str, white: float | None, high: int) -> None:
    units = Units(white or 1.0, white, low=0.0, high=white or 3.0, whole=white != 1)
    x = np.random.default_rng(high).integers(0, high, (3, 40, 50), endpoint=True)
    x = (x / 3 if dtype == "float32" and high == 1 else x).astype(dtype)
    seen = Boxes.of(x, (3, 8, 8), "first").seen(units)
    expected = units.seen(x)
    of = [units.scale if each is None else units.divisor(each) for each in (seen, expected)]
    assert of[0] == of[1]


class Elsewhere:
    """An array that NumPy does not know how to read."""

    shape, dtype = (3, 4), np.dtype("f4")

    def __getitem__(self, index: Any) -> Any:
        return np.zeros(self.shape, self.dtype)[index]


def test_what_is_stored_elsewhere() -> None:
    assert is_stored_elsewhere(Elsewhere())
    for array in (X, X.tolist(), np.memmap, 3.0, np.float32(1), "text"):
        assert not is_stored_elsewhere(array)
    zarr = pytest.importorskip("zarr")
    assert is_stored_elsewhere(zarr.zeros((3, 4)))
