"""Every method on every case that it says it can do, not only where it is the cheapest."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid, rows
from hypothesis import given
from laws.layouts import back, to

from cases import CASES, Case, integers, random_specs
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.ops.run import run
from faltung.plan.build import build_forward, build_input_grad
from faltung.plan.choose import AUTO, FORWARD, Decision, Policy, choose
from faltung.plan.plan import Plan

# Transforms round: each has tests of its own.
SUMS = [name for name, row_ in FORWARD.items() if not row_.transform]
FULL = [case for case in CASES if case.spec.batch]


def strides(array: np.ndarray) -> tuple[int, ...]:
    return tuple(
        step // array.itemsize if size > 1 else 0
        for step, size in zip(array.strides, array.shape, strict=True)
    )


def only(method: str) -> Callable[..., Decision]:
    """In the place of `choose`: `method` wherever it applies at all, at any price; else a sum."""

    def chosen(c: Correlation, machine: Machine, policy: Policy, *, bias: bool) -> Decision:
        try:
            return choose(c, machine, replace(policy, method=method), bias=bias)
        except ValueError:
            return choose(c, machine, replace(policy, precision="strict"), bias=bias)

    return chosen


def methods(plan: Plan) -> list[str]:
    return [candidates[0].name for _, candidates in plan.reasons]


def compare(
    build: Callable[..., Plan],
    spec: ConvSpec,
    operands: tuple[np.ndarray, ...],
    bias: np.ndarray | None,
    want: np.ndarray,
    method: str,
    machine: Machine,
    always: bool,
) -> None:
    """Plan with `method` and run it, unless that is what everybody gets (other tests run it).

    Plans are built anew here: those that the functions remember were chosen by price.
    """
    layouts = tuple(map(strides, operands))

    def make(policy: Policy = AUTO) -> Plan:
        return build(spec, *layouts, bias=bias is not None, machine=machine, policy=policy)

    usual = methods(make())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faltung.plan.build.choose", only(method))
        plan = make()
    if methods(plan) == usual and not always:
        return
    out = np.full_like(operands[2], np.nan)
    run(plan, operands[0], operands[1], out, bias)
    np.testing.assert_array_equal(out, want)
    if always:
        return
    # Of any other numbers all sums have the same bits.
    rng, other = np.random.default_rng(0), np.empty_like(out)
    one, two = (a + rng.standard_normal(a.shape).astype(a.dtype) for a in operands[:2])
    run(plan, one, two, out, bias)
    run(make(Policy(precision="strict")), one, two, other, bias)
    np.testing.assert_array_equal(out, other)


def check(spec: ConvSpec, method: str, machine: Machine, always: bool = False) -> None:
    """Forward and back, in both layouts."""
    x, w, bias, g = integers(spec)
    forward, by_x = reference.conv(x, w, bias, spec), reference.conv_input_grad(g, w, spec)
    for last in (False, True):
        # (N, C, *space) views, as the functions hand them on.
        x, g = (back(to(a, last), last) for a in (x, g))
        how = method, machine, always
        compare(build_forward, spec, (x, w, g), bias, forward, *how)
        compare(build_input_grad, spec, (g, w, x), None, by_x, *how)


# Every case on the widest machine, and on one of the others in turn.
TURNS = [(case, MACHINES[0]) for case in FULL]
TURNS += zip(FULL, itertools.cycle(MACHINES[1:]))


@grid(turn=rows("case machine", TURNS), method=SUMS)
def test_table(case: Case, method: str, machine: Machine) -> None:
    check(case.spec, method, machine)


@pytest.mark.parametrize("method", SUMS)
def test_random_problems(method: str, machine: Machine) -> None:
    @given(random_specs(max_macs=50_000))
    def walk(spec: ConvSpec) -> None:
        check(spec, method, machine)

    walk()


@grid(
    method=SUMS,
    text=[
        # Rows of a tile that are the bias and nothing else, turned together with rows that are not
        # there: LLVM took the sum out of the shuffle and aborted the process.
        "c8>33 2 k1 p(2,1)",
        "c8>16 3x3 k1 p0x1",
        "c8>16 9 k1 s3 p5",
        "c24>99 3x4x2 k1x2x1 s3x4x1 p(4,1)x(3,1)x(2,1) g3 flip",
        # Tiles that lie in the padding as a whole.
        "c3>20 2 k2 p60",
        "c1>1 3 k2 s3 p100",
        "c20>20 2 k3 p50 g20",
        # Taps that do not fit into the code, with and without padding to copy.
        "c2>3 400 k300",
        "c2>3 200 k300 p99",
        "c3>1 500 k401 d1 psame",
        "c20>20 300 k222 p111 g20",
        "c17>33 90 k80 s2 p40",
        # More channels than a tile, and blocks with a rest.
        "c2>47 3x40 k3 p1",
        "c31>129 5x7 k3 p1",
        "c67>67 9x8 k3 p1 g67",
    ],
    machine=MACHINES,
)
def test_tight_corners(text: str, method: str, machine: Machine) -> None:
    check(parse(text), method, machine, always=True)
    check(parse(f"{text} f64"), method, machine, always=True)
