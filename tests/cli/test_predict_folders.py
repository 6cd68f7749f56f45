"""`faltung predict` of folders: a table in a file, copies by class, and names that are hostile."""

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faltung.cli.given import Given, given
from faltung.cli.main import main
from faltung.cli.sorting import Sorted
from faltung.data import open_source
from faltung.train.run_model import load_model

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve digits in a folder with subfolders."""
    x = open_source("digits").read(range(12))
    root = tmp_path / "photos"
    for i, each in enumerate(x):
        path = root / (f"{i}.png" if i < 6 else f"more/deep/{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * each[0]).round().astype(np.uint8)).save(path)
    return root


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_folder_as_a_table(
    photos: Path, trained: Trained, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = trained("digits")
    capsys.readouterr()
    monkeypatch.chdir(photos.parent)
    (photos / "Thumbs.db").write_bytes(b"x")
    (photos / ".hidden").write_bytes(b"x")
    assert main(["predict", str(run), "photos", "--csv=out.csv"]) == 0
    assert capsys.readouterr().out == "out.csv: 12 rows\n"
    head, *rows = table(photos.parent / "out.csv")
    assert head == ["file", "class", *map(str, range(10))]
    assert [row[0] for row in rows][:3] == ["photos/0.png", "photos/1.png", "photos/2.png"]
    assert [row[0] for row in rows][-1] == "photos/more/deep/11.png"
    model = load_model(run)[0]
    want = model.predict(open_source("digits").read(range(12)))
    np.testing.assert_allclose(np.array([row[2:] for row in rows], np.float32), want, atol=0.02)
    before = (photos.parent / "out.csv").read_bytes()
    assert main(["predict", str(run), "photos", "--csv", "out.csv"]) == 2
    assert "out.csv: already exists; --overwrite replaces it" in capsys.readouterr().err
    assert main(["predict", str(run), "photos", "--csv=out.csv", "--overwrite"]) == 0
    assert (photos.parent / "out.csv").read_bytes() == before
    assert main(["predict", str(run), "photos", "--csv=out.txt"]) == 2
    assert "--csv=out.txt: must end in .csv" in capsys.readouterr().err
    assert os.listdir(photos.parent) == os.listdir(".") and len(os.listdir(".")) == 2


def test_a_copy_of_the_tree_by_class(photos: Path, trained: Trained, capsys: Captured) -> None:
    run, _ = trained("digits")
    bytes_ = {path: path.read_bytes() for path in photos.rglob("*.png")}
    words = ["predict", str(run), str(photos), f"--sort={photos / 'sorted'}"]
    assert main(words) == 0
    assert "12 files copied" in capsys.readouterr().out
    copies = list((photos / "sorted").rglob("*.png"))
    assert len(copies) == 12 and {path: path.read_bytes() for path in bytes_} == bytes_
    for copy in copies:
        label, *under = copy.relative_to(photos / "sorted").parts
        assert label in "0123456789" and copy.read_bytes() == bytes_[photos.joinpath(*under)]
    copies[0].write_bytes(b"another")
    assert main(words) == 1  # what is there already is not looked into, nor replaced
    said = capsys.readouterr()
    assert "already exists, and is another file" in said.err
    assert "0 files copied, 11 were there already" in said.out
    assert copies[0].read_bytes() == b"another"


def test_several_samples_and_numbers_are_not_sorted(
    tmp_path: Path, trained: Trained, capsys: Captured
) -> None:
    run, _ = trained("digits")
    np.save(tmp_path / "two.npy", np.zeros((2, 1, 8, 8)))
    assert main(["predict", str(run), str(tmp_path / "two.npy"), f"--sort={tmp_path / 'out'}"]) == 1
    assert "holds several samples, so it is not copied" in capsys.readouterr().err
    run, data = trained("numbers")
    assert main(["predict", str(run), data, f"--sort={tmp_path / 'out'}"]) == 2
    assert "needs a network that names one class for each file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["..", "a/b", "", "a\\b", "c:"])
def test_classes_that_are_no_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        Sorted(str(tmp_path / "out"), ["good", name])
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="names of POSIX")
def test_hostile_names(photos: Path, trained: Trained, capsys: Captured) -> None:
    run, _ = trained("digits")
    good = (photos / "0.png").read_bytes()
    names = ["=1+1.png", "new\nline.png", 'a,b".png', "\x1b[2J.png", "l" * 240 + ".png"]
    for name in names:
        (photos / name).write_bytes(good)
    os.symlink("/etc/passwd", photos / "link.png")
    os.symlink(photos, photos / "circle")
    os.symlink(photos / "nothing", photos / "broken.png")
    os.symlink(photos / "1.png", photos / "inside.png")
    os.mkfifo(photos / "pipe.png")
    (photos / "empty.png").touch()
    out = photos.parent / "out.csv"
    sorted_ = photos.parent / "sorted"
    assert main(["predict", str(run), str(photos), f"--csv={out}", f"--sort={sorted_}"]) == 1
    err = capsys.readouterr().err
    bad = ("link.png", "broken.png", "pipe.png", "empty.png")
    assert len(err.splitlines()) == len(bad) and all(name in err for name in bad)
    _, *rows = table(out)
    assert len(rows) == 12 + len(names) + 1  # a link that stays inside is a file as any other
    called = {row[0].removeprefix(str(photos)) for row in rows}
    assert {"/=1+1.png", "/new\\nline.png", '/a,b".png', "/\\x1b[2J.png"} <= called
    assert f"/{names[-1]}" in called  # whole, however long
    assert {path.name for path in sorted_.rglob("*.png")} >= set(names)


def test_one_bad_file_in_many(tmp_path: Path, trained: Trained, capsys: Captured) -> None:
    run, _ = trained("digits")
    good = np.zeros((8, 8), np.uint8)
    Image.fromarray(good).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for i in range(999):
        (tmp_path / f"{i}.png").write_bytes(data)
    (tmp_path / "500.png").write_bytes(data[:40])
    capsys.readouterr()
    assert main(["predict", str(run), str(tmp_path), "--csv"]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1000 and "500.png" in said.err


def test_what_is_given(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    failed: list[str] = []

    def note(path: str, error: BaseException) -> None:
        failed.append(str(error))

    found = list(given([str(tmp_path), "x.npy"], note))
    assert [each.under for each in found] == ["2.png", "10.png", "b/1.png", "x.npy"]
    assert found[-1] == Given("x.npy", "x.npy") and not failed
    assert list(given([str(tmp_path / "empty")], note)) == []
    assert failed == [f"{tmp_path / 'empty'}: is a folder without files"]
    assert [f.under for f in given([str(tmp_path)], note, leave_out=[str(tmp_path / "b")])] == [
        "2.png",
        "10.png",
    ]
