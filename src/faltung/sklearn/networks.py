"""Which network an estimator trains, and how, where it is not told: by the shape of a sample."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.nets.convnet import convnet
from faltung.nets.table import get
from faltung.nn import build
from faltung.nn.activation import ReLU
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.structure import Sequential

AUTO = "auto"
HIDDEN = 100  # of a table's network, as in scikit-learn's own
AT_LEAST = 64  # steps in an epoch before batches grow
CAREFUL = 0.25  # of the rate, for other networks than ours


@dataclass(frozen=True)
class Recipe:
    """How a kind of network is trained: about how many steps, the fewest and the most epochs, the
    fewest and the most samples in a step, the learning rate, weight decay for so many samples (more
    of fewer, within bounds), smoothing of labels, and noise in standard deviations.
    """

    steps: int
    epochs: tuple[int, int]
    batches: tuple[int, int]
    lr: float
    decay: float
    decays: tuple[float, float]
    smoothing: float
    jitter: float

    def length(self, batches: int) -> int:
        """How many epochs of so many batches."""
        least, most = self.epochs
        return min(max(round(self.steps / batches), least), most)

    def batch(self, samples: int) -> int:
        """How many samples a step takes: a power of two, more of many samples."""
        least, most = self.batches
        return min(max(least, 1 << (max(samples // AT_LEAST, 1).bit_length() - 1)), most)

    def shrink(self, samples: int) -> float:
        """The weight decay: in inverse proportion to the samples, as if the loss were their sum."""
        least, most = self.decays
        return min(max(self.decay / samples, least), most)


# Chosen by cross-validation on the small sets that scikit-learn ships and generates.
TABLE = Recipe(1000, (40, 100), (32, 256), 0.04, 150, (0.05, 0.5), 0.0, 0.0)
GRID = Recipe(1000, (8, 100), (32, 128), 0.02, 600, (0.05, 0.5), 0.1, 0.3)


def usual(net: Any, shape: Sequence[int]) -> Recipe:
    """The recipe for a network for samples of a shape."""
    found = TABLE if len(shape) == 1 else GRID
    return found if net == AUTO else replace(found, lr=CAREFUL * found.lr)


def network(net: Any, shape: Sequence[int], outputs: int) -> Layer:
    """The layers that ``net`` means for samples of a shape. ValueError, TypeError: none."""
    if isinstance(net, Layer):
        return _checked(net, net, shape, outputs)
    if callable(net) and not isinstance(net, type):
        made = net(outputs, tuple(shape))
        if not isinstance(made, Layer):
            raise FaltungTypeError(f"net={show(net)}: gave {show(made)}: must give a Layer")
        return _checked(net, made, shape, outputs)
    if not isinstance(net, str):
        raise FaltungTypeError(
            f"net={show(net)}: must be 'auto', the name of a network, a layer of faltung.nn, or a "
            "function (outputs, input_shape) that gives one"
        )
    if net != AUTO:
        return get(net, classes=outputs, input_shape=shape)
    return _table(outputs) if len(shape) == 1 else convnet(outputs, shape)


def _checked(net: Any, layers: Layer, shape: Sequence[int], outputs: int) -> Layer:
    """A caller's layers. ValueError: their outputs are not a number for each that is wanted."""
    found = build(layers, shape).output.shape
    if found != (outputs,):
        said = f"outputs of shape {found}" if len(found) > 1 else f"{found[0]} outputs"
        raise FaltungError(
            f"net={show(net)}: has {said}, y needs {outputs}; end with Linear({outputs})"
        )
    return layers


def _table(outputs: int) -> Layer:
    return Sequential(Linear(HIDDEN), ReLU(), Linear(outputs))
