"""Which network an estimator trains, and how, where it is not told: by the shape of a sample."""

from collections.abc import Sequence
from math import prod
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.nets.table import get
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm
from faltung.nn.pool import GlobalAvgPool, MaxPool
from faltung.nn.structure import Flatten, Sequential

AUTO = "auto"
HIDDEN = 100  # of a table's network, as in scikit-learn's own
# Channels of the convolutions, from the first on; the last number is that of all further ones.
CHANNELS = (16, 32, 64, 128, 128)
SMALLEST = 2  # positions along an axis that are left
AT_ONCE = 32  # pictures with longer axes are halved after the first convolution too
FLAT = 16  # positions up to which the linear layer reads each by itself


@dataclass(frozen=True)
class Recipe:
    """How a kind of network is trained: steps in all, the fewest and the most epochs, the learning
    rate, weight decay, smoothing of labels, and noise in standard deviations.
    """

    steps: int
    epochs: tuple[int, int]
    lr: float
    decay: float
    smoothing: float
    jitter: float

    def length(self, batches: int) -> int:
        """How many epochs of so many batches."""
        least, most = self.epochs
        return min(max(round(self.steps / batches), least), most)


# Chosen by cross-validation on the small sets that scikit-learn ships and generates.
TABLE = Recipe(2000, (10, 200), 0.02, 0.3, 0.0, 0.0)
GRID = Recipe(1000, (8, 100), 0.02, 0.5, 0.1, 0.3)


def recipe(shape: Sequence[int]) -> Recipe:
    """The recipe for samples of a shape."""
    return TABLE if len(shape) == 1 else GRID


def network(net: Any, shape: Sequence[int], outputs: int) -> Layer:
    """The layers that ``net`` means for samples of a shape. ValueError, TypeError: none."""
    if isinstance(net, Layer):
        return net
    if not isinstance(net, str):
        raise FaltungTypeError(
            f"net={show(net)}: must be 'auto', the name of a network or a layer of faltung.nn"
        )
    if net != AUTO:
        return get(net, classes=outputs, input_shape=shape)
    return _table(outputs) if len(shape) == 1 else _grid(outputs, shape)


def check_outputs(net: Any, found: Sequence[int], wanted: int) -> None:
    """ValueError: a network whose outputs (C, *space) are not a number for each wanted."""
    if tuple(found) != (wanted,):
        said = f"outputs of shape {tuple(found)}" if len(found) > 1 else f"{found[0]} outputs"
        raise FaltungError(
            f"net={show(net)}: has {said}, y needs {wanted}; end with Linear({wanted})"
        )


def _table(outputs: int) -> Layer:
    return Sequential(Linear(HIDDEN), ReLU(), Linear(outputs))


def _grid(outputs: int, shape: Sequence[int]) -> Layer:
    """Normalised convolutions of width 3, twice the channels after each halving."""
    space, layers = list(shape[1:]), list[Layer]()
    for number, channels in enumerate(CHANNELS):
        layers += [Conv(channels, 3, padding="same", bias=False), BatchNorm(), ReLU()]
        if number == 0 and max(space) <= AT_ONCE:
            continue
        halved = [2 if size >= 2 * SMALLEST else 1 for size in space]
        if max(halved) == 1:
            break
        layers.append(MaxPool(tuple(halved)))
        space = [size // by for size, by in zip(space, halved, strict=True)]
        if max(space) < 2 * SMALLEST:
            break
    layers.append(Flatten() if prod(space) <= FLAT else GlobalAvgPool())
    return Sequential(*layers, Linear(outputs))
