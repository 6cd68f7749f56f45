"""Strassen's algorithm: exact on whole numbers, and what is promised of it."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import back, options, real, to
from methods.steps import run

import faltung
from cases import integers
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.geometry.expr import maximum, operand
from faltung.jit.compile import object_code
from faltung.jit.target import current, use
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import Correlation, contiguous, forward
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.remembered import forget
from faltung.methods.base.simplify import essential
from faltung.methods.strassen import choice, strassen
from faltung.methods.strassen.choice import choose
from faltung.methods.strassen.strassen import STRASSEN
from faltung.ops.arguments import elements
from faltung.plan.build import build_forward, build_input_grad
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan

FORCED = {"method": "strassen"}
LEVELS = (1, 2)


def only(monkeypatch: pytest.MonkeyPatch, levels: int) -> None:
    """So many levels, whatever they cost."""
    monkeypatch.setattr(choice, "LEVELS", (levels,))
    forget()


@pytest.fixture(autouse=True)
def afterwards() -> object:
    """Choices that a test has made are forgotten."""
    yield
    forget()


def correlation(spec: ConvSpec) -> Correlation:
    return forward(
        spec,
        contiguous(spec.input_shape, True),
        contiguous(spec.weight_shape, False),
        contiguous(spec.output_shape, True),
    )


def planned(
    spec: ConvSpec, x: np.ndarray, w: np.ndarray, out: np.ndarray, machine: Machine, **more: object
) -> Plan:
    """A plan for these views (N, C, *space)."""
    build = build_forward if x.shape == spec.input_shape else build_input_grad
    layouts = [elements(array) for array in (x, w, out)]
    policy = Policy(method="strassen")
    return build(spec, *layouts, machine=machine, policy=policy, **{"bias": False, **more})


def result(
    spec: ConvSpec,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    last: bool,
    machine: Machine,
    threads: int = 2,
) -> np.ndarray:
    """What steps make of it, in memory that is full of NaN."""
    given = to(x, last)
    is_forward = x.shape == spec.input_shape
    shape = spec.output_shape if is_forward else spec.input_shape
    out = to(np.full(shape, np.nan, x.dtype), last)
    plan = planned(spec, back(given, last), w, back(out, last), machine, bias=bias is not None)
    assert plan.reasons[0][1][0].name == "strassen"
    arrays = {"x": given, "w": w, "out": out, "bias": bias if bias is not None else w}
    run_plan(plan, arrays, machine, threads)
    return back(out, last)


def run_plan(plan: Plan, arrays: dict[str, np.ndarray], machine: Machine, threads: int = 2) -> None:
    """Prepare, and run what needs that."""
    first, *others = plan.work.steps
    plan.work.steps = [replace(first, barrier=True), *others]
    run(plan.work, machine, arrays, threads)


SHAPES = [
    "n2 c2>70 2 k1",
    "n1 c3>67 3x3 k1",
    "n3 c33>70 5x7 k1",
    "n1 c64>130 9x9 k1 s2",
    "n2 c40>96 9 k1 p1",
    "n2 c100>140 9x4 k1 g2",
    "n1 c37>150 6x5x4 k1 s1x2x1 p0x0x1",
    "n2 c20>99 7x5 k1 p(1,2)x(0,1) m:reflect",
    "n1 c130>65 50 k1 flip",
    "n1 c9>40 31 k1 f64",
]


@grid(last=[False, True], text=SHAPES, levels=LEVELS, machine=MACHINES)
def test_shapes(
    text: str, last: bool, levels: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd numbers of positions and channels, strides, padding, groups: exact on whole numbers."""
    only(monkeypatch, levels)
    spec = parse(text)
    x, w, bias, _ = integers(spec)
    got = result(spec, x, w, bias, last, machine)
    np.testing.assert_array_equal(got, reference.conv(x, w, bias, spec))


@grid(text=["n2 c70>67 9 k1", "n1 c80>140 5x6 k1 g2"], last=[False, True], machine=MACHINES)
def test_the_gradient_for_the_input(text: str, last: bool, machine: Machine) -> None:
    spec = parse(text)
    _, w, _, g = integers(spec)
    got = result(spec, g, w, None, last, machine)
    np.testing.assert_array_equal(got, reference.conv_input_grad(g, w, spec))


@grid(order=["outputs", "inputs", "neither"], levels=LEVELS, machine=MACHINES)
def test_weights_in_any_order(
    order: str, levels: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, levels)
    spec = parse("n1 c21>75 11 k1")
    x, w, bias, _ = integers(spec)
    apart = np.zeros((2 * w.shape[0], 2 * w.shape[1], 1), w.dtype)
    apart[::2, ::2] = w
    given = {"inputs": w, "outputs": np.ascontiguousarray(w.T).T, "neither": apart[::2, ::2]}[order]
    got = result(spec, x, given, bias, True, machine)
    np.testing.assert_array_equal(got, reference.conv(x, w, bias, spec))


