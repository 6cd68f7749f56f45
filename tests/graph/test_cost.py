"""How much a node computes, and how many numbers it moves."""

from faltung import nn
from faltung.graph.cost import macs, numbers
from faltung.graph.ops import Attention, Contract, Convolve
from faltung.graph.value import Node, Value


def test_products_are_counted_for_one_sample() -> None:
    graph = nn.build(nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.LSTM(5)), (2, 9), dtype="float32")
    counts = {node.layer: macs(node) for node in graph.nodes}
    assert counts["conv1"] == 4 * 7 * 2 * 3 and counts["relu1"] == 0
    assert counts["lstm1"] == 7 * 4 * 5 * (4 + 5)


def test_products_of_two_values() -> None:
    q, k = Value("q", (8, 5), samples=3), Value("k", (8, 6), samples=3)
    scores = Node(Contract("slc", "smc", "slm"), (q, k), (Value("s", (6, 5), samples=3),))
    assert macs(scores) == 3 * 5 * 6 * 8
    out = Value("o", (8, 5), samples=3)
    assert macs(Node(Attention(2, 2, 1.0), (q, k, k), (out,))) == 2 * 3 * 5 * 6 * 8


def test_folded_samples_count() -> None:
    spec = nn.build(nn.Conv(4, 1), (2, 9)).nodes[0].op.spec
    x, w = Value("x", (2, 9), samples=7), Value("w", (4, 2, 1), batched=False)
    node = Node(Convolve(spec), (x, w), (Value("y", (4, 9), samples=7),))
    assert macs(node) == 7 * 4 * 2 * 9
    assert numbers(node) == (7 * 2 * 9 + 7 * 4 * 9, 8)
