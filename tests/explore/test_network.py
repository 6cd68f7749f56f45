"""The part of the explorer's page about a network at work, and names from strangers in it."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nn
from faltung.explore import network as module
from faltung.explore.network import maps, network
from faltung.explore.seen import of_net, of_onnx, of_run
from faltung.explore.shown import evenly, sample
from faltung.formats.onnx_export import export_onnx
from faltung.train.explain import seen_in

HOSTILE = "</script><img src=x onerror=alert(1)>"


def model(classes: tuple[str, ...] = ("one", HOSTILE)) -> Model:
    """A block of branches between two convolutions, and a head."""
    net = nn.Sequential(
        nn.Conv(4, 3, padding=1),
        nn.ReLU(),
        nn.Parallel(
            nn.Sequential(nn.Conv(2, 1), name="one"),
            nn.Sequential(nn.Conv(3, 3, padding=1), name="three"),
        ),
        nn.Flatten(),
        nn.Linear(2),
    )
    return Model(net, (1, 6, 7), seed=2, classes=classes)


def values(made: dict[str, object]) -> np.ndarray:
    """Maps as the page reads them."""
    levels = made["levels"]
    raw = np.frombuffer(base64.b64decode(levels["data"]), np.uint8).reshape(levels["shape"])
    part = (raw - 128.0) / 127 if made["signed"] else raw / 255
    ends = np.asarray(made["ends"])
    return part * ends.reshape(-1, *[1] * (part.ndim - 1))


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_maps_are_what_they_were(low: float) -> None:
    """Every map has its own scale: weak ones lose no more than strong ones."""
    rng = np.random.default_rng(0)
    x = rng.uniform(low, 1, (5, 6, 7)) * np.array([1, 1e-6, 1e6, 0, 3]).reshape(-1, 1, 1)
    made = maps(x, 24, 64)
    error = np.abs(values(made) - x).reshape(5, -1).max(1)
    assert (error <= np.abs(x).reshape(5, -1).max(1) / (127 if low else 255) * 0.6 + 1e-9).all()
    assert made["dead"] == 1 and made["all"] == 5


def test_sizes() -> None:
    """Large maps are reduced, volumes are slices, and numbers have no positions."""
    assert maps(np.ones((40, 100, 50)), 24, 32)["levels"]["shape"] == [24, 25, 13]
    assert maps(np.ones((3, 32, 20, 20)), 24, 64)["levels"]["shape"] == [3, 8, 20, 20]
    assert maps(np.ones((300,)), 24, 64)["levels"]["shape"] == [256]
    assert sample(np.ones((1, 900)))["levels"]["shape"] == [1, 900]
    assert sample(np.ones((2, 400, 200)))["levels"]["shape"] == [134, 67, 1]
    assert evenly(5, 2) == [1, 3] and evenly(2, 5) == [0, 1]


def test_a_run_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, evidence, branches side by side; names from outside are data, and stay whole."""
    one = model()
    x = np.random.default_rng(0).random((1, 6, 7), dtype=np.float32)
    made = network(seen_in(one, x), HOSTILE, "run")
    assert {each["name"] for each in made["answers"]} == {"one", HOSTILE}
    assert [step["name"] for step in made["steps"]] == ["conv1", "parallel1", "linear1"]
    block = made["steps"][1]
    assert [branch["channels"] for branch in block["branches"]] == [[0, 1], [2, 4]]
    assert sum(abs(branch["part"]) for branch in block["branches"]) == pytest.approx(1, abs=1e-3)
    conv = one.activations(x, "relu1")
    assert values(made["steps"][0]["maps"]) == pytest.approx(conv, abs=float(conv.max()) / 250)
    json.dumps(made)
    monkeypatch.setattr(module, "MOST_BYTES", 200)
    small = network(seen_in(one, x), HOSTILE, "run")
    assert small["steps"][0]["maps"]["levels"]["shape"] == [2, 6, 7]


def test_of_what_users_name(tmp_path: Path) -> None:
    """A saved model with a file and without, an ONNX file, a network by its name."""
    one = model()
    one.save(str(tmp_path / "m.safetensors"))
    np.save(tmp_path / "x.npy", np.ones((1, 6, 7), np.float32))
    made = of_run(tmp_path / "m.safetensors", str(tmp_path / "x.npy"))
    assert made["network"]["title"] == "x.npy" and made["fields"][0]["sample"]["kind"] == "picture"
    assert any("measured" in layer for layer in made["fields"][0]["layers"])
    alone = of_run(tmp_path / "m.safetensors")
    assert "network" not in alone and "noise" in alone["fields"][0]["measured"]
    (tmp_path / "m.onnx").write_bytes(export_onnx(one.graph, one.parameters))
    theory = [layer["axes"] for layer in made["fields"][0]["layers"]]
    read = of_onnx(tmp_path / "m.onnx")["fields"][0]
    assert [layer["axes"] for layer in read["layers"]][:4] == theory[:4]
    assert re.search("not measured|Nothing", read["measured"])
    assert of_net("lenet5")["fields"][0]["title"] == "lenet5"
