"""ONNX: every layer and every network passes the checker and computes the same in ONNX Runtime."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph import interpreter
from grid import grid
from nn.networks import NETWORKS, TOKENS
from optional import optional

from faltung import nets, nn
from faltung.formats.onnx_export import export_onnx
from faltung.geometry.expr import (
    Expr,
    binary,
    equal,
    greater,
    logic,
    operand,
    power,
    select,
    unary,
)
from faltung.graph.builder import Builder
from faltung.graph.fuse import fused
from faltung.graph.initial import parameters
from faltung.graph.value import Graph

onnx = optional("onnx")
runtime = optional("onnxruntime")


def anything(graph: Graph) -> dict[str, np.ndarray]:
    """Parameters none of which is 0 or 1, as they are after training."""
    rng = np.random.default_rng(5)
    drawn = parameters(graph, 3)
    for p in graph.parameters:
        if not isinstance(p.initial, str):
            drawn[p.name] = rng.uniform(0.5, 1.5, p.shape).astype(graph.dtype)
    return drawn


def inputs(graph: Graph, samples: int) -> np.ndarray:
    rng = np.random.default_rng(samples)
    shape = (samples, *graph.input.shape)
    tokens = graph.input.kind == "int"
    return rng.integers(0, 11, shape) if tokens else rng.normal(size=shape).astype(graph.dtype)


def checked(data: bytes) -> Any:
    """The model, after the checker's whole examination."""
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    return model


def session(data: bytes) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def same(graph: Graph, drawn: dict[str, np.ndarray], *, rtol: float = 2e-4) -> Any:
    """The exported model, after it has agreed with the oracle for two sizes of batch."""
    data = export_onnx(graph, drawn)
    model = checked(data)
    run = session(data)
    for samples in (1, 3):
        x = inputs(graph, samples)
        (got,) = run.run(None, {"input": x})
        want = interpreter.run(graph, drawn, x)
        assert got.dtype == graph.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * max(1, abs(want).max()) / 10)
    return model


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


# Every layer --------------------------------------------------------------------------------------


@grid(name=NETWORKS, every=3)
def test_every_layer_computes_the_same(name: str) -> None:
    net, shape = NETWORKS[name]
    graph = nn.build(net, shape, tokens=name in TOKENS)
    model = same(graph, anything(graph))
    for node in model.graph.node:
        assert "auto_pad" not in attributes(node)
        assert min(attributes(node).get("pads", [0])) >= 0


@pytest.mark.parametrize("mode", ["symmetric", "reflect", "replicate", "circular"])
def test_padding_modes(mode: str) -> None:
    for modes in (mode, ("zeros", mode), (mode, "circular")):
        net = nn.Conv(3, 3, padding=((1, 2), (3, 0)), padding_mode=modes)
        graph = nn.build(net, (2, 5, 4))
        model = same(graph, anything(graph))
        assert set(kinds(model)) <= {"Conv", "Gather" if mode == "symmetric" else "Pad", "Pad"}


# Every network ------------------------------------------------------------------------------------

SMALL: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("convnet", (1, 12, 12), {"width": 0.5}),
    ("lenet5", (1, 28, 28), {"paper": True}),
    ("mlp", (9,), {"hidden": (7, 5)}),
    ("alexnet", (3, 16, 16), {"width": 0.1, "paper": True}),
    ("vgg16", (1, 8, 8), {"width": 0.1}),
    ("googlenet", (1, 8, 8), {"width": 0.25}),
    ("googlenet", (1, 16, 16), {"width": 0.25, "normalisation": "lrn"}),
    ("resnet18", (1, 8, 8), {"width": 0.1}),
    ("resnet50", (3, 8, 8), {"width": 0.05}),
    ("mobilenetv2", (1, 8, 8), {"width": 0.25}),
    ("densenet121", (1, 8, 8), {"growth": 4}),
    ("shufflenetv2", (1, 8, 8), {"width": 0.1}),
    ("mobilenetv3small", (1, 8, 8), {"width": 0.25}),
    ("efficientnetb0", (1, 8, 8), {"width": 0.25, "depth": 0.3}),
    ("convnexttiny", (1, 8, 8), {"width": 0.1}),
    ("vittiny", (1, 8, 8), {"width": 0.1, "blocks": 2}),
    ("mobilevitxxs", (1, 12, 16), {"width": 0.2}),
    ("deeplabv3", (1, 8, 9), {"width": 0.05}),
    ("yoloxnano", (1, 32, 64), {"width": 0.1}),
    ("textcnn", (9,), {"vocabulary": 12, "features": 6, "maps": 3}),
    ("tcn", (3, 30), {"channels": 5}),
    ("c3d", (1, 3, 9, 9), {"width": 0.05}),
    ("resnet3d18", (1, 4, 8, 8), {"width": 0.1}),
    ("unet", (2, 9, 14), {"width": 0.1, "padding_mode": ("replicate", "circular")}),
]


