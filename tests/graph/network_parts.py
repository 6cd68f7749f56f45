"""Parts of the networks of the table: blocks as papers have them, and layers of our own."""

from dataclasses import dataclass

from faltung import nn
from faltung.geometry.expr import operand, unary
from faltung.geometry.grid import Sampling
from faltung.graph.builder import Builder
from faltung.graph.ops import GridSample, Reduce
from faltung.graph.value import Value


def conv_norm(channels: int, kernel: int = 3, stride: int = 1) -> nn.Layer:
    """A convolution without bias, normalised and rectified."""
    conv = nn.Conv(channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm(), nn.ReLU())


def inception() -> nn.Layer:
    """A module with four branches, as in Szegedy et al., 2014, with batch normalisation."""
    return nn.Parallel(
        conv_norm(3, 1),
        nn.Sequential(conv_norm(2, 1), conv_norm(4)),
        nn.Sequential(conv_norm(2, 1), conv_norm(3, 5)),
        nn.Sequential(nn.MaxPool(3, stride=1, padding=1), conv_norm(2, 1)),
    )


def block(channels: int, stride: int = 1) -> nn.Layer:
    """A basic block of a residual network."""
    body = nn.Sequential(
        conv_norm(channels, 3, stride),
        nn.Conv(channels, 3, padding=1, bias=False),
        nn.BatchNorm(),
    )
    short = nn.Sequential(nn.Conv(channels, 1, stride=stride, bias=False), nn.BatchNorm())
    return nn.Sequential(nn.Residual(body, shortcut=short if stride > 1 else None), nn.ReLU())


def dense(growth: int) -> nn.Layer:
    """A step of a densely connected network: the input beside what is made of it."""
    return nn.Parallel(
        nn.Identity(),
        nn.Sequential(nn.BatchNorm(), nn.ReLU(), nn.Conv(growth, 3, padding=1, bias=False)),
    )


def skip(inner: nn.Layer, channels: int) -> nn.Layer:
    """A level of a U-Net: down, ``inner``, up, beside the input."""
    down = nn.Sequential(
        nn.MaxPool(2),
        nn.Conv(channels, 3, padding=1),
        nn.ReLU(),
        inner,
        nn.ConvTranspose(channels, 2, stride=2),
    )
    return nn.Parallel(nn.Identity(), down)


class Gates(nn.Layer):
    """What a position of any channel is, and what any position of a row is, between constant maps:
    operands that are broadcast along every axis, with and without a batch.
    """

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        c, h, w = x.shape
        a, other = operand(0), operand(1)
        places = b.parameter("places", x.shape, order=(1, 2, 0), initial=0.5)
        rows = b.parameter("rows", (1, h, 1), order=(1, 2, 0), initial=1.5)
        scale = b.parameter("scale", (c,), initial=0.7)
        x = b.elementwise((a + other) * operand(2), x, places, rows)
        mean = b.node(Reduce((0,), "mean"), (x,), (1, h, w))
        gate = b.elementwise(unary("sigmoid", a), mean)
        column = b.node(Reduce((1,), "sum"), (x,), (c, 1, w))
        return b.elementwise(
            a * other + unary("sin", operand(2)) * operand(3), x, gate, column, scale
        )


@dataclass(frozen=True, slots=True, repr=False)
class Sampled(nn.Layer):
    """The map at places that a convolution names: a small spatial transformer."""

    how: Sampling

    def build(self, b: Builder, x: Value) -> Value:
        grid = nn.Conv(len(x.space), 2, padding="same")(b, x)
        grid = b.elementwise(unary("tanh", operand(0)) * 1.3, grid)
        return b.node(GridSample(self.how), (x, grid), x.shape)


@dataclass(frozen=True, slots=True, repr=False)
class Places(nn.Layer):
    """The same places for all samples of the batch, which are trained."""

    def build(self, b: Builder, x: Value) -> Value:
        grid = b.parameter("grid", (2, 3, 4), order=(1, 2, 0))
        return b.node(GridSample(Sampling("cubic", "border")), (x, grid), (x.channels, 3, 4))


LENET = nn.Sequential(
    nn.Conv(4, 5, padding=2),
    nn.Tanh(),
    nn.AvgPool(2),
    nn.Conv(6, 3),
    nn.Tanh(),
    nn.AvgPool(2),
    nn.Flatten(),
    nn.Linear(12),
    nn.Tanh(),
    nn.Linear(5),
)
RESNET = nn.Sequential(
    conv_norm(6), block(6), block(8, 2), nn.GlobalAvgPool(), nn.Dropout(0.2), nn.Linear(5)
)
GOOGLENET = nn.Sequential(
    conv_norm(6),
    inception(),
    nn.Auxiliary(nn.Sequential(nn.AvgPool(2), nn.Flatten(), nn.Linear(4)), weight=0.3),
    nn.MaxPool(2),
    inception(),
    nn.Auxiliary(nn.Sequential(nn.Conv(3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4)), weight=0.4),
    nn.GlobalAvgPool(),
    nn.Linear(4),
)
DEPTH = nn.Sequential(
    nn.Conv(4, 3, padding=1),
    nn.Residual(nn.Sequential(nn.Conv(4, 1), nn.Tanh(), nn.StochasticDepth(0.4))),
    nn.Residual(nn.Sequential(nn.Conv(4, 1), nn.StochasticDepth(0.5)), shortcut=nn.Conv(4, 1)),
    nn.GlobalAvgPool(),
    nn.Linear(3),
)
TEXT = nn.Sequential(
    nn.Embedding(11, 6, padding_index=0),
    nn.Parallel(
        *(nn.Sequential(nn.Conv(3, k, padding=k - 1), nn.ReLU(), nn.MaxPool(7 + k)) for k in (2, 3))
    ),
    nn.Flatten(),
    nn.Dropout(0.5),
    nn.Linear(3),
)
SERIES = nn.Sequential(
    *(
        nn.Residual(
            nn.Sequential(
                nn.Conv(4, 3, dilation=d, padding="causal"),
                nn.LayerNorm(),
                nn.GELU(approximate="tanh"),
            )
        )
        for d in (1, 2, 4)
    ),
    nn.Conv(3, 1),
)
VOLUMES = nn.Sequential(
    nn.Conv(3, 3, padding="same", padding_mode=("reflect", "zeros", "circular")),
    nn.GroupNorm(3),
    nn.ELU(),
    nn.MaxPool((1, 2, 2)),
    nn.Conv(4, (2, 2, 3)),
    nn.SiLU(),
    nn.Flatten(),
    nn.Linear(4),
)
