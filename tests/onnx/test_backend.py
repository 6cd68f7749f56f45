"""The backend, as ``onnx.backend`` calls it."""

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError

onnx = optional("onnx")


def test_models_and_nodes() -> None:
    onnx.ModelProto  # noqa: B018
    import faltung.onnx.backend as backend

    x = numbers(2, 3)
    model = onnx.load_from_string(made([node("Relu", "x", "y")], {"x": (2, 3)}, ["y"]))
    (y,) = backend.run_model(model, [x])
    assert np.array_equal(y, np.maximum(x, 0))
    (y,) = backend.prepare(model, "CPU").run({"x": x})
    assert np.array_equal(y, np.maximum(x, 0))
    (y,) = backend.run_node(onnx.helper.make_node("Neg", ["a"], ["b"]), [x])
    assert np.array_equal(y, -x)
    (k,) = backend.run_node(onnx.helper.make_node("ArgMax", ["a"], ["b"], axis=1), [x])
    assert k.dtype == np.int64 and np.array_equal(k, x.argmax(1)[:, np.newaxis])
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:0")
    assert issubclass(backend.FaltungBackend, onnx.backend.base.Backend)
    with pytest.raises(FaltungError, match="device='CUDA': must be CPU"):
        backend.prepare(model, "CUDA")
    with pytest.raises(FaltungError, match="inputs: there are 1, got 2"):
        backend.run_model(model, [x, x])
