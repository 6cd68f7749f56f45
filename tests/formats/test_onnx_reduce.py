"""ONNX: reductions, extremes, sorting and normalisation over axes compute the same elsewhere."""

from typing import Any

import pytest
from formats.test_onnx_export import checked, same
from graph.networks import anything
from optional import optional

from faltung import nn
from faltung.formats.onnx_export import export_onnx
from faltung.geometry.expr import operand, unary
from faltung.graph import ops
from faltung.graph.builder import Builder
from faltung.graph.value import Graph, Value

optional("onnx")
optional("onnxruntime")
A, B, C = map(operand, range(3))
MAP = (4, 3, 5)
KINDS = ("sum", "mean", "max", "min", "product", "log_sum_exp")


def built(op: ops.Op, *shapes: tuple[int, ...], vector: tuple[int, ...] | None = None) -> Graph:
    """An operation on a map and, where it is given a shape, on a parameter."""

    class Made(nn.Layer):
        def build(self, b: Builder, x: Value) -> Value:
            more = () if vector is None else (b.parameter("v", vector, initial=1.0),)
            return b.nodes(op, (x, *more, *more[: op in AFFINE]), *shapes)[-1]

    return nn.build(nn.Sequential(nn.Conv(4, 1), Made()), (2, 3, 5))


AFFINE = [ops.Normalise("axes", 1e-3, axes=(0, 2)), ops.Normalise("axes", 1e-3, axes=(1,))]


def kept(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if i in axes else n for i, n in enumerate(MAP))


CASES: list[tuple[ops.Op, tuple[tuple[int, ...], ...], tuple[int, ...] | None]] = [
    *((ops.Reduce((0, 2), kind), (kept((0, 2)),), None) for kind in KINDS),
    (ops.Reduce((1,), "sum", (A * B,), finish=unary("sqrt", A * A + 1)), (kept((1,)),), (4,)),
    (ops.Arg(0, "max"), (kept((0,)),), None),
    (ops.Arg(2, "min", last=True), (kept((2,)),), None),
    (ops.Cumulative(1, "sum", exclusive=True, reverse=True), (MAP,), None),
    (ops.TopK(2, 2, largest=False), ((4, 3, 2),), None),
    (ops.TopK(0, 3), ((3, 3, 5), (3, 3, 5)), None),
    *((ops.Softmax(axes, log), (MAP,), None) for axes in ((1,), (0, 2)) for log in (False, True)),
    (ops.Normalise("axes", 1e-3, axes=(1, 2), centred=False), (MAP,), (4, 1, 5)),
    *((op, (MAP,), (4,)) for op in AFFINE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0])[:60])
def test_every_operation_computes_the_same(case: Any) -> None:
    op, shapes, vector = case
    graph = built(op, *shapes, vector=vector)
    same(graph, anything(graph))


def test_what_onnx_lacks() -> None:
    """At the opset that is written."""
    graph = built(ops.Cumulative(1, "product"), MAP)
    with pytest.raises(ValueError, match="the running product of layer 'made1' cannot"):
        checked(export_onnx(graph, anything(graph)))
