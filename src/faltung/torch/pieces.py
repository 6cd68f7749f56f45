"""A captured graph as few pieces: some are programs of ours, what is between them is eager.

Nodes that cannot be said are gaps. Nodes of one kind whose paths do not lead through the other kind
are one piece: a stage. A piece of ours whose work does not pay for its edges becomes eager, which
joins its neighbours.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import torch
from torch import fx

from faltung.geometry.record import dataclass
from faltung.torch import prices, sizes
from faltung.torch.capture import Captured
from faltung.torch.effects import Effects, effects, written_by
from faltung.torch.part import Gap
from faltung.torch.region import Region

TOO_LITTLE = "too little work to pay for a piece of its own"


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor that goes into a piece of ours, or out of it."""

    name: str
    shape: tuple[int, ...]
    bytes: float
    incoming: bool


@dataclass(slots=True)
class Piece:
    """Nodes that run together. ours: by a program, otherwise by PyTorch. reads, leaves, writes:
    names of nodes. run: called with the values of both, returns those of ``writes``.
    reasons: of the nodes that are eager, by name. edges: of a piece of ours.
    """

    ours: bool
    nodes: list[fx.Node]
    reads: list[str] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    run: Any = None
    reasons: dict[str, str] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    eager_us: float = 0.0
    ours_us: float = 0.0

    def __call__(self, reads: Sequence[Any], leaves: Sequence[torch.Tensor]) -> Sequence[Any]:
        if self.ours:
            found: Sequence[Any] = self.run(reads, leaves)
            return found
        found = self.run(*reads, *leaves)
        return found


@dataclass(slots=True)
class Cut:
    """A graph in pieces, in the order in which they run. reasons: why nodes are eager, by name.
    priced: those that could be said, but would not pay.
    """

    captured: Captured
    pieces: list[Piece]
    reasons: dict[str, str]
    priced: set[str]
    sizes: list[str]

    @property
    def is_eager(self) -> bool:
        return not any(piece.ours for piece in self.pieces)


