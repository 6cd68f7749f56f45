"""A ``torch.fx`` graph under construction, to which the files that emit operations write.

What comes out reads like code of PyTorch: modules of ``torch.nn`` under the names of the layers,
functions of ``torch`` between them, and nothing of ours. A value of a graph is a tensor
``(batch * samples, *shape)``; one without a batch ``(*shape)``, or ``(samples, *shape)``.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from faltung.geometry.errors import UnsupportedError
from faltung.graph.value import Graph, Node, Value, consumers

Array = npt.NDArray[Any]
Operand = fx.Node | float


class Emitter:
    """graph: what is emitted. arrays: the numbers of its parameters, by name."""

    def __init__(self, graph: Graph, arrays: Mapping[str, Array]) -> None:
        self.graph, self.arrays = graph, arrays
        self.dtype = getattr(torch, graph.dtype)
        self.root = nn.Module()
        self.fx = fx.Graph()
        self.layer = ""  # that of the node under way
        self.made: dict[str, fx.Node] = {}
        self.readers = consumers(graph.nodes)
        self._trained = {p.name: p.trained for p in graph.parameters}
        self._paths: dict[str, str] = {}
        self._fetched: dict[str, fx.Node] = {}
        self._constants: dict[tuple[Any, ...], fx.Node] = {}
        self._counts: dict[int, fx.Node] = {}
        self.fleeting: list[str] = []  # buffers that no state has

    # Values --------------------------------------------------------------------------------------

    def of(self, value: Value) -> fx.Node:
        """The tensor of a value: what a node made, or a parameter, in its own shape."""
        if value.name in self.arrays:
            return self.parameter(value)
        found = self.made.get(value.name)
        if found is None:
            raise self.refused(f"{value.name!r}, which comes from outside")
        return found

    def is_parameter(self, value: Value) -> bool:
        return value.name in self.arrays

    def parameter(self, value: Value) -> fx.Node:
        path = self._paths.get(value.name)
        if path is None:
            *above, last = value.name.split(".")
            holder, where = self._holder(above)
            name = _unused(holder, last)
            tensor = torch.from_numpy(np.array(self.arrays[value.name]))
            if self._trained[value.name]:
                holder.register_parameter(name, nn.Parameter(tensor))
            else:
                holder.register_buffer(name, tensor)
            path = self._paths[value.name] = ".".join([*where, name])
        return self._fetch(path)

    def _fetch(self, path: str) -> fx.Node:
        if path not in self._fetched:
            self._fetched[path] = self.fx.create_node("get_attr", path)
        return self._fetched[path]

    def constant(self, array: npt.ArrayLike) -> fx.Node:
        """Numbers that never change, floats in the network's dtype; equal ones are kept once."""
        made = np.asarray(array)
        if made.dtype.kind == "f":
            made = made.astype(self.graph.dtype)
        key = made.dtype.str, made.shape, made.tobytes()
        if key not in self._constants:
            name = _unused(self.root, f"constant{len(self._constants)}")
            self.root.register_buffer(name, torch.from_numpy(made.copy()))
            self.fleeting.append(name)
            self._constants[key] = self._fetch(name)
        return self._constants[key]

    def count(self, samples: int = 1) -> fx.Node:
        """How many samples there are in all: a whole number."""
        if samples not in self._counts:
            if samples == 1:
                first = self.graph.input
                made = self.method("size", self.made[first.name], 0)
                if first.samples > 1:
                    made = self.call(operator.floordiv, made, first.samples)
            else:
                made = self.call(operator.mul, self.count(), samples)
            self._counts[samples] = made
        return self._counts[samples]

    # Nodes ---------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.fx.call_function(function, args, kwargs)

    def method(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        return self.fx.call_method(name, args, kwargs)

    def module(self, layer: str, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        """A module without parameters, under the name of its layer if that is free."""
        *above, last = layer.split(".") if layer else [type(module).__name__.lower()]
        holder, where = self._holder(above)
        name = _unused(holder, last)
        holder.add_module(name, module)
        return self.fx.call_module(".".join([*where, name]), inputs)

    def owner(self, node: Node, named: Mapping[str, Value | None]) -> str | None:
        """The layer to which these parameters of a node belong alone, if they have these names
        there: a module of ``torch.nn`` can hold them.
        """
        layers = set()
        for name, value in named.items():
            if value is None:
                continue
            layer, _, last = value.name.rpartition(".")
            alone = self.readers[value.name] == [node] and value.name not in self._paths
            if not layer or last != name or not self.is_parameter(value) or not alone:
                return None
            layers.add(layer)
        if len(layers) != 1:
            return None
        (layer,) = layers
        *above, last = layer.split(".")
        holder, _ = self._holder(above)
        return layer if _unused(holder, last) == _word(last) else None

    def owned(
        self,
        layer: str,
        module: nn.Module,
        named: Mapping[str, Value | None],
        *inputs: fx.Node,
    ) -> fx.Node:
        """A module with the numbers of these parameters."""
        held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, value in named.items():
            if value is None:
                continue
            array = np.array(self.arrays[value.name]).reshape(tuple(held[name].shape))
            with torch.no_grad():
                held[name].copy_(torch.from_numpy(array))
            if not self._trained[value.name]:
                held[name].requires_grad_(False)
        return self.module(layer, module, *inputs)

    def _holder(self, names: Sequence[str]) -> tuple[nn.Module, list[str]]:
        """The module in which the parts of a layer stand, and its path."""
        holder, where = self.root, []
        for name in map(_word, names):
            if name not in holder._modules:
                name = _unused(holder, name)
                holder.add_module(name, nn.Module())
            where.append(name)
            holder = holder._modules[name]
        return holder, where

    # Shapes --------------------------------------------------------------------------------------

    def flat(self, x: Value) -> fx.Node:
        """A map as a vector for each sample, channels first."""
        return self.call(torch.flatten, self.of(x), 1) if x.space else self.of(x)

    def shaped(self, x: fx.Node, shape: Sequence[int]) -> fx.Node:
        """(n, ...) as (n, *shape), for any n."""
        flat = self.call(torch.flatten, x, 1)
        return flat if len(shape) == 1 else self.method("unflatten", flat, 1, tuple(shape))

    def moved(self, x: fx.Node, start: int, end: int) -> fx.Node:
        return self.call(torch.movedim, x, start, end)

    def refused(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"model: {what} of layer {self.layer!r} has no form in torch.nn")


def _word(name: str) -> str:
    """A name as part of a path: whatever it contains, the code that is made of it is a name."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return word or "_"


def _unused(holder: nn.Module, name: str) -> str:
    """The name, or where the module has an attribute of that name, the first that is free."""
    word = made = _word(name)
    number = 1
    while hasattr(holder, made):
        number += 1
        made = f"{word}_{number}"
    return made
