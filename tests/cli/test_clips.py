"""A network for clips: trained on folders of frames, resumed, and predicting clips."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from faltung.cli.main import main

Captured = pytest.CaptureFixture[str]


def clips(root: Path, each: int = 3) -> Path:
    for label in ("left", "right"):
        for clip in range(each):
            folder = root / label / f"clip {clip}"
            folder.mkdir(parents=True)
            for i in range(6):
                image = Image.new("L", (16, 16), 10 * clip)
                at = i if label == "right" else 15 - i
                image.paste(255, (at, 0, at + 1, 16))
                image.save(folder / f"{i + 8}.png")
    return root


def test_a_run_on_clips(tmp_path: Path, capsys: Captured) -> None:
    root = clips(tmp_path / "data/train")
    clips(tmp_path / "data/val", 1)
    words = ["train", str(tmp_path / "data"), "--frames=4", "--net=lenet5", "--batch=2"]
    assert main([*words, "--epochs=1", f"--out={tmp_path / 'run'}"]) == 0
    out = capsys.readouterr().out
    assert "6 clips, 1 channel, 4x16x16" in out and "2 held out as the data say" in out
    assert main(["train", f"--resume={tmp_path / 'run'}", "--epochs=2"]) == 0
    assert main(["evaluate", str(tmp_path / "run"), str(root)]) == 0
    (root / "left/notes.npz").write_bytes(b"x")
    capsys.readouterr()
    run, table, sorted_ = (str(tmp_path / name) for name in ("run", "out.csv", "sorted"))
    assert main(["predict", run, str(root), f"--csv={table}", f"--sort={sorted_}"]) == 1
    assert "notes.npz" in capsys.readouterr().err
    with open(table, newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0].removeprefix(str(root)) for row in rows] == [
        f"/{label}/clip {clip}" for label in ("left", "right") for clip in range(3)
    ]
    assert len(list(Path(sorted_).rglob("*.png"))) == 36
