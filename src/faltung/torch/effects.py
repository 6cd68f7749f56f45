"""Which nodes of a graph share memory, what they write, and the order that follows from it.

PyTorch's tensors without numbers know whose memory they are: two nodes with one storage are views
of each other. A write in place is a new value as long as nobody looks at the old memory afterwards.
"""

import operator
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Any

import torch
from torch import fx

from faltung.geometry.record import dataclass

# Operators that write buffers, which our programs write as well.
UPDATES = frozenset(["batch_norm", "instance_norm", "_native_batch_norm_legit"])


@dataclass(slots=True)
class Effects:
    """before: for each node those that must have run, beside those that it reads.
    real: nodes that must have memory of their owner, and why.
    returned: for each result that is a view of a placeholder the views that lead to it, in order.
    written: names of placeholders that are written.
    tied: names of memory that is written while somebody else looks at it: one piece must have all
    of them, or PyTorch.
    """

    before: dict[str, list[fx.Node]] = field(default_factory=dict)
    real: dict[str, str] = field(default_factory=dict)
    returned: dict[str, list[fx.Node]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    tied: list[set[str]] = field(default_factory=list)


def effects(
    nodes: Sequence[fx.Node],
    placeholders: Sequence[fx.Node],
    leaves: set[str],
    outputs: Sequence[Any],
) -> Effects:
    """What follows from shared memory. leaves: names of placeholders that are parameters."""
    return _Walk(nodes, placeholders, leaves, outputs).run()


def storages(node: fx.Node) -> list[int]:
    """The memory of a node's results, by identity."""
    found = node.meta.get("val")
    several = found if isinstance(found, list | tuple) else [found]
    return [
        x.untyped_storage()._cdata
        for x in several
        if isinstance(x, torch.Tensor) and x.layout == torch.strided
    ]


def written_by(node: fx.Node) -> list[fx.Node]:
    """The arguments that a node writes."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return []
    found: list[fx.Node] = []
    for number, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            x: Any = (
                node.args[number] if number < len(node.args) else node.kwargs.get(argument.name)
            )
            found += [x] if isinstance(x, fx.Node) else [y for y in x or () if _is_node(y)]
    return found


def _is_node(x: Any) -> bool:
    return isinstance(x, fx.Node)


def buffers_of(node: fx.Node) -> list[fx.Node]:
    """The running statistics that a normalisation in training writes, which its schema hides."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or schema.name.split("::")[-1] not in UPDATES:
        return []
    names = [argument.name for argument in schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    training = given.get("training", given.get("use_input_stats", True))
    found = [given.get("running_mean"), given.get("running_var")]
    return [x for x in found if isinstance(x, fx.Node)] if training else []


class _Walk:
    def __init__(
        self,
        nodes: Sequence[fx.Node],
        placeholders: Sequence[fx.Node],
        leaves: set[str],
        outputs: Sequence[Any],
    ) -> None:
        self.nodes, self.placeholders, self.leaves = nodes, placeholders, leaves
        self.outputs = [x for x in outputs if isinstance(x, fx.Node)]
        self.place = {node: i for i, node in enumerate(nodes)}
        self.found = Effects()
        self.of: dict[int, list[fx.Node]] = defaultdict(list)
        for node in (*placeholders, *nodes):
            for storage in storages(node):
                self.of[storage].append(node)
        self.given = {s for node in placeholders for s in storages(node)}
        self.leaf_storages = {
            s for node in placeholders if node.name in leaves for s in storages(node)
        }

    def run(self) -> Effects:
        writes: dict[int, list[fx.Node]] = defaultdict(list)
        for node in self.nodes:
            for x in written_by(node):
                for storage in storages(x):
                    writes[storage].append(node)
            for x in buffers_of(node):
                for storage in storages(x):
                    writes[storage].append(node)
        for storage, writers in writes.items():
            self.order(storage, writers)
            self.judge(storage, writers)
        self.views()
        return self.found

    def order(self, storage: int, writers: Sequence[fx.Node]) -> None:
        """Reads and writes of one memory keep their order."""
        users = self.users(storage)
        for writer in writers:
            at = self.place[writer]
            for user in users:
                if user is writer:
                    continue
                first, second = (user, writer) if self.place[user] < at else (writer, user)
                self.found.before.setdefault(second.name, []).append(first)

    def users(self, storage: int) -> list[fx.Node]:
        """Nodes that read, write or are tensors of a memory, in order."""
        found = {node for node in self.of[storage] if node in self.place}
        for node in self.of[storage]:
            found.update(user for user in node.users if user in self.place)
        return sorted(found, key=self.place.__getitem__)

    def judge(self, storage: int, writers: Sequence[fx.Node]) -> None:
        """Which nodes need real memory because of these writes."""
        if storage in self.given:
            names = [n.name for n in self.placeholders if storage in storages(n)]
            self.found.written.update(names)
            if storage in self.leaf_storages:
                for writer in writers:
                    if not buffers_of(writer) and not self.of_leaves(writer):
                        self.found.real[writer.name] = "writes a buffer from what is computed"
            else:
                for node in self.of[storage]:
                    if node in self.place:
                        self.found.real[node.name] = "memory of an input is written"
                for writer in writers:
                    self.found.real[writer.name] = "writes into an input"
            return
        if any(self.looked_at(storage, writer) for writer in writers):
            every = {node.name for node in (*self.of[storage], *writers) if node in self.place}
            self.found.tied.append(every)

    def of_leaves(self, writer: fx.Node) -> bool:
        """Whether what is written follows from leaves alone."""
        seen: set[fx.Node] = set()
        stack = [writer]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.op == "placeholder" and node.name not in self.leaves:
                return False
            stack += node.all_input_nodes
        return True

    def looked_at(self, storage: int, writer: fx.Node) -> bool:
        """Whether the old view of a memory is read after a write, other than through its result."""
        at = self.place[writer]
        after = {node for node in self.of[storage] if self.place.get(node, -1) >= at}
        for node in self.of[storage]:
            if node in after:
                continue
            if node in self.outputs:
                return True
            if any(self.place.get(user, -1) > at for user in node.users):
                return True
        return False

    # Results -------------------------------------------------------------------------------------

    def views(self) -> None:
        """Results that are views of what was given, or of other results."""
        for node in self.outputs:
            if node.op == "placeholder" or node.name in self.found.real:
                continue
            chain = self.chain(node)
            if chain:
                self.found.returned[node.name] = chain

    def chain(self, node: fx.Node) -> list[fx.Node]:
        """The views from a placeholder, or from another result, to a result; [] if it is none."""
        mine = storages(node)
        if len(mine) != 1 or isinstance(node.meta.get("val"), list | tuple):
            return []
        found: list[fx.Node] = []
        while True:
            found.append(node)
            origin = self.origin(node)
            if origin is None or not set(storages(origin)) & set(mine):
                return []
            if origin.op == "placeholder" or origin in self.outputs:
                return found[::-1]
            node = origin

    def origin(self, node: fx.Node) -> fx.Node | None:
        """The tensor that a node is a view of, as far as its operator says so."""
        if node.target is operator.getitem:
            return node.args[0] if isinstance(node.args[0], fx.Node) else None
        if written_by(node):
            return None
        reads = node.all_input_nodes
        return reads[0] if reads else None


def order_of(nodes: Sequence[fx.Node], found: Effects) -> Iterator[tuple[fx.Node, list[fx.Node]]]:
    """Each node with all that must have run before it."""
    for node in nodes:
        yield node, [*node.all_input_nodes, *found.before.get(node.name, ())]
