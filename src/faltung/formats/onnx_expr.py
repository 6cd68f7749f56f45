"""Formulas as ONNX nodes, one for each operation, or a few where ONNX has no such node."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from faltung.formats.onnx_writer import Writer
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import (
    FORMATS,
    Expr,
    at_least,
    binary,
    equal,
    greater,
    logic,
    maximum,
    minimum,
    operand,
    select,
    unary,
)
from faltung.graph.value import Value

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
    "eq": "Equal",
    "and": "And",
    "or": "Or",
    "xor": "Xor",
    "not": "Not",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "asin": "Asin",
    "acos": "Acos",
    "atan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "asinh": "Asinh",
    "acosh": "Acosh",
    "atanh": "Atanh",
    "pow": "Pow",
    "select": "Where",
}
X, Y, Z = operand(0), operand(1), operand(2)
# From here on log(1 + x) is log x in every dtype.
LARGE = 2.0**60


def _log1p() -> Expr:
    """x log(1 + x) / ((1 + x) - 1): both factors have the rounding error of the sum (W. Kahan)."""
    total = 1 + X
    rounded = total - 1
    near = select(greater(unary("abs", rounded), 0), X * (unary("log", total) / rounded), X)
    return select(greater(X, LARGE), unary("log", X), near)


def _expm1() -> Expr:
    """By t = tanh(x / 2): 2t / (1 - t) below zero; above, e**x times what it is of -x."""
    t = unary("tanh", X * 0.5)
    return unary("exp", maximum(X, 0)) * ((t + t) / (1 + unary("abs", t)))


def _mod() -> Expr:
    """From the remainder with the sign of the dividend, the only one that ONNX has for numbers."""
    rest = binary("fmod", X, Y)
    differs = logic("xor", greater(0, rest), greater(0, Y))
    return select(equal(rest, 0), rest, select(differs, rest + Y, rest))


# What ONNX has no node for, as formulas of what it has. Only ``ndtr`` loses accuracy, below zero:
# readers have an error function, but not its complement.
COMPOSED = {
    "log1p": _log1p(),
    "expm1": _expm1(),
    "gaussian": unary("exp", -0.5 * (X * X)),
    "ndtr": 0.5 * (1 + unary("erf", X * (1 / sqrt(2)))),
    "snap": minimum(maximum(unary("round", X), Y), Z),
    "trunc": select(at_least(X, 0), unary("floor", X), unary("ceil", X)),
    "mod": _mod(),
}


def spread(writer: Writer, value: Value, shape: tuple[int, ...]) -> str:
    """An operand that broadcasts to a map of ``shape``: vectors along the channels."""
    ones = (1,) * (len(shape) - len(value.shape))
    if writer.is_parameter(value):
        wide = value.shape + ones if value.shape else ()
        return writer.tensor(writer.array(value).reshape(wide), value.name)
    if not ones or not value.shape:
        return writer.name(value)
    return writer.node("Reshape", writer.name(value), writer.whole(0, *value.shape, *ones))


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
        if part.op in COMPOSED:
            return name(COMPOSED[part.op].replaced(part.terms))
        if part.op in FORMATS:
            short = writer.cast(name(part.terms[0]), part.op.removeprefix("as_"))
            return writer.cast(short, writer.dtype.name)
        if part.op == "fmod":
            return writer.node("Mod", *map(name, part.terms), fmod=1)
        if part.op not in OPERATIONS:
            raise FaltungError(
                f"graph: {part.op!r} in layer {writer.layer!r} cannot be expressed in ONNX"
            )
        return writer.node(OPERATIONS[part.op], *map(name, part.terms))

    found = name(expr)
    # A formula that is just an operand or a number becomes a value of its own.
    return writer.node("Identity", found) if expr.op in ("operand", "constant") else found
