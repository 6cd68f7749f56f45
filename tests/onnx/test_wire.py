"""Files read in parts: the same model as protobuf reads whole, whatever the bytes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from faltung.geometry.errors import FaltungError  # noqa: E402
from faltung.onnx import read as reading  # noqa: E402
from faltung.onnx import wire  # noqa: E402
from faltung.onnx.read import File, read  # noqa: E402

DTYPES = ["float32", "float64", "float16", "int64", "bool", "uint8"]


def model(sizes: list[int], seed: int = 0) -> Any:
    """A model that adds up its weights, large and small ones, with odd bytes between them."""
    rng = np.random.default_rng(seed)
    helper = onnx.helper
    weights = []
    for number, size in enumerate(sizes):
        dtype = DTYPES[(seed + number) % len(DTYPES)]
        array = rng.integers(0, 2, size).astype(dtype)
        weights.append(onnx.numpy_helper.from_array(array, f"w{number}" + "x" * (number % 5)))
    node = helper.make_node("Identity", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(n, 1, ["N", 3]) for n in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], weights, doc_string="d" * seed)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.metadata_props.add(key="k", value="v")
    return made


def same(a: File, b: File) -> bool:
    constants = a.body.constants, b.body.constants
    return (
        constants[0].keys() == constants[1].keys()
        and all(v.tobytes() == constants[1][k].tobytes() for k, v in constants[0].items())
        and all(v.dtype == constants[1][k].dtype for k, v in constants[0].items())
        and (a.inputs, a.outputs, a.opset, a.about) == (b.inputs, b.outputs, b.opset, b.about)
        and a.body.calls == b.body.calls
    )


def whole(data: bytes, monkeypatch: pytest.MonkeyPatch) -> File | str:
    """What protobuf alone makes of it, or the error."""

    def odd(file: object, size: int) -> None:
        raise wire.Odd

    with monkeypatch.context() as patch:
        patch.setattr(reading, "parted", odd)
        return either(data)


def either(data: bytes | Path) -> File | str:
    try:
        return read(data)
    except FaltungError as error:
        return str(error)


@given(st.lists(st.sampled_from([0, 3, 700, 1024, 5000, 9000]), max_size=6), st.integers(0, 9))
def test_the_same_model(sizes: list[int], seed: int) -> None:
    data = model(sizes, seed).SerializeToString()
    small, apart = wire.parted(io.BytesIO(data), len(data))
    proto = onnx.ModelProto.FromString(small)
    again = onnx.ModelProto.FromString(data)
    assert len(proto.graph.initializer) == len(again.graph.initializer)
    for place, (a, b) in enumerate(
        zip(proto.graph.initializer, again.graph.initializer, strict=True)
    ):
        assert (place in apart) == (len(b.raw_data) >= wire.APART_BYTES)
        if place in apart:
            assert not a.HasField("raw_data")
            a.raw_data = apart[place].tobytes()
        assert a == b
    assert proto == again
    assert all(v.ctypes.data % 64 == 0 for v in apart.values())


def test_from_a_path_and_from_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = model([5000, 2, 9000, 1024], 3).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    want = whole(data, monkeypatch)
    assert isinstance(want, File)
    for given_ in (data, tmp_path / "m.onnx"):
        found = read(given_)
        assert same(found, want)


@pytest.mark.parametrize("seed", range(4))
def test_broken_files_are_refused_as_before(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, changed in a byte, or followed by something: the model, or the error, of protobuf."""
    data = model([5000, 2, 1100], seed).SerializeToString()
    rng = np.random.default_rng(seed)
    structure = [*range(200), *range(len(data) - 300, len(data))]
    for _ in range(150):
        made = bytearray(data)
        at = int(rng.choice(structure))
        made[at] = rng.integers(256)
        if rng.random() < 0.3:
            made = made[: rng.integers(len(made))]
        if rng.random() < 0.2:
            made += data[: rng.integers(100)]
        got, want = either(bytes(made)), whole(bytes(made), monkeypatch)
        assert isinstance(got, File) == isinstance(want, File), (got, want)
        assert same(got, want) if isinstance(got, File) else got == want  # type: ignore[arg-type]


def test_two_graphs_and_two_numbers_are_left_to_protobuf(monkeypatch: pytest.MonkeyPatch) -> None:
    """It merges the one, and takes the last of the other."""
    one = model([5000])
    data = one.SerializeToString()
    tensor = one.graph.initializer[0].SerializeToString()
    more = onnx.TensorProto.FromString(tensor)
    more.raw_data = bytes(len(more.raw_data))
    graph = onnx.GraphProto()
    graph.initializer.add().CopyFrom(more)
    graph.initializer[0].name = "other"
    twice = data + onnx.ModelProto(graph=graph).SerializeToString()
    with pytest.raises(wire.Odd):
        wire.parted(io.BytesIO(twice), len(twice))
    found, want = read(twice), whole(twice, monkeypatch)
    assert isinstance(want, File)
    assert same(found, want)
    assert not found.body.constants["other"].any()
