"""ONNX Runtime: a model of one Conv node with constant weights, input and output bound once."""

from functools import partial
from typing import Any

from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD

environment = openmp
_threads = 1


def start(threads: int) -> str:
    global _threads
    _threads = threads
    library("onnx")
    runtime = library("onnxruntime")
    runtime.set_default_logger_severity(3)
    return str(runtime.__version__)


def build(problem: Problem, variant: str) -> Task:
    if problem.direction != FORWARD:
        raise Unable("no gradients in the inference package")
    if problem.spec.flip:
        raise Unable("no true convolution")
    return bound(_model(problem), problem.x, problem.spec.output_shape)


def bound(model: bytes, x: Array, output_shape: tuple[int, ...]) -> Task:
    """A model of one input and one output as a task, both bound. Unable: a type without kernel."""
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = _threads
    options.inter_op_num_threads = 1
    provider = ["CPUExecutionProvider"]
    try:
        session = runtime.InferenceSession(model, options, providers=provider)
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise Unable(f"no kernel for {x.dtype}") from error
    given = runtime.OrtValue.ortvalue_from_numpy(x)
    y = runtime.OrtValue.ortvalue_from_shape_and_type(output_shape, x.dtype.type)
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, given)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, y)

    def array() -> Array:
        result: Array = y.numpy()
        return result

    return Task(partial(session.run_with_iobinding, binding), array, keep=(x, given))


def _model(problem: Problem) -> bytes:
    onnx: Any = library("onnx")
    helper, numpy_helper, spec = onnx.helper, onnx.numpy_helper, problem.spec
    kind = helper.np_dtype_to_tensor_dtype(problem.x.dtype)
    constants = [numpy_helper.from_array(problem.weight, "w")]
    if problem.bias is not None:
        constants.append(numpy_helper.from_array(problem.bias, "b"))
    node = helper.make_node(
        "Conv",
        ["x", *(constant.name for constant in constants)],
        ["y"],
        kernel_shape=spec.kernel,
        strides=spec.stride,
        dilations=spec.dilation,
        group=spec.groups,
        pads=[lo for lo, _ in problem.pads] + [hi for _, hi in problem.pads],
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", kind, spec.input_shape)],
        [helper.make_tensor_value_info("y", kind, spec.output_shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    text: bytes = model.SerializeToString()
    return text
