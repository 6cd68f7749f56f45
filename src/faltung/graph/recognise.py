"""Layer normalisation that is spelled out, recognised.

A mean, what is away from it, the mean of its square, a root, a quotient, a gain and a shift become
one operation, which reads its operand once.

There are many ways to spell it. What a formula computes is therefore not compared but tried: at a
few random points, in float64, it must agree with the definition to the last digits.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import Expr, operand
from faltung.geometry.record import dataclass
from faltung.graph.fuse import MOST_OPERATIONS, extent, needed
from faltung.graph.ops import Elementwise, Normalise, Reduce, View
from faltung.graph.value import Node, Value, consumers
from faltung.methods.rows.normalise import fits
from faltung.reference.expr import evaluate

Array = npt.NDArray[np.float64]

# Formulas between a variance and what it normalises, at most.
MOST_STEPS = 8
# Points at which formulas are compared, and how far they may be apart.
POINTS, TOLERANCE = 12, 1e-9
# Numbers that may be the one that is added to a variance, at most.
LARGEST_EPS = 0.1


def recognised(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The same nodes with normalisations in the place of what computes them, where nobody needs
    the steps. kept: values that are read elsewhere.
    """
    if not any(isinstance(node.op, Reduce) and node.op.kind == "mean" for node in nodes):
        return tuple(nodes)
    found = _Spelled(nodes)
    made = tuple(nodes)
    for variance in nodes:
        match = {node.output.name: node for node in found.of(variance)}
        if not match:
            continue
        tried = needed([match.get(node.output.name, node) for node in made], kept)
        if not any(node.output == variance.output for node in tried):
            made = tried
    return made


@dataclass(frozen=True, slots=True)
class _Formula:
    """A formula of values; ``leaves``: of its operands, seen through views."""

    expr: Expr
    leaves: tuple[Value, ...]


