"""Networks on grids: every value that a layer in whole numbers reads lies on one, and nothing but
that has changed; in ONNX they are the same numbers.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grid import grid
from nets.small import SMALL
from optional import optional

from faltung import Model, nets, nn
from faltung.compress.means import Outcome, Task
from faltung.compress.quantise import apply, quantise
from faltung.data.source import ArraySource
from faltung.formats.onnx_export import export_onnx
from faltung.formats.tensors import load_tensors, save_tensors
from faltung.geometry.expr import Expr
from faltung.geometry.levels import grid_of
from faltung.graph.ops import Concat, Convolve, Elementwise, Normalise
from faltung.graph.scales import rounded_up
from faltung.graph.value import Graph, Node, Value
from faltung.nn import edit
from faltung.nn.quantise import moves
from faltung.nn.text import parse

onnx = optional("onnx")
reference = optional("onnx.reference")
runtime = optional("onnxruntime")


def drawn(model: Model, seed: int = 5) -> Model:
    """The model with parameters none of which is 0 or 1, as they are after training."""
    rng = np.random.default_rng(seed)
    values = model.parameters
    for p in model.training_graph.parameters:
        if not isinstance(p.initial, str):
            values[p.name] = rng.uniform(0.5, 1.5, p.shape)
    model.set_parameters(values)
    return model


def samples(model: Model, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(count)
    shape = (count, *model.input_shape)
    return rng.integers(0, 12, shape) if model.tokens else rng.normal(size=shape).astype(np.float32)


def small(number: int) -> tuple[Model, Outcome]:
    name, shape, options = SMALL[number]
    net = nets.get(name, classes=4, input_shape=shape, **options)
    model = drawn(Model(net, shape, tokens=name == "textcnn", precision="strict"))
    return model, quantise(model, samples(model))


def on_grid(graph: Graph, value: Value) -> bool:
    node = next((n for n in graph.nodes if value in n.outputs), None)
    if node is None:
        return False
    if isinstance(node.op, Elementwise) and node.op.outputs and grid_of(node.op.outputs[0]):
        return True
    keeps = isinstance(node.op, Concat) or moves(node.op)
    return keeps and all(on_grid(graph, part) for part in node.inputs)


# Their values follow in float32 from levels and scales without any rounding.
EXACT = {"operand", "constant", "add", "mul", "div", "max", "min", "snap", "as_float32"}


@grid(number=range(len(SMALL)), every=26)
def test_every_layer_reads_a_grid_or_is_named(number: int) -> None:
    model, outcome = small(number)
    made, left = outcome.model, {each.layer: each.why for each in outcome.left}
    assert outcome.changed and all(left.values())
    sums = [node for node in made.graph.nodes if isinstance(node.op, Convolve)]
    bits = {node.layer for node in sums if node.inputs[1].name not in made.parameters}
    for node in sums:
        if node.layer in bits:
            assert on_grid(made.graph, node.inputs[0]), node.layer
        else:
            assert any(node.layer == name or node.layer.startswith(f"{name}.") for name in left)
    assert bits
    assert parse(repr(made.net)) == parse(repr(parse(repr(made.net))))
    if not outcome.left and all(map(exact, made.graph.nodes)):
        the_same_in_onnx(made, samples(model))


def exact(node: Node) -> bool:
    def within(expr: Expr) -> bool:
        return expr.op in EXACT and all(map(within, expr.terms))

    op = node.op
    return not isinstance(op, Normalise) and all(map(within, getattr(op, "outputs", ())))


def the_same_in_onnx(model: Model, x: np.ndarray) -> None:
    """QuantizeLinear and DequantizeLinear: with scales of few bits sums are exact in float32."""
    data = export_onnx(model.graph, model.parameters)
    loaded = onnx.load_from_string(data)
    onnx.checker.check_model(loaded, full_check=True)
    want, x = model.predict(x, softmax=False), model.prepared(x)
    np.testing.assert_array_equal(session(data, 0).run(None, {"input": x})[0], want)
    try:
        (found,) = reference.ReferenceEvaluator(loaded).run(None, {"input": x})
    except IndexError:  # its poolings read beyond a map where the last window does
        return
    np.testing.assert_array_equal(found, want)


def session(data: bytes, level: int) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel(level)
    # Without it sums of two products saturate at 16 bits on processors without VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def test_onnx_runtime_gives_the_same_classes() -> None:
    """Also by its kernels for whole numbers, whose scales are rounded otherwise."""
    x, _ = digits()
    made = quantise(trained(), x[:1000]).model
    the_same_in_onnx(made_strict(made), x[1000:1100])
    data = export_onnx(made.graph, made.parameters)
    kinds = [node.op_type for node in onnx.load_from_string(data).graph.node]
    assert kinds.count("Conv") == 2 and kinds.count("QuantizeLinear") == 5
    want = made.predict(x).argmax(1)
    for level in (0, 99):
        (found,) = session(data, level).run(None, {"input": made.prepared(x)})
        np.testing.assert_array_equal(found.argmax(1), want)


def made_strict(model: Model) -> Model:
    """With plain sums of products."""
    made = Model(model.net, model.input_shape, standard=model.standard, units=model.units,
                 precision="strict")  # fmt: skip
    made.set_parameters(model.parameters)
    return made


def digits() -> tuple[np.ndarray, np.ndarray]:
    found = optional("sklearn.datasets").load_digits()
    return (found.images[:, None] / 16).astype(np.float32), found.target


@cache
def trained() -> Model:
    x, y = digits()
    model = Model(nets.get("lenet5", classes=10, input_shape=(1, 8, 8)), (1, 8, 8))
    model.fit(x[:1000], y[:1000], epochs=8, show=False)
    return model


def accuracy(model: Model) -> float:
    x, y = digits()
    return model.evaluate(x[1000:], y[1000:])["accuracy"]


@pytest.mark.parametrize("method", ["mse", "percentile", "max"])
def test_eight_bits_lose_next_to_nothing(method: str) -> None:
    x, _ = digits()
    model = trained()
    before = model.parameters
    made = quantise(model, x[:1000], method=method).model
    assert abs(accuracy(made) - accuracy(model)) < 0.006
    for name, value in before.items():
        np.testing.assert_array_equal(model.parameters[name], value)
        assert made.parameters[name].shape == value.shape
    assert np.mean(made.predict(x).argmax(1) == model.predict(x).argmax(1)) > 0.99


def test_few_bits_are_won_back_by_training() -> None:
    x, y = digits()
    made = quantise(trained(), x[:1000], bits=2).model
    after = accuracy(made)
    assert after < accuracy(trained()) - 0.02
    made.fit(x[:1000], y[:1000], epochs=4, lr=1e-3, show=False)
    assert accuracy(made) > after + 0.01
    scales = made.parameters["conv1.weight_scale"]
    np.testing.assert_array_equal(scales, rounded_up(scales, 4))


def test_a_network_on_grids_gets_new_ones() -> None:
    x, _ = digits()
    once = quantise(trained(), x[:100], method="max").model
    again = quantise(once, x[:100], method="max").model
    assert list(again.parameters) == list(once.parameters)
    assert [type(layer) for layer in again.net.layers] == [type(layer) for layer in once.net.layers]
    np.testing.assert_allclose(again.predict(x[:50]), once.predict(x[:50]), atol=0.02)


def test_weights_are_levels_in_memory_and_in_files(tmp_path: Path) -> None:
    """Which the same network reads back, and other programs as int8."""
    x, y = digits()
    made = quantise(trained(), x[:100]).model
    made.fit(x[:500], y[:500], epochs=1, lr=1e-4, show=False)
    levels = (
        made.parameters["conv2.weight"] / made.parameters["conv2.weight_scale"][:, None, None, None]
    )
    np.testing.assert_array_equal(levels, np.rint(levels))
    want, path = made.predict(x), tmp_path / "net.safetensors"
    for options in ({"packed": True}, {"coded": True}, {}):
        made.write(str(path), **options)
        np.testing.assert_array_equal(Model.load(path).predict(x), want)
    made.write(str(path), packed=True)
    tensors = optional("safetensors.numpy").load_file(path)
    assert tensors["conv2.weight"].dtype == np.int8
    np.testing.assert_array_equal(tensors["conv2.weight"], levels)


def test_levels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    made, path = quantise(trained(), digits()[0][:20]).model, tmp_path / "net.safetensors"
    made.write(str(path), packed=True)
    tensors, metadata = load_tensors(path)
    for name, value in (
        ("conv1.weight", np.zeros(3, np.int8)),
        ("conv1.weight_scale", np.zeros(9)),
    ):
        save_tensors(path, tensors | {name: value}, metadata)
        with pytest.raises(ValueError, match=name):
            Model.load(path)


def test_gates_have_grids_within_them_and_get_new_ones() -> None:
    gate = nn.SqueezeExcite(2, activation=nn.SiLU(), name="gate")
    net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), gate, nn.Conv(2, 1))
    model = Model(net, (1, 6, 6))
    once = quantise(model, samples(model)).model
    layer = edit.paths(once.net)["gate"]
    assert isinstance(layer, nn.SqueezeExcite) and isinstance(layer.grid, nn.Quantise)
    assert layer.bits == 8 and isinstance(layer.activation, nn.Sequential)
    again = quantise(once, samples(model)).model
    assert list(again.parameters) == list(once.parameters)
    assert set(again.parameters) > set(model.parameters)
    x = samples(model)
    np.testing.assert_allclose(again.predict(x), model.predict(x), atol=0.1)


def test_the_same_bits_from_arrays_and_sources() -> None:
    x, y = digits()
    model = trained()
    task = Task(ArraySource(x[:300], y[:300], partial=True))
    made = quantise(model, x[:300])
    other = apply(model, task, 8)
    assert repr(made.model.net) == repr(other.model.net) and made.said == other.said
    for name, value in made.model.parameters.items():
        np.testing.assert_array_equal(value, other.model.parameters[name])


def test_layers_can_be_left_out() -> None:
    made = quantise(trained(), digits()[0][:50], skip=["conv1", "linear3"])
    assert [str(each) for each in made.left] == [
        "conv1: it is to be left out",
        "linear3: it is to be left out",
    ]
    text = repr(made.model.net)
    assert text.startswith("Sequential(Conv(6, 5, padding='same', name='conv1'), ReLU(), Quantise(")
    assert text.endswith("Linear(10))")


def test_joined_maps_share_a_grid_unless_that_costs() -> None:
    def scales(spread: float) -> set[float]:
        branches = nn.Parallel(
            nn.Sequential(nn.Conv(3, 1, name="a"), nn.ReLU()),
            nn.Sequential(nn.Conv(3, 1, name="b"), nn.ReLU()),
        )
        model = Model(nn.Sequential(branches, nn.Conv(2, 1)), (2, 4, 4))
        name = "parallel1.sequential1.a.weight"
        model.set_parameters({name: model.parameters[name] * spread})
        made = quantise(model, samples(model)).model
        made_of = [n for n in made.graph.nodes if n.layer.startswith("parallel1.")]
        formulas = [n.op.outputs[0] for n in made_of if isinstance(n.op, Elementwise)]
        found = [grid_of(expr).scale.value for expr in formulas if grid_of(expr) is not None]
        return {scale for scale in found if scale is not None}

    assert len(scales(1.0)) == 1
    assert len(scales(1e-4)) >= 2


# Bad input ----------------------------------------------------------------------------------------


def test_samples_that_are_no_numbers_are_named() -> None:
    x = digits()[0][:20].copy()
    x[7, 0, 3, 3] = np.nan
    with pytest.raises(FloatingPointError, match="calibration: sample 7: has NaN or infinity"):
        quantise(trained(), x)


def test_a_layer_that_overflows_is_named() -> None:
    model = Model(nn.Sequential(nn.Conv(2, 1), nn.ReLU(), nn.Conv(2, 1)), (1, 2, 2))
    model.set_parameters({"conv1.weight": np.full((2, 1, 1, 1), 3e38)})
    with pytest.raises(FloatingPointError, match="calibration: 'relu1' gives NaN or infinity"):
        quantise(model, np.full((2, 1, 2, 2), 10.0))


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="calibration: must be at least one sample, got none"):
        quantise(trained(), np.zeros((0, 1, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 9}, "bits=9: must be from 2 to 8"),
        ({"bits": None}, "bits=None: must be from 2 to 8"),
        ({"method": "best"}, "method='best'"),
        ({"samples": 0}, "samples=0: must be at least 1"),
        ({"skip": ["conv9"]}, "skip='conv9': no layer has this name"),
    ],
)
def test_options_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        quantise(trained(), digits()[0][:5], **options)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="dtype='float64': must be float32"):
        quantise(Model(nn.Linear(2), (3,), dtype="float64"), np.ones((2, 3)))


def test_a_network_without_such_layers_stays() -> None:
    model = Model(nn.Sequential(nn.LSTM(3), nn.ReLU()), (2, 5))
    made = quantise(model, samples(model))
    assert made.model is model and not made.changed
    assert [each.layer for each in made.left] == ["lstm1"]
