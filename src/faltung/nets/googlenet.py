"""GoogLeNet, Inception v1."""

from collections.abc import Sequence

from faltung.geometry.record import dataclass
from faltung.nets.blocks import one_of
from faltung.nets.small_inputs import kept, scaled
from faltung.nn.activation import ReLU
from faltung.nn.conv import Conv, Linear
from faltung.nn.layer import Layer
from faltung.nn.norm import BatchNorm, Dropout, LocalResponseNorm
from faltung.nn.pool import AvgPool, GlobalAvgPool, MaxPool
from faltung.nn.structure import Auxiliary, Flatten, Parallel, Sequential

# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
HEADS = ("4a", "4d")  # modules with an auxiliary classifier after them
NORMALISATIONS = ("batch", "lrn")


def googlenet(
    classes: int,
    input_shape: Sequence[int],
    *,
    normalisation: str = "batch",
    third: int | None = None,
    auxiliary: bool | None = None,
    width: float | None = None,
    dropout: float = 0.4,
    halvings: int | None = None,
) -> Layer:
    """GoogLeNet, Inception v1: nine modules of four branches.

    In training two auxiliary classifiers on the way take part, with weight 0.3. All nine modules
    stay for small inputs: the halvings are those of the stem, its two poolings, and the poolings
    before 4a and 5a.

    Parameters
    ----------
    classes : int
        How many outputs.
    input_shape : sequence of int
        ``(channels, *space)``.
    normalisation : {"batch", "lrn"}
        "lrn": local response normalisation in the stem, as in the paper (6,998,552 parameters at
        inference). "batch": batch normalisation after every convolution, as in torchvision
        (6,624,904; with the auxiliary classifiers 13,004,888).
    third : int, optional
        The kernel of the third branch: 5 as in the paper, or 3 as in torchvision; by default 3 for
        "batch", else 5.
    auxiliary : bool, optional
        Whether there are auxiliary classifiers; by default if they see at least 5x5.
    width : float, optional
        A factor on all channels; by default 1, and a half for inputs below 32x32.
    dropout : float
        The rate of dropout.
    halvings : int, optional
        How many of the five halvings happen; by default as many as suit the input
        (``nets/small_inputs.py``).

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015.
    """
    one_of("normalisation", normalisation, NORMALISATIONS)
    space = input_shape[1:]
    halved = kept(space, 5, halvings)
    sizes = [-(-size // 2 ** sum(halved[:4])) for size in space]
    if width is None:
        width = 1.0 if min(space) >= 32 else 0.5
    batch = normalisation == "batch"
    parts = _Parts(batch, width, third or (3 if batch else 5), sizes)
    layers = [*parts.stem(halved)]
    with_heads = min(sizes) >= 5 if auxiliary is None else auxiliary
    for name, numbers in MODULES.items():
        if (name == "4a" and halved[3]) or (name == "5a" and halved[4]):
            layers.append(MaxPool(2 if batch and name == "5a" else 3, stride=2, ceil=True))
        layers.append(parts.module(numbers, f"inception{name}"))
        if name in HEADS and with_heads:
            layers.append(Auxiliary(parts.head(classes), weight=0.3, name=f"auxiliary{name}"))
    return Sequential(*layers, GlobalAvgPool(), Dropout(dropout), Linear(classes))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of one variant. sizes: of the maps that auxiliary classifiers get."""

    batch: bool
    width: float
    third: int
    sizes: Sequence[int]

    def conv(self, channels: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
        made = Conv(
            scaled(channels, self.width),
            kernel,
            stride=stride,
            padding=kernel // 2,
            bias=not self.batch,
        )
        return (made, BatchNorm(eps=1e-3), ReLU()) if self.batch else (made, ReLU())

    def stem(self, halved: Sequence[bool]) -> list[Layer]:
        norm = [] if self.batch else [LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)]
        pool = MaxPool(3, stride=2, ceil=True)
        return [
            *(self.conv(64, 7, 2) if halved[0] else self.conv(64, 3)),
            *([pool] * halved[1]),
            *norm,
            *self.conv(64, 1),
            *self.conv(192, 3),
            *norm,
            *([pool] * halved[2]),
        ]

    def module(self, numbers: Sequence[int], name: str) -> Layer:
        """Figure 2b: four branches over the same input."""
        one, three_in, three, five_in, five, pool = numbers
        return Parallel(
            Sequential(*self.conv(one, 1), name="one"),
            Sequential(*self.conv(three_in, 1), *self.conv(three, 3), name="three"),
            Sequential(*self.conv(five_in, 1), *self.conv(five, self.third), name="five"),
            Sequential(MaxPool(3, stride=1, padding=1), *self.conv(pool, 1), name="pool"),
            name=name,
        )

    def head(self, classes: int) -> Layer:
        """Section 5: an auxiliary classifier; on small maps its pooling takes the whole map."""
        pool = AvgPool(5, stride=3) if min(self.sizes) >= 5 else AvgPool(tuple(self.sizes))
        hidden = Linear(scaled(1024, self.width))
        return Sequential(
            pool, *self.conv(128, 1), Flatten(), hidden, ReLU(), Dropout(0.7), Linear(classes)
        )
