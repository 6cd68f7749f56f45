"""Networks on paper: numbers against arithmetic and PyTorch, tables that can be read."""

import json
from typing import Any

import numpy as np
import pytest
from grid import grid
from nn.networks import NETWORKS, TOKENS, UNET

from faltung import nets, nn
from faltung.geometry.expr import operand
from faltung.graph.builder import Builder
from faltung.graph.initial import parameters
from faltung.graph.summary import Summary, summary
from faltung.graph.summary_table import BRIEF, short
from faltung.graph.value import Value
from faltung.plan import plan_forward


def of(net: nn.Layer, shape: tuple[int, ...], **options: Any) -> Summary:
    return summary(nn.build(net, shape, **options))


# Rows ---------------------------------------------------------------------------------------------


def test_everything_of_a_convolution() -> None:
    net = nn.Sequential(
        nn.Conv(8, (3, 5), stride=(2, 1), padding=("same", (0, 1)), groups=2, dilation=(1, 2)),
        nn.BatchNorm(),
        nn.ReLU(),
    )
    conv, norm, relu = of(net, (4, 9, 20)).rows
    assert (conv.name, conv.kind, conv.output) == ("conv1", "Conv", (8, 5, 13))
    assert conv.parameters == 8 * 2 * 15 + 8 and conv.kept == 0
    assert conv.macs == 8 * 5 * 13 * 2 * 15
    assert conv.bytes == 8 * 5 * 13 * 4
    assert conv.field == (3, 9)
    made = conv.as_dict()
    assert made["padding"] == [[1, 1], [0, 1]]
    assert made["stride"] == [2, 1] and made["dilation"] == [1, 2] and made["groups"] == 2
    assert made["kernel"] == [3, 5] and made["padding_mode"] == ["zeros", "zeros"]
    assert (norm.kind, norm.parameters, norm.kept, norm.macs) == ("BatchNorm", 16, 16, 0)
    assert (relu.kind, relu.spec, relu.method) == ("ReLU", None, None)


def test_kinds() -> None:
    odd = {
        "conv": "Conv",
        "transpose": "ConvTranspose",
        "local": "Local",
        "linear": "Linear",
        "linear of a map": "Linear",
        "batch norm": "BatchNorm",
        "group norm": "GroupNorm",
        "layer norm of vectors": "LayerNorm",
        "response norm": "LocalResponseNorm",
        "response norm odd power": "LocalResponseNorm",
        "max pool": "MaxPool",
        "average pool": "AvgPool",
        "global average": "GlobalAvgPool",
        "embedding padded": "Embedding",
        "flattened alone": "Flatten",
        "residual of itself": "Add",
        "parallel of vectors": "Concat",
    }
    for name, (net, shape) in NETWORKS.items():
        rows = of(net, shape, tokens=name in TOKENS).rows
        if name in odd:
            assert rows[-1].kind == odd[name]
        if name.startswith("activation"):
            assert [row.kind for row in rows] == [type(net).__name__]
        known = {"Add", "Concat", *dir(nn)}
        assert all(row.kind in known for row in rows), name


# Layers that a table names on the line of the layer before them.
FOLLOWERS = (
    "ReLU ReLU6 LeakyReLU ELU Sigmoid Tanh SiLU GELU Softplus HardSigmoid HardSwish "
    "BatchNorm GroupNorm LayerNorm LocalResponseNorm Dropout Flatten Softmax LayerScale "
    "PositionEmbedding Quantise Formula"
).split()


def test_what_follows_a_layer_and_what_stands_alone() -> None:
    rows = [*of(nn.Dropout(0.5), (3, 4), training=True).rows]
    for name, (net, shape) in NETWORKS.items():
        rows += of(net, shape, tokens=name in TOKENS).rows
    assert {row.kind for row in rows} >= {*FOLLOWERS, "Conv", "Linear", "MaxPool", "Add", "Concat"}
    for row in rows:
        assert row.follows == (row.kind in FOLLOWERS), row
    alone = (
        (nn.GlobalAvgPool(), (3, 1)),
        (nn.MaxPool(1), (3, 4)),
        (nn.Residual(nn.Identity()), (3, 4)),
        (nn.Embedding(9, 1), (4,)),
    )
    for net, shape in alone:  # as many numbers as they read
        assert not of(net, shape, tokens=shape == (4,)).rows[-1].follows


