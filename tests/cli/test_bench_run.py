"""`faltung bench RUN`: a line for each size of batch."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from faltung.cli import bench_run
from faltung.cli.main import main

Trained = Callable[[str], tuple[Path, str]]


@pytest.mark.parametrize("kind", ["digits", "text"])
def test_sizes_of_batch(
    kind: str, trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_run, "SECONDS", 0.0)
    run, _ = trained(kind)
    capsys.readouterr()
    assert main(["bench", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines[2:]] == list(bench_run.BATCHES)
    assert main(["bench", str(run), "--batch=3", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["batch"] == 3 and 0 < row["least"] <= row["median"]
    assert row["samples_per_second"] == pytest.approx(3 / row["median"])
    assert main(["bench", str(run), "--peers=onnxruntime"]) == 2
    assert "applies to ONNX models" in capsys.readouterr().err
