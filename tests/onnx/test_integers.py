"""Quantised ONNX models in integers, against onnx's reference evaluator."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import made, node, runtime
from optional import optional

import faltung.onnx

onnx = optional("onnx")
onnxruntime = optional("onnxruntime")


class Builder:
    """Nodes between QuantizeLinear and DequantizeLinear, as ONNX Runtime's quantiser writes them.

    exact: scales are powers of two, so that float32 sums are exact. kind: of activations.
    """

    def __init__(self, exact: bool, kind: str = "uint8") -> None:
        self.exact, self.kind = exact, kind
        self.rng = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.scales: dict[str, np.float32] = {}
        self.count = 0

    def name(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def constant(self, what: str, array: Any) -> str:
        name = self.name(what)
        self.constants[name] = array
        return name

    def add(self, op: str, inputs: str, **attributes: Any) -> str:
        name = self.name(op.lower())
        self.nodes.append(node(op, inputs, name, **attributes))
        return name

    def scale(self, about: float) -> np.float32:
        power = 2.0 ** np.round(np.log2(about))
        return np.float32(power if self.exact else power * self.rng.uniform(0.8, 1.2))

    def on_grid(self, x: str, about: float = 0.06, zero: int | None = None) -> str:
        scale = self.scale(about)
        zero = (3 if self.kind == "int8" else 128) if zero is None else zero
        s, z = self.constant("s", scale), self.constant("z", np.array(zero, self.kind))
        made = self.add("DequantizeLinear", f"{self.add('QuantizeLinear', f'{x} {s} {z}')} {s} {z}")
        self.scales[made] = scale
        return made

    def weight(self, *shape: int, axis: int = 0) -> tuple[str, Any]:
        levels = self.rng.integers(-127, 128, shape).astype(np.int8)
        scales = np.array([self.scale(0.004) for _ in range(shape[axis])])
        s, z = self.constant("ws", scales), self.constant("wz", np.zeros(len(scales), np.int8))
        return self.add(
            "DequantizeLinear", f"{self.constant('w', levels)} {s} {z}", axis=axis
        ), scales

    def bias(self, x: str, scales: Any) -> str:
        levels = self.rng.integers(-3000, 3000, len(scales)).astype(np.int32)
        s = self.constant("bs", (scales * self.scales[x]).astype(np.float32))
        z = self.constant("bz", np.zeros(len(scales), np.int32))
        return self.add("DequantizeLinear", f"{self.constant('b', levels)} {s} {z}", axis=0)

    def conv(self, x: str, *shape: int, bias: bool = True, **attributes: Any) -> str:
        w, scales = self.weight(*shape)
        b = f" {self.bias(x, scales)}" if bias else ""
        return self.add("Conv", f"{x} {w}{b}", **attributes)


def plain(b: Builder) -> tuple[str, tuple[int, ...]]:
    x = b.on_grid("x")
    y = b.add("Relu", b.conv(x, 16, 3, 3, 3, pads=[1, 0, 1, 2], strides=[2, 1]))
    y = b.on_grid(y, 0.05, 0 if b.kind == "uint8" else -128)
    return b.conv(y, 9, 16, 1, 1, bias=False), (3, 11, 9)


def residual(b: Builder) -> tuple[str, tuple[int, ...]]:
    x = b.on_grid("x")
    y = b.on_grid(b.add("Relu", b.conv(x, 8, 8, 3, 3, pads=[1] * 4)), 0.05)
    z = b.on_grid(b.conv(y, 8, 8, 3, 3, pads=[1] * 4), 0.05)
    y = b.on_grid(b.add("Relu", b.add("Add", f"{z} {x}")), 0.08)
    pooled = b.add("GlobalAveragePool", b.on_grid(b.add("MaxPool", y, kernel_shape=[2, 2]), 0.08))
    flat = b.add("Flatten", b.on_grid(pooled, 0.02))
    w, _ = b.weight(10, 8)
    free = b.constant("c", b.rng.normal(size=10).astype(np.float32))  # on no grid
    return b.add("Gemm", f"{b.on_grid(flat, 0.02)} {w} {free}", transB=1), (8, 7, 9)


def branches(b: Builder) -> tuple[str, tuple[int, ...]]:
    x = b.on_grid("x")
    parts = [b.on_grid(b.conv(x, n, 6, 1, 1), about) for n, about in ((5, 0.05), (16, 0.02))]
    parts.append(b.on_grid(b.add("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)))
    joined = b.on_grid(b.add("Concat", " ".join(parts), axis=1), 0.05)
    y = b.conv(joined, 27, 1, 3, 3, group=27, pads=[1] * 4)
    y = b.on_grid(b.add("AveragePool", b.on_grid(y, 0.03), kernel_shape=[2, 2]), 0.02)
    return b.conv(y, 12, 9, 3, 3, group=3), (6, 9, 8)


def series(b: Builder) -> tuple[str, tuple[int, ...]]:
    y = b.on_grid(b.conv(b.on_grid("x"), 20, 4, 5, dilations=[2], pads=[4, 4]), 0.05)
    return b.on_grid(b.conv(y, 7, 20, 3, strides=[2]), 0.05), (4, 33)


def volume(b: Builder) -> tuple[str, tuple[int, ...]]:
    y = b.on_grid(b.add("Relu", b.conv(b.on_grid("x"), 8, 2, 3, 3, 3, pads=[1] * 6)), 0.05)
    y = b.add("MaxPool", y, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    return b.on_grid(b.conv(b.on_grid(y, 0.05), 5, 8, 2, 2, 2), 0.05), (2, 7, 6, 5)


def products(b: Builder) -> tuple[str, tuple[int, ...]]:
    w, _ = b.weight(40, 300, axis=1)
    y = b.on_grid(b.add("MatMul", f"{b.on_grid('x')} {w}"), 0.05)
    w, _ = b.weight(300, 7, axis=1)
    return b.add("MatMul", f"{b.on_grid(b.add('Relu', y), 0.05)} {w}"), (5, 40)


NETS: dict[str, Callable[[Builder], tuple[str, tuple[int, ...]]]] = {
    each.__name__: each for each in (plain, residual, branches, series, volume, products)
}


def files(name: str, exact: bool, kind: str = "uint8") -> tuple[bytes, Any, float]:
    """A model, an input, and one step of the grid on which its result is put."""
    b = Builder(exact, kind)
    out, shape = NETS[name](b)
    y = b.on_grid(out, 0.05)
    b.nodes.append(node("Identity", y, "y"))
    data = made(b.nodes, {"x": (2, *shape)}, ["y"], b.constants, opset=21)
    x = np.random.default_rng(1).normal(0, 2, (2, *shape)).astype(np.float32)
    return data, x, float(b.scales[y])


def integers(model: Any) -> int:
    """How many convolutions of whole numbers the programs of a model have."""
    text = model.explain()
    return sum(int(line.split("integers: ")[1].split()[0]) for line in text.split("\n")
               if "in integers: " in line)  # fmt: skip


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("name", NETS)
def test_the_numbers_of_the_reference_where_sums_are_exact(name: str, kind: str) -> None:
    data, x, _ = files(name, True, kind)
    from onnx.reference import ReferenceEvaluator

    (expected,) = ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"x": x})
    model = faltung.onnx.load(data)
    (found,) = model.run({"x": x})
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 10
    assert integers(model) >= 2


@pytest.mark.parametrize("name", NETS)
def test_one_step_apart_where_sums_round(name: str) -> None:
    data, x, step = files(name, False)
    (found,) = faltung.onnx.load(data).run({"x": x})
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    apart = np.abs(found - expected)
    assert apart.max() <= 1.01 * step
    assert (apart > 0).mean() < 0.05


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_what_a_quantiser_writes_in_either_form(form: str, tmp_path: Path) -> None:
    from onnxruntime import quantization as tool

    rng = np.random.default_rng(0)
    sizes = {"w": (8, 3, 3, 3), "b": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "g": (16, 5), "c": (5,)}
    constants = {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in sizes.items()}
    nodes = [
        node("Conv", "x w b", "a", pads=[1] * 4),
        node("Relu", "a", "r"),
        node("MaxPool", "r", "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "m w2 b2", "d", pads=[1] * 4),
        node("Add", "d m", "s"),
        node("Concat", "s m", "j", axis=1),
        node("GlobalAveragePool", "j", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f g c", "y"),
    ]
    real, whole = str(tmp_path / "real.onnx"), str(tmp_path / "whole.onnx")
    data = made(nodes, {"x": (2, 3, 9, 8)}, ["y"], constants)
    (tmp_path / "real.onnx").write_bytes(data)
    x = rng.normal(size=(2, 3, 9, 8)).astype(np.float32)

    samples = [{"x": x}]

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            return samples.pop() if samples else None

    tool.quantize_static(
        real,
        whole,
        Reader(),
        quant_format=tool.QuantFormat[form],
        per_channel=True,
        reduce_range=True,  # sums of two products saturate there otherwise
    )
    model = faltung.onnx.load(whole)
    (found,) = model.run({"x": x})
    (expected,) = runtime((tmp_path / "whole.onnx").read_bytes(), {"x": x})
    levels = np.unique(expected)
    assert np.abs(found - expected).max() <= 2.01 * np.diff(levels).min()
    assert integers(model) == 3 and "host" not in model.explain()
