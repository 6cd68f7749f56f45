"""Graphs that consist of one product of two values, for all that is done to products."""

from dataclasses import dataclass

import numpy as np

from faltung.geometry.expr import operand
from faltung.graph.ops import Contract, Elementwise, Op
from faltung.graph.value import Graph, Node, Parameter, Value

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One product: its operation, and the shape and samples of a, b and the result, which may be
    parameters.
    """

    op: Contract
    a: Value
    b: Value
    out: Value


def values(*shapes: Shape, batched: str = "yyy", samples: Shape = (1, 1, 1)) -> tuple[Value, ...]:
    return tuple(
        Value(name, shape, flag == "y", samples=count)
        for name, shape, flag, count in zip("abc", shapes, batched, samples, strict=True)
    )


HEADS = (("s", 1), ("l", 5), ("m", 4), ("h", 2), ("d", 3))
GROUPS = (("s", 1), ("l", 5), ("m", 4), ("g", 2), ("r", 3), ("d", 3))
TABLE: dict[str, Row] = {
    "matrices": Row(Contract("sik", "skj", "sij"), *values((3, 5), (7, 3), (7, 5))),
    "a transposed": Row(Contract("ski", "skj", "sij"), *values((5, 3), (7, 3), (7, 5))),
    "b transposed": Row(Contract("sik", "sjk", "sij"), *values((3, 5), (3, 7), (7, 5))),
    "result transposed": Row(Contract("sik", "skj", "sji"), *values((3, 5), (7, 3), (5, 7))),
    "a parameter": Row(
        Contract("sik", "skj", "sij"), *values((3, 5), (7, 3), (7, 5), batched="yny")
    ),
    "a parameter first": Row(
        Contract("sik", "skj", "sij"), *values((3, 5), (7, 3), (7, 5), batched="nyy")
    ),
    "vectors": Row(Contract("si", "si", "s", (("s", 1), ("i", 6))), *values((6,), (6,), (1,))),
    "outer": Row(Contract("si", "sj", "sij"), *values((6,), (3,), (3, 6))),
    "scores": Row(Contract("slhd", "smhd", "shlm", HEADS), *values((6, 5), (6, 4), (4, 2, 5))),
    "weighted values": Row(
        Contract("shlm", "smhd", "slhd", HEADS), *values((4, 2, 5), (6, 4), (6, 5))
    ),
    "groups of heads": Row(
        Contract("slgrd", "smgd", "sgrlm", GROUPS), *values((18, 5), (6, 4), (4, 6, 5))
    ),
    "a map": Row(
        Contract("sabc", "sdbc", "sad", (("s", 1), ("a", 3), ("b", 4), ("c", 2), ("d", 5))),
        *values((2, 3, 4), (2, 5, 4), (5, 3)),
    ),
}


def graph_of(row: Row, dtype: str = "float64", training: bool = False) -> Graph:
    """The product of two inputs, or parameters."""
    given = row.a, row.b
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
    shapes = [v for v in (row.a, row.b) if v.batched]
    x = Value("x", shapes[0].shape)
    nodes, parameters, found = [], [], {}
    for v in (row.a, row.b):
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
    nodes.append(Node(row.op, (found["a"], found["b"]), (row.out,), "product"))
    return Graph((x,), (row.out,), tuple(nodes), tuple(parameters), dtype, True)


def numbers(graph: Graph, batch: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Parameters and inputs."""
    rng = np.random.default_rng(0)
    parameters = {p.name: rng.normal(size=p.shape) for p in graph.parameters}
    return parameters, [rng.normal(size=(batch, *v.shape)) for v in graph.inputs]
