"""The rows of the table of networks: each is a function, its paper and what is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from inspect import signature
from typing import Any

from faltung.geometry.record import dataclass
from faltung.nets.alexnet import alexnet
from faltung.nets.c3d import c3d
from faltung.nets.convnet import convnet
from faltung.nets.convnext import convnext
from faltung.nets.deeplabv3 import deeplabv3
from faltung.nets.densenet import densenet
from faltung.nets.efficientnet import efficientnet
from faltung.nets.googlenet import googlenet
from faltung.nets.lenet5 import lenet5
from faltung.nets.mlp import mlp
from faltung.nets.mobilenetv2 import mobilenetv2
from faltung.nets.mobilenetv3 import mobilenetv3
from faltung.nets.mobilevit import mobilevit
from faltung.nets.resnet import resnet3d18, resnet18, resnet50
from faltung.nets.shufflenetv2 import shufflenetv2
from faltung.nets.tcn import tcn
from faltung.nets.textcnn import textcnn
from faltung.nets.unet import unet
from faltung.nets.vgg16 import vgg16
from faltung.nets.vit import vit
from faltung.nets.yolox import yolox
from faltung.nn.layer import Layer

# What a network reads; "maps": a picture, of which it classifies every position; "boxes": one in
# which it finds objects.
KINDS = ("pictures", "text", "series", "volumes", "maps", "boxes", "tables")


@dataclass(frozen=True, slots=True)
class Row:
    """A network from the literature.

    Attributes
    ----------
    function : callable
        ``(classes, input_shape, **options) -> Layer``.
    title, authors, year : str, str, int
        Its paper.
    kind : {"pictures", "text", "series", "volumes", "maps", "boxes", "tables"}
        What it reads; with "maps" pictures, of which every position gets a class, with "boxes"
        pictures in which it finds objects.
    input_shape, classes : tuple of int, int
        Of the experiment in the paper.
    parameters : int
        The published number, with ``input_shape``, ``classes`` and ``options``.
    options : mapping
        Options of ``function`` that the published number belongs to.
    fixed : mapping
        Options of ``function`` that the name of the network says.
    any_rank : bool
        Whether it can be built for inputs of another rank.

    Examples
    --------
    >>> from faltung import nets
    >>> nets.row("resnet18").year, nets.row("resnet18").input_shape
    (2015, (3, 224, 224))
    """

    function: Callable[..., Layer]
    title: str
    authors: str
    year: int
    kind: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    options: Mapping[str, Any] = field(default_factory=dict)
    any_rank: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """How many axes of space, or of time."""
        return 1 if self.kind == "text" else len(self.input_shape) - 1

    def arguments(self) -> dict[str, Any]:
        """The options of the function and their defaults."""
        every = signature(self.function).parameters.values()
        free = (p for p in every if p.kind is p.KEYWORD_ONLY and p.name not in self.fixed)
        return {p.name: p.default for p in free}


def _sizes(name: str, row: Row, **sizes: tuple[int, int]) -> dict[str, Row]:
    """A network that comes in sizes: for each of them the side of its pictures and its number of
    parameters. row: of any size.
    """
    return {
        name + size.lstrip("_"): replace(
            row, input_shape=(3, side, side), parameters=count, fixed={"size": size.lstrip("_")}
        )
        for size, (side, count) in sizes.items()
    }


def _picture(function: Callable[..., Layer], title: str, authors: str, year: int) -> Row:
    """A classifier of the thousand classes of ImageNet."""
    return Row(function, title, authors, year, "pictures", (3, 224, 224), 1000, 0, any_rank=True)


NETS: dict[str, Row] = {
    "lenet5": Row(
        lenet5,
        "Gradient-based learning applied to document recognition",
        "LeCun, Bottou, Bengio, Haffner",
        1998,
        "pictures",
        (1, 32, 32),
        10,
        61_706,
        any_rank=True,
    ),
    "convnet": Row(
        convnet,
        "Small normalised convolutions, after VGG, batch normalisation and network in network",
        "Faltung",
        2026,
        "pictures",
        (3, 64, 64),
        10,
        98_970,
        any_rank=True,
    ),
    "alexnet": Row(
        alexnet,
        "ImageNet classification with deep convolutional neural networks",
        "Krizhevsky, Sutskever, Hinton",
        2012,
        "pictures",
        (3, 224, 224),
        1000,
        60_965_224,
        {"paper": True},
        any_rank=True,
    ),
    "vgg16": Row(
        vgg16,
        "Very deep convolutional networks for large-scale image recognition",
        "Simonyan, Zisserman",
        2014,
        "pictures",
        (3, 224, 224),
        1000,
        138_357_544,
        any_rank=True,
    ),
    "googlenet": Row(
        googlenet,
        "Going deeper with convolutions",
        "Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
        2014,
        "pictures",
        (3, 224, 224),
        1000,
        6_998_552,
        {"normalisation": "lrn"},
        any_rank=True,
    ),
    "resnet18": Row(
        resnet18,
        "Deep residual learning for image recognition",
        "He, Zhang, Ren, Sun",
        2015,
        "pictures",
        (3, 224, 224),
        1000,
        11_689_512,
        any_rank=True,
    ),
    "resnet50": Row(
        resnet50,
        "Deep residual learning for image recognition",
        "He, Zhang, Ren, Sun",
        2015,
        "pictures",
        (3, 224, 224),
        1000,
        25_557_032,
        any_rank=True,
    ),
    "mobilenetv2": Row(
        mobilenetv2,
        "MobileNetV2: inverted residuals and linear bottlenecks",
        "Sandler, Howard, Zhu, Zhmoginov, Chen",
        2018,
        "pictures",
        (3, 224, 224),
        1000,
        3_504_872,
        any_rank=True,
    ),
    **_sizes(
        "densenet",
        _picture(
            densenet,
            "Densely connected convolutional networks",
            "Huang, Liu, van der Maaten, Weinberger",
            2017,
        ),
        _121=(224, 7_978_856),
        _169=(224, 14_149_480),
        _201=(224, 20_013_928),
    ),
    "shufflenetv2": Row(
        shufflenetv2,
        "ShuffleNet V2: practical guidelines for efficient CNN architecture design",
        "Ma, Zhang, Zheng, Sun",
        2018,
        "pictures",
        (3, 224, 224),
        1000,
        2_278_604,
        any_rank=True,
    ),
    **_sizes(
        "mobilenetv3",
        _picture(
            mobilenetv3,
            "Searching for MobileNetV3",
            "Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam",
            2019,
        ),
        large=(224, 5_483_032),
        small=(224, 2_542_856),
    ),
    **_sizes(
        "efficientnet",
        _picture(
            efficientnet,
            "EfficientNet: rethinking model scaling for convolutional neural networks",
            "Tan, Le",
            2019,
        ),
        b0=(224, 5_288_548),
        b1=(240, 7_794_184),
        b2=(260, 9_109_994),
        b3=(300, 12_233_232),
        b4=(380, 19_341_616),
        b5=(456, 30_389_784),
        b6=(528, 43_040_704),
        b7=(600, 66_347_960),
    ),
    **_sizes(
        "convnext",
        _picture(
            convnext,
            "A ConvNet for the 2020s",
            "Liu, Mao, Wu, Feichtenhofer, Darrell, Xie",
            2022,
        ),
        tiny=(224, 28_589_128),
        small=(224, 50_223_688),
        base=(224, 88_591_464),
        large=(224, 197_767_336),
    ),
    **_sizes(
        "vit",
        _picture(
            vit,
            "An image is worth 16x16 words: transformers for image recognition at scale",
            "Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai, Unterthiner, Dehghani, Minderer, "
            "Heigold, Gelly, Uszkoreit, Houlsby",
            2020,
        ),
        tiny=(224, 5_717_416),
        small=(224, 22_050_664),
        base=(224, 86_567_656),
    ),
    **_sizes(
        "mobilevit",
        _picture(
            mobilevit,
            "MobileViT: light-weight, general-purpose, and mobile-friendly vision transformer",
            "Mehta, Rastegari",
            2021,
        ),
        xxs=(256, 1_272_024),
        xs=(256, 2_317_848),
        s=(256, 5_578_632),
    ),
    "textcnn": Row(
        textcnn,
        "Convolutional neural networks for sentence classification",
        "Kim",
        2014,
        "text",
        (56,),
        2,
        5_990_402,
    ),
    "tcn": Row(
        tcn,
        "An empirical evaluation of generic convolutional and recurrent networks for sequence "
        "modeling",
        "Bai, Kolter, Koltun",
        2018,
        "series",
        (1, 784),
        10,
        66_510,
        {"levels": 8, "normalisation": "none"},
    ),
    "c3d": Row(
        c3d,
        "Learning spatiotemporal features with 3D convolutional networks",
        "Tran, Bourdev, Fergus, Torresani, Paluri",
        2015,
        "volumes",
        (3, 16, 112, 112),
        487,
        79_991_015,
    ),
    "resnet3d18": Row(
        resnet3d18,
        "A closer look at spatiotemporal convolutions for action recognition",
        "Tran, Wang, Torresani, Ray, LeCun, Paluri",
        2018,
        "volumes",
        (3, 16, 112, 112),
        400,
        33_371_472,
    ),
    "unet": Row(
        unet,
        "U-Net: convolutional networks for biomedical image segmentation",
        "Ronneberger, Fischer, Brox",
        2015,
        "maps",
        (1, 572, 572),
        2,
        31_030_658,
        any_rank=True,
    ),
    "deeplabv3": Row(
        deeplabv3,
        "Rethinking atrous convolution for semantic image segmentation",
        "Chen, Papandreou, Schroff, Adam",
        2017,
        "maps",
        (3, 513, 513),
        21,
        39_638_869,
        any_rank=True,
    ),
    **_sizes(
        "yolox",
        Row(
            yolox,
            "YOLOX: exceeding YOLO series in 2021",
            "Ge, Liu, Wang, Li, Sun",
            2021,
            "boxes",
            (3, 640, 640),
            80,
            0,
            any_rank=True,
        ),
        nano=(416, 912_159),
        tiny=(416, 5_055_855),
        s=(640, 8_968_255),
        m=(640, 25_326_495),
        l=(640, 54_208_895),
        x=(640, 99_071_455),
    ),
    "mlp": Row(
        mlp,
        "Gradient-based learning applied to document recognition",
        "LeCun, Bottou, Bengio, Haffner",
        1998,
        "tables",
        (784,),
        10,
        266_610,
        any_rank=True,
    ),
}
