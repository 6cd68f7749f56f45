"""The gradient for the weight of pointwise layers, by panels: exact, from every order of memory."""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import fenced
from methods.fused import ORDERS, check_weight
from methods.steps import wide

import faltung
from faltung.geometry import parse
from faltung.jit.compile import object_code
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import contiguous
from faltung.plan.build import build_weight_grad

TEXTS = [
    "n1 c40>52 9x9 k1",
    "n3 c37>23 5x7 k1",  # both channels with a rest
    "n2 c33>40 11x13 k1 s2x3",  # positions are not contiguous
    "n2 c48>64 5x5 k1 g2",
    "n4 c300>17 3 k1",  # strips of rows
    "n5 c17>300 1 k1",
    "n1 c20>24 40x41 k1",  # several bands
    "n2 c3>40 12x8 k4x2 s4x2",  # patches: taps are channels
    "n1 c20>24 9x9 k1 f64",
]


@grid(text=TEXTS, order=ORDERS, machine=MACHINES)
def test_exact(text: str, order: str, machine: Machine) -> None:
    for threads, last in ((1, True), (3, False)):
        check_weight(parse(text), last, order, machine, threads)


@pytest.mark.parametrize("text", TEXTS[::2])
def test_wide_registers(text: str) -> None:
    for last in (True, False):
        check_weight(parse(text), last, "plain", wide(), 2)


@grid(text=TEXTS, side=[True, False], machine=MACHINES)
def test_no_memory_outside_the_arrays(text: str, side: bool, machine: Machine) -> None:
    for last in (True, False):
        check_weight(parse(text), last, "plain", machine, 1, lambda n: fenced(n, side))


def test_stored_at_once_and_once(machine: Machine) -> None:
    """One step and no sums to unpack, for both orders of a matrix."""
    for order in ("plain", "taps first"):
        plan = check_weight(parse("n2 c40>36 9x7 k1"), True, order, machine, 2)
        assert [step.recipe.symbol for step in plan.work.steps] == ["weight_panels_float32"]


def test_same_bits_for_any_threads_and_layout() -> None:
    """Positions are added in one order, whatever shares them."""
    spec = parse("n2 c70>50 21x19 k1")
    random = np.random.default_rng(5)
    x, g = (
        random.standard_normal(shape).astype(np.float32)
        for shape in (spec.input_shape, spec.output_shape)
    )
    before = faltung.get_threads()
    found = []
    try:
        for threads in (1, 2, 3, 7):
            faltung.set_threads(threads)
            found.append(faltung.conv_weight_grad(x, g, spec.weight_shape))
    finally:
        faltung.set_threads(before)
    lasts = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, g))
    found.append(faltung.conv_weight_grad(*lasts, spec.weight_shape, channels_last=True))
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("name", ["avx512", "neon"])
@pytest.mark.parametrize("last", [True, False])
def test_code_for_other_machines(last: bool, name: str) -> None:
    spec, machine = parse(TEXTS[1]), row(name)
    x, g = (contiguous(shape, last) for shape in (spec.input_shape, spec.output_shape))
    plan = build_weight_grad(spec, x, g, contiguous(spec.weight_shape, False), machine=machine)
    for step in plan.work.steps:
        assert object_code(step.recipe, machine).startswith(b"\x7fELF")
