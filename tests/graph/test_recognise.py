"""Layer normalisation that is spelled out: whatever way it is, it is found; what is none is not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph.interpreter import compute

from faltung.geometry.expr import Expr, operand, unary
from faltung.graph.ops import Elementwise, Normalise, Op, Reduce, View
from faltung.graph.recognise import recognised
from faltung.graph.value import Node, Value

A, B, C, D, E = map(operand, range(5))
MAP, ROWS = (6, 2, 4), (1, 2, 4)
Give = Callable[..., Value]


class Spelled:
    """Nodes under construction, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.x = Value("x", MAP)
        self.gain, self.shift = (Value(n, MAP[:1], batched=False) for n in ("g", "s"))

    def add(
        self, op: Op, inputs: tuple[Value, ...], shape: tuple[int, ...], samples: int = 1
    ) -> Value:
        out = Value(f"v{len(self.nodes)}", shape, samples=samples)
        self.nodes.append(Node(op, inputs, (out,)))
        return out

    def map(self, expr: Expr, *inputs: Value) -> Value:
        return self.add(Elementwise(MAP, (expr,)), inputs, MAP)

    def row(self, expr: Expr, *inputs: Value) -> Value:
        return self.add(Elementwise(ROWS, (expr,)), inputs, ROWS)

    def mean(self, *inputs: Value, expr: Expr = A, finish: Expr = A) -> Value:
        return self.add(Reduce((0,), "mean", (expr,), finish=finish), inputs, ROWS)

    def found(self, out: Value, kept: tuple[Value, ...] = ()) -> list[Any]:
        """The operations that are left, which mean the same."""
        rng = np.random.default_rng(0)
        given = {v.name: rng.normal(size=v.shape) for v in (self.gain, self.shift)}
        given["x"] = rng.normal(size=(3, *MAP)) + 2
        names = {out.name, *(value.name for value in kept)}
        made = recognised(self.nodes, names)
        results = []
        for nodes in (self.nodes, made):
            known = dict(given)
            compute(nodes, known, 3)
            results.append(known[out.name])
        np.testing.assert_allclose(results[1], results[0], rtol=1e-9, atol=1e-12)
        return [node.op for node in made]


def pytorch(s: Spelled) -> Value:
    away = s.map(A - B, s.x, s.mean(s.x))
    square = s.map(A * A, away)
    deviation = s.row(unary("sqrt", A), s.row(A + 1e-5, s.mean(square)))
    return s.map(A + B, s.map(A * B, s.map(A / B, away, deviation), s.gain), s.shift)


def keras(s: Spelled) -> Value:
    """x a + (b - m a), with a = gain / deviation."""
    mean = s.mean(s.x)
    var = s.mean(s.map((A - B) * (A - B), s.x, mean))
    rstd = s.row(1 / unary("sqrt", A + 1e-3), var)
    scale = s.map(A * B, rstd, s.gain)
    rest = s.map(A - B * C, s.shift, mean, scale)
    return s.map(A * B + C, s.x, scale, rest)


def fused(s: Spelled) -> Value:
    mean = s.mean(s.x)
    rstd = s.mean(s.x, mean, expr=(B - A) * (B - A), finish=1 / unary("sqrt", A + 1e-5))
    return s.map((A - B) * C * D + E, s.x, mean, rstd, s.gain, s.shift)


def plain(s: Spelled) -> Value:
    away = s.map(A - B, s.x, s.mean(s.x))
    return s.map(A / unary("sqrt", B + 1e-6), away, s.mean(away, expr=A * A))


def root_mean_square(s: Spelled) -> Value:
    rstd = s.row(1 / unary("sqrt", A + 1e-6), s.mean(s.map(A * A, s.x)))
    return s.map(A * B, s.gain, s.map(A * B, s.x, rstd))


@pytest.mark.parametrize("spell", [pytorch, keras, fused, plain, root_mean_square])
def test_spellings(spell: Callable[[Spelled], Value]) -> None:
    s = Spelled()
    (op,) = s.found(spell(s))
    assert isinstance(op, Normalise) and op.axes == (0,)
    assert op.centred == (spell is not root_mean_square)
    assert op.eps == {pytorch: 1e-5, keras: 1e-3, fused: 1e-5}.get(spell, 1e-6)


def test_of_what_is_itself_a_formula() -> None:
    """Such as the sum of a residual block, which others read too."""
    s = Spelled()
    wide = s.map(unary("tanh", A) + A, s.x)
    s.x, x = wide, s.x
    out = s.map(A + B, pytorch(s), wide)
    s.x = x
    kinds = [type(op) for op in s.found(out)]
    assert kinds == [Elementwise, Normalise, Elementwise]


def test_through_views() -> None:
    """The sums see the same memory in another form."""
    s = Spelled()
    flat, rows = (6, 8), (1, 8)
    seen = s.add(View(), (s.x,), flat)
    mean = s.add(Reduce((0,), "mean"), (seen,), rows)
    var = s.add(Reduce((0,), "mean", ((A - B) * (A - B),)), (seen, mean), rows)
    back = [s.add(View(), (value,), ROWS) for value in (mean, var)]
    formula = (A - B) / unary("sqrt", C + 1e-5) * D
    out = s.map(formula, s.x, *back, s.gain)
    assert [type(op) for op in s.found(out)] == [Normalise]


def test_what_is_something_else_stays() -> None:
    def halved(s: Spelled) -> Value:
        mean = s.mean(s.x)
        var = s.mean(s.x, mean, expr=(A - B) * (A - B))
        return s.map((A - B) / unary("sqrt", C * 2 + 1e-5), s.x, mean, var)

    def far(s: Spelled) -> Value:
        mean = s.mean(s.x)
        var = s.mean(s.x, mean, expr=(A - B) * (A - B))
        return s.map((A - B) / (unary("sqrt", C) + 1e-5), s.x, mean, var)

    def squared(s: Spelled) -> Value:
        mean = s.mean(s.x)
        return s.map((A - B) / unary("sqrt", C + 1e-5), s.x, mean, s.mean(s.x, expr=A * A))

    for spell in (halved, far, squared):
        s = Spelled()
        assert Normalise not in [type(op) for op in s.found(spell(s))]


def test_steps_that_somebody_needs_stay() -> None:
    """Computing them twice would save nothing."""
    s = Spelled()
    out = pytorch(s)
    var = next(n.output for n in s.nodes[::-1] if isinstance(n.op, Reduce))
    assert Normalise not in [type(op) for op in s.found(out, kept=(var,))]
    mean = s.nodes[0].output
    assert Normalise in [type(op) for op in s.found(out, kept=(mean,))]
