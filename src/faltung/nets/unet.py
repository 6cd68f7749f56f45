"""U-Net."""

from collections.abc import Sequence

from faltung.nets.blocks import convolved
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.conv import Conv, ConvTranspose
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.pool import MaxPool
from faltung.nn.structure import Identity, Parallel, Sequential


def unet(
    classes: int,
    input_shape: Sequence[int],
    *,
    width: float = 1.0,
    normalisation: str = "none",
    padding_mode: str | Sequence[str] = "zeros",
    dropout: float = 0.5,
    halvings: int | None = None,
) -> Layer:
    """U-Net: a class for every position.

    Four times down, four times up again, at each size joined with what was there before.
    31,030,658 parameters for one channel and two classes. Convolutions are padded, so that the
    output has the size of the input (the paper crops). Inputs may have any size and rank.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    width : float
        A factor on all channels.
    normalisation : {"none", "batch"}
        "none" as in the paper, or "batch".
    padding_mode : str or sequence of str
        The padding mode, or one for each axis: a globe is circular in longitude alone.
    dropout : float
        The rate of dropout at the bottom.
    halvings : int, optional
        How many of the four halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image
    segmentation", MICCAI 2015.
    """
    depth = sum(kept(input_shape[1:], 4, halvings))
    channels = [scaled(64 * 2**level, width) for level in range(depth + 1)]

    def pair(level: int) -> list[Layer]:
        one = convolved(
            channels[level], 3, normalisation, padding="same", padding_mode=padding_mode
        )
        return [*one, *one]

    def floor(level: int, sizes: Sequence[int]) -> list[Layer]:
        """The layers of this level and of all below it."""
        if level == depth:
            return [*pair(level), Dropout(dropout)]
        below = [-(-size // 2) for size in sizes]
        cut = [(0, size % 2) for size in sizes]
        down = Sequential(
            MaxPool(2, ceil=True),
            *floor(level + 1, below),
            ConvTranspose(channels[level], 2, stride=2, padding=cut, name="up"),
            name="down",
        )
        return [*pair(level), Parallel(Identity(), down, name=f"level{level + 2}"), *pair(level)]

    return Sequential(*floor(0, input_shape[1:]), Conv(classes, 1, name="classes"))
