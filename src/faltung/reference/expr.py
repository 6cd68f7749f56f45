"""The definition of formulas: one operation at a time, in float64; ``random`` bit by bit."""

from collections.abc import Callable, Sequence
from functools import partial
from math import erf, erfc, pi, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import CONDITIONS, FORMATS, Expr

Array = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]

LOW = np.uint64(0xFFFFFFFF)
# What the float64 nearest to sqrt(1/2) lacks.
SQRT_HALF_REST = -4.833646656726457e-17


def evaluate(
    expr: Expr,
    operands: Sequence[npt.ArrayLike],
    numbers: npt.ArrayLike | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> npt.NDArray[Any]:
    """Evaluate a formula over arrays that broadcast against each other.

    Returns an array of their common shape. A key of ``random`` is an integer of at most 64 bits.
    numbers: the index of each element, for ``random``; by default its position in C order in the
    common shape, which for (rows, channels) is ``row * channels + channel``. dtype: of the operands
    and of the result of each operation.
    """
    if expr.op in CONDITIONS:
        raise FaltungError(f"expr={expr}: a condition is not a number")
    given = [np.asarray(operand) for operand in operands]
    extra = [] if numbers is None else [np.shape(numbers)]
    kind: Any = np.dtype(dtype).type
    shape = np.broadcast_shapes(*(operand.shape for operand in given), *extra)
    if numbers is None:
        numbers = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
    known: dict[int, Any] = {}

    def value(part: Expr) -> Any:
        if id(part) not in known:
            known[id(part)] = found(part)
        return known[id(part)]

    def found(part: Expr) -> Any:
        if part.value is not None:
            return kind(part.value)
        if part.op == "operand":
            return given[int(part.args[0])].astype(kind)  # type: ignore[arg-type]
        if part.op == "random":
            key = given[int(part.terms[0].args[0])]  # type: ignore[arg-type]
            return uniform(key, np.asarray(numbers))
        return _MEANING[part.op](*map(value, part.terms))

    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(value(expr), shape), kind)


def uniform(key: npt.NDArray[np.generic], numbers: npt.NDArray[np.generic]) -> Array:
    """A number in [0, 1) for each element index and key: 24 bits, the same for every dtype.

    The key is mixed as in SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, "Fast Splittable
    Pseudorandom Number Generators", OOPSLA 2014). Its lower half is added to the lower half of the
    index, its upper half to the upper half. The finaliser of MurmurHash3 (A. Appleby, 2011) is
    applied to the lower half, and again to the result xor the upper half. The upper 24 of these 32
    bits are the number, in units of 2**-24.
    """
    with np.errstate(over="ignore"):
        z = key.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        n = numbers.astype(np.uint64)
        shift = np.uint64(32)
        x = _murmur((n + z) & LOW)
        x = _murmur(x ^ (((n >> shift) + (z >> shift)) & LOW))
    made: Array = (x >> np.uint64(8)).astype(np.float64) * 2.0**-24
    return made


def _murmur(x: Bits) -> Bits:
    """The finaliser of MurmurHash3 on 32 bits."""
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & LOW
    x = ((x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & LOW
    return x ^ (x >> np.uint64(16))


def _sigmoid(x: Array) -> Array:
    """From e**-|x|, which never overflows, so that small values keep their digits."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, e) / (1 + e))


def _halves(x: Array) -> tuple[Array, Array]:
    """Two numbers whose sum is x; the first has so few digits that its square is exact."""
    head = x.astype(np.float32).astype(np.float64)
    return head, x - head


def _gaussian(x: Array) -> Array:
    """exp(-x**2 / 2), without the rounding of the square, which the exponential would magnify."""
    x = np.clip(x, -40, 40)  # zero from there on
    head, rest = _halves(x)
    return np.asarray(np.exp(-0.5 * head * head) * np.exp(-0.5 * rest * (x + head)))


def _ndtr(x: Array) -> Array:
    """erfc(-x / sqrt 2) / 2, to first order in the rounding error of the quotient."""
    x = np.clip(x, -40, 40)  # 0 and 1 from there on
    (a, b), (c, d) = _halves(x), _halves(np.asarray(sqrt(0.5)))
    d = d + SQRT_HALF_REST
    z = x * sqrt(0.5)
    error = ((a * c - z) + a * d + b * c) + b * d
    slope = np.exp(-z * z) * (2 / sqrt(pi))
    return np.asarray(0.5 * (_erfc(-z) + slope * error))


def _snap(x: Array, low: Array, high: Array) -> Array:
    """The nearest whole number within bounds, without a negative zero; NaN stays NaN."""
    bounded = np.where(np.rint(x) < low, low, np.rint(x))
    return np.asarray(np.where(bounded > high, high, bounded) + 0.0)


_erfc = np.vectorize(erfc, otypes=[np.float64])


def _shorter(digits: int, least: int, most: int, x: Array) -> Array:
    """Rounded to a format: to the nearest number, of two to the even one."""
    unit = np.maximum(np.frexp(x)[1] - 1, least) - digits
    made = np.ldexp(np.rint(np.ldexp(x, -unit)), unit)
    largest = (2 - 2.0**-digits) * 2.0**most
    far = np.where(np.abs(made) > largest, np.copysign(np.inf, x), made)
    return np.asarray(np.where(np.isfinite(x), far, x))


_MEANING: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": lambda a, b: np.where(a < b, b, a),
    "min": lambda a, b: np.where(a > b, b, a),
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": np.vectorize(erf, otypes=[np.float64]),
    "gaussian": _gaussian,
    "ndtr": _ndtr,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "sign": np.sign,
    **{op: partial(_shorter, *form) for op, form in FORMATS.items()},
    "mod": np.mod,
    "fmod": np.fmod,
    "pow": np.power,
    "snap": _snap,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
    "select": np.where,
}
