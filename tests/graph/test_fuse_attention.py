"""Attention that others spell out: recognised wherever it is meant, and nowhere else."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from graph.foreign_runs import built, meant, run
from graph.interpreter import compute

from faltung.geometry.expr import Expr, at_least, select, unary
from faltung.graph.foreign import Foreign, Tensor
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import sliced
from faltung.graph.foreign_products import einsum
from faltung.graph.foreign_reduce import softmax
from faltung.graph.fuse import needed
from faltung.graph.fuse_attention import with_attention
from faltung.graph.fuse_moves import moved
from faltung.graph.ops import Attention, Contract, Permute, Softmax
from faltung.graph.value import Node

B, L, H, D = 2, 6, 3, 4
RNG = np.random.default_rng(0)
HEADS = RNG.standard_normal((H, L, L)).astype("float32")
WINDOWS = RNG.standard_normal((B, 1, L, L)).astype("float32")
ROWS = np.where(RNG.random((L, L)) < 0.3, -np.inf, 0).astype("float32")
np.fill_diagonal(ROWS, 0)
SEEN = np.tril(np.ones((L, L), np.float32))
Step = Callable[[Foreign, Tensor], Tensor]


def times(factor: float) -> Step:
    return lambda f, x: formula(f, lambda a: a * factor, x)


def over(factor: float) -> Step:
    return lambda f, x: formula(f, lambda a: a / factor, x)


def plus(array: np.ndarray) -> Step:
    return lambda f, x: formula(f, _added, x, array)


def _added(a: Expr, b: Expr) -> Expr:
    return a + b


def tanh() -> Step:
    return lambda f, x: formula(f, lambda a: unary("tanh", a), x)


def once(scale: float, cap: float) -> Step:
    return lambda f, x: formula(f, lambda a: cap * unary("tanh", a * scale / cap), x)


def hiding(array: np.ndarray, low: float, turned: bool = False) -> Step:
    """``low`` where the array says no, or yes."""

    def where(a: Expr, b: Expr) -> Expr:
        return select(at_least(b, 0.5), low, a) if turned else select(at_least(b, 0.5), a, low)

    return lambda f, x: formula(f, where, x, array)


@dataclass(frozen=True)
class Case:
    """q, k, v as heads of (B, L, ...) with axes ``order`` of (B, L, H, D) in memory; ``steps`` on
    the scores. merged: heads are merged into channels at the end.
    """

    steps: tuple[Step, ...] = (times(0.5),)
    order: tuple[int, ...] = (0, 1, 2, 3)
    on_q: float = 1.0
    on_k: float = 1.0
    merged: bool = True
    together: bool = False
    swapped: bool = False

    def build(self, f: Foreign, *inputs: Tensor) -> Tensor:
        if self.together:  # (B, L, 3, H, D), as one layer makes them
            (every,) = inputs
            split = f.reshaped(every, (B, L, 3, H * D))
            parts = [f.reshaped(sliced(f, split, 2, i, 1), (B, L, H, D)) for i in range(3)]
        else:
            back = np.argsort(self.order)
            parts = [x.transposed(back) for x in inputs]
        q, k, v = (x.transposed((0, 2, 1, 3)) for x in parts)
        q = times(self.on_q)(f, q) if self.on_q != 1 else q
        k = times(self.on_k)(f, k) if self.on_k != 1 else k
        if self.swapped:
            scores = einsum(f, [k, q], ["bhmd", "bhld"], "bhlm")
        else:
            scores = einsum(f, [q, k], ["bhld", "bhmd"], "bhlm")
        for step in self.steps:
            scores = step(f, scores)
        made = einsum(f, [softmax(f, scores, [3]), v], ["bhlm", "bhmd"], "bhld")
        if self.merged:
            made = f.reshaped(made.transposed((0, 2, 1, 3)), (B, L, H * D))
            made = f.straightened(made)
        return made

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(1)
        if self.together:
            return [rng.standard_normal((B, L, 3 * H * D)).astype("float32")]
        shape = [(B, L, H, D)[axis] for axis in self.order]
        return [rng.standard_normal(shape).astype("float32") for _ in range(3)]


CASES = {
    "plain": Case(()),
    "scaled": Case(),
    "divided": Case((over(2.0),)),
    "scaled twice": Case((times(0.5), over(0.7))),
    "scaled before": Case((), on_q=0.5, on_k=0.3),
    "a mask": Case((times(0.5), plus(ROWS))),
    "of heads": Case((times(0.5), plus(HEADS))),
    "two masks": Case((times(0.5), plus(HEADS), plus(ROWS))),
    "of samples": Case((plus(WINDOWS),)),
    "hidden": Case((times(0.5), hiding(SEEN, -np.inf))),
    "hidden by a number": Case((hiding(SEEN, -3e38), plus(HEADS))),
    "hidden the other way": Case((times(0.5), hiding(1 - SEEN, -np.inf, True))),
    "capped": Case((times(0.5), over(3.0), tanh(), times(3.0), plus(ROWS))),
    "capped at once": Case((once(0.5, 3.0),)),
    "of one side": Case((plus(ROWS[:1]), plus(HEADS[:, :, :1]))),
    "heads first": Case(order=(0, 2, 1, 3)),
    "sequence first": Case((times(0.5), plus(ROWS)), order=(1, 0, 2, 3)),
    "heads apart": Case(merged=False),
    "together": Case((times(0.5), plus(HEADS)), together=True),
    "keys times queries": Case(swapped=True),
}


def fused_nodes(case: Case) -> tuple[tuple[Node, ...], tuple[Node, ...], set[str]]:
    f, _, y = built(case.arrays(), case.build)
    nodes = f.graph([y.value]).nodes
    kept = {y.value.name}
    made = with_attention(moved(needed(nodes, kept), kept), kept)
    return nodes, needed(made, kept), kept


@pytest.mark.parametrize("name", CASES)
def test_it_is_recognised(name: str) -> None:
    """One operation, whose meaning is that of the nodes that it replaces."""
    case = CASES[name]
    _, nodes, _ = fused_nodes(case)
    ops = [type(node.op) for node in nodes]
    assert ops.count(Attention) == 1
    assert not {Softmax, Contract} & set(ops)
    if case.merged and case.order == (0, 1, 2, 3):
        assert Permute not in ops
    assert sum(isinstance(node.op, Permute) for node in nodes) <= 1


@pytest.mark.parametrize("name", CASES)
def test_its_meaning_stays(name: str) -> None:
    case = CASES[name]
    arrays = case.arrays()
    want = meant(arrays, case.build)
    np.testing.assert_allclose(run(arrays, case.build), want, atol=2e-6)
    f, inputs, y = built(arrays, case.build)
    _, nodes, _ = fused_nodes(case)
    known = {n: np.asarray(array, np.float64) for n, array in f.weights.items()}
    known |= {x.value.name: x.laid_out(a) for x, a in zip(inputs, arrays, strict=True)}
    compute(nodes, known, 1)
    got = y.told(np.moveaxis(known[y.value.name], 1, -1))
    np.testing.assert_allclose(got, want, atol=1e-12)


def other(kind: str, f: Foreign, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What looks like attention and is not."""
    scores = einsum(f, [q, k], ["blhd", "bmhd"], "bhlm")
    if kind == "squared":
        scores = formula(f, lambda a: a * a, scores)
    if kind == "masked and capped":
        scores = once(1.0, 2.0)(f, plus(ROWS)(f, scores))
    if kind == "capped twice":
        scores = once(1.0, 2.0)(f, once(1.0, 3.0)(f, scores))
    if kind == "hidden by too little":
        scores = hiding(SEEN, -1e4)(f, scores)
    if kind == "scaled after a mask":
        scores = formula(f, lambda a, b: (a + b) * 0.5, scores, ROWS)
    axis = 2 if kind == "over queries" else 3
    weights = softmax(f, scores, [axis])
    made = einsum(f, [weights, v], ["bhlm", "bmhd"], "blhd")
    if kind != "read twice":
        return made
    sums = f.reshaped(einsum(f, [scores], ["bhlm"], "blh"), (B, L, H, 1))
    return formula(f, _added, made, sums)


OTHERS = """
    squared, over queries, read twice, scaled after a mask, hidden by too little, capped twice,
    masked and capped
"""


@pytest.mark.parametrize("kind", [word.strip() for word in OTHERS.split(",")])
def test_it_is_not_recognised(kind: str) -> None:
    """And stays what it was."""

    def build(f: Foreign, *x: Tensor) -> Tensor:
        return other(kind, f, *x)

    arrays = [RNG.standard_normal((B, L, H, D)).astype("float32") for _ in range(3)]
    f, _, y = built(arrays, build)
    kept = {y.value.name}
    nodes = with_attention(moved(f.graph([y.value]).nodes, kept), kept)
    assert not any(isinstance(node.op, Attention) for node in nodes)
    np.testing.assert_allclose(run(arrays, build), meant(arrays, build), atol=1e-5)
