"""A graph in the making: names, flattening, and what units see on branching networks."""

from itertools import product

import numpy as np
import pytest
from graph import interpreter
from nn.networks import INCEPTION, UNET

from faltung import nn
from faltung.geometry.expr import maximum, operand
from faltung.geometry.field import Field
from faltung.graph.builder import Builder
from faltung.graph.initial import parameters
from faltung.graph.ops import Concat, Convolve, Elementwise, Reshape
from faltung.graph.value import Graph, Value


def names(graph: Graph) -> list[str]:
    return [p.name for p in graph.parameters]


# Names --------------------------------------------------------------------------------------------


def test_kinds_and_numbers() -> None:
    net = nn.Sequential(nn.Conv(2, 1), nn.Conv(2, 1, bias=False), nn.BatchNorm(), nn.Conv(2, 1))
    assert names(nn.build(net, (1, 3))) == [
        "conv1.weight",
        "conv1.bias",
        "conv2.weight",
        "batchnorm1.weight",
        "batchnorm1.bias",
        "batchnorm1.running_mean",
        "batchnorm1.running_var",
        "conv3.weight",
        "conv3.bias",
    ]


def test_given_names_and_numbers_do_not_meet() -> None:
    layers = [nn.Conv(2, 1, bias=False, name=name) for name in ("conv2", None, None, "conv")]
    graph = nn.build(nn.Sequential(*layers), (1, 3))
    assert names(graph) == ["conv2.weight", "conv1.weight", "conv3.weight", "conv.weight"]


def test_names_of_what_is_inside() -> None:
    block = nn.Residual(nn.Sequential(nn.Linear(3, bias=False), name="body"), name="block")
    net = nn.Sequential(nn.Sequential(block, nn.Residual(nn.Linear(3, bias=False)), name="stage"))
    assert names(nn.build(net, (3,))) == [
        "stage.block.body.linear1.weight",
        "stage.residual1.linear1.weight",
    ]


def test_one_layer_alone_has_a_name_too() -> None:
    assert names(nn.build(nn.Linear(2, bias=False), (3,))) == ["linear1.weight"]
    assert names(nn.build(nn.Linear(2, bias=False, name="a"), (3,))) == ["a.weight"]


def test_the_same_object_twice_is_two_layers() -> None:
    layer = nn.Linear(3, bias=False)
    assert names(nn.build(nn.Sequential(layer, layer), (3,))) == [
        "linear1.weight",
        "linear2.weight",
    ]


def test_values_and_parameters_have_names_of_their_own() -> None:
    graph = nn.build(nn.Sequential(INCEPTION, INCEPTION, nn.LocalResponseNorm()), (3, 6, 6))
    made = [value.name for node in graph.nodes for value in node.outputs] + names(graph)
    assert len(set(made)) == len(made)
    known = {graph.input.name, *names(graph)}
    for node in graph.nodes:  # in an order in which they can be computed
        assert {value.name for value in node.inputs} <= known
        known |= {value.name for value in node.outputs}


def test_nodes_by_layer() -> None:
    graph = nn.build(nn.Sequential(nn.LocalResponseNorm(), nn.ReLU()), (3, 6))
    found = {name: len(nodes) for name, nodes in graph.layers()}
    assert found == {"localresponsenorm1": 3, "relu1": 1}
    assert graph.parameters == ()
    with pytest.raises(ValueError, match=r"^name='a': no parameter of this network has this name$"):
        graph.parameter("a")


# Flattening ---------------------------------------------------------------------------------------


def test_a_linear_layer_reads_the_map() -> None:
    net = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Dropout(0.1), nn.Linear(5, bias=False))
    for training in (False, True):
        graph = nn.build(net, (3, 4, 2), training=training)
        last = graph.nodes[-1]
        assert isinstance(last.op, Convolve) and last.op.spec.kernel == (4, 2)
        assert not any(isinstance(node.op, Reshape) for node in graph.nodes)
        assert graph.parameter("linear1.weight").shape == (5, 24)
        assert graph.parameter("linear1.weight").inner == (5, 3, 4, 2)
        assert all(type(value) is Value for node in graph.nodes for value in node.inputs)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm(), nn.GroupNorm(2), nn.Softmax(), nn.Parallel(nn.ReLU(), nn.ReLU())]
)
def test_others_get_a_vector(layer: nn.Layer) -> None:
    graph = nn.build(nn.Sequential(nn.Flatten(), layer), (3, 4, 2))
    assert isinstance(graph.nodes[0].op, Reshape)
    assert graph.output.shape[0] in (24, 48) and not graph.output.space


def test_flattening_is_for_the_branch_alone() -> None:
    """What a branch does to its view of a value does not reach the others."""
    head = nn.Sequential(nn.Flatten(), nn.Linear(4))
    net = nn.Sequential(nn.Conv(2, 3), nn.Auxiliary(head), nn.Conv(3, 3), nn.GlobalAvgPool())
    graph = nn.build(net, (1, 6, 6), training=True)
    assert graph.output.shape == (3,)
    assert graph.auxiliaries[0].output.shape == (4,) and graph.auxiliaries[0].weight == 0.3
    assert nn.build(net, (1, 6, 6)).auxiliaries == ()


def test_the_output_is_what_people_see() -> None:
    graph = nn.build(nn.Sequential(nn.Conv(2, 1), nn.Flatten()), (3, 2, 2))
    assert graph.output.shape == (8,)
    net = nn.Auxiliary(nn.Flatten())
    graph = nn.build(nn.Sequential(nn.ReLU(), net, nn.ReLU()), (3, 2), training=True)
    assert graph.auxiliaries[0].output.shape == (6,)


