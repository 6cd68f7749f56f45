"""The gradient for the weight of grouped layers: exact, whatever rank, edges, channels and bits."""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import real
from methods.fused import ORDERS, elements, laid, ordered, plain
from methods.grouped.test_weight_grad_depthwise import run

from cases import integers
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.jit.compile import object_code
from faltung.jit.target import current
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.grouped import weight_grad
from faltung.plan.build import build_weight_grad
from faltung.plan.choose import Policy

TEXTS = [
    "n2 c32>32 9x8 k3 p1 g8",
    "n3 c36>36 7x9 k3 p1 g9",
    "n1 c64>64 6x7 k3 p1 g8",
    "n2 c24>24 9x9 k3 s2 p1 g12",
    "n1 c9>9 8x8 k3 p1 g3",
    "n2 c16>48 7x6 k3 p1 g16",
    "n1 c10>50 7x6 k3 p1 g10",
    "n1 c40>20 9 k5 p2 g5",
    "n1 c12>24 4x5x6 k3 p1 g6",
    "n1 c16>16 7x8 k3 p2 d2 g4 m:reflect,circular",
    "n2 c20>20 6x40 k3x15 p1x7 g5",
    "n1 c28>14 7x8 k4x3 s3x2 p1 g7 flip",
]


def check(spec: ConvSpec, machine: Machine, order: str = "plain") -> None:
    """Channels last, elements between positions; the sums are exact."""
    given_x, _, _, given_g = integers(spec)
    want = reference.conv_weight_grad(given_x, given_g, spec)
    x, g = (laid(a.shape, spec.dtype, True, 3, plain) for a in (given_x, given_g))
    x[...], g[...] = given_x, given_g
    w = ordered(np.full(spec.weight_shape, np.nan, spec.dtype), order)
    strides = elements(x), elements(g), elements(w)
    c = forward(spec, strides[0], strides[2], strides[1])
    fits = weight_grad.GROUPED_WEIGHT_GRAD.why_not(c, machine) is None
    policy = Policy(method="grouped") if fits else Policy(precision="strict")
    plan = build_weight_grad(spec, *strides, machine=machine, policy=policy)
    for threads in (1, 3):
        w[...] = np.nan
        run(plan, x, w, g, threads)
        np.testing.assert_array_equal(w, want)


@grid(text=TEXTS, machine=MACHINES)
def test_exact(text: str, machine: Machine) -> None:
    for order in ORDERS:
        check(parse(text), machine, order)
    check(parse(f"{text} f64"), machine)


def test_bits_do_not_depend_on_threads(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_grad, "_band", lambda c, machine: 40)
    for text in ("n3 c24>24 7x61 k3 p1 g6", "n2 c8>16 300 k9 p4 g8"):
        spec = parse(text)
        given_x, _, _, given_g = real(spec)
        x, g = (np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) for a in (given_x, given_g))
        w = np.full(spec.weight_shape, np.nan, spec.dtype)
        plan = build_weight_grad(spec, *map(elements, (x, g, w)), machine=machine)
        found = set()
        for threads in (1, 2, 3, 5):
            w[...] = np.nan
            run(plan, x, w, g, threads)
            found.add(w.tobytes())
        assert len(found) == 1
        want = reference.conv_weight_grad(given_x, given_g, spec)
        assert np.linalg.norm(w - want) < 1e-6 * np.linalg.norm(want)


def test_the_policy_takes_it() -> None:
    if current().lanes("float32") < 8:
        pytest.skip("groups of four fill a vector here")
    for text in ("c128>128 56x56 k3 p1 g32", "c64>128 28x28 k3 p1 g64"):
        spec = parse(text)
        x, g = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
        w = contiguous(spec.weight_shape, False)
        plan = build_weight_grad(spec, x, g, w, machine=current())
        assert plan.reasons[0][1][0].name == "grouped"


@pytest.mark.parametrize("name", ["avx512", "neon"])
@pytest.mark.parametrize("text", [TEXTS[0], TEXTS[5]])
def test_code_for_other_machines(text: str, name: str) -> None:
    spec, machine = parse(text), row(name)
    x, g = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    plan = build_weight_grad(spec, x, g, contiguous(spec.weight_shape, False), machine=machine)
    for step in plan.work.steps:
        assert object_code(step.recipe, machine).startswith(b"\x7fELF")
