"""Labels and numbers in every form that people store them in."""

import re
from pathlib import Path

import numpy as np
import pytest

from faltung.data import open_source
from faltung.data.targets import TargetKind, as_float32, is_one_hot, understood
from faltung.geometry.errors import FaltungError

LABELS = np.array([2, 0, 1, 0, 1, 2])


@pytest.mark.parametrize(
    "y",
    [
        LABELS,
        LABELS.astype("u1"),
        LABELS.astype(">i8"),
        LABELS.astype("f4"),
        LABELS[:, np.newaxis].astype("f8"),
        LABELS[:, np.newaxis],
        np.eye(3, dtype=int)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        np.eye(3)[LABELS],
    ],
)
def test_labels(y: np.ndarray, tmp_path: Path) -> None:
    np.testing.assert_array_equal(understood(y, "labels", "y").reshape(-1), LABELS)
    np.savez(tmp_path / "a.npz", x=np.ones((6, 1, 8, 8)), y=y)
    source = open_source(tmp_path / "a.npz", targets="labels")
    np.testing.assert_array_equal(source.targets, LABELS)
    assert source.classes == ("0", "1", "2")


def test_numbers() -> None:
    for y in (LABELS, LABELS.astype("f8"), LABELS > 0):
        made = understood(y, "numbers", "y")
        assert made.dtype.kind == "f"
        np.testing.assert_array_equal(made, y)
    np.testing.assert_array_equal(understood(np.eye(3)[LABELS], None, "y"), np.eye(3)[LABELS])
    for dtype in ("f2", "f4", "f8"):  # float16 holds no number above 65504
        assert understood(LABELS.astype(dtype), "labels", "y").tolist() == LABELS.tolist()
    words = np.array(["a", "b"])
    assert understood(words, "labels", "y") is words


@pytest.mark.parametrize(
    ("y", "wanted", "message"),
    [
        (np.array([0.0, 0.5]), "labels", "y: 0.5 is a number, not the label of a class; for num"),
        (np.array([0.0, np.nan]), "labels", "y: nan is a number"),
        (np.array([0.0, 1e300]), "labels", "y: 1e+300 is a number"),
        (np.array(["a", "b"]), "numbers", "y: has words; numbers are wanted"),
    ],
)
def test_refusals(y: np.ndarray, wanted: TargetKind, message: str) -> None:
    with pytest.raises(FaltungError, match=f"^{re.escape(message)}"):
        understood(y, wanted, "y")


def test_maps_are_no_rows_of_classes(tmp_path: Path) -> None:
    assert is_one_hot(np.eye(4)) and not is_one_hot(np.ones((2, 2)))
    assert not is_one_hot(np.array([["1", "0"]]))
    y = np.eye(4, dtype=int)
    assert understood(y, "labels", "y", maps=True) is y
    # A label for each of four positions, or one of four classes: nobody can know.
    np.savez(tmp_path / "a.npz", x=np.ones((4, 1, 4)), y=y)
    with pytest.raises(ValueError, match=r"a\.npz: y\.shape=\(4, 4\): may be one of 4 classes"):
        open_source(tmp_path / "a.npz")
    # Maps that were stored as floats.
    np.savez(tmp_path / "a.npz", x=np.ones((4, 1, 6, 6)), y=np.tile([0.0, 1.0], (4, 6, 3)))
    source = open_source(tmp_path / "a.npz", targets="labels")
    assert source.targets.shape == (4, 6, 6) and source.targets.dtype == np.int64


def test_numbers_too_large_for_float32(recwarn: pytest.WarningsRecorder) -> None:
    y = np.array([[0.0], [1e39]])
    with pytest.raises(FaltungError, match=r"^y as float32: sample 1 contains an infinite value"):
        as_float32(y, "y")
    assert not recwarn.list