class _Spelled:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.makers = {value.name: node for node in nodes for value in node.outputs}
        self.readers = consumers(tuple(nodes))
        self.rng = np.random.default_rng(1)

    def origin(self, value: Value) -> Value:
        """What a value is a view of."""
        while (node := self.makers.get(value.name)) is not None and isinstance(node.op, View):
            value = node.inputs[0]
        return value

    def formula(self, value: Value, stops: Collection[str]) -> _Formula | None:
        """What makes a value, down to ``stops`` and to what is no formula."""
        leaves: list[Value] = []

        def leaf(value: Value) -> Expr:
            if value not in leaves:
                leaves.append(value)
            return operand(leaves.index(value))

        def express(value: Value, depth: int) -> Expr:
            value = self.origin(value)
            node = self.makers.get(value.name)
            if value.name in stops or node is None or depth > MOST_STEPS or not _plain(node):
                return leaf(value)
            op = node.op
            assert isinstance(op, Elementwise)
            terms = [express(each, depth + 1) for each in node.inputs]
            if extent(op.outputs[0], [extent(t) for t in terms])[0] > MOST_OPERATIONS:
                return leaf(value)
            return op.outputs[0].replaced(terms)

        expr = express(value, 0)
        return _Formula(expr, tuple(leaves))

    def of(self, variance: Node) -> Iterator[Node]:
        """Normalisations by a variance, each in the place of the node with its result."""
        if not _row_mean(variance):
            return
        op = variance.op
        assert isinstance(op, Reduce)
        for x, mean in self.operands(variance):
            stops = {x.name} | ({mean.name} if mean is not None else set())
            square = self.squares(variance, stops)
            known = (x,) if mean is None else (x, mean)
            if square is None or set(square.leaves) - set(known):
                continue
            at = {value.name: self.points() for value in known}
            away = at[x.name] - (0 if mean is None else at[mean.name])
            if not _agree(square, at, away * away):
                continue
            for node in self.following(variance.output):
                made = self.normalisation(node, variance, x, mean)
                if made is not None:
                    yield made
            return

    def operands(self, variance: Node) -> Iterator[tuple[Value, Value | None]]:
        """What may be the operand of a variance, and its mean; None where the mean is left out."""
        square = self.squares(variance, ())
        for leaf in square.leaves if square is not None else ():
            node = self.makers.get(leaf.name)
            if node is not None and _row_mean(node) and node.op == Reduce((0,), "mean"):
                yield self.origin(node.inputs[0]), leaf
        values = variance.inputs
        if variance.op == Reduce((0,), "mean", finish=variance.op.finish):  # type: ignore[union-attr]
            node = self.makers.get(self.origin(values[0]).name)
            values = node.inputs if node is not None and _plain(node) else ()
        if len(values) == 1:
            yield self.origin(values[0]), None

    def squares(self, variance: Node, stops: Collection[str]) -> _Formula | None:
        """What a variance is the mean of."""
        op = variance.op
        assert isinstance(op, Reduce)
        parts = [self.formula(value, stops) for value in variance.inputs]
        leaves: list[Value] = []
        terms = []
        for part in parts:
            if part is None:
                return None
            for leaf in part.leaves:
                if leaf not in leaves:
                    leaves.append(leaf)
            terms.append(part.expr.replaced([operand(leaves.index(v)) for v in part.leaves]))
        return _Formula(op.exprs[0].replaced(terms), tuple(leaves))

    def following(self, value: Value) -> list[Node]:
        """The formulas that a value takes part in, through views and other formulas."""
        found: dict[int, Node] = {}
        front = [(value, 0)]
        while front:
            value, depth = front.pop()
            for node in self.readers.get(value.name, []):
                if isinstance(node.op, View):
                    front.append((node.output, depth))
                elif _plain(node) and id(node) not in found and depth < MOST_STEPS:
                    found[id(node)] = node
                    front.append((node.output, depth + 1))
        return list(found.values())

    def normalisation(
        self, node: Node, variance: Node, x: Value, mean: Value | None
    ) -> Node | None:
        out, channels = node.output, variance.inputs[0].channels
        if not out.batched or out.channels != channels or not fits(channels, "float64"):
            return None
        known = [variance.output, x, *([] if mean is None else [mean])]
        names = {value.name for value in known}
        whole = self.formula(out, names)
        if whole is None or not {value.name for value in known} <= {v.name for v in whole.leaves}:
            return None
        vectors = [value for value in whole.leaves if value.name not in names]
        if len(vectors) > 2 or not all(_is_vector(v, channels) for v in vectors):
            return None
        at = {value.name: self.points() for value in (*known, *vectors)}
        raw = np.abs(at[variance.output.name]) + 0.5
        assert isinstance(variance.op, Reduce)
        at[variance.output.name] = evaluate(variance.op.finish, [raw])
        away = at[x.name] - (0 if mean is None else at[mean.name])
        for eps in sorted({0.0, *_constants(whole.expr), *_constants(variance.op.finish)}):
            for order in permutations(vectors):
                want = away / np.sqrt(raw + eps)
                for number, vector in enumerate(order):
                    want = want + at[vector.name] if number else want * at[vector.name]
                if _agree(whole, at, want):
                    return self.made(node, x, mean, eps, order)
        return None

    def points(self) -> Array:
        made: Array = self.rng.uniform(-2, 2, POINTS)
        return made

    def made(
        self, node: Node, x: Value, mean: Value | None, eps: float, vectors: Sequence[Value]
    ) -> Node | None:
        """The normalisation, of the operand in the form of its result."""
        form = [v for v in self.forms(x) if (v.shape, v.samples) == _form(node.output)]
        if not form or eps <= 0:
            return None
        op = Normalise("axes", eps, axes=(0,), centred=mean is not None)
        return replace(node, op=op, inputs=(form[0], *vectors), kind=None)

    def forms(self, x: Value) -> Iterator[Value]:
        """A value and its views."""
        yield x
        for node in self.readers.get(x.name, []):
            if isinstance(node.op, View):
                yield from self.forms(node.output)


def _form(value: Value) -> tuple[tuple[int, ...], int]:
    return value.shape, value.samples


def _plain(node: Node) -> bool:
    op = node.op
    return isinstance(op, Elementwise) and len(op.outputs) == 1 and not op.reductions


def _row_mean(node: Node) -> bool:
    """Whether a node is one mean over the channels of each position."""
    op = node.op
    if not isinstance(op, Reduce) or op.kind != "mean" or op.batch or len(op.exprs) > 1:
        return False
    return op.axes == (0,) and all(value.shape[:1] for value in node.inputs)


def _is_vector(value: Value, channels: int) -> bool:
    return value.shape == (channels,) and not value.batched and value.kind == "float"


def _constants(expr: Expr) -> set[float]:
    """Numbers of a formula that may be added to a variance."""
    if expr.value is not None:
        return {expr.value} if 0 < expr.value <= LARGEST_EPS else set()
    return set().union(*map(_constants, expr.terms)) if expr.terms else set()


def _agree(formula: _Formula, at: dict[str, Array], want: Array) -> bool:
    got = evaluate(formula.expr, [at[value.name] for value in formula.leaves])
    return bool(np.allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE))
