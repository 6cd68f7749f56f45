"""`faltung evaluate`: the numbers that training printed; other data; what it refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import shapes

from faltung import Model
from faltung.cli.main import main
from faltung.data.open import open_source
from faltung.data.source import split
from faltung.train.run_folder import RunFolder

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]
KINDS = ("digits", "series", "volumes", "text", "numbers", "maps")


def evaluated(capsys: Captured, *words: object) -> dict[str, float]:
    capsys.readouterr()
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_the_best_epoch(kind: str, trained: Trained, capsys: Captured) -> None:
    run, data = trained(kind)
    folder = RunFolder.open(run)
    best = folder.load_best()
    assert best is not None
    row = folder.read_metrics()[best.position["best_epoch"]]
    found = evaluated(capsys, run)
    assert found["loss"] == row.val_loss
    assert found.get("accuracy") == row.val_accuracy
    assert found["samples"] == len(split(open_source(data), 0.2, 0)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_other_data(kind: str, trained: Trained, capsys: Captured, tmp_path: Path) -> None:
    run, data = trained(kind)
    every = evaluated(capsys, run, data)
    assert every["samples"] == len(open_source(data)) and every["loss"] > 0
    assert ("accuracy" in every) == (kind != "numbers")


def test_a_part_with_fewer_classes(trained: Trained, capsys: Captured, tmp_path: Path) -> None:
    run, data = trained("digits")
    digits = open_source(data)
    chosen = np.flatnonzero(digits.targets == 7)[:20]
    model_says = trained_model(run).predict(digits.read(chosen)).argmax(1)
    for x in (digits.read(chosen), (16 * digits.read(chosen)).astype(np.uint8)):
        np.savez(tmp_path / "sevens.npz", x=x, y=np.full(20, 7))
        found = evaluated(capsys, run, tmp_path / "sevens.npz")
        assert found["samples"] == 20 and found["accuracy"] == (model_says == 7).mean()


def trained_model(run: Path) -> Model:
    from faltung.train.run_model import load_model

    return load_model(run)[0]


def test_words_for_people(trained: Trained, capsys: Captured) -> None:
    run, _ = trained("digits")
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["samples", "loss", "accuracy"]
    assert lines[0].split()[1] == "359" and lines[2].endswith("%")


def refused(capsys: Captured, *words: object) -> str:
    """What a command says when it refuses, on one line."""
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"faltung {words[0]}: ")
    assert said.err.count("\n") == 1
    return said.err


def test_data_that_do_not_fit(trained: Trained, capsys: Captured, tmp_path: Path) -> None:
    run, _ = trained("digits")
    x, y = shapes(12, (9, 9))
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert "x: has shape (12, 1, 9, 9), must be (1, 8, 8)" in refused(
        capsys, "evaluate", run, tmp_path / "a.npz"
    )
    x, y = shapes(12)
    np.savez(tmp_path / "a.npz", x=x, y=y + 9)
    assert "has the label '10', which is not one of the classes" in refused(
        capsys, "evaluate", run, tmp_path / "a.npz"
    )
    np.savez(tmp_path / "a.npz", x=x, y=y * 0.5)
    assert "y: 0.5 is a number, not the label of a class" in refused(
        capsys, "evaluate", run, tmp_path / "a.npz"
    )
    numbers, _ = trained("numbers")
    np.savez(tmp_path / "a.npz", x=x, y=y.astype(str))
    assert "y: has words; numbers are wanted" in refused(
        capsys, "evaluate", numbers, tmp_path / "a.npz"
    )
    assert "no such file" in refused(capsys, "evaluate", run, tmp_path / "none.npz")


def test_data_that_have_changed(trained: Trained, capsys: Captured, tmp_path: Path) -> None:
    run, _ = trained("digits")
    text = (run / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(re.sub('digest = ".*"', 'digest = "0"', text))
    for name in ("best.safetensors", "last.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert "its data have changed; give the data" in refused(capsys, "evaluate", tmp_path)
    assert evaluated(capsys, tmp_path, "digits")["samples"] == 1797


def test_what_is_no_run(trained: Trained, capsys: Captured, tmp_path: Path) -> None:
    assert "config.toml" in refused(capsys, "evaluate", tmp_path, "digits")
    assert "no such file" in refused(capsys, "evaluate", tmp_path / "none", "digits")
    run, _ = trained("digits")
    (tmp_path / "config.toml").write_text(
        (run / "config.toml").read_text().replace("format = 2", "format = 9", 1)
    )
    assert "format=9" in refused(capsys, "evaluate", tmp_path, "digits")
    (tmp_path / "config.toml").write_bytes((run / "config.toml").read_bytes())
    assert "has no weights yet" in refused(capsys, "evaluate", tmp_path, "digits")
    (tmp_path / "best.safetensors").write_bytes(b"\0" * 100)
    assert "best.safetensors: not a whole safetensors file" in refused(
        capsys, "evaluate", tmp_path, "digits"
    )


def test_the_column_of_labels(capsys: Captured, tmp_path: Path) -> None:
    """A file may call it otherwise than the training; what is said names options that there are."""
    lines = [f"{i % 2},{i % 2 + i / 20},{-i}" for i in range(12)]
    for name, header in (("a", "label,a,b"), ("b", "kind,a,b")):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *lines]))
    run = tmp_path / "run"
    words = ["train", str(tmp_path / "a.csv"), "--kind=table", "--epochs=1", f"--out={run}"]
    assert main(words) == 0
    capsys.readouterr()
    wanted = evaluated(capsys, run, tmp_path / "a.csv")
    assert "choose it with label (--label NAME)" in refused(
        capsys, "evaluate", run, tmp_path / "b.csv"
    )
    assert evaluated(capsys, run, tmp_path / "b.csv", "--label=kind") == wanted
    assert "--label=other: b.csv has no such column; it has kind, a, b" in refused(
        capsys, "evaluate", run, tmp_path / "b.csv", "--label=other"
    )
    (tmp_path / "c.csv").write_text("label,a,b\n0.5,1,2\n")
    said = refused(capsys, "evaluate", run, tmp_path / "c.csv")
    assert "0.5 is a number, not the label of a class" in said and "--loss" not in said
