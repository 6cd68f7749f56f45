"""Names of one memory: a write in place through one of them is seen through all.

A graph writes each value once. So a write makes a new value of the tensor whose memory it is: what
was written is put into the whole through the views that led to it, from the last to the first. The
other views of that memory are looked at anew when somebody reads them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_entries import scattered
from faltung.torch import sizes
from faltung.torch.arguments import Arguments, Graphed
from faltung.torch.effects import storages, written_by
from faltung.torch.part import Leaf, Outside
from faltung.torch.scatters import written
from faltung.torch.views import ORDERS, PARTS, SHAPES, strided

# The arguments of a node that makes a view, when this stands for what it looks at.
Reader = Callable[[fx.Node, fx.Node, Any], Arguments]


@dataclass(frozen=True, slots=True)
class Look:
    """How a name looks at another one: by the operation ``node``, whose result number ``index`` it
    is where there are several. same: element by element.
    """

    parent: fx.Node
    node: fx.Node
    index: int | None
    same: bool


class Aliases:
    """What the names of an importer share. env: what each of them is. handled: the result of an
    operation. arguments: of a view of something else than its node says.
    """

    def __init__(
        self,
        f: Graphed,
        env: dict[str, Any],
        handled: Callable[[Arguments], Any],
        arguments: Reader,
        fed: Callable[[Outside], Tensor],
    ) -> None:
        self.f, self.env = f, env
        self.handled, self.arguments, self.fed = handled, arguments, fed
        self._looks: dict[str, Look] = {}
        self._roots: dict[str, fx.Node] = {}
        self._names: dict[str, list[fx.Node]] = {}  # of a root, in order
        # How often each root was written, and how often it had been when a name was looked at.
        self._writes: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        # Memory of leaves that operations of the graph have read, and that PyTorch writes.
        self._read: set[Any] = set()
        self._late: set[Any] = set()

    # Names ---------------------------------------------------------------------------------------

    def made(self, node: fx.Node, index: int | None = None) -> None:
        """Note whose memory the result of a node is. index: it is an entry of a list."""
        whole = node if index is None else node.args[0]
        assert isinstance(whole, fx.Node)
        parent = _parent(whole, storages(node))
        if parent is None:
            return
        root = self._roots.get(parent.name, parent)
        same = written_by(whole) != [] or (index is None and _is_same(parent, node))
        self._looks[node.name] = Look(parent, whole, index, same)
        self._roots[node.name] = root
        self._names.setdefault(root.name, [root]).append(node)
        self._seen[node.name] = self._writes.get(root.name, 0)

    def current(self, node: fx.Node) -> Any:
        """What a name is now."""
        name = node.name
        root = self._roots.get(name)
        if root is None or self._seen[name] == self._writes.get(root.name, 0):
            return self.env[name]
        look = self._looks[name]
        value = self.current(look.parent)
        self.env[name] = value if look.same else self._looked(look, self._tensor(value))
        self._seen[name] = self._writes[root.name]
        return self.env[name]

    def _looked(self, look: Look, value: Tensor) -> Any:
        with self.f.b.layer("View", self.f.name(look.node.name)):
            made = self.handled(self.arguments(look.node, look.parent, value))
        return made if look.index is None else made[look.index]

    def _tensor(self, value: Any) -> Tensor:
        if isinstance(value, Leaf):
            return self.f.of_leaf(value)
        return self.fed(value) if isinstance(value, Outside) else value

    # Writes --------------------------------------------------------------------------------------

    def write(self, node: fx.Node, value: Any) -> Tensor:
        """The result of an operation that writes in place; all names of the memory follow.

        Unsaid: memory that somebody else sees, or a view that nothing can be written through.
        """
        found = written_by(node)
        if len(found) != 1 or not isinstance(value, Tensor):
            raise Unsaid("an operation that writes several tensors")
        target = found[0]
        root = self._roots.get(target.name, target)
        if root.op in ("placeholder", "get_attr"):
            kind = "a buffer" if isinstance(self.env[root.name], Leaf) else "an input"
            raise Unsaid(f"writes into {kind}")
        names = self._names.get(root.name, [root])
        if any(isinstance(self.env[other.name], Outside) for other in names[1:]):
            raise Unsaid("writes into memory that PyTorch itself looks at")
        if self._late & self._memory(root):
            raise Unsaid("writes into a buffer that PyTorch writes")
        made, place = value, target
        if made.shape != tuple(self._tensor(self.current(target)).shape):
            raise Unsaid("a write that changes the shape of what it writes")
        with self.f.b.layer("Write", self.f.name(node.name)):
            while place is not root:
                look = self._looks[place.name]
                old = self._tensor(self.current(look.parent))
                made = made if look.same else self._put(look, old, made)
                place = look.parent
        count = self._writes[root.name] = self._writes.get(root.name, 0) + 1
        self.env[root.name] = made
        self.env[target.name] = value
        self._seen[root.name] = self._seen[target.name] = count
        return value

    def _put(self, look: Look, old: Tensor, new: Tensor) -> Tensor:
        """A tensor with what a view of it sees replaced."""
        a = self.arguments(look.node, look.parent, old)
        if a.op in SHAPES:
            return self.f.reshaped(new, old.shape)
        if a.op in ORDERS:
            order = ORDERS[a.op](a, old.rank) if old.rank else ()
            return new.transposed(np.argsort(order).tolist()) if order else new
        if a.op in PARTS:
            return written(self.f, old, new, PARTS[a.op](a, old.shape)[look.index or 0])
        places = strided(a, old.shape) if a.op == "as_strided" else _places(look, old)
        if len(np.unique(places)) < places.size:
            raise Unsaid(f"a write through {a.op}, which shows some elements several times")
        return scattered(self.f, old, new, places.reshape(-1), 1, add=False)

    def lost(self, node: fx.Node) -> list[fx.Node]:
        """The names of memory that PyTorch itself writes, because the graph cannot."""
        found: list[fx.Node] = []
        for target in written_by(node):
            root = self._roots.get(target.name, target)
            names = self._names.get(root.name, [root])
            found += [x for x in names if not isinstance(self.env[x.name], Leaf)]
            for x in names:
                self._seen[x.name] = self._writes.get(root.name, 0)
        return found

    # Leaves --------------------------------------------------------------------------------------

    def reads(self, node: fx.Node) -> None:
        """The graph reads these leaves. Unsaid: PyTorch writes one before the graph runs, and its
        numbers may be a part of the graph, as those of trained leaves never are.
        """
        for x in node.all_input_nodes:
            leaf = self.env.get(x.name)
            if isinstance(leaf, Leaf):
                found = self._memory(x)
                if found & self._late and not leaf.trained:
                    raise Unsaid("reads a buffer after it was written")
                self._read |= found

    def late(self, node: fx.Node) -> bool:
        """Whether PyTorch is to write a leaf only when the graph runs: a buffer that outlives it.
        What follows from it is not known before. Unsaid: the graph has read the leaf.
        """
        found = written_by(node)
        memory = {storage for x in found for storage in self._memory(x)}
        if memory & self._read:
            raise Unsaid("writes a buffer that was read before")
        roots = [self._roots.get(x.name, x) for x in found]
        lasting = any(root.op in ("placeholder", "get_attr") for root in roots)
        if lasting or self.is_late(node):
            self._late |= memory | self._memory(node)
            return True
        return False

    def _memory(self, node: fx.Node) -> set[Any]:
        """What tells the memory of a node's results from others'."""
        root = self._roots.get(node.name, node)
        found: set[Any] = {*storages(node), root.name}
        leaf = self.env.get(root.name)
        if isinstance(leaf, Leaf):  # two names may be one tensor
            found.add(("leaf", leaf.tensor.untyped_storage().data_ptr()))
        return found

    def is_late(self, node: fx.Node) -> bool:
        """Whether a node reads what is written when the graph runs; then so is its result."""
        late = any(self._late & self._memory(x) for x in node.all_input_nodes)
        if late:
            self._late |= self._memory(node)
        return late


def _parent(node: fx.Node, memory: list[int]) -> fx.Node | None:
    """The argument whose memory a result is: the one that is written, or the first."""
    for x in (*written_by(node), *node.all_input_nodes):
        if not set(storages(x)).isdisjoint(memory):
            return x
    # Constants of a module have nothing that says what they are.
    plain = [x for x in node.all_input_nodes if x.op == "get_attr" and not storages(x)]
    view = bool(written_by(node)) or bool(getattr(node.target, "is_view", False))
    return plain[0] if plain and view else None


def _is_same(parent: fx.Node, node: fx.Node) -> bool:
    """Whether a view shows each element where it was."""
    one, other = parent.meta.get("val"), node.meta.get("val")
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return False

    def look(x: torch.Tensor) -> Any:
        every = (*x.shape, *x.stride(), x.storage_offset())
        return x.dtype, x.dim(), [sizes.settled(n) for n in every]

    found = look(one)
    return found == look(other) and None not in found[2]


def _places(look: Look, old: Tensor) -> np.ndarray[Any, Any]:
    """Which element of a tensor each element of a view is: as PyTorch itself looks at numbers."""
    numbers = torch.arange(old.size).reshape(old.shape)

    def given(x: fx.Node) -> Any:
        return numbers if x is look.parent else sizes.value(x)

    args, kwargs = fx.map_arg((look.node.args, look.node.kwargs), given)
    made = look.node.target(*args, **kwargs)
    made = made if look.index is None else made[look.index]
    if made.dtype != numbers.dtype:
        raise Unsaid("a write through a view of another dtype")
    found: np.ndarray[Any, Any] = made.numpy()
    return found
