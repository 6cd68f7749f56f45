"""``faltung run``: arrays, pictures and random numbers through an ONNX model."""

from pathlib import Path

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional

from faltung.cli.main import main

onnx = optional("onnx")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    nodes = [node("Conv", "x w", "c"), node("GlobalMaxPool", "c", "g"), node("Flatten", "g", "y")]
    data = made(nodes, {"x": ("N", 3, 8, 8)}, ["y"], {"w": numbers(4, 3, 3, 3)})
    (tmp_path / "m.onnx").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_array(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from faltung.onnx import load

    x = numbers(2, 3, 8, 8)
    np.save("x.npy", x)
    assert main(["run", "m.onnx", "--input", "x.npy", "--output", "out.npz"]) == 0
    assert capsys.readouterr().out.startswith("y: float32 (2, 4): ")
    with np.load("out.npz") as found:
        assert np.array_equal(found["y"], load("m.onnx")(x))
    assert main(["run", "m.onnx", "--input", "x.npy", "--output", "out.npz"]) == 2
    assert "--force overwrites it" in capsys.readouterr().err


def test_a_picture_and_random_numbers(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.new("RGB", (20, 10), (255, 0, 0)).save("a.png")
    assert main(["run", "m.onnx", "--input", "a.png"]) == 0
    assert main(["run", "m.onnx"]) == 0
    assert main(["run", "m.onnx", "--input", "x=random", "--shape", "2x3x8x8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2][:14] for line in lines] == ["float32 (1, 4)"] * 2 + [
        "float32 (2, 4)"
    ]


def test_mistakes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in [
        (["nowhere.onnx"], "nowhere.onnx: not read"),
        (["m.onnx", "--shape", "2x3x9x8"], "--shape 2x3x9x8: must be Nx3x8x8 for x"),
        (["m.onnx", "--shape", "q=2x3"], "must be one of x"),
        (["m.onnx", "--output", "o.txt"], "must end in .npz"),
        (["m.onnx", "--input", "missing.npy"], "missing.npy"),
    ]:
        assert main(["run", *words]) == 2
        assert message in capsys.readouterr().err


def test_summary(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "m.onnx"]) == 0
    assert "Conv" in capsys.readouterr().out
    assert main(["summary", "m.onnx", "--classes", "3"]) == 2
    assert "classes" in capsys.readouterr().err