def test_every_network_is_tried() -> None:
    tried = {nets.NETS[name].function for name, _, _ in SMALL}
    assert tried == {row.function for row in nets.NETS.values()}


@pytest.mark.parametrize(
    ("name", "shape", "options"), SMALL, ids=[f"{name} {shape}" for name, shape, _ in SMALL]
)
def test_every_network_computes_the_same(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    graph = nets.graph(name, classes=4, input_shape=shape, **options)
    drawn = parameters(graph)
    drawn |= {p.name: drawn[p.name] * 1e6 for p in graph.parameters if p.initial == 1e-6}
    same(graph, drawn, rtol=1e-3)


def test_nodes_are_those_that_people_expect() -> None:
    graph = nets.graph("googlenet", input_shape=(3, 64, 64), classes=5, normalisation="lrn")
    found = kinds(checked(export_onnx(graph, parameters(graph))))
    assert set(found) == {
        "Conv", "Relu", "MaxPool", "LRN", "Concat", "GlobalAveragePool", "Flatten", "Gemm"
    }  # fmt: skip
    assert found.count("LRN") == 2 and found.count("Conv") == 57
    graph = nets.graph("resnet18", input_shape=(3, 32, 32), classes=5, width=0.1)
    found = kinds(checked(export_onnx(graph, parameters(graph))))
    assert set(found) == {
        "Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"
    }  # fmt: skip


# What the file says -------------------------------------------------------------------------------


def test_names_shapes_and_what_is_kept() -> None:
    net = nn.Sequential(nn.Conv(4, 3, name="stem"), nn.ReLU(), nn.Flatten(), nn.Linear(3))
    graph = nn.build(net, (2, 5, 6))
    drawn = parameters(graph)
    model = checked(export_onnx(graph, drawn, classes=["cat", "dög", "3"]))
    (x,), (y,) = model.graph.input, model.graph.output
    assert (x.name, y.name) == ("input", "output")
    sizes = [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]
    assert sizes == ["N", 2, 5, 6]
    assert [d.dim_param or d.dim_value for d in y.type.tensor_type.shape.dim] == ["N", 3]
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert tensors.keys() == drawn.keys()
    for name, array in drawn.items():
        np.testing.assert_array_equal(tensors[name], array)
    (entry,) = model.metadata_props
    assert (entry.key, json.loads(entry.value)) == ("classes", ["cat", "dög", "3"])
    assert model.producer_name == "faltung"
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 19)]
    fixed = checked(export_onnx(graph, drawn, batch=7))
    assert fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 7


def test_the_same_network_makes_the_same_file(tmp_path: Path) -> None:
    graph = nets.graph("lenet5", input_shape=(1, 8, 8))
    drawn = parameters(graph)
    first = export_onnx(graph, drawn, tmp_path / "a.onnx")
    backwards = dict(reversed(list(drawn.items())))
    assert export_onnx(graph, backwards, tmp_path / "b.onnx") == first
    assert (tmp_path / "a.onnx").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_doubles() -> None:
    graph = nn.build(nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(2)), (3,), dtype="float64")
    same(graph, anything(graph), rtol=1e-12)


def test_flipped_weights_lie_the_other_way_round() -> None:
    graph = nn.build(nn.Conv(2, (2, 3), flip=True), (1, 4, 5))
    drawn = parameters(graph)
    model = checked(export_onnx(graph, drawn))
    (tensor,) = [t for t in model.graph.initializer if t.name == "conv1.weight"]
    weight = onnx.numpy_helper.to_array(tensor)
    np.testing.assert_array_equal(weight, drawn["conv1.weight"][:, :, ::-1, ::-1])


