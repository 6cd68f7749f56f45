"""ONNX Runtime: a session of the file; its answers are what the others are compared with."""

import numpy as np

from benchmarks.file_problem import FileProblem
from benchmarks.peers import Task
from benchmarks.peers import onnxruntime as layers
from benchmarks.peers.files import task
from benchmarks.problem import Array

environment = layers.environment
_threads = 1


def start(threads: int) -> str:
    global _threads
    _threads = threads
    return layers.start(threads)


def build(problem: FileProblem, variant: str) -> Task:
    return task("onnxruntime", problem, _threads)


def answer(problem: FileProblem) -> Array:
    """All outputs, in float32."""
    return np.asarray(build(problem, "").array())
