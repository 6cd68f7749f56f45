"""`faltung train`: what it says of another length, of transfer, metrics and nothing held out."""

import re
from pathlib import Path

import numpy as np
import pytest
from runs import shapes, tensors

from faltung.cli.main import main

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("elsewhere")


def refused(capsys: Captured, *words: object) -> str:
    """What `train` says when it refuses, on one line."""
    capsys.readouterr()
    assert main(["train", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def test_another_length_is_said(data: Path, tmp_path: Path, capsys: Captured) -> None:
    assert (
        main(["train", str(data), "--epochs", "2", "--net=lenet5", "--batch=32", "--out", "run"])
        == 0
    )
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--epochs", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = "epochs 2 -> 4: one_cycle over all 4 steps, from step 2 on; lr 0.00244 -> 0.00244"
    assert said in lines
    assert (
        "the weights will be those neither of a run of 2 from the start nor of 4; --resume still "
        "repeats them bit for bit"
    ) in lines
    assert main(["train", "--resume", "run"]) == 0
    assert "epochs: 2 until step 2, then 4" in capsys.readouterr().out.splitlines()
    assert "--epochs 3: run has finished epoch 4: must be at least 4" in refused(
        capsys, "--resume", "run", "--epochs", 3
    )


def test_nothing_held_out(data: Path, capsys: Captured) -> None:
    assert main(["train", str(data), "--held-out=0", "--epochs=2", "--out=run"]) == 0
    out = capsys.readouterr().out
    assert "trained on all 40 samples, nothing held out: the last weights are kept\n" in out
    assert "best" not in out and "val " not in out
    assert re.search(
        r"weights of epoch 2, the last \(nothing held out\); in training: accuracy .*%, loss ", out
    )
    assert main(["evaluate", "run"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "faltung evaluate: run: has held nothing out, by --held-out 0: give the data to evaluate "
        "on\n"
    )
    assert main(["evaluate", "run", str(data)]) == 0


def test_transfer(data: Path, capsys: Captured) -> None:
    x, _ = shapes(60, seed=3)
    np.savez("three.npz", x=x, y=np.arange(60) % 3)
    assert main(["train", str(data), "--epochs=1", "--net=lenet5", "--out=old"]) == 0
    words = ["three.npz", "--from", "old", "--freeze=conv1", "--freeze=conv2", "--epochs=1"]
    assert main(["train", *words, "--out=new"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "from old: weights of 4 layers; initialised anew: linear3" in lines
    assert "frozen: conv1, conv2 (2,572 of 20,791 parameters)" in lines
    old, new = (tensors(Path(name) / "best.safetensors") for name in ("old", "new"))
    assert old["conv2.weight"] == new["conv2.weight"] and old["conv1.bias"] == new["conv1.bias"]
    assert old["linear1.weight"] != new["linear1.weight"]
    assert "last.safetensors: " in refused(capsys, "three.npz", "--from", "new/last.safetensors")


def test_a_metric_of_its_own(data: Path, capsys: Captured) -> None:
    words = ["--metric=f1", "--class-weight=balanced", "--sampler=balanced", "--epochs=2"]
    assert main(["train", str(data), *words, "--out=run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "class weights: 0 1, 1 1" in lines
    found = re.search(r"best weights on 8 held-out samples: f1 (0\.\d{4}), accuracy", lines[-2])
    assert found is not None and all("  val f1 0." in line for line in lines if "epoch " in line)
    assert main(["evaluate", "run"]) == 0
    assert f"f1        {found[1]}" in capsys.readouterr().out
    assert main(["evaluate", "run", "--metric=auc", "--metric=mcc"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("samples", "loss", "accuracy", "auc", "mcc")
    ]
    assert main(["evaluate", "run", "--metric=r2"]) == 2
    assert "--metric=r2: does not apply to labels" in capsys.readouterr().err
