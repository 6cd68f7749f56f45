"""`faltung export`: what others make of the file is what we say; nothing is written over."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faltung import Model
from faltung.cli.main import main
from faltung.data.open import open_source
from faltung.geometry.conv import NARROW
from faltung.train.run_model import load_model

Trained = Callable[[str], tuple[Path, str]]
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("kind", ["digits", "series", "volumes", "text", "numbers", "maps"])
def test_others_get_the_same_from_the_same_samples(
    kind: str, trained: Trained, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    run, data = trained(kind)
    assert main(["export", str(run), str(tmp_path / "m.onnx")]) == 0
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    model, source = load_model(run)[0], open_source(data)
    x = source.read(range(9))
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x})
    ours = model.predict(x, softmax=False)
    np.testing.assert_allclose(theirs, ours, atol=2e-5 * max(1, np.abs(ours).max()), rtol=2e-5)


def test_for_model_load(trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, data = trained("digits")
    path = tmp_path / "m.safetensors"
    capsys.readouterr()
    assert main(["export", str(run), str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: {path.stat().st_size:,} bytes\n"
    x = open_source(data).read(range(9))
    np.testing.assert_array_equal(Model.load(path).predict(x), load_model(run)[0].predict(x))


@pytest.mark.parametrize("form", ["packed", "coded"])
def test_the_same_numbers_in_other_forms(
    form: str, trained: Trained, tmp_path: Path, capsys: Captured
) -> None:
    pytest.importorskip("constriction")
    run, data = trained("digits")
    path, model = tmp_path / "m.safetensors", load_model(run)[0]
    assert main(["export", str(run), str(path), "--as", form]) == 0
    found, x = Model.load(path), open_source(data).read(range(9))
    np.testing.assert_array_equal(found.predict(x), model.predict(x))
    assert main(["export", str(run), str(tmp_path / "m.onnx"), "--as", form]) == 2
    assert f"--as {form}: is for model.safetensors, not for ONNX" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", NARROW)
def test_half_the_bytes(dtype: str, trained: Trained, tmp_path: Path) -> None:
    run, data = trained("digits")
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    for path, more in ((whole, []), (half, ["--dtype", dtype])):
        assert main(["export", str(run), str(path), *more]) == 0
    found, model = Model.load(half), load_model(run)[0]
    assert found.dtype == dtype
    weights = sum(a.size for a in model.parameters.values() if a.ndim > 1)
    assert whole.stat().st_size - half.stat().st_size > 1.9 * weights
    x = open_source(data).read(range(9))
    assert (found.predict(x) == model.astype(dtype).predict(x)).all()


def test_nothing_is_written_over(trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, _ = trained("digits")
    path = tmp_path / "m.safetensors"
    path.write_text("mine")
    assert main(["export", str(run), str(path)]) == 2
    assert "already exists; --force overwrites it" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["export", str(run), str(path), "--force"]) == 0
    assert Model.load(path)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("m.pt", "must end in .onnx or .safetensors"),
        ("none/m.safetensors", "not written"),
        ("m", "must end in"),
    ],
)
def test_refusals(name: str, part: str, trained: Trained, tmp_path: Path, capsys: Captured) -> None:
    run, _ = trained("digits")
    capsys.readouterr()
    assert main(["export", str(run), str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert part in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run(tmp_path: Path, capsys: Captured) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "m.onnx")]) == 2
    assert "config.toml" in capsys.readouterr().err
