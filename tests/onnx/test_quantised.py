"""Quantised operators: exact on the host, and compiled layers between what quantises."""

from typing import Any

import numpy as np
import pytest
from onnx_models import made, node, numbers, runtime
from optional import optional

from faltung.geometry.errors import FaltungError
from faltung.onnx import load

onnx = optional("onnx")
onnxruntime = optional("onnxruntime")


def few(kind: str, *shape: int, seed: int = 0) -> Any:
    limits = np.iinfo(kind)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max + 1, shape).astype(kind)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("uint8", {}),
        ("uint8", {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ("uint8", {"dilations": [2, 1]}),
        ("uint8", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ("int8", {"pads": [1, 1, 1, 1]}),
    ],
)
def test_convolutions_of_whole_numbers(kind: str, options: Any) -> None:
    onnxruntime.InferenceSession  # noqa: B018
    constants = {
        "zx": np.array(3, kind),
        "sx": np.array(0.02, np.float32),
        "w": few("int8", 4, 2, 3, 2) // 2,  # ORT's sums of two products saturate at 16 bits
        "sw": np.abs(numbers(4)) * 0.01 + 0.001,
        "zw": np.zeros(4, np.int8),
        "sy": np.array(0.9, np.float32),
        "zy": np.array(7, kind),
        "b": np.arange(4, dtype=np.int32) * 100,
    }
    nodes = [
        node("QLinearConv", "x sx zx w sw zw sy zy b", "y", **options),
        node("ConvInteger", "x w zx", "i", **options),
    ]
    outputs = ["y"] if kind == "int8" else ["y", "i"]  # which ORT lacks otherwise
    types = {"x": kind, "y": kind, "i": "int32"}
    data = made(nodes, {"x": ("N", 2, 6, 5)}, outputs, constants, types=types)
    x = few(kind, 2, 2, 6, 5)
    got = load(data).run({"x": x}, exact=True)
    wide = made(nodes, {"x": ("N", 2, 6, 5)}, outputs[:1], constants, types=types)
    for ours, theirs in zip(got, runtime(data if kind != "int8" else wide, {"x": x}), strict=False):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_products_of_whole_numbers() -> None:
    onnxruntime.InferenceSession  # noqa: B018
    constants = {
        "za": np.array(3, np.uint8),
        "sa": np.array(0.02, np.float32),
        "b": few("int8", 5, 3) // 2,
        "sb": np.array(0.013, np.float32),
        "zb": np.array(-2, np.int8),
        "sy": np.array(0.31, np.float32),
        "zy": np.array(100, np.uint8),
    }
    nodes = [
        node("QLinearMatMul", "a sa za b sb zb sy zy", "y"),
        node("MatMulInteger", "a b za zb", "i"),
    ]
    types = {"a": "uint8", "y": "uint8", "i": "int32"}
    data = made(nodes, {"a": ("N", 2, 5)}, ["y", "i"], constants, types=types)
    a = few("uint8", 3, 2, 5)
    for ours, theirs in zip(load(data).run({"a": a}), runtime(data, {"a": a}), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_layers_between_what_quantises() -> None:
    """As exporters write a quantised network: the convolution in the middle is compiled."""
    onnxruntime.InferenceSession  # noqa: B018
    constants = {
        "s": np.array(0.02, np.float32),
        "z": np.array(128, np.uint8),
        "w": few("int8", 4, 3, 3, 3),
        "sw": np.full(4, 0.01, np.float32),
        "zw": np.zeros(4, np.int8),
        "so": np.array(0.05, np.float32),
    }
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w sw zw", "wd", axis=0),
        node("Conv", "d wd", "c"),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r so z", "rq"),
        node("MaxPool", "rq", "rp", kernel_shape=[2, 2]),
        node("Concat", "rp rp", "both", axis=1),
        node("Flatten", "both", "flat"),
        node("DequantizeLinear", "flat so z", "y"),
    ]
    data = made(nodes, {"x": ("N", 3, 8, 8)}, ["y"], constants)
    x = numbers(2, 3, 8, 8)
    model = load(data)
    (want,) = runtime(data, {"x": x})
    assert np.abs(model(x) - want).max() <= 0.05 + 1e-6  # one step
    assert np.mean(model(x) == want) > 0.98
    assert len(model.graphs((2, 3, 8, 8))) == 1 and "host" not in model.explain()


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16"])
def test_what_quantises_is_exact(kind: str) -> None:
    """In the program and on the host: the same whole numbers as in ONNX Runtime."""
    onnxruntime.InferenceSession  # noqa: B018
    constants = {"s": np.array([0.02, 0.3, 1.0], np.float32), "z": np.array([3, 0, 7], kind)}
    nodes = [
        node("QuantizeLinear", "x s z", "q", axis=1),
        node("DequantizeLinear", "q s z", "y", axis=1),
    ]
    data = made(nodes, {"x": ("N", 3, 40)}, ["q", "y"], constants, types={"q": kind}, opset=21)
    x = np.concatenate([numbers(2, 3, 20) * 50, np.arange(120).reshape(2, 3, 20) / 2 - 30], 2)
    x = x.astype(np.float32)
    for ours, theirs in zip(load(data)(x), runtime(data, {"x": x}), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    back = made(nodes[1:], {"q": ("N", 3, 40)}, ["y"], constants, types={"q": kind}, opset=21)
    q = runtime(data, {"x": x})[0]
    np.testing.assert_array_equal(load(back)(q), runtime(back, {"q": q})[0])


def test_a_lying_node() -> None:
    constants = {"w": few("int8", 4, 2, 3, 3)}
    data = made(
        [node("ConvInteger", "x w", "y", pads=[0, 0, 1 << 40, 0])],
        {"x": (1, 2, 6, 5)},
        ["y"],
        constants,
        types={"x": "uint8", "y": "int32"},
    )
    with pytest.raises(FaltungError, match=r"node of y \(ConvInteger\): pads="):
        load(data)(few("uint8", 1, 2, 6, 5))