@grid(levels=LEVELS, last=[False, True], machine=MACHINES)
def test_epilogue(
    levels: int, last: bool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A residual sum with the output itself as one of the arrays."""
    only(monkeypatch, levels)
    spec = parse("n2 c24>90 5x3 k1")
    x, w, bias, g = integers(spec)
    given, out = to(x, last), to(g.copy(), last)
    views = back(given, last), w, back(out, last)
    epilogue = Epilogue(maximum(operand(0) + operand(1), 0.0), 1)
    more = {"bias": True, "epilogue": epilogue, "aux": (elements(views[2]),)}
    plan = planned(spec, *views, machine, **more)
    run_plan(plan, {"x": given, "w": w, "out": out, "bias": bias, "aux0": out}, machine)
    want = np.maximum(reference.conv(x, w, bias, spec) + g, 0)
    np.testing.assert_array_equal(views[2], want)


@pytest.mark.parametrize("text", ["n5 c40>67 9x7 k1", "n3 c64>96 50 k1 f64"])
def test_same_bits(text: str, machine: Machine) -> None:
    """For any number of threads, a sample alone or in a batch, and any layout."""
    spec = parse(text)
    x, w, bias, _ = real(spec)
    given = {**options(spec), **FORCED}
    want = faltung.conv(x, w, bias, **given)
    before = faltung.get_threads()
    try:
        for threads in (1, 2, 5):
            faltung.set_threads(threads)
            assert np.array_equal(faltung.conv(x, w, bias, **given), want)
            assert np.array_equal(faltung.Conv(w, bias, **given)(x), want)
            for i in range(spec.batch):
                assert np.array_equal(faltung.conv(x[i : i + 1], w, bias, **given)[0], want[i])
            got = faltung.conv(to(x, True), w, bias, channels_last=True, **given)
            assert np.array_equal(back(got, True), want)
    finally:
        faltung.set_threads(before)


def test_ranges_and_passes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer with other caches and more cores cuts positions otherwise."""
    spec = parse("n7 c40>70 29 k1")
    x, w, bias, _ = real(spec)
    found = []
    for l2, cores, bytes_ in ((16 << 10, 1, 1), (64 << 10, 3, 1 << 16), (8 << 20, 64, 1 << 30)):
        monkeypatch.setattr(strassen, "PASS_BYTES", bytes_)
        with use(replace(current(), l2=l2, cores=cores)) as machine:
            found.append(result(spec, x, w, bias, True, machine or current()))
    assert all(np.array_equal(got, found[0]) for got in found)


@pytest.mark.parametrize("text", ["n1 c768>3072 197 k1", "n1 c2048>512 7x7 k1", "n1 c64>256 30 k1"])
def test_cores_do_not_decide_what_is_rounded(text: str) -> None:
    c = essential(correlation(parse(text)))
    one, *others = (replace(current(), cores=cores) for cores in (1, 2, 3, 64))
    found = choose(c, one), STRASSEN.cost(c, one)
    assert all((choose(c, more), STRASSEN.cost(c, more)) == found for more in others)


REFUSED = {
    "n1 c4>70 9x9 k3": "more than one tap",
    "n1 c640>640 9x9 k1 g16": "more than 8 groups",
    "n4 c70>70 1x1 k1": "positions or input channels that cannot be halved",
    "n4 c1>70 3x3 k1": "positions or input channels that cannot be halved",
    "n1 c4>8 9x9 k1": "too few output channels",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_say_why(text: str) -> None:
    spec = parse(text)
    x, w, bias, _ = real(spec)
    with pytest.raises(ValueError, match=f"strassen: {REFUSED[text]}"):
        faltung.conv(x, w, bias, **options(spec), **FORCED)
    assert STRASSEN.cost(essential(correlation(spec)), current()) == float("inf")


def test_weights_have_a_bound() -> None:
    c = correlation(parse("n1 c8192>8192 500 k1"))
    assert STRASSEN.why_not(c, current()) == "sums of weights of more than 64 MiB"


def test_it_is_chosen_where_it_pays() -> None:
    """And not where parts would be small, or weights are packed for few positions."""
    machine = row("avx2")

    def chosen(text: str, **more: bool) -> str:
        spec = parse(text)
        strides = [contiguous(shape, True) for shape in (spec.input_shape, spec.weight_shape)]
        out, policy = contiguous(spec.output_shape, True), Policy(**more)
        plan = build_forward(spec, *strides, out, bias=True, machine=machine, policy=policy)
        return plan.reasons[0][1][0].name

    assert chosen("n1 c768>3072 197 k1") == "strassen"
    assert chosen("n1 c64>64 56x56 k1") == "direct"
    assert chosen("n1 c768>3072 50 k1", packs=True, priced=True) == "direct"


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("positive", [False, True])
def test_rounding(levels: int, positive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more than three times that of the sum, also where all inputs are positive."""
    only(monkeypatch, levels)
    for channels in (256, 1024):
        spec = parse(f"n1 c{channels}>128 49 k1")
        x, w, bias, _ = real(spec)
        x = np.maximum(x, 0) if positive else x
        want = reference.conv(x, w, bias, spec)
        got = result(spec, x, w, bias, True, current())
        plain = faltung.conv(x, w, bias, precision="strict")
        errors = [np.linalg.norm(a - want) for a in (got, plain)]
        assert errors[0] < 3 * errors[1]


@pytest.mark.parametrize("name", ["avx512", "neon"])
@pytest.mark.parametrize("levels", LEVELS)
def test_compiles_for_machines_that_are_not_here(
    levels: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, levels)
    spec, machine = parse("n1 c200>300 9x9 k1"), row(name)
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    strides = [contiguous(shape, True) for shape in shapes]
    policy = Policy(method="strassen")
    plan = build_forward(spec, *strides, bias=True, machine=machine, policy=policy)
    for step in (*plan.work.prepare, *plan.work.steps):
        assert object_code(step.recipe, machine)
