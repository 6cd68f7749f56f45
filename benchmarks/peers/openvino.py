"""OpenVINO: a model of one convolution with constant weights, for the CPU, shared tensors.

On a processor with bfloat16 or AMX, OpenVINO would round to bfloat16 on its own: float32 is asked
for by name.
"""

from typing import Any

import numpy as np

from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD

_threads = 1


def environment(threads: int) -> dict[str, str]:
    # In a CI job it sends no telemetry; elsewhere it forks for that, which may hang, and spins.
    return {**openmp(threads), "CI": "true"}


def start(threads: int) -> str:
    global _threads
    _threads = threads
    return str(library("openvino").__version__)


def build(problem: Problem, variant: str) -> Task:
    openvino = library("openvino")
    if problem.direction != FORWARD:
        raise Unable("no gradients")
    if problem.spec.dtype != "float32":
        raise Unable("computes float64 in float32")
    if problem.spec.flip:
        raise Unable("no true convolution")
    return bound(_model(openvino, problem), problem.x, problem.spec.output_shape)


def bound(model: Any, x: Array, output_shape: tuple[int, ...]) -> Task:
    """A model of one input and one output as a task, both shared."""
    openvino = library("openvino")
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(_threads),
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    result = np.empty(output_shape, np.float32)
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    request.set_output_tensor(openvino.Tensor(result, shared_memory=True))
    return Task(request.infer, lambda: result, keep=(x, compiled))


def _model(openvino: Any, problem: Problem) -> Any:
    operations = library("openvino.opset13")
    spec, weight = problem.spec, problem.weight
    x = operations.parameter(spec.input_shape, np.float32, name="x")
    before, after = [lo for lo, _ in problem.pads], [hi for _, hi in problem.pads]
    geometry = (list(spec.stride), before, after, list(spec.dilation))
    if spec.groups == 1:
        y = operations.convolution(x, operations.constant(weight), *geometry)
    else:
        grouped = weight.reshape(spec.groups, -1, *weight.shape[1:])
        y = operations.group_convolution(x, operations.constant(grouped), *geometry)
    if problem.bias is not None:
        bias = problem.bias.reshape(1, -1, *[1] * spec.rank)
        y = operations.add(y, operations.constant(bias))
    return openvino.Model([y], [x], "layer")
