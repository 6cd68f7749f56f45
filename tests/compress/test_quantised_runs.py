"""A network on grids in the ordinary training loop: stopped and resumed, and what a run leaves."""

from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compress.test_quantise import session
from optional import optional
from runs import net, shapes, source, tensors
from train.test_loop import SETTINGS, stop_after, timeless

from faltung import Model
from faltung.cli.main import main
from faltung.compress.quantise import quantise
from faltung.data.source import split
from faltung.formats.tensors import load_tensors
from faltung.train.interrupts import Stopped
from faltung.train.loop import Loop
from faltung.train.run_folder import RunFolder
from faltung.train.run_model import load_model
from faltung.train.settings import Settings

onnx = optional("onnx")


@cache
def quantised() -> Model:
    """A network on grids, with few bits: training changes levels and scales."""
    model = Model(net(), (1, 8, 8), classes=["rows", "columns"])
    x, y = shapes(48)
    model.fit(x, y, epochs=3, batch=10, show=False)
    return quantise(model, x, bits=3).model


def small() -> Model:
    return copy(quantised())


def made(folder: RunFolder) -> Loop:
    train, held = split(source(), 0.25, seed=1)
    return Loop(small(), Settings(**SETTINGS), train, held, folder=folder, show=False)


@pytest.mark.parametrize("step", [2, 5])
def test_stopped_it_goes_on_to_the_same_bits(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(RunFolder.create(tmp_path / "whole", {}))
    rows = whole.run()
    stop_after(step, monkeypatch)
    first = made(RunFolder.create(tmp_path / "run", {}))
    with pytest.raises(Stopped):
        first.run()
    first.folder.close()  # type: ignore[union-attr]
    monkeypatch.undo()
    second = made(RunFolder.resume(tmp_path / "run"))
    second.resume()
    assert timeless(second.run()) == timeless(rows)
    for name in ("last", "best"):
        one, two = (tensors(tmp_path / run / f"{name}.safetensors") for run in ("whole", "run"))
        assert one == two
    best, _ = load_tensors(tmp_path / "whole" / "best.safetensors")
    weight, scale = (best[f"conv1.{name}"] for name in ("weight", "weight_scale"))
    levels = weight / scale.reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(levels, np.rint(levels))
    assert np.abs(levels).max() <= 3


def test_a_run_begins_from_it_and_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = shapes(60)
    np.savez("data.npz", x=x, y=np.array(["rows", "columns"])[y])
    small().save("small.safetensors")
    words: list[Any] = ["train", "data.npz", "--from", "small.safetensors", "--epochs=2"]
    assert main([*words, "--out=run", "--batch=16"]) == 0
    model, _ = load_model("run")
    assert "bits=3" in repr(model.net) and "Quantise(" in repr(model.net)
    assert main(["evaluate", "run", "data.npz"]) == 0
    for file in ("run.onnx", "run.safetensors"):
        assert main(["export", "run", file]) == 0
    capsys.readouterr()
    kinds = [node.op_type for node in onnx.load("run.onnx").graph.node]
    assert kinds.count("QuantizeLinear") == 2 and "DequantizeLinear" in kinds
    want = model.predict(x)
    np.testing.assert_array_equal(Model.load("run.safetensors").predict(x), want)
    (found,) = session(Path("run.onnx").read_bytes(), 0).run(None, {"input": x})
    np.testing.assert_array_equal(found.argmax(1), want.argmax(1))
