"""Formulas as ONNX nodes, one for each operation."""

from collections.abc import Sequence

import numpy as np

from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr

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
        if part.op == "max" and part.terms[0].op == "operand" and part.terms[1].value == 0:
            return writer.node("Relu", name(part.terms[0]))
        if part.op not in OPERATIONS:
            raise FaltungError(
                f"graph: {part.op!r} in layer {writer.layer!r} cannot be expressed in ONNX"
            )
        return writer.node(OPERATIONS[part.op], *map(name, part.terms))

    found = name(expr)
    # A formula that is just an operand or a number becomes a value of its own.
    return writer.node("Identity", found) if expr.op in ("operand", "constant") else found
