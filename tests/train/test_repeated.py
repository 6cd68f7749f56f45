"""The command that repeats a run says what differs from the usual, and makes the same run."""

import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.train.repeated import command

X = np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32)


def said(run: Path, samples: int = 32) -> list[str]:
    config = tomllib.loads((run / "config.toml").read_text())
    return shlex.split(command(config, samples))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--epochs=2", "--flip", "--rotate=12.5", "--metrics=f1,auc", "--ema=0.9"],
        ["--net=lenet5", "--set=paper=true", "--optimizer=sgd", "--lr=0.02", "--freeze=conv1"],
        ["--held-out=0.5", "--class-weight=1,2"],
    ],
)
def test_it_makes_the_same_run(words: list[str], tmp_path: Path) -> None:
    data = tmp_path / "a b.npz"
    np.savez(data, x=X, y=np.arange(40) % 2)
    usual = [] if any(word.startswith("--epochs") for word in words) else ["--epochs=1"]
    assert main(["train", str(data), *usual, *words, "--out", str(tmp_path / "one")]) == 0
    again = said(tmp_path / "one", 20 if "--held-out=0.5" in words else 32)
    assert again[:3] == ["faltung", "train", str(data)]
    assert main([*again[1:], "--out", str(tmp_path / "two")]) == 0
    one, two = (tmp_path / name / "config.toml" for name in ("one", "two"))
    assert one.read_text() == two.read_text()


def test_what_is_usual_is_not_said(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=X, y=np.arange(40) % 2)
    assert main(["train", str(data), "--epochs=1", "--out", str(tmp_path / "run")]) == 0
    assert said(tmp_path / "run")[3:] == ["--net", "convnet", "--epochs=1"]
