"""OpenVINO: one pooling, shared tensors."""

from typing import Any

import numpy as np

from benchmarks.peers import Task, Unable, library
from benchmarks.peers.openvino import bound, environment, start
from benchmarks.window_problem import LOCAL, MAX, WindowProblem

__all__ = ["build", "environment", "start"]


def build(problem: WindowProblem, variant: str) -> Task:
    if problem.kind == LOCAL:
        raise Unable("no local layer")
    if not problem.forward:
        raise Unable("no gradients")
    openvino = library("openvino")
    return bound(_model(openvino, problem), problem.x, problem.spec.output_shape)


def _model(openvino: Any, problem: WindowProblem) -> Any:
    operations = library("openvino.opset13")
    spec, pads = problem.spec, list(problem.pads)
    x = operations.parameter(spec.input_shape, np.float32, name="x")
    stride, kernel = list(spec.stride), list(spec.kernel)
    if problem.kind == MAX:
        y = operations.max_pool(x, stride, [1] * spec.rank, pads, pads, kernel).output(0)
        y = operations.result(y)  # it has a second output, the indices
    else:
        y = operations.avg_pool(x, stride, pads, pads, kernel, False)
    return openvino.Model([y], [x], "window")
