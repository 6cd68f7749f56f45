"""Graphs of one product of two values, or of one attention, for all that is done to them."""

from dataclasses import dataclass

import numpy as np

from faltung.geometry.expr import operand
from faltung.graph.ops import Attention, Contract, Elementwise, Op
from faltung.graph.value import Graph, Node, Parameter, Value

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One operation, the values that it reads, of which some may be parameters, and its result."""

    op: Op
    inputs: tuple[Value, ...]
    out: Value


def row(op: Op, *shapes: Shape, batched: str = "", samples: Shape = ()) -> Row:
    """``shapes``: of what is read, then of the result. batched: "y" or "n" for each of them.
    samples: of each.
    """
    names = [*"abcde"[: len(shapes) - 1], "out"]
    flags = batched or "y" * len(shapes)
    counts = samples or (1,) * len(shapes)
    made = [
        Value(name, shape, flag == "y", samples=count)
        for name, shape, flag, count in zip(names, shapes, flags, counts, strict=True)
    ]
    return Row(op, tuple(made[:-1]), made[-1])


HEADS = (("s", 1), ("l", 5), ("m", 4), ("h", 2), ("d", 3))
GROUPS = (("s", 1), ("l", 5), ("m", 4), ("g", 2), ("r", 3), ("d", 3))
TABLE: dict[str, Row] = {
    "matrices": row(Contract("sik", "skj", "sij"), *((3, 5), (7, 3), (7, 5))),
    "a transposed": row(Contract("ski", "skj", "sij"), *((5, 3), (7, 3), (7, 5))),
    "b transposed": row(Contract("sik", "sjk", "sij"), *((3, 5), (3, 7), (7, 5))),
    "result transposed": row(Contract("sik", "skj", "sji"), *((3, 5), (7, 3), (5, 7))),
    "a parameter": row(Contract("sik", "skj", "sij"), (3, 5), (7, 3), (7, 5), batched="yny"),
    "a parameter first": row(
        Contract("sik", "skj", "sij"), *((3, 5), (7, 3), (7, 5)), batched="nyy"
    ),
    "vectors": row(Contract("si", "si", "s", (("s", 1), ("i", 6))), *((6,), (6,), (1,))),
    "outer": row(Contract("si", "sj", "sij"), *((6,), (3,), (3, 6))),
    "scores": row(Contract("slhd", "smhd", "shlm", HEADS), *((6, 5), (6, 4), (4, 2, 5))),
    "weighted values": row(Contract("shlm", "smhd", "slhd", HEADS), *((4, 2, 5), (6, 4), (6, 5))),
    "groups of heads": row(
        Contract("slgrd", "smgd", "sgrlm", GROUPS), *((18, 5), (6, 4), (4, 6, 5))
    ),
    "a map": row(
        Contract("sabc", "sdbc", "sad", (("s", 1), ("a", 3), ("b", 4), ("c", 2), ("d", 5))),
        *((2, 3, 4), (2, 5, 4), (5, 3)),
    ),
}


A = Attention
ATTENTION: dict[str, Row] = {
    "one head": row(A(1, 1, 0.5), *((5, 7), (5, 9), (5, 9), (5, 7))),
    "heads": row(A(3, 3, 0.5), *((6, 11), (6, 11), (6, 11), (6, 11))),
    "other values": row(A(2, 2, 0.3), *((6, 5), (6, 4), (10, 4), (10, 5))),
    "shared keys": row(A(4, 2, 0.3), *((12, 5), (6, 4), (4, 4), (8, 5))),
    "one query": row(A(2, 1, 1.0), *((6,), (3, 7), (3, 7), (6,))),
    "one key": row(A(2, 1, 1.0), *((6, 7), (3,), (3,), (6, 7))),
    "a plane": row(A(2, 2, 1.0), *((6, 3, 4), (6, 2, 5), (6, 2, 5), (6, 3, 4))),
    "causal": row(A(2, 2, 0.7, True), *((6, 19), (6, 19), (6, 19), (6, 19))),
    "causal, of more keys": row(A(2, 2, 0.7, True, 3), *((6, 5), (6, 8), (6, 8), (6, 5))),
    "causal, of nothing": row(A(2, 2, 0.7, True, -2), *((6, 5), (6, 5), (6, 5), (6, 5))),
    "capped": row(A(2, 2, 0.7, softcap=0.8), *((6, 5), (6, 4), (6, 4), (6, 5))),
    "a mask": row(A(2, 2, 0.7), *((6, 5), (6, 9), (6, 9), (9, 2, 5), (6, 5))),
    "a mask, capped": row(A(2, 1, 0.7, True, 2, 1.5), *((6, 5), (3, 9), (3, 9), (9, 2, 5), (6, 5))),
    "two masks": row(A(2, 2, 0.7), *((6, 5), (6, 9), (6, 9), (9, 2, 5), (9, 2, 5), (6, 5))),
    "the weights": row(A(2, 1, 0.7, weights=True), *((6, 5), (3, 4), (4, 2, 5))),
    "many keys": row(A(1, 1, 0.2), *((9, 40), (9, 70), (20, 70), (20, 40))),
}
# With masks that are broadcast, along every axis.
MASKED: dict[str, Row] = {
    f"mask {shape}{' of all' * (flag == 'n')}": row(
        A(2, 2, 0.7), *((6, 5), (6, 9), (6, 9), shape, (6, 5)), batched=f"yyy{flag}y"
    )
    for shape in ((9, 1, 1), (9, 1, 5), (9, 2, 1), (1, 2, 5), (1, 1, 5), (1, 1, 1), (9, 2, 5))
    for flag in "yn"
}
MASKED["samples"] = row(A(2, 2, 0.7), *((6, 5), (6, 9), (6, 9), (6, 5)), samples=(4, 4, 4, 4))
MASKED["masks of windows"] = row(
    A(2, 1, 0.7),
    *((6, 5), (3, 9), (3, 9), (9, 2, 5), (9, 1, 5), (6, 5)),
    batched="yyynyy",
    samples=(6, 6, 6, 1, 3, 6),
)


def graph_of(row: Row, dtype: str = "float64", training: bool = False) -> Graph:
    """The product of two inputs, or parameters."""
    given = row.inputs
    parameters = tuple(
        Parameter(v, v.shape, v.shape, tuple(range(len(v.shape)))) for v in given if not v.batched
    )
    inputs = tuple(v for v in given if v.batched)
    node = Node(row.op, given, (row.out,), "product")
    return Graph(inputs, (row.out,), (node,), parameters, dtype, training)


def one_input(row: Row, dtype: str = "float64") -> Graph:
    """For training: the operands without a batch are parameters, and those that have one are the
    input with formulas of it, or a parameter times the input where shapes differ.
    """
    x = Value("x", next(v.shape for v in row.inputs if v.batched))
    nodes, parameters, found = [], [], {}
    for v in row.inputs:
        if not v.batched:
            parameters.append(Parameter(v, v.shape, v.shape, tuple(range(len(v.shape)))))
            found[v.name] = v
            continue
        scale = Value(f"{v.name}.scale", (x.channels,), False)
        parameters.append(Parameter(scale, scale.shape, scale.shape, (0,)))
        made = Value(v.name, x.shape)
        op: Op = Elementwise(x.shape, (operand(0) * operand(1),))
        nodes.append(Node(op, (x, scale), (made,), v.name))
        if v.shape != x.shape:
            table = Value(f"{v.name}.table", (v.size, x.size), False)
            parameters.append(Parameter(table, table.shape, table.shape, (0, 1)))
            sizes = (("i", x.size), ("j", v.size))
            wide = Value(f"{v.name}.wide", v.shape)
            nodes.append(Node(Contract("i", "ij", "j", sizes), (made, table), (wide,), v.name))
            made = wide
        found[v.name] = made
    nodes.append(Node(row.op, tuple(found[v.name] for v in row.inputs), (row.out,), "product"))
    return Graph((x,), (row.out,), tuple(nodes), tuple(parameters), dtype, True)


def numbers(graph: Graph, batch: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Parameters and inputs."""
    rng = np.random.default_rng(0)
    parameters = {p.name: rng.normal(size=p.shape) for p in graph.parameters}
    return parameters, [rng.normal(size=(batch * v.samples, *v.shape)) for v in graph.inputs]
