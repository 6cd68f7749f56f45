"""Which channels of a network can only be removed together, from its graph alone.

A residual sum, a gate or a depthwise convolution ties channels of several layers; a concatenation,
a flattening or a shuffle of channels puts them in other places. Rules for each operation
(``channel_rules.py``) give channels that belong together one label, and the slices of all
parameters that go with them.

>>> from faltung import nets
>>> from faltung.compress.dependencies import dependencies
>>> net = nets.get("resnet18", classes=10, input_shape=(3, 32, 32))
>>> found = dependencies(net, (3, 32, 32))
>>> len(found.groups), found.groups[0].layer
(2880, 'stem')
>>> sorted(name for name, _ in found.groups[0].slices if "conv" in name)[:2]
['stage1.block1.body.conv1.weight', 'stage1.block1.body.conv2.weight']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.compress.channel_rules import RULES, Axis, Channels
from faltung.compress.labels import Labels
from faltung.compress.rewritten import REWRITES, Kept, why_not
from faltung.geometry.record import dataclass
from faltung.graph.value import Graph, Node
from faltung.nn import Layer, build
from faltung.nn.edit import edit, paths

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together.

    label: what stands for them; groups are in its order, which is that of the network. layer: the
    first layer that makes one of them. slices: for axes of parameters, as users see them, the
    indices that go with them. approximate: "" if without them everything else is as if they were
    zero to all that read them; else why not.
    """

    label: int
    layer: str
    slices: Mapping[Axis, Array]
    approximate: str = ""


@dataclass(frozen=True)
class Dependencies:
    """The groups of a network, and what stays.

    graph: of training. of: the labels of the channels of each value; axes: of the slices of
    parameters; reads: the axes along which weights read channels. groups: all that may go. pinned:
    for layers of which channels stay, why.
    """

    net: Layer
    graph: Graph
    of: Mapping[str, Labels]
    axes: Mapping[Axis, Labels]
    reads: frozenset[Axis]
    groups: tuple[Group, ...]
    pinned: Mapping[str, str]

    def _kept(self, gone: Iterable[Group]) -> Kept:
        every = (*self.of.values(), *self.axes.values())
        mask = np.zeros(1 + max((int(each.max()) for each in every if each.size), default=0), bool)
        mask[[group.label for group in gone]] = True
        return Kept(self.of, mask)

    def without(self, gone: Iterable[Group]) -> Layer:
        """The network without the channels of some groups.

        Parameters
        ----------
        gone : iterable of Group
            Of ``groups``; at least one channel must stay everywhere (``empties``).

        Returns
        -------
        Layer
            The same layers with fewer channels, under the same names.
        """
        kept = self._kept(gone)
        known = paths(self.net)
        edits = {}
        for path, nodes in _owned(self.graph, known).items():
            layer = known[path]
            rewrite = REWRITES.get(type(layer))
            if rewrite is not None:
                made = rewrite(layer, nodes, kept)
                if made != layer:
                    edits[path] = made
        return edit(self.net, edits).net

    def parameters(self, values: Mapping[str, Array], gone: Iterable[Group]) -> dict[str, Array]:
        """Parameters without the slices of some groups."""
        kept = self._kept(gone)
        made = dict(values)
        for (name, axis), labels in self.axes.items():
            if name in made:
                made[name] = made[name].compress(kept.mask(labels), axis)
        return made

    def unread(self, values: Mapping[str, Array], gone: Iterable[Group]) -> dict[str, Array]:
        """Parameters of the same shapes with which no weight reads the channels of some groups:
        what the smaller network computes, computed by the larger one. Only for groups that are not
        ``approximate``.
        """
        kept = self._kept(gone)
        made = {name: np.array(value) for name, value in values.items()}
        for name, axis in self.reads:
            if name in made:
                mask = ~kept.mask(self.axes[name, axis])
                np.moveaxis(made[name], axis, 0)[mask] = 0
        return made

    def empties(self, gone: Iterable[Group]) -> str | None:
        """A layer of which no channel would stay; None: there is none."""
        kept = self._kept(gone)
        for node in self.graph.nodes:
            for value in node.outputs:
                labels = self.of.get(value.name)
                if labels is not None and len(labels) and not kept.mask(labels).any():
                    return node.layer
        return None


