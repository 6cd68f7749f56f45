"""The largest errors of elementary functions and activations: two tables of ``docs/accuracy.md``.

In units of the last place of the exact result. float32 is measured against float64, at bit patterns
a fixed step apart over the whole range; float64 against mpmath, at random bit patterns over the
whole range and where the functions bend. Other files read ``worst`` and ``DEFINITIONS``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import numpy as np

from faltung.codegen.expr import emit
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import ARITY, FORMATS, Expr, derivative, operand, unary
from faltung.graph import activations
from faltung.graph.activations import slope_by_output
from faltung.jit.compile import kernel
from faltung.jit.target import use
from faltung.machine.table import Machine

Array = np.ndarray[Any, Any]

X = operand(0)
# What is exact, or no function of a number.
EXACT = {"neg", "abs", "random", "not", "floor", "ceil", "round", "trunc", "sign", *FORMATS}
FUNCTIONS = tuple(op for op, terms in ARITY.items() if terms == 1 and op not in EXACT)
# With fused multiply-adds, and without.
MACHINES = ("avx2", "sse")
# Between bit patterns of float32; a prime, so that all low bits occur.
STEP = 251
POINTS = 200_000  # of float64
DIGITS = 50  # of mpmath
CHUNK = 1 << 20
# From this many units on a table says that the result is lost: float32 has 2**23.
LOST = 1e5
# Results of activations count from this many times the smallest normal number on: the factors of
# smaller ones have lost bits.
NORMAL = 1024


# Formulas, run ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """out[i] = expr(x[i]), for as many elements as fill vectors."""

    dtype: str
    expr: Expr

    @property
    def symbol(self) -> str:
        return "formula"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = Vectors(f, machine, self.dtype)
        src, dst = f.pointer("%words", 0), f.pointer("%words", 1)
        with f.loop("%begin", "%end", step=v.lanes) as i:
            v.store(emit(v, self.expr, [v.load(v.at(src, i.index))]), v.at(dst, i.index))
        return str(module)


def applied(expr: Expr, x: Array) -> Array:
    """The compiled formula of every entry."""
    padded = np.concatenate([x, np.ones(-len(x) % 64, x.dtype)])
    out = np.empty_like(padded)
    words = np.array([padded.ctypes.data, out.ctypes.data], np.int64)
    kernel(Formula(str(x.dtype), expr))(words.ctypes.data, 0, len(padded))
    return out[: len(x)]


# What they should be ------------------------------------------------------------------------------


class Float64:
    """The functions of the definitions in float64."""

    def __init__(self) -> None:
        import math

        self.exp, self.expm1, self.log, self.log1p = np.exp, np.expm1, np.log, np.log1p
        self.sqrt, self.tanh, self.where, self.pi = np.sqrt, np.tanh, np.where, np.pi
        self.sin, self.cos, self.tan, self.atan = np.sin, np.cos, np.tan, np.arctan
        self.asin, self.acos, self.sinh, self.cosh = np.arcsin, np.arccos, np.sinh, np.cosh
        self.asinh, self.acosh, self.atanh = np.arcsinh, np.arccosh, np.arctanh
        self.erf = np.vectorize(math.erf, otypes=[float])
        self.erfc = np.vectorize(math.erfc, otypes=[float])


class Exact:
    """The same in mpmath, one number at a time; nan and infinities as in IEEE 754."""

    def __init__(self) -> None:
        import mpmath

        self.mp = mp = mpmath.mp.clone()
        mp.dps = DIGITS
        self.exp, self.expm1, self.tanh, self.pi = mp.exp, mp.expm1, mp.tanh, mp.pi
        self.erf = mp.erf
        self.sin, self.cos, self.tan, self.atan = mp.sin, mp.cos, mp.tan, mp.atan
        self.sinh, self.cosh, self.asinh = mp.sinh, mp.cosh, mp.asinh

    def asin(self, x: Any) -> Any:
        return self.mp.asin(x) if abs(x) <= 1 else self.mp.nan

    def acos(self, x: Any) -> Any:
        return self.mp.acos(x) if abs(x) <= 1 else self.mp.nan

    def acosh(self, x: Any) -> Any:
        return self.mp.acosh(x) if x >= 1 else self.mp.nan

    def atanh(self, x: Any) -> Any:
        return self.mp.atanh(x) if abs(x) < 1 else x / 0 if abs(x) == 1 else self.mp.nan

    def erfc(self, x: Any) -> Any:
        return self.mp.erfc(x) if abs(x) < 1e4 else self.mp.mpf(2 * (x < 0))

    def log(self, x: Any) -> Any:
        return self.mp.log(x) if x > 0 else self.mp.mpf("-inf" if x == 0 else "nan")

    def log1p(self, x: Any) -> Any:
        return self.mp.log1p(x) if x > -1 else self.mp.mpf("-inf" if x == -1 else "nan")

    def sqrt(self, x: Any) -> Any:
        return self.mp.sqrt(x) if x >= 0 else self.mp.nan

    def where(self, condition: bool, a: Any, b: Any) -> Any:
        return a if condition else b


def sigmoid(m: Any, x: Any) -> Any:
    e = m.exp(-abs(x))
    return m.where(x >= 0, 1, e) / (1 + e)


def ndtr(m: Any, x: Any) -> Any:
    return m.erfc(-x / m.sqrt(2 + 0 * x)) / 2


def density(m: Any, x: Any) -> Any:
    return m.exp(-x * x / 2) / m.sqrt(2 * m.pi + 0 * x)


def argument(m: Any, x: Any) -> Any:
    """That of the sigmoid in ``gelu_tanh``: twice sqrt(2 / pi) (x + 0.044715 x^3)."""
    tenth = (x * 0 + 44715) / 1_000_000
    return 2 * m.sqrt(2 / m.pi + 0 * x) * (x + tenth * x * x * x)


def gelu_tanh_slope(m: Any, x: Any) -> Any:
    tenth = (x * 0 + 44715) / 1_000_000
    u = argument(m, x)
    inner = 2 * m.sqrt(2 / m.pi + 0 * x) * (1 + 3 * tenth * x * x)
    return sigmoid(m, u) * (1 + x * sigmoid(m, -u) * inner)


Definition = Callable[[Any, Any], Any]
DEFINITIONS: dict[str, Definition] = {
    "sqrt": lambda m, x: m.sqrt(x),
    "exp": lambda m, x: m.exp(x),
    "expm1": lambda m, x: m.expm1(x),
    "log": lambda m, x: m.log(x),
    "log1p": lambda m, x: m.log1p(x),
    "tanh": lambda m, x: m.tanh(x),
    "sigmoid": sigmoid,
    "erf": lambda m, x: m.erf(x),
    "gaussian": lambda m, x: m.exp(-x * x / 2),
    "ndtr": ndtr,
    "sin": lambda m, x: m.sin(x),
    "cos": lambda m, x: m.cos(x),
    "tan": lambda m, x: m.tan(x),
    "asin": lambda m, x: m.asin(x),
    "acos": lambda m, x: m.acos(x),
    "atan": lambda m, x: m.atan(x),
    "sinh": lambda m, x: m.sinh(x),
    "cosh": lambda m, x: m.cosh(x),
    "asinh": lambda m, x: m.asinh(x),
    "acosh": lambda m, x: m.acosh(x),
    "atanh": lambda m, x: m.atanh(x),
}


class Activation(NamedTuple):
    """A formula of ours, the same in PyTorch, and what value and slope are."""

    expr: Expr
    pytorch: Callable[[Any, Any], Any]
    value: Definition
    slope: Definition


ACTIVATIONS = {
    "Sigmoid": Activation(
        activations.sigmoid(),
        lambda f, x: x.sigmoid(),
        sigmoid,
        lambda m, x: sigmoid(m, x) * sigmoid(m, -x),
    ),
    "Tanh": Activation(
        activations.tanh(),
        lambda f, x: x.tanh(),
        lambda m, x: m.tanh(x),
        lambda m, x: 4 * sigmoid(m, 2 * x) * sigmoid(m, -2 * x),
    ),
    "ELU": Activation(
        activations.elu(),
        lambda f, x: f.elu(x),
        lambda m, x: m.where(x > 0, x, m.expm1(x)),
        lambda m, x: m.where(x > 0, 1 + 0 * x, m.exp(x)),
    ),
    "Softplus": Activation(
        activations.softplus(),
        lambda f, x: f.softplus(x),
        lambda m, x: m.where(x > 0, x, 0 * x) + m.log1p(m.exp(-abs(x))),
        sigmoid,
    ),
    "SiLU": Activation(
        activations.silu(),
        lambda f, x: f.silu(x),
        lambda m, x: x * sigmoid(m, x),
        lambda m, x: sigmoid(m, x) * (1 + x * sigmoid(m, -x)),
    ),
    "GELU": Activation(
        activations.gelu(),
        lambda f, x: f.gelu(x),
        lambda m, x: x * ndtr(m, x),
        lambda m, x: ndtr(m, x) + x * density(m, x),
    ),
    'GELU("tanh")': Activation(
        activations.gelu_tanh(),
        lambda f, x: f.gelu(x, approximate="tanh"),
        lambda m, x: x * sigmoid(m, argument(m, x)),
        gelu_tanh_slope,
    ),
}


# Arguments ----------------------------------------------------------------------------------------


def arguments(dtype: str, step: int = STEP, points: int = POINTS) -> Iterator[Array]:
    """Arguments of both signs and all exponents, in chunks."""
    if dtype == "float32":
        for first in range(0, 1 << 32, step * CHUNK):
            bits = np.arange(first, min(first + step * CHUNK, 1 << 32), step, dtype=np.uint64)
            x = bits.astype(np.uint32).view(np.float32)
            yield x[np.isfinite(x)]
        return
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 1 << 64, points // 4, dtype=np.uint64).view(np.float64)
    # Between 2**-56 and 2**10 everything happens.
    sizes = 2.0 ** rng.uniform(-56, 10, points // 2) * rng.choice([-1.0, 1.0], points // 2)
    yield np.concatenate([whole[np.isfinite(whole)], sizes, rng.uniform(-9, 9, points // 4)])


def exact(definition: Definition, x: Array) -> tuple[Array, Array]:
    """The exact results as sums of two float64."""
    if x.dtype == np.float32:
        with np.errstate(all="ignore"):
            want = np.asarray(definition(Float64(), x.astype(np.float64)), np.float64)
        return want, np.zeros_like(want)
    m = Exact()
    parts = np.array([_parts(m.mp, definition(m, m.mp.mpf(one))) for one in x.tolist()])
    return parts[:, 0], parts[:, 1]


def _parts(mp: Any, value: Any) -> tuple[float, float]:
    if not mp.isfinite(value):
        return float(value), 0.0
    if abs(value) >= mp.mpf(2) ** 1024:
        return float(mp.sign(value)) * inf, 0.0
    high = float(value)
    return high, float(value - high) if high not in (inf, -inf) else 0.0


def units(got: Array, want: tuple[Array, Array]) -> Array:
    """Distances in units of the last place of the exact result, the least of those of a normal
    number. Infinite where only one is NaN, or infinite.
    """
    info = np.finfo(got.dtype)
    high, low = want
    with np.errstate(all="ignore"):
        rounded = high.astype(got.dtype)
        size = np.maximum(np.abs(high), float(info.smallest_normal))
        spacing = np.ldexp(float(info.eps), np.frexp(size)[1] - 1)
        far = np.abs((got.astype(np.float64) - high) - low) / spacing
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(np.isfinite(rounded) & np.isfinite(got), far, np.where(same, 0.0, inf))


@dataclass(frozen=True)
class Worst:
    """The largest error in units of the last place, and where it is."""

    units: float
    x: float = 0.0

    def __str__(self) -> str:
        return "lost" if self.units > LOST else f"{np.ceil(self.units * 10) / 10:.1f}"


def worst(
    call: Callable[[Array], Array],
    definition: Definition,
    chunks: Iterable[Array],
    least: float = 0.0,
) -> Worst:
    """The largest error of a function; ``least``: results below it do not count."""
    found = Worst(0.0)
    for x in chunks:
        want = exact(definition, x)
        far = np.where(np.abs(want[0]) < least, 0.0, units(call(x), want))
        place = int(far.argmax())
        if far[place] > found.units:
            found = Worst(float(far[place]), float(x[place]))
    return found


# Tables -------------------------------------------------------------------------------------------


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def functions() -> list[str]:
    """The elementary functions, on both kinds of machines."""
    kinds = ("float32", "float32, no FMA", "float64", "float64, no FMA")
    lines = [_line("function", *kinds), "|" + "---|" * 5]
    for name in FUNCTIONS:
        found = [
            function_error(name, dtype, machine, arguments(dtype))
            for dtype in ("float32", "float64")
            for machine in MACHINES
        ]
        lines.append(_line(f"`{name}`", *map(str, found)))
    return lines


def function_error(name: str, dtype: str, machine: str, chunks: Iterable[Array]) -> Worst:
    """The largest error of an elementary function."""
    with use(machine):
        return worst(lambda x: applied(unary(name, X), x), DEFINITIONS[name], chunks)


def slope(expr: Expr) -> Callable[[Array], Array]:
    """The slope as a backward pass computes it: from the result where that is enough."""
    known = slope_by_output(expr)
    if known is None:
        return lambda x: applied(derivative(expr, 0), x)
    return lambda x: applied(known, applied(expr, x))


def away_from_roots(definition: Definition, chunks: Iterable[Array]) -> Iterator[Array]:
    """Arguments more than 1/4 away from where a slope changes its sign."""
    fine = np.linspace(-3, 3, 60_000)
    signs = np.sign(definition(Float64(), fine))
    roots = fine[1:][(signs[1:] != signs[:-1]) & (np.abs(fine[1:]) > 0.25)]
    for x in chunks:
        near = np.zeros(len(x), bool)
        for root in roots:
            near |= np.abs(x - root) < 0.25
        yield x[~near]


def pytorch(name: str, sloped: bool) -> Callable[[Array], Array]:
    """What PyTorch computes."""
    import torch

    def call(x: Array) -> Array:
        given = torch.tensor(x, requires_grad=True)
        y = ACTIVATIONS[name].pytorch(torch.nn.functional, given)
        if not sloped:
            return np.asarray(y.detach())
        y.sum().backward()
        return np.asarray(given.grad)

    return call


def activation_error(
    name: str, dtype: str, sloped: bool, chunks: Iterable[Array], theirs: bool = False
) -> Worst:
    """The largest error of an activation, or of its slope, away from where that is 0."""
    which = ACTIVATIONS[name]
    ours = slope(which.expr) if sloped else lambda x: applied(which.expr, x)
    call = pytorch(name, sloped) if theirs else ours
    least = NORMAL * float(np.finfo(dtype).smallest_normal)
    if not sloped:
        return worst(call, which.value, chunks, least)
    return worst(call, which.slope, away_from_roots(which.slope, chunks), least)


def activations_table() -> list[str]:
    """The activations and their slopes, and PyTorch's in float32."""
    columns = [
        (what, sloped, dtype, theirs)
        for what, sloped in (("value", False), ("slope", True))
        for dtype, theirs in (("float32", False), ("float32", True), ("float64", False))
    ]
    names = [f"{what}, {'PyTorch' if theirs else dtype}" for what, _, dtype, theirs in columns]
    lines = [_line("activation", *names), "|" + "---|" * 7]
    for name in ACTIVATIONS:
        found = [
            activation_error(
                name, dtype, sloped, arguments(dtype, 8 * STEP + 1, POINTS // 4), theirs
            )
            for _, sloped, dtype, theirs in columns
        ]
        lines.append(_line(name, *map(str, found)))
    return lines