@pytest.mark.parametrize(("size", "beta", "k", "node"), [
    (5, 0.75, 1.0, True),
    (3, 0.6, 2.5, True),
    (5, 0.5, 0.5, True),
    (4, 0.75, 1.0, False),
])  # fmt: skip
def test_response_normalisation_is_one_node_where_onnx_has_it(
    size: int, beta: float, k: float, node: bool
) -> None:
    graph = nn.build(nn.LocalResponseNorm(size, alpha=0.3, beta=beta, k=k), (7, 3, 3))
    model = same(graph, {})
    assert (kinds(model) == ["LRN"]) == node
    if node:
        found = attributes(model.graph.node[0])
        wanted = {"size": size, "alpha": 0.3, "beta": beta, "bias": k}
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize(("layer", "kind"), [
    (nn.ReLU(), "Relu"),
    (nn.LeakyReLU(0.2), "LeakyRelu"),
    (nn.Softplus(), "Softplus"),
    (nn.HardSigmoid(), "HardSigmoid"),
    (nn.HardSwish(), "HardSwish"),
    (nn.Tanh(), "Tanh"),
    (nn.Softmax(), "Softmax"),
])  # fmt: skip
def test_activations_that_are_one_node(layer: nn.Layer, kind: str) -> None:
    assert kinds(same(nn.build(layer, (3, 4)), {})) == [kind]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layer", "exact"), [
    (nn.Softplus(), lambda x: np.logaddexp(np.longdouble(0), x)),
    (nn.ELU(), lambda x: np.where(x > 0, x, np.expm1(x))),
    (nn.ELU(0.25), lambda x: np.where(x > 0, x, 0.25 * np.expm1(x))),
])  # fmt: skip
def test_small_numbers_keep_their_digits(layer: nn.Layer, exact: Any, dtype: str) -> None:
    graph = nn.build(layer, (1,), dtype=dtype)
    powers = 2.0 ** np.linspace(-100, 6, 500)
    x = np.array([*powers, *-powers, *np.linspace(-80, 80, 500), -16, -17, 0], dtype)[:, np.newaxis]
    (got,) = session(export_onnx(graph, {})).run(None, {"input": x})
    want = exact(x.astype(np.longdouble)).astype(np.float64)
    np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_that_onnx_lacks(dtype: str) -> None:
    b = Builder((1,), dtype=dtype)
    a = operand(0)
    with b.layer("Odd", None):
        y = b.elementwise(unary("log1p", unary("expm1", a)) * unary("gaussian", a), b.input)
    graph = b.graph(y)
    x = np.array([-8, -1, -1e-12, -0.0, 0, 1e-30, 1e-3, 0.5, 3, 11], dtype)[:, np.newaxis]
    (got,) = session(export_onnx(graph, {})).run(None, {"input": x})
    wide = x.astype(np.float64)
    # Near -1 a logarithm magnifies what its argument lost.
    rtol = np.where(x < -1, 1e5, 50) * np.finfo(dtype).eps
    assert (abs(got - wide * np.exp(-wide * wide / 2)) <= rtol * abs(wide)).all()
    np.testing.assert_array_equal(np.signbit(got), np.signbit(x))


@pytest.mark.parametrize(("op", "x", "want"), [
    ("log1p", [-2, -1, np.inf, np.nan, -0.0], [np.nan, -np.inf, np.inf, np.nan, -0.0]),
    ("expm1", [-np.inf, np.inf, np.nan, 1000, -0.0], [-1, np.inf, np.nan, np.inf, -0.0]),
])  # fmt: skip
def test_functions_that_onnx_lacks_at_their_ends(
    op: str, x: list[float], want: list[float]
) -> None:
    b = Builder((1,))
    with b.layer("Odd", None):
        y = b.elementwise(unary(op, operand(0)), b.input)
    given = np.array(x, np.float32)[:, np.newaxis]
    (got,) = session(export_onnx(b.graph(y), {})).run(None, {"input": given})
    np.testing.assert_array_equal(got[:, 0], np.array(want, np.float32))
    assert np.signbit(got[-1])


def test_a_layer_that_inherits_is_not_taken_for_its_parent() -> None:
    class Twice(nn.ELU):
        def formula(self) -> Expr:
            return operand(0) + operand(0)

    assert kinds(same(nn.build(Twice(), (3, 4)), {})) == ["Add"]


def test_formulas_that_were_fused() -> None:
    """What several layers made together has the name of none of them."""
    layers = (nn.Conv(3, 3), nn.ELU(0.3), nn.HardSwish(), nn.Softmax(), nn.Tanh(), nn.ReLU())
    graph = nn.build(nn.Sequential(*layers), (2, 5, 6))
    nodes = fused(graph.nodes, {graph.output.name})
    assert len(nodes) < len(graph.nodes)
    same(replace(graph, nodes=nodes), anything(graph))


