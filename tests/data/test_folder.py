"""Folders with a class a folder: order, what is left out, links, and what is remembered."""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from faltung.data import folder
from faltung.data.folder import Broken, FileSource
from faltung.data.open import open_source
from faltung.data.options import Options

GREY = np.zeros((6, 5), np.uint8)


def test_classes_and_names(two_classes: Path) -> None:
    source = open_source(two_classes)
    assert source.classes == ("cat", "dog")
    assert source.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.names[3] == "dog/d.png" and source.skipped == () and source.lazy


def test_classes_that_are_numbers_are_sorted_as_such(save, tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        save(f"{name}/a.png", GREY)
    assert open_source(tmp_path).classes == ("1", "9", "10")


def test_classes_of_a_run(two_classes: Path) -> None:
    source = open_source(two_classes, classes=["dog", "fish", "cat"])
    assert source.classes == ("dog", "fish", "cat")
    assert source.targets.tolist() == [2, 2, 2, 0, 0, 0]
    with pytest.raises(
        ValueError, match="has the label 'dog', which is not one of the classes cat"
    ):
        open_source(two_classes, classes=["cat"])


def test_a_class_is_missing(two_classes: Path) -> None:
    (two_classes / "fish").mkdir()
    with pytest.raises(ValueError, match="class 'fish' is empty"):
        open_source(two_classes)


def test_one_class_or_none(save, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no folders; it needs one folder of files for each"):
        open_source(tmp_path)
    save("cat/a.png", GREY)
    with pytest.raises(ValueError, match="has the folder 'cat' alone; it needs one folder"):
        open_source(tmp_path)
    assert len(open_source(tmp_path, classes=["cat", "dog"])) == 1


def test_parts_of_a_data_set(save, tmp_path: Path) -> None:
    for part in ("north", "south"):
        for name in ("cat", "dog"):
            save(f"{part}/{name}/a.png", GREY)
    with pytest.raises(ValueError, match="'north' holds folders, not files; if it is one"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "north")) == 2


def test_what_hides_is_not_looked_at(two_classes: Path) -> None:
    (two_classes / ".git").mkdir()
    (two_classes / "__MACOSX").mkdir()
    (two_classes / "cat" / ".DS_Store").write_bytes(b"x")
    (two_classes / ".x.png").write_bytes(b"x")
    assert len(open_source(two_classes, strict=True)) == 6


def test_what_is_left_out_is_named(two_classes: Path) -> None:
    (two_classes / "README.txt").write_text("about")
    (two_classes / "cat" / "Thumbs.db").write_bytes(b"x" * 100)
    (two_classes / "cat" / "more").mkdir()
    (two_classes / "dog" / "empty.png").write_bytes(b"")
    (two_classes / "dog" / "gone.png").symlink_to(two_classes / "nowhere")
    (two_classes / "dog" / "round.png").symlink_to(two_classes / "dog" / "round.png")
    os.mkfifo(two_classes / "dog" / "pipe.png")
    source = open_source(two_classes)
    assert len(source) == 6
    assert {line.split(":")[0]: line.split(": ")[1].split(",")[0] for line in source.skipped} == {
        "README.txt": "lies outside the folders of the classes",
        "cat/Thumbs.db": "is no picture (PNG",
        "cat/more": "is a folder within a class",
        "dog/empty.png": "the file is empty",
        "dog/gone.png": "cannot be reached",
        "dog/round.png": "cannot be reached",
        "dog/pipe.png": "must be a file",
    }


@pytest.mark.parametrize("name", ["README.txt", "cat/Thumbs.db", "dog/empty.png"])
def test_strict(name: str, two_classes: Path) -> None:
    (two_classes / name).write_bytes(b"x" if "empty" not in name else b"")
    with pytest.raises(ValueError, match=f"^{re.escape(name)}: "):
        open_source(two_classes, strict=True)


def test_links_that_lead_out(save, tmp_path: Path) -> None:
    data = tmp_path / "data"
    secret = save("secret/a.png", GREY)
    for name in ("cat", "dog"):
        save(f"data/{name}/a.png", GREY)
    link = data / "cat" / "b.png"
    link.symlink_to(secret)
    with pytest.raises(ValueError, match=r"cat/b.png: is a link that leads out of data"):
        open_source(data)
    link.unlink()
    (data / "fish").symlink_to(secret.parent)
    with pytest.raises(ValueError, match="fish: is a link that leads out of data"):
        open_source(data)


def test_links_within(two_classes: Path) -> None:
    (two_classes / "cat" / "z.png").symlink_to("../dog/d.png")
    (two_classes / "loop").symlink_to(two_classes)
    with pytest.raises(ValueError, match=r"'loop' holds folders|class 'loop'"):
        open_source(two_classes)
    (two_classes / "loop").unlink()
    assert len(open_source(two_classes)) == 7


def test_a_link_to_the_whole_folder_is_the_users_own(two_classes: Path) -> None:
    link = two_classes.parent / f"{two_classes.name}-link"
    link.symlink_to(two_classes)
    assert len(open_source(link)) == 6


def test_names_do_not_reach_a_terminal(save, tmp_path: Path) -> None:
    for name in ("cat\x1b[31m\n", "dog"):
        save(f"{name}/\x07a\n.png", GREY)
        (tmp_path / name / "bad\r.png").write_bytes(b"bad")
    source = open_source(tmp_path)
    assert source.classes is not None
    said = [*source.names, *source.classes, *source.skipped]
    assert all(line.isprintable() for line in said)
    assert source.names[0] == "cat\\x1b[31m\\n/\\x07a\\n.png"
    assert source.read([0, 1]).shape == (2, 1, 6, 5)


def test_a_class_that_loses_all_its_files(save, tmp_path: Path) -> None:
    save("cat/a.png", GREY)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"class dog has no picture that can be read; dog/a.png"):
        open_source(tmp_path)


