"""Every network of the table: published numbers of parameters, small inputs, others' values."""

import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from graph import interpreter
from grid import grid, rows
from nets.small import SMALL
from onnx_networks import vision

from faltung import nets, nn
from faltung.formats.torch_names import is_timm, ordered
from faltung.graph.initial import parameters
from faltung.graph.ops import Concat, Convolve, Pool
from faltung.graph.value import Graph, Parameter
from faltung.nets.table import ALIASES, KINDS
from faltung.train.pretrained import fitted, layers_of

NAMES = pytest.mark.parametrize("name", nets.NETS)


def count(graph: Graph) -> int:
    return sum(p.size for p in graph.parameters if p.trained)


# What is published --------------------------------------------------------------------------------


@NAMES
def test_published_number_of_parameters(name: str) -> None:
    row = nets.NETS[name]
    graph = nets.graph(name, **row.options)
    assert count(graph) == row.parameters
    assert graph.output.shape[0] == row.classes + 5 * (row.kind == "boxes")
    assert row.kind in KINDS and 1990 < row.year < 2030 and row.title and row.authors
    assert row.options.keys() <= row.arguments().keys()


# Other forms whose numbers are known: those of torchvision's documentation and code.
OTHERS: list[tuple[str, dict[str, Any], int]] = [
    ("alexnet", {}, 61_100_840),
    ("vgg16", {"normalisation": "batch"}, 138_361_768),  # without the biases that torchvision keeps
    ("googlenet", {}, 6_624_904),
    ("googlenet", {"training": True}, 13_004_888),
    ("googlenet", {"training": True, "auxiliary": False}, 6_624_904),
    ("googlenet", {"training": True, "normalisation": "lrn"}, 13_378_280),
    ("resnet50", {"paper": True}, 25_557_032),
    ("mobilenetv2", {"width": 1.4}, 6_108_776),
    ("mobilenetv2", {"width": 0.5}, 1_968_680),
    ("shufflenetv2", {"width": 0.5}, 1_366_792),
    ("shufflenetv2", {"width": 1.5}, 3_503_624),
    ("shufflenetv2", {"width": 2.0}, 7_393_996),
    ("deeplabv3", {"training": True}, 42_004_074),
    ("c3d", {"classes": 101}, 78_409_573),
    ("lenet5", {"paper": True}, 61_706),
]


@pytest.mark.parametrize(("name", "options", "number"), OTHERS)
def test_other_forms(name: str, options: dict[str, Any], number: int) -> None:
    assert count(nets.graph(name, **options)) == number


def scales(graph: Graph) -> list[Parameter]:
    """Factors that start so small that what they scale would make no difference."""
    return [p for p in graph.parameters if p.initial == 1e-6]


def shapes(graph: Graph, kind: type, channels: int) -> list[tuple[int, ...]]:
    """Sizes of the outputs of one kind with so many channels, each once, in order."""
    found = [n.output.shape for n in graph.nodes if isinstance(n.op, kind)]
    return list(dict.fromkeys(shape[1:] for shape in found if shape[0] == channels))


def test_sizes_on_the_way_are_those_of_the_papers() -> None:
    graph = nets.graph("lenet5")
    assert [n.output.shape for n in graph.nodes if isinstance(n.op, Convolve)] == [
        (6, 28, 28),
        (16, 10, 10),
        (120,),
        (84,),
        (10,),
    ]
    graph = nets.graph("alexnet", paper=True)
    assert shapes(graph, Convolve, 96) == [(55, 55)]
    assert shapes(graph, Pool, 256) == [(13, 13), (6, 6)]
    graph = nets.graph("googlenet", normalisation="lrn", training=True)  # Table 1
    assert shapes(graph, Convolve, 192)[0] == (56, 56)
    assert shapes(graph, Pool, 480) == [(14, 14)]  # before 4a
    assert shapes(graph, Concat, 480) == [(28, 28)]
    assert shapes(graph, Pool, 832) == [(7, 7)]
    assert shapes(graph, Pool, 512)[-1] == (14, 14)
    assert [a.weight for a in graph.auxiliaries] == [0.3, 0.3]
    pooled = [n.output.shape for n in graph.nodes if ".avgpool" in n.layer]
    assert pooled == [(512, 4, 4), (528, 4, 4)]
    assert shapes(nets.graph("resnet50"), Convolve, 2048) == [(7, 7)]
    assert shapes(nets.graph("c3d"), Pool, 512) == [(2, 7, 7), (1, 4, 4)]


# torchvision and timm, where they are installed: their weights, in no order, are ours -------------

