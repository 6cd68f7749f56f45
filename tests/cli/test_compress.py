"""`faltung compress`: every kind of run, what it prints, and what it refuses."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import shapes
from small_means import SMALL

from faltung.cli.main import main
from faltung.compress import measure, recipe
from faltung.compress.means import MEANS
from faltung.compress.recipe import Leaf
from faltung.train.run_model import load_model

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]
KINDS = ("digits", "series", "volumes", "text", "numbers", "maps")


@pytest.fixture(autouse=True)
def rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any network can be taken by a means that only rounds."""
    for name in list(MEANS):
        monkeypatch.delitem(MEANS, name)
    monkeypatch.setitem(MEANS, "palettes", SMALL["palettes"])
    monkeypatch.setattr(recipe, "LEAVES", (Leaf("palettes", 6, True, bits=1),))
    monkeypatch.setattr(measure, "ROUNDS", 1)


def said(capsys: Captured, *words: object) -> tuple[int, str, str]:
    """The status of the command and what it prints."""
    capsys.readouterr()
    status = main(["compress", *map(str, words), "--threads=1"])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run(kind: str, trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, _ = trained(kind)
    out = tmp_path / "small"
    status, text, err = said(capsys, run, "--drop=100", "--epochs=1", "--out", out, "--json")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(text)
    chosen = found["steps"][found["chosen"]]
    assert chosen["label"].startswith("palettes 6") and chosen["within"]
    assert chosen["bytes"] == (out / "best.safetensors").stat().st_size
    assert set(found["samples"]) == {"train", "choose", "report"}
    score = chosen["report"]
    assert score["low"] <= score["value"] <= score["high"]
    # The run says the same of itself.
    metric = {"numbers": "r2"}.get(kind, "accuracy")
    model, _ = load_model(out)
    assert metric in ("r2", "accuracy") and model.loss is not None
    assert main(["evaluate", str(out), "--json"]) == 0
    lines = list(csv.DictReader((out / "compress.csv").read_text().splitlines()))
    assert [int(line["number"]) for line in lines if line["chosen"] == "1"] == [found["chosen"]]
    page = (out / "compress.html").read_text()
    assert "<svg" in page and "http" not in re.sub(r"http-equiv", "", page)


def test_what_is_printed(trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, _ = trained("digits")
    status, text, _ = said(capsys, run, "--bytes=1M", "--epochs=1", "--out", tmp_path / "small")
    assert status == 0
    lines = text.splitlines()
    assert lines[0] == "lenet5 on digits: 1,438 samples train, 179 choose, 180 report"
    assert lines[1] == "limits: at most 1,000,000 bytes; fine-tuning: 1 epochs each"
    assert re.fullmatch(
        r" +0 +\d\d,\d{3} bytes +\d+,\d{3} MACs  .*s  lost +0\.00  as trained", lines[2]
    )
    assert lines[-1].startswith("table and picture: ")
    assert "is the best of the" in text and "samples that chose nothing: accuracy" in text
    again = said(capsys, run, "--bytes=1M", "--epochs=1", "--out", tmp_path / "small")
    assert again[0] == 0 and "is the best of the" in again[1]


def test_the_usual_folder(
    trained: Trained, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained("digits")[0], tmp_path / "runs" / "digits-001")
    monkeypatch.chdir(tmp_path)
    status, text, _ = said(capsys, "runs/digits-001/", "--epochs=1", "--drop=100")
    assert status == 0 and (tmp_path / "runs/digits-001-small/config.toml").is_file()
    assert "at most 100 points lost" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give RUN or --resume OUT"),
        (["--resume", "x", "--drop", "1"], "leave out --drop"),
        (["RUN", "--resume", "x"], "leave out RUN"),
        (["--resume", "RUN"], "holds no compression to resume"),
        (["RUN", "--drop", "-1"], "--drop -1: must be at least 0"),
        (["RUN", "--speed", "0"], "--speed 0: must be above 0"),
        (["RUN", "--epochs", "0"], "--epochs 0: must be at least 1"),
        (["RUN", "--x", "x"], "--x x: applies to DATA, which is not given"),
        (["RUN", "digits"], "digits: is what the run was trained on"),
        (["RUN", "nothing.npz"], "nothing.npz: no such file"),
        (["RUN", "nan.npz"], "nan.npz: x: sample 3 contains NaN"),
        (["nothing"], "nothing"),
    ],
)
def test_refused(
    words: list[str],
    message: str,
    trained: Trained,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = shapes(12)
    x[3, 0, 2, 2] = np.nan
    np.savez("nan.npz", x=x, y=y)
    run = trained("digits")[0]
    given = [str(run) if word == "RUN" else word for word in words]
    status, _, err = said(capsys, *given, *([] if "--resume" in words else ["--out=small"]))
    assert status == 2 and err.count("\n") == 1, err
    assert message in err
    assert not Path("small").exists()
