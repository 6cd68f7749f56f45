"""Convolutions with an epilogue, and gradients for weights in any order of memory, against the
reference and NumPy, on arrays that lie anywhere.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cases import CASES, Case, integers
from faltung import reference
from faltung.geometry import ConvSpec
from faltung.geometry.expr import Expr, binary, greater, maximum, operand, select
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue
from faltung.plan.binding import layout
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad, fuses_input_grad
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan

Array = np.ndarray
Allocate = Callable[[int], Array]
ROOM = 3  # elements between the rows of an array inside another

TOTAL, ONE, TWO = operand(0), operand(1), operand(2)


class Formula(NamedTuple):
    """An epilogue, and what NumPy says of it. Exact for whole numbers."""

    expr: Expr
    aux: int
    want: Callable[..., Array]


def _long(y: Any, one: Any, two: Any, larger: Callable[[Any, Any], Any]) -> Any:
    """So long that it is computed for several vectors at once."""
    for _ in range(8):
        y = larger(y - one, two - y)
    return y


FORMULAS = {
    "relu": Formula(maximum(TOTAL, 0.0), 0, lambda y: np.maximum(y, 0)),
    "leaky": Formula(
        select(greater(TOTAL, 0.0), TOTAL, TOTAL * 0.25), 0, lambda y: np.where(y > 0, y, y / 4)
    ),
    "add": Formula(TOTAL + ONE, 1, lambda y, a: y + a),
    "residual": Formula(maximum(TOTAL + ONE, 0.0), 1, lambda y, a: np.maximum(y + a, 0)),
    "mask": Formula(
        select(greater(ONE, 0.0), TOTAL, 0.0), 1, lambda y, a: np.where(a > 0, y, 0)
    ),
    "two": Formula((TOTAL - TWO) * ONE + 0.5, 2, lambda y, a, b: (y - b) * a + 0.5),
    # With a loop in its code.
    "remainder": Formula(
        binary("fmod", TOTAL + ONE, TWO - 9.0), 2, lambda y, a, b: np.fmod(y + a, b - 9)
    ),
    "long": Formula(
        _long(TOTAL, ONE, TWO, maximum), 2, lambda y, a, b: _long(y, a, b, np.maximum)
    ),
    "without the sum": Formula(ONE * 2.0, 2, lambda y, a, b: a * 2),
}  # fmt: skip
# How the arrays of the epilogue lie, and the output.
PLACES = (
    *("alike", "inside another", "other order", "in place"),
    *("a vector", "a number for each position", "a row of positions", "one number"),
)
# Along which axes of (N, C, *space) an array is the same.
SAME = {
    "a vector": lambda axis: axis != 1,
    "a number for each position": lambda axis: axis == 1,
    "a row of positions": lambda axis: axis != 2,
    "one number": lambda axis: True,
}


def plain(n_bytes: int) -> Array:
    return np.full(n_bytes, 0xFF, np.uint8)


def laid(shape: tuple[int, ...], dtype: str, last: bool, room: int, new: Allocate) -> Array:
    """A view (N, C, *space) of new memory, see ``inside``."""
    return inside(shape, dtype, last, room, new)[0]


def inside(
    shape: tuple[int, ...], dtype: str, last: bool, room: int, new: Allocate
) -> tuple[Array, Array]:
    """A view (N, C, *space) of new memory, channels last where asked, with ``room`` elements before
    each row of the memory's last axis; and all of that memory, NaN at first.
    """
    sizes = [shape[0], *shape[2:], shape[1]] if last else list(shape)
    sizes[-1] += room
    whole = new(int(np.prod(sizes)) * np.dtype(dtype).itemsize).view(dtype).reshape(sizes)
    view = whole[..., room:]
    return np.moveaxis(view, -1, 1) if last else view, whole


def elements(array: Array) -> tuple[int, ...]:
    return tuple(step // array.itemsize for step in array.strides)


def arrays(
    shape: tuple[int, ...], dtype: str, formula: Formula, last: bool, place: str, new: Allocate
) -> tuple[Array, Array, list[Array]]:
    """The output and the memory it lies in, NaN; what the formula reads, whole numbers."""
    rng = np.random.default_rng(3)
    room = ROOM if place == "inside another" else 0
    out, whole = inside(shape, dtype, last, room, new)
    found = []
    for i in range(formula.aux):
        if place == "in place" and i == 0:
            array = out
        elif place in SAME:
            own = tuple(1 if SAME[place](axis) else n for axis, n in enumerate(shape))
            line = laid(own, dtype, last, 0, new)
            array = np.broadcast_to(line, shape)
            line[...] = rng.integers(-4, 5, line.shape)
            found.append(array)
            continue
        else:
            array = laid(shape, dtype, last != (place == "other order"), 2 * room, new)
        array[...] = rng.integers(-4, 5, shape)
        found.append(array)
    return out, whole, found


def run(plan: Plan, operands: tuple[Array, ...], bias: Array, aux: list[Array], threads: int,
        new: Allocate) -> None:  # fmt: skip
    kept, scratch = (new(layout(held)[1]) for held in (plan.work.kept, plan.work.scratch))
    every = (*operands, bias, kept, scratch, *aux)
    plan.region("all").run([int(array.ctypes.data) for array in every], threads)


def check(
    spec: ConvSpec,
    name: str,
    last: bool,
    place: str,
    machine: Machine,
    threads: int = 1,
    new: Allocate = plain,
) -> None:
    """Forward, and the gradient for the input where that can be fused."""
    formula = FORMULAS[name]
    x, w, bias, g = integers(spec)
    by_x = reference.conv_input_grad(g, w, spec)
    biases = bias, np.arange(spec.channels_in).astype(spec.dtype) % 7 - 3
    ways = [(build_forward, x, reference.conv(x, w, bias, spec), biases[0])]
    if fuses_input_grad(spec):
        ways.append((build_input_grad, g, by_x + _along(biases[1], spec.rank), biases[1]))
    for build, given, total, vector in ways:
        source = laid(given.shape, spec.dtype, last, 0, new)
        source[...] = given
        weight = new(w.nbytes).view(w.dtype).reshape(w.shape)
        weight[...] = w
        line = new(vector.nbytes).view(vector.dtype)
        line[:] = vector
        out, whole, aux = arrays(total.shape, spec.dtype, formula, last, place, new)
        want = formula.want(total, *(array.copy() for array in aux))
        plan = build(
            spec,
            *map(elements, (source, weight, out)),
            bias=True,
            machine=machine,
            epilogue=Epilogue(formula.expr, formula.aux),
            aux=[elements(array) for array in aux],
            policy=Policy("strict"),  # sums alone: their whole numbers are exact
        )
        run(plan, (source, weight, out), line, aux, threads, new)
        np.testing.assert_array_equal(out, want)
        out[...] = np.nan
        assert np.isnan(whole).all(), "something outside the result was written"


def check_weight(
    spec: ConvSpec, last: bool, order: str, machine: Machine, threads: int, new: Allocate = plain
) -> Plan:
    """The gradient for the weight in memory of an ``order`` (see ``ordered``), exact."""
    given_x, w, _, given_g = integers(spec)
    x, g = (laid(a.shape, spec.dtype, last, 0, new) for a in (given_x, given_g))
    x[...], g[...] = given_x, given_g
    shape = ordered(w, order)
    out = new(w.nbytes).view(spec.dtype)
    view = np.lib.stride_tricks.as_strided(out, w.shape, shape.strides)
    strict = Policy("strict")
    plan = build_weight_grad(spec, *map(elements, (x, g, view)), machine=machine, policy=strict)
    scratch = new(layout(plan.work.scratch)[1])
    addresses = [int(a.ctypes.data) for a in (x, out, g)]
    plan.region("all").run([*addresses, 0, 0, int(scratch.ctypes.data)], threads)
    np.testing.assert_array_equal(view, reference.conv_weight_grad(given_x, given_g, spec))
    return plan


ORDERS = ("plain", "taps first", "outputs first")


def ordered(w: Array, order: str) -> Array:
    """The same weights, in memory (C_out, C_in, *k), (*k, C_in, C_out) or (C_out, *k, C_in)."""
    if order == "plain":
        return np.ascontiguousarray(w)
    if order == "taps first":
        transposed = np.ascontiguousarray(np.moveaxis(w, (0, 1), (-1, -2)))
        return np.moveaxis(transposed, (-1, -2), (0, 1))
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(w, 1, -1)), -1, 1)


def _along(vector: Array, rank: int) -> Array:
    return vector.reshape(-1, *(1,) * rank)


class Combination(NamedTuple):
    """A case, a formula, a layout and a place."""

    case: Case
    name: str
    last: bool
    place: str


def combinations() -> Iterator[Combination]:
    """A part of the table: formulas, layouts and places in turn, so that all meet somewhere."""
    every = itertools.cycle(itertools.product(PLACES, FORMULAS))
    for case in CASES[::3]:
        if case.spec.batch:
            for last in (False, True):
                place, name = next(every)
                yield Combination(case, name, last, place)
