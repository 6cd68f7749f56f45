"""The table of layers: one line is one problem, in the text form of ``faltung.geometry.text``.

``core`` marks the rows that the goals are about (``goals.py``); the rest broaden the view. A row
1>1 is a signal or a grey image and has no bias; every other layer has one.
"""

from dataclasses import dataclass

from faltung.geometry.conv import ConvSpec
from faltung.geometry.text import parse


@dataclass(frozen=True, slots=True)
class Layer:
    """A named problem; ``name`` says which network it comes from and what it is."""

    name: str
    text: str
    core: bool = False

    @property
    def spec(self) -> ConvSpec:
        return parse(self.text)


def _core(name: str, text: str) -> Layer:
    return Layer(name, text, core=True)


LAYERS: tuple[Layer, ...] = (
    # Residual networks
    _core("ResNet stem 7x7", "n1 c3>64 224x224 k7 s2 p3"),
    _core("ResNet 3x3 64", "n1 c64>64 56x56 k3 p1"),
    _core("ResNet 3x3 128", "n1 c128>128 28x28 k3 p1"),
    _core("ResNet 3x3 256", "n1 c256>256 14x14 k3 p1"),
    _core("ResNet 3x3 512", "n1 c512>512 7x7 k3 p1"),
    _core("ResNet 3x3 stride 2", "n1 c128>128 56x56 k3 s2 p1"),
    _core("ResNet 1x1 widen", "n1 c64>256 56x56 k1"),
    _core("ResNet 1x1 narrow", "n1 c1024>256 14x14 k1"),
    Layer("ResNet 1x1 256>64", "n1 c256>64 56x56 k1"),
    Layer("ResNet 1x1 512>2048", "n1 c512>2048 7x7 k1"),
    Layer("ResNet 1x1 stride 2", "n1 c256>512 56x56 k1 s2"),
    Layer("ResNet 3x3 64, batch 8", "n8 c64>64 56x56 k3 p1"),
    # VGG
    Layer("VGG 3x3 first", "n1 c3>64 224x224 k3 p1"),
    Layer("VGG 3x3 64", "n1 c64>64 224x224 k3 p1"),
    Layer("VGG 3x3 256", "n1 c256>256 56x56 k3 p1"),
    Layer("VGG 3x3 512", "n1 c512>512 28x28 k3 p1"),
    # Inception
    _core("Inception 5x5 32>96", "n1 c32>96 14x14 k5 p2"),
    Layer("Inception 1x1 192>64", "n1 c192>64 28x28 k1"),
    Layer("Inception 3x3 96>128", "n1 c96>128 28x28 k3 p1"),
    Layer("Inception 5x5 16>32", "n1 c16>32 28x28 k5 p2"),
    Layer("Inception 1x1 832>384", "n1 c832>384 7x7 k1"),
    # AlexNet and LeNet
    Layer("AlexNet 11x11", "n1 c3>64 224x224 k11 s4 p2"),
    Layer("AlexNet 5x5", "n1 c64>192 27x27 k5 p2"),
    Layer("AlexNet 3x3", "n1 c192>384 13x13 k3 p1"),
    Layer("LeNet 5x5, batch 64", "n64 c1>6 28x28 k5 p2"),
    Layer("LeNet second 5x5, batch 64", "n64 c6>16 14x14 k5"),
    _core("small images 3x3, batch 64", "n64 c1>16 8x8 k3 p1"),
    # Depthwise and grouped
    _core("depthwise 3x3", "n1 c256>256 28x28 k3 p1 g256"),
    Layer("depthwise 5x5", "n1 c240>240 28x28 k5 p2 g240"),
    _core("depthwise 7x7", "n1 c96>96 56x56 k7 p3 g96"),
    _core("depthwise 31x31", "n1 c128>128 32x32 k31 p15 g128"),
    Layer("depthwise 3x3 stride 2", "n1 c96>96 112x112 k3 s2 p1 g96"),
    Layer("ResNeXt 3x3, 32 groups", "n1 c128>128 56x56 k3 p1 g32"),
    Layer("ResNeXt 3x3, 8 a group", "n1 c256>256 56x56 k3 p1 g32"),
    Layer("grouped 3x3, 4 groups", "n1 c256>256 28x28 k3 p1 g4"),
    # Dilated
    Layer("dilated 3x3 d2", "n1 c256>256 28x28 k3 p2 d2"),
    Layer("DeepLab 3x3 d12", "n1 c512>256 33x33 k3 p12 d12"),
    # One axis
    _core("1-D 64", "n16 c64>64 1024 k3 p1"),
    _core("1-D depthwise k31", "n8 c256>256 1024 k31 p15 g256"),
    Layer("text 1-D k5", "n32 c128>100 64 k5 p2"),
    Layer("causal 1-D d512", "n1 c64>64 16000 k2 pcausal d512"),
    # Three axes
    _core("3-D 3x3x3 32", "n1 c32>32 32x32x32 k3 p1"),
    _core("3-D first 3x3x3", "n1 c1>16 64x64x64 k3 p1"),
    _core("3-D depthwise 3x3x3", "n1 c64>64 32x32x32 k3 p1 g64"),
    Layer("C3D 3x3x3", "n1 c64>128 16x56x56 k3 p1"),
    # Signals and grey images
    _core("signal k101", "n1 c1>1 1000000 k101 p50"),
    _core("signal k1001", "n1 c1>1 1000000 k1001 p500"),
    Layer("signal k31", "n1 c1>1 1000000 k31 p15"),
    Layer("signal k100001", "n1 c1>1 1000000 k100001 p50000"),
    Layer("signals k101, 4 channels, batch 8", "n8 c4>4 50000 k101 p50"),
    Layer("signal k127 stride 4", "n1 c1>1 1000000 k127 s4 p63"),
    Layer("image 3x3", "n1 c1>1 2048x2048 k3 p1"),
    Layer("image 15x15", "n1 c1>1 1500x1500 k15 p7"),
    # Double precision
    Layer("float64 3x3 64", "n1 c64>64 56x56 k3 p1 f64"),
    Layer("float64 1x1 256>64", "n1 c256>64 56x56 k1 f64"),
    Layer("float64 3-D 32", "n1 c32>32 16x16x16 k3 p1 f64"),
    Layer("float64 signal k101", "n1 c1>1 1000000 k101 p50 f64"),
    Layer("float64 signal k1001", "n1 c1>1 1000000 k1001 p500 f64"),
)
