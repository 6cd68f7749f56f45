"""Operators in all their settings and opsets, against ONNX Runtime."""

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.onnx import load

runtime = optional("onnxruntime")


def one(
    op: str,
    shape: tuple[int, ...],
    constants: dict[str, Any] | None = None,
    *,
    opset: int = 18,
    outputs: str = "y",
    **attributes: Any,
) -> list[Any]:
    """A node of an input and constants, batch left free, for two sizes of batch."""
    runtime.InferenceSession  # noqa: B018 - skips where it is not installed
    names = " ".join(["x", *(constants or {})])
    data = made(
        [node(op, names, outputs, **attributes)],
        {"x": ("N", *shape[1:])},
        outputs.split(),
        constants,
        opset=opset,
    )
    agree(data, {"x": numbers(1, *shape[1:])})
    return agree(data, {"x": numbers(*shape)})


def w(*shape: int) -> dict[str, Any]:
    return {"w": numbers(*shape, seed=7)}


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((2, 3, 9), (4, 3, 3), {"pads": [1, 2], "strides": [2]}),
        ((2, 3, 9, 8), (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((2, 3, 9, 8), (4, 3, 2, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
        ((2, 4, 9, 8), (6, 2, 3, 3), {"group": 2, "dilations": [2, 1]}),
        ((2, 4, 9, 8), (4, 1, 3, 3), {"group": 4, "auto_pad": "VALID"}),
        ((2, 2, 5, 6, 7), (3, 2, 2, 3, 1), {"pads": [0, 1, 2, 1, 0, 0]}),
    ],
)
def test_conv(shape: Any, weight: Any, attributes: dict[str, Any]) -> None:
    one("Conv", shape, w(*weight) | {"b": numbers(weight[0])}, **attributes)


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((2, 3, 5), (3, 4, 3), {"strides": [2], "pads": [1, 0], "output_padding": [1]}),
        ((2, 3, 5, 4), (3, 2, 3, 3), {"strides": [2, 2], "output_shape": [10, 8]}),
        ((2, 3, 5, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((2, 3, 5, 4), (3, 2, 2, 3), {"strides": [2, 3], "auto_pad": "SAME_LOWER"}),
        ((2, 4, 5, 4), (4, 1, 2, 2), {"strides": [2, 2], "group": 4, "dilations": [2, 1]}),
    ],
)
def test_conv_transpose(shape: Any, weight: Any, attributes: dict[str, Any]) -> None:
    one("ConvTranspose", shape, w(*weight), **attributes)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 3], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "pads": [1, 1, 0, 1], "strides": [2, 1]},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"},
        {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ],
)
def test_pools(op: str, attributes: dict[str, Any]) -> None:
    one(op, (2, 3, 8, 9), **attributes)


def test_means_that_count_their_padding() -> None:
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    one("AveragePool", (2, 3, 8, 9), **pads)
    one("AveragePool", (2, 3, 8, 9), **pads, strides=[2, 2], opset=11)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
def test_global_pools(op: str, shape: Any) -> None:
    one(op, shape)


