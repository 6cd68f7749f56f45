"""ncnn: the files that its converter ``pnnx`` makes of an ONNX file, beside that file.

Their input is ``in0``, their output ``out0``.
"""

from typing import Any

import numpy as np

from benchmarks.file_problem import FileProblem
from benchmarks.peers import Task, Unable, library
from benchmarks.peers import ncnn as layers

environment = layers.environment
start = layers.start


def build(problem: FileProblem, variant: str) -> Task:
    ncnn: Any = library("ncnn")
    path = problem.path.with_suffix(".ncnn.param")
    (x,) = problem.inputs.values()
    if len(x) > 1:
        raise Unable("one sample at a time")
    if not path.exists():
        raise Unable("no .ncnn.param beside the file")
    net = layers.net(ncnn)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise Unable("its files were refused")
    given = ncnn.Mat(x[0])

    def call() -> Any:
        extractor = net.create_extractor()
        extractor.input("in0", given)
        code, y = extractor.extract("out0")
        if code:
            raise RuntimeError(f"ncnn answered with code {code}")
        return y

    return Task(call, lambda: np.array(call()).ravel(), keep=(x,))
