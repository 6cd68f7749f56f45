"""A classifier made dense: what its head makes of one picture becomes a map of such answers.

A linear layer that reads a map is a convolution whose kernel is that map; one that reads a vector
is pointwise; a mean over all positions is one over windows of that size. The parameters are the
same numbers. (P. Sermanet et al., *OverFeat*, ICLR 2014; J. Long, E. Shelhamer and T. Darrell,
*Fully convolutional networks for semantic segmentation*, CVPR 2015.)
"""

from collections.abc import Mapping
from math import prod
from typing import Any, Protocol, Self, TypeVar

import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.ops import Convolve, Pool, Reshape
from faltung.graph.value import Graph, Node
from faltung.nn import (
    AdaptiveAvgPool,
    Auxiliary,
    AvgPool,
    Conv,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
)
from faltung.nn.edit import edit, paths

Array = npt.NDArray[Any]


class Dense(Protocol):
    """What is needed of a model."""

    net: Layer
    graph: Graph
    tokens: bool

    @property
    def input_shape(self) -> tuple[int, ...]: ...

    @property
    def parameters(self) -> dict[str, Array]: ...

    def about(self) -> dict[str, Any]: ...

    @classmethod
    def from_about(cls, about: Any) -> Self: ...

    def set_parameters(self, values: Mapping[str, npt.ArrayLike]) -> None: ...


N = TypeVar("N", bound=Dense)


def dense(model: N) -> N:
    """``Model.dense``."""
    rank = len(model.input_shape) - 1
    if model.tokens or not rank:
        raise FaltungError("dense: needs a network for maps; this one reads tokens or vectors")
    nodes: dict[str, list[Node]] = {}
    for node in model.graph.nodes:
        nodes.setdefault(node.layer, []).append(node)
    edits: dict[str, tuple[Layer, ...]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    known = paths(model.net)
    heads = tuple(f"{path}." for path, layer in known.items() if isinstance(layer, Auxiliary))
    for path, layer in known.items():
        if path.startswith(heads):  # which exist in training alone
            continue
        made = _dense(layer, nodes.get(path, []), rank, path)
        if made is not None:
            edits[path] = made
            for one in made:
                if isinstance(layer, Linear) and isinstance(one, Conv):
                    shapes[f"{path}.weight"] = one.kernel  # type: ignore[assignment]
    if not edits:
        return _with(type(model).from_about(model.about()), model.parameters)
    found = edit(model.net, edits)
    values = {}
    for name, value in model.parameters.items():
        if name in shapes:
            kernel = shapes[name]
            value = value.reshape(len(value), -1, *kernel)
        values[name] = value
    about = {**model.about(), "net": repr(found.net)}
    return _with(type(model).from_about(about), found.parameters(values))


def _with(made: N, values: dict[str, Array]) -> N:
    made.set_parameters(values)
    return made


def _dense(layer: Layer, nodes: list[Node], rank: int, path: str) -> tuple[Layer, ...] | None:
    """What comes in the place of a layer; None: it stays."""
    if isinstance(layer, Flatten):
        return ()
    if isinstance(layer, Linear):
        node = next(node for node in nodes if isinstance(node.op, Convolve))
        assert isinstance(node.op, Convolve)
        space = node.inputs[0].space
        kernel = node.op.spec.kernel if len(space) == rank else (1,) * rank
        flat = any(isinstance(node.op, Reshape) for node in nodes)
        if flat or (len(space) not in (0, rank)):
            raise FaltungError(
                f"dense: layer {path!r} reads a map whose positions have been put in another order"
            )
        return (Conv(layer.features, tuple(kernel), bias=layer.bias, bits=layer.bits),)
    if isinstance(layer, GlobalAvgPool):
        space = nodes[0].inputs[0].space
        return (AvgPool(tuple(space), stride=1),)
    if isinstance(layer, AdaptiveAvgPool):
        pool = next((node.op for node in nodes if isinstance(node.op, Pool)), None)
        if pool is None and nodes:
            raise FaltungError(
                f"dense: the windows of layer {path!r} have several sizes, as its input cannot be "
                "divided evenly"
            )
        if pool is not None and prod(pool.spec.kernel) > 1:
            return (AvgPool(pool.spec.kernel, stride=pool.spec.kernel),)
        return ()
    return None
