"""The parts of the explorer's page about fields: theory, measurement, and what is built in."""

import json
from pathlib import Path

import numpy as np

from faltung import Model, nn
from faltung.explore.builtin import written
from faltung.explore.fields import fields, parts
from faltung.explore.measured import gradients, measured, smallest
from faltung.graph.sight import sights, span

BUILTIN = Path(__file__).parents[2] / "explorer/src/sections/fields_builtin.json"


def network() -> Model:
    """Two branches of different reach, a sum, and a head without positions."""
    net = nn.Sequential(
        nn.Conv(3, 3, padding=1),
        nn.Tanh(),
        nn.Parallel(nn.Conv(2, 1, name="one"), nn.Conv(2, 3, padding=1, dilation=1, name="three")),
        nn.AvgPool(2),
        nn.Flatten(),
        nn.Linear(2),
    )
    return Model(net, (1, 9, 8), seed=1)


def test_parts_and_edges() -> None:
    """What follows a layer is drawn with it; branches read the same part, and meet."""
    found = parts(network().graph)
    assert [part.name for part in found] == [
        "conv1", "parallel1.one", "parallel1.three", "parallel1", "avgpool1", "linear1",
    ]  # fmt: skip
    assert [part.reads for part in found] == [(-1,), (0,), (0,), (1, 2), (3,), (4,)]
    made = fields(network().graph, "<b>")
    assert made["title"] == "<b>" and made["layers"][0]["what"] == "Conv k3 p1, Tanh"
    assert made["layers"][3]["axes"] == [{"field": [5, 1, 0.5]}] * 2
    assert made["layers"][-1]["axes"] is None and "linear1" in made["layers"][-1]["why"]
    json.dumps(made)


def test_measured_lies_inside_theory() -> None:
    """No gradient reaches an entry outside of the field, and one reaches its ends."""
    model = network()
    seen = sights(model.graph)
    some = parts(model.graph)[:4]
    asked = [(part.rows[-1].name, [(4, 3), (0, 7)]) for part in some]
    for part, grads in zip(some, gradients(model, asked, None), strict=True):
        axes = seen[part.last.name].axes
        assert axes is not None
        for unit, grad in zip([(4, 3), (0, 7)], grads, strict=True):
            for axis, (along, place) in enumerate(zip(axes, unit, strict=True)):
                first, stop = span(along, place)
                reached = np.flatnonzero(grad.sum(1 - axis))
                assert reached[0] == max(first, 0)
                assert reached[-1] + 1 == min(stop, grad.shape[axis])
    found, said = measured(model, None)
    assert set(found) == {"conv1", "parallel1.one", "parallel1.three", "parallel1", "avgpool1"}
    assert all(one["inside"] == 1 for units in found.values() for one in units)
    assert "noise" in said


def test_smallest_box() -> None:
    """The box of most of a gradient begins at the centre, in the proportions of the field."""
    grad = np.zeros((11, 11))
    grad[5, 5], grad[5, 2] = 0.9, 0.1
    assert smallest(grad, [(0, 11), (0, 11)], 0.85) == [(5, 6), (5, 6)]
    assert smallest(grad, [(0, 11), (0, 11)], 1.0) == [(2, 9), (2, 9)]


def test_tokens_are_not_measured() -> None:
    """Tokens have no gradient, and the page says so."""
    net = nn.Sequential(nn.Embedding(9, 4), nn.Conv(3, 3), nn.Flatten(), nn.Linear(2))
    found, said = measured(Model(net, (7,), tokens=True), None)
    assert not found and "tokens" in said


def test_builtin_is_current() -> None:
    """The networks of the page are those that Python describes: `python -m
    faltung.explore.builtin explorer/src/sections` writes them.
    """
    assert BUILTIN.read_text("utf-8") == written()
