"""What stored numbers mean, decided from values, never from a dtype."""

from typing import Any

import numpy as np
import pytest

from faltung.data import ArraySource
from faltung.data.units import Units, is_whole, units_of, white_of

BYTES = Units(255, 255, low=0, high=255, whole=True)
RAW = Units(1, 255, low=0, high=255, whole=True)
FRACTIONS = Units(1, 1, low=0, high=1)
DEEP = Units(65535, 65535, low=0, high=60000, whole=True)
OWN = Units(low=-3, high=4)
PNG, PNG16 = Units(255, 255, fixed=True, whole=True), Units(65535, 65535, fixed=True, whole=True)


@pytest.mark.parametrize(
    ("low", "high", "whole", "white"),
    [
        (0, 0, True, 1),
        (0, 1, False, 1),
        (0, 1.5, False, 255),
        (0, 255, True, 255),
        (0, 254.5, False, 255),
        (0, 256, True, 65535),
        (0, 256.5, False, None),
        (0, 65536, True, None),
        (-1, 1, False, None),
    ],
)
def test_white(low: float, high: float, whole: bool, white: float | None) -> None:
    assert white_of(low, high, whole) == white


@pytest.mark.parametrize(
    ("mine", "theirs", "divisor"),
    [
        # What the format of a file says.
        (BYTES, PNG, 255),
        (BYTES, PNG16, 65535),
        (RAW, PNG, 1),
        (RAW, PNG16, 257),
        (FRACTIONS, PNG, 255),
        (DEEP, PNG, 255),
        # Numbers that are believed.
        (BYTES, Units(low=0, high=255, whole=True), 255),
        (BYTES, Units(low=0, high=254.5), 255),
        (BYTES, Units(low=0, high=2, whole=True), 255),
        (BYTES, Units(low=-5, high=0.5), 255),
        (BYTES, Units(low=0, high=0, whole=True), 255),
        (BYTES, Units(low=0, high=1, whole=True), 255),  # a dark picture
        (RAW, Units(low=0, high=1, whole=True), 1),
        (RAW, Units(low=0, high=200, whole=True), 1),
        (DEEP, Units(low=0, high=255, whole=True), 65535),
        (FRACTIONS, Units(low=0, high=1, whole=True), 1),
        (FRACTIONS, Units(low=0, high=1.5), 1),
        (OWN, Units(low=0, high=255, whole=True), 1),
        # Numbers that cannot be in the unit of the training.
        (BYTES, Units(low=0, high=0.5), 1),
        (RAW, Units(low=0, high=1), 1 / 255),
        (BYTES, Units(low=0, high=60000, whole=True), 65535),
        (FRACTIONS, Units(low=0, high=255, whole=True), 255),
        (FRACTIONS, Units(low=0, high=256, whole=True), 65535),
        (Units(16, 16, low=0, high=16, whole=True), Units(low=0, high=255, whole=True), 255),
    ],
)
def test_divisors(mine: Units, theirs: Units, divisor: float) -> None:
    assert mine.divisor(theirs) == pytest.approx(divisor, rel=1e-15)


def test_levels_are_not_numbers_of_another_unit() -> None:
    with pytest.raises(ValueError, match=r"^has levels from 0 to 255, .* unit -3\.\.4; save it as"):
        OWN.divisor(PNG)


@pytest.mark.parametrize(
    ("mine", "theirs", "note"),
    [
        (BYTES, Units(low=0, high=250, whole=True), None),
        (BYTES, PNG16, None),
        (BYTES, Units(low=0, high=0, whole=True), None),
        (BYTES, Units(), None),
        (RAW, Units(low=0, high=0.5), "values 0..0.5 are multiplied by 255: the network was"),
        (FRACTIONS, Units(low=0, high=9, whole=True), "values 0..9 are divided by 255: the"),
        (DEEP, Units(low=0, high=255, whole=True), "values 0..255, but the network was trained on"),
        (OWN, Units(low=-400, high=2), "but the network was trained on -3..4: is their unit"),
    ],
)
def test_notes(mine: Units, theirs: Units, note: str | None) -> None:
    said = mine.note(theirs)
    assert said is None if note is None else said is not None and note in said


def test_an_array() -> None:
    x = np.array([[0, 3], [16, 2]])
    assert units_of(x, picture=True) == Units(1, 255, low=0, high=16, whole=True)
    assert units_of(x.astype("u1"), picture=True).scale == 255
    assert units_of(x, picture=True, scale=16) == Units(16, 16, low=0, high=16, whole=True)
    assert units_of(x, picture=False) == Units(low=0, high=16, whole=True)
    for dtype in ("u1", "i8", "f4", "f8", ">i2"):
        array = x.astype(dtype)
        assert BYTES.divisor_of(array) == 255 and RAW.divisor_of(array) == 1
        assert BYTES.divisor_of(array * 0) == 255 and OWN.divisor_of(array) == 1
    assert BYTES.divisor_of(x / 16) == 1
    dark = np.array([[0, 1], [1, 0]])
    for dtype in ("u1", "i8", "f4"):  # as in a brighter picture
        assert BYTES.divisor_of(dark.astype(dtype)) == 255
    assert BYTES.divisor_of(dark.astype(bool)) == 1
    assert BYTES.divisor(ArraySource(dark.astype(bool)[:, None, None], [0, 1]).units) == 1
    assert BYTES.divisor_of(np.array([np.nan, 1])) == 255
    assert BYTES.divisor_of(np.empty((0, 2))) == 255
    assert is_whole(np.array([1.0, 2.0])) and not is_whole(np.array([1.0, 2.5]))


def test_there_and_back() -> None:
    for units in (BYTES, OWN, PNG, Units()):
        assert Units.from_dict(units.as_dict()) == units
    assert str(ArraySource(np.full((4, 1, 2, 2), 9), [0, 1, 1, 0]).units) == "values 9..9"
    assert str(Units(16, 16, low=0, high=16, whole=True)) == "values 0..16 -> /16"
    assert str(PNG) == "values 0..255 -> /255" and str(Units()) == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": 0}, "scale=0: must be finite and above 0"),
        ({"white": -1.0}, "white=-1.0: must be finite and above 0"),
        ({"low": float("nan")}, "low=nan: must be finite"),
        ({"high": "1"}, "high='1': must be a number"),
        ({"scale": True}, "scale=True: must be a number"),
        ({"whole": 1}, "whole=1: must be True or False"),
        ({"colour": 1}, "units.colour: is not known"),
    ],
)
def test_refusals(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Units.from_dict(wrong)
