"""Networks from ONNX files as layers: they compute what the file says, and can be trained."""

from pathlib import Path

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional
from runs import shapes

import faltung
from faltung import Model, nn
from faltung.formats.onnx_export import export_onnx
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.nn.text import parse
from faltung.onnx import load
from faltung.onnx.structure import placeholder, structure
from faltung.train import session

onnx = optional("onnx")

NET = nn.Sequential(
    *(nn.Conv(6, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3)),
    *(nn.MaxPool(2), nn.Flatten(), nn.Linear(40), nn.ReLU(), nn.Linear(5)),
)


def exported(net: nn.Layer = NET, shape: tuple[int, ...] = (2, 8, 8), **words: int) -> bytes:
    model = Model(net, shape, seed=3)
    return export_onnx(model.graph, model.parameters, **words)


def test_it_computes_what_the_file_computes(tmp_path: Path) -> None:
    data = exported()
    model = Model.from_onnx(data)
    x = numbers(3, 2, 8, 8)
    assert np.array_equal(model.predict(x), load(data)(x))
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    assert np.array_equal(again.predict(x), model.predict(x))
    assert parse(repr(model.net)) == model.net


def test_batch_norm_and_dropout_work_as_in_training() -> None:
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c g s m v", "n", momentum=0.8),
        node("Dropout", "n", "d"),
        node("GlobalAveragePool", "d", "p"),
        node("Flatten", "p", "y"),
    ]
    weights = {"w": numbers(300, 2, 3, 3), "g": numbers(300), "s": numbers(300)}
    weights |= {"m": numbers(300), "v": abs(numbers(300)) + 1}
    model = Model.from_onnx(made(nodes, {"x": (1, 2, 6, 6)}, ["y"], weights, opset=11))
    kinds = [type(node.op).__name__ for node in model.training_graph.nodes]
    assert "Dropout" in kinds
    (norm,) = [n.op for n in model.training_graph.nodes if type(n.op).__name__ == "Normalise"]
    assert norm.training and norm.momentum == pytest.approx(0.2)
    before = model.parameters
    model.fit(numbers(8, 2, 6, 6), np.arange(8) % 3, epochs=1, show=False)
    assert all(not np.array_equal(before[name], now) for name, now in model.parameters.items())


def test_a_softmax_at_the_end_becomes_that_of_predict() -> None:
    nodes = [
        node("Gemm", "x w b", "z", transB=1),
        node("Softmax", "z", "y", axis=1),
    ]
    data = made(nodes, {"x": ("N", 80)}, ["y"], {"w": numbers(7, 80), "b": numbers(7)})
    model, x = Model.from_onnx(data), numbers(4, 80)
    assert model.graph.output.channels == 7 and model.loss == "cross_entropy"
    np.testing.assert_allclose(model.predict(x), load(data)(x), rtol=1e-5)
    assert abs(model.predict(x, softmax=False)).max() > 1


def test_channels_last_and_constants_that_are_trained() -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        node("Mul", "c g", "y"),
    ]
    weights = {"w": numbers(300, 3, 1, 1), "g": np.ones((1, 300, 1, 1), np.float32)}
    model = Model.from_onnx(made(nodes, {"x": ("N", 5, 6, 3)}, ["y"], weights))
    assert model.input_shape == (3, 5, 6)
    assert sorted(p.shape for p in model.graph.parameters) == [(300,), (300, 3, 1, 1)]


def test_what_cannot_be_a_layer() -> None:
    two = made([node("Add", "x z", "y")], {"x": (1, 3), "z": (1, 3)}, ["y"])
    with pytest.raises(FaltungError, match="has 2 inputs: a model must have one"):
        Model.from_onnx(two)
    host = made([node("NonZero", "x", "n"), node("Cast", "n", "y", to=1)], {"x": (1, 3)}, ["y"])
    with pytest.raises(UnsupportedError, match="run on the host, so the model cannot be a layer"):
        Model.from_onnx(host)
    free = made([node("Relu", "x", "y")], {"x": ("N", 3, "H", "W")}, ["y"])
    with pytest.raises(FaltungError, match="input_shape must be given"):
        Model.from_onnx(free)
    with pytest.raises(FaltungError, match=r"input_shape=\(2, 8, 8\): must be 3xHxW"):
        Model.from_onnx(free, (2, 8, 8))
    known = Model.from_onnx(exported()).net
    with pytest.raises(FaltungError, match="is not the text of a network from an ONNX file"):
        nn.build(faltung.onnx.layer.OnnxNet("x" + known.structure[:-9]), (2, 8, 8))


def test_weights_take_no_room_in_the_structure() -> None:
    model = Model.from_onnx(exported(nn.Linear(300), (500,)))
    assert len(model.net.structure) < 1000
    found = structure(model.net.structure)
    sizes = [a.size for a in found.file.body.constants.values()]
    assert 300 * 500 in sizes
    assert len(np.unique(placeholder((4, 1, 300), "float32"))) == 300


def test_training_with_another_head(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(exported(shape=(1, 8, 8)))
    x, y = shapes(30)
    np.savez(tmp_path / "data.npz", x=x, y=y)  # two classes; the file has five
    made = session.create(
        str(tmp_path / "data.npz"),
        net=str(tmp_path / "net.onnx"),
        settings={"epochs": 1, "freeze": ["all-but-last"]},
        out=tmp_path / "run",
    )
    assert made.model.graph.output.channels == 2
    assert "initialised anew: onnxnet1.linear2/Gemm" in made.loop.notes[0]
    before = made.model.parameters
    made.run()
    changed = {n for n, a in made.model.parameters.items() if not np.array_equal(a, before[n])}
    assert {name.rpartition(".")[0] for name in changed} == {"onnxnet1.linear2/Gemm"}
    made.folder.close()
    again = session.resume(str(tmp_path / "run"), 2)
    again.run()
    again.folder.close()
    with pytest.raises(FaltungError, match="a network from a file has weights"):
        session.create("digits", net="x.onnx", start="runs/other")
