""".npz files as sources."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data.open import open_source
from faltung.data.source import ArraySource

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.integers(0, 256, (6, 5, 7), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_pictures(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, x=PICTURES, y=Y))
    assert (source.kind, source.shape, source.classes) == ("picture", (1, 5, 7), ("0", "1", "2"))
    want = PICTURES[[4, 1], None].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(source.read([4, 1]), want)
    assert isinstance(source, ArraySource) and not source.lazy


def test_volumes_channels_last(tmp_path: Path) -> None:
    x = RANDOM.random((6, 5, 6, 7, 2))
    source = open_source(saved(tmp_path, x=x, y=Y))
    assert (source.kind, source.shape) == ("volume", (2, 5, 6, 7))
    np.testing.assert_array_equal(source.read([3])[0, 1], x[3, ..., 1].astype(np.float32))


def test_series_of_many_channels(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, x=RANDOM.random((6, 3, 50)), y=Y))
    assert (source.kind, source.shape) == ("series", (3, 50))


def test_the_file_may_say_what_it_is(tmp_path: Path) -> None:
    tokens = RANDOM.integers(0, 99, (6, 12))
    path = saved(tmp_path, x=tokens, y=Y, kind="text", names=[f"n{i}\n" for i in range(6)])
    source = open_source(path)
    assert source.kind == "text" and source.read([0]).dtype == np.int64
    assert source.names[5] == "n5\\n"
    assert open_source(path, kind="series").kind == "series"


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool", ">i4"])
def test_labels_of_any_integer(dtype: str, tmp_path: Path) -> None:
    y = (Y % 2).astype(dtype)
    source = open_source(saved(tmp_path, x=PICTURES, y=y[:, None]))
    assert source.targets.tolist() == (Y % 2).tolist() and source.classes == ("0", "1")


def test_labels_need_not_begin_at_zero(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, x=PICTURES, y=Y * 5 - 5))
    assert source.classes == ("-5", "0", "5") and source.targets.tolist() == Y.tolist()


def test_words_as_labels(tmp_path: Path) -> None:
    words = np.array(["dog", "cat", "dog", "cat", "dog", "cat"])
    source = open_source(saved(tmp_path, x=PICTURES, y=words))
    assert source.classes == ("cat", "dog") and source.targets.tolist() == [1, 0] * 3


def test_classes_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, x=PICTURES, y=Y, classes=["c", "b", "a"])
    assert open_source(path).classes == ("c", "b", "a")


def test_classes_of_a_run(tmp_path: Path) -> None:
    """To evaluate: the classes keep the numbers they were trained with; some may be missing."""
    path = saved(tmp_path, x=PICTURES, y=Y, classes=["c", "b", "a"])
    source = open_source(path, classes=["a", "b", "c", "d"])
    assert source.classes == ("a", "b", "c", "d")
    assert source.targets.tolist() == (2 - Y).tolist()
    with pytest.raises(ValueError, match="sample 0 has the label 'c', which is not one of"):
        open_source(path, classes=["a", "b"])


def test_numbers_to_estimate(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, x=PICTURES, y=RANDOM.random((6, 2))))
    assert source.classes is None and source.targets.shape == (6, 2)


def test_labels_of_positions(tmp_path: Path) -> None:
    y = np.array([[[0, 255], [-1, 7]]] * 6)
    source = open_source(saved(tmp_path, x=PICTURES, y=y))
    assert source.classes == ("0", "7", "255")
    np.testing.assert_array_equal(source.targets, [[[0, 2], [-1, 1]]] * 6)
    again = open_source(tmp_path / "a.npz", classes=["7", "255", "0", "other"])
    np.testing.assert_array_equal(again.targets, [[[2, 1], [-1, 0]]] * 6)
    named = open_source(saved(tmp_path, x=PICTURES, y=y % 2, classes=["sky", "sea"]))
    assert named.classes == ("sky", "sea")
    np.testing.assert_array_equal(named.targets, y % 2)
    with pytest.raises(
        ValueError, match=r"a.npz: y\[0, 1, 1\]=7: must be a label of the 2 classes"
    ):
        open_source(saved(tmp_path, x=PICTURES, y=y, classes=["sky", "sea"]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": PICTURES}, "a.npz: has no array called 'y'"),
        ({"y": Y}, "a.npz: has no array called 'x'"),
        ({"x": PICTURES, "y": Y[:5]}, "a.npz: 6 samples have 5 targets"),
        ({"x": PICTURES[:0], "y": Y[:0]}, "a.npz: contains no samples"),
        ({"x": PICTURES[:, :0], "y": Y}, "contains no samples"),
        ({"x": PICTURES, "y": Y, "classes": ["a", "b"]}, "a.npz: y[2]=2: must be a label of the 2"),
        ({"x": PICTURES, "y": Y - 1, "classes": ["a", "b"]}, "a.npz: y[0]=-1: must be a label"),
        ({"x": PICTURES, "y": Y, "classes": list("abcd")}, "a.npz: y: no sample of class d"),
        ({"x": PICTURES, "y": Y, "classes": list("aab")}, "'a' is named 2 times"),
        ({"x": PICTURES * np.nan, "y": Y}, "a.npz: x: sample 0 contains NaN"),
        ({"x": np.ones(6), "y": Y}, "a.npz: x.shape=(6,): must have 2 to 5 axes"),
        ({"x": PICTURES, "y": np.ones((6, 2), int)}, "labels must be (6,), or have a single 1 in"),
        ({"x": PICTURES, "y": np.int64(1)}, "y.shape=(): must have a target for each of 6"),
        ({"x": PICTURES, "y": np.eye(2, dtype=int)[np.zeros((6, 5, 5), int)]}, "pass y.argmax(-1)"),
        ({"x": PICTURES, "y": np.eye(2)[np.zeros((6, 5, 5), int)]}, "pass y.argmax(-1)"),
        ({"x": PICTURES, "y": np.array([b"a", b"b"] * 3)}, "save it as text, array.astype(str)"),
        ({"x": PICTURES, "y": Y, "kind": "film"}, "kind='film'"),
        ({"x": PICTURES, "y": Y, "names": ["a"]}, "names: there are 1 for 6"),
        ({"x": np.full((6, 2), "a"), "y": Y}, "must be real numbers"),
        ({"x": np.array([object()] * 6), "y": Y}, "neither numbers nor text"),
    ],
)
def test_refusals(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        open_source(saved(tmp_path, **arrays))


def test_sizes_are_not_changed(tmp_path: Path) -> None:
    path = saved(tmp_path, x=PICTURES, y=Y)
    assert open_source(path, size=(5, 7)).shape == (1, 5, 7)
    with pytest.raises(ValueError, match=r"size=8: a.npz has \(5, 7\); arrays are not resized"):
        open_source(path, size=8)