# What units see -----------------------------------------------------------------------------------


def seen(graph: Graph, value: str) -> dict[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """For each unit of a value the box of the inputs that change it, by changing each."""
    rng = np.random.default_rng(2)
    drawn = {name: abs(array) + 0.1 for name, array in parameters(graph).items()}
    x = rng.uniform(1, 2, (1, *graph.input.shape))
    before = interpreter.values(graph, drawn, x)[value][0].sum(axis=0)
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for place in product(*map(range, graph.input.space)):
        changed = x.copy()
        changed[(0, slice(None), *place)] += 0.5
        after = interpreter.values(graph, drawn, changed)[value][0].sum(axis=0)
        for unit in zip(*np.nonzero(abs(after - before) > 1e-9), strict=True):
            found.setdefault(tuple(map(int, unit)), []).append(place)
    return {
        unit: tuple((min(axis), max(axis) + 1) for axis in zip(*places, strict=True))
        for unit, places in found.items()
    }


BRANCHING = {
    "inception": (INCEPTION, (1, 11)),
    "strided": (
        nn.Sequential(nn.Conv(2, 4, stride=2, padding=1), nn.ReLU(), INCEPTION),
        (1, 18),
    ),
    "residual": (
        nn.Sequential(
            nn.Residual(
                nn.Sequential(nn.Conv(2, 3, padding="same"), nn.ReLU()), shortcut=nn.Conv(2, 1)
            ),
            nn.AvgPool(2),
            nn.Residual(nn.Conv(2, 3, dilation=2, padding="causal")),
        ),
        (1, 20),
    ),
    "sides": (
        nn.Parallel(nn.Conv(1, 3, padding="causal"), nn.Conv(1, (2, 3), padding=((0, 1), (1, 1)))),
        (1, 6, 7),
    ),
}


@pytest.mark.parametrize("name", BRANCHING)
def test_fields_by_changing_every_input(name: str) -> None:
    net, shape = BRANCHING[name]
    graph = nn.build(net, shape, dtype="float64")
    fields = graph.fields[graph.output.name]
    assert fields is not None
    for unit, boxes in seen(graph, graph.output.name).items():
        for at, box, field, size in zip(unit, boxes, fields, shape[1:], strict=True):
            first, stop = field.interval(at)
            assert max(first, 0) <= box[0] and box[1] <= min(stop, size)
            if first >= 0 and stop <= size:  # at a border the field may end in a gap of a dilation
                assert box == (first, stop)


def test_fields_of_a_unet_cover_all_that_is_seen() -> None:
    graph = nn.build(UNET, (1, 16), dtype="float64")
    (field,) = graph.fields[graph.output.name] or ()
    assert field.jump == 1
    widest = 0
    for (at,), ((first, stop),) in seen(graph, graph.output.name).items():
        low, high = field.interval(at)
        assert low <= first and stop <= high
        widest = max(widest, stop - first)
    assert widest == field.size - 1  # each phase of the transpose sees one end of the field


def test_where_positions_are_gone_there_is_no_field() -> None:
    net = nn.Sequential(nn.Conv(2, 3), nn.GlobalAvgPool(), nn.Linear(2))
    graph = nn.build(net, (1, 8, 8))
    known = [graph.fields[node.output.name] for node in graph.nodes]
    assert known == [(Field(3, 1, 1.5),) * 2, None, None]
    uneven = nn.Parallel(nn.MaxPool(2), nn.Conv(1, 2, dilation=3))
    graph = nn.build(uneven, (1, 6))
    assert isinstance(graph.nodes[-1].op, Concat)
    assert graph.fields[graph.output.name] is None  # jumps 2 and 1
    graph = nn.build(nn.ConvTranspose(1, 2, stride=2), (1, 6))
    assert graph.fields[graph.output.name] is None  # units between the entries of the input


def test_fields_of_tokens() -> None:
    net = nn.Sequential(nn.Embedding(9, 2), nn.Conv(2, 3), nn.MaxPool(4))
    graph = nn.build(net, (6,), tokens=True)
    assert [graph.fields[node.output.name] for node in graph.nodes] == [
        (Field(),),
        (Field(3, 1, 1.5),),
        (Field(6, 4, 3.0),),
    ]


# The builder itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "said"),
    [
        ((), "float32", "input_shape=(): must be (C, *space), all at least 1"),
        ((3, 0), "float32", "input_shape=(3, 0): must be (C, *space), all at least 1"),
        ((3, 4), "int8", "dtype='int8': must be one of float32, float64"),
    ],
)
def test_refusals(shape: tuple[int, ...], dtype: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        Builder(shape, dtype=dtype)
    assert str(error.value) == said


def test_formulas_and_what_they_read() -> None:
    b = Builder((2, 3, 4))
    with b.layer("Gate", None) as name:
        key = b.outside("rate")
        made = b.elementwise(maximum(operand(0), operand(1)) * operand(2), b.input, b.input, key)
    assert name == "gate1" and key == Value("gate1.rate", (), batched=False)
    graph = b.graph(made)
    (node,) = graph.nodes
    assert isinstance(node.op, Elementwise) and node.op.shape == (2, 3, 4)
    assert node.layer == "gate1" and node.output == graph.output
    assert graph.fields[made.name] == (Field(), Field())