def dependencies(
    net: Layer, input_shape: Sequence[int], *, tokens: bool = False, dtype: Any = "float32"
) -> Dependencies:
    """Which channels of a network can only be removed together.

    Parameters
    ----------
    net : Layer
    input_shape : sequence of int
        ``(C, *space)``, or ``(length,)`` with ``tokens``.
    tokens, dtype
        As for ``nn.build``.

    Returns
    -------
    Dependencies
        What the network reads and gives stays, and so do channels at an operation or a layer of
        which it is not known how it takes channels to channels.
    """
    graph = build(net, input_shape, training=True, tokens=tokens, dtype=dtype)
    c = Channels(graph)
    if graph.input.kind == "float":
        c.ties.pin(c.labels(graph.input), "what the network reads")
    known = paths(net)
    for node in graph.nodes:
        path = _owner(node, known)
        rule, why = RULES.get(type(node.op)), _unknown(known.get(path), path, node)
        if rule is not None:
            rule(c, node)
        if rule is None or why is not None:
            c.pin(node, why or f"{type(node.op).__name__} is an operation without a rule")
    for output in (*graph.outputs, *(head.output for head in graph.auxiliaries)):
        c.ties.pin(c.labels(output), "what the network gives")
    return _result(net, c)


def _unknown(layer: Layer | None, path: str, node: Node) -> str | None:
    why = why_not(layer)
    if why is None and node.layer != path and type(layer) not in REWRITES:
        return f"{type(layer).__name__} makes {node.layer.rpartition('.')[2]} itself"
    return why


def _owner(node: Node, known: Mapping[str, Layer]) -> str:
    """The innermost layer of a network that a node belongs to: one may make others by itself."""
    path = node.layer
    while path and path not in known:
        path = path.rpartition(".")[0]
    return path


def _owned(graph: Graph, known: Mapping[str, Layer]) -> dict[str, list[Node]]:
    """The nodes of each layer, in their order; none of one that leaves its input as it is."""
    found: dict[str, list[Node]] = {path: [] for path in known}
    for node in graph.nodes:
        found.setdefault(_owner(node, known), []).append(node)
    return found


def _result(net: Layer, c: Channels) -> Dependencies:
    of = {name: c.ties.found(labels) for name, labels in c.of.items()}
    axes = {key: c.ties.found(labels) for key, labels in c.axes.items()}
    makers: dict[int, str] = {}
    for node in c.graph.nodes:
        for value in node.outputs:
            for label in of.get(value.name, ()):
                makers.setdefault(int(label), node.layer)
    mixed = {
        int(label): why for labels, why in reversed(c.approximate) for label in c.ties.found(labels)
    }
    slices: dict[int, dict[Axis, Array]] = {}
    for key, labels in axes.items():
        order = np.argsort(labels, kind="stable")
        values, starts = np.unique(labels[order], return_index=True)
        for label, indices in zip(values.tolist(), np.split(order, starts[1:]), strict=True):
            slices.setdefault(label, {})[key] = indices
    groups = tuple(
        Group(label, makers.get(label, ""), slices[label], mixed.get(label, ""))
        for label in sorted(slices)
        if c.ties.pinned(label) is None
    )
    return Dependencies(net, c.graph, of, axes, frozenset(c.reads), groups, _pinned(c))


def _pinned(c: Channels) -> dict[str, str]:
    """Layers all of whose channels stay, and why."""
    found: dict[str, str] = {}
    for (name, axis), labels in c.axes.items():
        why = [c.ties.pinned(label) for label in labels.tolist()]
        if (name, axis) not in c.reads and len(c.parameters[name].shape) > 1 and all(why):
            found.setdefault(name.rpartition(".")[0], why[0] or "")
    return found
