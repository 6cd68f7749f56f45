"""The gradient for the weight by Winograd's algorithm: close to the reference in every order of
memory, the same bits for any number of threads.
"""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import fenced
from laws.layouts import real
from methods.fused import ORDERS, Allocate, Array, elements, laid, ordered, plain

from cases import CASES
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.jit.compile import object_code
from faltung.jit.target import current, use
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.base.simplify import essential
from faltung.methods.winograd import weight_grad
from faltung.methods.winograd.weight_grad import WINOGRAD_WEIGHT_GRAD
from faltung.plan.binding import layout
from faltung.plan.build import build_weight_grad
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan

WINOGRAD = Policy(method="winograd")
# Relative to the size of the whole gradient, and how much more with 5 taps.
CLOSE = {"float32": 3e-6, "float64": 1e-14}
MORE = 3


def why_not(spec: ConvSpec) -> str | None:
    x, g = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    c = essential(forward(spec, x, contiguous(spec.weight_shape, False), g), every_tap=True)
    return WINOGRAD_WEIGHT_GRAD.why_not(c, current())


TABLE = [case.spec for case in CASES if why_not(case.spec) is None and case.spec.batch][::2]
TEXTS = [
    "n2 c1>1 1x1 k3 p1",
    "n2 c17>33 9x7 k3 p1",
    "n3 c33>17 4x4 k3 p1",
    "n1 c3>40 13x5 k3",
    "n2 c40>3 8x9 k3 p(0,2)x(1,0)",
    "n2 c20>20 9x10 k5 p2",
    "n2 c12>11 8x9 k5x3 p2x1",
    "n2 c8>8 11x12 k3 d3x2 p3x2",
    "n2 c9>10 7x8 k1x3 s2x1",
    "n3 c9>24 41 k3 d4 p4",
    "n2 c18>10 5x6x7 k3 p1",
    "n2 c8>12 7x8 k3 p1 m:reflect,circular",
    "n2 c24>36 7x8 k3 p1 g2",
    "n2 c10>18 7x8 k3 p1 flip",
]


