"""What groups of channels cost: multiply-adds, bytes and channels, as products of the sizes of the
axes that lose slices.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import ceil, prod

from faltung.compress.channel_rules import Axis
from faltung.compress.dependencies import Dependencies, Group
from faltung.geometry.conv import ITEMSIZE, ConvSpec
from faltung.geometry.record import dataclass
from faltung.graph import ops
from faltung.graph.cost import macs
from faltung.graph.value import Graph, Node


@dataclass(frozen=True)
class Item:
    """A cost that falls in proportion to the sizes of some axes."""

    whole: float
    axes: tuple[Axis, ...]


def items(graph: Graph, found: Dependencies, by: str) -> Iterator[Item]:
    """The costs of a network: "macs" of its operations at inference (``graph``), "bytes" of its
    parameters, or "channels" that its layers make.
    """
    if by == "macs":
        for node in graph.nodes:
            yield from _macs(node, found)
        return
    for p in graph.parameters:
        axes = tuple((p.name, axis) for axis in range(len(p.shape)) if (p.name, axis) in found.axes)
        if by == "bytes":
            yield Item(ITEMSIZE[graph.dtype] * p.size, axes)
        elif len(p.shape) > 1:
            made = tuple(axis for axis in axes if axis not in found.reads)
            yield from (Item(len(found.axes[axis]), (axis,)) for axis in made)


def _macs(node: Node, found: Dependencies) -> Iterator[Item]:
    count = macs(node)
    if not count:
        return
    weighs = isinstance(getattr(node.op, "spec", None), ConvSpec)
    names = [value.name for value in node.inputs[1:]]
    if isinstance(node.op, ops.Recurrent):
        own = node.op.layer.macs(0)
        axes = [(name, 1) for name in names if (name, 1) in found.axes][:1]
        yield Item(own, ())
        yield Item(count - own, tuple(axes))
    else:
        keys = [key for key in found.axes if weighs and key[0] == names[0]]
        yield Item(count, tuple(keys))


class Ledger:
    """The costs of a network as groups go.

    keep: the part of the slices of each axis that stays, and at least one.
    """

    def __init__(self, graph: Graph, found: Dependencies, by: str, keep: float) -> None:
        self.found = found
        self.items = list(items(graph, found, by))
        self._sizes = {axis: len(labels) for axis, labels in found.axes.items()}
        # Parts of a layer's channels, of which one must stay too.
        self._parts: dict[str, list[int]] = {}
        self._in_parts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for node in found.graph.nodes:
            if isinstance(node.op, ops.Slice):
                labels = found.of[node.output.name].tolist()
                self._parts[node.output.name] = [len(labels)]
                for label in labels:
                    self._in_parts[label][node.output.name] += 1
        self._least = {axis: max(1, ceil(keep * n)) for axis, n in self._sizes.items()}
        self._kept = dict(self._sizes)
        self._of: dict[Axis, list[int]] = defaultdict(list)
        for number, item in enumerate(self.items):
            for axis in item.axes:
                self._of[axis].append(number)
        self.whole = self.total = sum(item.whole for item in self.items)
        self.gone: list[Group] = []

    def saved(self, group: Group) -> float:
        """What goes with a group if all others stay."""
        touched = {number for axis in group.slices for number in self._of.get(axis, ())}
        return sum(
            item.whole
            * (1 - prod(1 - len(group.slices.get(a, ())) / self._sizes[a] for a in item.axes))
            for item in (self.items[number] for number in sorted(touched))
        )

    def _now(self, numbers: Iterable[int]) -> float:
        return sum(
            self.items[n].whole * prod(self._kept[a] / self._sizes[a] for a in self.items[n].axes)
            for n in sorted(numbers)
        )

    def remove(self, *groups: Group) -> bool:
        """Whether some groups can go, all of them, and if so, without them."""
        axes: Counter[Axis] = Counter()
        parts: Counter[str] = Counter()
        for group in groups:
            axes.update({axis: len(indices) for axis, indices in group.slices.items()})
            parts.update(self._in_parts.get(group.label, {}))
        if any(self._kept[axis] - count < self._least[axis] for axis, count in axes.items()):
            return False
        if any(self._parts[name][0] <= count for name, count in parts.items()):
            return False
        touched = {number for axis in axes for number in self._of.get(axis, ())}
        before = self._now(touched)
        self._kept.update({axis: self._kept[axis] - count for axis, count in axes.items()})
        for name, count in parts.items():
            self._parts[name][0] -= count
        self.total += self._now(touched) - before
        self.gone += groups
        return True
