"""Winograd's minimal filtering: against the reference, and what is promised of it."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.layouts import back, options, real, to

import faltung
from cases import CASES, Case
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.geometry.expr import maximum, operand
from faltung.jit.compile import object_code
from faltung.jit.target import current, use
from faltung.machine.table import Machine, row
from faltung.methods.base.correlation import Correlation, contiguous, forward
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.simplify import essential
from faltung.methods.winograd.choice import choose
from faltung.methods.winograd.transforms import transform
from faltung.methods.winograd.winograd import WINOGRAD
from faltung.ops.arguments import elements
from faltung.plan.binding import layout
from faltung.plan.build import build_forward
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan

BOUNDS = {"float32": 5e-6, "float64": 1e-13}
FORCED = {"method": "winograd"}


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)))


def correlation(spec: ConvSpec) -> Correlation:
    return forward(
        spec,
        contiguous(spec.input_shape, True),
        contiguous(spec.weight_shape, False),
        contiguous(spec.output_shape, True),
    )


def applies(spec: ConvSpec) -> bool:
    return spec.batch > 0 and WINOGRAD.why_not(essential(correlation(spec)), current()) is None


def check(spec: ConvSpec, last: bool) -> None:
    x, w, bias, g = real(spec)
    given = {**options(spec), "channels_last": last, **FORCED}
    got = faltung.conv(to(x, last), w, bias, **given)
    assert error(back(got, last), reference.conv(x, w, bias, spec)) < BOUNDS[spec.dtype]
    try:
        got = faltung.conv_input_grad(to(g, last), w, to(x, last).shape, **given)
    except ValueError as refusal:  # where one tap is left of an axis
        assert "winograd: a kernel of" in str(refusal)
        return
    want = reference.conv_input_grad(g, w, spec)
    assert error(back(got, last), want) < BOUNDS[spec.dtype]


# A row is tried where it applies: the others are refused, and say why.
ROWS = [case for case in CASES if applies(case.spec)]
OTHERS = [
    "n1 c16>16 9x9 k3 p1 g16",
    "n1 c4>4 9x9 k4",
    "n1 c4>4 9x9 k1",
    "n1 c4>4 9x9 k3 s2 p1",
    "n1 c4>4 9x9 k3x7",
]


@grid(case=ROWS, machine=MACHINES)
def test_table(case: Case, machine: Machine) -> None:
    check(case.spec, last=len(case.name) % 2 == 0)


MORE = [
    "n3 c1>1 2x2 k3 p1",
    "n2 c1>17 5x9 k3 p1",
    "n2 c17>1 9x5 k5 p2",
    "n2 c33>40 13x14 k3x5 p1x2",
    "n1 c3>70 7x7 k3 p(5,0)x(0,4)",
    "n2 c9>8 30 k5 p2",
    "n1 c8>24 6x7x9 k3 p1",
    "n1 c5>6 9x7x5 k3x1x5 p1x0x2 s1x2x1",
    "n2 c6>9 13x11 k3 p3 d2x3",
    "n2 c12>21 9x8 k3 p1 g3",
    "n2 c16>32 40 k5 p2 g2",
    "n2 c6>9 13x11 k3 p2 d2 m:reflect",
    "n1 c6>9 9x8 k3 p1 m:circular flip",
    "n2 c33>40 13x14 k3x5 p1x2 f64",
    "n1 c8>24 6x7x9 k3 p1 f64",
]


@grid(last=[False, True], text=MORE, machine=MACHINES)
def test_shapes(text: str, last: bool, machine: Machine) -> None:
    check(parse(text), last)


@pytest.mark.parametrize("text", OTHERS)
def test_refusals_say_why(text: str) -> None:
    spec = parse(text)
    x, w, bias, _ = real(spec)
    with pytest.raises(ValueError, match=r"method='winograd': must be one of .*; winograd: \w"):
        faltung.conv(x, w, bias, **options(spec), **FORCED)
    assert WINOGRAD.cost(correlation(spec), current()) == float("inf")


@pytest.mark.parametrize("text", ["n5 c20>33 9x10 k3 p1", "n3 c64>48 30x31 k3 p1", "n4 c9>9 50 k5"])
def test_same_bits(text: str, machine: Machine) -> None:
    """For any number of threads, a sample alone or in a batch, and any layout."""
    spec = parse(text)
    x, w, bias, _ = real(spec)
    want = faltung.conv(x, w, bias, **options(spec), **FORCED)
    before = faltung.get_threads()
    try:
        for threads in (1, 2, 5):
            faltung.set_threads(threads)
            assert np.array_equal(faltung.conv(x, w, bias, **options(spec), **FORCED), want)
            for i in range(spec.batch):
                alone = faltung.conv(x[i : i + 1], w, bias, **options(spec), **FORCED)
                assert np.array_equal(alone[0], want[i])
            last = {**options(spec), **FORCED, "channels_last": True}
            assert np.array_equal(back(faltung.conv(to(x, True), w, bias, **last), True), want)
    finally:
        faltung.set_threads(before)


def test_passes_and_their_size_do_not_matter() -> None:
    """A computer with other caches and more cores cuts the tiles otherwise."""
    spec = parse("n2 c40>33 29x30 k3 p1")
    x, w, bias, _ = real(spec)
    want = None
    for l2, cores in ((16 << 10, 1), (16 << 10, 2), (64 << 10, 3), (8 << 20, 16)):
        with use(replace(current(), l2=l2, cores=cores)):
            got = faltung.conv(x, w, bias, **options(spec), **FORCED)
        want = got if want is None else want
        assert np.array_equal(got, want)


# Their weights come from afar, which is most of the price.
WIDE = ["n1 c384>384 20x20 k3 p1", "n1 c512>512 20x20 k5 p2", "n1 c768>768 40x40 k3 p1"]


@pytest.mark.parametrize("text", [*WIDE, "n1 c256>256 32x32x32 k3 p1", "n9 c64>64 99 k5"])
def test_cores_do_not_decide_what_is_rounded(text: str) -> None:
    """A process that may use fewer cores gives the same bits: same tiles, same choice."""
    c = correlation(parse(text))
    one, *others = (replace(current(), cores=cores) for cores in (1, 2, 3, 64))
    found = choose(c, one), WINOGRAD.cost(c, one)
    assert all((choose(c, more), WINOGRAD.cost(c, more)) == found for more in others)


@grid(
    last=[False, True],
    text=["n2 c12>21 9x10 k3 p1", "n2 c12>18 9x10 k3 p1 g2", "n2 c12>16 30 k5 p2 f64"],
    machine=MACHINES,
)
def test_epilogue(text: str, last: bool, machine: Machine) -> None:
    """A residual sum with the output itself as one of the arrays."""
    spec = parse(text)
    x, w, bias, g = real(spec)
    out = to(g.copy(), last)
    view = back(out, last)
    given = back(to(x, last), last)
    plan = build_forward(
        spec,
        elements(given),
        elements(w),
        elements(view),
        bias=True,
        machine=machine,
        epilogue=Epilogue(maximum(operand(0) + operand(1), 0.0), 1),
        aux=(elements(view),),
        policy=Policy(method="winograd"),
    )
    assert plan.reasons[0][1][0].name == "winograd"
    run_with(plan, given, w, view, bias)
    want = np.maximum(reference.conv(x, w, bias, spec) + g, 0)
    assert error(view, want) < BOUNDS[spec.dtype]


def run_with(plan: Plan, x: np.ndarray, w: np.ndarray, out: np.ndarray, bias: np.ndarray) -> None:
    """Run a plan whose one array of the epilogue is the output."""
    kept = np.zeros(layout(plan.work.kept)[1] + 64, np.uint8)
    scratch = np.full(layout(plan.work.scratch)[1] + 64, 255, np.uint8)
    places = [a.ctypes.data + -a.ctypes.data % 64 for a in (kept, scratch)]
    operands = [a.ctypes.data for a in (x, w, out, bias)]
    plan.region("all").run((*operands, *places, out.ctypes.data), 2)


def test_what_is_not_finite_stays_in_its_tiles() -> None:
    """A NaN spreads over the tiles that read it, and no further."""
    spec = parse("n2 c8>8 24x24 k3 p1")
    x, w, bias, _ = real(spec)
    clean = faltung.conv(x, w, bias, **options(spec), **FORCED)
    for value in (np.nan, np.inf, -np.inf):
        x[0, 3, 12, 13] = value
        got = faltung.conv(x, w, bias, **options(spec), **FORCED)
        broken = ~np.isfinite(got)
        assert broken[0, :, 11:14, 12:15].all()
        assert np.array_equal(got[1], clean[1])
        where = np.argwhere(broken[0].any(axis=0))
        assert (np.abs(where - (12, 13)) <= 6).all()
        assert np.array_equal(got[~broken], clean[~broken])


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_large_and_small(size: float) -> None:
    spec = parse("n1 c16>16 12x12 k3 p1")
    x, w, *_ = real(spec)
    x = (x * size).astype(np.float32)
    got = faltung.conv(x, w, None, **options(spec), **FORCED)
    assert error(got / size, reference.conv(x, w, None, spec) / size) < BOUNDS["float32"]


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (2, 5), (4, 5), (3, 4), (3, 2), (5, 4)])
def test_transforms_are_exact(m: int, r: int) -> None:
    t = transform(m, r)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(t.alpha), rng.standard_normal(r)
    got = np.array(t.at) @ ((np.array(t.g) @ w) * (np.array(t.bt) @ x))
    np.testing.assert_allclose(got, [x[i : i + r] @ w for i in range(m)], atol=1e-13)


def test_no_points() -> None:
    with pytest.raises(ValueError, match="m=9, r=3: m \\+ r - 1 must be one of 1, 2, 4, 6, 8"):
        transform(9, 3)


@pytest.mark.parametrize("name", ["avx512", "neon"])
@pytest.mark.parametrize("text", ["n1 c20>33 9x10 k3 p1", "n1 c20>33 9x10x4 k3 p1 f64"])
def test_compiles_for_machines_that_are_not_here(text: str, name: str) -> None:
    spec, machine = parse(text), row(name)
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    plan = build_forward(
        spec,
        contiguous(shapes[0], True),
        contiguous(shapes[1], False),
        contiguous(shapes[2], True),
        bias=True,
        machine=machine,
        policy=Policy(method="winograd"),
    )
    assert choose(correlation(spec), machine) is not None
    for step in (*plan.work.prepare, *plan.work.steps):
        assert object_code(step.recipe, machine)


FUSED = [
    "n1 c96>70 7x7 k3 p1",
    "n2 c70>98 5x6 k3 p1 g2",
    "n1 c150>48 14x13 k3 p1 flip",
    "n1 c40>64 6x7 k3x5 p1x2 f64",
    "n1 c20>40 3x5x4 k3 p1",
    "n1 c64>48 30 k5 p2",
    "n1 c33>40 9x9 k3x1 p1x0",
]


@grid(last=[False, True], text=FUSED, machine=MACHINES)
def test_weights_transformed_on_the_way_give_the_same_bits(
    text: str, last: bool, machine: Machine
) -> None:
    """Functions pack at every call, a `Conv` before; threads cut the channels."""
    spec = parse(text)
    x, w, bias, _ = real(spec)
    given = {**options(spec), **FORCED, "channels_last": last}
    # As they are, with taps apart, and with output channels contiguous.
    apart = np.ascontiguousarray(w.transpose(*range(2, w.ndim), 0, 1))
    others = [np.moveaxis(apart, (-2, -1), (0, 1)), np.ascontiguousarray(w.T).T]
    want = faltung.Conv(w, bias, **given)(to(x, last))
    assert error(back(want, last), reference.conv(x, w, bias, spec)) < BOUNDS[spec.dtype]
    before = faltung.get_threads()
    try:
        for threads in (1, 2, 5):
            faltung.set_threads(threads)
            for weight in (w, *others):
                assert np.array_equal(faltung.conv(to(x, last), weight, bias, **given), want)
    finally:
        faltung.set_threads(before)


@pytest.mark.parametrize("text", FUSED)
def test_weights_are_transformed_on_the_way(text: str) -> None:
    """Where they are packed at every call, by machines with fewer cores than blocks of channels."""
    spec, machine = parse(text), row("avx2")
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    strides = [contiguous(shape, True) for shape in shapes]
    titles = []
    for packs in (False, True):
        policy = Policy(method="winograd", packs=packs)
        plan = build_forward(spec, *strides, bias=True, machine=machine, policy=policy)
        titles.append([step.title for step in plan.work.steps])
    assert not any("transforms weights" in title for title in titles[0])
    assert any("transforms weights" in title for title in titles[1])