def gradient(
    spec: ConvSpec,
    last: bool,
    order: str,
    machine: Machine,
    threads: int = 1,
    new: Allocate = plain,
) -> tuple[Array, Array, Plan]:
    """What the method gives, and what the reference says."""
    given_x, w, _, given_g = real(spec)
    x, g = (laid(a.shape, spec.dtype, last, 0, new) for a in (given_x, given_g))
    x[...], g[...] = given_x, given_g
    out = new(w.nbytes).view(spec.dtype)
    view = np.lib.stride_tricks.as_strided(out, w.shape, ordered(w, order).strides)
    layouts = map(elements, (x, g, view))
    plan = build_weight_grad(spec, *layouts, machine=machine, policy=WINOGRAD)
    scratch = new(-(-layout(plan.work.scratch)[1] // 64) * 64)
    addresses = [int(a.ctypes.data) for a in (x, out, g)]
    plan.region("all").run([*addresses, 0, 0, int(scratch.ctypes.data)], threads)
    wide_x, wide_g = given_x.astype(np.float64), given_g.astype(np.float64)
    return view, reference.conv_weight_grad(wide_x, wide_g, spec), plan


def check(spec: ConvSpec, *how: object) -> Plan:
    got, want, plan = gradient(spec, *how)  # type: ignore[arg-type]
    assert np.isfinite(got).all()
    close = CLOSE[spec.dtype] * (MORE if max(spec.kernel) > 3 else 1)
    assert np.linalg.norm(got - want) <= close * np.linalg.norm(want)
    return plan


@grid(spec=TABLE)
def test_table(spec: ConvSpec) -> None:
    check(spec, True, "taps first", current())
    check(spec, False, "plain", current())


@grid(text=TEXTS, order=ORDERS, machine=MACHINES)
def test_orders_and_machines(text: str, order: str, machine: Machine) -> None:
    last = order != "plain"
    check(parse(text), last, order, machine)
    if order == "plain":
        check(parse(f"{text} f64"), last, order, machine)


@pytest.mark.parametrize(
    "text", ["n2 c17>33 9x7 k3 p1", "n3 c18>10 41 k5 d2 p4", "n40 c70>9 9x9 k3 p1"]
)
def test_same_bits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with many passes, whose sums are added in memory."""
    for size in (weight_grad.PASS_BYTES, 1):
        if size == 1:
            monkeypatch.setattr(weight_grad, "SINGLE_PASS_BYTES", 0)
            monkeypatch.setattr(weight_grad, "SINGLE_PASS_SUMS", 0)
            monkeypatch.setattr(weight_grad, "PASS_BYTES", 1)
            monkeypatch.setattr(weight_grad, "MIN_PASS_TILES", 7)
        alone, want, plan = gradient(parse(text), True, "taps first", current())
        passes = sum("sums" in step.title for step in plan.work.steps)
        assert passes > 1 or size > 1
        assert np.linalg.norm(alone - want) <= CLOSE["float32"] * np.linalg.norm(want)
        for threads in (2, 3):
            for last, order in ((True, "plain"), (False, "taps first")):
                got, _, _ = gradient(parse(text), last, order, current(), threads)
                np.testing.assert_array_equal(got, alone)


def test_no_copy_of_the_weight() -> None:
    """Whether output channels are contiguous in it, or taps and input channels."""
    for order, name in (("taps first", False), ("plain", False), ("outputs first", True)):
        plan = check(parse("n2 c17>33 9x7 k3 p1"), True, order, current())
        assert any(hint.startswith("weight") for hint in plan.work.scratch) == name


@pytest.mark.parametrize("text", ["n0 c3>4 8x8 k3 p1", "n0 c20>9 8x8 k3 p1 m:reflect"])
def test_no_samples(text: str) -> None:
    for last, order in ((True, "taps first"), (False, "plain")):
        got, _, _ = gradient(parse(text), last, order, current())
        np.testing.assert_array_equal(got, 0)


@pytest.mark.parametrize("after", [False, True])
def test_no_memory_beside(after: bool) -> None:
    for text in TEXTS[1:13:2]:
        for last, order in ((True, "taps first"), (False, "plain"), (True, "outputs first")):
            check(parse(text), last, order, current(), 1, lambda n: fenced(n, after))


def test_sums_may_be_long() -> None:
    """Gradients are within 1e-5 of those in float64."""
    rng = np.random.default_rng(5)
    spec = parse("n8 c8>8 128x128 k3 p1")
    x = rng.standard_normal(spec.input_shape, np.float32) + 1
    g = rng.standard_normal(spec.output_shape, np.float32) + 1
    w = np.empty(spec.weight_shape, np.float32)
    plan = build_weight_grad(spec, *map(elements, (x, g, w)), machine=current(), policy=WINOGRAD)
    scratch = plain(layout(plan.work.scratch)[1])
    addresses = [int(a.ctypes.data) for a in (x, w, g)]
    plan.region("all").run([*addresses, 0, 0, int(scratch.ctypes.data)], 2)
    want = reference.conv_weight_grad(x.astype(np.float64), g.astype(np.float64), spec)
    assert np.linalg.norm(w - want) <= 1e-5 * np.linalg.norm(want)


def test_what_does_not_apply() -> None:
    for text, why in (
        ("n1 c3>4 9x9 k1", "one tap"),
        ("n1 c3>4 9x9 k3x4", "an axis of other than 3 or 5 taps"),
        ("n1 c3>4 9x9 k3 s2 p1", "a stride"),
        ("n1 c1>1 4x4x4x4 k3 p1", "more than three axes"),
    ):
        assert why_not(parse(text)) == why


def test_chosen_where_channels_are_many() -> None:
    def best(text: str) -> str:
        spec = parse(text)
        x, g = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
        w = contiguous(spec.weight_shape, False)
        return build_weight_grad(spec, x, g, w, machine=row("avx2")).reasons[0][1][0].name

    assert best("n1 c64>64 56x56 k3 p1") == "winograd"
    assert best("n32 c512>512 4x4 k3 p1") == "winograd"
    assert best("n1 c3>8 9x9 k3 p1") == "direct"


@pytest.mark.parametrize("name", ["avx512", "neon"])
def test_code_for_other_machines(name: str) -> None:
    machine, spec = row(name), parse("n2 c17>33 9x7 k3 p1")
    x, g = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    plan = build_weight_grad(spec, x, g, w, machine=machine, policy=WINOGRAD)
    for recipe in {repr(step.recipe): step.recipe for step in plan.work.steps}.values():
        assert object_code(recipe, machine)


def test_rows_run_here() -> None:
    with use("generic") as machine:
        check(parse("n2 c17>33 9x7 k3 p1"), True, "taps first", machine)
