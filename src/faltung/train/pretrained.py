"""Networks that others have trained: weights of torchvision and timm, and those of a package."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.names import listing, printable
from faltung.data.standard import Standard
from faltung.data.units import Units
from faltung.formats.extras import missing
from faltung.formats.files import opened_checked
from faltung.formats.state_dict import load_state_dict
from faltung.formats.tensors import load_tensors
from faltung.formats.torch_names import is_timm, ordered
from faltung.geometry.check import integers, show
from faltung.geometry.check import path as check_path
from faltung.geometry.conv import NARROW
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.value import Graph, Parameter
from faltung.nets.table import get as get_net
from faltung.nets.table import key, row
from faltung.nn import BatchNorm, Layer
from faltung.nn.edit import edit, paths
from faltung.train.freezing import layer_of
from faltung.train.model import Model

Array = npt.NDArray[Any]

# The package of weights that come with Faltung, and how a name of one of them may be written.
PACKAGE, PREFIX = "faltung_weights", "faltung-weights:"
# What these networks expect of pictures from 0 to 1, unless ``STANDARDS`` says otherwise.
IMAGENET = Standard((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Standard((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# (whether the file is timm's, network) -> what it expects, by the beginning of its name.
STANDARDS: dict[tuple[bool, str], Standard] = {
    (True, "vit"): HALF,
    (True, "mobilevit"): Standard((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    (False, "googlenet"): HALF,  # its pretrained form turns ImageNet's standard into this one
    (False, "resnet3d18"): Standard((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
}
# Options with which our networks are those of the papers for pictures of any size.
WHOLE: dict[str, Any] = {"halvings": 5, "patch": 16}
HALVINGS = {"resnet3d18": 4, "deeplabv3": 3}
TIMM_EPS = 1e-5  # of its batch normalisation in all these networks
_HEADER_BYTES = 1 << 24


def is_weights(path: str | os.PathLike[str]) -> bool:
    """Whether a file has weights without their network: of torch.save, or safetensors of others."""
    place = Path(path)
    if not place.is_file():
        return False
    with opened_checked(place) as (file, _):
        head = file.read(8)
        if head[:2] in (b"PK", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"):
            return True
        size = int.from_bytes(head, "little")
        if len(head) < 8 or size > _HEADER_BYTES:
            return False
        try:
            about = json.loads(file.read(size))
        except (ValueError, RecursionError):
            return False
    return isinstance(about, dict) and "faltung" not in (about.get("__metadata__") or {})


def packaged(name: str | os.PathLike[str]) -> Path | None:
    """The file of weights that come in the package ``faltung-weights``, by their name; None: there
    are none of this name. ImportError: it was asked for and is not installed.
    """
    text = os.fspath(name)
    asked = text.startswith(PREFIX)
    if not asked and (os.sep in text or os.path.lexists(text)):
        return None
    try:
        table: Mapping[str, str] = import_module(PACKAGE).paths()
    except ImportError as error:
        if asked:
            raise missing("faltung_weights", "weights") from error
        return None
    word = text.removeprefix(PREFIX)
    if word in table:
        return Path(table[word])
    if asked:
        raise FaltungError(f"{printable(text)}: must be one of {listing(list(table))}")
    return None


def pretrained(
    kind: type[Model],
    weights: str | os.PathLike[str],
    net: str | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    standard: Standard | None = None,
    **options: Any,
) -> Model:
    """A model with weights that others have trained; ``Model.pretrained``."""
    said = printable(check_path("weights", weights))
    place = packaged(weights) or Path(os.fsdecode(weights))
    if not is_weights(place):
        given = {"net": net, "classes": classes, "standard": standard, **options}
        for word, value in given.items():
            if value is not None:
                raise FaltungTypeError(
                    f"{word}={show(value)}: {said} is a model with its network; leave it out"
                )
        made = kind.load(place)
        if made.dtype in NARROW:  # as small as may be in a file, but to be trained
            made = made.astype("float32")
        return made if input_shape is None else made.at_shape(input_shape)
    if net is None:
        raise FaltungTypeError(
            f"net=None: {said} has weights without their network: must be the name of one, as "
            "'resnet18'"
        )
    name, tensors = key(net), _without_biases(_tensors(place))
    try:
        names = ordered(tensors)
    except FaltungError as error:
        raise FaltungError(f"{said}: {error}") from None
    if not names or not tensors[names[-1]].shape:
        raise FaltungError(f"{said}: has no weights")
    timm = is_timm(names)
    shape = integers("input_shape", row(name).input_shape if input_shape is None else input_shape)
    if any(each.endswith("running_var") for each in names):
        options = {"normalisation": "batch", **options}
    layers = layers_of(name, shape, tensors[names[-1]].shape[0], timm, options)
    usual = standard_of(name, timm) if shape[0] == 3 else None
    made = kind(layers, shape, classes=classes, standard=standard or usual, units=Units(white=1.0))
    made.loss = "cross_entropy"
    graphs = made.training_graph, made.graph
    made.set_parameters(fitted(graphs, tensors, names, said, name))
    return made


def standard_of(name: str, timm: bool) -> Standard:
    """The mean and deviation that a pretrained network expects."""
    found = (each for (of, net), each in STANDARDS.items() if of == timm and name.startswith(net))
    return next(found, IMAGENET)


def _tensors(place: Path) -> dict[str, Array]:
    """All tensors of a file, of PyTorch or of safetensors."""
    with opened_checked(place) as (file, _):
        pickled = file.read(2)[:1] in (b"P", b"\x80") and place.suffix.lower() != ".safetensors"
    return load_state_dict(place) if pickled else load_tensors(place)[0]


def _without_biases(tensors: dict[str, Array]) -> dict[str, Array]:
    """Biases of convolutions are taken into the mean that the normalisation behind them subtracts,
    as our networks have either.
    """
    made = dict(tensors)
    for name in tensors:
        match = re.fullmatch(r"(.+\.)(\d+)\.bias", name)
        mean = f"{match[1]}{int(match[2]) + 1}.running_mean" if match and len(match[2]) < 6 else ""
        if mean in tensors and match and tensors[f"{match[1]}{match[2]}.weight"].ndim > 2:
            made[mean] = tensors[mean] - made.pop(name)
    return made


def layers_of(
    name: str, shape: Sequence[int], outputs: int, timm: bool, options: Mapping[str, Any]
) -> Layer:
    """The network of the paper, whatever the size of the pictures, as the library has it."""
    whole = {**WHOLE, "halvings": HALVINGS.get(name, WHOLE["halvings"])}
    known = row(name).arguments()
    usual = {option: whole[option] for option in whole if option in known}
    if "normalisation" not in known:
        options = {option: options[option] for option in options if option != "normalisation"}
    made = get_net(name, classes=outputs, input_shape=shape, **{**usual, **options})
    if not timm:
        return made
    norms = {path: each for path, each in paths(made).items() if isinstance(each, BatchNorm)}
    other = {p: replace(each, eps=TIMM_EPS) for p, each in norms.items() if each.eps != TIMM_EPS}
    return edit(made, other).net if other else made


# From their parameters to ours --------------------------------------------------------------------


def fitted(
    graphs: tuple[Graph, Graph],
    tensors: Mapping[str, Array],
    names: Sequence[str],
    said: str,
    net: str,
) -> dict[str, Array]:
    """Our parameters from theirs, one for one in order. graphs: of training and of inference.
    ValueError naming what does not fit.
    """
    training, inference = (graph.parameters for graph in graphs)
    # Auxiliary classifiers may be missing, or be made for another size; the last layer may be.
    without = [name for name in names if not re.match(r"(aux\d|aux_classifier)\.", name)]
    for theirs, ours in ((names, training), (without, inference), (without, _headless(inference))):
        made = [_fit(tensors[n], n, p) for n, p in zip(theirs, ours, strict=False)]
        if len(theirs) == len(ours) and not any(each is None for each in made):
            return {p.name: each for p, each in zip(ours, made, strict=True) if each is not None}
    for name, p in zip(without, inference, strict=False):
        array = tensors[name]
        if _fit(array, name, p) is None:
            raise FaltungError(
                f"{said}: {show(name)} has shape {array.shape}: {p.name} of {net} must have "
                f"{p.shape}"
            )
    raise FaltungError(
        f"{said}: has {len(without)} parameters: {net} has {len(inference)}; give the network of "
        "this name, and its options"
    )


def _headless(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Without the last layer, as in files of a backbone."""
    last = layer_of(parameters[-1].name)
    return [p for p in parameters if layer_of(p.name) != last]


def _fit(array: Array, name: str, mine: Parameter) -> Array | None:
    """An array in the shape of ours; None: it has another number of entries, or of axes."""
    shape = mine.shape
    if re.search(r"pos_embed(ding)?$", name) and array.ndim == 3:
        array = array[0].T  # theirs are (1, positions, channels)
    alike = _wide(array.shape) == _wide(shape)
    # A convolution over the whole of its input is a linear layer here.
    flat = len(shape) == 2 and array.shape[:1] == shape[:1] and prod(array.shape) == prod(shape)
    return np.ascontiguousarray(array).reshape(shape) if alike or flat else None


def _wide(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without axes of one entry."""
    return tuple(n for n in shape if n != 1)
