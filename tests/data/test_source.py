"""Sources in memory: what they keep, what they refuse, and how they are parted."""

import re
from typing import Any

import numpy as np
import pytest

from faltung.data.source import AXES, ArraySource, Subset, check_finite, split

RANDOM = np.random.default_rng(0)


def test_reading_gives_copies_in_the_order_asked() -> None:
    x = RANDOM.standard_normal((6, 2, 5)).astype(np.float32)
    source = ArraySource(x, [0, 1, 0, 1, 0, 1], classes=("a", "b"))
    got = source.read([3, 0, 3])
    np.testing.assert_array_equal(got, x[[3, 0, 3]])
    got[:] = 7
    assert not (x == 7).any()
    assert (source.kind, source.shape, len(source)) == ("series", (2, 5), 6)
    assert source.names == tuple("012345") and source.classes == ("a", "b")


@pytest.mark.parametrize(
    ("dtype", "scale", "divisor"),
    [("uint8", None, 255), ("uint16", None, 65535), ("uint8", 16, 16), ("int32", None, 1)],
)
def test_whole_numbers_of_pictures(dtype: str, scale: float | None, divisor: float) -> None:
    x = RANDOM.integers(0, 200, (3, 1, 4, 4)).astype(dtype)
    got = ArraySource(x, scale=scale).read([2, 1])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, x[[2, 1]].astype(np.float32) / np.float32(divisor))


def test_white_is_one() -> None:
    assert ArraySource(np.full((1, 1, 2, 2), 255, np.uint8)).read([0]).max() == 1


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 3), "table"), ((4, 3, 5), "series"), ((4, 1, 5, 5), "picture")]
)
def test_kind_by_axes(shape: tuple[int, ...], kind: str) -> None:
    assert ArraySource(np.ones(shape)).kind == kind
    assert AXES[kind] == len(shape) - 1


def test_text_is_int64() -> None:
    source = ArraySource(np.array([[1, 2, 0]], np.int16), [0], kind="text")
    got = source.read([0])
    assert got.dtype == np.int64 and source.shape == (3,)


def test_numbers_as_targets() -> None:
    source = ArraySource(np.ones((3, 1, 4)), np.array([0.5, 1, 2]))
    assert source.classes is None and source.targets.dtype == np.float32
    assert source.targets.shape == (3, 1)
    assert ArraySource(np.ones((3, 1, 4))).targets.shape == (3, 0)


def test_a_label_for_each_position() -> None:
    y = np.array([[[0, 1, 2], [0, -1, 2]]] * 3, np.int8)
    source = ArraySource(np.ones((3, 2, 4, 3)), y)
    assert source.classes == ("0", "1", "2") and source.targets.dtype == np.int64
    np.testing.assert_array_equal(source.targets, y)
    train, held = split(source, 0.3, seed=1)
    assert (len(train), len(held), held.targets.shape) == (2, 1, (1, 2, 3))
    steps = ArraySource(np.ones((2, 1, 3)), [[0, 1, 1], [1, 0, 0]])
    assert steps.targets.shape == (2, 3)


