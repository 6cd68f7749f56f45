"""Runs that are moved: alone, together with their data, and where other data lie now."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import rows, shapes

from faltung.cli.main import main
from faltung.train.places import candidates, check_relative, with_relative
from faltung.train.run_dataset import held_out
from faltung.train.run_folder import RunFolder

SMALL = ["--net=lenet5", "--batch=16"]


def data(path: Path, count: int = 24, seed: int = 0) -> Path:
    x, y = shapes(count, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=x, y=y)
    return path


def test_paths_beside_and_above(tmp_path: Path) -> None:
    path = data(tmp_path / "a/data.npz")
    found = with_relative({"path": str(path), "samples": 1}, tmp_path / "b/runs/one")
    assert found == {"path": str(path), "samples": 1, "relative": "../../../a/data.npz"}
    assert with_relative({"path": "digits"}, tmp_path) == {"path": "digits"}
    assert [each["path"] for each in candidates(found, tmp_path / "b/runs/one")] == [str(path)]
    shutil.copytree(tmp_path / "a", tmp_path / "c/a")
    near = [each["path"] for each in candidates(found, tmp_path / "c/b/runs/two")]
    assert near == [str(tmp_path / "c/a/data.npz"), str(path)]
    with pytest.raises(ValueError, match=r"config: from.relative=3: must be str"):
        check_relative({"relative": 3}, "config", "from")


def test_moved_together_alone_and_beside_other_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, val = data(tmp_path / "a/data.npz"), data(tmp_path / "a/val.npz", 8, 1)
    words = ["train", str(path), f"--val={val}", *SMALL, "--epochs=1"]
    assert main([*words, f"--out={tmp_path / 'a/runs/one'}"]) == 0
    assert "best weights on 8 held-out samples" in capsys.readouterr().out
    shutil.copytree(tmp_path / "a/runs/one", tmp_path / "x/y/alone")
    shutil.move(tmp_path / "a", tmp_path / "moved/b")
    moved = tmp_path / "moved/b/runs/one"
    assert main(["train", f"--resume={moved}", "--epochs=2"]) == 0  # data moved with it
    shutil.move(tmp_path / "moved/b", tmp_path / "a")
    data(tmp_path / "x/data.npz", 30), data(tmp_path / "x/val.npz", 30)  # where "alone" would look
    assert main(["train", f"--resume={tmp_path / 'x/y/alone'}", "--epochs=2"]) == 0
    assert rows(tmp_path / "x/y/alone") == rows(tmp_path / "a/runs/one")
    assert len(held_out(RunFolder.open(tmp_path / "x/y/alone"))) == 8
    (tmp_path / "a/val.npz").unlink()
    assert main(["train", f"--resume={tmp_path / 'x/y/alone'}", "--epochs=3"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_moved_start_and_teacher(tmp_path: Path) -> None:
    path = data(tmp_path / "a/data.npz")
    first = tmp_path / "a/runs/one"
    assert main(["train", str(path), *SMALL, "--epochs=1", f"--out={first}"]) == 0
    again = ["train", str(path), *SMALL, "--epochs=1", f"--out={tmp_path / 'a/runs/two'}"]
    assert main([*again, f"--from={first}", f"--teacher={first}"]) == 0
    shutil.move(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/runs/two/last.safetensors").unlink()  # so that it starts again
    assert main(["train", f"--resume={tmp_path / 'b/runs/two'}"]) == 0


def test_val_and_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data(tmp_path / "data.npz")
    assert main(["train", str(path), f"--val={path}"]) == 2
    assert "is the data themselves" in capsys.readouterr().err
    assert main(["train", str(path), "--val=digits", "--held-out=0.1"]) == 2
    assert "--held-out=0.1: --val digits says what is held out" in capsys.readouterr().err