def test_a_layer_of_ones_own_is_called_by_its_name() -> None:
    class Double(nn.Layer):
        def build(self, b: Builder, x: Value) -> Value:
            return b.elementwise(operand(0) + operand(0), x)

    (conv, own) = of(nn.Sequential(nn.Conv(2, 3), Double()), (1, 5)).rows
    assert (own.kind, own.follows) == ("Double", True) and not conv.follows


def test_short_names_are_of_layers() -> None:
    assert set(BRIEF) <= set(dir(nn))


@pytest.mark.parametrize("name", nets.NETS)
def test_totals_are_those_of_the_graph(name: str) -> None:
    row = nets.NETS[name]
    graph = nets.graph(name, training=name == "googlenet", **row.options)
    found = summary(graph)
    trained = [p.size for p in graph.parameters if p.trained]
    assert found.parameters == sum(trained)
    assert found.parameters + found.kept == sum(p.size for p in graph.parameters)
    assert found.activations >= found.live - 4 * graph.input.size


# Multiply-adds as published, in millions: the papers', and those of PyTorch's counters.
MACS = {"alexnet": 714, "vgg16": 15_470, "resnet18": 1814, "resnet50": 4089, "mobilenetv2": 301}


@pytest.mark.parametrize("name", MACS)
def test_multiply_adds_as_published(name: str) -> None:
    assert round(summary(nets.graph(name)).macs / 1e6) == MACS[name]


def test_multiply_adds_are_those_that_pytorch_counts() -> None:
    torch = pytest.importorskip("torch")
    from nn import twin
    from torch.utils.flop_counter import FlopCounterMode

    for net, shape in ((UNET, (2, 8, 8)), (nets.get("googlenet", classes=5), (3, 64, 64))):
        graph = nn.build(net, shape)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin.run(net, graph, parameters(graph), np.zeros((1, *shape)))
        assert counter.get_total_flops() == 2 * summary(graph).macs


def test_what_lives_at_once() -> None:
    net = nn.Sequential(nn.Conv(4, 1), nn.Parallel(nn.Identity(), nn.Conv(8, 1)), nn.Conv(1, 1))
    found = of(net, (2, 10))
    assert found.activations == 4 * 10 * (4 + 8 + 12 + 1)
    assert found.live == 4 * 10 * (4 + 8 + 12)
    assert of(net, (2, 10), dtype="float64").live == 2 * found.live
    chain = nn.Sequential(*[nn.Conv(4, 1) for _ in range(9)])
    assert of(chain, (4, 10)).live == 4 * 10 * (4 + 4)


