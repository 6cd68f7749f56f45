"""Transfer learning: a network that starts from the parameters of another."""

import hashlib
from dataclasses import replace

from faltung.data.names import listing
from faltung.geometry.errors import FaltungError
from faltung.nn import (
    Auxiliary,
    Conv,
    ConvTranspose,
    Embedding,
    Layer,
    Linear,
    Local,
    Parallel,
    Residual,
    Sequential,
)
from faltung.train.freezing import layer_of
from faltung.train.network import Network


def take_matching(model: Network, other: Network, where: str = "other") -> tuple[str, ...]:
    """Copy parameters of the same name and shape; the layers that lack one keep all they have.

    ``where``: what messages call the other. ValueError: samples of another shape, or nothing alike.
    """
    for name, mine, theirs in (
        ("samples of shape", model.input_shape, other.input_shape),
        ("tokens", model.tokens, other.tokens),
    ):
        if mine != theirs:
            raise FaltungError(
                f"{where}: was trained on {name} {theirs}, these are {mine}: must be the same"
            )
    have = other.state.parameters
    anew = tuple(
        dict.fromkeys(
            layer_of(name)
            for name, p in model.state.parameters.items()
            if name not in have or have[name].shape != p.shape
        )
    )
    taken = {
        name: other.state.get(name).astype(model.graph.dtype)
        for name in model.state.parameters
        if layer_of(name) not in anew
    }
    if not taken:
        raise FaltungError(
            f"{where}: has no layer of the same name and shape, its layers are "
            f"{listing(list(dict.fromkeys(map(layer_of, have))))}: must be a network of the same "
            "kind"
        )
    model.set_parameters(taken)
    if model.standard is None and model.units is None:
        model.layout = other.layout
    if model.standard is None:
        model.standard = other.standard
    if model.units is None:
        model.units = other.units
    if model.loss is None and model.graph.output.channels == other.graph.output.channels:
        model.target_scale = other.target_scale
    return in_order(model, anew)


def in_order(model: Network, names: tuple[str, ...]) -> tuple[str, ...]:
    """Layers in the order of the network."""
    order = dict.fromkeys(layer_of(p.name) for p in model.training_graph.parameters)
    return tuple(name for name in order if name in names)


def digest(model: Network) -> str:
    """Of all parameters: the same network has the same."""
    found = hashlib.sha256()
    for name, value in model.parameters.items():
        found.update(f"{name} {value.shape} {value.dtype}\n".encode())
        found.update(value.tobytes())
    return found.hexdigest()[:16]


def with_outputs(net: Layer, count: int) -> Layer | None:
    """The same layers with another number of outputs, those of auxiliary classifiers too; None if
    the last layer is none that has such a number.
    """
    made = _of_auxiliaries(net, count)
    return None if made is None else _of_last(made, count)


def _of_auxiliaries(net: Layer, count: int) -> Layer | None:
    if isinstance(net, Auxiliary):
        head = _of_last(net.head, count)
        return None if head is None else replace(net, head=head)
    if not isinstance(net, Sequential):
        return net
    parts = [_of_auxiliaries(layer, count) for layer in net.layers]
    return _sequence(net, parts)


def _of_last(net: Layer, count: int) -> Layer | None:
    if hasattr(net, "structure"):  # a network from a file
        return replace(net, classes=count)  # type: ignore[call-arg]
    if isinstance(net, Linear):
        return replace(net, features=count)
    if isinstance(net, Conv | ConvTranspose | Local):
        return replace(net, channels=count)
    if not isinstance(net, Sequential):
        return None
    parts: list[Layer | None] = list(net.layers)
    for number in reversed(range(len(parts))):
        if isinstance(net.layers[number], Linear | Conv | ConvTranspose | Local | Sequential):
            parts[number] = _of_last(net.layers[number], count)
            return _sequence(net, parts)
        if isinstance(net.layers[number], Residual | Parallel | Embedding):
            return None
    return None


def _sequence(net: Sequential, parts: list[Layer | None]) -> Layer | None:
    kept = [layer for layer in parts if layer is not None]
    return Sequential(*kept, name=net.name) if len(kept) == len(parts) else None
