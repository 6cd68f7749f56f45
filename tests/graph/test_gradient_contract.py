"""The gradients of products, by differences of the loss."""

import pytest
from graph.products import ATTENTION, MASKED, TABLE, one_input
from graph.test_differentiate import slopes

from faltung.geometry.errors import FaltungError
from faltung.graph.differentiate import differentiate
from faltung.graph.ops import Contract
from faltung.graph.value import Graph, Node, Parameter, Value

EVERY = TABLE | ATTENTION | {n: row for n, row in MASKED.items() if row.out.samples == 1}


@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_slopes(name: str) -> None:
    slopes(differentiate(one_input(EVERY[name]), "mse"))


def test_what_one_operand_sums_alone_has_no_gradient() -> None:
    x, w = Value("x", (3,)), Value("w", (4,), False)
    y = Value("y", (3,))
    node = Node(Contract("sk", "zj", "sk"), (x, w), (y,), "product")
    parameter = Parameter(w, w.shape, w.shape, (0,))
    graph = Graph((x,), (y,), (node,), (parameter,), "float64", True)
    with pytest.raises(FaltungError, match="sum over it first"):
        differentiate(graph, "mse")
