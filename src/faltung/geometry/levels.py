"""Numbers on a grid of few levels, as formulas: what quantising means.

A level is a whole number q from ``low`` to ``high``; it stands for (q - zero) * scale (B. Jacob et
al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018). Whoever writes such a formula takes it from here, and whoever looks for one finds it by
``level_of`` and ``number_of``: layers, imported networks, and programs that keep levels in 8 bits.

The formulas are those of ONNX, QuantizeLinear and DequantizeLinear. The quotient is divided, not
multiplied by 1 / scale, and each product is rounded on its own (``as_float32`` keeps it from being
fused with a sum), so that the numbers are the same on every machine and in every evaluator. The
gradient passes straight through where the level is within its bounds, and is zero beyond, as
``snap`` of ``geometry/expr.py`` has it (Y. Bengio, N. Léonard and A. Courville, "Estimating or
Propagating Gradients Through Stochastic Neurons for Conditional Computation", 2013).
"""

from faltung.geometry.expr import Expr, Term, lifted, operand, unary
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """Levels from ``low`` to ``high``; ``zero`` is the one that stands for 0.

    scale: what one level is worth; as a term of a formula a constant, or an operand for one scale
    for each channel.
    """

    scale: Term
    zero: int = 0
    low: int = 0
    high: int = 255

    @property
    def stored(self) -> str:
        """The type of 8 bits that holds the levels; "" where none does."""
        return stored_as(self.low, self.high)


def stored_as(low: float, high: float) -> str:
    """The type of 8 bits that holds whole numbers from ``low`` to ``high``; "" for none."""
    if 0 <= low <= high <= 255:
        return "uint8"
    return "int8" if -128 <= low <= high <= 127 else ""


def level(x: Term, scale: Term, zero: Term = 0, low: float = 0, high: float = 255) -> Expr:
    """round(x / scale) + zero, within ``low`` and ``high``; of two nearest the even one."""
    ratio, zero = Expr("div", (lifted(x), lifted(scale))), lifted(zero)
    return Expr("snap", (ratio, low - zero, high - zero)) + zero


def number(q: Term, scale: Term, zero: Term = 0) -> Expr:
    """(q - zero) * scale, rounded once: what a level stands for."""
    return unary("as_float32", (lifted(q) - lifted(zero)) * lifted(scale))


def on_grid(x: Term, scale: Term, zero: Term = 0, low: float = 0, high: float = 255) -> Expr:
    """The number on the grid that is nearest to x: ``number`` of its ``level``.

    Example: ``on_grid(operand(0), 0.25)`` for activations; ``on_grid(operand(0), operand(1), 0,
    -127, 127)`` for a weight (operand 0) whose scale is a vector of its channels (operand 1).
    """
    return number(level(x, scale, zero, low, high), scale, zero)


@dataclass(frozen=True, slots=True)
class Level:
    """A formula that gives a level: of the number ``x``."""

    x: Expr
    scale: Expr
    zero: Expr
    low: int
    high: int

    @property
    def stored(self) -> str:
        return stored_as(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Number:
    """A formula that gives the number which the level ``q`` stands for."""

    q: Expr
    scale: Expr
    zero: Expr


def level_of(expr: Expr) -> Level | None:
    """The parts of a formula that ``level`` has made; None for any other."""
    zero = lifted(0)
    if expr.op == "add" and expr.terms[0].op == "snap":
        expr, zero = expr.terms
    if expr.op != "snap":
        return None
    x, *bounds = expr.terms
    low, high = (_bound(bound, zero) for bound in bounds)
    if low is None or high is None or not (low.is_integer() and high.is_integer() and low <= high):
        return None
    if zero.value is not None and not zero.value.is_integer():
        return None
    x, scale = x.terms if x.op == "div" else (x, lifted(1))  # a quotient by 1 is left out
    return Level(x, scale, zero, int(low), int(high))


def _bound(bound: Expr, zero: Expr) -> float | None:
    """The bound of a level, of which the zero point has been taken away."""
    if bound.value is not None and zero.value is not None:
        return bound.value + zero.value
    return bound.terms[0].value if bound.op == "sub" and bound.terms[1] == zero else None


def number_of(expr: Expr) -> Number | None:
    """The parts of a formula that ``number`` has made; None for any other."""
    if expr.op != "as_float32":
        return None
    (expr,) = expr.terms
    moved, scale = expr.terms if expr.op == "mul" else (expr, lifted(1))
    q, zero = moved.terms if moved.op == "sub" else (moved, lifted(0))
    return Number(q, scale, zero)


def grid_of(expr: Expr) -> Level | None:
    """The parts of a formula that ``on_grid`` has made; None for any other."""
    outer = number_of(expr)
    inner = None if outer is None else level_of(outer.q)
    if outer is None or inner is None or (inner.scale, inner.zero) != (outer.scale, outer.zero):
        return None
    return inner


# The formula of a weight (operand 0) on a grid with a scale for each output channel (operand 1).
WEIGHT_ON_GRID = on_grid(operand(0), operand(1), 0, -127, 127)
