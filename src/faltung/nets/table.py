"""The table of networks: a row is a function, its paper and what is known of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from faltung.geometry.check import integers, show, typed, whole
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.value import Graph
from faltung.nets.alexnet import alexnet
from faltung.nets.c3d import c3d
from faltung.nets.googlenet import googlenet
from faltung.nets.lenet5 import lenet5
from faltung.nets.mlp import mlp
from faltung.nets.mobilenetv2 import mobilenetv2
from faltung.nets.resnet import resnet3d18, resnet18, resnet50
from faltung.nets.tcn import tcn
from faltung.nets.textcnn import textcnn
from faltung.nets.unet import unet
from faltung.nets.vgg16 import vgg16
from faltung.nn import build
from faltung.nn.layer import Layer

# What a network reads; "maps": a picture, of which it classifies every position.
KINDS = ("pictures", "text", "series", "volumes", "maps", "tables")


@dataclass(frozen=True, slots=True)
class Row:
    """A network from the literature.

    Attributes
    ----------
    function : callable
        ``(classes, input_shape, **options) -> Layer``.
    title, authors, year : str, str, int
        Its paper.
    kind : {"pictures", "text", "series", "volumes", "maps", "tables"}
        What it reads; with "maps" pictures, of which every position gets a class.
    input_shape, classes : tuple of int, int
        Of the experiment in the paper.
    parameters : int
        The published number, with ``input_shape``, ``classes`` and ``options``.
    options : mapping
        Options of ``function`` that the published number belongs to.
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

    @property
    def rank(self) -> int:
        """How many axes of space, or of time."""
        return 1 if self.kind == "text" else len(self.input_shape) - 1

    def arguments(self) -> dict[str, Any]:
        """The options of the function and their defaults."""
        every = signature(self.function).parameters.values()
        return {p.name: p.default for p in every if p.kind is p.KEYWORD_ONLY}


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

# Other names of networks.
ALIASES = {"inception": "googlenet", "inceptionv1": "googlenet", "lenet": "lenet5"}


def row(name: str) -> Row:
    """The row of a network in the table.

    Parameters
    ----------
    name : str
        A key of ``NETS``, or one of a few other names, such as "inception" for "googlenet".

    Returns
    -------
    Row
        Its function, its paper, and what is known of it.

    Raises
    ------
    ValueError
        There is no network of this name.

    Examples
    --------
    >>> from faltung import nets
    >>> nets.row("inception").year
    2014
    """
    found = NETS.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        raise FaltungError(f"net={show(name)}: must be one of {', '.join(NETS)}")
    return found


def check_rank(name: str, shape: Sequence[int], said: str) -> None:
    """ValueError, which begins with ``said``: samples of this shape are not what a network takes.

    shape: (C, *space), or (words,) of text.
    """
    found = row(name)
    if len(shape) == len(found.input_shape) or (found.any_rank and len(shape) > 1):
        return
    form = "(words,)" if found.kind == "text" else f"(C, *space) of rank {found.rank}"
    raise FaltungError(f"{said}: must be {form} for {name}")


def get(
    name: str,
    *,
    classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    **options: Any,
) -> Layer:
    """A network of the literature, as layers.

    Parameters
    ----------
    name : str
        A key of ``NETS``.
    classes : int, optional
        How many outputs; by default as many as in the paper.
    input_shape : sequence of int, optional
        The shape of a sample, ``(channels, *space)``, or ``(words,)`` of text; by default that of
        the paper. The network shrinks to small inputs.
    **options
        Options of this network; ``row(name).arguments()`` and ``faltung nets NAME`` list them.

    Returns
    -------
    Layer
        For ``faltung.Model``, or to be a part of other layers.

    Raises
    ------
    ValueError, TypeError
        An unknown network or option, or a shape of another rank.

    Examples
    --------
    >>> from faltung import Model, nets
    >>> net = nets.get("resnet18", classes=10, input_shape=(3, 32, 32), width=0.25)
    >>> Model(net, (3, 32, 32))
    <Model (3, 32, 32) -> (10,), 701,466 parameters>
    """
    found = row(name)
    parameters = signature(found.function).parameters
    for option, value in options.items():
        if option in parameters:
            typed(option, parameters[option].annotation, value)
    classes = whole("classes", found.classes if classes is None else classes, 1)
    shape = found.input_shape if input_shape is None else integers("input_shape", input_shape)
    if not shape or min(shape) < 1:
        raise FaltungError(f"input_shape={shape}: must be (C, *space), all at least 1")
    check_rank(name, shape, f"input_shape={shape}")
    known = found.arguments()
    for option in options:
        if option not in known:
            raise FaltungTypeError(
                f"{option}={show(options[option])}: {name} takes {', '.join(known)}"
            )
    return found.function(classes, shape, **options)


def graph(
    name: str,
    *,
    classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    training: bool = False,
    dtype: Float = "float32",
    **options: Any,
) -> Graph:
    """The graph of the network that ``get`` returns; no weight is made.

    Parameters
    ----------
    name, classes, input_shape, **options
        As for ``get``.
    training : bool
        Whether what exists only in training is there: auxiliary classifiers, dropout.
    dtype : {"float32", "float64"}
        Of all numbers.

    Returns
    -------
    Graph
        For ``faltung.graph.summary.summary`` and ``faltung.formats.onnx_export.export_onnx``.

    Raises
    ------
    ValueError, TypeError
        As ``get``.

    Examples
    --------
    >>> from faltung import nets
    >>> graph = nets.graph("vgg16")
    >>> sum(p.size for p in graph.parameters)
    138357544
    """
    found = row(name)
    net = get(name, classes=classes, input_shape=input_shape, **options)
    shape = found.input_shape if input_shape is None else input_shape
    return build(net, shape, dtype=dtype, training=training, tokens=found.kind == "text")
