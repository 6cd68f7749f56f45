"""Reductions, extremes, running sums, sorting and softmax, from ATen."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, prod
from typing import Any

import numpy as np

from faltung.geometry.expr import (
    Expr,
    constant,
    equal,
    greater,
    is_nan,
    operand,
    select,
    unary,
)
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import sliced
from faltung.graph.foreign_reduce import arg, cumulative, reduced, softmax, top_k
from faltung.graph.foreign_terms import power
from faltung.graph.ops import ITSELF
from faltung.torch.arguments import Arguments
from faltung.torch.formulas import REALS, Handler, as_given
from faltung.torch.pointwise import larger, smaller

X = operand(0)
NONZERO = select(equal(X, 0), 0, 1)
# The square root, with a gradient of 0 where it is 0.
ROOT = select(greater(X, 0), unary("sqrt", X), X)


# What is reduced ----------------------------------------------------------------------------------


def numbers(a: Arguments, name: str = "self") -> Tensor:
    """A tensor as real numbers; whole ones only where the result is real."""
    return as_tensor(a, a[name], name)


def as_tensor(a: Arguments, found: Any, name: str = "") -> Tensor:
    x = as_given(a, found, name)
    if isinstance(x, np.ndarray):
        x = a.as_tensor(found, name)
    if x.dtype not in REALS and x.dtype != "bool" and a.dtype() not in REALS:
        raise Unsaid(f"{a.dtype()} results (needs whole numbers in formulas)")
    return replace(x, dtype=a.dtype()) if a.dtype() in REALS else x


def counted(a: Arguments, x: Tensor) -> None:
    """Unsaid: more elements than the dtype of the graph can count."""
    if x.size >= 2 ** np.finfo(a.f.dtype).nmant:
        raise Unsaid(f"a count of {x.size} elements")


def over(a: Arguments, x: Tensor) -> tuple[int, ...]:
    """The axes of a reduction: all if none is named."""
    if a.call.given.get("dim") is None or not x.rank:
        return tuple(range(x.rank))
    return a.axes(x.rank)


def keeps(a: Arguments) -> bool:
    return bool(a.call.given.get("keepdim", False))


def reduce(kind: str, before: Expr = ITSELF, after: Expr = ITSELF) -> Handler:
    """A reduction of a formula, and a formula of the result."""

    def made(a: Arguments) -> Tensor:
        x = numbers(a)
        if a.dtype() not in REALS:
            counted(a, x)
        return reduced(a.f, x, over(a, x), kind, keeps(a), before, after)

    return made


def condition(kind: str) -> Handler:
    """Whether all or any of numbers are not 0."""

    def made(a: Arguments) -> Tensor:
        x = as_given(a, a["self"])
        x = x if isinstance(x, Tensor) else a.tensor("self")
        return reduced(a.f, x, over(a, x), kind, keeps(a), NONZERO)

    return made


def known_numbers(x: Expr) -> Expr:
    return select(is_nan(x), 0, x)


def _mean_of_known(a: Arguments) -> Tensor:
    x, f = numbers(a), a.f
    axes, keep = over(a, x), keeps(a)
    total = reduced(f, x, axes, "sum", keep, known_numbers(X))
    count = reduced(f, x, axes, "sum", keep, select(is_nan(X), 0, 1))
    return formula(f, lambda x, n: Expr("div", (x, n)), total, count)


# Spread -------------------------------------------------------------------------------------------


def spread(root: bool, mean: bool) -> Handler:
    """Variance or standard deviation, and with ``mean`` the mean."""

    def made(a: Arguments) -> Any:
        x, f = numbers(a), a.f
        axes, keep = over(a, x), keeps(a)
        count = prod(x.shape[axis] for axis in axes)
        left = max(count - _correction(a), 0)
        middle = reduced(f, x, axes, "mean", True)
        away = formula(f, lambda x, m: x - m, x, middle)
        finish = Expr("div", (X, constant(left)))
        finish = ROOT.replaced([finish]) if root else finish
        found = reduced(f, away, axes, "sum", keep, X * X, finish)
        if not mean:
            return found
        return [found, f.reshaped(middle, found.shape)]

    return made


def _correction(a: Arguments) -> float:
    if a.call.overload.startswith("correction"):
        found = a["correction"]
        return 1.0 if found is None else float(found)
    return float(a.flag("unbiased"))


# Norms --------------------------------------------------------------------------------------------

SIZE = unary("abs", X)
_NORMS: dict[float, tuple[str, Expr, Expr]] = {
    2: ("sum", X * X, ROOT),
    1: ("sum", SIZE, ITSELF),
    0: ("sum", NONZERO, ITSELF),
    inf: ("max", SIZE, ITSELF),
    -inf: ("min", SIZE, ITSELF),
}


def norm(p: float) -> tuple[str, Expr, Expr]:
    """What the p-norm reduces, how, and what is made of it."""
    if p in _NORMS:
        return _NORMS[p]
    term, finish = power(SIZE, p), Expr("pow", (X, constant(1 / p)))
    # Where a number or the norm is 0, the gradient is 0.
    term = select(equal(X, 0), 0 if p > 0 else inf, term)
    return "sum", term, select(greater(X, 0), finish, X) if p > 0 else finish


def _norm(a: Arguments) -> Tensor:
    x = numbers(a)
    name = "ord" if "ord" in a.call.given else "p"
    p = a[name]
    if a.op == "linalg_norm" and not _is_vector(a, x, p):
        raise Unsaid("a norm of matrices")
    p = 2.0 if p in (None, "fro") else a.number(name)
    kind, term, finish = norm(p)
    return reduced(a.f, x, over(a, x), kind, keeps(a), term, finish)


def _is_vector(a: Arguments, x: Tensor, p: Any) -> bool:
    """Whether ``linalg.norm`` means the norm of all numbers along its axes."""
    axes = len(over(a, x))
    return p is None or axes == 1 or (p == "fro" and axes == 2)


def _distance(a: Arguments) -> Tensor:
    x, y = numbers(a), numbers(a, "other")
    away = formula(a.f, lambda x, y: x - y, x, y)
    kind, term, finish = norm(a.number("p"))
    return reduced(a.f, away, range(away.rank), kind, False, term, finish)


# Extremes -----------------------------------------------------------------------------------------


def _lined(a: Arguments, x: Tensor, name: str = "dim") -> tuple[Tensor, int]:
    """A tensor, one number as a vector, and an axis of it; of all numbers where none is named."""
    if a.call.given.get(name) is None:
        return a.f.reshaped(x, (x.size,)), 0
    return (x if x.rank else a.f.reshaped(x, (1,))), a.axis(x.rank, name)


def place(kind: str) -> Handler:
    def made(a: Arguments) -> Tensor:
        x, axis = _lined(a, ordered(a))
        counted(a, x)
        return a.f.reshaped(arg(a.f, x, axis, kind, False, True), a.shape())

    return made


def ordered(a: Arguments) -> Tensor:
    """A tensor whose numbers are compared; what it holds stays what it is."""
    x = as_given(a, a["self"])
    x = x if isinstance(x, Tensor) else a.tensor("self")
    if a.tensor("self").value.kind == "int":
        raise Unsaid("the order of whole numbers (needs whole numbers)")
    return x


def extreme(kind: str, of_two: Callable[[Arguments], Tensor]) -> Handler:
    """The largest or smallest, of two tensors, of all numbers, or along an axis with its place."""

    def made(a: Arguments) -> Any:
        if a.call.overload == "other":
            return of_two(a)
        x = ordered(a)
        if "dim" not in a.call.given:
            return reduced(a.f, x, range(x.rank), kind, False)
        line, axis = _lined(a, x)
        where = arg(a.f, line, axis, kind, False, True)
        found = _at(a, line, axis, where) if a.f.training else None
        found = found or reduced(a.f, line, (axis,), kind, True)
        return [a.f.reshaped(y, a.shape()) for y in (found, where)]

    return made


def _at(a: Arguments, x: Tensor, axis: int, where: Tensor) -> Tensor:
    """The entries of an axis at places, to which alone their gradients go."""
    count = x.shape[axis]
    shape = (count, *(1,) * (x.rank - axis - 1))
    places = np.arange(count, dtype=a.f.dtype).reshape(shape)

    def one(x: Expr, where: Expr, place: Expr) -> Expr:
        return select(equal(where, place), x, 0)

    return reduced(a.f, formula(a.f, one, x, where, places), (axis,), "sum", True)


def both_extremes(a: Arguments) -> list[Tensor]:
    x = ordered(a)
    axes = over(a, x)
    return [reduced(a.f, x, axes, kind, keeps(a)) for kind in ("min", "max")]


def amost(kind: str) -> Handler:
    def made(a: Arguments) -> Tensor:
        x = ordered(a)
        return reduced(a.f, x, over(a, x), kind, keeps(a))

    return made


# In order -----------------------------------------------------------------------------------------


def first(a: Arguments, k: int, largest: bool, name: str = "dim") -> list[Tensor]:
    """The first k entries along an axis and their places, in the shape of the call."""
    x, axis = _lined(a, ordered(a), name) if name in a.call.given else (ordered(a), 0)
    counted(a, x)
    found = top_k(a.f, x, axis, k or x.shape[axis], largest)
    shape = a.shape()
    return [y if y.rank == len(shape) else a.f.reshaped(y, shape) for y in found]


def _top_k(a: Arguments) -> list[Tensor]:
    return first(a, a.whole("k"), a.flag("largest"))


def _sort(a: Arguments) -> list[Tensor]:
    return first(a, 0, a.flag("descending"))


def _argsort(a: Arguments) -> Tensor:
    return first(a, 0, a.flag("descending"))[1]


def _msort(a: Arguments) -> Tensor:
    return first(a, 0, False)[0]


def _kth(a: Arguments) -> list[Tensor]:
    x, axis = _lined(a, ordered(a))
    counted(a, x)
    k = a.whole("k")
    found = top_k(a.f, x, axis, k, False)
    return [a.f.reshaped(sliced(a.f, y, axis, k - 1, 1), a.shape()) for y in found]


def running(kind: str) -> Handler:
    def made(a: Arguments) -> Tensor:
        x, axis = _lined(a, numbers(a))
        if a.dtype() not in REALS:
            counted(a, x)
        if kind == "product" and a.f.training:
            raise Unsaid("the gradient of a running product")
        return a.f.reshaped(cumulative(a.f, x, axis, kind, False, False), a.shape())

    return made


# Softmax ------------------------------------------------------------------------------------------


def soft(log: bool) -> Handler:
    def made(a: Arguments) -> Tensor:
        x, axis = _lined(a, numbers(a))
        return a.f.reshaped(softmax(a.f, x, (axis,), log), a.shape())

    return made


# Similarity ---------------------------------------------------------------------------------------


def along(a: Arguments, x: Tensor, y: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """The sum of products."""
    return reduced(a.f, formula(a.f, lambda x, y: x * y, x, y), axes, "sum", keep)


def _cosine(a: Arguments) -> Tensor:
    """Of vectors that are divided by their length first."""
    x, y = numbers(a, "x1"), numbers(a, "x2")
    shape = tuple(map(int, np.broadcast_shapes(x.shape, y.shape)))
    axes = (a.axis(len(shape)),) if shape else ()
    eps, f = a.number("eps"), a.f

    def unit(part: Tensor) -> Tensor:
        part = formula(f, lambda x: x, part, shape=shape)
        length = reduced(f, part, axes, "sum", True, X * X, ROOT)
        length = formula(f, lambda n: select(greater(eps, n), eps, n), length)
        return formula(f, lambda x, n: x / n, part, length)

    return along(a, unit(x), unit(y), axes, False)


def _pairwise(a: Arguments) -> Tensor:
    x, y = numbers(a, "x1"), numbers(a, "x2")
    return pair_distance(a, x, y, a.number("p"), a.number("eps"), keeps(a))


def pair_distance(
    a: Arguments, x: Tensor, y: Tensor, p: float, eps: float, keep: bool = False
) -> Tensor:
    """The distance of vectors, the last axis, with a number added to each difference."""
    away = formula(a.f, lambda x, y: x - y + eps, x, y)
    kind, term, finish = norm(p)
    return reduced(a.f, away, (away.rank - 1,), kind, keep, term, finish)


TABLE: dict[str, Handler] = {
    "sum": reduce("sum"),
    "mean": reduce("mean"),
    "prod": reduce("product"),
    "logsumexp": reduce("log_sum_exp"),
    "special_logsumexp": reduce("log_sum_exp"),
    "nansum": reduce("sum", known_numbers(X)),
    "nanmean": _mean_of_known,
    "count_nonzero": reduce("sum", NONZERO),
    "all": condition("min"),
    "any": condition("max"),
    "amax": amost("max"),
    "amin": amost("min"),
    "aminmax": both_extremes,
    "max": extreme("max", larger),
    "min": extreme("min", smaller),
    "argmax": place("max"),
    "argmin": place("min"),
    "var": spread(False, False),
    "std": spread(True, False),
    "var_mean": spread(False, True),
    "std_mean": spread(True, True),
    "norm": _norm,
    "linalg_vector_norm": _norm,
    "linalg_norm": _norm,
    "frobenius_norm": reduce("sum", X * X, ROOT),
    "dist": _distance,
    "cumsum": running("sum"),
    "cumprod": running("product"),
    "topk": _top_k,
    "sort": _sort,
    "argsort": _argsort,
    "msort": _msort,
    "kthvalue": _kth,
    "softmax": soft(False),
    "_softmax": soft(False),
    "special_softmax": soft(False),
    "log_softmax": soft(True),
    "_log_softmax": soft(True),
    "special_log_softmax": soft(True),
    "cosine_similarity": _cosine,
    "pairwise_distance": _pairwise,
}
