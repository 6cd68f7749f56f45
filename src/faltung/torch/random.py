"""Dropout and random numbers, from ATen.

Ours are made of a key, which a call draws from PyTorch's generator, and of the place of an element,
so that they are the same for any number of threads, are repeatable by ``torch.manual_seed``, and
are never stored. ``Graphed.their_random``: PyTorch draws its own, before the program runs.
"""

from collections.abc import Callable
from dataclasses import replace
from math import pi, prod, sqrt
from typing import Any

import torch

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, at_least, greater, operand, random, select, unary
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.ops import Dropout, Elementwise
from faltung.graph.value import Value
from faltung.torch.arguments import Arguments
from faltung.torch.formulas import REALS, Handler, applied, given, known_number
from faltung.torch.part import Draw, Leaf
from faltung.torch.pointwise import times

A, B = map(operand, range(2))
# Of alpha dropout: the number that SELU goes to far below zero (Klambauer et al., 2017).
ALPHA = 1.7580993408473766
# The smallest random number but 0.
STEP = 2.0**-24

Fill = Callable[[torch.Tensor], torch.Tensor]


# Numbers ------------------------------------------------------------------------------------------


def key(a: Arguments, name: str = "key") -> Value:
    """A number that every call draws anew."""
    return a.f.b.outside(name, kind="key")


def mixed(a: Arguments, x: Tensor, expr: Expr) -> Tensor:
    """A formula of a tensor (operand 0) and of a key (operand 1)."""
    value = x.value
    op = Elementwise(value.shape, (expr,))
    return replace(x, value=a.f.node(op, (value, key(a)), value.shape), dtype=a.dtype())


def noise(a: Arguments, shape: Shape, expr: Expr, fill: Fill, keys: int = 1) -> Tensor:
    """Random numbers: a formula of keys; or what PyTorch fills a tensor with."""
    if not all(shape):
        raise Unsaid("a tensor without elements")
    if a.call.given.get("generator") is not None:
        raise Unsaid("a generator of its own")
    dtype = a.dtype()
    if dtype not in REALS:
        raise Unsaid(f"{dtype} random numbers")
    if a.f.their_random:
        return drawn(a, shape, fill)
    size = prod(shape)
    a.f.require(size)
    read = [key(a, f"key{i or ''}") for i in range(keys)]
    value = a.f.node(Elementwise((size,), (expr,)), read, (size,))
    return a.f.result(value, shape, dtype)


def drawn(a: Arguments, shape: Shape, fill: Fill) -> Tensor:
    """What PyTorch draws before the program runs, laid out as it would be."""
    like: Any = a.call.node.meta.get("val")
    alike = isinstance(like, torch.Tensor) and tuple(like.shape) == shape
    strides = tuple(map(int, (like if alike else torch.empty(shape, device="meta")).stride()))
    dtype = getattr(torch, a.dtype())

    def draw() -> torch.Tensor:
        with torch.no_grad():
            made = torch.empty(shape, dtype=dtype)
            return fill(
                made if strides is None else torch.empty_strided(shape, strides, dtype=dtype)
            )

    made = a.f.input(shape, a.dtype())
    a.f.draws.append(Draw(made, draw))
    return made


def uniform(low: float, high: float, of: Expr = A) -> Expr:
    """Of a key a number from ``low`` to ``high``."""
    return random(of) * (high - low) + low


# Dropout ------------------------------------------------------------------------------------------


def rate_of(a: Arguments) -> float:
    """The rate of a dropout that takes place, else 0."""
    rate = a.number("p")
    if not 0 <= rate <= 1:
        raise FaltungError(f"p={rate:g}: must be from 0 to 1")
    return rate if a["train"] is None or a.flag("train") else 0.0


def kept(rate: float, scale: float) -> Expr:
    return select(at_least(random(A), rate), scale, 0)


def their_mask(rate: float) -> Fill:
    """0 or what keeps the mean, as PyTorch draws it."""
    return lambda x: x.bernoulli_(1 - rate).div_(1 - rate)


def _dropout(a: Arguments) -> Any:
    rate = rate_of(a)
    if not rate:
        return a[_read(a)] if isinstance(a[_read(a)], Leaf) else a.tensor(_read(a))
    if rate == 1:
        return applied(a, lambda x: times(x, 0), given(a, _read(a)))
    return dropped(a, a.floats(_read(a)), rate)


def _read(a: Arguments) -> str:
    """The name of what is dropped, which the schema of a form in place calls otherwise."""
    return "input" if "input" in a.call.given else "self"


def dropped(a: Arguments, x: Tensor, rate: float, name: str = "key") -> Tensor:
    """Some elements 0, the others larger, with a rate below 1. name: of the key."""
    if not a.f.their_random:
        value = a.f.node(Dropout(rate), (x.value, key(a, name)), x.value.shape)
        return replace(x, value=value)
    return formula(a.f, times, x, drawn(a, x.shape, their_mask(rate)), dtype=x.dtype)


