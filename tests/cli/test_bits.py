"""`faltung bits`: the table, JSON, and a run that is killed and goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faltung.cli.main import main

pytest.importorskip("constriction")
Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]


def test_the_table(trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, _ = trained("series")
    capsys.readouterr()
    assert main(["bits", str(run), f"--out={tmp_path / 'b'}"]) == 0
    out = capsys.readouterr().out
    for words in ("labels of 2 classes", "plain", "frequencies", "two parts", "one by one"):
        assert words in out
    assert (tmp_path / "b" / "blocks.json").is_file()
    assert main(["bits", str(run), f"--out={tmp_path / 'b'}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plain"] == found["labels"] and found["held_out"]["labels"] > 0
    assert found["two_parts"] == found["weights"] + found["labels_given_model"]
    assert sum(b["labels"] for b in found["prequential"]["blocks"]) == found["labels"]


def test_other_data_and_quick(trained: Trained, capsys: Captured) -> None:
    run, data = trained("series")
    before = sorted(path.name for path in run.iterdir())
    capsys.readouterr()
    assert main(["bits", str(run), data, "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == 24 and "prequential" not in found and "held_out" not in found
    assert sorted(path.name for path in run.iterdir()) == before


def test_numbers_are_refused(trained: Trained, capsys: Captured) -> None:
    run, _ = trained("numbers")
    assert main(["bits", str(run)]) == 2
    assert "have no code length without a precision" in capsys.readouterr().err


def test_data_that_have_changed(trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, _ = trained("series")
    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / "config.toml").read_text()
    digest = text.partition('digest = "')[2].partition('"')[0]
    (copy / "config.toml").write_text(text.replace(digest, "0" * 16))
    assert main(["bits", str(copy)]) == 2
    assert "its data have changed" in capsys.readouterr().err
    assert main(["bits", str(copy), "--x=a"]) == 2
    assert "applies to DATA" in capsys.readouterr().err
