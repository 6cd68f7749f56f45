"""Formulas as ONNX nodes: one for each operation, and one alone for what ONNX has a name for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung.formats.onnx_writer import Writer
from faltung.geometry.expr import Expr, operand
from faltung.graph import activations

OPERATIONS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "neg": "Neg",
    "abs": "Abs",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "log": "Log",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "erf": "Erf",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "select": "Where",
}
# Activations that are one node.
NAMED: dict[Expr, tuple[str, dict[str, Any]]] = {
    activations.relu(): ("Relu", {}),
    activations.softplus(): ("Softplus", {}),
    activations.hard_sigmoid(): ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    activations.hard_swish(): ("HardSwish", {}),
}


def formula(writer: Writer, expr: Expr, operands: Sequence[str]) -> str:
    """Nodes for a formula of tensors that broadcast against each other; the name of the result.

    ValueError: random numbers, which no inference has.
    """
    known: dict[Expr, str] = {}

    def name(part: Expr) -> str:
        if part not in known:
            known[part] = made(part)
        return known[part]

    def made(part: Expr) -> str:
        if part.op == "operand":
            return operands[int(part.args[0])]  # type: ignore[arg-type]
        if part.value is not None:
            return writer.tensor(np.float64(part.value))
        short = _named(part)
        if short is not None:
            kind, attributes = short
            return writer.node(kind, operands[next(iter(part.operands()))], **attributes)
        if part.op not in OPERATIONS:
            raise ValueError(f"graph: {part.op!r} in layer {writer.layer!r} has no place in ONNX")
        return writer.node(OPERATIONS[part.op], *map(name, part.terms))

    found = name(expr)
    # A formula that is an operand, or a number, becomes a value of its own.
    return writer.node("Identity", found) if expr.op in ("operand", "constant") else found


def _named(expr: Expr) -> tuple[str, dict[str, Any]] | None:
    """The one node that is this formula of one operand."""
    numbers = expr.operands()
    if len(numbers) != 1:
        return None
    (number,) = numbers
    alone = expr.replaced([operand(0)] * (number + 1))
    if alone in NAMED:
        return NAMED[alone]
    if alone.op != "select":
        return None
    for value in constants(alone):
        if value > 0 and alone == activations.leaky_relu(value):
            return "LeakyRelu", {"alpha": value}
        if value > 0 and alone == activations.elu(value):
            return "Elu", {"alpha": value}
    return None


def constants(expr: Expr) -> set[float]:
    """The numbers in a formula; and 1, which is left out of products."""
    found = {1.0} if expr.value is None else {expr.value}
    for term in expr.terms:
        found |= constants(term)
    return found
