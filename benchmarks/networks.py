"""The tables of networks and of training steps: one line is one problem, as text.

``resnet18 3x32x32 n32 lr0.001 classes=10`` is a network of ``faltung.nets`` (or one of ``OWN``
below, or of torchvision, see ``vision.py``), the shape of a sample, the batch, of a step the
learning rate, and options of the network.

Everything random in training (dropout) is off, so that all peers compute the same numbers. With
these learning rates, three steps change the loss by a few per cent, which reveals a wrong gradient,
but not wildly: at 0.01, GoogLeNet amplifies the rounding errors of float32 to 1e-2, in PyTorch too.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from benchmarks import vision
from benchmarks.protocol import STEP
from faltung import nets, nn
from faltung.graph.ops import Convolve
from faltung.graph.value import Graph


@dataclass(frozen=True)
class Network:
    """A named network; ``core``: whether a goal is about it."""

    name: str
    text: str
    core: bool = False

    @cached_property
    def spec(self) -> "NetworkSpec":
        return parse(self.text)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network, the shape of a sample (C, *space), the batch, and the learning rate.

    torchvision: of a network from there its name and options.
    """

    net: nn.Layer
    shape: tuple[int, ...]
    batch: int
    lr: float = 0.0
    torchvision: tuple[str, vision.Options] | None = None

    def graph(self, *, training: bool = False, dtype: str = "float32") -> Graph:
        return nn.build(self.net, self.shape, training=training, dtype=dtype)


@cache
def facts(text: str, direction: str) -> tuple[int, int]:
    """The number of parameters, and of operations per call.

    A multiply-add of a convolution or a linear layer counts as 2; backward counts as twice forward.
    """
    spec = parse(text)
    graph = spec.graph()
    macs = sum(node.op.spec.macs for node in graph.nodes if isinstance(node.op, Convolve))
    times = 6 if direction == STEP else 2
    return sum(p.size for p in graph.parameters if p.trained), times * macs * spec.batch


# --- networks that are from no paper ---


def volumes(classes: int, input_shape: Sequence[int]) -> nn.Layer:
    """Three convolutions 3x3x3 of 16, 32 and 64 channels, each with BN and ReLU.

    Max pooling 2x2x2 after the first two, then global average pooling and a linear layer.
    """
    layers: list[nn.Layer] = []
    for channels in (16, 32, 64):
        layers += [nn.MaxPool(2)] * bool(layers)
        layers += [nn.Conv(channels, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU()]
    return nn.Sequential(*layers, nn.GlobalAvgPool(), nn.Linear(classes))


def series(classes: int, input_shape: Sequence[int]) -> nn.Layer:
    """Six convolutions of 64 channels, kernel 3, dilation 1, 2, 4 to 32, each with BN and ReLU.

    They are padded on both sides, and the last one sees 127 steps. Then global average pooling and
    a linear layer.
    """
    layers: list[nn.Layer] = []
    for dilation in (1, 2, 4, 8, 16, 32):
        conv = nn.Conv(64, 3, padding=dilation, dilation=dilation, bias=False)
        layers += [conv, nn.BatchNorm(), nn.ReLU()]
    return nn.Sequential(*layers, nn.GlobalAvgPool(), nn.Linear(classes))


OWN: dict[str, Callable[..., nn.Layer]] = {"volumes": volumes, "series": series}


# --- the tables ---


NETWORKS: tuple[Network, ...] = (
    Network("LeNet-5", "lenet5 1x28x28 n1", core=True),
    Network("LeNet-5, batch 64", "lenet5 1x28x28 n64"),
    Network("GoogLeNet with BN", "googlenet 3x224x224 n1", core=True),
    Network("ResNet-18", "resnet18 3x224x224 n1", core=True),
    Network("ResNet-50", "resnet50 3x224x224 n1", core=True),
    Network("ResNet-18, batch 8", "resnet18 3x224x224 n8"),
    Network("VGG-16", "vgg16 3x224x224 n1"),
    Network("MobileNetV2", "mobilenetv2 3x224x224 n1"),
)

STEPS: tuple[Network, ...] = (
    Network("LeNet-5, batch 64", "lenet5 1x28x28 n64 lr0.01", core=True),
    Network("ResNet-18 for 32x32, batch 32", "resnet18 3x32x32 n32 lr0.001 classes=10", core=True),
    Network(
        "GoogLeNet 128x128 with BN, batch 8",
        "googlenet 3x128x128 n8 lr0.0001 auxiliary=False dropout=0",
        core=True,
    ),
    Network("small 3-D net, batch 4", "volumes 1x32x32x32 n4 lr0.03 classes=10", core=True),
    Network("dilated 1-D net, batch 64", "series 9x128 n64 lr0.03 classes=6", core=True),
    Network(
        "Inception (small) for digits, batch 32",
        "googlenet 1x8x8 n32 lr0.0001 classes=10 dropout=0",
    ),
    *(
        Network(name, f"torchvision.{text} num_classes=10")
        for name, text in {
            "VGG-11 with BN 64x64, batch 8": "vgg11_bn 3x64x64 n8 lr0.0001 dropout=0",
            "ResNet-50 96x96, batch 8": "resnet50 3x96x96 n8 lr0.000001",
            "MobileNetV2 96x96, batch 16": "mobilenet_v2 3x96x96 n16 lr0.0001 dropout=0",
            "MobileNetV3-L 96x96, batch 16": "mobilenet_v3_large 3x96x96 n16 lr0.0001 dropout=0",
            "EfficientNet-B0 96x96, batch 8": "efficientnet_b0 3x96x96 n8 lr0.0001 dropout=0 "
            "stochastic_depth_prob=0",
            "DenseNet-121 64x64, batch 8": "densenet121 3x64x64 n8 lr0.0001",
            "RegNetY-400MF 96x96, batch 16": "regnet_y_400mf 3x96x96 n16 lr0.00001",
            "ConvNeXt-T 64x64, batch 8": "convnext_tiny 3x64x64 n8 lr0.0001 "
            "stochastic_depth_prob=0",
            "ViT, 6 layers of 192, 64x64, batch 16": "VisionTransformer 3x64x64 n16 lr0.0001 "
            "image_size=64 patch_size=8 num_layers=6 num_heads=4 hidden_dim=192 mlp_dim=768",
        }.items()
    ),
)


def parse(text: str) -> NetworkSpec:
    """The network that a line describes. ValueError: it describes none."""
    words = text.split()
    if len(words) < 3 or not words[2].startswith("n"):
        raise ValueError(f"text={text!r}: must be NAME CxHxW nBATCH [lrRATE] [OPTION=VALUE ...]")
    name, shape, batch = words[0], tuple(map(int, words[1].split("x"))), int(words[2][1:])
    rates = [word for word in words[3:4] if word.startswith("lr")]
    options = dict(_option(word) for word in words[3 + len(rates) :])
    lr = float(rates[0][2:]) if rates else 0.0
    if name.startswith(vision.PREFIX):
        found = name, tuple(options.items())
        return NetworkSpec(vision.layer(name, shape, found[1]), shape, batch, lr, found)
    net = (
        OWN[name](options.pop("classes"), shape)
        if name in OWN
        else nets.get(name, input_shape=shape, **options)
    )
    return NetworkSpec(net, shape, batch, lr)


def _option(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    if not sign:
        raise ValueError(f"option={word!r}: must be OPTION=VALUE")
    return name, ast.literal_eval(value)
