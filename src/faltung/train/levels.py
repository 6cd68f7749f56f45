"""Weights on grids as whole numbers, and back: in files, and in a model that is done training.

In training a weight is more than its level, so that many small steps add up to one. Later only the
level counts.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.fold import computed_ahead
from faltung.graph.scales import followed, levels
from faltung.graph.value import Graph, Parameter

if TYPE_CHECKING:
    from faltung.train.network import Network

Array = npt.NDArray[Any]


def settled(graph: Graph, view: Callable[[str], Array]) -> dict[str, Array]:
    """The parameters on grids as a network uses them. view: a parameter in its unfolded shape."""
    made = {}
    for derived in computed_ahead(graph)[1]:
        p = graph.parameter(derived.like)
        out = np.empty(p.inner, graph.dtype)
        derived.into(out, view)
        made[p.name] = out.reshape(p.shape)
    return made


def follow(model: "Network") -> None:
    """Compute the scales of a model's weights again, from the weights as they are now."""
    made = followed(model.state.parameters.values(), model.state.get)
    if made:
        model.set_parameters(made)


def settle(model: "Network") -> None:
    """Write to the weights on grids of a model the numbers that it uses. It predicts the same."""
    made = settled(model.training_graph, model.state.view)
    if made:
        model.set_parameters(made)


def as_levels(graph: Graph, values: Mapping[str, Array]) -> dict[str, Array]:
    """The weights on grids in int8. ValueError: one is not finite."""
    made = {}
    for p in graph.parameters:
        if p.follows is None:
            continue
        name, top = p.follows.weight, levels(p.follows.bits)
        whole = np.rint(values[name] / _wide(p, values[p.name], values[name].ndim))
        if not np.isfinite(whole).all():
            raise FaltungError(f"{name}: must be finite to be written as levels")
        made[name] = np.clip(whole, -top, top).astype(np.int8)
    return made


def from_levels(graph: Graph, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """What ``as_levels`` was made of: int8 tensors with their scales as numbers. Others stay as
    they are, also those that do not fit, for whoever checks them.
    """
    made = dict(tensors)
    for p in graph.parameters:
        if p.follows is None:
            continue
        whole, scale = tensors.get(p.follows.weight), tensors.get(p.name)
        if whole is None or scale is None or whole.dtype != np.int8 or scale.shape != p.shape:
            continue
        if whole.shape == graph.parameter(p.follows.weight).shape and scale.dtype.kind == "f":
            made[p.follows.weight] = whole * _wide(p, scale, whole.ndim)
    return made


def _wide(p: Parameter, scale: Array, rank: int) -> Array:
    """Scales as they are broadcast to their weight."""
    assert p.follows is not None
    return scale.reshape(tuple(-1 if i == p.follows.axis else 1 for i in range(rank)))
