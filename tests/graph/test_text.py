"""Networks as text: whatever a file says, what is built from it is sound, or there is an error."""

import base64
import json
import random
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graph.interpreter import run
from graph.test_sound import graph_of, text_of

from faltung import Model, nn
from faltung.geometry.errors import FaltungError
from faltung.graph.text import MOST_BYTES, network_of
from faltung.nn.graphnet import GraphNet
from faltung.train.transfer import with_outputs

NAMES = (
    "inception,batch norm,patches,attention,lstm,embedding,squeeze,upsample bilinear,conv 2-D,"
    "transpose,max pool ceil,pixel shuffle"
).split(",")


def packed(rows: Any) -> str:
    return base64.b85encode(zlib.compress(json.dumps(rows).encode())).decode()


def unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b85decode(text)))


def places(x: Any) -> list[tuple[Any, Any]]:
    """All entries of nested lists and objects: what holds them, and where."""
    found = []
    items = enumerate(x) if isinstance(x, list) else x.items() if isinstance(x, dict) else ()
    for key, value in items:
        found.append((x, key))
        found += places(value)
    return found


VALUES = [-1, 0, 1, 2, 3, 7, 1 << 40, 1 << 70, 0.5, float("inf"), True, None, "x", [], [1, 2], {},
          {"Slice": [1]}, {"os": [1]}]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_changed_texts_are_refused_or_sound(name: str) -> None:
    graph = graph_of(name)
    text, rng = text_of(graph), random.Random(name)
    shape, tokens = graph.input.shape, graph.input.kind == "int"
    refused = 0
    for _ in range(150):
        rows = unpacked(text)
        for _ in range(rng.choice([1, 1, 2])):
            holder, key = rng.choice(places(rows))
            old = holder[key]
            near = [old + 1, old - 1, 2 * old] if type(old) is int else []
            holder[key] = rng.choice(near + VALUES)
        try:
            made = nn.build(GraphNet(packed(rows)), shape, tokens=tokens)
        except (FaltungError, MemoryError):
            refused += 1
            continue
        # The interpreter asserts the shape of every value.
        numbers = {p.name: np.ones(p.shape) for p in made.parameters}
        with np.errstate(all="ignore"):
            run(made, numbers, np.zeros((2, *shape), int if tokens else float))
    assert refused > 50


@pytest.mark.parametrize(
    "text",
    ["", "x", "é", packed([]), packed({}), packed([[[1], False, 0], [], []]), packed(None),
     packed([[[1], False, 1], [], [[{"Softmax": [[0], False]}, [0], [], "a", "k"]]]),
     base64.b85encode(zlib.compress(b" " * (MOST_BYTES + 1))).decode(),
     base64.b85encode(zlib.compress(b"[" * 100_000)).decode()],
)  # fmt: skip
def test_what_is_no_text_of_a_network(text: str) -> None:
    with pytest.raises(FaltungError, match="structure: "):
        network_of(text)


@pytest.mark.parametrize("name", ["input", "a:1.weight", ".weight", "a..b", "a b.weight"])
def test_names_that_values_have_are_refused(name: str) -> None:
    rows = unpacked(text_of(graph_of("conv 2-D")))
    rows[1][0][0] = name
    with pytest.raises(FaltungError, match="structure: "):
        network_of(packed(rows))


def test_two_parameters_of_one_name_are_refused() -> None:
    rows = unpacked(text_of(graph_of("conv 2-D")))
    rows[1][0][0] = rows[1][1][0]
    with pytest.raises(FaltungError, match="two parameters of one name"):
        network_of(packed(rows))


def test_another_number_of_outputs() -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), nn.Flatten(), nn.Linear(3))
    graph = nn.build(net, (1, 5, 5))
    changed = with_outputs(GraphNet(text_of(graph)), 7)
    assert changed == GraphNet(text_of(graph), 7)
    assert changed is not None
    model = Model(changed, (1, 5, 5))
    assert model.graph.output.shape == (7,)
    assert model.parameters["linear1.weight"].shape == (7, 36)
    assert model.predict(np.ones((2, 1, 5, 5))).shape == (2, 7)
    with pytest.raises(FaltungError, match="does not end in a layer"):
        Model(GraphNet(text_of(nn.build(nn.MaxPool(2), (2, 4, 4))), 7), (2, 4, 4))


def test_training_has_dropout_and_batch_statistics() -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(momentum=0.3), nn.ReLU(), nn.Flatten(),
                        nn.Dropout(0.25), nn.Linear(3))  # fmt: skip
    graph = nn.build(net, (1, 5, 5), training=True)
    nodes = tuple(
        replace(n, op=replace(n.op, training=False)) if hasattr(n.op, "training") else n
        for n in graph.nodes
    )
    again = nn.build(GraphNet(text_of(replace(graph, nodes=nodes))), (1, 5, 5), training=True)
    assert [node.op for node in again.nodes] == [node.op for node in graph.nodes]
    rest = nn.build(GraphNet(text_of(replace(graph, nodes=nodes))), (1, 5, 5))
    assert "Dropout" not in {type(node.op).__name__ for node in rest.nodes}


def test_a_sample_of_another_shape() -> None:
    with pytest.raises(FaltungError, match=r"input_shape=\(3, 8, 6\): must be \(3, 7, 6\)"):
        nn.build(GraphNet(text_of(graph_of("conv 2-D"))), (3, 8, 6))
