"""Runtimes that run ONNX files, each as ``faltung bench`` calls it; ncnn with files of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.file_problem import FileProblem
from benchmarks.peers import Task
from benchmarks.problem import Array
from faltung.onnx.peers import PEERS


def task(peer: str, problem: FileProblem, threads: int) -> Task:
    """A file loaded by a runtime of ``faltung.onnx.peers``."""
    run = PEERS[peer][1](str(problem.path), problem.inputs, threads)
    return Task(run, lambda: flat(run()))


def flat(outputs: Sequence[Any]) -> Array:
    """All outputs one after another."""
    return np.concatenate([np.asarray(array).ravel() for array in outputs])
