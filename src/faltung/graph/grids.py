"""Which values of a network lie on a grid of few levels, and the same network over the levels.

A network that was quantised is one of real numbers: formulas put values on grids
(``geometry/levels.py``), and everything between reads what the levels stand for. ``with_levels``
makes the levels themselves the values that are kept. It divides what puts a number on a grid into
the level and the number that it stands for; then the numbers are put off as far as they can be:

- what only moves entries (a view, a permutation, a slice, a concatenation of equal grids) moves
  levels, and so does a maximum, because a larger level stands for a larger number;
- a concatenation of numbers on different grids that is put on one itself is a concatenation of
  levels on that: each part is put on it alone;
- a level that was made of the number that stands for it is that level.

All of that is exact. What is left are formulas from levels to levels, which fusion makes one of,
and which ``program`` keeps in 8 bits.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from faltung.geometry.expr import Expr, operand
from faltung.geometry.levels import (
    Level,
    grid_of,
    level,
    level_of,
    number,
    number_of,
    stored_as,
)
from faltung.graph.ops import Concat, Elementwise, Permute, Pool, Reshape, Slice, View
from faltung.graph.value import Node, Value, consumers

X = operand(0)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a value's levels are: a value of whole numbers from ``low`` to ``high``, which stand
    for (level - zero) * scale.
    """

    levels: Value
    scale: float
    zero: float
    low: int
    high: int

    def same(self, other: "Grid") -> bool:
        return (self.scale, self.zero) == (other.scale, other.zero)


# Activations --------------------------------------------------------------------------------------


