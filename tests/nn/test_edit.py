"""Layers found by their names, and replaced: names against those that a network gets when it is
built, and what it computes against what it computed before.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from graph import interpreter
from grid import grid, rows
from nets.small import SMALL
from nn.networks import NETWORKS

from faltung import nets, nn
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.builder import Builder
from faltung.graph.initial import parameters
from faltung.graph.value import Graph
from faltung.nn.edit import before, behind, edit, paths, without
from faltung.nn.layer import Layer
from faltung.nn.text import parse

# Layers that make further layers by themselves, under names that they give.
MAKERS = (nn.SqueezeExcite, nn.Attention)
NET = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Conv(4, 1), nn.ReLU())


class Recorder(Builder):
    """A builder that notes what is built, in order."""

    found: list[tuple[str, Layer]]

    @contextmanager
    def layer(self, kind: str, name: str | None, layer: Any = None) -> Iterator[str]:
        with Builder.layer(self, kind, name, layer) as made:
            self.found.append((made, layer))
            yield made


def built(net: Layer, shape: Sequence[int], tokens: bool) -> list[tuple[str, Layer]]:
    b = Recorder(shape, training=True, tokens=tokens)
    b.found = []
    net.build(b, b.input) if net.bare else net(b, b.input)
    return b.found


def small(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> tuple[Layer, bool]:
    tokens = nets.row(name).kind == "text"
    return nets.get(name, classes=4, input_shape=shape, **options), tokens


def check_names(net: Layer, shape: Sequence[int], tokens: bool) -> None:
    known = paths(net)
    found = dict(built(net, shape, tokens))
    assert list(known) == [name for name in found if name in known]
    assert all(layer is found[name] for name, layer in known.items())
    for name in found.keys() - known.keys():
        assert isinstance(found[name.rpartition(".")[0]], MAKERS)


@grid(name_shape_options=rows("name shape options", SMALL), every=1)
def test_names_are_those_of_the_builder(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    net, tokens = small(name, shape, options)
    check_names(net, shape, tokens)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_of_every_layer(name: str) -> None:
    net, shape = NETWORKS[name]
    tokens = any(isinstance(layer, nn.Embedding) for layer in paths(net).values())
    check_names(net, shape, tokens)


def numbered(graph: Graph) -> list[object]:
    """A graph without names: values are the numbers of what made them."""
    made = [*graph.inputs, *(p.value for p in graph.parameters)]
    made += [value for node in graph.nodes for value in node.outputs]
    number = {value.name: i for i, value in enumerate(made)}
    nodes = [
        (n.op, [number.get(v.name) for v in n.inputs], n.outputs[0].shape) for n in graph.nodes
    ]
    return [*nodes, [(p.shape, p.inner, p.order) for p in graph.parameters]]


@grid(name_shape_options=rows("name shape options", SMALL), every=1)
def test_layers_that_do_nothing_change_nothing(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    """One before and one behind every layer, at all depths at once."""
    net, tokens = small(name, shape, options)
    net = parse(repr(net))  # tuples for lists
    known = paths(net)
    none = nn.Identity()
    edits = {p: (none, v, none) for p, v in known.items() if not isinstance(v, nn.Read)}
    made = edit(net, edits)
    assert parse(repr(made.net)) == made.net and not made.gone
    assert made.moved.keys() == known.keys()
    now = paths(made.net)
    assert all(type(now[new]) is type(known[old]) for old, new in made.moved.items())
    old = nn.build(net, shape, training=True, tokens=tokens)
    new = nn.build(made.net, shape, training=True, tokens=tokens)
    assert [made.parameter(p.name) for p in old.parameters] == [p.name for p in new.parameters]
    assert numbered(old) == numbered(new)


@grid(name_shape_options=rows("name shape options", SMALL), every=1)
def test_nothing_else_is_renamed(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    """Each convolution gets one of its kind behind it: numbers of all others would move."""
    net, tokens = small(name, shape, options)
    known = paths(net)
    convs = {p: layer for p, layer in known.items() if type(layer) is nn.Conv}
    edits = {p: (layer, nn.Conv(layer.channels, 1)) for p, layer in convs.items()}
    made = edit(net, edits)
    assert not made.gone
    alone = [old for old, new in made.moved.items() if old != new]
    # A convolution that is the whole of a branch, a body or what a Read holds.
    for old in alone:
        assert made.moved[old] == f"{old}.{old.rpartition('.')[2]}"
    before = nn.build(net, shape, training=True, tokens=tokens)
    after = nn.build(made.net, shape, training=True, tokens=tokens)
    shapes = {p.name: p.shape for p in after.parameters}
    assert [shapes[made.parameter(p.name) or ""] for p in before.parameters] == [
        p.shape for p in before.parameters
    ]
    count = len(before.parameters) + 2 * len(edits)
    assert len(shapes) == count


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenetv3small", "yoloxnano"])
def test_layers_of_one_class_are_removed(name: str) -> None:
    shape = (3, 32, 32)
    net = nets.get(name, classes=4, input_shape=shape, width=0.25)
    norms = [p for p, layer in paths(net).items() if isinstance(layer, nn.BatchNorm)]
    made = without(net, *norms)
    assert made.gone == set(norms)
    assert not any(isinstance(layer, nn.BatchNorm) for layer in paths(made.net).values())
    rest = [p.name for p in nn.build(net, shape).parameters]
    rest = [p for p in rest if p.rpartition(".")[0] not in made.gone]
    assert [p.name for p in nn.build(made.net, shape).parameters] == rest
    assert made.parameter(f"{norms[0]}.weight") is None


def names(net: Layer) -> list[str]:
    return list(paths(net))


def test_who_gets_the_old_name() -> None:
    """The layer itself, else the only new one, else the only new one of its class."""
    conv = paths(NET)["conv1"]
    made = edit(NET, {"conv1": (nn.Conv(8, 1), conv)})
    assert names(made.net) == ["conv1_conv", "conv1", "relu1", "conv2", "relu2"]
    made = edit(NET, {"conv1": nn.Local(8, 3)})
    assert names(made.net)[0] == "conv1" and made.gone == {"conv1"}
    made = edit(NET, {"conv1": (nn.ReLU(), nn.Conv(9, 3))})
    assert names(made.net) == ["conv1_relu", "conv1", "relu1", "conv2", "relu2"]
    assert made.moved["conv1"] == "conv1"
    made = edit(NET, {"conv1": (nn.Conv(9, 1), nn.Conv(8, 3))})
    assert names(made.net) == ["conv1_conv1", "conv1_conv2", "relu1", "conv2", "relu2"]
    made = edit(NET, {"conv1": nn.Conv(9, 3, name="other")})
    assert made.parameter("conv1.bias") == "other.bias"


def test_where_there_is_room_for_one_layer() -> None:
    block = nn.Residual(nn.Conv(3, 1), shortcut=nn.Sequential(nn.Conv(3, 3, padding=1), nn.ReLU()))
    made = behind(block, "residual1.conv1", nn.BatchNorm())
    assert names(made.net)[:3] == ["residual1", "residual1.conv1", "residual1.conv1.conv1"]
    # A sequence takes new layers in.
    made = behind(block, "residual1.sequential1", nn.Conv(3, 1))
    assert repr(made.net) == (
        "Residual(Conv(3, 1), shortcut=Sequential(Conv(3, 3, padding=1), ReLU(), "
        "Conv(3, 1, name='sequential1_conv')))"
    )
    made = without(block, "residual1.sequential1")
    assert made.net == nn.Residual(nn.Conv(3, 1), shortcut=nn.Identity(name="sequential1"))
    # A whole network that is one layer becomes a sequence.
    made = before(nn.Conv(3, 1), "conv1", nn.Conv(5, 1))
    assert names(made.net) == ["conv1_conv", "conv1"]
    made = without(nn.Sequential(nn.Sequential(nn.ReLU(), name="all"), nn.Tanh()), "all.relu1")
    assert names(made.net) == ["all", "all.identity1", "tanh1"]


def test_names_that_others_read_stay_what_they_were() -> None:
    net = nn.Wired(
        nn.Conv(8, 3, padding=1, name="fine"),
        nn.ReLU(),
        nn.Conv(4, 3, padding=1),
        nn.Read(nn.Conv(4, 1), "fine"),
    )
    made = edit(net, {"wired1.fine": (net.layers[0], nn.Tanh()), "wired1.relu1": ()})
    assert names(made.net)[1:4] == ["wired1.fine", "wired1.fine.fine", "wired1.fine.fine_tanh"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 3, 5, 5))
    old, new = (nn.build(n, (3, 5, 5), dtype="float64") for n in (net, made.net))
    given = parameters(old)
    first = {f"fine.{word}": given[f"wired1.fine.{word}"] for word in ("weight", "bias")}
    fine = interpreter.run(nn.build(net.layers[0], (3, 5, 5), dtype="float64"), first, x)
    weight = given["wired1.read1.conv1.weight"][:, :, 0, 0]
    want = np.einsum("oc,bchw->bohw", weight, np.tanh(fine))
    got = interpreter.run(new, made.parameters(given), x)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    with pytest.raises(FaltungError, match=r"a Read has one layer in its place; .*read1.conv1"):
        without(net, "wired1.read1")
    inner = before(net, "wired1.read1.conv1", nn.ReLU())
    assert nn.build(inner.net, (3, 5, 5)).output.shape == (4, 5, 5)


def test_edits_within_a_layer_that_stays_beside_new_ones() -> None:
    net = nn.Sequential(nn.Residual(nn.Conv(3, 1)), nn.Conv(3, 1))
    block = paths(net)["residual1"]
    made = edit(net, {"residual1": (block, nn.ReLU()), "residual1.conv1": nn.Conv(3, 3, padding=1)})
    assert repr(made.net) == (
        "Sequential(Residual(Conv(3, 3, padding=1)), ReLU(name='residual1_relu'), Conv(3, 1))"
    )
    with pytest.raises(FaltungError, match=r"'residual1\.conv1': is within 'residual1'"):
        edit(net, {"residual1": nn.ReLU(), "residual1.conv1": nn.ReLU()})


def test_what_cannot_be_edited() -> None:
    with pytest.raises(FaltungError, match=r"path='conv3': must be the name .* such as conv2"):
        edit(NET, {"conv3": nn.ReLU()})
    with pytest.raises(FaltungError, match="path='conv9'"):
        behind(NET, "conv9", nn.ReLU())
    with pytest.raises(FaltungTypeError, match="must be layers"):
        edit(NET, {"conv1": (3,)})  # type: ignore[dict-item]
    with pytest.raises(FaltungError, match="name='conv2': a layer beside it"):
        edit(NET, {"conv1": nn.Conv(3, 1, name="conv2")})
