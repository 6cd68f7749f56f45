"""The table of networks: its rows by their names, and networks and graphs made from them."""

import re
from collections.abc import Sequence
from inspect import signature
from typing import Any

from faltung.geometry import words
from faltung.geometry.calls import explained
from faltung.geometry.check import show, typed, whole
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.builder import sample_shape
from faltung.graph.value import Graph
from faltung.nets.rows import KINDS, NETS, Row
from faltung.nn import build
from faltung.nn.layer import Layer

__all__ = ["ALIASES", "KINDS", "NETS", "Row", "check_rank", "get", "graph", "key", "row"]

# Other names of networks.
COLOURS = 4  # channels of a picture at most: red, green, blue and how opaque it is
ALIASES = {"inception": "googlenet", "inceptionv1": "googlenet", "lenet": "lenet5"}


@explained
def row(name: str) -> Row:
    """The row of a network in the table.

    Parameters
    ----------
    name : str
        A key of ``NETS``, or one of a few other names, such as "inception" for "googlenet".
        Hyphens, underscores and capitals do not count: "ResNet-18", "efficientnet_b0".

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
    return NETS[key(name)]


def key(name: str) -> str:
    """The key of ``NETS`` that a name, perhaps another one, stands for. ValueError as ``row``."""
    plain = re.sub("[-_ ]", "", name).lower() if isinstance(name, str) else ""
    plain = ALIASES.get(plain, plain)
    if plain not in NETS:
        near = like(name)
        said = f"there is no such network{near}" if near else f"must be one of {', '.join(NETS)}"
        raise FaltungError(f"net={show(name)}: {said}")
    return plain


def like(name: object) -> str:
    """What to say after a name that no network has; "" if none is like it."""
    return words.meant(name, (*NETS, *ALIASES), words.NETS)


def check_rank(name: str, shape: Sequence[int], said: str) -> None:
    """ValueError, which begins with ``said``: samples of this shape are not what a network takes.

    shape: (C, *space), or (words,) of text.
    """
    found = row(name)
    if len(shape) == len(found.input_shape) or (found.any_rank and len(shape) > 1):
        return
    form = "(words,)" if found.kind == "text" else f"(C, *space) of rank {found.rank}"
    raise FaltungError(f"{said}: must be {form} for {name}")


@explained
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
    shape = found.input_shape if input_shape is None else sample_shape(input_shape)
    check_rank(name, shape, f"input_shape={shape}")
    if found.rank == 2 and len(shape) == 3 and shape[2] <= COLOURS < min(shape[:2]):
        raise FaltungError(
            f"input_shape={shape}: must have the channels first; write {(shape[2], *shape[:2])}"
        )
    known = found.arguments()
    for option in options:
        if option not in known:
            said = words.meant(option, (*known, "classes", "input_shape"), words.ARGUMENTS)
            raise FaltungTypeError(
                f"{option}={show(options[option])}: {name} takes {', '.join(known)}{said}"
            )
    return found.function(classes, shape, **found.fixed, **options)


@explained
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
