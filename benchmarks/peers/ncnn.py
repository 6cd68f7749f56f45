"""ncnn: a network of one convolution, half-precision storage and arithmetic off.

A call takes a channels-first array and gives one back, so it packs and unpacks the channels,
which a whole network in ncnn does only at its two ends.
"""

import tempfile
from typing import Any

import numpy as np

from benchmarks.peers import Task, Unable, library, openmp
from benchmarks.problem import Array, Problem
from benchmarks.protocol import FORWARD

environment = openmp
_threads = 1
_OFF = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
    "use_vulkan_compute",
)
# Parameter numbers for the axes in ncnn's order w, h, d (the last axis first)
_KERNEL, _DILATION, _STRIDE = (1, 11, 21), (2, 12, 22), (3, 13, 23)
_BEFORE, _AFTER = (4, 14, 24), (15, 16, 17)


def start(threads: int) -> str:
    global _threads
    _threads = threads
    return str(library("ncnn").__version__)


def build(problem: Problem, variant: str) -> Task:
    ncnn = library("ncnn")
    if problem.direction != FORWARD:
        raise Unable("no gradients")
    if problem.spec.dtype != "float32":
        raise Unable("float32 alone")
    if problem.spec.rank > 3:
        raise Unable("no convolution above rank 3")
    if problem.spec.flip:
        raise Unable("no true convolution")
    loaded = _loaded(ncnn, problem)
    batch = problem.spec.batch
    x = ncnn.Mat(problem.x, 0) if batch > 1 else ncnn.Mat(problem.x[0])

    def call() -> Any:
        extractor = loaded.create_extractor()
        extractor.input("x", x)
        code, y = extractor.extract("y")
        if code:
            raise RuntimeError(f"ncnn answered with code {code}")
        return y

    def array() -> Array:
        y = call()
        if batch == 1:
            return np.array(y)[None]
        return np.stack([np.array(y.batch(i)) for i in range(batch)])

    return Task(call, array, keep=(problem.x,))


def net(ncnn: Any) -> Any:
    """An empty network, in float32 on all threads."""
    made = ncnn.Net()
    made.opt.num_threads = _threads
    for option in _OFF:
        if hasattr(made.opt, option):
            setattr(made.opt, option, False)
    return made


def _loaded(ncnn: Any, problem: Problem) -> Any:
    made = net(ncnn)
    if made.load_param_mem(_parameters(problem)):
        raise Unable("its parameters were refused")
    # From a file: the loader for memory keeps a reference to bytes that Python has freed.
    with tempfile.NamedTemporaryFile() as file:
        tag = np.uint32(0).tobytes()  # plain float32 follows
        bias = b"" if problem.bias is None else problem.bias.tobytes()
        file.write(tag + problem.weight.tobytes() + bias)
        file.flush()
        if made.load_model(file.name):
            raise Unable("its weights were refused")
    return made


def _parameters(problem: Problem) -> str:
    spec = problem.spec
    numbers = {0: spec.channels_out, 5: int(problem.bias is not None), 6: problem.weight.size}
    for index, axis in enumerate(reversed(spec.axes)):
        numbers |= {_KERNEL[index]: axis.kernel, _DILATION[index]: axis.dilation}
        numbers |= {_STRIDE[index]: axis.stride}
        numbers |= {_BEFORE[index]: axis.lo, _AFTER[index]: axis.hi}
    name = "Convolution"
    if spec.groups > 1:
        name += "DepthWise"
        numbers[7] = spec.groups
    name += {1: "1D", 2: "", 3: "3D"}[spec.rank]
    words = " ".join(f"{key}={value}" for key, value in sorted(numbers.items()))
    return f"7767517\n2 2\nInput in 0 1 x\n{name} conv 1 1 x y {words}\n"
