"""What is recognised, and what is said of the rest."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data.open import NAMED, READERS, open_source
from faltung.data.options import Options


def test_names_and_files_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(open_source("digits")) == 1797
    with pytest.raises(ValueError, match="digits: has no folders"):
        open_source("./digits")
    with pytest.raises(ValueError, match="digits: has no folders"):
        open_source(Path("digits"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"size": 28}, "data=digits: has (8, 8), not (28, 28)"),
        ({"channels": 3}, "data=digits: has 1, not 3"),
        ({"kind": "series"}, "data=digits: has picture, not series"),
        ({"classes": ["a"]}, "data=digits: has ('0'"),
        ({"size": "8x8"}, "size='8x8'"),
        ({"size": 0}, "size=0: must be at least 1"),
        ({"size": ()}, "size=(): must be at least 1"),
        ({"channels": 0}, "channels=0"),
        ({"kind": "film"}, "kind='film': must be one of picture, series"),
        ({"strict": 1}, "strict=1: must be True or False"),
        ({"classes": "ab"}, "classes: must be a sequence of str"),
    ],
)
def test_options(more: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        open_source("digits", **more)
    assert len(open_source("digits", size=8, channels=1, kind="picture", strict=True)) == 1797


def test_options_from_arrays() -> None:
    assert Options(size=np.array([4, 5]), channels=np.int64(3)).space(2) == (4, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["nowhere", "a\0b", "x" * 5000, "a\x1b[2J\n", "digit"])
def test_what_is_not_there(data: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file or folder, nor a name") as error:
        open_source(data)
    assert str(error.value).isprintable() and len(str(error.value)) < 400


def test_what_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x02}q\0.")
    with pytest.raises(ValueError, match=r"model.pt: is none of: a folder with train/ .*; IDX"):
        open_source(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be a file, not a pipe"):
        open_source(tmp_path / "pipe")
    with pytest.raises(ValueError, match="must be a file, not a pipe"):
        open_source("/dev/zero")
    with pytest.raises(TypeError, match="data=int"):
        open_source(3)  # type: ignore[arg-type]


def test_a_folder_that_is_here(two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two_classes)
    assert open_source(".").names[0] == "cat/a.png"
    monkeypatch.chdir(two_classes / "cat")
    assert open_source("..").names[0] == "cat/a.png"


def test_the_table() -> None:
    assert len({reader.what for reader in READERS}) == len(READERS)
    assert "digits" in NAMED