def test_no_weight_is_made_and_no_step_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is paper: a network of 138 million weights takes no memory for them."""
    import tracemalloc

    graph = nets.graph("vgg16")
    tracemalloc.start()
    found = summary(graph)
    json.dumps(found.as_dict())
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert found.parameters == 138_357_544


def test_fields_on_branches() -> None:
    rows = {row.name: row for row in summary(nets.graph("googlenet")).rows}
    assert rows["inception3a"].field == (43, 43)
    assert rows["inception3a.one.conv1"].field == (27, 27)
    assert rows["linear1"].field is None


def test_the_method_is_that_of_the_plan() -> None:
    rows = summary(nets.graph("mobilenetv2")).rows
    assert "depthwise" in {row.method for row in rows}
    for row in rows[:10]:
        if row.kind == "Conv":
            plan = plan_forward(row.spec, channels_last=True)  # type: ignore[arg-type]
            assert row.method == plan.reasons[0][1][0].name
    assert of(nn.Local(2, 3), (1, 8)).rows[0].method == "local"
    assert of(nn.ConvTranspose(2, 3, stride=2), (1, 8)).rows[0].method is not None


def test_json_holds_everything() -> None:
    found = json.loads(json.dumps(summary(nets.graph("tcn", classes=3)).as_dict()))
    assert found["input"] == [1, 784] and found["output"] == [3]
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert found["layers"][0]["padding"] == [[6, 0]]
    assert found["layers"][0]["receptive_field"] == [7]
    assert found["layers"][-1]["receptive_field"] is None


# Tables -------------------------------------------------------------------------------------------


@grid(training=[False, True], name=nets.NETS, every=2)
def test_tables_fit(name: str, training: bool) -> None:
    found = summary(nets.graph(name, training=training))
    for depth in (None, 1, 2, 9):
        lines = found.table(depth, methods=depth is None).splitlines()
        assert max(map(len, lines)) <= 100
        assert not any(line.endswith(" ") for line in lines)
        if depth is None:
            assert len(lines) <= 64 + 6
    assert str(found) == found.table()


def test_a_small_table_word_for_word() -> None:
    net = nn.Sequential(
        nn.Conv(8, 3, padding="same", name="stem"),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv(8, 3, padding=1), nn.ReLU(), name="body"), name="block"),
        nn.ReLU(),
        nn.MaxPool(3, stride=2, ceil=True),
        nn.GlobalAvgPool(),
        nn.Linear(4),
    )
    found = of(net, (1, 8, 6))
    assert found.table(methods=False) == OPEN
    assert found.table(1, methods=False) == CLOSED


OPEN = """\
layer                                 output  sees  parameters    MACs   memory
-------------------------------------------------------------------------------
stem            Conv k3 p1, BN, ReLU  8x8x6   3             96  3.46 k  4.61 kB
block
  body
    conv1       Conv k3 p1, ReLU      8x8x6   5            584  27.6 k  3.07 kB
                Add, ReLU             8x8x6   5                         3.07 kB
maxpool1        MaxPool k3 s2 p(0,1)  8x4x3   7                           384 B
globalavgpool1  GlobalAvgPool         8                                    32 B
linear1         Linear                4                     36      32     16 B
-------------------------------------------------------------------------------
1x8x6 -> 4, float32, inference
716 parameters and 16 running statistics, 2.93 kB
for one sample: 31.1 k multiply-adds, activations 11.2 kB, at most 4.61 kB at once"""
CLOSED = """\
layer                                 output  sees  parameters    MACs   memory
-------------------------------------------------------------------------------
stem            Conv k3 p1, BN, ReLU  8x8x6   3             96  3.46 k  4.61 kB
block           Conv k3 p1, Add       8x8x6   5            584  27.6 k  6.14 kB
maxpool1        MaxPool k3 s2 p(0,1)  8x4x3   7                           384 B
globalavgpool1  GlobalAvgPool         8                                    32 B
linear1         Linear                4                     36      32     16 B
-------------------------------------------------------------------------------
1x8x6 -> 4, float32, inference
716 parameters and 16 running statistics, 2.93 kB
for one sample: 31.1 k multiply-adds, activations 11.2 kB, at most 4.61 kB at once"""


def test_googlenet_can_be_read() -> None:
    text = str(summary(nets.graph("googlenet")))
    assert text.count("\n") < 70
    for part in (
        "  three         Conv k1, Conv k3 p1",
        "MaxPool k3 s2 p(0,1)",
        "6,624,904 parameters and 14,560 running statistics, 26.6 MB",
        "for one sample: 1.5 G multiply-adds",
    ):
        assert part in text
    assert "…" not in text


def test_long_names_are_cut() -> None:
    net = nn.Sequential(nn.Conv(3, 3, name="x" * 90), nn.ReLU())
    lines = str(of(net, (1, 5))).splitlines()
    assert max(map(len, lines)) <= 100 and "…" in lines[2]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, ""),
        (7, "7"),
        (999, "999"),
        (1000, "1 k"),
        (1536, "1.54 k"),
        (999_600, "1 M"),
        (4e15, "4 P"),
    ],
)
def test_prefixes(number: float, text: str) -> None:
    assert short(number) == text