@pytest.mark.parametrize("space", [(), (5,), (4, 5)])
def test_normalisation(space: tuple[int, ...]) -> None:
    shape = (2, 6, *space)
    statistics = {"m": numbers(6), "v": np.abs(numbers(6, seed=3))}
    affine = {"g": numbers(6, seed=1), "b": numbers(6, seed=2)}
    one("BatchNormalization", shape, affine | statistics, epsilon=1e-3, opset=15)
    one("LayerNormalization", shape, {"g": numbers(*shape[-1:])}, axis=-1)
    one("LayerNormalization", shape, {"g": numbers(*shape[1:])}, axis=1)
    one("LayerNormalization", shape, {"g": numbers(*shape[1:])}, axis=1, outputs="y m r")
    if space:
        one("InstanceNormalization", shape, affine)
        groups = {"g": numbers(6), "b": numbers(6)}
        one("GroupNormalization", shape, groups, num_groups=3, opset=21)
    if len(space) == 2:
        one("LRN", shape, size=3, alpha=0.01, beta=0.6, bias=1.5)


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_softmax(op: str, axis: int, opset: int) -> None:
    one(op, (2, 3, 4, 5), axis=axis, opset=opset)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Elu", {"alpha": 0.7}),
        ("Selu", {}),
        ("Celu", {"alpha": 0.7}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("ThresholdedRelu", {"alpha": 0.4}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", {}),
        ("Shrink", {"lambd": 0.3, "bias": 0.1}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("Mish", {}),
        *((op, {}) for op in ("Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Tan", "Asin")),
        *((op, {}) for op in ("Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")),
        ("Selu", {"alpha": 1.2, "gamma": 0.9}),
        ("Gelu", {"approximate": "tanh"}),
        ("Gelu", {}),
        ("Erf", {}),
        ("Reciprocal", {}),
        ("IsNaN", {}),
    ],
)
def test_functions(op: str, attributes: dict[str, Any]) -> None:
    types = {"y": "bool"} if op == "IsNaN" else {}
    runtime.InferenceSession  # noqa: B018
    nodes, opset = [node(op, "x", "y", **attributes)], 20 if op == "Gelu" else 18
    data = made(nodes, {"x": (2, 3, 4)}, ["y"], types=types, opset=opset)
    agree(data, {"x": numbers(2, 3, 4)})


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.0, -1.0, 7.0])
def test_powers_of_negative_numbers(exponent: float) -> None:
    one("Pow", (2, 3, 4), {"e": np.array(exponent, np.float32)})


@pytest.mark.parametrize("exponent", [0.5, 0.3, -0.5, -1.5, 40.0, np.inf])
def test_powers_of_any_exponent(exponent: float) -> None:
    data = made(
        [node("Abs", "x", "a"), node("Pow", "a e", "y")],
        {"x": (2, 3, 4)},
        ["y"],
        {"e": np.array(exponent, np.float32)},
    )
    agree(data, {"x": numbers(2, 3, 4)})


def test_powers_and_remainders_of_two_tensors() -> None:
    shapes = {"x": (2, 3, 4), "z": (3, 1)}
    x, z = numbers(2, 3, 4), numbers(3, 1, seed=5)
    whole = np.array([[2.0], [-3.0], [0.5]], np.float32)
    agree(made([node("Pow", "x z", "y")], shapes, ["y"]), {"x": x, "z": whole})
    agree(made([node("Pow", "x z", "y")], shapes, ["y"]), {"x": np.abs(x), "z": z})
    base = {"c": np.abs(z)}
    agree(made([node("Pow", "c x", "y")], {"x": (2, 1, 4)}, ["y"], base), {"x": x[:, :1]})
    agree(made([node("Mod", "x z", "y", fmod=1)], shapes, ["y"]), {"x": x * 9, "z": z})


