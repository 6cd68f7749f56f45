"""Loops and branches whose conditions are computed, around compiled bodies."""

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.onnx import load

onnx = optional("onnx")

FLOAT, WHOLE, TRUTH = 1, 7, 9


def info(name: str, kind: int = FLOAT, shape: Any = None) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: Any = None) -> Any:
    arrays = [onnx.numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    return onnx.helper.make_graph(nodes, "body", inputs, outputs, arrays)


def branches(condition: str) -> Any:
    """A convolution with a weight from outside, or a negation."""
    then = graph([node("Conv", "x w", "t0"), node("Relu", "t0", "t")], [], [info("t")])
    other = graph([node("Conv", "x w", "e0"), node("Neg", "e0", "e")], [], [info("e")])
    return node("If", condition, "y", then_branch=then, else_branch=other)


def test_a_branch_by_what_is_computed() -> None:
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s zero", "c"),
        branches("c"),
    ]
    constants = {"w": numbers(3, 2, 3, 3), "zero": np.array(0, np.float32)}
    data = made(nodes, {"x": (1, 2, 5, 5)}, ["y", "c"], constants, types={"c": "bool"})
    x = numbers(1, 2, 5, 5)
    taken = {bool(agree(data, {"x": sign * x})[1]) for sign in (1, -1)}
    assert taken == {True, False}


def counting(turns: str = "n", condition: str = "-") -> bytes:
    """x = relu(conv(x)) + step, as often as is said, and all of them beside each other."""
    body = graph(
        [
            node("Conv", "v w", "c", pads=[1, 1, 1, 1]),
            node("Relu", "c", "r"),
            node("Cast", "i", "step", to=FLOAT),
            node("Add", "r step", "v2"),
            node("ReduceMax", "v2", "m", keepdims=0),
            node("Less", "m most", "go"),
        ],
        [info("i", WHOLE, []), info("b", TRUTH, []), info("v")],
        [info("go", TRUTH, []), info("v2"), info("m", FLOAT, [])],
    )
    nodes = [node("Loop", f"{turns} {condition} x", "y maxima", body=body), node("Neg", "y", "z")]
    constants = {"w": 0.5 * numbers(2, 2, 3, 3), "most": np.array(20, np.float32)}
    inputs: dict[str, Any] = {"x": (1, 2, 4, 4), "n": ()}
    return made(nodes, inputs, ["z", "maxima"], constants, types={"n": "int64"})


@pytest.mark.parametrize("turns", [0, 1, 3, 100])
def test_a_loop(turns: int) -> None:
    agree(counting(), {"x": numbers(1, 2, 4, 4), "n": np.array(turns)})


def test_the_body_of_a_loop_is_compiled_once() -> None:
    model = load(counting())
    model(numbers(1, 2, 4, 4), np.array(4))
    (routine,) = model._main.engine._routines.values()
    ((_, stage),) = routine.roots.values()
    assert len(stage.programs) <= 2
    text = model.explain()
    assert "body of Loop" in text and "1 Conv" in text and "1 Neg" in text


def test_loops_in_loops_with_names_from_outside() -> None:
    inner = graph(
        [node("Add", "a x", "a2"), node("Identity", "cond", "cond2")],
        [info("j", WHOLE, []), info("cond", TRUTH, []), info("a")],
        [info("cond2", TRUTH, []), info("a2")],
    )
    outer = graph(
        [
            node("Add", "i one", "count"),
            node("Loop", "count - v", "v2", body=inner),
            node("Identity", "go", "go2"),
        ],
        [info("i", WHOLE, []), info("go", TRUTH, []), info("v")],
        [info("go2", TRUTH, []), info("v2")],
        {"one": np.array(1)},
    )
    nodes = [node("Relu", "start", "s"), node("Loop", "n - s", "y", body=outer)]
    inputs: dict[str, Any] = {"x": (2, 3), "start": (2, 3), "n": ()}
    data = made(nodes, inputs, ["y"], types={"n": "int64"})
    agree(data, {"x": numbers(2, 3), "start": numbers(2, 3, seed=1), "n": np.array(4)})


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_scan(axis: int, reverse: int) -> None:
    body = graph(
        [
            node("MatMul", "h w", "hw"),
            node("Add", "hw e", "s"),
            node("Tanh", "s", "h2"),
            node("Identity", "h2", "out"),
        ],
        [info("h"), info("e")],
        [info("h2"), info("out")],
    )
    scan = node(
        "Scan",
        "h0 x",
        "h all",
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[reverse],
        scan_output_axes=[axis],
        scan_output_directions=[reverse],
        body=body,
    )
    shape = (5, 2, 3) if axis == 0 else (2, 5, 3)
    nodes = [scan, node("Relu", "all", "y")]
    data = made(nodes, {"h0": (2, 3), "x": shape}, ["h", "y"], {"w": numbers(3, 3)})
    agree(data, {"h0": numbers(2, 3), "x": numbers(*shape)})


