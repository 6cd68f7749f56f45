"""LeNet-5."""

from collections.abc import Sequence

from faltung.nn.activation import ReLU, Tanh
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.pool import AvgPool, MaxPool
from faltung.nn.structure import Flatten, Sequential


def lenet5(classes: int, input_shape: Sequence[int], *, paper: bool = False) -> Layer:
    """LeNet-5: two 5x5 convolutions, each with a pooling, and three linear layers.

    In the form in which it is built today: every map of C3 reads every map of S2 (in the paper a
    table leaves out some), poolings have no weights, and the output is a linear layer instead of
    distances to drawn digits. The first convolution is padded ("same") for inputs below 32x32, the
    second where it gets less than 14x14; so 28x28 pictures come to 5x5 as in the paper, and 8x8
    ones to 2x2.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    paper : bool
        Whether activations are tangents and poolings means, as in 1998; else they are ReLU and
        maxima.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86, 1998, section II.B.
    """
    sizes = list(input_shape[1:])
    layers: list[Layer] = []
    for number, (channels, least) in enumerate(((6, 32), (16, 14)), 1):
        padded = min(sizes, default=0) < least
        layers.append(
            Conv(channels, 5, padding="same" if padded else "valid", name=f"conv{number}")
        )
        layers.append(Tanh() if paper else ReLU())
        pool = AvgPool if paper else MaxPool
        layers.append(pool(2, name=f"pool{number}"))
        sizes = [(size if padded else size - 4) // 2 for size in sizes]
    layers.append(Flatten())
    for features in (120, 84):
        layers += [Linear(features), Tanh() if paper else ReLU()]
    return Sequential(*layers, Linear(classes))
