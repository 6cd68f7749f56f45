"""Elementwise formulas as data, and their derivatives.

An ``Expr`` is a formula over operands, such as ``operand(0) * 2 + operand(1)``. Reference, kernels
and networks share it: the reference evaluates it, the code generator compiles it, and its
derivatives are formulas again. Formulas with the same structure are equal, and ``repr`` shows all
of it, so it can be part of the key of a kernel.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from functools import partial
from math import pi
from typing import Union

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# Operations and the number of their arguments. Comparisons give a condition, which only ``select``
# and the operations of logic accept. ``round`` goes to the nearest whole number, of two to the even
# one; ``mod`` is a remainder with the sign of the divisor, ``fmod`` one with that of the dividend;
# ``snap`` is the nearest whole number within two bounds, without a negative zero, differentiated as
# if it did not round; ``pow`` takes any exponent; ``as_...`` rounds to a shorter format. ``expm1``
# and ``log1p`` are exp(x) - 1 and log(1 + x) without the loss near zero, ``gaussian`` is
# exp(-x**2 / 2), and ``ndtr`` the normal distribution function. ``random`` is a number in [0, 1)
# derived from a key (the bits of a scalar operand) and the index of the element, so it is the same
# whenever and wherever it is computed.
ARITY = {
    "add": 2,
    "sub": 2,
    "mul": 2,
    "div": 2,
    "max": 2,
    "min": 2,
    "neg": 1,
    "abs": 1,
    "sqrt": 1,
    "exp": 1,
    "expm1": 1,
    "log": 1,
    "log1p": 1,
    "tanh": 1,
    "sigmoid": 1,
    "erf": 1,
    "gaussian": 1,
    "ndtr": 1,
    "floor": 1,
    "ceil": 1,
    "round": 1,
    "trunc": 1,
    "sign": 1,
    "as_float32": 1,
    "as_float16": 1,
    "as_bfloat16": 1,
    "sin": 1,
    "cos": 1,
    "tan": 1,
    "asin": 1,
    "acos": 1,
    "atan": 1,
    "sinh": 1,
    "cosh": 1,
    "asinh": 1,
    "acosh": 1,
    "atanh": 1,
    "mod": 2,
    "fmod": 2,
    "pow": 2,
    "snap": 3,
    "gt": 2,
    "ge": 2,
    "eq": 2,
    "and": 2,
    "or": 2,
    "xor": 2,
    "not": 1,
    "select": 3,
    "random": 1,
}
# Formats that are rounded to: stored digits, and the exponents of the smallest and largest normal
# numbers.
FORMATS = {
    "as_float32": (23, -126, 127),
    "as_float16": (10, -14, 15),
    "as_bfloat16": (7, -126, 127),
}
LOGIC = ("and", "or", "xor", "not")
CONDITIONS = ("gt", "ge", "eq", *LOGIC)

Term = Union["Expr", float]


@dataclass(frozen=True, slots=True, repr=False)
class Expr:
    """A formula: an operation of ``ARITY`` on formulas, an operand (its number), or a constant."""

    op: str
    args: tuple[Union["Expr", int, float], ...]
    # Computed once: formulas are keys everywhere, and hashing one visits all of its parts.
    _hash: int = field(init=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.op, self.args)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Expr, (self.op, self.args)  # the hash of a str differs between processes

    def __add__(self, other: Term) -> "Expr":
        return add(self, other)

    def __radd__(self, other: Term) -> "Expr":
        return add(other, self)

    def __sub__(self, other: Term) -> "Expr":
        return sub(self, other)

    def __rsub__(self, other: Term) -> "Expr":
        return sub(other, self)

    def __mul__(self, other: Term) -> "Expr":
        return mul(self, other)

    def __rmul__(self, other: Term) -> "Expr":
        return mul(other, self)

    def __truediv__(self, other: Term) -> "Expr":
        return div(self, other)

    def __rtruediv__(self, other: Term) -> "Expr":
        return div(other, self)

    def __neg__(self) -> "Expr":
        return unary("neg", self)

    def __repr__(self) -> str:
        if self.op == "operand":
            return f"${self.args[0]}"
        if self.op == "constant":
            return repr(self.args[0])
        return f"{self.op}({', '.join(map(repr, self.args))})"

    @property
    def value(self) -> float | None:
        """The value of a constant; None for every other formula."""
        return float(self.args[0]) if self.op == "constant" else None  # type: ignore[arg-type]

    @property
    def terms(self) -> tuple["Expr", ...]:
        """The formulas that the operation takes; empty for operands and constants."""
        return () if self.op in ("operand", "constant") else self.args  # type: ignore[return-value]

    def operands(self) -> frozenset[int]:
        """The numbers of the operands that the formula reads."""
        return frozenset(int(leaf.args[0]) for leaf in self._leaves() if leaf.op == "operand")  # type: ignore[arg-type]

    def uses(self, op: str) -> bool:
        """Whether the operation occurs in the formula."""
        return self.op == op or any(term.uses(op) for term in self.terms)

    def size(self) -> int:
        """Number of operations; a part that occurs several times counts once."""
        seen: set[Expr] = set()

        def visit(expr: Expr) -> None:
            if expr not in seen and expr.terms:
                seen.add(expr)
                for term in expr.terms:
                    visit(term)

        visit(self)
        return len(seen)

    def _leaves(self) -> Iterator["Expr"]:
        if not self.terms:
            yield self
        for term in self.terms:
            yield from term._leaves()

    def replaced(self, terms: Sequence["Expr"]) -> "Expr":
        """The formula with ``terms[i]`` substituted for operand i."""
        if self.op == "operand":
            return terms[int(self.args[0])]  # type: ignore[arg-type]
        if not self.terms:
            return self
        return _build(self.op, [term.replaced(terms) for term in self.terms])


def operand(number: int) -> Expr:
    """Operand ``number`` of the formula."""
    return Expr("operand", (number,))


def constant(value: float) -> Expr:
    return Expr("constant", (float(value),))


def lifted(term: Term) -> Expr:
    """A number as a constant; a formula unchanged."""
    return term if isinstance(term, Expr) else constant(term)


# Constants are folded and neutral elements dropped, so that derivatives stay small --------------


def add(a: Term, b: Term) -> Expr:
    a, b = lifted(a), lifted(b)
    if a.value == 0:
        return b
    return a if b.value == 0 else _folded("add", a, b)


def sub(a: Term, b: Term) -> Expr:
    a, b = lifted(a), lifted(b)
    if a.value == 0:
        return unary("neg", b)
    return a if b.value == 0 else _folded("sub", a, b)


def mul(a: Term, b: Term) -> Expr:
    a, b = lifted(a), lifted(b)
    if 0 in (a.value, b.value):
        return constant(0)
    if a.value == 1:
        return b
    return a if b.value == 1 else _folded("mul", a, b)


def div(a: Term, b: Term) -> Expr:
    a, b = lifted(a), lifted(b)
    if a.value == 0:
        return a
    return a if b.value == 1 else _folded("div", a, b)


def unary(op: str, a: Term) -> Expr:
    """An operation on one formula: neg, abs, sqrt, or an elementary function of ``ARITY``."""
    a = lifted(a)
    if op == "neg" and a.op == "neg":
        return a.terms[0]
    return _folded(op, a)


def maximum(a: Term, b: Term) -> Expr:
    """The larger one; NaN where ``a`` is NaN."""
    return _folded("max", lifted(a), lifted(b))


def minimum(a: Term, b: Term) -> Expr:
    """The smaller one; NaN where ``a`` is NaN."""
    return _folded("min", lifted(a), lifted(b))


def greater(a: Term, b: Term) -> Expr:
    """The condition a > b."""
    return Expr("gt", (lifted(a), lifted(b)))


def at_least(a: Term, b: Term) -> Expr:
    """The condition a >= b."""
    return Expr("ge", (lifted(a), lifted(b)))


def equal(a: Term, b: Term) -> Expr:
    """The condition a == b, which never holds for NaN."""
    return Expr("eq", (lifted(a), lifted(b)))


def logic(op: str, *conditions: Expr) -> Expr:
    """A condition from others: "and", "or", "xor" of two, or "not" of one."""
    for condition in conditions:
        _condition(condition)
    return Expr(op, conditions)


def is_nan(a: Term) -> Expr:
    """The condition that ``a`` is not a number."""
    return logic("not", equal(a, a))


def _condition(found: Expr) -> None:
    if found.op not in CONDITIONS:
        raise FaltungError(f"condition={found}: must be a comparison, one of {CONDITIONS}")


def select(condition: Expr, a: Term, b: Term) -> Expr:
    """``a`` where the condition holds, else ``b``."""
    _condition(condition)
    a, b = lifted(a), lifted(b)
    return a if a == b else Expr("select", (condition, a, b))


def random(key: Expr) -> Expr:
    """A random number in [0, 1) per element, determined by the key in a scalar operand."""
    if key.op != "operand":
        raise FaltungError(f"key={key}: must be an operand")
    return Expr("random", (key,))


def binary(op: str, a: Term, b: Term) -> Expr:
    """A function of two formulas: mod, fmod or pow."""
    a, b = lifted(a), lifted(b)
    if op == "pow" and b.value in _SHORT_POWERS:
        return _SHORT_POWERS[b.value](a)
    return _folded(op, a, b)


# These are as exact as the general function.
_SHORT_POWERS: dict[float | None, Callable[[Expr], Expr]] = {
    0.0: lambda a: constant(1),
    1.0: lambda a: a,
    2.0: lambda a: a * a,
    -1.0: lambda a: 1 / a,
}


def power(base: Expr, exponent: float) -> Expr:
    """``base ** exponent`` for a positive base; by square roots where they suffice."""
    if exponent < 0:
        return 1 / power(base, -exponent)
    whole, rest = divmod(exponent, 1)
    if exponent > 4 or rest not in (0, 0.25, 0.5, 0.75):
        return unary("exp", exponent * unary("log", base))
    root = unary("sqrt", base)
    made = {0: constant(1), 0.25: unary("sqrt", root), 0.5: root, 0.75: root * unary("sqrt", root)}
    result = made[rest]
    for _ in range(int(whole)):
        result = result * base
    return result


_FOLD: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": max,
    "min": min,
    "neg": lambda a: -a,
    "abs": abs,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "tanh": math.tanh,
    "erf": math.erf,
    "gaussian": lambda a: math.exp(-0.5 * a * a),
    "ndtr": lambda a: 0.5 * math.erfc(-a * math.sqrt(0.5)),
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "floor": lambda a: math.copysign(math.floor(a), a),
    "ceil": lambda a: math.copysign(math.ceil(a), a),
    "round": lambda a: math.copysign(round(a), a),
    "trunc": lambda a: math.copysign(math.trunc(a), a),
    "sign": lambda a: math.copysign(1, a) if a else a,
    "mod": lambda a, b: a % b,
    "fmod": math.fmod,
    "pow": math.pow,
    "snap": lambda a, low, high: min(max(round(a), low), high) + 0.0,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "asinh": math.asinh,
    "acosh": math.acosh,
    "atanh": math.atanh,
}


def _folded(op: str, *terms: Expr) -> Expr:
    values = [term.value for term in terms]
    if None not in values:
        try:
            return constant(_FOLD[op](*values))
        except (ArithmeticError, ValueError):  # 1/0, log 0: left to run time
            pass
    return Expr(op, terms)


_BUILD: dict[str, Callable[..., Expr]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "max": maximum,
    "min": minimum,
    "gt": greater,
    "ge": at_least,
    "eq": equal,
    "mod": partial(binary, "mod"),
    "fmod": partial(binary, "fmod"),
    "pow": partial(binary, "pow"),
    **{op: partial(logic, op) for op in LOGIC},
    "snap": partial(_folded, "snap"),
    "select": select,
    "random": random,
}


def _build(op: str, terms: Sequence[Expr]) -> Expr:
    return _BUILD[op](*terms) if op in _BUILD else unary(op, terms[0])


# Derivatives ------------------------------------------------------------------------------------


def derivative(expr: Expr, number: int) -> Expr:
    """d expr / d operand ``number``; at a kink, the derivative of the branch that is taken.

    ValueError: the key of ``random``, which has no derivative.
    """
    if expr.op == "operand":
        return constant(float(expr.args[0] == number))
    if number not in expr.operands():
        return constant(0)
    if expr.op == "select":
        condition, a, b = expr.terms
        return select(condition, derivative(a, number), derivative(b, number))
    if expr.op not in _SLOPES:
        raise FaltungError(f"expr={expr}: has no derivative for operand {number}")
    slopes = _SLOPES[expr.op](expr, *expr.terms)
    total = constant(0)
    for slope, term in zip(slopes, expr.terms, strict=True):
        total = total + slope * derivative(term, number)
    return total


def _power_slopes(y: Expr, a: Expr, b: Expr) -> tuple[Term, ...]:
    """For a base of 0 with an exponent that is not negative the second one is 0, its limit."""
    first = b * binary("pow", a, b - 1)
    if b.value is None:
        first = select(equal(b, 0), 0, first)
    flat = logic("and", equal(a, 0), at_least(b, 0))
    return first, select(flat, 0, y * unary("log", a))


def _snap_slopes(y: Expr, a: Expr, low: Expr, high: Expr) -> tuple[Term, ...]:
    """Straight through where the whole number is within the bounds, both included (Bengio et al.,
    2013; Jacob et al., 2018); beyond them, that of the bound.
    """
    whole = unary("round", a)
    below, above = greater(low, whole), greater(whole, high)
    inside = select(below, 0, select(above, 0, 1))
    return inside, select(below, 1, 0), select(above, 1, 0)


_Slope = Callable[..., tuple[Term, ...]]
# The partial derivatives of each operation, from its result ``y`` and its terms.
_SLOPES: dict[str, _Slope] = {
    "add": lambda y, a, b: (1.0, 1.0),
    "sub": lambda y, a, b: (1.0, -1.0),
    "mul": lambda y, a, b: (b, a),
    "div": lambda y, a, b: (1 / b, -y / b),
    "max": lambda y, a, b: (select(greater(a, b), 1, 0), select(greater(a, b), 0, 1)),
    "min": lambda y, a, b: (select(greater(b, a), 1, 0), select(greater(b, a), 0, 1)),
    "neg": lambda y, a: (-1.0,),
    "abs": lambda y, a: (select(greater(a, 0), 1, select(greater(0, a), -1, 0)),),
    "sqrt": lambda y, a: (0.5 / y,),
    "exp": lambda y, a: (y,),
    "expm1": lambda y, a: (unary("exp", a),),  # y + 1 would lose the small ones
    "log": lambda y, a: (1 / a,),
    "log1p": lambda y, a: (1 / (1 + a),),
    "tanh": lambda y, a: (1 - y * y,),
    "sigmoid": lambda y, a: (y * (1 - y),),
    "erf": lambda y, a: (unary("exp", -(a * a)) * (2 / math.sqrt(pi)),),
    "gaussian": lambda y, a: (-(a * y),),
    "ndtr": lambda y, a: (unary("gaussian", a) * (1 / math.sqrt(2 * pi)),),
    **{op: lambda y, a: (1.0,) for op in FORMATS},  # as if nothing were rounded
    **{op: lambda y, a: (0.0,) for op in ("floor", "ceil", "round", "trunc", "sign")},
    "mod": lambda y, a, b: (1.0, -unary("floor", a / b)),
    "fmod": lambda y, a, b: (1.0, -unary("trunc", a / b)),
    "pow": _power_slopes,
    "snap": _snap_slopes,
    "sin": lambda y, a: (unary("cos", a),),
    "cos": lambda y, a: (-unary("sin", a),),
    "tan": lambda y, a: (1 + y * y,),
    "asin": lambda y, a: (1 / unary("sqrt", (1 - a) * (1 + a)),),
    "acos": lambda y, a: (-1 / unary("sqrt", (1 - a) * (1 + a)),),
    "atan": lambda y, a: (1 / (1 + a * a),),
    "sinh": lambda y, a: (unary("cosh", a),),
    "cosh": lambda y, a: (unary("sinh", a),),
    "asinh": lambda y, a: (1 / unary("sqrt", 1 + a * a),),
    "acosh": lambda y, a: (1 / unary("sqrt", (a - 1) * (a + 1)),),
    "atanh": lambda y, a: (1 / ((1 - a) * (1 + a)),),
}
