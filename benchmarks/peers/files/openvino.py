"""OpenVINO: the file compiled for the sizes of its inputs."""

from benchmarks.file_problem import FileProblem
from benchmarks.peers import Task
from benchmarks.peers import openvino as layers
from benchmarks.peers.files import task

environment = layers.environment
_threads = 1


def start(threads: int) -> str:
    global _threads
    _threads = threads
    return layers.start(threads)


def build(problem: FileProblem, variant: str) -> Task:
    return task("openvino", problem, _threads)
