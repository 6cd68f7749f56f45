"""The arrays of one network, the same in every process; see ``problem.py`` for those of a layer.

Drawing the weights of VGG-16 takes seconds, and ten processes want them. So the first one leaves
them in the folder that the environment names, if it names one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.networks import NetworkSpec, parse
from benchmarks.problem import Array, relative_error
from benchmarks.protocol import INFERENCE, STEP
from faltung.graph.initial import generator, parameters
from faltung.graph.value import Graph

FOLDER = "FALTUNG_BENCH_ARRAYS"
MOMENTUM = 0.9  # of the steps
STEPS = 3  # that are compared

# Outputs: relative RMS, as for layers. Losses: the largest relative difference of the first steps;
# float32 costs about 1e-6, a wrong gradient or a momentum of another meaning 1e-2.
LIMITS = {INFERENCE: 1e-4, STEP: 1e-3}


@dataclass(frozen=True)
class NetworkProblem:
    """A network to be run or trained; arrays are float32 and drawn from fixed seeds.

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
        """How far an answer is from the right one; ValueError for another shape."""
        if self.direction == INFERENCE:
            return relative_error(got, want)
        if got.shape != want.shape:
            raise ValueError(f"shape={got.shape}: the right answer has shape {want.shape}")
        return float(np.max(np.abs(got - want) / np.abs(want)))


def draw(text: str, direction: str) -> NetworkProblem:
    """All arrays of a problem."""
    spec = parse(text)
    graph = spec.graph()
    values = _kept(f"{text} {direction}", lambda: _values(graph, direction))
    random = np.random.default_rng(2)
    x = random.standard_normal((spec.batch, *spec.shape), dtype=np.float32)
    classes = graph.output.channels
    labels = random.integers(0, classes, spec.batch)
    ordered = {p.name: values[p.name] for p in graph.parameters}
    return NetworkProblem(text, direction, spec, ordered, x, labels, classes)


def _values(graph: Graph, direction: str) -> dict[str, Array]:
    """All parameters. A network that is run has biases and statistics as if it had been trained:
    with means 0 and variances 1 normalisation does nothing, and hides any mistake."""
    values: dict[str, Array] = dict(parameters(graph))
    if direction == INFERENCE:
        for p in graph.parameters:
            if not isinstance(p.initial, str):
                spread = generator(1, p.name).random(p.shape, np.float32) - np.float32(0.5)
                values[p.name] += spread * np.float32(1.0 if p.initial else 0.2)
    return values


def _kept(key: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What ``make`` gives, from the file that an earlier process left."""
    if not os.environ.get(FOLDER):
        return make()
    path = Path(os.environ[FOLDER]) / f"{sha256(key.encode()).hexdigest()}.npz"
    if not path.exists():
        whole = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(whole, allow_pickle=False, **make())
        whole.rename(path)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
