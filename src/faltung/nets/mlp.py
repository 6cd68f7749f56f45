"""Fully connected networks, for rows of a table: LeNet-300-100."""

from collections.abc import Sequence

from faltung.geometry.check import whole
from faltung.nn.activation import ReLU, Tanh
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.structure import Flatten, Sequential


def mlp(
    classes: int,
    input_shape: Sequence[int],
    *,
    hidden: Sequence[int] = (300, 100),
    paper: bool = False,
) -> Layer:
    """Linear layers: LeNet-300-100, with which the paper compares its convolutions.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(features,)`` of a row of a table, or ``(channels, *space)``, of which all are features.
    hidden : sequence of int
        The outputs of each layer but the last.
    paper : bool
        Whether activations are tangents, as in 1998; else they are ReLU.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86, 1998, section III.C.4.
    """
    layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
    for features in (hidden,) if isinstance(hidden, int) else hidden:
        layers += [Linear(whole("hidden", features, 1)), Tanh() if paper else ReLU()]
    return Sequential(*layers, Linear(classes))
