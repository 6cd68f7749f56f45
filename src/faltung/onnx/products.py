"""Products of matrices and einsums, from ONNX.

A product with one constant matrix is a 1x1 convolution, with everything that those have; of any
other two tensors it is a ``Contract``.
"""

import string
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid, numbers
from faltung.graph.foreign_formulas import broadcast, formula
from faltung.graph.foreign_products import Operand, einsum, product
from faltung.graph.ops import Convolve
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import biased, weight

Array = npt.NDArray[Any]


def linear(f: Foreign, x: Tensor, w: Array, bias: Array | None) -> Tensor:
    """The last axis of ``x`` times the weight (features, inputs)."""
    numbers(x)
    features, inputs = w.shape
    if x.shape[-1] != inputs:
        raise FaltungError(f"shapes {x.shape} and {w.shape[::-1]}: cannot be multiplied")
    read = x.axes[-1]
    left = tuple(i for i in range(len(x.dims)) if i not in read)
    if _is_flattened_map(x):
        shape = x.value.shape
        value = _product(f, x.value, w, bias, shape, shape[1:])
    else:
        inside = sorted(read)
        w = _columns(w, [x.dims[i] for i in read], [read.index(i) for i in inside])
        value = f.wide(f.ordered(x, (*left, *inside)), inputs)
        shape = (inputs, *(value.space or (1,)))
        value = _product(f, value, w, bias, shape, (1,) * (len(shape) - 1))
    dims = tuple(x.dims[i] for i in left) + ((features,) if features > 1 else ())
    axes = [tuple(left.index(i) for i in axis) for axis in x.axes[:-1]]
    axes.append((len(left),) if features > 1 else ())
    return Tensor(value, dims, tuple(axes), x.dtype)


def _is_flattened_map(x: Tensor) -> bool:
    """Whether the last axis is all of a map, channels first: a convolution reads it as it is."""
    value, read = x.value, x.axes[-1]
    space = [n for n in value.space if n > 1]
    first = len(x.dims) - len(space) - 1
    wanted = (len(x.dims) - 1, *range(first, len(x.dims) - 1))
    if not space or value.channels == 1 or first < 0 or read != wanted:
        return False
    return list(x.dims[first:]) == [*space, value.channels]


def _columns(w: Array, sizes: Sequence[int], order: Sequence[int]) -> Array:
    """The inputs of a weight in another order."""
    if list(order) == sorted(order):
        return w
    split = w.reshape(len(w), *sizes).transpose(0, *(i + 1 for i in order))
    return np.ascontiguousarray(split).reshape(w.shape)


def _product(
    f: Foreign, value: Any, w: Array, bias: Array | None, shape: Shape, kernel: Shape
) -> Any:
    features = w.shape[0]
    spec = conv_spec((1, *shape), (features, shape[0], *kernel), dtype=f.dtype)
    operands = [value, weight(f, w, spec.weight_shape)]
    if bias is not None:
        operands.append(f.parameter("bias", biased(bias, features), decay=False))
    space = spec.output if value.space and spec.output != (1,) * spec.rank else ()
    return f.node(Convolve(spec, bias is not None), operands, (features, *space))


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
        matrix = second if turned[1] else _turned(second)
        if bias is not None:
            bias = np.ascontiguousarray(np.broadcast_to(bias, (matrix.shape[0],)))
        rows = first.transposed((1, 0)) if turned[0] else first
        return linear(f, rows, _scaled(matrix, alpha), bias), bias is not None
    if isinstance(second, Tensor) and not isinstance(first, Tensor):
        # The result transposed is B transposed times A transposed.
        matrix = _turned(first) if turned[0] else first
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


def _turned(w: Array) -> Array:
    return np.ascontiguousarray(w.T)


def matmul(a: Arguments) -> Tensor:
    return multiplied(a.f, a[0], a[1])


