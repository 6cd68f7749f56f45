"""Which values of a network lie on a grid of few levels, and the same network over the levels.

A network that was quantised is one of real numbers: formulas put values on grids
(``geometry/levels.py``), and everything between reads what the levels stand for. ``with_levels``
makes the levels themselves the values that are kept. It divides what puts a number on a grid into
the level and the number that it stands for; then the numbers are put off as far as they can be:

- what only moves entries (a view, a permutation, a slice, a concatenation of equal grids) moves
  levels, and so does a maximum, because a larger level stands for a larger number;
- a concatenation of numbers on different grids that is put on one itself is a concatenation of
  levels on that: each part is put on it alone;
- a level that was made of the number that stands for it is that level;
- a convolution of numbers on a grid by a weight on a grid is one of whole numbers, whose sum times
  both scales is what it was.

All of that is exact where sums of float32 are. What is left are formulas from levels to levels,
which fusion makes one of, and which ``program`` keeps in 8 bits.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from faltung.geometry import levels
from faltung.geometry.expr import Expr, operand, unary
from faltung.geometry.levels import (
    Level,
    grid_of,
    level,
    level_of,
    number,
    number_of,
    stored_as,
)
from faltung.geometry.record import dataclass
from faltung.graph.fold import Derived
from faltung.graph.ops import (
    Concat,
    Convolve,
    ConvolveInteger,
    Elementwise,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Slice,
    View,
)
from faltung.graph.value import Node, Value, consumers

X = operand(0)
# Weights of no more levels on either side multiply faster on some machines.
NARROW = 64


@dataclass(frozen=True, slots=True)
class Gridded:
    """Where a value's levels are: a value of whole numbers from ``low`` to ``high``, which stand
    for (level - zero) * scale.
    """

    levels: Value
    scale: float
    zero: float
    low: int
    high: int

    def same(self, other: "Gridded") -> bool:
        return (self.scale, self.zero) == (other.scale, other.zero)


# Activations --------------------------------------------------------------------------------------


class Integers(NamedTuple):
    """A network over levels. derived: what follows from parameters, that of weights on grids too.
    reasons: by the names of their results, why convolutions are not of whole numbers.
    """

    nodes: tuple[Node, ...]
    derived: tuple[Derived, ...]
    reasons: dict[str, str]


def with_levels(
    nodes: Sequence[Node], kept: Collection[str], derived: Sequence[Derived] = ()
) -> Integers:
    """The same computation over levels, as far as there are some. kept: names of values that are
    read elsewhere; derived: what follows from parameters, among it weights on grids. Nodes that
    nothing reads any more are not removed.
    """
    walk = _Levels(nodes, kept, derived)
    made = walk.nodes()
    return Integers(made, tuple(walk.derived.values()), walk.reasons)


class _Levels:
    """One walk over the nodes. grids: of the numbers that stand for levels, by their names. same:
    values that are others.
    """

    def __init__(
        self, nodes: Sequence[Node], kept: Collection[str], derived: Sequence[Derived]
    ) -> None:
        self.given, self.kept = nodes, kept
        self.derived = {d.value.name: d for d in derived}
        self.reasons: dict[str, str] = {}
        self.readers = consumers(tuple(nodes))
        self.made: list[Node] = []
        self.grids: dict[str, Gridded] = {}
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
        self.made.append(self.convolved(node) if isinstance(node.op, Convolve) else node)

    # Formulas ------------------------------------------------------------------------------------

    def put(self, node: Node, found: Level, whole: bool) -> None:
        """What puts a value on a grid; ``whole``: the number is wanted, and not the level."""
        scale, zero = _numbers(found)
        q = replace(node.output, name=f"{node.output.name}.level") if whole else node.output
        own = self.already(node, found, scale, zero)
        if own is not None:
            if not whole and q.name in self.kept:
                self.made.append(replace(node, op=replace(node.op, outputs=(X,)), inputs=(own,)))  # type: ignore[arg-type]
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
            self.stands(node.output, Gridded(q, scale, zero, found.low, found.high), node)

    def already(self, node: Node, found: Level, scale: float, zero: float) -> Value | None:
        """The levels of which the node makes the numbers levels again."""
        if found.x != X or len(node.inputs) > 1:
            return None
        grid = self.grids.get(node.inputs[0].name)
        if grid is None or (grid.scale, grid.zero) != (scale, zero):
            return None
        fits = found.low <= grid.low and grid.high <= found.high
        return grid.levels if fits and grid.levels.shape == node.output.shape else None

    def stands(self, value: Value, grid: Gridded, node: Node) -> None:
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
            grid = Gridded(node.inputs[0], found.scale.value, found.zero.value, *bounds)
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
        self.stands(node.output, Gridded(q, scale, zero, wanted.low, wanted.high), node)
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

    # Convolutions ---------------------------------------------------------------------------------

    def convolved(self, node: Node) -> Node:
        """The convolution, of whole numbers if it can be."""
        op = node.op
        assert isinstance(op, Convolve)
        x, w, *rest = node.inputs
        grid, weight = self.grids.get(x.name), self.derived.get(w.name)
        found = None if weight is None else grid_of(weight.expr or X)
        reason = _why_not(op, grid, found, weight)
        if reason:
            self.reasons[node.output.name] = reason
            return node
        assert grid is not None and found is not None and weight is not None
        made = level(found.x, found.scale, found.zero, found.low, found.high)
        whole = self.follows(replace(weight, expr=made), "levels", w)
        scales = self.scales(weight, grid, found)
        bias = self.bias(rest[0], scales, grid) if op.bias else None
        inputs = [grid.levels, whole, *([] if bias is None else [bias]), scales.value]
        total = unary("as_float32", X * operand(1))
        if op.bias and bias is None:
            total, inputs = total + operand(2), [*inputs, rest.pop(0)]
        own = levels.Grid(1.0, int(grid.zero), grid.low, grid.high)
        narrow = max(-found.low, found.high) <= NARROW
        made_of = ConvolveInteger(op.spec, own, bias is not None, total, narrow=narrow)
        return replace(node, op=made_of, inputs=tuple(inputs))

    def follows(self, made: Derived, what: str, like: Value) -> Value:
        """Something else that follows from the same parameters."""
        value = replace(like, name=f"{like.name}.{what}")
        self.derived[value.name] = replace(made, value=value)
        return value

    def scales(self, weight: Derived, grid: Gridded, found: Level) -> Derived:
        """What a unit of the sums of whole numbers is worth, for each output channel."""
        name = weight.sources[1]
        value = Value(f"{weight.value.name}.scale.{grid.scale!r}", weight.shapes[1], batched=False)
        unit = found.scale.replaced([X, X]) * grid.scale
        made = Derived(
            value, "formula", (name,), weight=name, expr=unit, shapes=(weight.shapes[1],)
        )
        self.derived[value.name] = made
        return made

    def bias(self, bias: Value, scales: Derived, grid: Gridded) -> Value | None:
        """The bias as whole numbers of these units; None where it is not on their grid."""
        made = self.derived.get(bias.name)
        found = None if made is None else grid_of(made.expr or X)
        if made is None or found is None or made.sources[1:] != scales.sources:
            return None
        unit = found.scale.replaced([X, X])
        if (found.x, found.zero.value, unit) != (X, 0, scales.expr):
            return None
        whole = level(found.x, found.scale, found.zero, found.low, found.high)
        return self.follows(replace(made, expr=whole), "levels", bias)


# Numbers of a sum at most: so that it stays within 32 bits.
MOST_TERMS = (1 << 30) // (255 * 128)


def _why_not(
    op: Convolve, grid: Gridded | None, found: Level | None, weight: Derived | None
) -> str:
    """Why a convolution is not one of whole numbers; "" where it is."""
    if grid is None:
        return "its input is on no grid of 8 bits"
    if found is None or weight is None:
        return "its weight is on no grid"
    plain = (found.x, found.zero.value) == (X, 0) and found.low >= -128 and found.high <= 127
    if not plain or weight.shapes[1] != (op.spec.channels_out,):
        return "its weight is on a grid of another kind"
    if op.spec.channels_in // op.spec.groups * op.spec.taps > MOST_TERMS:
        return "its sums could leave 32 bits"
    if op.epilogue is not None or op.spec.dtype != "float32":
        return f"it is one of {op.spec.dtype}"
    return ""


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


# What can be kept in 8 bits -----------------------------------------------------------------------


def levels_of(nodes: Sequence[Node]) -> dict[str, tuple[int, int]]:
    """The values that are whole numbers of 8 bits, whatever the nodes are given: the least and the
    largest that each can be, by its name.
    """
    found: dict[str, tuple[int, int]] = {}
    for node in nodes:  # what convolutions of whole numbers read, whatever made it
        if isinstance(node.op, ConvolveInteger):
            found[node.inputs[0].name] = node.op.x.low, node.op.x.high
    for node in nodes:
        op = node.op
        if isinstance(op, Elementwise):
            pairs = zip(op.outputs, node.outputs, strict=False)
            found |= {v.name: bounds for e, v in pairs if (bounds := _bounds(e)) is not None}
            if op.outputs[:1] == (X,) and node.inputs[0].name in found:  # a copy
                found[node.output.name] = found[node.inputs[0].name]
        elif isinstance(op, Concat) and all(v.name in found for v in node.inputs):
            lows, highs = zip(*(found[v.name] for v in node.inputs), strict=True)
            found[node.output.name] = min(lows), max(highs)
        elif _moves(node) and node.inputs[0].name in found:
            found[node.output.name] = found[node.inputs[0].name]
        elif (bounds := _bounds(getattr(op, _LAST.get(type(op), "epilogue"), None))) is not None:
            found[node.output.name] = bounds
    return {name: bounds for name, bounds in found.items() if stored_as(*bounds)}


# The field of an operation that has the formula of what it stores.
_LAST: dict[type, str] = {Reduce: "finish"}


def _bounds(expr: Expr | None) -> tuple[int, int] | None:
    """Between what levels a formula gives; None where it gives other numbers."""
    found = None if expr is None else level_of(expr)
    return None if found is None or not found.stored else (found.low, found.high)


def in_8_bits(nodes: Sequence[Node], stored: Callable[[Value], str]) -> tuple[Node, ...]:
    """The nodes, where convolutions of whole numbers know what is kept in 8 bits: of what they read
    beside the sum, and of what they make. stored: the type of a value in memory, "" for numbers.
    """
    found = levels_of(nodes)
    made = []
    for node in nodes:
        op = node.op
        if isinstance(op, ConvolveInteger):
            aux = node.inputs[3 if op.bias else 2 :]
            grids = tuple(
                levels.Grid(1.0, 0, *_LIMITS[stored(v)]) if stored(v) else None for v in aux
            )
            op = replace(op, grids=grids)
            if stored(node.output):
                op = _result(op, found[node.output.name])
            node = replace(node, op=op)
        made.append(node)
    return tuple(made)


_LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


def _result(op: ConvolveInteger, bounds: tuple[int, int]) -> ConvolveInteger:
    """The same convolution, which stores levels in 8 bits."""
    assert op.epilogue is not None
    found = level_of(op.epilogue)
    assert found is not None and found.scale.value is not None and found.zero.value is not None
    grid = levels.Grid(found.scale.value, int(found.zero.value), *bounds)
    return replace(op, epilogue=found.x, result=grid)


def read_in_8_bits(nodes: Sequence[Node], stored: Callable[[Value], str]) -> tuple[Node, ...]:
    """The nodes, with a copy of each value that a convolution of whole numbers reads and that is
    kept otherwise, as where it is a result of the network too.
    """
    made: list[Node] = []
    copies: dict[str, Value] = {}
    for node in nodes:
        x = node.inputs[0] if isinstance(node.op, ConvolveInteger) else None
        if x is not None and not stored(x):
            if x.name not in copies:
                copies[x.name] = replace(x, name=f"{x.name}.copy")
                op = Elementwise(x.shape, (X,), batched=x.batched)
                made.append(Node(op, (x,), (copies[x.name],), node.layer))
            node = replace(node, inputs=(copies[x.name], *node.inputs[1:]))
        made.append(node)
    return tuple(made)
