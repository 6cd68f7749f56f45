"""LeNet-5. LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition,
Proceedings of the IEEE 86, 1998, section II.B.

In the form in which it is built today: every map of C3 reads every map of S2 (there a table leaves
out some), poolings have no weights, and the output is a linear layer instead of distances to drawn
digits.
"""

from collections.abc import Sequence

from faltung.nn.activation import ReLU, Tanh
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.pool import AvgPool, MaxPool
from faltung.nn.structure import Flatten, Sequential


def lenet5(classes: int, input_shape: Sequence[int], *, paper: bool = False) -> Layer:
    """Two convolutions 5x5, each with a pooling, and three linear layers.

    paper: tangents and means, as in 1998; else max(x, 0) and maxima, as one would today. Small
    pictures: the first convolution is padded ("same") below 32x32, the second where it gets less
    than 14x14; so 28x28 pictures come to 5x5 as in the paper, and 8x8 ones to 2x2.
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
