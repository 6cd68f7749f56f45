"""Formulas as vector code for a machine and a dtype.

Each operation rounds on its own, with one exception that depends on the formula alone: where the
machine has FMA, a product that is a term of a sum or difference is not rounded (if both terms are
products, the first one). A formula therefore gives the same bits in every lane, kernel and position
of an array.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

from faltung.codegen import hyperbolic, math, power, rounding, trigonometry
from faltung.codegen.ir import Function
from faltung.codegen.vectors import Vectors
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import CONDITIONS, FORMATS, Expr

# Two applications of the finaliser of MurmurHash3 (A. Appleby, 2011) turn the index of an element
# into a random number; the key is mixed once as in SplitMix64 (G. L. Steele et al., 2014).
MURMUR = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
SPLIT_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
GOLDEN = 0x9E3779B97F4A7C15
# Bits of a random number, in every dtype: float32 and float64 see the same ones.
RANDOM_BITS = 24
# Instructions that an operation takes, for a vector; 1 for those not listed.
INSTRUCTIONS = {
    "constant": 0,
    "operand": 0,
    "div": 4,
    "sqrt": 4,
    "exp": 18,
    "expm1": 20,
    "log": 22,
    "log1p": 24,
    "tanh": 28,
    "sigmoid": 24,
    "erf": 40,
    "gaussian": 18,
    "ndtr": 33,
    "random": 24,
    **dict.fromkeys(FORMATS, 14),
    "mod": 60,
    "fmod": 54,
    "pow": 180,
    "snap": 8,
    "sin": 70,
    "cos": 70,
    "tan": 76,
    "asin": 24,
    "acos": 26,
    "atan": 26,
    "sinh": 36,
    "cosh": 24,
    "asinh": 40,
    "acosh": 40,
    "atanh": 40,
}


def emit(v: Vectors, expr: Expr, operands: Sequence[str], element: str | None = None) -> str:
    """Write the code of a formula for one vector, and return the vector of its values.

    operands: one vector each; for the key of ``random``, what ``mixed`` returns. element: the index
    of the element in the first lane, an i64; only ``random`` needs it. Masked lanes are computed
    like the others.
    """
    return Formulas(v, operands, element).value(expr)


def mixed(f: Function, key: str) -> str:
    """Mix the bits of a key of ``random``, any i64: done once for all elements."""
    z = f.value(f"add i64 {key}, {_signed(GOLDEN, 64)}")
    for shift, factor in SPLIT_MIX:
        z = f.value(f"xor i64 {z}, {f.value(f'lshr i64 {z}, {shift}')}")
        z = f.mul(z, _signed(factor, 64))
    return z


@cache
def instructions(*exprs: Expr) -> int:
    """Roughly how many instructions the formulas take per vector; repeated parts count once."""
    seen: dict[Expr, int] = {}

    def visit(part: Expr) -> None:
        if part not in seen:
            seen[part] = INSTRUCTIONS.get(part.op, 1)
            for term in part.terms:
                visit(term)

    for expr in exprs:
        visit(expr)
    return sum(seen.values())


class Formulas:
    """Code of several formulas over the same operands: common parts are written once."""

    def __init__(self, v: Vectors, operands: Sequence[str], element: str | None = None) -> None:
        self.v = v
        self.operands = operands
        self.element = element
        # Equal parts are written once, found by operation and values. Parts seen before are found
        # by identity first, because comparing two formulas visits all of both.
        self._written: dict[tuple[object, ...], str] = {}
        self._met: dict[int, tuple[Expr, str]] = {}

    def value(self, expr: Expr) -> str:
        """Write the code that is not there yet, and return the vector of the values."""
        if expr.op in CONDITIONS:
            raise FaltungError(f"expr={expr}: a condition is not a number")
        return self._value(expr)

    def _value(self, expr: Expr) -> str:
        if id(expr) not in self._met:
            self._met[id(expr)] = expr, self._write(expr)
        return self._met[id(expr)][1]

    def _write(self, expr: Expr) -> str:
        if expr.op == "operand":
            return self.operands[int(expr.args[0])]  # type: ignore[arg-type]
        if expr.value is not None:
            return self.v.constant(expr.value)
        op, terms = _contracted(expr)
        values = [self._value(term) for term in terms]
        known = (op, *values)
        if known not in self._written:
            if op == "random":
                self._written[known] = self._random(values[0])
            else:
                self._written[known] = _WRITE[op](self.v, *values)
        return self._written[known]

    def _random(self, key: str) -> str:
        """A random number of 24 bits, from the index of the element (64 bits) and the mixed key."""
        if self.element is None:
            raise FaltungError(
                "element=None: a formula with random numbers needs the index of its element"
            )
        v, f = self.v, self.v.function
        kind = f"<{v.lanes} x i32>"
        (first, above), (key_low, key_high) = _halves(v, self.element), _halves(v, key)
        numbers = f"<{', '.join(f'i32 {i}' for i in range(v.lanes))}>"
        lanes = f.value(f"add {kind} {first}, {numbers}")
        # Where the lower half overflowed, add one to the upper half.
        carry = f.value(f"icmp ult {kind} {lanes}, {first}")
        above = f.value(f"sub {kind} {above}, {f.value(f'sext {v.flags} {carry} to {kind}')}")
        hashed = self._murmur(f.value(f"add {kind} {lanes}, {key_low}"))
        hashed = self._murmur(
            f.value(f"xor {kind} {hashed}, {f.value(f'add {kind} {above}, {key_high}')}")
        )
        top = f.value(f"lshr {kind} {hashed}, {_whole(v, 32 - RANDOM_BITS)}")
        number = f.value(f"sitofp {kind} {top} to {v.type}")
        return v.mul(number, v.constant(2.0**-RANDOM_BITS))

    def _murmur(self, x: str) -> str:
        v, f = self.v, self.v.function
        kind = f"<{v.lanes} x i32>"
        for shift, factor in MURMUR:
            x = f.value(f"xor {kind} {x}, {f.value(f'lshr {kind} {x}, {_whole(v, shift)}')}")
            if factor != 1:
                x = f.value(f"mul {kind} {x}, {_whole(v, factor)}")
        return x


def _contracted(expr: Expr) -> tuple[str, tuple[Expr, ...]]:
    """The operation and its terms; a product in a sum or difference is fused with it."""
    if expr.op in ("add", "sub"):
        a, b = expr.terms
        if a.op == "mul":
            return f"mul_{expr.op}", (*a.terms, b)
        if b.op == "mul":
            return ("mul_add" if expr.op == "add" else "sub_mul"), (*b.terms, a)
    return expr.op, expr.terms


def _halves(v: Vectors, word: str) -> tuple[str, str]:
    """The low and the high 32 bits of an i64, each in every lane."""
    f = v.function
    upper = f.value(f"lshr i64 {word}, 32")
    low, high = (f.value(f"trunc i64 {half} to i32") for half in (word, upper))
    return v.spread(low, "i32"), v.spread(high, "i32")


def _whole(v: Vectors, number: int) -> str:
    """A 32-bit integer in every lane."""
    return f"splat (i32 {_signed(number, 32)})"


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number


def _shorter(form: tuple[int, int, int], v: Vectors, x: str) -> str:
    return rounding.shorter(v, x, *form)


_WRITE: dict[str, Callable[..., str]] = {
    "add": Vectors.add,
    "sub": Vectors.sub,
    "mul": Vectors.mul,
    "div": Vectors.div,
    "max": Vectors.max,
    "min": Vectors.min,
    "neg": Vectors.neg,
    "abs": Vectors.abs,
    "sqrt": Vectors.sqrt,
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "tanh": math.tanh,
    "sigmoid": math.sigmoid,
    "erf": math.erf,
    "gaussian": math.gaussian,
    "ndtr": math.ndtr,
    "floor": rounding.floor,
    "ceil": rounding.ceil,
    "round": rounding.nearest,
    "trunc": rounding.trunc,
    "sign": rounding.sign,
    **{op: partial(_shorter, form) for op, form in FORMATS.items()},
    "mod": rounding.mod,
    "fmod": rounding.fmod,
    "pow": power.pow,
    "snap": rounding.snap,
    "sin": trigonometry.sin,
    "cos": trigonometry.cos,
    "tan": trigonometry.tan,
    "asin": trigonometry.asin,
    "acos": trigonometry.acos,
    "atan": trigonometry.atan,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "asinh": hyperbolic.asinh,
    "acosh": hyperbolic.acosh,
    "atanh": hyperbolic.atanh,
    "gt": lambda v, a, b: v.compare("ogt", a, b),
    "ge": lambda v, a, b: v.compare("oge", a, b),
    "eq": lambda v, a, b: v.compare("oeq", a, b),
    "and": lambda v, a, b: v.function.value(f"and {v.flags} {a}, {b}"),
    "or": lambda v, a, b: v.function.value(f"or {v.flags} {a}, {b}"),
    "xor": lambda v, a, b: v.function.value(f"xor {v.flags} {a}, {b}"),
    "not": lambda v, a: v.function.value(f"xor {v.flags} {a}, {v.mask([True] * v.lanes)}"),
    "select": Vectors.select,
    # With a product as one term: a * b + c, a * b - c, c - a * b.
    "mul_add": Vectors.multiply_add,
    "mul_sub": lambda v, a, b, c: v.multiply_add(a, b, v.neg(c)),
    "sub_mul": lambda v, a, b, c: v.multiply_add(v.neg(a), b, c),
}
