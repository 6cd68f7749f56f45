"""Where each value is: its buffer, its first channel in it, and the pitch of positions.

A map is a matrix of positions by channels, with the channels contiguous. Operands of a
concatenation are written into the result, a slice is read from the whole, and a view of contiguous
memory is that memory: none of them is copied.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from faltung.geometry.record import dataclass
from faltung.graph.ops import Concat, FirstPosition, Reshape, Slice, View
from faltung.graph.value import Node, Value
from faltung.methods.base.correlation import Strides


@dataclass(frozen=True, slots=True)
class Place:
    """A value in ``buffer``, from element ``channel`` on; positions are ``pitch`` elements apart.

    first: the map is stored as users pass it, channels first. whole: other values of the buffer
    split its numbers otherwise, so that channels do not tell which of them is meant.
    """

    buffer: str
    channel: int
    pitch: int
    first: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Inside:
    """A value lies in another, from this channel on; ``splits``: with other channels."""

    value: Value
    start: int = 0
    splits: bool = False


class Places:
    """The places of all values of a list of nodes. ``outside``: values that have buffers of their
    own and cannot be written into a concatenation. ``first``: inputs that are stored channels
    first. ``made``: the names of all results. ``copied``: operands of concatenations and views, by
    node and number, that could not be had without a copy.
    """

    def __init__(
        self, nodes: Sequence[Node], outside: Sequence[str], first: Collection[str] = ()
    ) -> None:
        self.made = frozenset(value.name for node in nodes for value in node.outputs)
        self._within: dict[str, _Inside] = {}
        self._first = first
        self._found: dict[Value, Place] = {}
        self.copied: list[tuple[Node, int]] = []
        # What is seen with other channels must stay contiguous.
        self._split = {node.inputs[0].name for node in nodes if _splits(node)}
        fixed = {*outside, *self._split}
        hosts = _hosts(nodes)
        for node in nodes:
            if isinstance(node.op, Concat):
                if not self._in_larger(node, hosts, fixed):
                    self._concat(node, fixed)
            elif isinstance(node.op, Slice):
                self._within[node.output.name] = _Inside(node.inputs[0], node.op.start)
            elif isinstance(node.op, View):
                self._view(node, fixed)
            elif isinstance(node.op, FirstPosition) or (
                isinstance(node.op, Reshape) and _same(node)
            ):
                self._within[node.output.name] = _Inside(node.inputs[0])

    def _concat(self, node: Node, fixed: set[str]) -> None:
        """Operands are written into the result, but for those that are elsewhere already."""
        start = 0
        for number, value in enumerate(node.inputs):
            if not self._fits(value, node.output, start, fixed):
                self.copied.append((node, number))
            elif self._root(value) != (node.output, start):
                self._within[self.root(value).name] = _Inside(node.output, start)
            start += value.channels

    def _fits(self, value: Value, whole: Value, start: int, fixed: set[str]) -> bool:
        """Whether a value is in a concatenation, from this channel on, or can be put there."""
        root, channel = self._root(value)
        if root == whole:
            return channel == start
        return root.name not in fixed and (root == value or root.channels == value.channels)

    def _in_larger(
        self, node: Node, hosts: Mapping[str, tuple[Value, int]], fixed: set[str]
    ) -> bool:
        """A concatenation of what a later one has too, side by side in the same order, is part of
        that: the layers of a dense block read more and more of one map.
        """
        found = hosts.get(node.output.name)
        if found is None or node.output.name in fixed or len(set(node.inputs)) < len(node.inputs):
            return False
        whole, first = found
        starts = [first]
        for value in node.inputs:
            starts.append(starts[-1] + value.channels)
        parts = list(zip(node.inputs, starts, strict=False))
        if not all(self._fits(value, whole, start, fixed) for value, start in parts):
            return False
        for value, start in parts:
            if self._root(value) != (whole, start):
                self._within[self.root(value).name] = _Inside(whole, start)
        self._within[node.output.name] = _Inside(whole, first)
        return True

    def _view(self, node: Node, fixed: set[str]) -> None:
        """A view of what is contiguous, or that keeps the channels, is the same memory."""
        x, splits = node.inputs[0], _splits(node)
        if splits and self._pitch(x) != x.channels:
            self.copied.append((node, 0))
            fixed.add(node.output.name)  # the copy is contiguous
            return
        if splits:
            root = self._root(x)[0]
            fixed.add(root.name)
            self._split.add(root.name)
        self._within[node.output.name] = _Inside(x, splits=splits)

    def _root(self, value: Value) -> tuple[Value, int]:
        channel = 0
        while (inside := self._within.get(value.name)) is not None:
            value = inside.value
            channel += inside.start
        return value, channel

    def _pitch(self, value: Value) -> int:
        """How far apart positions are."""
        while (inside := self._within.get(value.name)) is not None and not inside.splits:
            value = inside.value
        return value.channels

    def root(self, value: Value) -> Value:
        """The value whose buffer this one is in."""
        return self._root(value)[0]

    def place(self, value: Value) -> Place:
        found = self._found.get(value)
        if found is None:
            found = self._found[value] = self._place(value)
        return found

    @contextmanager
    def elsewhere(self, places: Mapping[Value, Place]) -> Iterator[None]:
        """Say other places of these values, for a while."""
        before = self._found
        self._found = {**before, **places}
        yield
        self._found = before

    def _place(self, value: Value) -> Place:
        root, channel = self._root(value)
        if root.name in self._first and root.positions > 1 and root.channels > 1:
            return Place(root.name, 0, 1, first=True)
        return Place(root.name, channel, self._pitch(value), whole=root.name in self._split)

    def strides(self, value: Value, space: Sequence[int]) -> Strides:
        """Strides of (batch, channel, *space), in elements; ``space`` as a spec has it."""
        place = self.place(value)
        steps, step = [], 1 if place.first else place.pitch
        for size in reversed(space):
            steps.append(step)
            step *= size
        if place.first:
            return (step * value.channels, step, *reversed(steps))
        return (step, 1, *reversed(steps))


def _hosts(nodes: Sequence[Node]) -> dict[str, tuple[Value, int]]:
    """For each concatenation the largest later one that has all of its operands side by side, and
    from which channel on.
    """
    joins = [node for node in nodes if isinstance(node.op, Concat)]
    after: dict[str, list[tuple[Node, int]]] = {}  # by the first operand
    found: dict[str, tuple[Value, int]] = {}
    for node in reversed(joins):
        most = len(node.inputs)
        for other, place in after.get(node.inputs[0].name, []):
            same = other.inputs[place : place + len(node.inputs)] == node.inputs
            if same and len(other.inputs) > most:
                most = len(other.inputs)
                start = sum(value.channels for value in other.inputs[:place])
                found[node.output.name] = (other.output, start)
        for place, value in enumerate(node.inputs):
            after.setdefault(value.name, []).append((node, place))
    return found


def _same(node: Node) -> bool:
    """Whether a reshape leaves the numbers in memory as they are."""
    a, b = node.inputs[0], node.output
    return a.channels == b.channels or (a.positions == 1 and b.positions == 1)


def _splits(node: Node) -> bool:
    """Whether a node is a view with other channels."""
    return isinstance(node.op, View) and node.inputs[0].channels != node.output.channels
