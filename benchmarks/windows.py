"""The table of pooling and locally connected layers.

A line is a word for the kind of layer, ``max``, ``avg`` (with the defaults of PyTorch: padding
counts) or ``local``, then the text form of the problem; pooling is written as a convolution of C
channels to C.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A named problem."""

    name: str
    text: str
    core: bool = False


WINDOWS: tuple[Window, ...] = (
    Window("max 3x3 stride 2", "max n1 c64>64 112x112 k3 s2 p1", True),
    Window("max 2x2 stride 2", "max n1 c64>64 224x224 k2 s2", True),
    Window("max 3x3 stride 1, Inception", "max n1 c192>192 28x28 k3 p1", True),
    Window("average 3x3 stride 1", "avg n1 c192>192 28x28 k3 p1", True),
    Window("average 2x2 stride 2", "avg n1 c64>64 224x224 k2 s2", True),
    Window("global average 7x7", "avg n1 c2048>2048 7x7 k7", True),
    Window("max 2x2x2", "max n1 c64>64 16x56x56 k2 s2", True),
    Window("average 2x2x2", "avg n1 c64>64 16x56x56 k2 s2"),
    Window("max 1-D k2 stride 2", "max n1 c64>64 16384 k2 s2"),
    Window("max 1-D k3 stride 1, batch 16", "max n16 c128>128 1024 k3 p1", True),
    Window("local 3x3 64", "local n1 c64>64 28x28 k3 p1", True),
    Window("local 3x3 64, batch 64", "local n64 c64>64 28x28 k3 p1", True),
    Window("float64 local 3x3 64", "local n1 c64>64 28x28 k3 p1 f64"),
    Window("local 1-D k5, batch 32", "local n32 c32>32 256 k5 p2"),
)
