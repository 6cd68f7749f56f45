"""C3D."""

from collections.abc import Sequence

from faltung.geometry.errors import FaltungError
from faltung.nets.blocks import convolved
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import Dropout
from faltung.nn.pool import MaxPool
from faltung.nn.structure import Flatten, Sequential

# Channels and convolutions of each stage; a pooling ends it.
STAGES = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))


def c3d(
    classes: int,
    input_shape: Sequence[int],
    *,
    normalisation: str | None = None,
    width: float = 1.0,
    hidden: int | None = None,
    dropout: float = 0.5,
    halvings: int | None = None,
) -> Layer:
    """C3D: eight 3x3x3 convolutions, three linear layers, for videos and volumes.

    79,991,015 parameters for 487 classes.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, time, height, width)``; the first pooling keeps the time.
    normalisation : {"none", "batch"}, optional
        "none" as in the paper, or "batch"; by default "batch" if a halving is left out.
    width : float
        A factor on all channels.
    hidden : int, optional
        Units of both hidden linear layers; by default 4096 as in the paper, 512 if a halving is
        left out.
    dropout : float
        The rate of dropout.
    halvings : int, optional
        How many of the five halvings happen in height and width; by default as many as suit the
        input (``nets/small_inputs.py``).

    References
    ----------
    D. Tran, L. Bourdev, R. Fergus, L. Torresani, M. Paluri, "Learning spatiotemporal features with
    3D convolutional networks", ICCV 2015, Figure 3.
    """
    if len(input_shape) != 4:
        raise FaltungError(f"input_shape={tuple(input_shape)}: must be (C, time, height, width)")
    time, *space = input_shape[1:]
    halved = kept(space, 5, halvings)
    full = all(halved)
    chosen = normalisation or ("none" if full else "batch")
    layers: list[Layer] = []
    for stage, ((channels, count), pooled) in enumerate(zip(STAGES, halved, strict=True), 1):
        for letter in "ab"[:count]:
            name = f"conv{stage}{letter}" if count > 1 or stage < 3 else f"conv{stage}"
            layers += convolved(scaled(channels, width), 3, chosen, padding="same", name=name)
        if pooled:
            kernel = (1 if stage == 1 or time < 2 else 2, 2, 2)
            # The paper pads 7x7 to 8x8 here; so does every odd size, and nothing is lost.
            odd = [0, *(size % 2 for size in space)]
            layers.append(MaxPool(kernel, padding=[(0, o) for o in odd]))
            time, space = time // kernel[0], [(size + 1) // 2 for size in space]
    layers.append(Flatten())
    for name in ("fc6", "fc7"):
        features = hidden or scaled(4096 if full else 512, width)
        layers += [Linear(features, name=name), ReLU(), Dropout(dropout)]
    return Sequential(*layers, Linear(classes, name="fc8"))
