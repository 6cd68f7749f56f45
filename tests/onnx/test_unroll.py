"""Loops of a known number of turns become part of the program around them."""

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.graph.ops import Convolve
from faltung.onnx import load
from faltung.onnx.unroll import MOST_TURNS

onnx: Any = optional("onnx")

FLOAT, WHOLE, TRUTH = 1, 7, 9


def info(name: str, kind: int = FLOAT, shape: Any = None) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: Any = None) -> Any:
    arrays = [onnx.numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    return onnx.helper.make_graph(nodes, "body", inputs, outputs, arrays)


def parts(data: bytes, inputs: dict[str, Any]) -> int:
    """How many programs a run of the model takes; none of it runs on the host."""
    model = load(data)
    model.run(inputs)
    records = model._main.records
    assert not any(record.host for record in records), [record.host for record in records]
    return sum(record.part is not None and record.part.graph is not None for record in records)


def loop(count: int, opset: int, ends: list[Any], last: str = "go") -> bytes:
    """v = relu(conv(v)) + (a row of the table for each turn), and all of them."""
    body = graph(
        [
            node("Conv", "v w", "c", pads=[1, 1, 1, 1]),
            node("Relu", "c", "r"),
            node("Gather", "rows i", "row", axis=0),
            node("Add", "r row", "v2"),
            *ends,
        ],
        [info("i", WHOLE, []), info("go", TRUTH, []), info("v"), info("same")],
        [info(last, TRUTH, []), info("v2"), info("same"), info("r")],
        {"rows": numbers(MOST_TURNS + 2, 1)},
    )
    constants = {"w": 0.4 * numbers(2, 2, 3, 3), "n": np.array(count), "yes": np.array(True)}
    nodes = [
        node("Tanh", "x", "t"),
        node("Loop", "n yes t x", "y s all", body=body),
        node("Neg", "y", "z"),
    ]
    return made(nodes, {"x": (1, 2, 4, 5)}, ["z", "s", "all"], constants, opset=opset)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_loop_of_a_known_number_of_turns(count: int, opset: int) -> None:
    x = {"x": numbers(1, 2, 4, 5)}
    for ends, last in (
        ([], "go"),
        ([node("Identity", "go", "on")], "on"),
        ([node("Constant", "", "on", value=onnx.numpy_helper.from_array(np.array(True)))], "on"),
    ):
        data = loop(count, opset, ends, last)
        agree(data, x)
        assert parts(data, x) == 1


def test_weights_of_all_turns_are_there_once() -> None:
    model = load(loop(5, 18, []))
    model.run({"x": numbers(1, 2, 4, 5)})
    (part,) = [record.part for record in model._main.records if record.part is not None]
    assert sum(isinstance(node.op, Convolve) for node in part.graph.nodes) == 5
    assert sum(p.name.endswith("weight") for p in part.graph.parameters) == 1


def test_loops_that_stay() -> None:
    """Of too many turns, and of none."""
    x = {"x": numbers(1, 2, 4, 5)}
    many = loop(MOST_TURNS + 1, 18, [])
    agree(many, x)
    model = load(many)
    model.run(x)
    assert any(record.host for record in model._main.records)
    body = graph(
        [node("Add", "v v", "v2"), node("Identity", "go", "on")],
        [info("i", WHOLE, []), info("go", TRUTH, []), info("v")],
        [info("on", TRUTH, []), info("v2")],
    )
    nodes = [node("Loop", "n - x", "y", body=body), node("Neg", "y", "z")]
    agree(made(nodes, {"x": (2, 3)}, ["z"], {"n": np.array(0)}), {"x": numbers(2, 3)})


def scan(axis: int, back: int, out_axis: int, out_back: int) -> bytes:
    """An Elman network: h = tanh(W x + R h), over an axis of the input."""
    body = graph(
        [
            node("MatMul", "xt w", "a"),
            node("MatMul", "h r", "b"),
            node("Add", "a b", "s"),
            node("Tanh", "s", "h2"),
            node("Mul", "h2 h2", "square"),
        ],
        [info("h"), info("xt")],
        [info("h2"), info("square")],
        {"w": 0.5 * numbers(3, 4), "r": 0.5 * numbers(4, 4, seed=1)},
    )
    more = {
        "num_scan_inputs": 1,
        "scan_input_axes": [axis],
        "scan_input_directions": [back],
        "scan_output_axes": [out_axis],
        "scan_output_directions": [out_back],
    }
    shape: list[Any] = [2, 3]
    shape.insert(axis, "T")
    inputs: dict[str, Any] = {"x": shape, "h0": (2, 4)}
    return made([node("Scan", "h0 x", "h y", body=body, **more)], inputs, ["h", "y"])


@pytest.mark.parametrize(
    ("axis", "back", "out_axis", "out_back"), [(0, 0, 0, 0), (1, 1, 1, 0), (0, 1, 2, 1)]
)
def test_a_scan(axis: int, back: int, out_axis: int, out_back: int) -> None:
    data = scan(axis, back, out_axis, out_back)
    for steps in (1, 4, 7):
        shape = [2, 3]
        shape.insert(axis, steps)
        inputs = {"x": numbers(*shape), "h0": numbers(2, 4, seed=3)}
        agree(data, inputs)
        assert parts(data, inputs) == 1


def test_a_scan_of_many_steps_stays() -> None:
    inputs = {"x": numbers(MOST_TURNS + 1, 2, 3), "h0": numbers(2, 4, seed=3)}
    agree(scan(0, 0, 0, 0), inputs)