def test_many_operands() -> None:
    """Some of them constants, more than one formula takes, and NaN from any of them."""
    names = " ".join(f"x{i}" for i in range(12))
    shapes = {f"x{i}": (2, 1, 4) if i % 3 else (2, 3, 1) for i in range(12)}
    given = {name: numbers(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    given["x5"][0, 0, 1] = given["x9"][1, 2, 0] = np.nan
    for op in ("Sum", "Mean", "Max", "Min"):
        agree(made([node(op, f"{names} c", "y")], shapes, ["y"], {"c": numbers(3, 4)}), given)
        agree(made([node(op, "x1", "y")], shapes, ["y"]), given)


def test_bounds_that_are_computed() -> None:
    nodes = [node("ReduceMin", "x", "a", keepdims=0), node("Clip", "x a b", "y")]
    nodes.insert(1, node("Mul", "a h", "b"))
    agree(made(nodes, {"x": (2, 3)}, ["y"], {"h": np.array(0.5, np.float32)}), {"x": numbers(2, 3)})


def test_conditions_of_conditions() -> None:
    nodes = [
        node("Greater", "x z", "a"),
        node("Equal", "x c", "b"),
        node("Xor", "a b", "o"),
        node("IsInf", "x", "i", detect_negative=0),
        node("Or", "o i", "p"),
        node("And", "p o", "q"),
        node("Equal", "q a", "y"),
    ]
    shapes = {"x": (2, 3, 4), "z": (4,)}
    data = made(nodes, shapes, ["y"], {"c": np.array(1, np.float32)}, types={"y": "bool"}, opset=20)
    x = np.round(numbers(2, 3, 4) * 2)
    x[0, 0, :2] = np.inf, -np.inf
    agree(data, {"x": x, "z": numbers(4, seed=3)})


def test_what_does_not_depend_on_its_operand() -> None:
    one("Pow", (2, 3, 4), {"e": np.zeros((3, 1), np.float32)})
    data = made(
        [node("IsInf", "x", "y", detect_negative=0, detect_positive=0)],
        {"x": (2, 3)},
        ["y"],
        types={"y": "bool"},
        opset=20,
    )
    assert not load(data)(numbers(2, 3)).any()


@pytest.mark.parametrize("wide", [(), (1,), (4,), (3, 1), (3, 4), (1, 3, 1), (2, 1, 1, 4)])
def test_broadcasting_of_constants(wide: tuple[int, ...]) -> None:
    for op in ("Add", "Sub", "Div"):
        data = made([node(op, "x c", "y")], {"x": (2, 2, 3, 4)}, ["y"], {"c": numbers(*wide) + 3})
        agree(data, {"x": numbers(2, 2, 3, 4)})


@pytest.mark.parametrize(
    "wide", [(2, 3, 1, 1), (2, 1, 4, 5), (2, 1, 1, 1), (2, 3, 1, 5), (2, 1, 4, 1)]
)
def test_gates(wide: tuple[int, ...]) -> None:
    """A map times what another branch makes of it, in any shape that broadcasts."""
    data = made([node("Mul", "x z", "y")], {"x": (2, 3, 4, 5), "z": wide}, ["y"])
    agree(data, {"x": numbers(2, 3, 4, 5), "z": numbers(*wide)})


def test_a_constant_in_two_orders() -> None:
    """It is kept in each of them."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Add", "t w", "a"),
        node("Mul", "u w", "b"),
        node("Mul", "a b", "y"),
    ]
    inputs = {"x": (2, 3, 4), "u": (2, 4, 3)}
    data = made(nodes, inputs, ["y"], {"w": numbers(4, 3, seed=5)})
    agree(data, {"x": numbers(2, 3, 4), "u": numbers(2, 4, 3, seed=6)})


def test_zero_times_infinity_is_nan() -> None:
    data = made([node("Mul", "x c", "y")], {"x": (1, 2)}, ["y"], {"c": np.zeros(1, np.float32)})
    x = np.array([[np.inf, 1]], np.float32)
    agree(data, {"x": x})


def test_old_broadcasting() -> None:
    """Of opset 6, which ONNX Runtime does not read."""
    c, x = numbers(3), numbers(2, 3, 4, 5)
    add = node("Add", "x c", "y", broadcast=1, axis=1)
    data = made([add], {"x": (2, 3, 4, 5)}, ["y"], {"c": c}, opset=6)
    assert np.array_equal(load(data)(x), x + c[:, None, None])


def test_settings_that_were_attributes() -> None:
    axes, whole = [2, 3], {"a": np.array([2, 3], np.int64)}
    for opset in (9, 18):
        settings: Any = ({}, {"axes": axes}) if opset < 13 else (whole, {})
        one("ReduceMean", (2, 3, 4, 5), settings[0], opset=opset, **settings[1])
    one("Clip", (2, 3), opset=6, min=-0.5, max=0.5)
    one("Clip", (2, 3), {"a": np.array(-0.5, np.float32), "b": np.array(0.5, np.float32)})
    one("Split", (2, 6, 4), opset=11, outputs="y z", axis=1, split=[2, 4])
    one("Split", (2, 6, 4), {"s": np.array([1, 5], np.int64)}, outputs="y z", axis=1)
    one("Pad", (2, 3, 4, 5), opset=6, pads=[0, 0, 1, 2, 0, 0, 0, 1])
    one("Upsample", (2, 3, 4, 5), opset=7, scales=[1.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_a_pad_before_a_convolution_becomes_its_own(mode: str) -> None:
    pads = {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1], np.int64)}
    nodes = [node("Pad", "x p", "wide", mode=mode), node("Conv", "wide w", "y")]
    data = made(nodes, {"x": (2, 3, 6, 7)}, ["y"], pads | w(4, 3, 3, 3), opset=19)
    agree(data, {"x": numbers(2, 3, 6, 7)})
    assert len(load(data).graph().nodes) == 1


def test_a_pad_with_zeros_around_a_reflection() -> None:
    pads = {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1], np.int64)}
    nodes = [
        node("Pad", "x p", "wide", mode="reflect"),
        node("Conv", "wide w", "y", pads=[1, 1, 1, 1]),
    ]
    data = made(nodes, {"x": (2, 3, 6, 7)}, ["y"], pads | w(4, 3, 3, 3))
    agree(data, {"x": numbers(2, 3, 6, 7)})


@pytest.mark.parametrize("rule", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("how", ["asymmetric", "half_pixel", "align_corners"])
@pytest.mark.parametrize("scale", [2.0, 3.0, 0.5])
def test_nearest_sizes(scale: float, how: str, rule: str) -> None:
    scales = {"r": np.zeros(0, np.float32), "s": np.array([1, 1, scale, 2], np.float32)}
    words = {"coordinate_transformation_mode": how, "nearest_mode": rule}
    one("Resize", (2, 3, 4, 2), scales, mode="nearest", **words)


def test_products() -> None:
    one("Gemm", (3, 5), w(4, 5) | {"b": numbers(4)}, transB=1, alpha=0.5, beta=2.0)
    one("Gemm", (3, 5), w(5, 4) | {"b": numbers(1)})
    one("MatMul", (2, 3, 5), w(5, 4))
    one("MatMul", (2, 3, 4, 5), w(5))
    runtime.InferenceSession  # noqa: B018
    left = made([node("MatMul", "w x", "y")], {"x": (2, 5, 3)}, ["y"], w(4, 5))
    agree(left, {"x": numbers(2, 5, 3)})


def test_a_pad_with_a_number() -> None:
    pads = {"p": np.array([0, 1, 0, 2, 0, 0, 3, -1], np.int64), "v": np.array(2.5, np.float32)}
    one("Pad", (2, 3, 4, 5), pads)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_of_positions(mode: str) -> None:
    one("DepthToSpace", (2, 12, 3, 4), blocksize=2, mode=mode)
    one("SpaceToDepth", (2, 3, 4, 6), blocksize=2)


def test_constants_beside_tensors() -> None:
    """A class token, as a vision transformer has it: the same for each sample."""
    runtime.InferenceSession  # noqa: B018
    token = np.broadcast_to(numbers(1, 1, 4), (2, 1, 4)).copy()
    for constant, sizes in ((token, (2, 5, 4)), (token[:1], (1, 5, 4))):
        data = made([node("Concat", "c x", "y", axis=1)], {"x": sizes}, ["y"], {"c": constant})
        agree(data, {"x": numbers(*sizes)})


def test_conditions() -> None:
    nodes = [
        node("Greater", "x z", "a"),
        node("Less", "x c", "b"),
        node("Or", "a b", "o"),
        node("Not", "o", "n"),
        node("Where", "n x z", "y"),
    ]
    shapes = {"x": (2, 3, 4), "z": (2, 3, 4)}
    data = made(nodes, shapes, ["y", "n"], {"c": numbers(3, 1)}, types={"n": "bool"})
    agree(data, {"x": numbers(2, 3, 4), "z": numbers(2, 3, 4, seed=2)})


def test_a_table_of_vectors() -> None:
    table = {"t": numbers(10, 4)}
    nodes = [node("Gather", "t x", "e"), node("Transpose", "e", "f", perm=[0, 2, 1])]
    nodes.append(node("Conv", "f w", "y"))
    data = made(nodes, {"x": ("N", 7)}, ["y"], table | w(3, 4, 2), types={"x": "int64"})
    tokens = np.random.default_rng(0).integers(0, 10, (3, 7))
    agree(data, {"x": tokens})
    with pytest.raises(ValueError, match="10"):
        load(data)(np.full((1, 7), 10))
