"""ONNX Runtime: one pooling node, input and output bound."""

from typing import Any

from benchmarks.peers import Task, Unable, library
from benchmarks.peers.onnxruntime import bound, environment, start
from benchmarks.window_problem import LOCAL, MAX, WindowProblem

__all__ = ["build", "environment", "start"]


def build(problem: WindowProblem, variant: str) -> Task:
    if problem.kind == LOCAL:
        raise Unable("no local layer")
    if not problem.forward:
        raise Unable("no gradients in the inference package")
    return bound(_model(problem), problem.x, problem.spec.output_shape)


def _model(problem: WindowProblem) -> bytes:
    onnx: Any = library("onnx")
    helper, spec = onnx.helper, problem.spec
    kind = helper.np_dtype_to_tensor_dtype(problem.x.dtype)
    given = {"kernel_shape": spec.kernel, "strides": spec.stride, "pads": problem.pads * 2}
    if problem.kind == MAX:
        node = helper.make_node("MaxPool", ["x"], ["y"], **given)
    else:
        node = helper.make_node("AveragePool", ["x"], ["y"], count_include_pad=1, **given)
    graph = helper.make_graph(
        [node],
        "window",
        [helper.make_tensor_value_info("x", kind, spec.input_shape)],
        [helper.make_tensor_value_info("y", kind, spec.output_shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    text: bytes = model.SerializeToString()
    return text
