"""THE table of networks for all that is done to graphs: every layer of `nn.networks`, with
something trained before it, and networks whose shape makes passes and programs stumble.

A row is (network, input shape). The laws of `tests/graph` and `tests/program` run over all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from graph import interpreter
from graph.network_parts import (
    DEPTH,
    GOOGLENET,
    LENET,
    RESNET,
    SERIES,
    TEXT,
    VOLUMES,
    Gates,
    Places,
    Sampled,
    conv_norm,
    dense,
    skip,
)
from nn.networks import ACTIVATIONS, INCEPTION, NETWORKS, TOKENS, UNET, Row
from numpy.typing import ArrayLike, NDArray

from faltung import nn
from faltung.geometry.grid import Sampling
from faltung.graph.differentiate import Training, differentiate
from faltung.graph.initial import parameters
from faltung.graph.value import Graph, Node

Array = NDArray[np.generic]


SHAPES: dict[str, Row] = {
    "gates": (nn.Sequential(nn.Conv(4, 3), Gates(), nn.Conv(2, 1), nn.ReLU()), (3, 7, 6)),
    "gates of one channel": (nn.Sequential(nn.Conv(1, 1), Gates(), nn.Conv(2, 3)), (3, 5, 6)),
    "gates after a convolution alone": (nn.Sequential(nn.Conv(3, 1), Gates()), (2, 5, 4)),
    "sampled at places": (
        nn.Sequential(nn.Conv(4, 3), Sampled(Sampling()), nn.Conv(3, 1)),
        (2, 6, 5),
    ),
    "sampled by the nearest": (
        nn.Sequential(
            nn.Conv(3, 1),
            nn.Parallel(Sampled(Sampling("nearest", "border")), nn.Identity()),
            nn.Conv(3, 1),
        ),
        (2, 4, 5),
    ),
    "sampled smoothly": (
        nn.Sequential(nn.Conv(3, 1), Sampled(Sampling("cubic", "reflection", True)), nn.ReLU()),
        (2, 4, 5),
    ),
    "sampled at places that all share": (
        nn.Sequential(nn.Conv(4, 1), Places(), nn.Conv(2, 1)),
        (3, 5, 6),
    ),
    "sampled volumes": (
        nn.Sequential(nn.Conv(2, 1), Sampled(Sampling("linear", "reflection")), nn.Conv(2, 1)),
        (2, 3, 2, 4),
    ),
    "pyramid": (
        nn.Sequential(
            nn.Conv(8, 3, padding=1),
            nn.Residual(
                nn.Sequential(
                    nn.MaxPool(2), nn.Conv(8, 3, padding=1), nn.Upsample(scale=2, mode="linear")
                ),
            ),
            nn.ReLU(),
            nn.Sequential(nn.Upsample(scale=2), nn.SiLU(), nn.BatchNorm(), nn.Pad(-1), nn.ELU()),
            nn.Conv(2, 1),
        ),
        (2, 6, 4),
    ),
    "concat of concats": (
        nn.Sequential(
            nn.Parallel(
                nn.Parallel(nn.Conv(2, 1), nn.Sequential(nn.Conv(3, 3, padding=1), nn.ReLU())),
                nn.Parallel(
                    nn.Parallel(nn.Conv(1, 1), nn.Tanh()), nn.MaxPool(3, stride=1, padding=1)
                ),
                nn.Identity(),
            ),
            nn.Conv(3, 2),
        ),
        (3, 5, 4),
    ),
    "the same value twice": (
        nn.Sequential(nn.Parallel(nn.Identity(), nn.Identity()), nn.Conv(3, 3)),
        (2, 5, 4),
    ),
    "the same value in two concats": (
        nn.Sequential(
            nn.Conv(3, 3, padding=1),
            nn.Parallel(
                nn.Sequential(nn.Parallel(nn.Identity(), nn.Conv(2, 1)), nn.ReLU()),
                nn.Sequential(nn.Parallel(nn.Conv(2, 1), nn.Identity()), nn.Tanh()),
            ),
            nn.Conv(2, 1),
        ),
        (2, 5, 4),
    ),
    "concats that end the network": (nn.Parallel(nn.Conv(2, 1), nn.Identity()), (3, 4, 4)),
    "ten branches": (
        nn.Sequential(nn.Conv(3, 1), nn.Parallel(*[nn.Conv(1, 1)] * 10), nn.Conv(2, 1)),
        (3, 4, 3),
    ),
    "ten paths to one formula": (
        nn.Sequential(nn.Tanh(), nn.Parallel(*[nn.Sigmoid()] * 10), nn.ReLU(), nn.Conv(2, 1)),
        (3, 4, 3),
    ),
    "vectors beside each other": (
        nn.Sequential(
            nn.Parallel(
                nn.GlobalAvgPool(),
                nn.Sequential(nn.MaxPool((5, 4)), nn.Flatten()),
                nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.ReLU()),
            ),
            nn.Linear(4),
        ),
        (3, 5, 4),
    ),
    "residual of a concat": (
        nn.Sequential(
            nn.Residual(nn.Parallel(nn.Conv(1, 3, padding=1), nn.Conv(2, 1))),
            nn.Residual(nn.Identity()),
            nn.ReLU(),
        ),
        (3, 5, 4),
    ),
    "residuals in a row": (
        nn.Sequential(*(nn.Residual(nn.Conv(3, 3, padding=1)) for _ in range(3)), nn.Tanh()),
        (3, 5, 4),
    ),
    "residual of residuals": (
        nn.Residual(nn.Residual(nn.Residual(nn.Conv(3, 3, padding=1, bias=False)))),
        (3, 4, 4),
    ),
    "densely connected": (
        nn.Sequential(nn.Conv(3, 3, padding=1), dense(2), dense(3), dense(2), nn.Conv(2, 1)),
        (2, 5, 4),
    ),
    "unet of two levels": (
        nn.Sequential(
            nn.Conv(3, 3, padding=1), skip(skip(nn.Conv(4, 1), 3), 4), nn.ReLU(), nn.Conv(2, 1)
        ),
        (2, 8, 4),
    ),
    "norm twice": (
        nn.Sequential(nn.Conv(3, 3), nn.BatchNorm(), nn.BatchNorm(), nn.Conv(2, 1)),
        (2, 6, 5),
    ),
    "norm before a convolution": (
        nn.Sequential(nn.BatchNorm(), nn.Conv(3, 3, padding=1), nn.Tanh()),
        (3, 5, 4),
    ),
    "norm of what others read": (
        nn.Sequential(nn.Conv(4, 3), nn.Parallel(nn.Identity(), nn.BatchNorm()), nn.Conv(2, 1)),
        (2, 6, 5),
    ),
    "norm of a transpose": (
        nn.Sequential(nn.ConvTranspose(6, 3, stride=2, groups=3), nn.BatchNorm(), nn.ReLU6()),
        (3, 4, 3),
    ),
    "norm of a transpose without bias": (
        nn.Sequential(nn.ConvTranspose(4, 2, stride=2, bias=False), nn.BatchNorm()),
        (3, 4, 3),
    ),
    "norm of a linear layer": (
        nn.Sequential(
            nn.Flatten(), nn.Linear(8), nn.BatchNorm(), nn.ReLU(), nn.Linear(4), nn.BatchNorm()
        ),
        (2, 4, 3),
    ),
    "norm of groups": (
        nn.Sequential(nn.Conv(8, 3, groups=4, bias=False), nn.BatchNorm(), nn.HardSwish()),
        (4, 6, 5),
    ),
    "norm far from zero": (
        nn.Sequential(
            nn.Softplus(), nn.BatchNorm(), nn.Sigmoid(), nn.BatchNorm(eps=1e-3, momentum=0.5)
        ),
        (3, 4, 3),
    ),
    "dropouts": (
        nn.Sequential(
            nn.Conv(4, 3),
            nn.Dropout(0.3),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(3),
        ),
        (2, 6, 5),
    ),
    "every activation in a row": (
        nn.Sequential(nn.Conv(4, 1), *ACTIVATIONS, nn.Conv(2, 1)),
        (3, 4, 3),
    ),
    "softmax in the middle": (
        nn.Sequential(nn.Conv(4, 1), nn.Softmax(), nn.Conv(3, 3)),
        (3, 5, 4),
    ),
    "inception beside itself": (
        nn.Sequential(nn.Parallel(INCEPTION, INCEPTION), nn.ReLU(), INCEPTION),
        (3, 6, 5),
    ),
    "pools beside each other": (
        nn.Parallel(
            nn.MaxPool(3, stride=2, padding=1),
            nn.AvgPool(3, stride=2, padding=1),
            nn.Conv(2, 1, stride=2, padding=0),
        ),
        (3, 5, 7),
    ),
    "one channel": (nn.Sequential(nn.ReLU(), nn.Conv(2, 3), nn.Flatten(), nn.Linear(3)), (1, 5, 4)),
    "one position": (
        nn.Sequential(nn.Conv(4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3)),
        (5, 1, 1),
    ),
    "one class": (nn.Sequential(nn.Flatten(), nn.Linear(1)), (2, 3)),
    "flattened in a branch": (
        nn.Parallel(
            nn.Sequential(nn.Flatten(), nn.BatchNorm(), nn.Linear(3)),
            nn.Sequential(nn.Conv(2, 2), nn.Flatten()),
        ),
        (2, 3, 3),
    ),
    "heads in odd places": (
        nn.Sequential(
            nn.Auxiliary(nn.Linear(3), weight=0.5),
            nn.Linear(3),
            nn.Auxiliary(nn.Identity(), weight=0.25),
            nn.Tanh(),
            nn.Linear(3),
            nn.Auxiliary(nn.Sequential(nn.ReLU(), nn.Linear(3)), weight=2.0),
        ),
        (4,),
    ),
    "two tables": (
        nn.Sequential(
            nn.Parallel(nn.Embedding(11, 3), nn.Embedding(11, 2, padding_index=4)),
            nn.BatchNorm(),
            nn.Conv(3, 2),
        ),
        (6,),
    ),
    "larger than its input": (
        nn.Sequential(nn.Conv(3, 7, padding=3), nn.ReLU(), nn.Conv(2, 5, padding=4, stride=3)),
        (2, 4, 3),
    ),
    "more stride than kernel": (
        nn.Sequential(
            nn.Conv(3, 1), nn.ReLU(), nn.Conv(4, 2, stride=3), nn.Tanh(), nn.Conv(2, 1, stride=2)
        ),
        (2, 9, 8),
    ),
    "wide": (
        nn.Sequential(nn.Conv(40, 3, padding=1), nn.ReLU(), conv_norm(24), nn.Conv(19, 1)),
        (17, 9, 8),
    ),
    "lenet": (LENET, (1, 12, 12)),
    "resnet": (RESNET, (3, 8, 8)),
    "blocks left out": (DEPTH, (2, 5, 4)),
    "googlenet": (GOOGLENET, (3, 8, 8)),
    "text": (TEXT, (8,)),
    "series": (SERIES, (4, 12)),
    "volumes": (VOLUMES, (2, 4, 5, 6)),
}
SHAPES["unet of transposes"] = (nn.Sequential(UNET, nn.ReLU(), nn.Conv(2, 1)), (2, 6, 4))


def led(net: nn.Layer, shape: tuple[int, ...]) -> nn.Layer:
    """The network with a layer before it whose gradient shows that of the network's input: an
    entry of it for every position.
    """
    first = nn.Linear(shape[0]) if len(shape) == 1 else nn.Local(shape[0], 1)
    return nn.Sequential(first, net)


TABLE: dict[str, Row] = {
    **{
        name: (net if name in TOKENS else led(net, shape), shape)
        for name, (net, shape) in NETWORKS.items()
    },
    **SHAPES,
}
WITH_TOKENS = (*TOKENS, "text", "two tables")


@dataclass(frozen=True)
class Problem:
    """A network about to be trained on one batch; arrays in float64, labels and tokens int64."""

    name: str
    graph: Graph
    training: Training
    parameters: dict[str, Array]
    x: Array
    target: Array
    smoothing: float
    outside: dict[str, Array]

    def known(self) -> dict[str, Array]:
        """What no node makes, by name."""
        given = {**self.parameters, **self.outside}
        given |= {self.graph.input.name: self.x, self.training.target.name: self.target}
        return given

    def values(self, nodes: tuple[Node, ...] | None = None, **more: ArrayLike) -> dict[str, Array]:
        """Every value that ``nodes`` make, by default all of the training step."""
        known = self.known() | {name: np.asarray(value) for name, value in more.items()}
        interpreter.compute(self.training.nodes if nodes is None else nodes, known, len(self.x))
        return known

    def loss(self, known: Mapping[str, Array]) -> float:
        """What the gradients are of: all losses, each with its weight."""
        scales = [self.outside[value.name] for value, _ in self.training.scales]
        losses = [known[value.name] for value in self.training.losses]
        return float(sum(a * b for a, b in zip(scales, losses, strict=True)))


def build(name: str, *, training: bool = True, dtype: str = "float64") -> Graph:
    net, shape = TABLE[name]
    return nn.build(net, shape, dtype=dtype, training=training, tokens=name in WITH_TOKENS)


def anything(graph: Graph, seed: int = 5) -> dict[str, Array]:
    """Parameters none of which is 0 or 1, as they are after training."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, Array] = dict(parameters(graph, seed))
    for p in graph.parameters:
        if not isinstance(p.initial, str):
            drawn[p.name] = rng.uniform(0.5, 1.5, p.shape)
    return {name: np.asarray(value, np.float64) for name, value in drawn.items()}