def test_functions_with_bodies_and_the_names_in_them() -> None:
    """A function that holds a loop, called twice."""
    body = graph(
        [node("Mul", "v a", "v2"), node("Identity", "go", "go2")],
        [info("i", WHOLE, []), info("go", TRUTH, []), info("v")],
        [info("go2", TRUTH, []), info("v2")],
    )
    power = onnx.helper.make_function(
        "own",
        "Power",
        ["a", "n"],
        ["b"],
        [node("Loop", "n - a", "b", body=body)],
        [onnx.helper.make_opsetid("", 18)],
    )
    calls = [
        onnx.helper.make_node("Power", ["x", "n"], ["p"], domain="own"),
        onnx.helper.make_node("Power", ["p", "n"], ["y"], domain="own"),
    ]
    inputs: dict[str, Any] = {"x": (2, 3), "n": ()}
    data = made(calls, inputs, ["y"], types={"n": "int64"}, functions=[power])
    agree(data, {"x": numbers(2, 3), "n": np.array(2)})


def test_loops_that_do_not_end_or_do_not_fit() -> None:
    endless = graph(
        [node("Identity", "go", "go2"), node("Identity", "v", "v2")],
        [info("i", WHOLE, []), info("go", TRUTH, []), info("v")],
        [info("go2", TRUTH, []), info("v2")],
    )
    data = made([node("Loop", "- - x", "y", body=endless)], {"x": (1,)}, ["y"])
    with pytest.raises(UnsupportedError, match="more than 1024 turns"):
        from faltung.onnx import control

        before, control.MOST_TURNS = control.MOST_TURNS, 1024
        try:
            load(data)(numbers(1))
        finally:
            control.MOST_TURNS = before
    counted = made(
        [node("Loop", "n - x", "y", body=endless)], {"x": (1,)}, ["y"], {"n": np.array(1 << 40)}
    )
    with pytest.raises(UnsupportedError, match="more than 65536 turns"):
        load(counted)(numbers(1))
    data = made([node("Loop", "- - x x", "y z", body=endless)], {"x": (1,)}, ["y", "z"])
    with pytest.raises(FaltungError, match=r"node of y \(Loop\): its body must take 4 inputs"):
        load(data)(numbers(1))
    unknown = graph([node("Det", "x", "d")], [], [info("d")])
    nodes = [
        node("Cast", "x", "c", to=TRUTH),
        node("If", "c", "y", then_branch=unknown, else_branch=unknown),
    ]
    with pytest.raises(UnsupportedError, match="nothing was run: Det, 2 times"):
        load(made(nodes, {"x": ()}, ["y"]))


def test_a_few_numbers_on_the_host_are_remembered() -> None:
    """Not their place: what a caller does to a result, and other numbers, are seen."""
    nodes = [
        node("Add", "n n", "twice"),
        node("Cast", "twice", "f", to=FLOAT),
        node("Mul", "x f", "y"),
    ]
    data = made(
        nodes, {"x": (2, 3), "n": ()}, ["y", "twice"], types={"n": "int64", "twice": "int64"}
    )
    model, x = load(data), numbers(2, 3)
    for n in (3, 3, 4, 3):
        y, twice = model.run({"x": x, "n": np.array(n)})
        assert twice == 2 * n
        np.testing.assert_allclose(y, 2 * n * x, rtol=1e-6)
        twice[...] = -1
