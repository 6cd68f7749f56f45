"""Which network an estimator trains, and how, where it is not told: by the shape of a sample."""

from collections.abc import Sequence
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.nets.convnet import convnet
from faltung.nets.table import get
from faltung.nn.activation import ReLU
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.structure import Sequential
from faltung.train.recipes import Recipe, recipe

AUTO = "auto"
HIDDEN = 100  # of a table's network, as in scikit-learn's own


def usual(shape: Sequence[int]) -> Recipe:
    """The recipe for samples of a shape."""
    return recipe("mlp" if len(shape) == 1 else "convnet")


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
    return _table(outputs) if len(shape) == 1 else convnet(outputs, shape)


def check_outputs(net: Any, found: Sequence[int], wanted: int) -> None:
    """ValueError: a network whose outputs (C, *space) are not a number for each wanted."""
    if tuple(found) != (wanted,):
        said = f"outputs of shape {tuple(found)}" if len(found) > 1 else f"{found[0]} outputs"
        raise FaltungError(
            f"net={show(net)}: has {said}, y needs {wanted}; end with Linear({wanted})"
        )


def _table(outputs: int) -> Layer:
    return Sequential(Linear(HIDDEN), ReLU(), Linear(outputs))
