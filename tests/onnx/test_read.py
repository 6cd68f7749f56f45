"""Files that are none, that contradict themselves, or that want more than is theirs."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.onnx.read import read

onnx = optional("onnx")
INPUT = {"x": (1, 2)}


def relu() -> Any:
    return onnx.load_from_string(made([node("Relu", "x", "y")], INPUT, ["y"]))


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello", b"\x08", b"\xff" * 100])
def test_no_model(data: bytes) -> None:
    onnx.ModelProto  # noqa: B018
    with pytest.raises(FaltungError, match=r"^model: not an ONNX model, "):
        read(data)


def test_a_file_names_itself(tmp_path: Path) -> None:
    onnx.ModelProto  # noqa: B018
    path = tmp_path / "a.onnx"
    path.write_bytes(b"hello")
    with pytest.raises(FaltungError, match=r"a\.onnx: not an ONNX model"):
        read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "b.onnx")


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ([("Relu", "b", "a"), ("Relu", "a", "b")], ["b"], "reads b, which is made after it"),
        ([("Relu", "y", "y")], ["y"], "reads y, which is made after it, or by itself"),
        ([("Relu", "nowhere", "y")], ["y"], "reads nowhere, which is made nowhere"),
        ([("Relu", "x", "y"), ("Neg", "x", "y")], ["y"], "y: is made by two nodes"),
        ([("Relu", "x", "x")], ["x"], "x: is made by two nodes"),
        ([("Relu", "x", "y")], ["z"], "output z: is made by no node"),
    ],
)
def test_names(nodes: Any, outputs: list[str], message: str) -> None:
    data = made([node(*words) for words in nodes], INPUT, outputs)
    with pytest.raises(FaltungError, match=message):
        read(data)


def test_a_tensor_whose_size_is_a_lie() -> None:
    data = made([node("Add", "x w", "y")], INPUT, ["y"], {"w": numbers(1, 2)})
    model = onnx.load_from_string(data)
    model.graph.initializer[0].dims[0] = 1 << 38
    with pytest.raises(FaltungError, match=r"tensor w: shape .* takes 2199023255552 bytes, has 8"):
        read(model.SerializeToString())
    model.graph.initializer[0].dims[0] = 1 << 62
    with pytest.raises(FaltungError, match="is none of a tensor"):
        read(model.SerializeToString())


@pytest.mark.parametrize("version", [5, 10_000, -1])
def test_opsets(version: int) -> None:
    model = relu()
    model.opset_import[0].version = version
    with pytest.raises(UnsupportedError, match=f"opset {version}: must be 6 to "):
        read(model.SerializeToString())


def test_a_name_that_is_no_text() -> None:
    data = relu().SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc")
    with pytest.raises(FaltungError, match="is not UTF-8"):
        read(data)


def test_types_that_are_not_there() -> None:
    data = made([node("Identity", "x", "y")], INPUT, ["y"], types={"x": "object"})
    with pytest.raises(UnsupportedError, match="x: is of type str, which is not supported yet"):
        read(data)


def test_branches_within_branches() -> None:
    graph = relu().graph
    for _ in range(20):
        deeper = onnx.GraphProto()
        deeper.output.extend(graph.output)
        flat = relu().graph
        inner = onnx.helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=flat)
        deeper.node.append(inner)
        graph = deeper
    model = relu()
    model.graph.node[0].CopyFrom(graph.node[0])
    with pytest.raises(FaltungError, match="its graphs are nested more than 16 deep"):
        read(model.SerializeToString())


# External data ------------------------------------------------------------------------------------


def external(folder: Path, **entries: str) -> Path:
    data = made([node("Add", "x w", "y")], INPUT, ["y"], {"w": np.ones((1, 2), np.float32)})
    model = onnx.load_from_string(data)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w.bin").write_bytes(b"1234" + np.array([3, 4], np.float32).tobytes())
    path = external(tmp_path, location="deep/w.bin", offset="4", length="8")
    assert read(path).body.constants["w"].tolist() == [[3, 4]]
    with pytest.raises(FaltungError, match="give the path of the model, not its bytes"):
        read(path.read_bytes())


@pytest.mark.parametrize(
    "location",
    ["", "/etc/passwd", "../w.bin", "deep/../../w.bin", "..\\w.bin", "C:\\w.bin", "a\0b"],
)
def test_external_data_stay_in_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"12345678")
    (tmp_path / "m").mkdir()
    with pytest.raises(FaltungError, match=r"must (be a file beside the model|not leave)"):
        read(external(tmp_path / "m", location=location))


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_external_data_are_no_links(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"12345678")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "link").symlink_to(tmp_path)
    (tmp_path / "m" / "file").symlink_to(tmp_path / "w.bin")
    for location in ("link/w.bin", "file"):
        with pytest.raises(FaltungError, match="must not be a link"):
            read(external(tmp_path / "m", location=location))


@pytest.mark.parametrize(
    ("offset", "length"), [("1", "8"), ("-1", "8"), ("0", "9"), ("0", "4"), ("x", "8"), ("9", "8")]
)
def test_external_data_that_lie(tmp_path: Path, offset: str, length: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"12345678")
    with pytest.raises(FaltungError, match="tensor w: "):
        read(external(tmp_path, location="w.bin", offset=offset, length=length))


def test_external_data_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(FaltungError, match=r"tensor w: not read, no such file"):
        read(external(tmp_path, location="w.bin"))
