"""Networks over levels: the same numbers, and levels wherever entries only move."""

from collections.abc import Sequence

import numpy as np
import pytest
from graph.interpreter import compute

from faltung.geometry.expr import maximum, operand
from faltung.geometry.levels import level, level_of, number, on_grid
from faltung.geometry.pool import pool_spec
from faltung.graph.fuse import needed
from faltung.graph.grids import with_levels
from faltung.graph.ops import Concat, Elementwise, Permute, Pool, Reshape, Slice, View
from faltung.graph.value import Node, Value

X, S = operand(0), operand(1)
KEPT = {"out"}
SHAPE = (6, 4, 4)


def formula(expr: object, out: str, *inputs: Value, shape: tuple[int, ...] = SHAPE) -> Node:
    return Node(Elementwise(shape, (expr,)), inputs, (Value(out, shape),))  # type: ignore[arg-type]


def value(name: str, shape: tuple[int, ...] = SHAPE) -> Value:
    return Value(name, shape)


def both(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes over levels, after a look whether these give what the others do."""
    made = needed(with_levels(nodes, KEPT).nodes, KEPT)
    x = np.random.default_rng(0).normal(0, 8, (2, *SHAPE))
    plain, other = {"x": x, "y": x[::-1]}, {"x": x, "y": x[::-1]}
    compute(nodes, plain, 2)
    compute(made, other, 2)
    np.testing.assert_array_equal(plain["out"], other["out"])
    assert len(np.unique(plain["out"])) > 8
    return made


def kinds(nodes: Sequence[Node]) -> list[str]:
    """What the nodes are: formulas that make levels, those that make none, and operations."""
    found = []
    for node in nodes:
        op = node.op
        if isinstance(op, Elementwise):
            found.append("level" if level_of(op.outputs[0]) else "number")
        else:
            found.append(type(op).__name__)
    return found


MOVES = {
    "view": (View(), (6, 16)),
    "reshape": (Reshape(), (96,)),
    "slice": (Slice(2), (3, 4, 4)),
    "permute": (Permute((4, 4, 6), (1, 0, 2)), SHAPE),
    "pool": (Pool(pool_spec((1, *SHAPE), 2, kind="max", stride=2)), (6, 2, 2)),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_entries_moves_levels(name: str) -> None:
    op, shape = MOVES[name]
    nodes = (
        formula(on_grid(X, 0.75, 100), "q", value("x")),
        Node(op, (value("q"),), (value("m", shape),)),
        formula(on_grid(X, 0.75, 100), "again", value("m", shape), shape=shape),
        formula(maximum(X, 0.5) * 3.0, "out", value("again", shape), shape=shape),
    )
    assert kinds(both(nodes)) == ["level", type(op).__name__, "number", "number"]


def test_levels_of_the_network_itself_are_moved_and_joined() -> None:
    nodes = (
        formula(level(X, 0.5, -3, -128, 127), "q", value("x")),
        Node(Slice(1), (value("q"),), (value("m", (2, 4, 4)),)),
        Node(Concat(), (value("m", (2, 4, 4)), value("q")), (value("j", (8, 4, 4)),)),
        formula(number(X, 0.5, -3), "out", value("j", (8, 4, 4)), shape=(8, 4, 4)),
    )
    assert kinds(both(nodes)) == ["level", "Slice", "Concat", "number"]


def test_a_concatenation_of_one_grid_is_one_of_levels() -> None:
    whole = value("c", (12, 4, 4))
    nodes = (
        formula(on_grid(X, 0.5, 100), "a", value("x")),
        formula(on_grid(X + 1.0, 0.5, 100), "b", value("y")),
        Node(Concat(), (value("a"), value("b")), (whole,)),
        formula(X * 2.0, "out", whole, shape=whole.shape),
    )
    assert kinds(both(nodes)) == ["level", "level", "Concat", "number", "number"]


def test_parts_of_a_concatenation_are_put_on_the_grid_of_the_whole() -> None:
    whole = value("c", (18, 4, 4))
    nodes = (
        formula(on_grid(X, 0.5, 100), "a", value("x")),
        formula(on_grid(X, 0.25, 100), "b", value("x")),
        formula(X * 3.0, "f", value("y")),
        Node(Concat(), (value("a"), value("b"), value("f")), (whole,)),
        formula(on_grid(X, 0.25, 100), "q", whole, shape=whole.shape),
        formula(X * 2.0, "out", value("q", whole.shape), shape=whole.shape),
    )
    made = both(nodes)
    assert kinds(made).count("Concat") == 1
    (join,) = (node for node in made if isinstance(node.op, Concat))
    levels = {n.output.name for n in made if kinds([n]) == ["level"]}
    assert {v.name for v in join.inputs} <= levels
    assert join.inputs[1].name == "b.level"  # which is on the grid of the whole already


def test_other_grids_stay_numbers() -> None:
    wide = formula(on_grid(X, 0.5, 0, -1000, 1000), "q", value("x"))
    by_channel = formula(on_grid(X, S, 0), "q", value("x"), Value("s", (6,), batched=False))
    for node in (wide, by_channel):
        after = formula(X * 2.0, "out", value("q"))
        assert with_levels((node, after), KEPT).nodes == (node, after)
