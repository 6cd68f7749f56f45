"""Formulas of ATen at NaN, infinities, zeros and kinks: values and slopes as PyTorch's.

The formula that the importer makes is evaluated by its definition, without a program.
"""

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch.nn import functional as F
from torch_aten import part_of, traced

from faltung.geometry.expr import Expr, derivative, operand
from faltung.graph.ops import Elementwise
from faltung.reference.expr import evaluate

POINTS = [nan, inf, -inf, 0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, 3, -3, 6, 0.7, -2.3]
POINTS += [1e-30, 1e30, 25]


def functional(op: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: getattr(F, op)(x)


# Functions of one number. What follows are points at which only the values are compared.
ONE: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], list[float]]] = {
    **{
        op: (getattr(torch, op), [])
        for op in (
            "abs neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square sin cos tan"
            " atan sinh cosh tanh asinh erf erfc sigmoid floor ceil trunc round frac sign sgn relu"
            " isnan isinf isfinite isposinf isneginf signbit logical_not nan_to_num sinc"
            " deg2rad"
        ).split()
    },
    **{
        op: (functional(op), [])
        for op in (
            "relu6 leaky_relu elu selu celu silu mish hardswish hardtanh hardshrink"
            " softshrink softplus logsigmoid tanhshrink softsign gelu"
        ).split()
    },
    "logit": (torch.logit, [p for p in POINTS if not 0 < p < 1]),
    # The slope of PyTorch's is 1/6 in float32.
    "hardsigmoid": (functional("hardsigmoid"), POINTS),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), []),
    "threshold": (lambda x: F.threshold(x, 0.5, -2.0), []),
    "softplus of 2": (lambda x: F.softplus(x, 2.0, 5.0), []),
    "clamp": (lambda x: x.clamp(-1, 0.5), []),
    "clamp of nothing": (lambda x: x.clamp(1, -1), []),
    "clamp_min": (lambda x: x.clamp_min(0.5), []),
    "power 3": (lambda x: x**3, []),
    "power -2": (lambda x: x**-2, [0, inf, -inf]),
    "power 0.5": (lambda x: x**0.5, []),
    "power 2.5": (lambda x: x**2.5, []),
    "power of 2": (lambda x: 2**x, []),
    "round to 1": (lambda x: torch.round(x, decimals=1), []),
    "remainder": (lambda x: x % 2, []),
    "masked": (lambda x: x.masked_fill(x > 1, -inf), []),
}
# Functions of two; whether slopes are compared everywhere, or where both are finite and not 0.
TWO: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], bool | None]] = {
    "add": (torch.add, True),
    "mul": (torch.mul, True),
    "div": (torch.div, True),
    "floor": (lambda x, y: torch.div(x, y, rounding_mode="floor"), False),
    "trunc": (lambda x, y: torch.div(x, y, rounding_mode="trunc"), False),
    "remainder": (torch.remainder, False),
    "fmod": (torch.fmod, False),
    "pow": (torch.pow, False),
    "maximum": (torch.maximum, True),
    "minimum": (torch.minimum, True),
    "fmax": (torch.fmax, True),
    "fmin": (torch.fmin, True),
    "atan2": (torch.atan2, False),
    "hypot": (torch.hypot, False),
    "copysign": (torch.copysign, False),
    "heaviside": (torch.heaviside, None),
    "logaddexp": (torch.logaddexp, False),
    "xlogy": (torch.xlogy, False),
    "xlog1py": (torch.special.xlog1py, False),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.3), True),
    "clamp": (lambda x, y: x.clamp(min=y), True),
    "eq": (torch.eq, True),
    "ne": (torch.ne, True),
    "lt": (torch.lt, True),
    "ge": (torch.ge, True),
    "isclose": (torch.isclose, True),
    "isclose of NaN": (lambda x, y: torch.isclose(x, y, equal_nan=True), True),
    "and": (torch.logical_and, True),
    "where": (lambda x, y: torch.where(x > y, x, y), True),
}


def formula_of(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> list[Expr]:
    """The formulas that the function becomes, of its arguments as operands."""
    part = part_of(traced(function, *inputs), inputs, training=True)
    assert not part.gaps, part.gaps
    assert part.graph is not None
    places = [x.value.name for x in part.inputs.values()]
    found: dict[str, Expr] = {}
    for number, name in enumerate(places):
        found[name] = operand(number)
    for node in part.graph.nodes:
        assert isinstance(node.op, Elementwise), node.op
        terms = [found[value.name] for value in node.inputs]
        found[node.output.name] = node.op.outputs[0].replaced(terms)
    return [found[value.name] for value in part.values]


def compared(ours: Any, theirs: torch.Tensor, *points: torch.Tensor) -> None:
    theirs = theirs.detach().double()
    made = torch.as_tensor(np.asarray(ours))
    close = torch.isclose(made, theirs, rtol=1e-9, atol=1e-12, equal_nan=True)
    rows = zip(*points, made, theirs, close, strict=True)
    wrong = [tuple(map(float, row)) for *row, right in rows if not right]
    assert not wrong, "points, ours, theirs"


@pytest.mark.parametrize("name", ONE)
def test_one(name: str) -> None:
    function, only_values = ONE[name]
    x = torch.tensor(POINTS, dtype=torch.float64)
    (expr,) = formula_of(function, x)
    compared(evaluate(expr, [x.numpy()]), function(x), x)
    x = torch.tensor([p for p in POINTS if p == p and p not in only_values], dtype=torch.float64)
    y = function(x.requires_grad_())
    if y.requires_grad:
        (slope,) = torch.autograd.grad(y.sum(), x)
        compared(evaluate(derivative(expr, 0), [x.detach().numpy()]), slope, x)


@pytest.mark.parametrize("name", TWO)
def test_two(name: str) -> None:
    function, everywhere = TWO[name]
    grid = torch.tensor(POINTS, dtype=torch.float64)
    x, y = (g.reshape(-1).clone() for g in torch.meshgrid(grid, grid, indexing="ij"))
    (expr,) = formula_of(function, x, y)
    compared(evaluate(expr, [x.numpy(), y.numpy()]), function(x, y), x, y)
    if everywhere is None:
        return
    there = ~(x.isnan() | y.isnan())
    if not everywhere:
        there &= x.isfinite() & y.isfinite() & (x != 0) & (y != 0)
    x, y = x[there].requires_grad_(), y[there].requires_grad_()
    z = function(x, y)
    if z.requires_grad:
        slopes = torch.autograd.grad(z.sum(), [x, y], allow_unused=True)
        for number, slope in enumerate(slopes):
            if slope is not None:
                arrays = [x.detach().numpy(), y.detach().numpy()]
                compared(evaluate(derivative(expr, number), arrays), slope, x, y)
