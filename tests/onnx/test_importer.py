"""Branches, functions, shapes: what is settled before there is a program."""

from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.onnx import load

onnx = optional("onnx")


def branch(name: str, op: str) -> Any:
    """A graph that reads ``x`` of the graph around it."""
    return onnx.helper.make_graph(
        [node(op, "x", name)],
        name,
        [],
        [onnx.helper.make_tensor_value_info(name, 1, None)],
    )


def conditional(condition: str, constants: dict[str, Any], shapes: Any) -> bytes:
    made_ = node(
        "If", condition, "y", then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg")
    )
    return made([made_], shapes, ["y"], constants, types={"c": "bool"})


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_is_chosen(condition: bool) -> None:
    data = conditional("k", {"k": np.array(condition)}, {"x": ("N", 2, 3)})
    agree(data, {"x": numbers(2, 2, 3)})


def test_a_condition_that_is_an_input() -> None:
    data = conditional("c", {}, {"x": (2, 3), "c": ()})
    for c in (True, False):
        agree(data, {"x": numbers(2, 3), "c": np.array(c)})


def test_shapes_follow_from_the_sizes_given() -> None:
    """As exporters write ``x.view(x.shape[0], -1)``, and ones of the shape of ``x``."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n at", "n1"),
        node("Concat", "n1 rest", "to", axis=0),
        node("Reshape", "x to", "flat"),
        node("Shape", "flat", "fs"),
        node("ConstantOfShape", "fs", "ones", value=onnx.helper.make_tensor("v", 1, [1], [2.5])),
        node("Add", "flat ones", "y"),
    ]
    constants = {
        "zero": np.array(0),
        "at": np.array([0]),
        "rest": np.array([-1]),
    }
    data = made(nodes, {"x": ("N", 2, "L")}, ["y"], constants)
    for shape in [(1, 2, 3), (3, 2, 4)]:
        agree(data, {"x": numbers(*shape)})


def test_a_bomb_of_a_constant() -> None:
    nodes = [node("ConstantOfShape", "huge", "c"), node("Add", "x c", "y")]
    data = made(nodes, {"x": (1, 2)}, ["y"], {"huge": np.array([1 << 20, 1 << 20])})
    with pytest.raises(UnsupportedError, match="a constant of 1099511627776 numbers"):
        load(data)


def function(name: str, nodes: list[Any], attributes: Any = ()) -> Any:
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("own", 1)]
    return onnx.helper.make_function("own", name, ["a"], ["b"], nodes, imports, attributes)


def test_functions_and_their_attributes() -> None:
    inner = onnx.helper.make_node("LeakyRelu", ["a"], ["b"])
    reference = onnx.AttributeProto()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", 1
    inner.attribute.append(reference)
    leaky = function("Leaky", [inner], ["slope"])
    nodes = [onnx.helper.make_node("Leaky", ["x"], ["y"], domain="own", slope=0.3)]
    data = made(nodes, {"x": ("N", 2, 3)}, ["y"], functions=[leaky])
    agree(data, {"x": numbers(2, 2, 3)})


def test_functions_that_call_themselves() -> None:
    loop = function("Loop", [onnx.helper.make_node("Loop", ["a"], ["b"], domain="own")])
    nodes = [onnx.helper.make_node("Loop", ["x"], ["y"], domain="own")]
    data = made(nodes, {"x": (1, 2)}, ["y"], functions=[loop])
    with pytest.raises(FaltungError, match="nested more than"):
        load(data)


def test_functions_that_call_others_twice_and_these_again() -> None:
    """Sixteen functions, and 2^16 nodes: more would be refused."""
    functions = []
    for i in range(18):
        inner = "own" if i else ""
        op = f"F{i - 1}" if i else "Relu"
        nodes = [
            onnx.helper.make_node(op, ["a"], ["m"], domain=inner),
            onnx.helper.make_node(op, ["m"], ["b"], domain=inner),
        ]
        functions.append(function(f"F{i}", nodes))
    nodes = [onnx.helper.make_node("F17", ["x"], ["y"], domain="own")]
    data = made(nodes, {"x": (1, 2)}, ["y"], functions=functions)
    with pytest.raises(FaltungError, match=r"nested more than|more than 200000 nodes"):
        load(data)


def test_a_node_that_contradicts_its_operator() -> None:
    for words, message in [
        (node("Relu", "x x", "y"), "2 inputs: the operator takes others"),
        (node("Conv", "x", "y"), "1 inputs: the operator takes others"),
        (node("Concat", "x x", "y"), "attribute axis is missing"),
        (node("Flatten", "x", "y", axis="one"), "attribute axis: must be int"),
        (node("Flatten", "x", "y", axis=7), "axis=7: must be an axis of 3"),
        (node("Transpose", "x", "y", perm=[0, 0, 1]), r"perm=\(0, 0, 1\): must be the axes"),
    ]:
        data = made([words], {"x": (1, 2, 3)}, ["y"])
        with pytest.raises(FaltungError, match=rf"model: node of y \({words.op_type}\): {message}"):
            load(data)


def test_an_attribute_that_nobody_reads_is_not_passed_over() -> None:
    """Operators get attributes with time: an unknown one may change the result."""
    data = made([node("Relu", "x", "y", odd=2)], {"x": (1, 2)}, ["y"])
    with pytest.raises(UnsupportedError, match=r"Relu, 1 time .*: the attribute odd"):
        load(data)
    agree(made([node("Flatten", "x", "y", axis=1)], {"x": (1, 2)}, ["y"]), {"x": numbers(1, 2)})


def test_a_part_that_is_copied_stands_in_a_join() -> None:
    """The copy is dense, so it cannot be written where the join has its rows."""
    nodes = [
        node("Add", "x x", "a"),
        node("Slice", "a from to at", "s"),
        node("Concat", "s s", "y", axis=1),
    ]
    nodes.append(node("Neg", "y", "z"))
    constants = {"from": np.array([0]), "to": np.array([1]), "at": np.array([2])}
    data = made(nodes, {"x": (3, 4, 4, 1, 3)}, ["y", "z"], constants)
    agree(data, {"x": numbers(3, 4, 4, 1, 3)})


def test_constants_alone() -> None:
    """What no evaluator computes ahead is computed by a program, from constants that were made."""
    nodes = [node("Mul", "k k", "square"), node("Conv", "square w", "c"), node("Add", "c x", "y")]
    constants = {"k": numbers(1, 2, 3, 3), "w": numbers(4, 2, 1, 1)}
    data = made(nodes, {"x": (1, 4, 3, 3)}, ["y"], constants)
    agree(data, {"x": numbers(1, 4, 3, 3)})
    data = made(nodes[:2], {}, ["c"], constants)
    agree(data, {})