TORCHVISION: dict[str, tuple[str, int, dict[str, Any]]] = {
    "alexnet": ("alexnet", 224, {}),
    "vgg16": ("vgg16", 224, {}),
    "googlenet": ("googlenet", 128, {"init_weights": False}),
    "resnet18": ("resnet18", 128, {}),
    "resnet50": ("resnet50", 128, {}),
    "mobilenetv2": ("mobilenet_v2", 128, {}),
    "densenet121": ("densenet121", 64, {}),
    "shufflenetv2": ("shufflenet_v2_x1_0", 64, {}),
    "mobilenetv3large": ("mobilenet_v3_large", 64, {}),
    "mobilenetv3small": ("mobilenet_v3_small", 64, {}),
    "efficientnetb0": ("efficientnet_b0", 64, {}),
    "efficientnetb5": ("efficientnet_b5", 64, {}),
    "convnexttiny": ("convnext_tiny", 64, {}),
    "vitbase": ("vit_b_16", 64, {"image_size": 64}),
    "deeplabv3": (
        "segmentation.deeplabv3_resnet50",
        64,
        {"weights_backbone": None, "aux_loss": True},
    ),
    "resnet3d18": ("video.r3d_18", 64, {}),
}
# The same of timm.
TIMM = {
    "mobilevitxxs": "mobilevit_xxs",
    "mobilevits": "mobilevit_s",
    "timm mobilenetv2": "mobilenetv2_100",
    "timm mobilenetv3large": "mobilenetv3_large_100",
    "timm efficientnetb5": "efficientnet_b5",
    "timm convnexttiny": "convnext_tiny",
    "timm vittiny": "vit_tiny_patch16_224",
}


@pytest.mark.parametrize("name", [*TORCHVISION, *TIMM])
def test_values_are_those_of_torchvision_and_timm(name: str) -> None:
    torch = pytest.importorskip("torch")
    wanted = ["timm", "torchvision"] if name in TIMM else ["torchvision"]  # timm imports it
    if missing := [each for each in wanted if find_spec(each) is None]:
        pytest.skip(f"needs {' and '.join(missing)}")
    models = vision()
    from nn import twin

    if name in TIMM:
        size, options = 64, {"img_size": 64} if "vit_tiny" in TIMM[name] else {}
        model = import_module("timm").create_model(TIMM[name], num_classes=7, **options)
    else:
        path, size, options = TORCHVISION[name]
        make: Callable[..., Any] = models
        for part in path.split("."):
            make = getattr(make, part)
        model = make(weights=None, num_classes=7, **options)
    model, net_name = model.double().eval(), name.removeprefix("timm ")
    made = model.state_dict()
    for key, value in made.items():
        if "running_mean" in key:  # small, or nothing would pass the rectifiers
            value.normal_(0, 0.05)
        if "running_var" in key or re.search("layer_scale|gamma|class_token|cls_token", key):
            value.uniform_(0.5, 1.5)
    if name == "vitbase":  # its head starts as zeros
        made["heads.head.weight"].normal_()
    tensors = {key: made[key].numpy() for key in sorted(made)}
    names = ordered(tensors)
    assert is_timm(names) == (name in TIMM)
    shape = (3, 4, size, size) if name == "resnet3d18" else (3, size, size)
    net = layers_of(net_name, shape, 7, name in TIMM, {})
    graph, training = (nn.build(net, shape, dtype="float64", training=t) for t in (False, True))
    given = fitted((training, graph), tensors, names, "weights", name)
    x = np.random.default_rng(0).normal(size=(1, *shape))
    with torch.no_grad():
        want = model(torch.tensor(x))
    want = (want["out"] if name == "deeplabv3" else want).numpy()
    assert np.ptp(want) > 1e-3
    np.testing.assert_allclose(twin.run(net, graph, given, x), want, rtol=1e-9, atol=1e-11)


# Small inputs -------------------------------------------------------------------------------------

IDS = [f"{name} {shape}" for name, shape, _ in SMALL]


def test_every_network_is_tried_small() -> None:
    """Of those that come in sizes, at least one."""
    tried = {nets.NETS[name].function for name, _, _ in SMALL}
    assert tried == {row.function for row in nets.NETS.values()}


