"""A temporal convolutional network."""

from collections.abc import Sequence

from faltung.geometry.check import show, whole
from faltung.geometry.errors import FaltungError
from faltung.nets.blocks import convolved, one_of
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.pool import GlobalAvgPool
from faltung.nn.structure import Residual, Sequential

MOST_LEVELS = 30  # the last then sees a thousand million steps back
HEADS = ("mean", "every")


def tcn(
    classes: int,
    input_shape: Sequence[int],
    *,
    channels: int = 25,
    kernel: int = 7,
    levels: int | None = None,
    dropout: float = 0.05,
    normalisation: str = "batch",
    head: str = "mean",
) -> Layer:
    """TCN: residual blocks of two causal convolutions, the dilation doubling from block to block.

    66,510 parameters for sequential MNIST with 8 levels and no normalisation ("70K" in the paper).
    The weight normalisation of the paper is another way to write the same weights, and is left
    out.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, steps)``.
    channels : int
        Channels of each block.
    kernel : int
        The kernel of each convolution.
    levels : int, optional
        How many blocks; by default the fewest with which the last step sees the whole series.
    dropout : float
        The rate of dropout.
    normalisation : {"batch", "none"}
        Batch normalisation after each convolution, or none.
    head : {"mean", "every"}
        "mean": one output for the series, from the mean over time (the paper takes the last step).
        "every": an output for each step, which knows nothing of later ones.

    References
    ----------
    S. Bai, J. Z. Kolter, V. Koltun, "An empirical evaluation of generic convolutional and recurrent
    networks for sequence modeling", 2018.
    """
    if len(input_shape) != 2:
        raise FaltungError(f"input_shape={tuple(input_shape)}: must be (channels, steps)")
    one_of("head", head, HEADS)
    before, steps = input_shape
    if levels is None:
        levels = 1
        while 1 + 2 * (kernel - 1) * (2**levels - 1) < steps and kernel > 1:
            levels += 1
    whole("levels", levels, 1)
    if levels > MOST_LEVELS:
        raise FaltungError(f"levels={show(levels)}: must be at most {MOST_LEVELS}")
    layers: list[Layer] = []
    for level in range(levels):
        body: list[Layer] = []
        for _ in range(2):
            body += convolved(channels, kernel, normalisation, dilation=2**level, padding="causal")
            body.append(Dropout(dropout))
        shortcut = Conv(channels, 1, name="shortcut") if before != channels else None
        layers += [
            Residual(Sequential(*body, name="body"), shortcut=shortcut, name=f"level{level + 1}"),
            ReLU(),
        ]
        before = channels
    if head == "every":
        return Sequential(*layers, Conv(classes, 1))
    return Sequential(*layers, GlobalAvgPool(), Linear(classes))