def with_levels(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The same computation over levels, as far as there are some; ``kept``: names of values that
    are read elsewhere. Nodes that nothing reads any more are not removed.
    """
    return _Levels(nodes, kept).nodes()


def finds(nodes: Iterable[Node]) -> bool:
    """Whether any value is put on a grid."""
    return any(_formula(n) is not None and _level(n) is not None for n in nodes)


class _Levels:
    """One walk over the nodes. grids: of the numbers that stand for levels, by their names. same:
    values that are others.
    """

    def __init__(self, nodes: Sequence[Node], kept: Collection[str]) -> None:
        self.given, self.kept = nodes, kept
        self.readers = consumers(tuple(nodes))
        self.made: list[Node] = []
        self.grids: dict[str, Grid] = {}
        self.levels: dict[str, tuple[int, int]] = {}
        self.same: dict[str, Value] = {}

    def nodes(self) -> tuple[Node, ...]:
        for node in self.given:
            inputs = tuple(self.same.get(v.name, v) for v in node.inputs)
            self.node(node if inputs == node.inputs else replace(node, inputs=inputs))
        return tuple(self.made)

    def node(self, node: Node) -> None:
        found = _level(node)
        if found is not None:
            self.put(node, *found)
            return
        if self.number(node) or self.moved(node) or self.joined(node):
            return
        self.made.append(node)

    # Formulas ------------------------------------------------------------------------------------

    def put(self, node: Node, found: Level, whole: bool) -> None:
        """What puts a value on a grid; ``whole``: the number is wanted, and not the level."""
        scale, zero = _numbers(found)
        q = replace(node.output, name=f"{node.output.name}.level") if whole else node.output
        own = self.already(node, found, scale, zero)
        if own is not None:
            if not whole and q.name in self.kept:
                self.made.append(replace(node, op=replace(node.op, outputs=(X,)), inputs=(own,)))  # type: ignore[arg-type,type-var]
            elif not whole:
                self.same[q.name] = own
            q = own
        else:
            op = node.op
            assert isinstance(op, Elementwise)
            made = level(found.x, found.scale, found.zero, found.low, found.high)
            self.made.append(replace(node, op=replace(op, outputs=(made,)), outputs=(q,)))
            self.levels[q.name] = found.low, found.high
        if whole:
            self.stands(node.output, Grid(q, scale, zero, found.low, found.high), node)

    def already(self, node: Node, found: Level, scale: float, zero: float) -> Value | None:
        """The levels of which the node makes the numbers levels again."""
        if found.x != X or len(node.inputs) > 1:
            return None
        grid = self.grids.get(node.inputs[0].name)
        if grid is None or (grid.scale, grid.zero) != (scale, zero):
            return None
        fits = found.low <= grid.low and grid.high <= found.high
        return grid.levels if fits and grid.levels.shape == node.output.shape else None

    def stands(self, value: Value, grid: Grid, node: Node) -> None:
        """The numbers that levels stand for, as a value of its own."""
        made = number(X, grid.scale, grid.zero)
        op = Elementwise(value.shape, (made,), batched=value.batched)
        self.made.append(Node(op, (grid.levels,), (value,), node.layer))
        self.grids[value.name] = grid

    def number(self, node: Node) -> bool:
        """Take down a node that makes numbers of levels; whether it is one."""
        op = _formula(node)
        found = None if op is None else number_of(op.outputs[0])
        if found is None or found.q != X or len(node.inputs) > 1:
            return False
        bounds = self.levels.get(node.inputs[0].name)
        if bounds is None or found.scale.value is None or found.zero.value is None:
            return False
        self.made.append(node)
        if found.scale.value > 0 and node.inputs[0].shape == node.output.shape:
            grid = Grid(node.inputs[0], found.scale.value, found.zero.value, *bounds)
            self.grids[node.output.name] = grid
        return True

    # What moves entries ---------------------------------------------------------------------------

    def moved(self, node: Node) -> bool:
        """Move levels instead of the numbers that they stand for; whether the node does that."""
        if not _moves(node):
            return False
        x = node.inputs[0]
        grid = self.grids.get(x.name)
        if grid is not None:
            q = replace(node.output, name=f"{node.output.name}.level")
            self.made.append(replace(node, inputs=(grid.levels,), outputs=(q,)))
            self.levels[q.name] = grid.low, grid.high
            self.stands(node.output, replace(grid, levels=q), node)
            return True
        if x.name in self.levels:  # levels in the network itself
            self.made.append(node)
            self.levels[node.output.name] = self.levels[x.name]
            return True
        return False

    def joined(self, node: Node) -> bool:
        """A concatenation of numbers on grids; whether the node is one."""
        if not isinstance(node.op, Concat):
            return False
        if all(v.name in self.levels for v in node.inputs):
            self.made.append(node)
            self.levels[node.output.name] = self.range(self.levels[v.name] for v in node.inputs)
            return True
        grids = [self.grids.get(v.name) for v in node.inputs]
        first = grids[0]
        if first is not None and all(grid is not None and grid.same(first) for grid in grids):
            found = [grid for grid in grids if grid is not None]
            low, high = self.range((grid.low, grid.high) for grid in found)
            if stored_as(low, high):
                q = self.concatenated(node, [grid.levels for grid in found], low, high)
                self.stands(node.output, replace(first, levels=q, low=low, high=high), node)
                return True
        wanted = self.wanted(node.output)
        if wanted is None:
            return False
        parts = [self.part(v, wanted, node) for v in node.inputs]
        q = self.concatenated(node, parts, wanted.low, wanted.high)
        scale, zero = _numbers(wanted)
        self.stands(node.output, Grid(q, scale, zero, wanted.low, wanted.high), node)
        return True

    def range(self, bounds: Iterable[tuple[int, int]]) -> tuple[int, int]:
        lows, highs = zip(*bounds, strict=True)
        return min(lows), max(highs)

    def concatenated(self, node: Node, parts: Sequence[Value], low: int, high: int) -> Value:
        q = replace(node.output, name=f"{node.output.name}.level")
        self.made.append(replace(node, inputs=tuple(parts), outputs=(q,)))
        self.levels[q.name] = low, high
        return q

    def part(self, value: Value, wanted: Level, node: Node) -> Value:
        """The levels of one part of a concatenation on the grid of the whole."""
        name = f"{value.name}.level.{node.output.name}"
        q = replace(value, name=name)
        op = Elementwise(value.shape, (replaced(wanted, X),), batched=value.batched)
        self.node(Node(op, (value,), (q,), node.layer))
        return self.same.get(name, q)

    def wanted(self, value: Value) -> Level | None:
        """The grid that all readers of a value put it on; None where they do not."""
        if value.name in self.kept:
            return None
        found: set[Level] = set()
        for reader in self.readers.get(value.name, ()):
            put = _level(reader)
            if put is None or put[0].x != X or len(reader.inputs) > 1:
                return None
            found.add(put[0])
        return found.pop() if len(found) == 1 else None


def replaced(found: Level, x: Expr) -> Expr:
    """The formula of the same level of another number."""
    return level(x, found.scale, found.zero, found.low, found.high)


def _formula(node: Node) -> Elementwise | None:
    """The operation of a node that is one formula of maps."""
    op = node.op
    if not isinstance(op, Elementwise) or len(op.outputs) > 1 or op.reductions or not op.batched:
        return None
    return op


def _level(node: Node) -> tuple[Level, bool] | None:
    """The grid, one for all channels, that a node puts a value on, and whether it makes the number
    that the level stands for. None of other nodes.
    """
    op = _formula(node)
    if op is None:
        return None
    for find, whole in _FINDS:
        found = find(op.outputs[0])
        if found is not None and found.stored and _is_grid(found):
            return found, whole
    return None


_FINDS: tuple[tuple[Callable[[Expr], Level | None], bool], ...] = (
    (grid_of, True),
    (level_of, False),
)


def _is_grid(found: Level) -> bool:
    scale, zero = found.scale.value, found.zero.value
    return scale is not None and zero is not None and 0 < scale < float("inf")


def _numbers(found: Level) -> tuple[float, float]:
    scale, zero = found.scale.value, found.zero.value
    assert scale is not None and zero is not None
    return scale, zero


def _moves(node: Node) -> bool:
    """Whether a node only moves numbers, or takes the larger of some."""
    op = node.op
    if isinstance(op, Pool):
        return op.spec.kind == "max" and not op.indexed
    return isinstance(op, View | Reshape | Permute | Slice)