@grid(name_shape_options=rows("name shape options", SMALL), every=2)
def test_small_networks_compute_what_pytorch_says(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    pytest.importorskip("torch")
    from nn import twin

    net = nets.get(name, classes=4, input_shape=shape, **options)
    graph = nets.graph(name, classes=4, input_shape=shape, dtype="float64", **options)
    row = nets.row(name)
    assert graph.output.shape[0] == 4 + 5 * (row.kind == "boxes")
    if row.kind == "boxes":
        positions = sum(np.prod([n // step for n in shape[1:]]) for step in (8, 16, 32))
        assert graph.output.space == (positions,)
    else:
        assert graph.output.space == (shape[1:] if row.kind == "maps" or "head" in options else ())
    rng = np.random.default_rng(1)
    tokens = row.kind == "text"
    x = rng.integers(0, 12, (2, *shape)) if tokens else rng.normal(size=(2, *shape))
    drawn = parameters(graph) | {p.name: rng.uniform(0.5, 1, p.shape) for p in scales(graph)}
    got = interpreter.run(graph, drawn, x)
    assert np.ptp(got) > 1e-3
    np.testing.assert_allclose(got, twin.run(net, graph, drawn, x), rtol=1e-8, atol=1e-10)


def test_inception_small_has_all_its_modules() -> None:
    graph = nets.graph("googlenet", input_shape=(1, 8, 8), classes=10)
    modules = {name.split(".")[0] for name, _ in graph.layers() if name.startswith("inception")}
    assert len(modules) == 9
    assert count(graph) == 1_411_050
    assert graph.auxiliaries == ()
    graph = nets.graph("googlenet", input_shape=(3, 32, 32), training=True)
    assert len(graph.auxiliaries) == 2


def test_resnet_for_32x32_has_the_usual_stem() -> None:
    graph = nets.graph("resnet18", input_shape=(3, 32, 32), classes=10)
    assert count(graph) == 11_173_962  # as in the usual networks for CIFAR-10
    assert graph.nodes[0].output.shape == (64, 32, 32)
    assert not any(isinstance(node.op, Pool) for node in graph.nodes)


def test_a_tcn_sees_the_whole_series_and_nothing_later() -> None:
    for steps in (8, 24, 129, 784):
        graph = nets.graph("tcn", input_shape=(1, steps), head="every")
        (field,) = graph.fields[graph.output.name] or ()
        assert field.size >= steps > (field.size - 1) / 2 - 6
        assert field.interval(0)[1] == 1


# Asking for them ----------------------------------------------------------------------------------


def test_other_names() -> None:
    assert nets.get("inception") == nets.get("googlenet")
    assert nets.get("efficientnet_b1") == nets.get("EfficientNet-B1") == nets.get("efficientnetb1")
    assert nets.table.key("ResNet-18") == "resnet18" and nets.table.key("LeNet") == "lenet5"
    assert "size" not in nets.row("convnext_tiny").arguments()
    assert not ALIASES.keys() & nets.NETS.keys()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet19", {}, "net='resnet19': there is no such network; did you mean resnet18?"),
        (18, {}, "net=18: must be one of lenet5,"),
        ("resnet18", {"depth": 3}, "depth=3: resnet18 takes width, halvings"),
        ("resnet18", {"width": 0}, "width=0: must be above 0"),
        ("mobilenetv2", {"width": -1}, "width=-1: must be above 0"),
        ("resnet18", {"classes": 0}, "classes=0: must be at least 1"),
        ("resnet18", {"halvings": 6}, "halvings=6: must be at most 5"),
        ("resnet18", {"input_shape": (3,)}, "input_shape=(3,): must be (C, *space) of rank 2 for"),
        ("resnet18", {"input_shape": (3, 0)}, "input_shape=(3, 0): must be (C, *space), all at"),
        ("c3d", {"input_shape": (3, 9, 9)}, "input_shape=(3, 9, 9): must be (C, *space) of rank"),
        ("textcnn", {"input_shape": (3, 9)}, "input_shape=(3, 9): must be (words,) for textcnn"),
        ("tcn", {"input_shape": (9,)}, "input_shape=(9,): must be (C, *space) of rank 1 for tcn"),
        ("tcn", {"levels": 0}, "levels=0: must be at least 1"),
        ("tcn", {"head": "last"}, "head='last': must be one of mean, every"),
        ("googlenet", {"normalisation": "no"}, "normalisation='no': must be one of batch, lrn"),
        ("vgg16", {"normalisation": "lrn"}, "normalisation='lrn': must be one of none, batch"),
    ],
)
def test_refusals(name: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        nets.get(name, **options)
    assert str(error.value).startswith(said)


def test_what_does_not_fit_is_said_with_the_layer() -> None:
    with pytest.raises(ValueError, match=r"^Conv 'windows.window5.conv1' needs at least 5, got 4 "):
        nets.graph("textcnn", input_shape=(4,))
