"""OpenVINO on our ONNX file, float32 asked for, shared tensors."""

from benchmarks.network_problem import NetworkProblem
from benchmarks.peers import Task, library
from benchmarks.peers.networks.exported import exported
from benchmarks.peers.openvino import bound, environment, start

__all__ = ["build", "environment", "start"]


def build(problem: NetworkProblem, variant: str) -> Task:
    model = library("openvino").Core().read_model(exported(problem), b"")
    model.reshape(list(problem.x.shape))  # the file leaves the batch open
    return bound(model, problem.x, problem.output_shape)
