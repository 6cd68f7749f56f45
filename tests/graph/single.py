"""Formulas with each operation rounded to float32, as kernels of whole numbers have them.

An operation in float64 that is rounded afterwards is rounded once where it is a sum, a product, a
quotient or a root: float64 has more than twice the digits (S. A. Figueroa, "When is double rounding
innocuous?", 1995).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faltung.geometry.expr import Expr, operand
from faltung.reference.expr import evaluate

Array = NDArray[Any]


def single(expr: Expr, operands: Sequence[Array]) -> Array:
    """The values of a formula of float32 arrays, in float32."""
    made = _value(expr, operands)
    assert made.dtype == np.float32
    return made


def dequantised(array: Array, grid: Any) -> Array:
    """What levels on a grid stand for, in float32; numbers as they are."""
    if grid is None:
        return array
    return np.asarray(array.astype(np.float64) - grid.zero, np.float32) * np.float32(grid.scale)


def _value(expr: Expr, operands: Sequence[Array]) -> Array:
    if expr.op == "operand":
        return np.asarray(operands[int(expr.args[0])], np.float32)  # type: ignore[arg-type]
    terms = [_value(term, operands) for term in expr.terms]
    if terms:
        expr = Expr(expr.op, tuple(map(operand, range(len(terms)))))
    made = np.asarray(evaluate(expr, terms))
    return made if made.dtype == bool else made.astype(np.float32)
