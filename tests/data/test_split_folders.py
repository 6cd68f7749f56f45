"""Folders that are split already, and other samples to hold out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faltung.data import open_source
from faltung.data.like import Like
from faltung.data.split_folders import parts_of


def pictures(
    root: Path, classes: str = "ab", count: int = 2, size: int = 8, value: int = 0
) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("L", (size, size), value + i).save(root / name / f"{i}.png")
    return root


def test_what_is_held_out_is_read_like_the_rest(tmp_path: Path) -> None:
    pictures(tmp_path / "Train", "abc", 3)
    pictures(tmp_path / "valid", "ac", 2, value=100)
    (tmp_path / "README.txt").write_text("x")
    (tmp_path / "valid/a/bad.png").write_text("no picture")
    source = open_source(tmp_path)
    held = source.held
    assert (len(source), len(held), source.classes) == (9, 4, ("a", "b", "c"))
    assert held.classes == source.classes and held.targets.tolist() == [0, 0, 2, 2]
    assert held.read([0]).max() == np.float32(100 / 255)
    assert [line.partition(":")[0] for line in source.skipped] == ["valid/a/bad.png", "README.txt"]


@pytest.mark.parametrize(
    ("parts", "held", "unseen"),
    [
        (("train", "val", "test"), "val", "test"),
        (("training", "validation"), "validation", "validation"),
        (("train", "test"), "test", "test"),
        (("train",), None, "train"),
    ],
)
def test_names_of_parts(
    parts: tuple[str, ...], held: str | None, unseen: str, tmp_path: Path
) -> None:
    for count, part in enumerate(parts, 1):
        pictures(tmp_path / part, count=count)
    found = parts_of(tmp_path)
    assert found is not None and (found.held and found.held.name) == held
    other = open_source(tmp_path, like=Like("picture", (1, 8, 8)), classes=("a", "b"))
    assert len(other) == 2 * (1 + parts.index(unseen))


def test_what_is_no_split(tmp_path: Path) -> None:
    pictures(tmp_path / "vehicles", ("train", "test"))
    assert open_source(tmp_path / "vehicles").classes == ("test", "train")
    pictures(tmp_path / "more/train"), pictures(tmp_path / "more/other")
    assert parts_of(tmp_path / "more") is None
    pictures(tmp_path / "both/val"), pictures(tmp_path / "both/valid")
    pictures(tmp_path / "both/train")
    with pytest.raises(ValueError, match="both: has val and valid, which are the same part"):
        open_source(tmp_path / "both")


def test_other_classes_and_sizes(tmp_path: Path) -> None:
    pictures(tmp_path / "train"), pictures(tmp_path / "val", "abc")
    with pytest.raises(ValueError, match="label 'c', which is not one of the classes a, b"):
        open_source(tmp_path)
    pictures(tmp_path / "large", size=9)
    with pytest.raises(ValueError, match=r"is 9x9, most|must be the same"):
        open_source(tmp_path / "train", val=tmp_path / "large")
    small = open_source(tmp_path / "train", val=tmp_path / "large", size=4)
    assert small.held.shape == (1, 4, 4)
    with pytest.raises(ValueError, match="is the data themselves"):
        open_source(tmp_path / "train", val=tmp_path / "large/../train")


def test_arrays_and_named_data(tmp_path: Path) -> None:
    x, y = np.full((4, 1, 8, 8), 255, np.uint8), [0, 1, 1, 0]
    np.savez(tmp_path / "val.npz", x=x, y=y)
    source = open_source("digits", val=tmp_path / "val.npz")
    assert len(source.held) == 4 and source.held.classes == source.classes
    np.savez(tmp_path / "a.npz", x=x.astype(float), y=y)
    source = open_source(tmp_path / "a.npz", val=tmp_path / "val.npz")
    assert len(source.held) == 4
    with pytest.raises(ValueError, match=r"val=.*: has samples of shape|has shape"):
        np.savez(tmp_path / "b.npz", x=x[..., :7], y=y)
        open_source(tmp_path / "a.npz", val=tmp_path / "b.npz")
