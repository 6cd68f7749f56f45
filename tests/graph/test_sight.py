"""What units see, derived from the graph alone, against what the builder notes and exact parts."""

from dataclasses import replace

import numpy as np
import pytest

from faltung import nets, nn
from faltung.geometry.axis import Axis
from faltung.geometry.field import Field, join, receptive_field
from faltung.graph.sight import sights, span
from faltung.graph.value import Graph
from faltung.graph.windows import spans
from faltung.nn import build


def random_net(rng: np.random.Generator) -> nn.Layer:
    """Convolutions, poolings, a block of branches, a sum, and the way back up."""

    def conv(stride: int = 1) -> nn.Layer:
        kernel, dilation = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        pad = dilation * (kernel - 1) // 2 if stride == 1 and kernel % 2 else 1
        padding = "same" if stride == 1 else pad
        return nn.Conv(4, kernel, stride=stride, dilation=dilation, padding=padding)

    branches = nn.Parallel(
        nn.Sequential(conv(), name="a"), nn.Sequential(conv(), nn.ReLU(), conv(), name="b")
    )
    return nn.Sequential(
        conv(), nn.BatchNorm(), nn.ReLU(), conv(2), branches, nn.Conv(4, 1),
        nn.Residual(nn.Sequential(conv(), nn.ReLU())), nn.MaxPool(2),
        nn.ConvTranspose(4, 2, stride=2), conv(),
    )  # fmt: skip


def test_chain_is_the_recursion() -> None:
    """The fields of a chain are those of ``receptive_field``."""
    graph = nets.graph("lenet5")
    chain = [Axis(32, 5), Axis(28, 2, stride=2), Axis(14, 5)]
    found = replace(graph, fields={})
    value = next(nodes[-1].output for name, nodes in graph.layers() if name == "conv2")
    assert sights(found)[value.name].axes == (receptive_field(chain),) * 2


def test_without_notes_the_same() -> None:
    """What the builder notes follows from the graph: branches, sums and transposes too."""
    rng = np.random.default_rng(3)
    graphs = [build(random_net(rng), (3, 24, 24)) for _ in range(12)]
    for graph in [*graphs, nets.graph("unet", input_shape=(1, 64, 64)), nets.graph("googlenet")]:
        derived = sights(replace(graph, fields={}))
        noted = {name: fields for name, fields in graph.fields.items() if fields is not None}
        assert len(noted) > 10
        for name, fields in noted.items():
            assert derived[name].axes == fields, name


def test_branches_are_joined() -> None:
    """A block sees what its branches see together."""
    net = nn.Parallel(nn.Conv(2, 3, padding=1), nn.Conv(2, 7, padding=3))
    graph = replace(build(net, (1, 16)), fields={})
    wide = Field().through(Axis(16, 7, lo=3, hi=3))
    narrow = Field().through(Axis(16, 3, lo=1, hi=1))
    assert sights(graph)[graph.output.name].axes == (join([wide, narrow]),)


@pytest.mark.parametrize("size", [2, 3])
def test_other_sizes_by_unit(size: int) -> None:
    """Where sizes change back between the phases of a stride, each unit has its exact span."""
    net = nn.Sequential(nn.Conv(2, 3, padding=1), nn.Upsample(scale=size), nn.Conv(2, 3, padding=1))
    graph = build(net, (1, 10))
    (along,) = sights(graph)[graph.output.name].axes or ()
    for unit in range(graph.output.space[0]):
        exact = exactly(graph, unit)
        first, stop = span(along, unit)
        assert (max(first, 0), min(stop, 10)) == exact


def exactly(graph: Graph, unit: int) -> tuple[int, int]:
    """The span of one unit, from the parts of a network that compute it."""
    wanted = {graph.output.name: ((unit, unit + 1),)}
    needed, _ = spans(graph.nodes, wanted, lambda node: (1,) * len(node.output.space))
    return needed[graph.input.name][0]


def test_gates_have_a_name() -> None:
    """A gate depends on everything; what it multiplies has positions, also without any notes."""
    graph = nets.graph("mobilenetv3small")
    value = next(nodes[-1].output for name, nodes in graph.layers() if name == "block1.gate")
    for one in (graph, replace(graph, fields={})):
        found = sights(one)
        assert found[value.name].axes == graph.fields[value.name]
        assert "block1.gate.mean" in found[value.name].why
        assert found[graph.output.name].axes is None
