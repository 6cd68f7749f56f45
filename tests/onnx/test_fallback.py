"""What Faltung has no operator for, run by ONNX Runtime where that is asked for."""

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers, runtime
from optional import optional

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.onnx import InferenceSession, load
from faltung.onnx.table import TABLE

onnx = optional("onnx")
onnxruntime = optional("onnxruntime")


@pytest.fixture(autouse=True)
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without two operators that nothing else defines."""
    monkeypatch.delitem(TABLE, "Erf")
    monkeypatch.delitem(TABLE, "Sinh")


def data() -> bytes:
    """Two that are missing, a layer around each, and one that reads the other."""
    nodes = [
        node("Relu", "x", "r"),
        node("Erf", "r", "d", "first"),
        node("Sinh", "d2", "h", "second"),
        node("Neg", "d", "n"),
        node("Add", "n h", "y"),
    ]
    nodes.insert(2, node("Unsqueeze", "d axes", "d2"))
    return made(nodes, {"x": ("N", 3, 3)}, ["y", "r"], {"axes": np.array([0])})


def test_exactly_the_nodes_that_are_missing() -> None:
    onnxruntime.InferenceSession  # noqa: B018
    with pytest.raises(UnsupportedError, match=r"Erf, 1 time \(node first\)"):
        load(data())
    model = load(data(), fallback="onnxruntime")
    x = numbers(4, 3, 3)
    for ours, theirs in zip(model.run({"x": x}), runtime(data(), {"x": x}), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    text = model.explain()
    assert "Erf (node first): onnxruntime: no such operator here" in text
    assert "Sinh (node second): onnxruntime" in text
    assert "1 Relu" in text and "Relu (node" not in text
    assert "onnxruntime" in model.summary((4, 3, 3))


def test_neighbours_run_together() -> None:
    onnxruntime.InferenceSession  # noqa: B018
    nodes = [node("Erf", "x", "a"), node("Sinh", "a", "b"), node("Relu", "b", "y")]
    file = made(nodes, {"x": (3, 4)}, ["y"])
    model = load(file, fallback="onnxruntime")
    x = numbers(3, 4)
    np.testing.assert_allclose(model(x), runtime(file, {"x": x})[0], rtol=1e-5)
    assert len(model._main.engine.runtime._sessions) == 1


def test_neighbours_run_together_whatever_the_sizes() -> None:
    onnxruntime.InferenceSession  # noqa: B018
    nodes = [node("Erf", "x", "a"), node("Sinh", "a", "b"), node("Relu", "b", "y")]
    file = made(nodes, {"x": ("N", "M")}, ["y"])
    model = load(file, fallback="onnxruntime")
    for shape in [(2, 3), (3, 5)]:
        x = numbers(*shape)
        np.testing.assert_allclose(model(x), runtime(file, {"x": x})[0], rtol=1e-5)
    assert len(model._main.engine.runtime._sessions) == 1


def test_where_nothing_is_missing_nothing_falls_back() -> None:
    onnxruntime.InferenceSession  # noqa: B018
    file = made([node("Relu", "x", "y")], {"x": (3, 4)}, ["y"])
    model = load(file, fallback="onnxruntime")
    agree(file, {"x": numbers(3, 4)})
    model(numbers(3, 4))
    assert "onnxruntime" not in model.explain()
    assert not model._main.engine.runtime._sessions


def test_sessions_and_mistakes() -> None:
    onnxruntime.InferenceSession  # noqa: B018
    session = InferenceSession(data(), fallback="onnxruntime")
    x = numbers(2, 3, 3)
    np.testing.assert_allclose(
        session.run(["y"], {"x": x})[0], runtime(data(), {"x": x})[0], rtol=1e-4, atol=1e-5
    )
    with pytest.raises(FaltungError, match="fallback='tensorrt': must be None or 'onnxruntime'"):
        load(data(), fallback="tensorrt")
    odd = made([onnx.helper.make_node("Odd", ["x"], ["y"], domain="own")], {"x": (1, 2)}, ["y"])
    model = load(odd, fallback="onnxruntime")
    with pytest.raises(FaltungError, match="onnxruntime cannot run it either"):
        model(numbers(1, 2))
