"""Products of matrices and einsums, from ONNX.

A product with one constant matrix is a 1x1 convolution, with everything that those have; of any
other two tensors it is a ``Contract``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr
from faltung.graph.foreign import Foreign, Tensor, numbers
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_linear import linear, matrix_turned, multiplied
from faltung.graph.foreign_products import Operand, einsum, equation, product
from faltung.onnx.arguments import Arguments

Array = npt.NDArray[Any]


def gemm(a: Arguments) -> Tensor:
    """alpha A B + beta C, with A or B transposed."""
    alpha, beta = a.number("alpha", 1), a.number("beta", 1)
    a.whole("broadcast", 1)  # of opset 6, and always so since
    turned = bool(a.whole("transA", 0)), bool(a.whole("transB", 0))
    first, second = a[0], a[1]
    if len(first.shape) != 2 or len(second.shape) != 2:
        raise FaltungError(f"shapes {first.shape} and {second.shape}: must have two axes")
    extra: Operand | None = a[2] if a.has(2) and beta else None
    made, added = _gemm(a.f, first, second, turned, alpha, _bias(extra, beta, first, second))
    if extra is None or added:
        return made

    def total(x: Expr, c: Expr) -> Expr:
        return x + (c if beta == 1 else c * beta)

    return formula(a.f, total, made, extra)


def _gemm(
    f: Foreign,
    first: Operand,
    second: Operand,
    turned: tuple[bool, bool],
    alpha: float,
    bias: Array | None,
) -> tuple[Tensor, bool]:
    """The product, and whether the bias was added."""
    if isinstance(first, Tensor) and not isinstance(second, Tensor):
        matrix = second if turned[1] else matrix_turned(f, second)
        if bias is not None:
            bias = np.ascontiguousarray(np.broadcast_to(bias, (matrix.shape[0],)))
        rows = first.transposed((1, 0)) if turned[0] else first
        return linear(f, rows, _scaled(matrix, alpha), bias), bias is not None
    if isinstance(second, Tensor) and not isinstance(first, Tensor):
        # The result transposed is B transposed times A transposed.
        matrix = matrix_turned(f, first) if turned[0] else first
        rows = second if turned[1] else second.transposed((1, 0))
        return linear(f, rows, _scaled(matrix, alpha), None).transposed((1, 0)), False
    words = "km" if turned[0] else "mk", "nk" if turned[1] else "kn", "mn"
    shape = first.shape[turned[0]], second.shape[not turned[1]]
    made = product(f, first, second, words, shape)
    return made if alpha == 1 else formula(f, lambda x: x * alpha, made), False


def _bias(extra: Operand | None, beta: float, first: Operand, second: Operand) -> Array | None:
    """What is added, where it is constant and the same for all rows."""
    if extra is None or isinstance(extra, Tensor) or not isinstance(first, Tensor):
        return None
    wide = extra if extra.ndim < 2 else extra[0] if extra.shape[0] == 1 else None
    if wide is None or isinstance(second, Tensor):
        return None
    return _scaled(wide.ravel(), beta)


def _scaled(array: Array, factor: float) -> Array:
    return array if factor == 1 else array * array.dtype.type(factor)


def matmul(a: Arguments) -> Tensor:
    return multiplied(a.f, a[0], a[1])


# Einsum -------------------------------------------------------------------------------------------


def einsum_(a: Arguments) -> Tensor:
    operands = [a[i] for i in range(len(a.inputs))]
    for x in operands:
        if isinstance(x, Tensor):
            numbers(x)
    labels, out = equation(a.word("equation", ""), [len(x.shape) for x in operands])
    return einsum(a.f, operands, labels, out)


TABLE = {"Gemm": gemm, "MatMul": matmul, "Einsum": einsum_}