def test_formulas_of_any_kind() -> None:
    from faltung.geometry.expr import at_least, constant, maximum, minimum, select

    b = Builder((4, 3))
    with b.layer("Odd", None):
        gain = b.parameter("gain", (4,))
        one = b.parameter("one", ())
        per_sample = b.node(*_mean(b.input))
        a, c, d, e = map(operand, range(4))
        expr = select(at_least(a, c), unary("abs", a) / (1 + d * d), minimum(-a, e - c))
        expr = maximum(expr, unary("sqrt", unary("exp", minimum(a, 1)))) + power(1 + a * a, 1.5)
        y = b.elementwise(expr, b.input, per_sample, gain, one)
        y = b.elementwise(constant(2) * unary("erf", a) - unary("log", 1 + a * a), y)
    graph = b.graph(y)
    same(graph, anything(graph))


NEW = (
    *("floor", "ceil", "round", "trunc", "sign", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "asinh", "acosh", "atanh"),
)


@pytest.mark.parametrize("name", NEW)
def test_each_function(name: str) -> None:
    """Where they are defined, and where they are not."""
    a = operand(0)
    inside = {"asin": a * 0.3, "acos": a * 0.3, "atanh": a * 0.3, "acosh": 1 + a * a}
    for expr in (unary(name, inside.get(name, a)), unary(name, a)):
        b = Builder((4, 3))
        with b.layer("Odd", None):
            y = b.elementwise(expr, b.input)
        with np.errstate(all="ignore"):
            same(b.graph(y), {})


@pytest.mark.parametrize("name", ["as_float16", "as_bfloat16", "as_float32"])
def test_rounding(name: str) -> None:
    b = Builder((4, 3))
    with b.layer("Odd", None):
        y = b.elementwise(unary(name, operand(0) * 1.1), b.input)
    same(b.graph(y), {})


def test_functions_of_two_numbers_and_logic() -> None:
    a, c = operand(0), operand(1)
    odd = logic("xor", greater(a, 0), logic("not", equal(unary("round", a), unary("floor", a))))
    both = logic("or", logic("and", greater(a, c), greater(1, a)), odd)
    for expr in (
        binary("fmod", a, c),
        binary("mod", a, c),
        binary("pow", unary("abs", a), c),
        select(both, a, c),
    ):
        b = Builder((4, 3))
        with b.layer("Odd", None):
            row = b.parameter("row", (1, 3), order=(1, 0))
            gate = b.elementwise(unary("sin", operand(0) * 3 + operand(1)), b.input, row)
            y = b.elementwise(expr, b.input, gate)
        same(b.graph(y), anything(b.graph(y)))


def _mean(x: Any) -> Any:
    from faltung.graph.ops import Elementwise, Reduction

    total = Reduction(operand(0) * operand(0), "sample", mean=True)
    return Elementwise(x.shape, (), (total,)), (x,), (x.channels,)


# Refusals -----------------------------------------------------------------------------------------


def test_refusals(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv(2, 3), nn.BatchNorm())
    graph, drawn = nn.build(net, (1, 5)), parameters(nn.build(net, (1, 5)))
    with pytest.raises(ValueError, match=r"^graph: must be for inference; build"):
        export_onnx(nn.build(net, (1, 5), training=True), drawn)
    with pytest.raises(ValueError, match=r"^parameters: 'conv1.weight' is missing$"):
        export_onnx(graph, {})
    wrong = drawn | {"conv1.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"^parameters: 'conv1.bias' has shape \(3,\), must have"):
        export_onnx(graph, wrong)
    with pytest.raises(OSError, match=r"not written, no such file or directory$"):
        export_onnx(graph, drawn, tmp_path / "none" / "a.onnx")


def test_what_training_alone_has_is_refused() -> None:
    from faltung.graph.ops import CrossEntropy, Dropout

    for op in (CrossEntropy(), Dropout(0.5)):
        b = Builder((4, 3))
        with b.layer("Odd", "odd"):
            y = b.node(op, (b.input,), (4, 3))
        kind = type(op).__name__
        with pytest.raises(
            ValueError, match=f"^graph: {kind} of layer 'odd' cannot be expressed in ONNX$"
        ):
            export_onnx(b.graph(y), {})


def test_without_onnx_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    graph = nn.build(nn.ReLU(), (3,))
    with pytest.raises(ImportError, match=r'^onnx: not installed; pip install "faltung\[onnx\]"$'):
        export_onnx(graph, {})
