"""`faltung convert`: weights of others become models, and every mistake is one line."""

from pathlib import Path

import numpy as np
import pytest
import torch_files as files
from train.test_pretrained import checked, resnet

from faltung import Model, nn
from faltung.cli.main import main

Captured = pytest.CaptureFixture[str]
NET = ["--net", "resnet18", "--set", "width=0.125", "--input", "3x32x32"]


@pytest.fixture(name="file")
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("w.pth").write_bytes(files.saved(resnet()))
    return "w.pth"


def said(capsys: Captured, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["convert", *words])
    found = capsys.readouterr()
    return status, found.out, found.err


def test_weights_become_a_model(file: str, capsys: Captured) -> None:
    status, out, _ = said(capsys, file, *NET, "--out", "m.safetensors")
    assert status == 0 and out.startswith("m.safetensors: ")
    assert "<Model (3, 32, 32) -> (5,), 177,037 parameters>" in out
    model = Model.load("m.safetensors")
    checked(model, resnet())
    assert model.standard is not None and model.standard.mean == (0.485, 0.456, 0.406)
    Path("names.txt").write_text("a\nb\n\nc\nd\ne\n")
    more = ["--mean=0.1,0.2,0.3", "--std", "1,2,3", "--classes", "names.txt", "--force"]
    assert said(capsys, file, *NET, *more, "--out", "m.safetensors")[0] == 0
    model = Model.load("m.safetensors")
    assert model.classes == ("a", "b", "c", "d", "e")
    assert model.standard is not None and model.standard.std == (1, 2, 3)


def test_onnx_both_ways(file: str, capsys: Captured) -> None:
    pytest.importorskip("onnx")
    assert said(capsys, file, *NET, "--out", "m.onnx")[0] == 0
    assert said(capsys, "m.onnx", "--out", "m.safetensors")[0] == 0
    x = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    wanted = Model.pretrained(file, "resnet18", input_shape=(3, 32, 32), width=0.125)
    np.testing.assert_allclose(
        Model.load("m.safetensors").predict(x, softmax=False),
        wanted.predict(x, softmax=False),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["w.pth", "--out", "m.safetensors"], "w.pth: has weights without their network: --net"),
        (["w.pth", *NET, "--out", "m.pth"], "--out m.pth: must end in .onnx or .safetensors; for "),
        (["w.pth", *NET, "--out", "there.onnx"], "there.onnx: already exists; --force overwrites"),
        (["w.pth", *NET, "--out", "m.onnx", "--mean", "1"], "--mean 1: needs --std too"),
        (["w.pth", *NET, "--out", "m.onnx", "--std", "x", "--mean=1"], "--std x: must be a number"),
        (["none.pth", *NET, "--out", "m.onnx"], "--set width=0.125: is for weights without th"),
        (["none.pth", "--out", "m.onnx"], "none.pth: no such file or folder"),
        (["own.safetensors", "--net=resnet18", "--out=m.onnx"], "--net=resnet18: is for weights"),
        (["w.pth", *NET, "--classes", "w.pth", "--out", "m.onnx"], "w.pth: not text, byte"),
        (["bad.pth", *NET, "--out", "m.onnx"], "bad.pth: not weights of torch.save, not a whole"),
    ],
)
def test_mistakes(words: list[str], says: str, file: str, capsys: Captured) -> None:
    Path("there.onnx").write_bytes(b"")
    Path("bad.pth").write_bytes(b"PK" + bytes(99))
    Path("names.txt").write_text("a\n")
    Model(nn.Linear(2), (3,)).save("own.safetensors")
    status, _, err = said(capsys, *words)
    assert status == 2 and err.startswith(f"faltung convert: {says}") and err.count("\n") == 1
    assert not Path("m.onnx").exists() and not Path("m.safetensors").exists()
