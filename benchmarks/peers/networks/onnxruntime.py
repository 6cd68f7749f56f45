"""ONNX Runtime on our ONNX file, input and output bound once."""

from benchmarks.network_problem import NetworkProblem
from benchmarks.peers import Task
from benchmarks.peers.networks.exported import exported
from benchmarks.peers.onnxruntime import bound, environment, start

__all__ = ["build", "environment", "start"]


def build(problem: NetworkProblem, variant: str) -> Task:
    return bound(exported(problem), problem.x, problem.output_shape)