def _channels(a: Arguments, x: Tensor) -> Shape:
    """One number for each channel of each sample."""
    if x.rank < 2:
        raise FaltungError("feature_dropout: must be given (batch, channels, ...)")
    return (*x.shape[:2], *(1,) * (x.rank - 2))


def _feature_dropout(a: Arguments) -> Any:
    rate = rate_of(a)
    if not rate or rate == 1:
        return _dropout(a)
    x = a.floats(_read(a))
    mask = noise(a, _channels(a, x), kept(rate, 1 / (1 - rate)), their_mask(rate))
    return applied(a, times, x, mask)


def alpha(whole: bool) -> Handler:
    """Self-normalising dropout (Klambauer et al., 2017): what is dropped becomes the number that
    keeps mean and variance.
    """

    def made(a: Arguments) -> Any:
        rate = rate_of(a)
        if not rate or rate == 1:
            return _dropout(a)
        x = a.floats(_read(a))
        scale = 1 / sqrt((ALPHA * ALPHA * rate + 1) * (1 - rate))
        shift = ALPHA * scale * rate
        low = shift - ALPHA * scale
        if not whole and not a.f.their_random:
            keep = at_least(random(B), rate)
            return mixed(a, x, select(keep, A * scale + shift, low))
        shape = _channels(a, x) if whole else x.shape
        mask = noise(a, shape, kept(rate, 1), lambda x: x.bernoulli_(1 - rate))
        return applied(a, lambda x, m: times(x, m) * scale + (m * (shift - low) + low), x, mask)

    return made


# Random tensors -----------------------------------------------------------------------------------


def _bernoulli(a: Arguments) -> Tensor:
    """1 with a probability: one number, a tensor of them, or the tensor itself."""
    name = "self" if a.call.overload in ("", "default", "out") else "p"
    p = known_number(a, name)
    if p is not None:
        if not 0 <= p <= 1:
            raise FaltungError(f"p={p:g}: must be from 0 to 1")
        expr = select(greater(p, random(A)), 1, 0)
        return noise(a, a.shape(), expr, lambda x: x.bernoulli_(p))
    if a.f.their_random:
        raise Unsaid("PyTorch's random numbers, by probabilities that are computed")
    u = noise(a, a.shape(), random(A), lambda x: x)
    return applied(a, lambda p, u: select(greater(p, u), 1, 0), given(a, name), u)


def _uniform(a: Arguments) -> Tensor:
    low, high = (float(a.call.given.get(name, n)) for name, n in (("from", 0), ("to", 1)))
    return noise(a, a.shape(), uniform(low, high), lambda x: x.uniform_(low, high))


def _normal(a: Arguments) -> Tensor:
    """From two uniform numbers (Box and Muller, 1958)."""
    mean, std = a.call.given.get("mean", 0.0), a.call.given.get("std", 1.0)
    if not all(isinstance(x, bool | int | float) for x in (mean, std)):
        raise Unsaid("normal numbers of which tensors say how they are spread")
    size = unary("sqrt", -2 * unary("log", 1 - random(A)))
    expr = size * unary("cos", random(B) * (2 * pi)) * float(std) + float(mean)
    return noise(a, a.shape(), expr, lambda x: x.normal_(mean, std), keys=2)


def _exponential(a: Arguments) -> Tensor:
    rate = a.number("lambd")
    expr = -unary("log", 1 - random(A) * (1 - STEP)) / rate
    return noise(a, a.shape(), expr + STEP * 2**-24, lambda x: x.exponential_(rate))


def _rrelu(a: Arguments) -> Tensor:
    """A leaky ReLU of random slopes; in evaluation of the one in their middle."""
    low, high = a.number("lower"), a.number("upper")
    if not a.flag("training"):
        slope = (low + high) / 2
        return applied(a, lambda x: select(greater(x, 0), x, x * slope), given(a, "self"))
    if a.f.their_random:
        raise Unsaid("PyTorch's random numbers in rrelu, which draws for what is negative alone")
    return mixed(a, a.floats("self"), select(greater(A, 0), A, A * uniform(low, high, B)))


TABLE: dict[str, Handler] = {
    "dropout": _dropout,
    "feature_dropout": _feature_dropout,
    "alpha_dropout": alpha(False),
    "feature_alpha_dropout": alpha(True),
    "bernoulli": _bernoulli,
    "rand": _uniform,
    "rand_like": _uniform,
    "uniform": _uniform,
    "randn": _normal,
    "randn_like": _normal,
    "normal": _normal,
    "exponential": _exponential,
    "rrelu": _rrelu,
}
