"""Small ONNX models for tests, and what ONNX Runtime makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
NODE = tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]


def made(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 18,
    dtype: str = "float32",
    types: Mapping[str, str] | None = None,
    shapes: Mapping[str, Sequence[int | str] | None] | None = None,
    functions: Sequence[Any] = (),
) -> bytes:
    """A file. types, shapes: of inputs and outputs that are not of ``dtype``."""
    from onnx import helper, numpy_helper

    def info(name: str, shape: Any) -> Any:
        kind = np.dtype((types or {}).get(name, dtype))
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), shape)

    graph = helper.make_graph(
        list(nodes),
        "graph",
        [info(name, list(shape)) for name, shape in inputs.items()],
        [info(name, (shapes or {}).get(name)) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("own", 1)],
        functions=list(functions),
        ir_version=8,
    )
    return bytes(model.SerializeToString())


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    """A node; names are separated by spaces, and "-" is an input that is left out."""
    from onnx import helper

    given = ["" if word == "-" else word for word in inputs.split()]
    return helper.make_node(op, given, outputs.split(), name or None, **attributes)


def runtime(data: bytes, inputs: Mapping[str, Array]) -> list[Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, dict(inputs))
    return found


def agree(data: bytes, inputs: Mapping[str, Array], rtol: float = 2e-5) -> list[Array]:
    """Our outputs, after they have agreed with ONNX Runtime's."""
    from faltung.onnx import load

    got = load(data).run(inputs, exact=True)
    want = runtime(data, inputs)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        finite = theirs[np.isfinite(theirs)] if theirs.dtype.kind == "f" else np.ones(1)
        size = float(np.abs(finite).max(initial=0.0))
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(size, 1e-30))
    return got


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)
