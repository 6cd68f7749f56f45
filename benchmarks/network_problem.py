"""The arrays of one network, the same in every process; see ``problem.py`` for those of a layer.

Drawing the weights of VGG-16 takes seconds, and ten processes need them. So the first one stores
them in the folder that an environment variable names, if it is set.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks import vision
from benchmarks.networks import NetworkSpec, parse
from benchmarks.problem import Array, relative_error
from benchmarks.protocol import INFERENCE, STEP
from faltung.graph.initial import generator, parameters
from faltung.graph.value import Graph

FOLDER = "FALTUNG_BENCH_ARRAYS"
MOMENTUM = 0.9  # of the training steps
STEPS = 3  # training steps that are compared

# Outputs: relative RMS error, as for layers. Losses: the largest relative difference in the first
# steps; float32 causes about 1e-6, a wrong gradient or another definition of momentum 1e-2.
LIMITS = {INFERENCE: 1e-4, STEP: 1e-3}


@dataclass(frozen=True)
class NetworkProblem:
    """A network to run or to train; arrays are float32 and drawn with fixed seeds.

    parameters: by name, in the order of the layers. x: (N, C, *space). labels: (N,) int64.
    """

    text: str
    direction: str
    spec: NetworkSpec
    parameters: dict[str, Array]
    x: Array
    labels: Array
    classes: int

    @property
    def output_shape(self) -> tuple[int, int]:
        return self.spec.batch, self.classes

    @property
    def limit(self) -> float:
        return LIMITS[self.direction]

    def error(self, got: Array, want: Array) -> float:
        """The error of a result against the correct one. ValueError: another shape."""
        if self.direction == INFERENCE:
            return relative_error(got, want)
        if got.shape != want.shape:
            raise ValueError(f"shape={got.shape}: the right answer has shape {want.shape}")
        return float(np.max(np.abs(got - want) / np.abs(want)))


def draw(text: str, direction: str) -> NetworkProblem:
    """All arrays of a problem."""
    spec = parse(text)
    graph = spec.graph()
    values = _kept(f"{text} {direction}", lambda: _values(spec, graph, direction))
    random = np.random.default_rng(2)
    x = random.standard_normal((spec.batch, *spec.shape), dtype=np.float32)
    classes = graph.output.channels
    labels = random.integers(0, classes, spec.batch)
    ordered = {p.name: values[p.name] for p in graph.parameters}
    return NetworkProblem(text, direction, spec, ordered, x, labels, classes)


def _values(spec: NetworkSpec, graph: Graph, direction: str) -> dict[str, Array]:
    """All parameters. For inference, biases and statistics are as if the network were trained.

    With means 0 and variances 1, normalisation would do nothing and hide any mistake.
    """
    if spec.torchvision is not None:
        name, options = spec.torchvision
        values = dict(vision.values(name, spec.shape, options))
    else:
        values = dict(parameters(graph))
    if direction == INFERENCE:
        for p in graph.parameters:
            if not isinstance(p.initial, str):
                spread = generator(1, p.name).random(p.shape, np.float32) - np.float32(0.5)
                values[p.name] += spread * np.float32(1.0 if p.initial else 0.2)
    return values


def _kept(key: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What ``make`` returns, or the file that an earlier process stored."""
    if not os.environ.get(FOLDER):
        return make()
    path = Path(os.environ[FOLDER]) / f"{sha256(key.encode()).hexdigest()}.npz"
    if not path.exists():
        whole = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(whole, allow_pickle=False, **make())
        whole.rename(path)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
