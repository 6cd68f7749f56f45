"""Epilogues: exact against NumPy on every machine, in every layout and place, by every method."""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import between_fences, fenced
from laws.layouts import real
from methods.fused import (
    FORMULAS,
    ORDERS,
    PLACES,
    check,
    check_weight,
    combinations,
    elements,
    plain,
    run,
)
from methods.test_every_method import only

from cases import Case
from faltung.geometry import parse
from faltung.geometry.axis import Axis
from faltung.geometry.expr import greater, maximum, operand, random, select, unary
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.simplify import simplified
from faltung.plan.build import build_forward, build_input_grad, fuses_input_grad
from faltung.plan.choose import FORWARD

RELU = Epilogue(maximum(operand(0), 0.0))


@grid(turn=list(combinations()), machine=MACHINES)
def test_table(case: Case, name: str, last: bool, place: str, machine: Machine) -> None:
    for threads in (1, 3):
        check(case.spec, name, last, place, machine, threads)


SPECS = [
    "n2 c5>19 6x7 k3 p1",
    "n2 c18>18 6x7 k3 p1 g18",
    "n3 c40>33 5x4 k5x4",
    "n2 c3>35 9x34 k3 s2 p1",
    "n5 c6>4 2x2 k3 p1",
    "n2 c7>9 20 k5 p2 m:reflect",
    "n1 c3>2 3x4x5 k2 f64",
    "n2 c8>16 14x15 k1",
    "n1 c1>20 3x9 k1x2 p(0,0)x(9,0)",
    "n2 c5>6 9x7 k2 s2",
]


@grid(
    text=SPECS,
    place=PLACES,
    method=[name for name, row in FORWARD.items() if not row.transform],
    machine=MACHINES,
)
def test_every_method(
    text: str, place: str, method: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faltung.plan.build.choose", only(method))
    for last, name in ((False, "two"), (True, "residual")):
        check(parse(text), name, last, place, machine)


@grid(name=FORMULAS, machine=MACHINES)
def test_every_formula(name: str, machine: Machine) -> None:
    for place in PLACES:
        check(parse("n2 c5>19 6x7 k3 p1"), name, True, place, machine, 3)
        check(parse("n2 c5>19 6x7 k3 p1 f64"), name, False, place, machine)


@between_fences(turn=list(combinations()), every=30)
def test_between_fences(
    case: Case, name: str, last: bool, place: str, side: str, machine: Machine
) -> None:
    def new(n_bytes: int) -> np.ndarray:
        return fenced(n_bytes, side == "after")

    check(case.spec, name, last, place, machine, 1, new)
    for order in ORDERS:
        check_weight(case.spec, last, order, machine, 1, new)


def test_where_a_gradient_can_have_one() -> None:
    fused = ["c3>4 9x9 k3 p1", "c3>4 9x9 k3 s2 p1", "c3>4 9 k2 s2", "c3>4 9x9 k9", "c4>4 9 k3 g4"]
    apart = ["c3>4 9x9 k1 s2", "c3>4 9x9 k3 p1 m:circular", "c3>4 10 k3 s4"]
    assert all(fuses_input_grad(parse(text)) for text in fused)
    assert not any(fuses_input_grad(parse(text)) for text in apart)


def test_refusals() -> None:
    spec = parse("c3>4 9x9 k1 s2")
    w = contiguous(spec.weight_shape, False)
    x, y = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    given = {"bias": False, "machine": current()}
    with pytest.raises(ValueError, match="fuses_input_grad"):
        build_input_grad(spec, y, w, x, epilogue=RELU, **given)
    with pytest.raises(ValueError, match="strides of 0 arrays"):
        build_forward(spec, x, w, y, epilogue=RELU, aux=[y], **given)
    with pytest.raises(ValueError, match="strides of 0 arrays"):
        build_forward(spec, x, w, y, aux=[y], **given)
    with pytest.raises(ValueError, match="operands 0 to 1"):
        Epilogue(operand(2), 1)
    with pytest.raises(ValueError, match="random"):
        Epilogue(operand(0) * random(operand(1)), 1)


def test_axes_merge_where_all_arrays_agree() -> None:
    spec = parse("n3 c4>5 6x7 k1")
    x, y = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    add = Epilogue(operand(0) + operand(1), 1)

    def sizes(aux: tuple[int, ...]) -> tuple[int, list[Axis]]:
        c = simplified(forward(spec, x, (4, 1, 1, 1), y, add, [aux]))
        return c.batch, [w.axis.size for w in c.windows]

    assert sizes(y) == (1, [3 * 6 * 7])
    assert sizes((42 * 9, 1, 7 * 9, 9)) == (1, [3 * 6 * 7])  # another pitch
    assert sizes((0, 1, 0, 0)) == (1, [3 * 6 * 7])  # a vector
    assert sizes((1000, 1, 35, 5)) == (3, [6 * 7])  # samples lie apart
    assert sizes((210, 42, 7, 1)) == (3, [6 * 7])  # the other order
    assert sizes((8 * 40, 1, 40, 5)) == (3, [6, 7])  # rows lie apart


def test_plans_say_what_is_stored() -> None:
    spec = parse("c3>40 9x9 k3")
    x, y = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    plan = build_forward(spec, x, w, y, bias=True, machine=current(), epilogue=RELU)
    assert "then max($0, 0.0)" in str(plan)
    assert "then" not in str(build_forward(spec, x, w, y, bias=True, machine=current()))


@pytest.mark.parametrize("name", ["avx512", "neon"])
def test_code_for_other_machines(name: str) -> None:
    total, one = operand(0), operand(1)
    smooth = total * unary("sigmoid", total) + select(greater(one, 0.0), one, 0.0)
    for text in ("n2 c20>35 6x7 k3 p1", "n2 c18>18 6x7 k3 p1 g18", "n2 c3>1 40 k5"):
        spec = parse(text)
        for last in (False, True):
            x, y = (contiguous(shape, last) for shape in (spec.input_shape, spec.output_shape))
            other = contiguous(spec.output_shape, not last)
            w = contiguous(spec.weight_shape, False)
            for aux in (y, other):
                plan = build_forward(
                    spec, x, w, y, bias=True, machine=row(name), epilogue=Epilogue(smooth, 1),
                    aux=[aux],
                )  # fmt: skip
                for step in plan.work.steps:
                    assert object_code(step.recipe, row(name)).startswith(b"\x7fELF")


def test_bits_of_the_sum_are_those_without(machine: Machine) -> None:
    for text in ("n3 c20>35 6x7 k3 p1", "n2 c18>18 6x7 k3 p1 g18", "n2 c3>1 40 k5"):
        spec = parse(text)
        x, w, bias, _ = real(spec)
        found = []
        for epilogue in (None, Epilogue(operand(0) * 2.0)):
            out = np.full(spec.output_shape, np.nan, spec.dtype)
            plan = build_forward(
                spec, *map(elements, (x, w, out)), bias=True, machine=machine, epilogue=epilogue
            )
            run(plan, (x, w, out), bias, [], 2, plain)
            found.append(out)
        np.testing.assert_array_equal(found[0] * 2, found[1])