def test_files_are_decoded_once_if_they_are_few(two_classes: Path) -> None:
    source = open_source(two_classes)
    first = source.read([4, 0, 4])
    for path in two_classes.glob("*/*"):
        path.unlink()
    np.testing.assert_array_equal(source.read([4, 0, 4]), first)
    first[:] = 9
    assert source.read([4])[0, 0, 0, 0] == np.float32(40) / np.float32(255)


def test_files_are_decoded_anew_if_they_are_many(
    two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_KEPT_BYTES", 0)
    source = open_source(two_classes)
    assert isinstance(source, FileSource) and source._kept is None
    assert source.dtype == np.uint8 and source.units.white == source.units.scale == 255
    np.testing.assert_array_equal(source.stored([3])[0], np.full((1, 6, 5), 30, np.uint8))
    first = source.read([3, 5, 0])
    np.testing.assert_array_equal(source.read([0, 3]), first[[2, 0]])
    assert first[:, 0, 2, 2].tolist() == [np.float32(v) / np.float32(255) for v in (30, 200, 0)]


def test_threads_change_nothing(two_classes: Path) -> None:
    """What is skipped, what is raised and the order do not depend on who is first."""
    for name in ("cat/0.png", "cat/x.png", "dog/x.png"):
        (two_classes / name).write_bytes(b"bad")

    def look(path: Path, name: str) -> str:
        time.sleep(0.01 * (hash(name) % 3))
        if path.read_bytes() == b"bad":
            raise Broken("is bad")
        return name

    listings = [folder.walk(two_classes, Options()) for _ in range(2)]
    one, three = (
        folder.examine_all(found, look, "picture", threads)
        for found, threads in zip(listings, (1, 3), strict=True)
    )
    assert one == three == [f"{path.parent.name}/{path.name}" for path in listings[0].files]
    assert listings[0].skipped == listings[1].skipped and len(listings[0].skipped) == 3
    with pytest.raises(ValueError, match=r"^cat/0.png: is bad"):
        folder.examine_all(folder.walk(two_classes, Options(strict=True)), look, "picture", 3)


def test_what_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = folder.Kept()
    for name in "ab":
        kept.put(Path(name), np.zeros(10, np.uint8))
    assert len(list(kept.taken([Path("a"), Path("b")]))) == 2
    monkeypatch.setattr(folder, "MAX_KEPT_BYTES", 19)
    kept = folder.Kept()
    for name in "ab":
        kept.put(Path(name), np.zeros(10, np.uint8))
    assert list(kept.taken([Path("a"), Path("b")])) == []


@pytest.mark.parametrize("size", [10**6, (10**6, 10**6), 10**9])
def test_a_size_that_no_memory_holds_is_not_tried(size: object, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"no picture, and never opened")
    with pytest.raises(MemoryError, match=r"^size=.*: one sample needs .* of memory"):
        open_source(tmp_path, size=size)
