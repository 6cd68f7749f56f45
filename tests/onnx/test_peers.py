"""Models timed beside other runtimes: each in a process of its own, and what went wrong is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional

from faltung.cli.main import main
from faltung.geometry.errors import FaltungError
from faltung.onnx import load, peers

onnx = optional("onnx")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    data = made(
        [node("Conv", "x w", "y")], {"x": ("N", 2, 5, 5)}, ["y"], {"w": numbers(3, 2, 3, 3)}
    )
    (tmp_path / "m.onnx").write_bytes(data)
    return tmp_path / "m.onnx"


def test_the_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(model), "--batch=2", "--threads=1", "--json"]
    assert main([*words, "--peers=onnxruntime"] if len(peers.installed()) > 1 else words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["threads"] == 1
    for row in found["results"]:
        assert not row["error"] and 0 < row["least"] <= row["median"] < 10
        assert row["difference"] < 1e-5
    assert found["results"][0]["peer"] == "faltung" and found["results"][0]["difference"] == 0


def test_what_goes_wrong_is_said(model: Path) -> None:
    (model.parent / "other.onnx").write_bytes(b"no model")
    (row,) = peers.compare(model.parent / "other.onnx", {}, 1, ["faltung"])
    assert "not an ONNX model" in row.error and row.least == 0
    with pytest.raises(FaltungError, match="peers='tvm': must be one of faltung, onnxruntime"):
        peers.chosen(["tvm"])
    assert peers.chosen(None)[0] == "faltung"


def test_profiles(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(model), "--repeats=2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["operation"] == "Convolve" and rows[0]["flops"] == 2 * 3 * 2 * 9 * 9
    found = load(model).profile({"x": np.zeros((4, 2, 5, 5), np.float32)}, repeats=2)
    assert found.rows[0].flops == 4 * 2 * 3 * 2 * 9 * 9
    assert found.rows[-1].operation == "host and copies"
    assert main(["profile", "lenet5", "--repeats=1", "--input=1x12x12", "--batch=3"]) == 0
    assert "conv1" in capsys.readouterr().out
    with pytest.raises(FaltungError, match="repeats=0"):
        load(model).profile(repeats=0)
