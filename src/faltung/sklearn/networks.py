"""Which network an estimator trains, and how, where it is not told: by the shape of a sample."""

from collections.abc import Sequence
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.nets.convnet import convnet
from faltung.nets.table import get
from faltung.nn import build
from faltung.nn.activation import ReLU
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.structure import Sequential
from faltung.train.recipes import Recipe, of_estimator

AUTO = "auto"
HIDDEN = 100  # of a table's network, as in scikit-learn's own


def usual(net: Any, shape: Sequence[int]) -> Recipe:
    """The recipe for a network for samples of a shape."""
    return of_estimator(len(shape) > 1, net == AUTO)


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