def cut(
    captured: Captured,
    inputs: Sequence[Any],
    leaves: Sequence[torch.Tensor],
    *,
    whole: bool = False,
    training: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Cut:
    """The pieces of a graph for inputs of these sizes.

    whole: without prices, what can be said is ours. options: of ``Region``.
    """
    return _Cutter(captured, inputs, leaves, whole, training, options or {}).run()


class _Cutter:
    def __init__(
        self,
        captured: Captured,
        inputs: Sequence[Any],
        leaves: Sequence[torch.Tensor],
        whole: bool,
        training: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.captured, self.inputs, self.tensors = captured, inputs, leaves
        self.whole, self.training, self.options = whole, training, options
        graph = captured.module.graph
        self.placeholders = [n for n in graph.nodes if n.op == "placeholder"]
        self.sized = [n for n in captured.nodes if is_size(n)]
        sized = set(self.sized)
        self.nodes = [n for n in captured.nodes if n not in sized]
        self.leaves = set(captured.leaves)
        self.outputs = [x for x in captured.outputs if isinstance(x, fx.Node)]
        self.effects: Effects = effects(self.nodes, self.placeholders, self.leaves, self.outputs)
        self.free = self._free()
        self.reasons: dict[str, str] = {}
        self.priced: set[str] = set()
        self.regions: dict[Any, Region] = {}

    def run(self) -> Cut:
        for name, reason in self.effects.real.items():
            self.reasons[name] = reason
        for node in self.nodes:
            reason = unable(node)
            if reason:
                self.reasons[node.name] = reason
        self.find_gaps()
        pieces = self.staged()
        while not self.whole:
            worst = self.worst(pieces)
            if worst is None:
                break
            for node in worst.nodes:
                self.reasons.setdefault(node.name, TOO_LITTLE)
                self.priced.add(node.name)
            pieces = self.staged()
        for piece in pieces:
            self.build(piece)
        tail = self.tail()
        if tail is not None:
            pieces.append(tail)
        names = [node.name for node in self.sized]
        return Cut(self.captured, pieces, self.reasons, self.priced, names)

    # What can be said ----------------------------------------------------------------------------

    def find_gaps(self) -> None:
        """Ask the importer, until it has nothing more to say about the pieces."""
        for _ in range(8):
            found: list[Gap] = []
            for piece in self.staged():
                if piece.ours:
                    region = self.region(piece)
                    leaves = dict(zip(self.captured.leaves, self.tensors, strict=True))
                    found += region.gaps(
                        [self.example(name) for name in piece.reads],
                        [leaves[name] for name in piece.leaves],
                    )
            for gap in found:
                self.reasons[gap.node.name] = gap.reason
            if not found:
                return
        raise AssertionError("gaps that come up again and again")

    def region(self, piece: Piece) -> Region:
        """What runs a piece; the same for equal pieces."""
        key = tuple(n.name for n in piece.nodes), tuple(piece.reads), tuple(piece.writes)
        found = self.regions.get(key)
        if found is None:
            found = self.regions[key] = Region(
                piece.nodes, piece.reads, piece.leaves, piece.writes, **self.options
            )
        return found

    def example(self, name: str) -> Any:
        """A value like that of a node: of an input itself, or without numbers."""
        if name in self.captured.inputs:
            return self.inputs[self.captured.inputs.index(name)]
        node = next(n for n in self.captured.module.graph.nodes if n.name == name)
        made = sizes.like(node.meta["val"])
        if self.training and isinstance(made, torch.Tensor) and made.is_floating_point():
            made.requires_grad_()
        return made

    def _free(self) -> set[fx.Node]:
        """Nodes that follow from leaves alone and change nothing: each piece computes its own."""
        found: set[fx.Node] = set()
        written = self.effects.written
        tied = set().union(*self.effects.tied)
        for node in self.nodes:
            tags = getattr(node.target, "tags", ())
            if written_by(node) or torch.Tag.nondeterministic_seeded in tags:
                continue
            if unable(node) or node.name in self.effects.real or node.name in tied:
                continue
            if all(
                x in found or (x.op == "placeholder" and x.name in self.leaves - written)
                for x in node.all_input_nodes
            ):
                found.add(node)
        return found - {x for x in self.outputs if x in found}

    # Stages --------------------------------------------------------------------------------------

    def is_ours(self, node: fx.Node) -> bool:
        while node.target is operator.getitem and isinstance(node.args[0], fx.Node):
            node = node.args[0]
        return node.name not in self.reasons

    def staged(self) -> list[Piece]:
        """Pieces: even stages are ours, odd ones eager. Names of memory that is written stay in one
        piece, or are eager.
        """
        while True:
            stage, pieces = self.in_stages()
            torn = [
                names
                for names in self.effects.tied
                if len({stage[name] for name in names}) > 1
                and not all(stage[name] % 2 for name in names)
            ]
            if not torn:
                break
            for name in set().union(*torn):
                self.reasons.setdefault(name, "shares memory that is written in place")
        for piece in pieces:
            self.edges(piece)
        return pieces

    def in_stages(self) -> tuple[dict[str, int], list[Piece]]:
        stage: dict[str, int] = {}
        eager: dict[int, list[fx.Node]] = {}
        for node in self.nodes:
            if node in self.free:
                continue
            ours = self.is_ours(node)
            least = 0 if ours else -1
            for x in (*node.all_input_nodes, *self.effects.before.get(node.name, ())):
                if x.name in stage:
                    same = (stage[x.name] % 2 == 0) == ours
                    least = max(least, stage[x.name] + (not same))
            stage[node.name] = least
            eager.setdefault(least, []).append(node)
        order = sorted(eager)
        return stage, [Piece(i % 2 == 0, self.with_free(eager[i])) for i in order]

    def with_free(self, nodes: Sequence[fx.Node]) -> list[fx.Node]:
        """The nodes and those from leaves alone that they need, in order."""
        found, stack = set(nodes), list(nodes)
        while stack:
            for x in stack.pop().all_input_nodes:
                if x in self.free and x not in found:
                    found.add(x)
                    stack.append(x)
        return [node for node in self.nodes if node in found]

    def edges(self, piece: Piece) -> None:
        """What a piece reads and writes."""
        mine = set(piece.nodes)
        read = {x.name: x for n in piece.nodes for x in n.all_input_nodes if x not in mine}
        piece.leaves = [name for name in self.captured.leaves if name in read]
        piece.reads = [name for name in read if name not in self.leaves]
        outputs = set(self.outputs)
        piece.writes = [
            n.name
            for n in piece.nodes
            if n not in self.free
            and not isinstance(n.meta.get("val"), list | tuple)
            and (
                (n in outputs and n.name not in self.effects.returned)
                or any(user not in mine and is_read(user, n) for user in n.users)
            )
        ]
        returned = {x for chain in self.effects.returned.values() for x in chain[:1]}
        begins = {origin for x in returned for origin in x.all_input_nodes[:1]}
        piece.writes += [n.name for n in piece.nodes if n in begins and n.name not in piece.writes]
        piece.reasons = {n.name: self.reasons[n.name] for n in mine if n.name in self.reasons}
        by_name = {n.name: n for n in piece.nodes}
        tensors = [(x, True) for name, x in read.items() if name in piece.reads]
        tensors += [(by_name[name], False) for name in piece.writes]
        piece.edges = [
            Edge(x.name, sizes.shape_of(x.meta["val"]) or (), prices.bytes_of(x), incoming)
            for x, incoming in tensors
            if isinstance(x.meta.get("val"), torch.Tensor)
        ]
        done = prices.total(piece.nodes)
        times = prices.TRAINING if self.training else 1.0
        piece.eager_us = times * prices.eager_us(done)
        piece.ours_us = times * prices.ours_us(done, [edge.bytes for edge in piece.edges])
        if self.training:
            piece.ours_us += prices.BACKWARD

    def worst(self, pieces: Sequence[Piece]) -> Piece | None:
        """The piece of ours that loses most; None if all pay."""
        losing = [p for p in pieces if p.ours and p.ours_us >= p.eager_us]
        return min(losing, key=lambda p: p.eager_us - p.ours_us, default=None)

    # Building ------------------------------------------------------------------------------------

    def build(self, piece: Piece) -> None:
        if piece.ours:
            piece.run = self.region(piece)
        else:
            piece.run = eager_module(
                self.captured.module, piece.nodes, [*piece.reads, *piece.leaves], piece.writes
            )

    def tail(self) -> Piece | None:
        """Results that are views of what was given: PyTorch makes them, of the caller's memory."""
        chains = self.effects.returned
        if not chains:
            return None
        mine = {node for chain in chains.values() for node in chain}
        nodes = [node for node in self.nodes if node in mine]
        piece = Piece(False, nodes)
        read = {x.name for n in nodes for x in n.all_input_nodes if x not in mine}
        piece.leaves = [name for name in self.captured.leaves if name in read]
        piece.reads = sorted(read - self.leaves)
        piece.writes = list(chains)
        piece.reasons = dict.fromkeys(chains, "a view of a tensor of the caller")
        piece.run = eager_module(
            self.captured.module, nodes, [*piece.reads, *piece.leaves], piece.writes
        )
        return piece


def is_size(node: fx.Node) -> bool:
    """Whether a node computes a number from sizes."""
    found = node.meta.get("val")
    return isinstance(found, torch.SymInt | torch.SymFloat | torch.SymBool | int | float)


def is_read(user: fx.Node, node: fx.Node) -> bool:
    """Whether a node needs the numbers of another, not its sizes alone."""
    return user.op != "output" and not is_size(user)


def unable(node: fx.Node) -> str:
    """Why a node has to run in PyTorch whatever the importer says; empty if it does not."""
    if node.target is operator.getitem or node.op != "call_function":
        return ""
    if not isinstance(node.target, torch._ops.OpOverload):
        name = getattr(node.target, "__name__", str(node.target))
        return f"{name} has a backward of its own, or is no operator of ATen"
    for each in (node, *node.all_input_nodes):
        found = each.meta.get("val")
        for x in found if isinstance(found, list | tuple) else [found]:
            reason = strange(x) if isinstance(x, torch.Tensor) else ""
            if reason:
                return reason
    return ""


def strange(x: torch.Tensor) -> str:
    """Why no program reads or writes a tensor; empty if one may."""
    if x.layout != torch.strided:
        return "sparse tensors"
    if x.is_complex():
        return "complex tensors"
    if x.is_quantized:
        return "quantised tensors"
    return f"tensors on {x.device.type}" if x.device.type != "cpu" else ""


def eager_module(
    owner: fx.GraphModule,
    nodes: Sequence[fx.Node],
    given: Sequence[str],
    wanted: Sequence[str],
) -> Callable[..., Any]:
    """Nodes as a function of PyTorch, of the values of ``given``; returns those of ``wanted``."""
    graph = fx.Graph()
    made: dict[str, fx.Node] = {name: graph.placeholder(name) for name in given}
    state: tuple[Any, ...] = ()
    entered: list[fx.Node] = []

    def leave(count: int) -> None:
        for _ in range(count):
            graph.call_function(torch.amp.autocast_mode._exit_autocast, (entered.pop(),))

    for node in nodes:
        wished = node.meta.get("autocast", ())
        if wished != state and node.target is not operator.getitem:
            leave(len(entered))
            for args in wished:
                enter = torch.amp.autocast_mode._enter_autocast
                entered.append(graph.call_function(enter, args))
            state = wished
        made[node.name] = graph.node_copy(node, lambda x: made[x.name])
    leave(len(entered))
    graph.output(tuple(made[name] for name in wanted))
    return fx.GraphModule(owner, graph)
