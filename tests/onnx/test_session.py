"""The methods of ONNX Runtime's session."""

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.onnx import InferenceSession, SessionOptions

runtime = optional("onnxruntime")


def data() -> bytes:
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "y"), node("Neg", "c", "z")]
    weights = {"w": numbers(4, 3, 3, 3)}
    shapes = {"y": ("N", 4, 6, 6), "z": ("N", 4, 6, 6)}
    return made(nodes, {"x": ("N", 3, 8, 8)}, ["y", "z"], weights, shapes=shapes)


def test_as_onnx_runtime_says_it() -> None:
    theirs = runtime.InferenceSession(data(), providers=["CPUExecutionProvider"])
    ours = InferenceSession(data(), providers=["CPUExecutionProvider"])
    for ask in ("get_inputs", "get_outputs"):
        for a, b in zip(getattr(ours, ask)(), getattr(theirs, ask)(), strict=True):
            assert (a.name, a.type, a.shape) == (b.name, b.type, b.shape)
    assert ours.get_modelmeta().graph_name == theirs.get_modelmeta().graph_name
    assert ours.get_providers() == ["FaltungExecutionProvider"]
    x = numbers(2, 3, 8, 8)
    for names in (None, ["z"], ["z", "y"], ["y", "y"]):
        for a, b in zip(ours.run(names, {"x": x}), theirs.run(names, {"x": x}), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_threads_change_no_bits() -> None:
    runtime.InferenceSession  # noqa: B018
    x = {"x": numbers(2, 3, 8, 8)}
    found = []
    for threads in (0, 1, 2, 3):
        options = SessionOptions()
        options.intra_op_num_threads = threads
        found.append(InferenceSession(data(), options).run(None, x)[0])
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_mistakes() -> None:
    runtime.InferenceSession  # noqa: B018
    session = InferenceSession(data())
    with pytest.raises(FaltungError, match="output_names: 'q': must be one of y, z"):
        session.run(["q"], {"x": numbers(1, 3, 8, 8)})
    with pytest.raises(FaltungTypeError, match="has dtype float64, must be float32"):
        session.run(None, {"x": numbers(1, 3, 8, 8).astype(float)})
    with pytest.raises(FaltungTypeError, match="input_feed"):
        session.run(None, numbers(1, 3, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(FaltungError, match="'x' is missing"):
        session.run(None, {})
    with pytest.raises(FaltungTypeError, match="sess_options"):
        InferenceSession(data(), 3)  # type: ignore[arg-type]
