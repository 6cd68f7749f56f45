import numpy as np
import pytest

from faltung.geometry.check import integer, integers, per_axis, real, show, whole


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_whole_numbers_of_any_kind_become_ints(value: object) -> None:
    assert type(whole("groups", value, 1)) is int
    assert per_axis("stride", value, 2, 1) == (3, 3)


@pytest.mark.parametrize("value", [True, False, 3.0, "3", None, 1j, np.float32(3), np.True_])
def test_what_is_no_whole_number(value: object) -> None:
    assert integer(value) is None
    with pytest.raises(TypeError, match=r"^groups=.*: must be an int$"):
        whole("groups", value, 1)
    with pytest.raises(TypeError, match=r"^stride=.*: must be an int or a sequence of 2 ints$"):
        per_axis("stride", value, 2, 1)


@pytest.mark.parametrize("value", [(2, 3), [2, 3], np.array([2, 3]), range(2, 4)])
def test_one_for_each_axis(value: object) -> None:
    numbers = per_axis("stride", value, 2, 1)
    assert numbers == (2, 3)
    assert all(type(number) is int for number in numbers)
    assert integers("input_shape", value) == (2, 3)


@pytest.mark.parametrize("value", [(1, 2.0), (1, True), (1, None), {1: 2, 3: 4}, {1, 2}, b"12"])
def test_sequences_of_something_else(value: object) -> None:
    with pytest.raises(TypeError, match=r"^stride="):
        per_axis("stride", value, 2, 1)
    with pytest.raises(TypeError, match=r"must be a sequence of ints$"):
        integers("input_shape", value)


def test_too_few_too_many_too_small() -> None:
    with pytest.raises(
        ValueError, match=r"^stride=\(1,\): must be one int or 2, one for each axis$"
    ):
        per_axis("stride", (1,), 2, 1)
    with pytest.raises(ValueError, match=r"^stride=\(1, 1, 1\): must be one int or 2"):
        per_axis("stride", (1, 1, 1), 2, 1)
    with pytest.raises(ValueError, match=r"^stride=\(0, 1\): every stride must be at least 1$"):
        per_axis("stride", (0, 1), 2, 1)
    with pytest.raises(ValueError, match=r"^groups=-1: must be at least 1$"):
        whole("groups", -1, 1)


def test_show_keeps_to_one_short_line() -> None:
    assert show("a") == "'a'"
    assert "\n" not in show(np.zeros((9, 9)))
    assert len(show(list(range(1000)))) == 80


@pytest.mark.parametrize("value", [0.5, 3, np.float32(0.25), np.int8(2), np.array(1.5)])
def test_numbers_of_any_kind_become_floats(value: object) -> None:
    assert type(real("width", value)) is float
    assert real("width", value) == value


def test_what_is_no_number() -> None:
    for value in ("1", None, True, [1], 1j):
        with pytest.raises(TypeError, match=r"^width=.*: must be a number$"):
            real("width", value)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"^width=(nan|inf): must be finite$"):
            real("width", value)