def inputs(graph: Graph, samples: int, seed: int = 7) -> Array:
    rng = np.random.default_rng(seed)
    shape = (samples, *graph.input.shape)
    if graph.input.kind == "int":
        return rng.integers(0, 11, shape)
    return rng.normal(size=shape)


def problem(
    name: str,
    loss: str = "mse",
    *,
    samples: int = 3,
    smoothing: float = 0.0,
    dtype: str = "float64",
) -> Problem:
    """A row with numbers in it; those of float32 fit into one. Some labels are -1: ignored."""
    graph = build(name, dtype=dtype)
    training = differentiate(graph, loss)
    rng = np.random.default_rng(11)
    wanted = (samples, *training.target.shape)
    rows = samples * graph.output.positions
    if loss == "mse":
        target = rng.normal(size=wanted).astype(dtype).astype(np.float64)
        rows *= graph.output.channels
    else:
        target = rng.integers(-1, graph.output.channels, wanted)
        target.reshape(-1)[:1] = 0
        rows = int((target >= 0).sum())
    outside: dict[str, Array] = {
        training.smoothing.name: np.asarray(np.dtype(dtype).type(smoothing))
    }
    outside |= {value.name: np.asarray(weight / rows) for value, weight in training.scales}
    keys = [v for node in training.nodes for v in node.inputs if v.kind == "key"]
    outside |= {key.name: np.asarray(1234567 * i + 89) for i, key in enumerate(keys)}
    x = inputs(graph, samples)
    numbers = {name: value.astype(dtype) for name, value in anything(graph).items()}
    return Problem(
        name,
        graph,
        training,
        {name: value.astype(np.float64) for name, value in numbers.items()},
        x if x.dtype == np.int64 else x.astype(dtype).astype(np.float64),
        target,
        smoothing,
        outside,
    )


def forward(problem: Problem) -> tuple[Node, ...]:
    """The nodes that the losses need, and no others."""
    wanted = {value.name for value in problem.training.losses}
    made: list[Node] = []
    for node in reversed(problem.training.nodes):
        if any(value.name in wanted for value in node.outputs):
            made.append(node)
            wanted |= {value.name for value in node.inputs}
    return tuple(reversed(made))