@pytest.mark.parametrize(
    ("y", "more", "message"),
    [
        ([[[0, 3]]], {"classes": ["a", "b"]}, "y[0, 0, 1]=3: must be a label below 2"),
        ([[[0, -2]]], {}, "y[0, 0, 1]=-2: a label must be at least -1"),
        ([[[-1, -1]]], {}, "y: has no label"),
        ([[[0, 9]]], {}, "y[0, 0, 1]=9: labels must be 0, 1, ... without gaps"),
        ([[[0, 0, 2]]], {}, "y: no sample of class 1"),
        ([[[0]], [[0]]], {}, "y.shape=(2, 1, 1): must be (1, *space), as x"),
    ],
)
def test_refusals_of_maps(y: object, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ArraySource(np.ones((1, 1, 3, 3)), y, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_named(value: float) -> None:
    x = np.zeros((40, 1, 3, 3), np.float32)
    x[17, 0, 2, 1] = value
    what = "NaN" if np.isnan(value) else "an infinite value"
    with pytest.raises(ValueError, match=f"^x: sample 17 contains {what}$"):
        ArraySource(x)
    with pytest.raises(ValueError, match=r"sample cat/9.png contains"):
        check_finite(x[17:18], "x", ["cat/9.png"])


def test_finite_is_found_in_every_block() -> None:
    x = np.zeros((5, 1 << 22), np.float32)  # a sample is a block
    x[4, -1] = np.nan
    with pytest.raises(ValueError, match="sample 4 contains NaN"):
        check_finite(x, "x")


def test_what_float32_cannot_hold() -> None:
    with pytest.raises(ValueError, match="x as float32: sample 1 contains an infinite value"):
        ArraySource(np.array([[0.0], [1e300]]))


X = np.ones((4, 1, 3))


@pytest.mark.parametrize(
    ("x", "y", "more", "message"),
    [
        (X, [0, 1, 0], {}, "y.shape=(3,): must be (4,)"),
        (X, [0, 1, 2, 0], {"classes": ["a", "b"]}, "y[2]=2: must be a label below 2"),
        (X, [0, -1, 0, 1], {}, "y[1]=-1: a label must be at least 0"),
        (X, [0, 0, 2, 2], {}, "y: no sample of class 1"),
        (X, [0, 0, 0, 9**9], {}, "without gap"),
        (X, [0, 0, 1, 1], {"classes": ["a", "b", "c"]}, "y: no sample of class c"),
        (X, [0, 0, 1, 1], {"classes": ["a", "a"]}, "'a' is named 2 times"),
        (X, [0, 0, 1, 1], {"classes": []}, "must name at least one"),
        (X, [0.5, np.nan, 0, 0], {}, "y: sample 1 contains NaN"),
        (X, [[1, 1]] * 4, {}, "numbers must be floats"),
        (X[:0], [], {}, "x.shape=(0, 1, 3): contains no samples"),
        (X[:, :0], [0] * 4, {}, "contains no samples"),
        (np.ones((4,)), None, {}, "must be (samples, channels, *space)"),
        (X, None, {"kind": "picture"}, "must have 4 axes for kind='picture'"),
        (X, None, {"kind": "film"}, "kind='film': must be one of"),
        (X, None, {"names": ["a"]}, "names: there are 1 for 4 samples"),
        (X, None, {"scale": 0}, "scale=0: must be a number above 0"),
        (np.array([[1, -2]]), None, {"kind": "text"}, "must be at least 0"),
    ],
)
def test_refusals(x: np.ndarray, y: list[int] | None, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ArraySource(x, y, **more)


@pytest.mark.parametrize(
    ("x", "y", "more"),
    [
        (np.array([["a"]]), None, {}),
        (X * 1j, None, {}),
        (X, ["a", "b", "c", "d"], {}),
        (X, [0.5] * 4, {"classes": ["a"]}),
        (np.ones((2, 3)), None, {"kind": "text"}),
    ],
)
def test_wrong_types(x: np.ndarray, y: list[object] | None, more: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ArraySource(x, y, **more)


def many(counts: list[int]) -> ArraySource:
    y = np.repeat(np.arange(len(counts)), counts)
    return ArraySource(np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1), y)


def test_split_is_even_over_classes_and_loses_nothing() -> None:
    source = many([50, 11, 2, 200])
    train, held = split(source, 0.2, seed=3)
    assert np.bincount(held.targets).tolist() == [10, 2, 1, 40]
    assert sorted([*train.indices, *held.indices]) == list(range(len(source)))
    assert (np.diff(train.indices) > 0).all() and (np.diff(held.indices) > 0).all()


def test_split_depends_on_the_seed_alone() -> None:
    source = many([30, 30])
    first, again, other = (split(source, 0.3, seed=seed)[1].indices for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_split_is_the_same_for_ever() -> None:
    """Written down once: runs of years ago must find their held-out part again."""
    assert split(many([6, 6]), 0.34, seed=7)[1].indices.tolist() == [0, 5, 8, 9]


def test_split_of_numbers() -> None:
    source = ArraySource(np.ones((10, 1, 2)), np.linspace(0, 1, 10))
    train, held = split(source, 0.25)
    assert (len(train), len(held)) == (8, 2)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2.0, float("nan")])
def test_split_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction="):
        split(many([5, 5]), fraction)


def test_a_class_of_one_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="class 1 has one sample"):
        split(many([5, 1]))


def test_subsets_of_subsets() -> None:
    source = many([4, 4])
    part = Subset(Subset(source, [7, 5, 3, 1]), [2, 0])
    assert part.names == ("3", "7") and part.targets.tolist() == [0, 1]
    assert part.read([1, 0]).ravel().tolist() == [7, 3]
    assert part.classes == source.classes and len(part) == 2


def test_subset_refusals() -> None:
    with pytest.raises(ValueError, match=r"indices: 8 is not in 0\.\.7"):
        Subset(many([4, 4]), [0, 8])
    with pytest.raises(TypeError, match="indices="):
        Subset(many([4, 4]), [0.5])  # type: ignore[list-item]
