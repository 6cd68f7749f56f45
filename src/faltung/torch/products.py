"""Products of matrices and vectors, and einsums, from ATen.

A product with one matrix that is known, such as a weight, is a 1x1 convolution that reads it where
it lies; of any other two tensors it is a ``Contract``.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy.typing as npt

from faltung.geometry.expr import Expr
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_linear import linear, matrix_turned, multiplied
from faltung.graph.foreign_products import einsum, equation, product
from faltung.torch.arguments import Arguments
from faltung.torch.part import Leaf

Array = npt.NDArray[Any]


def _bias_of(a: Arguments, name: str, features: int) -> Array | None:
    """A vector of one number for each feature that is known; None: something else."""
    found = a[name]
    if isinstance(found, Leaf) and prod(found.shape) == features == (*found.shape, 1, 1)[0] * (
        features if len(found.shape) > 1 else 1
    ):
        leaf = a.leaf(name)
        assert leaf is not None
        return leaf.array.reshape(features)
    return None


def _plus(a: Arguments, made: Tensor, name: str, factor: float = 1.0) -> Tensor:
    """With another tensor added."""

    def total(x: Expr, y: Expr) -> Expr:
        return x + (y if factor == 1 else y * factor)

    return formula(a.f, total, made, a.operand(name), shape=made.shape)


def _full(x: Tensor) -> Tensor:
    if not x.size:
        raise Unsaid("a tensor without elements")
    return x


def linear_(a: Arguments) -> Tensor:
    """The last axis times a weight (features, inputs), plus a bias."""
    x = a.floats("input")
    w = a.leaf("weight")
    if w is None:
        made = _matmul(a, x, _turned(a.floats("weight")))
        return _plus(a, made, "bias") if a.has("bias") else made
    vector = len(w.shape) == 1
    array = w.array[None] if vector else w.array
    bias = _bias_of(a, "bias", array.shape[0]) if a.has("bias") else None
    made = linear(a.f, x, array, bias)
    if vector:
        made = a.f.reshaped(made, made.shape[:-1])
    return _plus(a, made, "bias") if a.has("bias") and bias is None else made


def _turned(x: Tensor) -> Tensor:
    """With the last two axes exchanged."""
    if x.rank < 2:
        return x
    return x.transposed((*range(x.rank - 2), x.rank - 1, x.rank - 2))


def _matrix(a: Arguments, x: Any) -> Array | None:
    """A leaf of one or two axes."""
    if not isinstance(x, Leaf) or not 0 < len(x.shape) < 3:
        return None
    if x.dtype not in ("float32", "float64", "float16", "bfloat16"):
        raise Unsaid(f"{x.dtype} weights")
    if not prod(x.shape):
        raise Unsaid("a tensor without elements")
    return x.array


def _real(a: Arguments, x: Any) -> Tensor:
    made = a.as_tensor(x)
    if made.dtype not in ("float32", "float64", "float16", "bfloat16"):
        raise Unsaid(f"{made.dtype} tensors (needs whole numbers in products)")
    return _full(made)


def _matmul(a: Arguments, first: Any, second: Any) -> Tensor:
    """The product as ``matmul`` has it: of matrices, also stacks of them, and of vectors."""
    f = a.f
    for x in (first, second):
        if not prod(x.shape):
            raise Unsaid("a tensor without elements")
    left, right = _matrix(a, first), _matrix(a, second)
    if left is not None:
        # The result turned is the second factor turned times the first turned.
        y = _real(a, second)
        w = left[None] if left.ndim == 1 else left
        made = _turned(linear(f, _turned(y), w, None)) if y.rank > 1 else linear(f, y, w, None)
        if left.ndim == 1:
            drop = made.rank - (2 if y.rank > 1 else 1)
            made = f.reshaped(made, (*made.shape[:drop], *made.shape[drop + 1 :]))
        return made
    x = _real(a, first)
    if right is not None:
        w = right[None] if right.ndim == 1 else matrix_turned(f, right)
        made = linear(f, x, w, None)
        return f.reshaped(made, made.shape[:-1]) if right.ndim == 1 else made
    return multiplied(f, x, _real(a, second))


def _product_of(first: str, second: str) -> Any:
    def made(a: Arguments) -> Tensor:
        if a.call.overload == "dtype":
            raise Unsaid("a product in another dtype")
        return _matmul(a, a[first], a[second])

    return made


def _added(first: str, second: str, total: bool = False) -> Any:
    """beta self + alpha first @ second; total: summed over the stack."""

    def made(a: Arguments) -> Tensor:
        if a.call.overload == "dtype":
            raise Unsaid("a product in another dtype")
        alpha, beta = a.number("alpha"), a.number("beta")
        x, w = a[first], a[second]
        right = _matrix(a, w)
        if right is not None and right.ndim == 2 and alpha == beta == 1 and not total:
            bias = _bias_of(a, "self", right.shape[1])
            if bias is not None:
                return linear(a.f, _real(a, x), matrix_turned(a.f, right), bias)
        if total:
            y, z = _real(a, x), _real(a, w)
            shape = y.shape[1], z.shape[2]
            found = product(a.f, y, z, ("bmk", "bkn", "mn"), shape)
        else:
            found = _matmul(a, x, w)
        if alpha != 1:
            found = formula(a.f, lambda x: x * alpha, found)
        return _plus(a, found, "self", beta) if beta else found

    return made


def _outer(a: Arguments) -> Tensor:
    x, y = _real(a, a["self"]), _real(a, a["vec2"])
    return product(a.f, x, y, ("m", "n", "mn"), (x.size, y.size))


def addr(a: Arguments) -> Tensor:
    x, y = _real(a, a["vec1"]), _real(a, a["vec2"])
    alpha, beta = a.number("alpha"), a.number("beta")
    if not alpha:
        raise Unsaid("alpha=0, by which NaN stays NaN")
    made = product(a.f, x, y, ("m", "n", "mn"), (x.size, y.size))
    made = made if alpha == 1 else formula(a.f, lambda x: x * alpha, made)
    return _plus(a, made, "self", beta) if beta else made


def power(a: Arguments) -> Tensor:
    """A matrix times itself, so many times."""
    x, count = _real(a, a["self" if "self" in a.call.given else "A"]), a.whole("n")
    if count < 1:
        raise Unsaid("an inverse, or no product at all")
    made: Tensor | None = None
    while count:
        if count % 2:
            made = x if made is None else multiplied(a.f, made, x)
        count //= 2
        x = multiplied(a.f, x, x) if count else x
    assert made is not None
    return made


def inner(a: Arguments) -> Tensor:
    """The sum over the last axis of both."""
    first, second = a["self"], a["other"]
    if not first.shape or not second.shape:
        return formula(a.f, lambda x, y: x * y, _real(a, first), _real(a, second))
    x, y = _real(a, first), second
    matrix = _matrix(a, second)
    if matrix is not None and matrix.ndim == 2:
        return linear(a.f, x, matrix, None)
    y = _real(a, second)
    labels = [f"x{i}" for i in range(x.rank - 1)], [f"y{i}" for i in range(y.rank - 1)]
    out = [*labels[0], *labels[1]]
    shape = (*x.shape[:-1], *y.shape[:-1])
    return product(a.f, x, y, ([*labels[0], "k"], [*labels[1], "k"], out), shape)


def vecdot(a: Arguments) -> Tensor:
    x, y = _real(a, a["x"]), _real(a, a["y"])
    rank = max(x.rank, y.rank)
    axis = a.axis(rank)
    labels = [f"l{i}" for i in range(rank)]
    out = [label for i, label in enumerate(labels) if i != axis]
    given = [labels[rank - t.rank :] for t in (x, y)]
    return product(a.f, x, y, (given[0], given[1], out), a.shape())


def tensordot(a: Arguments) -> Tensor:
    x, y = _real(a, a["self"]), _real(a, a["other"])
    mine = [int(i) % max(x.rank, 1) for i in a["dims_self"]]
    theirs = [int(i) % max(y.rank, 1) for i in a["dims_other"]]
    one, other = [f"x{i}" for i in range(x.rank)], [f"y{i}" for i in range(y.rank)]
    for number, (i, j) in enumerate(zip(mine, theirs, strict=True)):
        one[i] = other[j] = f"k{number}"
    out = [label for label in (*one, *other) if not label.startswith("k")]
    sizes = {**dict(zip(one, x.shape, strict=True)), **dict(zip(other, y.shape, strict=True))}
    shape = tuple(sizes[label] for label in out)
    return product(a.f, x, y, (one, other, out), shape)


def einsum_(a: Arguments) -> Tensor:
    tensors = a["tensors"]
    labels, out = equation(a.word("equation"), [len(x.shape) for x in tensors])
    if len(tensors) == 2:
        made = _by_weight(a, tensors, labels, out)
        if made is not None:
            return made
    return einsum(a.f, [_real(a, x) for x in tensors], labels, out)


def _by_weight(
    a: Arguments, tensors: Sequence[Any], labels: Sequence[Sequence[str]], out: Sequence[str]
) -> Tensor | None:
    """An einsum of a tensor and a matrix that is known, of which one label is summed."""
    for number in (1, 0):
        matrix = _matrix(a, tensors[number])
        own, other = list(labels[number]), list(labels[1 - number])
        if matrix is None or matrix.ndim != 2 or len({*own}) < 2 or len({*other}) < len(other):
            continue
        summed = [label for label in own if label in other and label not in out]
        kept = [label for label in own if label in out and label not in other]
        rest = [label for label in other if label in out]
        x = tensors[1 - number]
        if len(summed) != 1 or len(kept) != 1 or len(rest) != len(other) - 1:
            continue
        if matrix.shape[own.index(summed[0])] != x.shape[other.index(summed[0])]:
            continue  # one of them is broadcast
        tensor = _real(a, x).moved(other.index(summed[0]), len(other) - 1)
        w = matrix if own[1] == summed[0] else matrix_turned(a.f, matrix)
        made = linear(a.f, tensor, w, None)
        return made.transposed([[*rest, *kept].index(label) for label in out])
    return None


def bilinear(a: Arguments) -> Tensor:
    """x A y for each feature, plus a bias."""
    x, y, w = (_real(a, a[name]) for name in ("input1", "input2", "weight"))
    lead = [f"l{i}" for i in range(x.rank - 1)]
    shape: Shape = (*x.shape[:-1], w.shape[0], y.shape[-1])
    made = product(a.f, x, w, ([*lead, "i"], ["o", "i", "j"], [*lead, "o", "j"]), shape)
    made = product(
        a.f, made, y, ([*lead, "o", "j"], [*lead, "j"], [*lead, "o"]), (*x.shape[:-1], w.shape[0])
    )
    return _plus(a, made, "bias") if a.has("bias") else made


def chain(a: Arguments) -> Tensor:
    """Matrices one after the other; the first and the last may be vectors."""
    name = "tensors" if "tensors" in a.call.given else "matrices"
    found = a[name]
    made = found[0]
    for x in found[1:]:
        if isinstance(made, Leaf) and isinstance(x, Leaf):
            made = _real(a, made)
        made = _matmul(a, made, x)
    return _real(a, made)


TABLE: dict[str, Any] = {
    "linear": linear_,
    "matmul": _product_of("self", "other"),
    "linalg_matmul": _product_of("self", "other"),
    "mm": _product_of("self", "mat2"),
    "bmm": _product_of("self", "mat2"),
    "mv": _product_of("self", "vec"),
    "dot": _product_of("self", "tensor"),
    "vdot": _product_of("self", "other"),
    "addmm": _added("mat1", "mat2"),
    "addmv": _added("mat", "vec"),
    "baddbmm": _added("batch1", "batch2"),
    "addbmm": _added("batch1", "batch2", total=True),
    "addr": addr,
    "outer": _outer,
    "ger": _outer,
    "inner": inner,
    "linalg_vecdot": vecdot,
    "tensordot": tensordot,
    "einsum": einsum_,
    "bilinear": bilinear,
    "chain_matmul": chain,
    "linalg_matrix_power": power,
    "matrix_power": power,
    "linalg_multi_dot": chain,
}
