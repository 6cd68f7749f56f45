"""What PyTorch itself computes: of parameters before a call, and anything once more."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from faltung.torch.effects import storages, written_by
from faltung.torch.part import Part


class Prefix:
    """What PyTorch computes of parameters before each call. nodes: those needed, in order."""

    def __init__(self, part: Part, wanted: set[str]) -> None:
        self.nodes: list[fx.Node] = []
        needed = set(wanted)
        for node in reversed(part.prefix):
            if node.name in needed or _mutates(node):
                self.nodes.append(node)
                needed.update(x.name for x in node.all_input_nodes)
        self.nodes.reverse()
        self.constants = {n: leaf.tensor for n, leaf in part.leaves.items() if n in needed}

    @property
    def changes(self) -> bool:
        """Whether a call leaves real numbers of buffers other than they were."""
        given = {
            storage
            for node in self.nodes
            for x in node.all_input_nodes
            if x.op in ("placeholder", "get_attr")
            for storage in storages(x)
        }
        written = [x for node in self.nodes for x in written_by(node)]
        real = [x for x in written if x.meta["val"].is_floating_point()]
        return any(not given.isdisjoint(storages(x)) for x in real)

    def __call__(self, env: dict[str, Any]) -> dict[str, Any]:
        for node in self.nodes:
            args, kwargs = self._arguments(node, env)
            found = env[node.name] = run(node, args, kwargs)
            if isinstance(found, list | tuple):
                env |= {f"{node.name}[{i}]": x for i, x in enumerate(found)}
        return env

    def _arguments(self, node: fx.Node, env: dict[str, Any]) -> Any:
        return fx.map_arg((node.args, node.kwargs), lambda n: self._value(env, n))

    def _value(self, env: dict[str, Any], node: fx.Node) -> Any:
        if node.name in env:
            return env[node.name]
        if node.op == "get_attr":
            return attribute(node)
        return self.constants[node.name]


def run(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """What PyTorch makes of a node, without gradients where the model has switched them off."""
    target: Any = node.target
    if node.meta.get("grad", True):
        return target(*args, **kwargs)
    with torch.no_grad():
        return target(*args, **kwargs)


def attribute(node: fx.Node) -> Any:
    """What a get_attr node names."""
    found: Any = node.graph.owning_module
    for name in str(node.target).split("."):
        found = getattr(found, name)
    return found


def _mutates(node: fx.Node) -> bool:
    target: Any = node.target
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def eager(nodes: Sequence[fx.Node], env: dict[str, Any]) -> Any:
    """Run nodes by PyTorch; their results are added to ``env``."""
    for node in nodes:
        if node.name in env or node.op in ("placeholder", "output"):
            continue
        if node.op == "get_attr":
            env[node.name] = attribute(node)
            continue
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: env[n.name])
        env[node.name] = run(node, args, kwargs)
    return env