def multiplied(f: Foreign, first: Operand, second: Operand) -> Tensor:
    """The product of the last two axes of either; those before them are broadcast."""
    if not first.shape or not second.shape:
        raise FaltungError(f"shapes {first.shape} and {second.shape}: must have axes")
    if (
        isinstance(first, Tensor)
        and not isinstance(second, Tensor)
        and prod(second.shape[:-2]) == 1
        and second.ndim <= max(2, first.rank)
    ):
        matrix = second.reshape(second.shape[-2:]) if second.ndim > 1 else second[:, None]
        made = linear(f, first, _turned(matrix), None)
        return _without(f, made, -1) if second.ndim == 1 else made
    letters = string.ascii_uppercase
    rank = max(len(first.shape), len(second.shape)) - 2
    if rank > len(letters):
        raise Unsaid(f"a product of {rank + 2} axes")
    lead = letters[: max(0, rank)]
    words = [
        lead[max(0, len(lead) - len(x.shape) + 2) :] + matrix if len(x.shape) > 1 else "k"
        for x, matrix in ((first, "mk"), (second, "kn"))
    ]
    sizes = broadcast([first.shape[:-2], second.shape[:-2]])
    out = lead[len(lead) - len(sizes) :]
    shape = sizes
    if len(first.shape) > 1:
        out, shape = out + "m", (*shape, first.shape[-2])
    if len(second.shape) > 1:
        out, shape = out + "n", (*shape, second.shape[-1])
    if first.shape[-1] != second.shape[-2 if len(second.shape) > 1 else -1]:
        raise FaltungError(f"shapes {first.shape} and {second.shape}: cannot be multiplied")
    return product(f, first, second, (words[0], words[1], out), shape)


def _without(f: Foreign, x: Tensor, axis: int) -> Tensor:
    shape = list(x.shape)
    del shape[axis]
    return f.reshaped(x, tuple(shape))


# Einsum -------------------------------------------------------------------------------------------


def einsum_(a: Arguments) -> Tensor:
    operands = [a[i] for i in range(len(a.inputs))]
    for x in operands:
        if isinstance(x, Tensor):
            numbers(x)
    labels, out = equation(a.word("equation", ""), [len(x.shape) for x in operands])
    return einsum(a.f, operands, labels, out)


def equation(text: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand and of the result; those of an ellipsis are "...0", "...1" and so
    on, counted from the last axis that it stands for. FaltungError: none of these.
    """
    terms, arrow, result = text.replace(" ", "").partition("->")
    words = terms.split(",")
    if len(words) != len(ranks):
        raise FaltungError(f"equation={text!r}: must have {len(ranks)} terms")
    most = 0
    labels = []
    for word, rank in zip(words, ranks, strict=True):
        letters = _letters(text, word.replace("...", "", 1))
        if "..." not in word:
            labels.append(letters)
            continue
        spread = rank - len(letters)
        if spread < 0:
            raise FaltungError(f"equation={text!r}: has more labels than an operand axes")
        most = max(most, spread)
        before = len(word.split("...")[0])
        labels.append([*letters[:before], *_spread(spread), *letters[before:]])
    if arrow:
        before = len(result.split("...")[0])
        letters = _letters(text, result.replace("...", "", 1))
        spread = most if "..." in result else 0
        out = [*letters[:before], *_spread(spread), *letters[before:]]
    else:  # in the order of the alphabet, what stands there once
        every = [label for part in labels for label in part if len(label) == 1]
        out = [*_spread(most), *sorted(label for label in every if every.count(label) == 1)]
    known = {label for part in labels for label in part}
    if len(set(out)) < len(out) or not set(out) <= known:
        raise FaltungError(f"equation={text!r}: its result must have each of its labels once")
    return labels, out


def _letters(text: str, word: str) -> list[str]:
    if word and not (word.isascii() and word.isalpha()):
        raise FaltungError(f"equation={text!r}: labels must be letters")
    return list(word)


def _spread(count: int) -> list[str]:
    return [f"...{i}" for i in reversed(range(count))]


TABLE = {"Gemm": gemm, "MatMul": matmul, "Einsum": einsum_}
